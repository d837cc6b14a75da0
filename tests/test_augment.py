"""What D sees: parts stay together, strokes soften, colour is the photograph's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from cgan_jax import augment
from cgan_jax.joint import PHOTO
from cgan_jax.networks.layouts import make_layout

SIZE = 16
# Halves: a sketch of three planes; planes: three sketches of one.
LAYOUTS = {
    "halves": make_layout("halves", SIZE, ["xdog"]).joint,
    "planes": make_layout("planes", SIZE, ["xdog", "fdog", "photocopy"]).joint,
}
KEYS = jax.random.split(jax.random.key(0), 64)


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def joint(request):
    return LAYOUTS[request.param]


@pytest.fixture(scope="module")
def planes():
    """Sketches and photograph are the same picture: what is alike stays visible."""
    noise = np.random.default_rng(0).uniform(0.1, 1, (64, SIZE, SIZE, 3))
    return np.concatenate([noise, noise], axis=3).astype(np.float32)


def apply(joint, planes, *policy, **kwargs):
    options = {"joint": joint, "policy": policy} | kwargs
    fn = jax.jit(lambda x, keys: augment.augment(x, keys, **options))
    return np.asarray(fn(planes, KEYS[: len(planes)]))


def split(joint, planes):
    """All sketches, and the photograph."""
    return planes[..., : joint.where(PHOTO).start], planes[..., joint.where(PHOTO)]


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
def test_all_parts_are_moved_or_cut_alike(joint, planes, name):
    got = apply(joint, planes, name)
    sketch, photo = split(joint, got)
    np.testing.assert_array_equal(sketch, photo)
    assert (got != planes).any()


def test_a_translation_is_a_shift_by_at_most_an_eighth(joint, planes):
    found = []
    for before, after in zip(planes, apply(joint, planes, "translation"), strict=True):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(after, shifted(before, down, right))
        ]
        assert len(matches) == 1
        found += matches
    assert {d for d, _ in found} == {r for _, r in found} == {-2, -1, 0, 1, 2}


def test_a_cutout_is_one_square_of_half_the_height(joint, planes):
    places = set()
    for before, after in zip(planes, apply(joint, planes, "cutout"), strict=True):
        cut = (after == 0).all(-1)
        rows, columns = cut.any(1).nonzero()[0], cut.any(0).nonzero()[0]
        assert cut.sum() == len(rows) * len(columns)
        assert (rows == np.arange(rows[0], rows[-1] + 1)).all()
        assert 4 <= len(rows) <= 8 and 4 <= len(columns) <= 8  # it may cross an edge
        np.testing.assert_array_equal(after[~cut], before[~cut])
        places.add((rows[0], columns[0]))
    assert len(places) > 20


def test_colour_changes_the_photograph_alone(joint, planes):
    sketch, photo = split(joint, apply(joint, planes, "color"))
    np.testing.assert_array_equal(sketch, split(joint, planes)[0])
    assert (np.abs(photo - split(joint, planes)[1]).max((1, 2, 3)) > 0.01).all()


def test_brightness_saturation_and_contrast_are_those_of_diffaugment(joint, planes):
    """From the three draws of a picture, written out."""
    got = split(joint, apply(joint, planes, "color"))[1]
    for i in (0, 7):
        key = jax.random.fold_in(KEYS[i], 0)
        brightness, saturation, contrast = np.asarray(jax.random.uniform(key, (3,)))
        want = split(joint, planes)[1][i] + brightness - 0.5
        grey = want.mean(2, keepdims=True)
        want = (want - grey) * 2 * saturation + grey
        want = (want - want.mean()) * (contrast + 0.5) + want.mean()
        np.testing.assert_allclose(got[i], want, atol=1e-5)


def test_a_blur_is_scipys_and_the_sketchs_alone(joint, planes):
    got = split(joint, apply(joint, planes, stroke_blur=0.8))
    sketch, photo = split(joint, planes)
    want = ndimage.gaussian_filter(sketch, (0, 0.8, 0.8, 0), mode="nearest")
    np.testing.assert_allclose(got[0], want, atol=1e-5)
    np.testing.assert_array_equal(got[1], photo)


def test_noise_has_its_deviation_and_is_the_sketchs_alone(joint, planes):
    added = apply(joint, planes, stroke_noise=0.3) - planes
    sketch, photo = split(joint, added)
    assert not photo.any()
    np.testing.assert_allclose(sketch.std(), 0.3, rtol=0.02)
    assert abs(sketch.mean()) < 0.01
    first, second = sketch[:2]
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.15
    of_planes = np.corrcoef(np.moveaxis(sketch, -1, 0).reshape(3, -1))
    assert np.abs(of_planes - np.eye(3)).max() < 0.05


def test_an_image_depends_on_its_own_key_alone(joint, planes):
    policy = tuple(augment.AUGMENTATIONS)
    options = {"joint": joint, "policy": policy, "stroke_noise": 0.1}
    whole = apply(joint, planes, *policy, stroke_noise=0.1)
    fn = jax.jit(lambda x, keys: augment.augment(x, keys, **options))
    part = fn(planes[40:44], KEYS[40:44])
    np.testing.assert_allclose(part, whole[40:44], atol=1e-6)


def test_what_is_off_leaves_the_very_array(joint, planes):
    planes = jnp.asarray(planes)
    assert augment.augment(planes, KEYS, joint=joint) is planes


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_gradients_reach_the_generator(joint, planes, name):
    def total(x):
        return jnp.sum(augment.augment(x, KEYS[:2], joint=joint, policy=(name,)) ** 2)

    slopes = split(joint, np.asarray(jax.jit(jax.grad(total))(planes[:2])))
    assert all(np.isfinite(s).all() and s.any() for s in slopes)
