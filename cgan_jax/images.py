"""The values of pixels: grey of colours, and floats in [-1, 1] of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

_LUMA = (0.299, 0.587, 0.114)


def luma(image: Float[Any, "*b 3"]) -> Float[Any, "*b"]:
    """Grey value 0.299 R + 0.587 G + 0.114 B, on the scale of the image.

    Takes NumPy and JAX arrays alike, with any leading axes.
    """
    red, green, blue = _LUMA
    return red * image[..., 0] + green * image[..., 1] + blue * image[..., 2]


def to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Maps [-1, 1] to 0..255, rounding; values outside are clipped."""
    scaled = (np.asarray(image, np.float32) + 1.0) * 127.5
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def from_uint8(image: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Maps 0..255 to [-1, 1], float32; `to_uint8` undoes it exactly."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
