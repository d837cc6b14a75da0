"""Edge tangent flow: which way the edges of a picture run, and sums across and along them.

A direction without a sign is a complex number with twice its angle, x + iy squared:
t and -t are one number, so that neighbouring directions can be averaged (Bigun and
Granlund, "Optimal orientation detection of linear symmetry", ICCV 1987). Its parts are
those of the structure tensor, whose minor eigenvector is the tangent: Kyprianidis and
Doellner, "Image abstraction by structure adaptive filtering", TPCG 2008, section 3.1,
after Brox et al., "Adaptive structure tensors and their applications", 2006.
"""

import math

import numpy as np
from jaxtyping import Complex, Float
from scipy import ndimage

_TRUNCATE = 2.0  # sums along the flow end at so many standard deviations
_ACROSS_TRUNCATE = 3.0  # the tails of a difference must not be cut


def edge_flow(
    grey: Float[np.ndarray, "h w"], sigma: float, rho: float
) -> Complex[np.ndarray, "h w"]:
    """The tangent of the edges from the smoothed structure tensor.

    Args:
      grey: brightness.
      sigma: width of the derivative of Gaussians that gives the gradient, in pixels.
      rho: width of the Gaussian that smooths the tensor, in pixels.

    Returns:
      (t_x + i t_y)^2 times the strength of the edges around; 0 where no edge is near.
    """
    along_x = ndimage.gaussian_filter(grey, sigma, order=(0, 1))
    along_y = ndimage.gaussian_filter(grey, sigma, order=(1, 0))
    gradient = along_x + 1j * along_y
    return -ndimage.gaussian_filter(gradient**2, rho)


def difference_across(
    grey: Float[np.ndarray, "h w"],
    flow: Complex[np.ndarray, "h w"],
    *,
    sigma: float,
    k: float,
    tau: float,
    step: float,
) -> Float[np.ndarray, "h w"]:
    """Difference of Gaussians on the straight line through each pixel across the flow.

    Kang, Lee, Chui 2007, section 3.1: narrow minus tau times k times as wide.

    Args:
      grey: brightness.
      flow: the edges' tangents, from `edge_flow`.
      sigma: width of the narrow Gaussian, in pixels.
      k: the wide one is k times as wide.
      tau: weight of the wide one.
      step: distance of the samples, in pixels.
    """
    reach = math.ceil(_ACROSS_TRUNCATE * k * sigma / step)
    offsets = step * np.arange(-reach, reach + 1)
    weights = _gaussian(offsets, sigma) - tau * _gaussian(offsets, k * sigma)
    normal, pixels = 1j * _unit(np.sqrt(flow)), _pixels(grey)
    response = np.zeros_like(grey)
    for weight, offset in zip(weights, offsets, strict=True):
        response += weight * _sample(grey, pixels + offset * normal)
    return response


def smooth_along(
    values: Float[np.ndarray, "h w"],
    flow: Complex[np.ndarray, "h w"],
    *,
    sigma: float,
    step: float,
) -> Float[np.ndarray, "h w"]:
    """Gaussian mean along the stream line through each pixel, both ways.

    Kang, Lee, Chui 2007, section 3.1, by Euler's method. Of t and -t each step takes
    the one that goes on: for the direction d so far and a flow z, |z| d + z conj(d)
    points along the tangent and never back. Nothing moves where there is no flow.

    Args:
      values: what is averaged.
      flow: the edges' tangents, from `edge_flow`.
      sigma: width of the Gaussian, in pixels along the line.
      step: distance of the samples, in pixels.
    """
    start, pixels = _unit(np.sqrt(flow)), _pixels(values)
    weights = _gaussian(
        step * np.arange(math.ceil(_TRUNCATE * sigma / step) + 1), sigma
    )
    total = weights[0] * values
    for direction in (start, -start):
        position = pixels
        for weight in weights[1:]:
            position = position + step * direction
            total += weight * _sample(values, position)
            tangent = _sample(flow, position)
            direction = _unit(np.abs(tangent) * direction + tangent * direction.conj())
    return total / (2 * weights.sum() - weights[0])


def _gaussian(
    offsets: Float[np.ndarray, " n"], sigma: float
) -> Float[np.ndarray, " n"]:
    """Weights with sum 1."""
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


def _unit(vectors: Complex[np.ndarray, "h w"]) -> Complex[np.ndarray, "h w"]:
    """Length 1, but 0 stays 0."""
    length = np.abs(vectors)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _pixels(values: Float[np.ndarray, "h w"]) -> Complex[np.ndarray, "h w"]:
    """Column + i row of each pixel."""
    rows, columns = np.indices(values.shape)
    return np.asarray(columns + 1j * rows)


def _sample(
    values: Float[np.ndarray, "h w"] | Complex[np.ndarray, "h w"],
    position: Complex[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w"] | Complex[np.ndarray, "h w"]:
    """Bilinear interpolation at column + i row; outside the picture its edge goes on.

    `ndimage.map_coordinates` does the same in twice the time.
    """
    height, width = values.shape
    x, y = position.real.clip(0, width - 1), position.imag.clip(0, height - 1)
    left = np.minimum(x.astype(np.intp), max(width - 2, 0))
    top = np.minimum(y.astype(np.intp), max(height - 2, 0))
    right, below = min(1, width - 1), width * min(1, height - 1)
    flat, corner = values.ravel(), top * width + left
    x, y = x - left, y - top
    upper, lower = flat.take(corner), flat.take(corner + below)
    upper = upper + x * (flat.take(corner + right) - upper)
    lower = lower + x * (flat.take(corner + below + right) - lower)
    return upper + y * (lower - upper)
