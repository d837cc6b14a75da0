"""Sketches: lines where the edges are, against NumPy, and area averages by hand."""

import numpy as np
import pytest

from cgan_jax import sketches


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


@pytest.mark.parametrize("brightness", [0.0, 0.3, 1.0])
def test_a_flat_area_has_no_lines(brightness):
    flat = np.full((32, 32), brightness, np.float32)
    np.testing.assert_array_equal(sketches.xdog(flat), np.ones((32, 32)))


def test_an_edge_gives_one_line_on_its_dark_side():
    grey = np.full((128, 128), 0.8, np.float32)
    grey[:, :64] = 0.2
    ink = 1 - sketches.xdog(grey)
    inked = np.flatnonzero(ink[50] > 0.5)
    assert inked[-1] == 63
    assert 2 <= len(inked) <= 6
    np.testing.assert_array_equal(inked, np.arange(inked[0], 64))
    np.testing.assert_allclose(ink, np.broadcast_to(ink[50], ink.shape), atol=1e-5)


def test_solid_fills_what_is_dark():
    grey = np.full((128, 128), 0.8, np.float32)
    grey[:, :64] = 0.2
    sketch = sketches.xdog_solid(grey)
    np.testing.assert_allclose(sketch[:, :50], 0, atol=1e-6)
    np.testing.assert_array_equal(sketch[:, 78:], 1)


@pytest.mark.parametrize("style", ["xdog", "xdog_solid"])
def test_a_turned_picture_gives_the_turned_sketch(style):
    draw = sketches.sketch_fn(style)
    grey = _blobs()
    np.testing.assert_allclose(draw(np.rot90(grey)), np.rot90(draw(grey)), atol=2e-3)
    np.testing.assert_allclose(draw(grey[:, ::-1]), draw(grey)[:, ::-1], atol=2e-3)


@pytest.mark.parametrize("style", ["xdog", "xdog_solid"])
def test_values_stay_between_ink_and_paper(style):
    noise = np.random.default_rng(1).uniform(0, 1, (40, 48)).astype(np.float32)
    sketch = sketches.sketch_fn(style)(noise)
    assert sketch.dtype == np.float32
    assert sketch.min() >= 0
    assert sketch.max() == 1


def test_line_width_follows_the_resolution():
    small = _blobs(side=128)
    large = np.kron(small, np.ones((2, 2), np.float32))
    reduced = sketches.area_resize(sketches.xdog(large), 128)
    assert np.abs(reduced - sketches.xdog(small)).mean() < 0.02


def test_unknown_style_lists_the_known_ones():
    with pytest.raises(ValueError, match="'pencil'.*xdog, xdog_solid"):
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
