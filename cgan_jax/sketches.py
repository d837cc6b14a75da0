"""Sketches from photographs: extended difference of Gaussians, and area averaging.

Winnemoeller, Kyprianidis, Olsen, "XDoG: An eXtended difference-of-Gaussians
compendium including advanced image stylization", Computers & Graphics 36(6), 2012.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import ndimage

from cgan_jax.images import luma

__all__ = ["area_resize", "luma", "sketch_fn", "xdog", "xdog_solid"]

SketchFn = Callable[[np.ndarray], np.ndarray]

_REFERENCE_HEIGHT = 128


def xdog(
    grey: Float[np.ndarray, "h w"],
    *,
    sigma: float = 1.6,
    k: float = 1.6,
    tau: float = 0.97,
    epsilon: float = -0.005,
    phi: float = 60.0,
) -> Float[np.ndarray, "h w"]:
    """Lines only, like a pen drawing: about 11 % ink on a face of 128 pixels.

    D = G_sigma * I - tau G_(k sigma) * I, then 1 where D >= epsilon, else
    1 + tanh(phi (D - epsilon)); equations 5 and 6 of the paper named above.

    Args:
      grey: brightness I in [0, 1].
      sigma: width of the narrow blur, in pixels of a picture 128 pixels high; it
        grows with the picture, so that line width does not depend on resolution.
      k: the wide blur is k times as wide.
      tau: weight of the wide blur; below 1, flat areas stay paper.
      epsilon: value of D from which on everything is paper.
      phi: steepness of the ramp from paper to ink; larger is harder.

    Returns:
      The sketch in [0, 1]: 1 is paper, 0 is ink.
    """
    narrow, wide = _two_blurs(grey, sigma, k)
    return _soft_threshold(narrow - tau * wide, epsilon, phi)


def xdog_solid(
    grey: Float[np.ndarray, "h w"],
    *,
    sigma: float = 1.6,
    k: float = 1.6,
    p: float = 16.0,
    epsilon: float = 0.58,
    phi: float = 60.0,
) -> Float[np.ndarray, "h w"]:
    """Lines and solid blacks: hair and shadows are filled, about 60 % ink on a face.

    The sharpened form of the same operator, S = (1 + p) G_sigma * I - p G_(k sigma) * I
    (equation 7): it keeps the brightness of flat areas, so that those darker than
    epsilon turn to ink.

    Args:
      grey: brightness I in [0, 1].
      sigma: width of the narrow blur, in pixels of a picture 128 pixels high.
      k: the wide blur is k times as wide.
      p: strength of the lines against the flat areas.
      epsilon: brightness from which on everything is paper.
      phi: steepness of the ramp from paper to ink; larger is harder.

    Returns:
      The sketch in [0, 1]: 1 is paper, 0 is ink.
    """
    narrow, wide = _two_blurs(grey, sigma, k)
    return _soft_threshold((1 + p) * narrow - p * wide, epsilon, phi)


_STYLES: dict[str, SketchFn] = {"xdog": xdog, "xdog_solid": xdog_solid}


def sketch_fn(style: str) -> SketchFn:
    """The function from brightness to sketch that a style's name stands for.

    Raises:
      ValueError: no style has this name; the message lists those there are.
    """
    if style not in _STYLES:
        known = ", ".join(sorted(_STYLES))
        raise ValueError(f"unknown sketch style {style!r}: choose one of {known}")
    return _STYLES[style]


def area_resize(
    image: Float[np.ndarray, "h w *c"], size: int
) -> Float[np.ndarray, "{size} {size} *c"]:
    """The picture at size x size, whatever its own size.

    Each new pixel is the mean of the area it covers, fractions of pixels included.
    A picture smaller than size is enlarged by bicubic interpolation, clipped to [0, 1].

    Args:
      image: values in [0, 1], with or without channels.
      size: side of the result, in pixels.

    Returns:
      The resized picture in [0, 1], of the same dtype.
    """
    if min(image.shape[:2]) < size:
        return _enlarge(image, size)
    halfway = _average_rows(image, size)
    return np.moveaxis(_average_rows(np.moveaxis(halfway, 1, 0), size), 0, 1).astype(
        image.dtype
    )


def _two_blurs(
    grey: Float[np.ndarray, "h w"], sigma: float, k: float
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Blurs of widths sigma and k sigma; the picture is mirrored at its borders."""
    pixels = sigma * grey.shape[0] / _REFERENCE_HEIGHT
    return ndimage.gaussian_filter(grey, pixels), ndimage.gaussian_filter(
        grey, k * pixels
    )


def _soft_threshold(
    response: Float[np.ndarray, "h w"], epsilon: float, phi: float
) -> Float[np.ndarray, "h w"]:
    """1 from epsilon on, below it 1 + tanh(phi (response - epsilon))."""
    return 1 + np.tanh(phi * np.minimum(response - epsilon, 0))


def _average_rows(
    image: Float[np.ndarray, "h ..."], size: int
) -> Float[np.ndarray, "{size} ..."]:
    """Means over `size` bands of rows, as differences of the integral along the columns.

    No matrix product: BLAS threads in every worker process would fight for the cores.
    """
    height = len(image)
    integral = np.zeros((height + 1, *image.shape[1:]))
    np.cumsum(image, axis=0, out=integral[1:])
    edges = np.arange(size + 1) * height / size
    whole = np.minimum(edges.astype(int), height - 1)
    part = (edges - whole).reshape(-1, *[1] * (image.ndim - 1))
    return np.diff(integral[whole] + part * image[whole], axis=0) * (size / height)


def _enlarge(
    image: Float[np.ndarray, "h w *c"], size: int
) -> Float[np.ndarray, "{size} {size} *c"]:
    """Bicubic interpolation, channel by channel."""
    channels = image.reshape(*image.shape[:2], -1).astype(np.float32)
    resized = [
        Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC)
        for channel in np.moveaxis(channels, 2, 0)
    ]
    stacked = np.stack([np.asarray(channel) for channel in resized], axis=2)
    return (
        np.clip(stacked, 0, 1).reshape(size, size, *image.shape[2:]).astype(image.dtype)
    )
