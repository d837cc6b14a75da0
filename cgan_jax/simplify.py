"""Sketches nearer to what people draw: fewer specks and stubs, lines of one width.

`simplify` does it; each of its steps is a function of its own here. Lengths are in
pixels of a picture 128 pixels high, as in `sketches`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from cgan_jax.sketches import SketchFn, picture_scale, sketch_fn

SIMPLIFIED = "_simplified"  # the end of the names of simplified styles
_EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner are connected
# Neighbours of a pixel, clockwise from the one above: rows and columns further.
_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def simplify(
    sketch: Float[np.ndarray, "h w"],
    *,
    ink: float = 0.35,
    solid: float = 4.0,
    speck: float = 14.0,
    stub: float = 5.0,
    gap: float = 5.0,
    width: float = 2.5,
) -> Float[np.ndarray, "h w"]:
    """Centre lines of a sketch without specks and stubs, joined and drawn anew.

    Args:
      sketch: in [0, 1]: 1 is paper, 0 is ink.
      ink: darkness beyond which a pixel is ink.
      solid: ink deeper inside than this is left out: solid areas become outlines.
        In pixels of a picture 128 pixels high, as are all below.
      speck: pieces of ink of a smaller area are removed.
      stub: branches of a line that are shorter than this are removed.
      gap: ends of lines that are at most so far apart are joined.
      width: width of the lines that are drawn.

    Returns:
      The sketch in [0, 1], of the same dtype.
    """
    scale = picture_scale(sketch)
    black = sketch < 1 - ink
    black &= ndimage.distance_transform_edt(black) <= solid * scale
    centre = thin(remove_specks(black, speck * scale**2))
    centre = thin(remove_stubs(centre, stub * scale))
    lines = draw_lines(join_ends(centre, gap * scale), width * scale)
    return lines.astype(sketch.dtype)


def remove_specks(
    black: Bool[np.ndarray, "h w"], area: float
) -> Bool[np.ndarray, "h w"]:
    """Without the connected pieces of fewer pixels than `area`."""
    pieces, _ = ndimage.label(black, _EIGHT)
    keep = np.bincount(pieces.ravel()) >= area
    keep[0] = False
    return keep[pieces]


def thin(black: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Lines one pixel wide in the middle of the ink, connected as it was.

    Guo and Hall, "Parallel thinning with two-subiteration algorithms", Communications
    of the ACM 32(3), 1989, algorithm A1.
    """
    black = black.copy()
    changed = True
    while changed:
        changed = False
        for side in (0, 4):
            loose = black & _is_loose(_neighbours(black), side)
            black ^= loose
            changed |= bool(loose.any())
    return black


def _is_loose(around: Bool[np.ndarray, "8 h w"], side: int) -> Bool[np.ndarray, "h w"]:
    """Whether a pixel can go in the sub-iteration that starts from this neighbour."""
    n, ne, e, se, s, sw, w, nw = np.roll(around, -side, axis=0)
    ways = [~n & (ne | e), ~e & (se | s), ~s & (sw | w), ~w & (nw | n)]
    pairs = [nw | n, ne | e, se | s, sw | w], [n | ne, e | se, s | sw, w | nw]
    count = np.minimum(*(np.sum(pair, axis=0) for pair in pairs))
    once = np.sum(ways, axis=0) == 1
    return once & (count >= 2) & (count <= 3) & ~((n | ne | ~se) & e)


def remove_stubs(
    centre: Bool[np.ndarray, "h w"], length: float
) -> Bool[np.ndarray, "h w"]:
    """Without the branches of fewer pixels than `length` that end in nothing.

    The pixel that met the line may stay; `thin` takes it.

    Args:
      centre: lines one pixel wide.
      length: in pixels of this picture.
    """
    count = np.where(centre, _neighbours(centre).sum(axis=0), 0)
    knots = count > 2
    branches, total = ndimage.label(centre & ~knots, _EIGHT)
    size = np.bincount(branches.ravel(), minlength=total + 1)
    open_end = np.zeros(total + 1, bool)
    open_end[branches[count == 1]] = True
    at_knot = np.zeros(total + 1, bool)
    at_knot[branches[ndimage.binary_dilation(knots, _EIGHT)]] = True
    stub = open_end & at_knot & (size + 1 < length)
    stub[0] = False
    return centre & ~stub[branches]


def join_ends(centre: Bool[np.ndarray, "h w"], gap: float) -> Bool[np.ndarray, "h w"]:
    """With straight lines between ends that are each other's nearest.

    Args:
      centre: lines one pixel wide.
      gap: the furthest that is joined, in pixels of this picture.
    """
    centre = centre.copy()
    count = _neighbours(centre).sum(axis=0)
    ends = np.argwhere(centre & (count == 1))
    if len(ends) < 2:
        return centre
    points = ends @ np.array([1j, 1])
    distance = np.abs(points[:, None] - points)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    mutual = nearest[nearest] == np.arange(len(ends))
    for i in np.flatnonzero(mutual & (distance.min(axis=1) <= gap)):
        steps = np.linspace(ends[i], ends[nearest[i]], 2 * int(gap) + 2)
        centre[tuple(np.rint(steps).astype(int).T)] = True
    return centre


def draw_lines(
    centre: Bool[np.ndarray, "h w"], width: float
) -> Float[np.ndarray, "h w"]:
    """Black lines of this width on white paper, their edges soft by a quarter of it.

    Args:
      centre: lines one pixel wide.
      width: in pixels of this picture; what is below 1 is drawn as 1.
    """
    if not centre.any():
        return np.ones(centre.shape)
    distance = ndimage.distance_transform_edt(~centre)
    hard = (distance - max(width - 1, 0) / 2).clip(0, 1)
    return ndimage.gaussian_filter(hard, width / 4)


def _neighbours(black: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "8 h w"]:
    """The eight neighbours of each pixel, clockwise from above; white outside."""
    height, width = black.shape
    padded = np.pad(black, 1)
    return np.stack(
        [
            padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
            for row, column in _AROUND
        ]
    )


def style_fn(name: str) -> SketchFn:
    """The style of this name; `xdog_simplified` is `xdog`, simplified.

    Raises:
      ValueError: no style has this name; the message lists those there are.
    """
    draw = sketch_fn(name.removesuffix(SIMPLIFIED))
    return (lambda grey: simplify(draw(grey))) if name.endswith(SIMPLIFIED) else draw


def style_parameters(name: str) -> dict[str, Any]:
    """The values of all parameters of a style, fit for JSON.

    Raises:
      ValueError: as of `style_fn`.
    """
    parameters = _defaults(sketch_fn(name.removesuffix(SIMPLIFIED)))
    if name.endswith(SIMPLIFIED):
        parameters["simplify"] = _defaults(simplify)
    return parameters


def _defaults(fn: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(fn).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
