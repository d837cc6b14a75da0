"""The layout of joint images, and the values of their pixels."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from cgan_jax import images


@pytest.fixture
def without_type_checks():
    """As outside the tests, where nothing checks a Literal before the function does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def halves(*leading):
    rng = np.random.default_rng(0)
    sketch, photo = rng.uniform(-1, 1, (2, *leading, 4, 4, 3)).astype(np.float32)
    return sketch, photo


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_the_sketch_is_left_and_the_photo_right(asarray, leading):
    sketch, photo = halves(*leading)
    joint = images.join(asarray(sketch), asarray(photo))
    assert isinstance(joint, type(asarray(sketch)))
    assert joint.shape == (*leading, 4, 8, 3)
    np.testing.assert_array_equal(joint[..., :4, :], sketch)
    np.testing.assert_array_equal(joint[..., 4:, :], photo)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_split_undoes_join(leading):
    sketch, photo = halves(*leading)
    again = images.split(images.join(sketch, photo))
    np.testing.assert_array_equal(again[0], sketch)
    np.testing.assert_array_equal(again[1], photo)


def test_bytes_are_split_as_floats_are():
    joint = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    sketch, photo = images.split(joint)
    np.testing.assert_array_equal(sketch, joint[:, :2])
    np.testing.assert_array_equal(photo, joint[:, 2:])
    assert sketch.dtype == np.uint8


@pytest.mark.parametrize("leading", [(), (2, 3)])
def test_the_target_of_a_sketch_is_grey_beside_nothing(leading):
    sketch = np.random.default_rng(0).random((*leading, 4, 4))
    target = images.target_from_sketch(sketch)
    assert target.shape == (*leading, 4, 8, 3) and target.dtype == np.float32
    left, right = images.split(target)
    for channel in range(3):
        np.testing.assert_allclose(left[..., channel], 2 * sketch - 1, atol=1e-6)
    assert not right.any()


def test_the_mask_is_1_on_the_known_half_alone():
    np.testing.assert_array_equal(
        images.half_mask(2, "sketch"), [[1, 1, 0, 0], [1, 1, 0, 0]]
    )
    np.testing.assert_array_equal(
        images.half_mask(2, "photo"), [[0, 0, 1, 1], [0, 0, 1, 1]]
    )
    assert images.half_mask(2, "sketch").dtype == np.float32


def test_an_unknown_side_is_refused(without_type_checks):
    with pytest.raises(ValueError, match="'sketch' or 'photo', got 'left'"):
        images.half_mask(4, "left")


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
