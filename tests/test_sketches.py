"""Sketches: lines where the edges are, against NumPy, and area averages by hand."""

import numpy as np
import pytest
from scipy import ndimage

from cgan_jax import sketches

LINES = ["xdog", "fdog", "photocopy"]


def _blobs(seed: int = 0, side: int = 64) -> np.ndarray:
    """A smooth random picture with blobs of about a sixteenth of its side."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (16, 16)).astype(np.float32)
    return sketches.area_resize(coarse, side)


def _blur_by_hand(grey: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of four sigmas as an explicit sum, the picture mirrored outside."""
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    padded = np.pad(grey.astype(np.float64), radius, mode="symmetric")
    for axis in (0, 1):
        padded = np.apply_along_axis(np.convolve, axis, padded, taps, mode="valid")
    return padded


def _scene(seed: int = 0) -> np.ndarray:
    """Black, grey and white discs before each other, 128 pixels, slightly unsharp."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((128, 128))
    grey = np.full((128, 128), 0.5)
    for x, y, radius in rng.uniform(size=(20, 3)):
        inside = np.hypot(columns - 128 * x, rows - 128 * y) < 8 + 24 * radius
        grey[inside] = rng.choice([0.2, 0.5, 0.8])
    return ndimage.gaussian_filter(grey, 0.7).astype(np.float32)


def _edge(low: float = 0.2, high: float = 0.8) -> np.ndarray:
    """128 pixels, dark on the left, bright on the right."""
    grey = np.full((128, 128), high, np.float32)
    grey[:, :64] = low
    return grey


def _moved(before: np.ndarray, after: np.ndarray) -> float:
    """Part of the inked pixels that have no ink within a pixel in the other sketch."""
    ink = before < 0.5, after < 0.5
    near = [ndimage.binary_dilation(black, np.ones((3, 3))) for black in ink]
    alone = (ink[0] & ~near[1]).sum() + (ink[1] & ~near[0]).sum()
    return alone / (ink[0].sum() + ink[1].sum())


def test_luma_by_hand():
    colours = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]], np.float32)
    np.testing.assert_allclose(
        sketches.luma(colours), [[0.299, 0.587, 0.114, 1]], rtol=1e-6
    )


def test_xdog_is_the_published_formula():
    grey = _blobs()
    sigma = 1.6 * 64 / 128
    difference = _blur_by_hand(grey, sigma) - 0.97 * _blur_by_hand(grey, 1.6 * sigma)
    expected = np.where(difference >= -0.005, 1, 1 + np.tanh(60 * (difference + 0.005)))
    np.testing.assert_allclose(sketches.xdog(grey), expected, atol=2e-5)
    assert (
        0.02 < 1 - expected.mean() < 0.5
    )  # a picture in which there is ink to compare


def test_xdog_solid_is_the_published_formula():
    grey = _blobs()
    sigma = 1.6 * 64 / 128
    sharpened = 17 * _blur_by_hand(grey, sigma) - 16 * _blur_by_hand(grey, 1.6 * sigma)
    expected = np.where(sharpened >= 0.58, 1, 1 + np.tanh(60 * (sharpened - 0.58)))
    np.testing.assert_allclose(sketches.xdog_solid(grey), expected, atol=2e-3)


def test_photocopy_is_the_stated_formula():
    grey = _blobs()
    contrast = _blur_by_hand(grey, 1 * 64 / 128) / _blur_by_hand(grey, 8 * 64 / 128) - 1
    expected = np.where(contrast >= -0.05, 1, 1 + np.tanh(2 * (contrast + 0.05)))
    np.testing.assert_allclose(sketches.photocopy(grey), expected, atol=2e-5)
    # The tone is soft: much of it is neither black nor white.
    assert np.mean((expected > 0.2) & (expected < 0.9)) > 0.2


def test_photocopy_leaves_noise_in_the_black_alone():
    noise = np.random.default_rng(0).uniform(0, 0.004, (64, 64)).astype(np.float32)
    sketch = sketches.photocopy(noise)
    assert sketch.min() > 0.98


def test_fdog_on_a_straight_edge_is_the_published_formula():
    # Across a vertical edge all is one-dimensional, and along it nothing changes.
    row = _blur_by_hand(_edge(), 0.5)[60]
    offsets = np.arange(-5, 6)
    narrow, wide = (np.exp(-0.5 * (offsets / s) ** 2) for s in (1, 1.6))
    taps = narrow / narrow.sum() - 0.99 * wide / wide.sum()
    difference = np.convolve(np.pad(row, 5, mode="edge"), taps, mode="valid")
    expected = 1 + np.tanh(100 * np.minimum(difference + 0.004, 0))
    middle = sketches.fdog(_edge())[60]
    np.testing.assert_allclose(middle[45:83], expected[45:83], atol=1e-5)


def test_fdog_joins_what_noise_breaks():
    rows, columns = np.indices((128, 128))
    edge = np.where(columns + rows / 2 > 96, 0.6, 0.4)
    pieces = dict.fromkeys((sketches.fdog, sketches.xdog), 0)
    for seed in range(5):
        grey = edge + np.random.default_rng(seed).normal(0, 0.05, edge.shape)
        for draw in pieces:
            pieces[draw] += ndimage.label(draw(grey) < 0.5, np.ones((3, 3)))[1]
    assert pieces[sketches.fdog] < 0.6 * pieces[sketches.xdog]


@pytest.mark.parametrize("style", LINES)
@pytest.mark.parametrize("brightness", [0.0, 0.3, 1.0])
def test_a_flat_area_has_no_lines(style, brightness):
    flat = np.full((32, 32), brightness, np.float32)
    np.testing.assert_array_equal(sketches.sketch_fn(style)(flat), np.ones((32, 32)))


@pytest.mark.parametrize(
    ("style", "width"), [("xdog", 4.0), ("fdog", 3.3), ("photocopy", 6.8)]
)
def test_an_edge_gives_one_line_of_the_stated_width_on_its_dark_side(style, width):
    ink = 1 - sketches.sketch_fn(style)(_edge())
    inked = np.flatnonzero(ink[50] > 0.5)
    assert inked[-1] in (62, 63)
    np.testing.assert_array_equal(inked, np.arange(inked[0], inked[-1] + 1))
    assert abs(ink[50].sum() - width) < 0.1
    assert ink[50, 64:].max() < 0.1
    np.testing.assert_allclose(ink, np.broadcast_to(ink[50], ink.shape), atol=1e-5)


def test_solid_fills_what_is_dark():
    sketch = sketches.xdog_solid(_edge())
    np.testing.assert_allclose(sketch[:, :50], 0, atol=1e-6)
    np.testing.assert_array_equal(sketch[:, 78:], 1)


@pytest.mark.parametrize("style", sketches.style_names())
def test_a_turned_picture_gives_the_turned_sketch(style):
    draw = sketches.sketch_fn(style)
    grey = _blobs()
    np.testing.assert_allclose(draw(np.rot90(grey)), np.rot90(draw(grey)), atol=2e-3)
    np.testing.assert_allclose(draw(grey[:, ::-1]), draw(grey)[:, ::-1], atol=2e-3)
    assert 0.02 < 1 - draw(grey).mean() < 0.7


@pytest.mark.parametrize("change", [(1, 0.1), (1, -0.1), (0.8, 0), (1.25, 0)])
@pytest.mark.parametrize("style", ["xdog", "fdog"])
def test_brightness_and_contrast_hardly_move_the_lines(style, change):
    contrast, shift = change
    draw = sketches.sketch_fn(style)
    grey = _scene()
    changed = 0.5 + contrast * (grey - 0.5) + shift
    assert _moved(draw(grey), draw(changed)) < 0.1


@pytest.mark.parametrize("change", [(1, 0.1), (1, -0.1), (0.8, 0), (1.25, 0)])
def test_brightness_and_contrast_hardly_change_the_tone(change):
    contrast, shift = change
    changed = 0.5 + contrast * (_scene() - 0.5) + shift
    difference = sketches.photocopy(changed) - sketches.photocopy(_scene())
    assert np.abs(difference).mean() < 0.05


def test_photocopy_does_not_see_exposure():
    sketch = sketches.photocopy(0.7 * _scene())
    np.testing.assert_allclose(sketch, sketches.photocopy(_scene()), atol=1e-5)


@pytest.mark.parametrize("style", sketches.style_names())
def test_values_stay_between_ink_and_paper(style):
    noise = np.random.default_rng(1).uniform(0, 1, (40, 48)).astype(np.float32)
    sketch = sketches.sketch_fn(style)(noise)
    assert sketch.dtype == np.float32
    assert sketch.min() >= 0
    assert sketch.max() == 1


@pytest.mark.parametrize("style", LINES)
def test_line_width_follows_the_resolution(style):
    draw = sketches.sketch_fn(style)
    small = _blobs(side=128)
    large = np.kron(small, np.ones((2, 2), np.float32))
    reduced = sketches.area_resize(draw(large), 128)
    assert np.abs(reduced - draw(small)).mean() < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (30, 50)])
@pytest.mark.parametrize("style", sketches.style_names())
def test_every_shape_can_be_sketched(style, shape):
    grey = np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)
    assert sketches.sketch_fn(style)(grey).shape == shape


@pytest.mark.parametrize("style", sketches.style_names())
def test_a_style_leaves_its_photograph_alone(style):
    grey = _blobs()
    sketches.sketch_fn(style)(grey)
    np.testing.assert_array_equal(grey, _blobs())


def test_unknown_style_lists_the_known_ones():
    with pytest.raises(ValueError, match="'pencil'.*fdog, photocopy, xdog, xdog_solid"):
        sketches.sketch_fn("pencil")


def test_area_resize_averages_whole_blocks():
    image = np.random.default_rng(2).uniform(0, 1, (12, 6, 3)).astype(np.float32)
    expected = image.reshape(3, 4, 3, 2, 3).mean((1, 3))
    resized = sketches.area_resize(image, 3)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=1e-6)


def test_area_resize_divides_pixels_between_neighbours():
    image = np.array([[0.0, 0.6, 0.9]] * 2)
    expected = [(0.0 + 0.3) / 1.5, (0.3 + 0.9) / 1.5]
    np.testing.assert_allclose(
        sketches.area_resize(image, 2), [expected] * 2, rtol=1e-12
    )


@pytest.mark.parametrize("shape", [(64, 64), (65, 127), (201, 90, 3), (64, 300, 1)])
def test_area_resize_keeps_the_mean(shape):
    image = np.random.default_rng(3).uniform(0, 1, shape)
    resized = sketches.area_resize(image, 64)
    assert resized.shape == (64, 64, *shape[2:])
    np.testing.assert_allclose(resized.mean((0, 1)), image.mean((0, 1)), rtol=1e-9)


def test_area_resize_to_its_own_size_changes_nothing():
    image = np.random.default_rng(4).uniform(0, 1, (9, 9, 3))
    np.testing.assert_allclose(sketches.area_resize(image, 9), image, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 9), (40, 8, 3)])
def test_enlarging_stays_in_range(shape):
    image = np.random.default_rng(5).integers(0, 2, shape).astype(np.float32)
    resized = sketches.area_resize(image, 16)
    assert resized.shape == (16, 16, *shape[2:])
    assert resized.min() >= 0
    assert resized.max() <= 1


def test_enlarging_keeps_channels_apart_and_flat_areas_flat():
    image = np.zeros((4, 4, 3), np.float32)
    image[..., 1] = 0.25
    image[..., 2] = 1
    expected = np.broadcast_to(np.array([0, 0.25, 1], np.float32), (10, 10, 3))
    np.testing.assert_allclose(sketches.area_resize(image, 10), expected, atol=1e-6)
