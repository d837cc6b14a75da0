"""Sketches as people might have drawn them: shifted, bent, thicker, with strokes left out.

What an encoder is trained on (`encoder`): the distorted sketch goes in, the latent of the
sketch as it was should come out. Lengths go by the height of the sketch; the amounts are
ours, chosen so that a person still sees the same face.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

Sketch = Float[Array, "s s"]

_CLEAN = 0.2  # part of the sketches that stay as they are
_SHIFT = 1 / 24  # of the height, to either side
_BEND = 1 / 48  # of the height, standard deviation
_BEND_GRID = 4  # places in a line that are bent each for itself; smooth between
_THINNER = 0.5  # a line of one pixel would be gone at 1
_RECTANGLES = 2
_LARGEST = 0.4  # side of a rectangle, in heights
_CELL = 1 / 8  # side of the pieces of strokes that are left out, in heights
_MOST_CELLS = 0.3  # part of them, at most


@jax.jit
def distort(sketches: Float[Array, "n s s"], keys: Array) -> Float[Array, "n s s"]:
    """Distorts each sketch by its own key, one in five not at all.

    Args:
      sketches: in [0, 1], 1 is paper.
      keys: one for each sketch.

    Returns:
      Sketches in [0, 1].
    """
    return jax.vmap(_distort)(sketches, keys)


def _distort(sketch: Sketch, key: Array) -> Sketch:
    bend_key, width_key, erase_key, cell_key, clean_key = jax.random.split(key, 5)
    moved = bend(sketch, bend_key)
    moved = change_width(moved, width_key)
    moved = erase_pieces(erase_rectangles(moved, erase_key), cell_key)
    return jnp.where(jax.random.uniform(clean_key) < _CLEAN, sketch, moved)


def bend(sketch: Sketch, key: Array) -> Sketch:
    """Moves the whole and, smoothly, its parts; paper comes in."""
    size = sketch.shape[0]
    shift_key, bend_key = jax.random.split(key)
    reach = _SHIFT * size
    whole = jax.random.uniform(shift_key, (2, 1, 1), minval=-reach, maxval=reach)
    parts = jax.random.normal(bend_key, (2, _BEND_GRID, _BEND_GRID))
    smooth = jax.image.resize(parts, (2, size, size), "cubic")
    return _sample(sketch, *(whole + _BEND * size * smooth))


def _sample(sketch: Sketch, down: Array, right: Array) -> Sketch:
    """The sketch at each pixel's place plus an offset, linear between pixels."""
    rows, columns = jnp.meshgrid(*map(jnp.arange, sketch.shape), indexing="ij")
    places = [rows + down, columns + right]
    moved = map_coordinates(sketch, places, order=1, mode="constant", cval=1.0)
    return jnp.clip(moved, 0.0, 1.0)  # rounding


def change_width(sketch: Sketch, key: Array) -> Sketch:
    """Draws strokes up to a pixel thicker all round, or fainter and thinner."""
    amount = jax.random.uniform(key, minval=-_THINNER, maxval=1.0)
    thick, thin = _extreme(sketch, lax.min), _extreme(sketch, lax.max)
    other = jnp.where(amount > 0, thick, thin)
    return sketch + jnp.abs(amount) * (other - sketch)


def _extreme(sketch: Sketch, of: Callable[[Array, Array], Array]) -> Sketch:
    """The darkest, or the lightest, of the three by three pixels around each."""
    rows = functools.reduce(of, _neighbours(sketch))
    return functools.reduce(of, _neighbours(rows.T)).T


def _neighbours(sketch: Sketch) -> list[Sketch]:
    padded = jnp.pad(sketch, ((1, 1), (0, 0)), mode="edge")
    return [padded[:-2], sketch, padded[2:]]


def erase_rectangles(sketch: Sketch, key: Array) -> Sketch:
    """Turns up to two rectangles into paper; they may cross an edge."""
    pixels = (jnp.arange(sketch.shape[0]) + 0.5) / sketch.shape[0]
    for one in jax.random.split(key, _RECTANGLES):
        centre, size, there = jnp.split(jax.random.uniform(one, (5,)), [2, 4])
        near = jnp.abs(pixels - centre[:, None]) < size[:, None] * _LARGEST / 2
        inside = near[0][:, None] & near[1][None] & (there < 0.5)
        sketch = jnp.where(inside, 1.0, sketch)
    return sketch


def erase_pieces(sketch: Sketch, key: Array) -> Sketch:
    """Turns some of the squares of a grid into paper: pieces of strokes are gone."""
    size = sketch.shape[0]
    cell = max(1, round(_CELL * size))
    part_key, cell_key = jax.random.split(key)
    count = -(-size // cell)
    part = jax.random.uniform(part_key, maxval=_MOST_CELLS)
    gone = jax.random.uniform(cell_key, (count, count)) < part
    gone = jnp.repeat(jnp.repeat(gone, cell, 0), cell, 1)[:size, :size]
    return jnp.where(gone, 1.0, sketch)
