"""What D sees: pairs stay pairs, strokes soften, colour is the photograph's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cgan_jax import augment, images

SIZE = 16
KEYS = jax.random.split(jax.random.key(0), 64)


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def joint():
    """Sketch and photograph are the same picture: what is alike stays visible."""
    noise = np.random.default_rng(0).uniform(0.1, 1, (64, SIZE, SIZE, 3))
    return np.concatenate([noise, noise], axis=2).astype(np.float32)


def apply(joint, *policy, **kwargs):
    fn = jax.jit(lambda x, keys: augment.augment(x, keys, policy=policy, **kwargs))
    return np.asarray(fn(joint, KEYS[: len(joint)]))


def shifted(picture, down, right):
    """`picture` moved by whole pixels; zeros come in."""
    out = np.zeros_like(picture)
    rows, columns = picture.shape[:2]
    out[max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)] = (
        picture[max(-down, 0) : rows - max(down, 0)][
            :, max(-right, 0) : columns - max(right, 0)
        ]
    )
    return out


@pytest.mark.parametrize("name", ["translation", "cutout"])
def test_both_halves_are_moved_or_cut_alike(joint, name):
    got = apply(joint, name)
    sketch, photo = images.split(got)
    np.testing.assert_array_equal(sketch, photo)
    assert (got != joint).any()


def test_a_translation_is_a_shift_by_at_most_an_eighth(joint):
    found = []
    for before, after in zip(joint, apply(joint, "translation"), strict=True):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(after[:, :SIZE], shifted(before[:, :SIZE], down, right))
        ]
        assert len(matches) == 1
        found += matches
    assert {d for d, _ in found} == {r for _, r in found} == {-2, -1, 0, 1, 2}


def test_a_cutout_is_one_square_of_half_the_height(joint):
    places = set()
    for before, after in zip(joint, apply(joint, "cutout"), strict=True):
        cut = (after[:, :SIZE] == 0).all(-1)
        rows, columns = cut.any(1).nonzero()[0], cut.any(0).nonzero()[0]
        assert cut.sum() == len(rows) * len(columns)
        assert (rows == np.arange(rows[0], rows[-1] + 1)).all()
        assert 4 <= len(rows) <= 8 and 4 <= len(columns) <= 8  # it may cross an edge
        kept = np.tile(~cut, (1, 2))
        np.testing.assert_array_equal(after[kept], before[kept])
        places.add((rows[0], columns[0]))
    assert len(places) > 20


def test_colour_changes_the_photograph_alone(joint):
    got = apply(joint, "color")
    sketch, photo = images.split(got)
    np.testing.assert_array_equal(sketch, images.split(joint)[0])
    assert (np.abs(photo - images.split(joint)[1]).max((1, 2, 3)) > 0.01).all()


def test_brightness_saturation_and_contrast_are_those_of_diffaugment(joint):
    """From the three draws of a picture, written out."""
    got = images.split(apply(joint, "color"))[1]
    for i in (0, 7):
        key = jax.random.fold_in(KEYS[i], 0)
        brightness, saturation, contrast = np.asarray(jax.random.uniform(key, (3,)))
        want = images.split(joint)[1][i] + brightness - 0.5
        grey = want.mean(2, keepdims=True)
        want = (want - grey) * 2 * saturation + grey
        want = (want - want.mean()) * (contrast + 0.5) + want.mean()
        np.testing.assert_allclose(got[i], want, atol=1e-5)


def test_a_blur_is_scipys_and_the_sketchs_alone(joint):
    got = apply(joint, stroke_blur=0.8)
    sketch, photo = images.split(joint)
    want = ndimage.gaussian_filter(sketch, (0, 0.8, 0.8, 0), mode="nearest")
    np.testing.assert_allclose(images.split(got)[0], want, atol=1e-5)
    np.testing.assert_array_equal(images.split(got)[1], photo)


def test_noise_has_its_deviation_and_is_the_sketchs_alone(joint):
    got = apply(joint, stroke_noise=0.3)
    added = got - joint
    sketch, photo = images.split(added)
    assert not photo.any()
    np.testing.assert_allclose(sketch.std(), 0.3, rtol=0.02)
    assert abs(sketch.mean()) < 0.01
    first, second = sketch[:2]
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.15


def test_an_image_depends_on_its_own_key_alone(joint):
    policy = tuple(augment.AUGMENTATIONS)
    whole = apply(joint, *policy, stroke_noise=0.1)
    fn = jax.jit(
        lambda x, keys: augment.augment(x, keys, policy=policy, stroke_noise=0.1)
    )
    part = fn(joint[40:44], KEYS[40:44])
    np.testing.assert_allclose(part, whole[40:44], atol=1e-6)


def test_what_is_off_leaves_the_very_array(joint):
    joint = jnp.asarray(joint)
    assert augment.augment(joint, KEYS) is joint


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_gradients_reach_the_generator(joint, name):
    def total(x):
        return jnp.sum(augment.augment(x, KEYS[:2], policy=(name,)) ** 2)

    slopes = images.split(np.asarray(jax.jit(jax.grad(total))(joint[:2])))
    assert all(np.isfinite(s).all() and s.any() for s in slopes)
