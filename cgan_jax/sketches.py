"""Sketches from photographs in several styles, and area averaging.

`xdog` and `xdog_solid`: Winnemoeller, Kyprianidis, Olsen, "XDoG: An eXtended
difference-of-Gaussians compendium including advanced image stylization", Computers &
Graphics 36(6), 2012. `fdog`: Kang, Lee, Chui, "Coherent line drawing", NPAR 2007.
`photocopy`: the filter of this name in GIMP, by Spencer Kimball.

Lengths are in pixels of a picture 128 pixels high and grow with the picture, so that
the width of the lines, in parts of its height, does not depend on resolution.

A straight edge of contrast 0.6 becomes a line on its dark side: of 4 such pixels in
`xdog`, of 3.3 in `fdog`, and a soft one of 7 in `photocopy` (sum of the ink across).
Brightness 0.1 up or down and contrast between 0.8 and 1.25 hardly move the lines of
`xdog` and `fdog`: where edges are clear, less than a tenth of the ink has none within a
pixel in the other sketch. The tone of `photocopy` changes by less than 0.05 on average,
and not at all with exposure, a factor.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import ndimage

from cgan_jax.edge_flow import difference_across, edge_flow, smooth_along
from cgan_jax.images import luma

__all__ = [
    "area_resize",
    "fdog",
    "luma",
    "photocopy",
    "picture_scale",
    "sketch_fn",
    "style_names",
    "xdog",
    "xdog_solid",
]

SketchFn = Callable[[np.ndarray], np.ndarray]

_REFERENCE_HEIGHT = 128
_DARKEST = (
    0.05  # a local mean below it counts as this: noise in the black is no drawing
)


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
    narrow, wide = _blurs(grey, sigma, k * sigma)
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
    narrow, wide = _blurs(grey, sigma, k * sigma)
    return _soft_threshold((1 + p) * narrow - p * wide, epsilon, phi)


def fdog(
    grey: Float[np.ndarray, "h w"],
    *,
    sigma: float = 1.0,
    k: float = 1.6,
    tau: float = 0.99,
    length: float = 3.0,
    rho: float = 2.0,
    epsilon: float = -0.004,
    phi: float = 100.0,
) -> Float[np.ndarray, "h w"]:
    """Coherent lines: the difference of Gaussians across the edges, averaged along them.

    Kang, Lee, Chui 2007, section 3.1, without iterating (3.2); but the flow is that of
    the smoothed structure tensor (see `edge_flow`), and the ramp is that of `xdog`.

    Args:
      grey: brightness in [0, 1].
      sigma: width of the narrow Gaussian across the edges, in pixels of a picture 128
        pixels high.
      k: the wide one is k times as wide.
      tau: weight of the wide one; below 1, flat areas stay paper.
      length: width of the Gaussian along the edges, in such pixels.
      rho: width of the Gaussian that smooths the structure tensor, in such pixels.
      epsilon: difference from which on everything is paper.
      phi: steepness of the ramp from paper to ink; larger is harder.

    Returns:
      The sketch in [0, 1]: 1 is paper, 0 is ink.
    """
    scale = picture_scale(grey)
    # Samples are a pixel of 128 apart: what is finer is averaged first.
    smooth = ndimage.gaussian_filter(grey.astype(np.float64), scale / 2)
    flow = edge_flow(smooth, scale, rho * scale)
    response = difference_across(
        smooth, flow, sigma=sigma * scale, k=k, tau=tau, step=scale
    )
    response = smooth_along(response, flow, sigma=length * scale, step=scale)
    return _soft_threshold(response, epsilon, phi).astype(grey.dtype)


def photocopy(
    grey: Float[np.ndarray, "h w"],
    *,
    sigma: float = 1.0,
    radius: float = 8.0,
    epsilon: float = -0.05,
    phi: float = 2.0,
) -> Float[np.ndarray, "h w"]:
    """Soft grey tone: as dark as each place is darker than its surroundings.

    C = G_sigma * I / G_radius * I - 1, then 1 where C >= epsilon, else
    1 + tanh(phi (C - epsilon)). GIMP's filter compares in the same way; its ramp is
    straight, as steep as a share of black pixels asks for, and keeps the photo's tone.

    Args:
      grey: brightness I in [0, 1].
      sigma: width of the blur that removes noise, in pixels of a picture 128 pixels high.
      radius: width of the blur that gives the local mean, in such pixels.
      epsilon: contrast C from which on everything is paper.
      phi: steepness of the ramp from paper to ink; larger is harder.

    Returns:
      The sketch in [0, 1]: 1 is paper, 0 is ink.
    """
    detail, mean = _blurs(grey, sigma, radius)
    contrast = (detail - mean) / np.maximum(mean, _DARKEST)
    return _soft_threshold(contrast, epsilon, phi)


_STYLES: dict[str, SketchFn] = {
    "fdog": fdog,
    "photocopy": photocopy,
    "xdog": xdog,
    "xdog_solid": xdog_solid,
}


def style_names() -> tuple[str, ...]:
    """The names that `sketch_fn` knows, sorted."""
    return tuple(sorted(_STYLES))


def sketch_fn(style: str) -> SketchFn:
    """The function from brightness to sketch that a style's name stands for.

    Raises:
      ValueError: no style has this name; the message lists those there are.
    """
    if style not in _STYLES:
        known = ", ".join(style_names())
        raise ValueError(f"unknown sketch style {style!r}: choose one of {known}")
    return _STYLES[style]


def picture_scale(image: Float[np.ndarray, "h w"]) -> float:
    """How many of its pixels make one of a picture 128 pixels high."""
    return image.shape[0] / _REFERENCE_HEIGHT


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


def _blurs(
    grey: Float[np.ndarray, "h w"], narrow: float, wide: float
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Gaussian means of two widths; the picture is mirrored at its borders."""
    scale = picture_scale(grey)
    return ndimage.gaussian_filter(grey, narrow * scale), ndimage.gaussian_filter(
        grey, wide * scale
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
