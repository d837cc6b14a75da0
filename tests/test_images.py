"""The values of pixels."""

import numpy as np
import pytest

from cgan_jax import images


def test_luma_weighs_the_colours_as_the_eye_does():
    pure = np.eye(3, dtype=np.float64)  # red, green, blue
    np.testing.assert_allclose(images.luma(pure), [0.299, 0.587, 0.114], rtol=1e-12)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.25, 1.0])
def test_luma_of_a_grey_picture_is_its_value_on_either_scale(value):
    grey = np.full((2, 5, 4, 3), value)
    assert images.luma(grey).shape == (2, 5, 4)
    np.testing.assert_allclose(images.luma(grey), value, atol=1e-12)


def test_to_uint8_maps_the_ends_rounds_and_clips():
    step = np.float32(2 / 255)
    values = np.array([-1, 1, -1 + 0.4 * step, -1 + 0.6 * step, -7, 7], np.float32)
    np.testing.assert_array_equal(images.to_uint8(values), [0, 255, 0, 1, 0, 255])
    assert images.to_uint8(values).dtype == np.uint8


def test_from_uint8_maps_the_ends_and_is_linear():
    values = images.from_uint8(np.array([0, 51, 102, 255], np.uint8))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [-1.0, -0.6, -0.2, 1.0], atol=1e-7)


def test_every_byte_survives_the_way_to_floats_and_back():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(images.to_uint8(images.from_uint8(pixels)), pixels)
