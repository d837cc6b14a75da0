"""Attributes by boxes around landmarks: each sees its own box, in the frame of the face."""

import numpy as np
import pytest

from cgan_jax import attributes, faces
from cgan_jax.attributes import NAMES, from_landmarks, to_lab

# Eyes 20 pixels apart in a picture of 64: u = (x - 32) / 20, v = (y - 28) / 20.
LANDMARKS = np.array([[45, 28], [39, 28], [19, 28], [25, 28], [32, 40]], float)
SKIN, DARK = np.array([205, 150, 125]), np.array([40, 30, 20])


def face(**boxes):
    """Skin all over, but for boxes (x from, to; y from, to; colour)."""
    photo = np.tile(SKIN, (64, 64, 1))
    for left, right, top, bottom, colour in boxes.values():
        photo[top:bottom, left:right] = colour
    return photo.astype(np.uint8)


def value(photo, name, landmarks=LANDMARKS):
    return from_landmarks(photo, landmarks)[NAMES.index(name)]


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0.02, 0.02, 0.02), (1.40, 0, 0)),  # below both thresholds
    ],
)
def test_lab_is_that_of_the_tables(rgb, lab):
    found = to_lab(np.array([[rgb]], float))
    np.testing.assert_allclose(found[0, 0], lab, atol=0.02)


def test_the_noses_side_is_yaw_in_eye_distances():
    assert value(face(), "yaw") == 0
    turned = LANDMARKS.copy()
    turned[4] = [37, 40]
    assert value(face(), "yaw", turned) == pytest.approx(0.25)
    # Turned by a right angle and enlarged, it is the same face.
    rotated = 2 * turned[:, ::-1] * [-1, 1]
    assert value(face(), "yaw", rotated) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("hair lightness", {"hair": (0, 64, 0, 15, DARK)}),
        ("skin lightness", {"cheeks": (18, 47, 34, 43, DARK)}),
        ("skin colour", {"cheeks": (18, 47, 34, 43, [120, 150, 200])}),
        ("hair colour", {"hair": (0, 64, 0, 15, [200, 180, 60])}),
        ("smile", {"teeth": (26, 38, 48, 51, [250, 250, 250])}),
        ("glasses", {"bar": (24, 40, 27, 29, [0, 0, 0])}),
    ],
)
def test_an_attribute_sees_its_own_box(name, changed):
    plain, other = from_landmarks(face(), LANDMARKS), face(**changed)
    assert abs(value(other, name) - plain[NAMES.index(name)]) > 0.005
    far = face(corner=(0, 64, 58, 64, [0, 255, 0]))  # below the chin
    unchanged = from_landmarks(far, LANDMARKS)
    np.testing.assert_allclose(unchanged, plain)


def test_medians_have_the_colour_of_their_box():
    photo = face(hair=(0, 64, 0, 15, DARK))
    assert value(photo, "hair lightness") == pytest.approx(to_lab(DARK / 255)[0])
    assert value(photo, "skin lightness") == pytest.approx(to_lab(SKIN / 255)[0])


def test_hair_beside_the_jaw_is_long():
    hair = {"hair": (0, 64, 0, 15, DARK)}
    short, long = (
        face(**hair, left=(0, 12, 15, 64, c), right=(52, 64, 15, 64, c))
        for c in ([230, 230, 255], DARK)
    )
    assert value(short, "hair length") == 0
    assert value(long, "hair length") == 1
    half = face(**hair, left=(0, 12, 15, 64, DARK))
    assert value(half, "hair length") == pytest.approx(0.5)


def test_what_lies_outside_is_not_defined():
    found = from_landmarks(face(), LANDMARKS - [0, 26])
    defined = dict(zip(NAMES, ~np.isnan(found), strict=True))
    assert not defined["hair lightness"] and not defined["hair length"]
    assert defined["yaw"] and defined["skin lightness"] and defined["smile"]


def test_without_a_face_there_are_no_attributes(monkeypatch):
    monkeypatch.setattr(faces, "landmarks", lambda photo: np.full((5, 2), np.nan))
    assert np.isnan(attributes.measure(face())).all()


def test_reliability_undoes_the_mirror_of_yaw_alone():
    photos = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)

    def describe(pictures):
        left = pictures[:, :, : pictures.shape[2] // 2].mean((1, 2, 3))
        return (left - pictures.mean((1, 2, 3)))[:, None] * np.ones(len(NAMES))

    mirrored, small = attributes.reliability(describe, photos).values()
    np.testing.assert_allclose(mirrored[:, 0], describe(photos)[:, 0])
    np.testing.assert_allclose(mirrored[:, 1:], -describe(photos)[:, 1:])
    np.testing.assert_allclose(small, describe(photos), atol=1)


def test_correlations_and_errors_are_of_each_attribute():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, len(NAMES)))
    found = truth.copy()
    found[:, 0] = np.exp(truth[:, 0])  # ranks are kept
    found[:, 1] = rng.normal(size=40)
    found[0] = np.nan  # no face
    kept = attributes.correlations(found, truth, seed=0)
    assert list(kept) == list(NAMES)
    assert kept["yaw"].value == pytest.approx(1) and kept["yaw"].num_examples == 39
    assert abs(kept["smile"].value) < 0.4 and kept["smile"].low < 0 < kept["smile"].high
    missed = attributes.errors(found, truth)
    assert np.isnan(missed[0]).all() and (missed[1:, 2:] == 0).all()
    np.testing.assert_allclose(
        missed[1:, 1], np.abs(found - truth)[1:, 1] / truth[:, 1].std()
    )


def test_errors_without_any_face_or_spread_are_not_defined():
    truth = np.full((3, len(NAMES)), np.nan)
    truth[:, 1] = 2.0
    assert np.isnan(attributes.errors(np.ones_like(truth), truth)).all()
