"""Errors of stated strength in sketches: strokes out of place, missing, too thick, too soft.

An encoder learns from mixtures of random strength (`distortions`); these serve to measure
what answers make of one error as it grows (`robustness`). One picture, seed and kind of
error decide all that is random; the strength only scales it: a stronger warp moves
everything the same way, further, and what was dropped stays dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import ndimage

from cgan_jax import array_cache

Sketch = UInt8[np.ndarray, "s s"]

PAPER = 255
_STROKE = 128  # a pixel this dark or darker belongs to a stroke
_BEND = 1 / 8  # width of the Gaussian that smooths a warp, in heights
_PIECE = 1 / 8  # of the height: no two middles of pieces of strokes are closer


class Kind(NamedTuple):
    """A kind of error.

    Attributes:
      apply: takes a sketch, a strength from 0 on, and what draws at random.
      meaning: of the strength, for people.
      largest: strength that is allowed.
    """

    apply: Callable[[Sketch, float, np.random.Generator], Sketch]
    meaning: str
    largest: float


def distort(
    sketches: UInt8[np.ndarray, "n s s"], kind: str, strength: float, *, seed: int
) -> UInt8[np.ndarray, "n s s"]:
    """Each sketch with an error of its own, which no other sketch takes part in.

    Args:
      sketches: 255 is paper.
      kind: of `KINDS`.
      strength: as of the kind's function; 0 changes nothing.
      seed: of all that is random, together with the picture itself.

    Raises:
      ValueError: the strength is negative, too large, or no number.
    """
    apply, meaning, largest = KINDS[kind]
    if not 0 <= strength <= largest:
        raise ValueError(
            f"--{kind}={strength:g} ({meaning}) must lie between 0 and {largest:g}"
        )
    return np.stack([apply(x, strength, _generator(kind, seed, x)) for x in sketches])


def _generator(kind: str, seed: int, sketch: Sketch) -> np.random.Generator:
    return np.random.default_rng(int(array_cache.content_key(kind, seed, sketch), 16))


def warp(sketch: Sketch, pixels: float, rng: np.random.Generator) -> Sketch:
    """Bends a sketch smoothly: no point moves by more than `pixels`, and one by as much.

    The displacements are white noise under a Gaussian of 1/8 of the height, scaled. Each
    pixel is taken from the one that is nearest to its place before; paper comes in at the
    borders. Interpolation between pixels would soften the lines, an error of its own that
    may weigh more than the bending: see `soften`.
    """
    down, right = _displacements(len(sketch), rng) * pixels
    rows, columns = np.indices(sketch.shape)
    return ndimage.map_coordinates(
        sketch, (rows + down, columns + right), order=0, cval=PAPER
    )


def _displacements(size: int, rng: np.random.Generator) -> Float[np.ndarray, "2 s s"]:
    """Down and right, smooth; the longest has length 1."""
    noise = rng.normal(size=(2, size, size))
    # Wrapped round, so that the borders move no more than the middle.
    smooth = ndimage.gaussian_filter(noise, _BEND * size, axes=(1, 2), mode="wrap")
    return smooth / np.hypot(*smooth).max()


def drop(sketch: Sketch, share: float, rng: np.random.Generator) -> Sketch:
    """Leaves pieces of strokes out until about this share of all ink is gone.

    The plane is divided among random points on strokes, each pixel to the nearest; no two
    are closer than 1/8 of the height. What lies around a point is one piece. Pieces go in
    random order, as many as come closest to the share.
    """
    pieces = _pieces(sketch, rng)
    ink = np.bincount(pieces.ravel(), PAPER - sketch.ravel().astype(int))
    order = rng.permutation(len(ink))
    gone = np.cumsum([0, *ink[order]])
    count = np.abs(gone - share * gone[-1]).argmin()
    return np.where(np.isin(pieces, order[:count]), PAPER, sketch).astype(np.uint8)


def _pieces(sketch: Sketch, rng: np.random.Generator) -> Int[np.ndarray, "s s"]:
    """To which piece a pixel belongs, counted from 0; to 0 where there is no stroke."""
    apart = _PIECE * len(sketch)
    middles = np.zeros((0, 2), int)
    for place in rng.permutation(np.argwhere(sketch <= _STROKE)):
        if (np.hypot(*(middles - place).T) >= apart).all():
            middles = np.vstack([middles, place])
    if not len(middles):
        return np.zeros(sketch.shape, int)
    numbers = np.full(sketch.shape, -1)
    numbers[tuple(middles.T)] = np.arange(len(middles))
    nearest = ndimage.distance_transform_edt(
        numbers < 0, return_distances=False, return_indices=True
    )
    return numbers[tuple(nearest)]


def thicken(sketch: Sketch, pixels: float, rng: np.random.Generator) -> Sketch:
    """Draws each stroke wider by `pixels` on every side: the darkest within that distance."""
    del rng  # nothing is random
    reach = int(pixels)
    if reach != pixels:
        raise ValueError(f"--thicken={pixels:g} must be whole pixels")
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(y, x) <= pixels
    return ndimage.minimum_filter(sketch, footprint=disc, mode="nearest")


def soften(sketch: Sketch, pixels: float, rng: np.random.Generator) -> Sketch:
    """Blurs a sketch by a Gaussian with a standard deviation of `pixels`: no stroke moves."""
    del rng  # nothing is random
    blurred = ndimage.gaussian_filter(sketch.astype(np.float64), pixels, mode="nearest")
    return np.rint(blurred).astype(np.uint8)


KINDS = {
    "warp": Kind(warp, "longest displacement, in pixels", 100),
    "drop": Kind(drop, "share of the ink that is left out", 1),
    "thicken": Kind(thicken, "growth to every side, in pixels", 100),
    "soften": Kind(soften, "standard deviation of the blur, in pixels", 100),
}
