"""Simplified sketches: what goes, what stays and how wide it is, on lines by hand."""

import numpy as np
import pytest
from scipy import ndimage

from cgan_jax import simplify, sketches

EIGHT = np.ones((3, 3), bool)


def _black(*rows: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in row] for row in rows])


def _paper(side: int = 128) -> np.ndarray:
    return np.ones((side, side), np.float32)


def _shapes() -> np.ndarray:
    """A ring, a bar and a slanted line, 128 pixels."""
    rows, columns = np.indices((128, 128))
    ring = np.abs(np.hypot(rows - 40, columns - 40) - 24) < 2
    bar = (np.abs(rows - 90) < 3) & (np.abs(columns - 60) < 50)
    line = (np.abs(rows - columns / 2 - 10) < 2) & (columns > 80)
    return ring | bar | line


def test_specks_go_and_lines_stay():
    black = _black("##....", "##...#", "....#.", "...#..", "..#...")
    expected = black.copy()
    expected[:2, :2] = False
    # Four pixels that touch only at corners are one piece.
    np.testing.assert_array_equal(simplify.remove_specks(black, 4.0), black)
    black[1, 1] = False
    expected[1, 1] = False
    np.testing.assert_array_equal(simplify.remove_specks(black, 4.0), expected)


def test_a_bar_thins_to_its_middle_row():
    black = np.zeros((9, 30), bool)
    black[2:7, 2:28] = True
    rows, columns = np.nonzero(simplify.thin(black))
    assert set(rows) == {4}
    assert columns.min() <= 5
    assert columns.max() >= 24
    assert len(columns) == np.ptp(columns) + 1


def test_thinning_keeps_pieces_and_holes():
    black = _shapes()
    centre = simplify.thin(black)
    assert not (centre & ~black).any()
    assert ndimage.label(centre, EIGHT)[1] == ndimage.label(black, EIGHT)[1] == 3
    assert ndimage.label(~centre)[1] == ndimage.label(~black)[1] == 2
    # One pixel wide: no block of two by two, and thinning again changes nothing.
    blocks = centre[1:, 1:] & centre[1:, :-1] & centre[:-1, 1:] & centre[:-1, :-1]
    assert not blocks.any()
    np.testing.assert_array_equal(simplify.thin(centre), centre)


def test_a_dot_thins_to_a_pixel():
    black = np.pad(np.ones((2, 2), bool), 3)
    assert simplify.thin(black).sum() == 1


def test_thinning_at_the_border_of_the_picture():
    assert simplify.thin(np.ones((3, 12), bool)).any()
    assert simplify.thin(np.ones((1, 1), bool)).all()


def test_stubs_go_and_branches_and_short_lines_stay():
    centre = np.zeros((30, 40), bool)
    centre[10, 5:35] = True
    centre[11:14, 12] = True  # a stub of 3
    centre[11:22, 25] = True  # a branch of 11
    centre[26, 3:6] = True  # a line of its own
    expected = centre.copy()
    expected[11:14, 12] = False
    found = simplify.thin(simplify.remove_stubs(centre, 6.0))
    assert not (found & ~expected).any()
    # Where the branch leaves, thinning may cut the corner by a pixel.
    assert (expected & ~found).sum() <= 1


def test_a_line_without_knots_keeps_its_ends():
    centre = np.zeros((5, 20), bool)
    centre[2, 2:6] = True
    np.testing.assert_array_equal(simplify.remove_stubs(centre, 10.0), centre)


@pytest.mark.parametrize(("missing", "joined"), [(4, True), (7, False)])
def test_gaps_are_closed_up_to_their_limit(missing, joined):
    centre = np.zeros((5, 40), bool)
    centre[2, 2:38] = True
    centre[2, 15 : 15 + missing] = False
    found = simplify.join_ends(centre, 5.0)
    assert found[2, 2:38].all() == joined
    assert found.sum() == (36 if joined else 36 - missing)


def test_only_the_nearest_ends_are_joined():
    centre = np.zeros((20, 40), bool)
    centre[10, 2:15] = centre[10, 18:38] = True
    centre[14:20, 16] = True  # its end is near too, but no end's nearest
    found = simplify.join_ends(centre, 5.0)
    assert found[10, 2:38].all()
    assert found.sum() == centre.sum() + 3


@pytest.mark.parametrize("width", [1.0, 2.5, 4.0])
def test_lines_are_drawn_at_the_stated_width(width):
    centre = np.zeros((40, 40), bool)
    centre[20] = True
    ink = 1 - simplify.draw_lines(centre, width)
    np.testing.assert_allclose(ink.sum(axis=0), width, atol=0.02)
    assert ink[20].min() > 0.6


def test_lines_of_any_width_come_out_at_one():
    rows, _ = np.indices((128, 128))
    for half in (1, 2, 4):
        ink = 1 - simplify.simplify(np.where(np.abs(rows - 60) < half, 0.0, 1.0))
        np.testing.assert_allclose(ink[:, 20:108].sum(axis=0), 2.5, atol=0.05)
        assert abs(ink[:, 64].argmax() - 60) <= 1


def test_solid_areas_become_outlines():
    sketch = _paper()
    sketch[30:100, 30:100] = 0
    ink = 1 - simplify.simplify(sketch)
    assert ink[40:90, 40:90].max() < 0.01
    edges = [ink[25:38, 40:90].sum(axis=0), ink[40:90, 92:105].sum(axis=1)]
    np.testing.assert_allclose(edges, 2.5, atol=0.1)


def test_a_clean_drawing_keeps_its_lines():
    sketch = np.where(_shapes(), 0.0, 1.0).astype(np.float32)
    found = simplify.simplify(sketch)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    lines = found < 0.5
    assert ndimage.label(lines, EIGHT)[1] == 3
    assert not (lines & ~ndimage.binary_dilation(_shapes(), EIGHT)).any()


def test_a_turned_sketch_gives_nearly_the_turned_lines():
    sketch = np.where(_shapes(), 0.0, 1.0)
    turned = np.rot90(simplify.simplify(np.rot90(sketch)), -1) < 0.5
    upright = simplify.simplify(sketch) < 0.5
    for one, other in ((turned, upright), (upright, turned)):
        near = ndimage.binary_dilation(other, EIGHT, iterations=2)
        assert (one & ~near).sum() <= 0.01 * one.sum()


def test_simplified_lines_follow_the_resolution():
    small = np.where(_shapes(), 0.0, 1.0)
    large = simplify.simplify(np.kron(small, np.ones((2, 2))))
    ink = 1 - large.mean(), 1 - simplify.simplify(small).mean()
    assert abs(ink[0] / ink[1] - 1) < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 20)])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_paper_stays_paper_and_black_is_no_error(shape, level):
    found = simplify.simplify(np.full(shape, level, np.float32))
    assert found.shape == shape
    if level == 1:
        np.testing.assert_array_equal(found, np.ones(shape))


def test_a_simplified_style_is_the_style_simplified():
    grey = np.random.default_rng(0).uniform(size=(32, 32)).astype(np.float32)
    grey = sketches.area_resize(grey, 128)
    expected = simplify.simplify(sketches.fdog(grey))
    assert 0.01 < np.mean(expected < 0.5) < 0.9
    np.testing.assert_array_equal(simplify.style_fn("fdog_simplified")(grey), expected)
    np.testing.assert_array_equal(simplify.style_fn("fdog")(grey), sketches.fdog(grey))


def test_the_parameters_of_a_style_are_named_with_their_values():
    plain = simplify.style_parameters("xdog")
    assert plain["sigma"] == 1.6 and "simplify" not in plain
    both = simplify.style_parameters("xdog_simplified")
    assert both["simplify"]["width"] == 2.5
    assert both == plain | {"simplify": both["simplify"]}


@pytest.mark.parametrize("fn", [simplify.style_fn, simplify.style_parameters])
def test_an_unknown_style_is_refused(fn):
    with pytest.raises(ValueError, match="unknown sketch style 'pencil'"):
        fn("pencil_simplified")
