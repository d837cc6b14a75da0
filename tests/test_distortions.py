"""Distorted sketches: still sketches, each by its own key, and distorted as promised."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cgan_jax import distortions
from cgan_jax.distortions import distort

SIZE = 32
KEYS = jax.random.split(jax.random.key(0), 64)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def sketches():
    """A square of strokes of one pixel, in the middle; soft as G draws them."""
    one = np.ones((SIZE, SIZE), np.float32)
    one[8:24, [8, 23]] = one[[8, 23], 8:24] = 0.0
    return np.stack([one] * 64)


def each(fn, sketches):
    return np.asarray(jax.jit(jax.vmap(fn))(jnp.asarray(sketches), KEYS))


def ink(sketches):
    return (1 - sketches).sum((1, 2))


@pytest.fixture(scope="module")
def distorted(sketches):
    return np.asarray(distort(jnp.asarray(sketches), KEYS))


def test_what_comes_out_is_a_sketch(sketches, distorted):
    assert distorted.shape == sketches.shape and distorted.dtype == np.float32
    assert distorted.min() >= 0 and distorted.max() <= 1
    assert np.isfinite(distorted).all()
    assert ink(distorted).min() > 0


def test_some_stay_as_they_are_and_most_do_not(sketches, distorted):
    same = (sketches == distorted).all((1, 2)).mean()
    assert 0.05 < same < 0.4


def test_a_key_and_nothing_else_decides(sketches, distorted):
    order = np.random.default_rng(0).permutation(64)
    other = distort(jnp.asarray(sketches), KEYS[order])
    np.testing.assert_array_equal(other, distorted[order])
    assert len({x.tobytes() for x in distorted}) > 32


def test_a_bend_moves_by_a_few_pixels_and_keeps_the_ink(sketches):
    moved = each(distortions.bend, sketches)
    assert 0.7 < ink(moved).min() / ink(sketches)[0] < 1.3
    centres = np.array([ndimage.center_of_mass(1 - x) for x in moved]) - 15.5
    assert 0.5 < np.abs(centres).max() < 4
    assert np.abs(centres.mean(0)).max() < 0.5


def test_strokes_become_thicker_or_fainter_where_they_are(sketches):
    changed = each(distortions.change_width, sketches)
    thick = ink(changed) > ink(sketches)
    assert 0.3 < thick.mean() < 0.95
    assert (changed[thick] <= sketches[thick]).all()
    assert (changed[~thick] >= sketches[~thick]).all()
    far = ndimage.minimum_filter(sketches[0], 3) == 1
    assert (changed[:, far] == 1).all()
    assert ink(changed).max() > 2 * ink(sketches)[0]
    assert ink(changed).min() > 0.4 * ink(sketches)[0]


@pytest.mark.parametrize("name", ["erase_rectangles", "erase_pieces"])
def test_what_is_erased_becomes_paper_and_the_rest_stays(sketches, name):
    erased = each(getattr(distortions, name), sketches)
    gone = erased != sketches
    assert (erased[gone] == 1).all()
    left = ink(erased) / ink(sketches)
    assert left.min() < 0.9 and left.mean() > 0.6


def test_pieces_are_squares_of_a_grid(sketches):
    black = np.zeros_like(sketches)
    cells = each(distortions.erase_pieces, black).reshape(64, 8, 4, 8, 4)
    assert (np.ptp(cells, axis=(2, 4)) == 0).all()
    assert 0.05 < cells.mean() < 0.3


@pytest.mark.parametrize("size", [8, 16, 20])
def test_any_size_will_do(size):
    shape = jax.eval_shape(
        functools.partial(distort, keys=KEYS), jnp.zeros((64, size, size))
    ).shape
    assert shape == (64, size, size)
