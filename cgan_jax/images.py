"""The layout of joint images: sketch on the left, photo on the right.

`join`, `split` and `luma` take NumPy and JAX arrays alike, with any leading axes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped, UInt8

Side = Literal["sketch", "photo"]
_LUMA = (0.299, 0.587, 0.114)


def join(
    sketch: Float[Any, "*b h w 3"], photo: Float[Any, "*b h w 3"]
) -> Float[Any, "*b h w2 3"]:
    """Puts a sketch and its photo side by side: `(..., h, h, 3)` -> `(..., h, 2h, 3)`."""
    return sketch.__array_namespace__().concat([sketch, photo], axis=-2)


def split(
    joint: Shaped[Any, "*b h w2 3"],
) -> tuple[Shaped[Any, "*b h w 3"], Shaped[Any, "*b h w 3"]]:
    """The sketch and the photo of joint images, of any number type."""
    half = joint.shape[-2] // 2
    return joint[..., :half, :], joint[..., half:, :]


def target_from_sketch(
    sketch: Float[np.ndarray, "*b h h"],
) -> Float[np.ndarray, "*b h w2 3"]:
    """The joint image y of a sketch, its photo half unknown.

    Args:
      sketch: grey in [0, 1], 1 is paper.

    Returns:
      `(..., h, 2h, 3)` in [-1, 1], float32; the photo half is zero.
    """
    half = np.repeat(sketch[..., None].astype(np.float32) * 2 - 1, 3, axis=-1)
    return join(half, np.zeros_like(half))


def half_mask(height: int, side: Side) -> Float[np.ndarray, "h w"]:
    """Mask of joint images, 1 on the half that is known, 0 on the other.

    Raises:
      ValueError: side is neither `sketch` nor `photo`.
    """
    if side not in ("sketch", "photo"):
        raise ValueError(f"side must be 'sketch' or 'photo', got {side!r}")
    mask = np.zeros((height, 2 * height), np.float32)
    mask[:, slice(None, height) if side == "sketch" else slice(height, None)] = 1.0
    return mask


def luma(image: Float[Any, "*b 3"]) -> Float[Any, "*b"]:
    """Grey value 0.299 R + 0.587 G + 0.114 B, on the scale of the image."""
    red, green, blue = _LUMA
    return red * image[..., 0] + green * image[..., 1] + blue * image[..., 2]


def to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Maps [-1, 1] to 0..255, rounding; values outside are clipped."""
    scaled = (np.asarray(image, np.float32) + 1.0) * 127.5
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def from_uint8(image: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Maps 0..255 to [-1, 1], float32; `to_uint8` undoes it exactly."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
