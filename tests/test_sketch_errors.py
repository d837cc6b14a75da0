"""Errors of sketches: as strong as they say, of one picture alone, nothing at strength 0."""

import numpy as np
import pytest
from scipy import ndimage

from cgan_jax import sketch_errors
from cgan_jax.sketch_errors import KINDS, PAPER, distort

SIZE = 64


@pytest.fixture(scope="module")
def sketches():
    """Soft rings and lines, each picture its own."""
    y, x = np.mgrid[:SIZE, :SIZE]
    pictures = []
    for radius in (12, 17, 22, 26):
        ring = np.abs(np.hypot(y - 32, x - 30) - radius)
        line = np.abs(x - y + radius) / np.sqrt(2)
        nearest = np.minimum(ring, line)
        pictures.append(np.rint(255 * np.clip(nearest / 2, 0, 1)))
    return np.array(pictures, np.uint8)


def ink(sketches):
    return (PAPER - sketches.astype(int)).sum((1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_strength_0_changes_not_a_bit(sketches, kind):
    for sketch in (sketches, np.full((1, SIZE, SIZE), PAPER, np.uint8)):
        np.testing.assert_array_equal(distort(sketch, kind, 0.0, seed=3), sketch)


@pytest.mark.parametrize(("kind", "strength"), [("warp", 3.0), ("drop", 0.4)])
def test_picture_and_seed_alone_decide(sketches, kind, strength):
    one = distort(sketches, kind, strength, seed=3)
    order = np.array([2, 0, 3])
    np.testing.assert_array_equal(
        distort(sketches[order], kind, strength, seed=3), one[order]
    )
    other = distort(sketches, kind, strength, seed=4)
    assert (one != other).any((1, 2)).all()
    assert (one != sketches).any((1, 2)).all()


@pytest.mark.parametrize("strength", [1, 6])
def test_a_warp_moves_as_far_as_it_says_and_never_folds(strength):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        down, right = strength * sketch_errors._displacements(SIZE, rng)
        assert np.hypot(down, right).max() == pytest.approx(strength)
        # The map from new to old places keeps its orientation everywhere.
        yy, yx = np.gradient(down)
        xy, xx = np.gradient(right)
        assert ((1 + yy) * (1 + xx) - yx * xy).min() > 0.05


def test_what_is_warped_stays_within_the_displacement(sketches):
    strokes = sketches < 128
    for strength in (1.0, 3.0, 6.0):
        moved = distort(sketches, "warp", strength, seed=0) < 128
        for before, after in zip(strokes, moved, strict=True):
            distance = ndimage.distance_transform_edt(~before)
            assert 0.3 * strength < distance[after].max() <= strength + 1


def test_a_stronger_warp_goes_the_same_way(sketches):
    rng = np.random.default_rng
    weak, strong = (sketch_errors.warp(sketches[0], s, rng(5)) for s in (2.0, 2.01))
    other = sketch_errors.warp(sketches[0], 2.0, rng(6))
    assert (weak != strong).mean() < 0.01
    assert np.abs(weak.astype(int) - other).max() > 200


def test_a_warp_keeps_lines_sharp(sketches):
    moved = distort(sketches, "warp", 2.0, seed=0)
    assert (moved.min((1, 2)) < 20).all() and (moved.max((1, 2)) == PAPER).all()


@pytest.mark.parametrize("strength", [0.5, 2.0, 6.0])
def test_a_warp_makes_up_no_grey_level(sketches, strength):
    moved = distort(sketches, "warp", strength, seed=0)
    for before, after in zip(sketches, moved, strict=True):
        assert set(np.unique(after)) <= {*np.unique(before), PAPER}
    np.testing.assert_allclose(ink(moved), ink(sketches), rtol=0.25)


def test_softening_keeps_the_ink_and_its_places(sketches):
    spread = [sketches.std()]
    for pixels in (0.5, 1.0, 2.0):
        soft = distort(sketches, "soften", pixels, seed=0)
        spread.append(soft.std())
        np.testing.assert_allclose(ink(soft), ink(sketches), rtol=0.02)
        for before, after in zip(sketches, soft, strict=True):
            middles = [ndimage.center_of_mass(PAPER - x) for x in (before, after)]
            np.testing.assert_allclose(*middles, atol=0.1)
    assert spread == sorted(spread, reverse=True) and spread[-1] < 0.8 * spread[0]


def test_about_the_share_of_the_ink_is_dropped_and_the_rest_stays(sketches):
    before, gone = ink(sketches), np.zeros_like(sketches, bool)
    for share in (0.1, 0.3, 0.5, 1.0):
        left = distort(sketches, "drop", share, seed=1)
        np.testing.assert_allclose(1 - ink(left) / before, share, atol=0.05)
        changed = left != sketches
        assert (left[changed] == PAPER).all()
        assert (changed >= gone).all()  # what was dropped stays dropped
        gone = changed


def test_pieces_are_dropped_and_not_single_pixels(sketches):
    left = distort(sketches, "drop", 0.3, seed=1)
    for before, after in zip(sketches, left, strict=True):
        _, count = ndimage.label((before != after), np.ones((3, 3)))
        assert 1 <= count <= 15


@pytest.mark.parametrize("pixels", [1.0, 2.0, 3.0])
def test_strokes_grow_to_every_side_by_the_pixels_and_only_add(pixels):
    dot = np.full((1, 16, 16), PAPER, np.uint8)
    dot[0, 8, 7] = 40
    thick = distort(dot, "thicken", pixels, seed=0)[0]
    y, x = np.mgrid[:16, :16]
    disc = np.hypot(y - 8, x - 7) <= pixels
    assert (thick[disc] == 40).all() and (thick[~disc] == PAPER).all()


def test_thickening_only_adds_ink(sketches):
    thick = distort(sketches, "thicken", 2.0, seed=0)
    assert (thick <= sketches).all() and (ink(thick) > 1.5 * ink(sketches)).all()


@pytest.mark.parametrize(
    ("kind", "strength"), [("drop", 1.5), ("warp", -1.0), ("thicken", float("nan"))]
)
def test_a_strength_that_cannot_be_names_its_flag(sketches, kind, strength):
    with pytest.raises(ValueError, match=f"--{kind}={strength:g} .*must lie between 0"):
        distort(sketches, kind, strength, seed=0)
