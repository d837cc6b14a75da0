"""Descriptors of faces: of generated pictures, which show nobody."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cgan_jax import faces

SAMPLES = Path(__file__).parents[1] / "docs" / "figures" / "samples.png"
needs_dlib = pytest.mark.skipif(not faces.is_installed(), reason="no extra [faces]")


@pytest.fixture(scope="module")
def photos():
    """The photo halves of the first two joint images on the sheet of samples."""
    with Image.open(SAMPLES) as image:
        sheet = np.asarray(image.convert("RGB"))
    # Enlarged twice: joint images of 256x128 pixels, 4 apart.
    return [sheet[4:132:2, left : left + 128 : 2] for left in (132, 392)]


@needs_dlib
def test_a_face_has_a_descriptor_that_is_near_its_own_mirror_image(photos):
    one, other = (faces.describe(photo) for photo in photos)
    mirrored = faces.describe(photos[0][:, ::-1])
    assert one.shape == (faces.LENGTH,)
    assert np.isfinite(one).all() and np.isfinite(other).all()
    assert np.linalg.norm(one - mirrored) < np.linalg.norm(one - other)


@needs_dlib
def test_where_there_is_no_face_there_is_no_descriptor():
    assert np.isnan(faces.describe(np.full((64, 64, 3), 128, np.uint8))).all()


@needs_dlib
def test_landmarks_lie_where_the_eyes_and_the_nose_are(photos):
    photo = photos[0]
    places = faces.landmarks(photo)
    right, left = places[:2].mean(0), places[2:4].mean(0)
    assert left[0] + 10 < places[4, 0] < right[0]
    assert max(left[1], right[1]) < places[4, 1]
    mirrored = faces.landmarks(np.ascontiguousarray(photo[:, ::-1]))
    np.testing.assert_allclose(63 - mirrored[4, 0], places[4, 0], atol=2)
    twice = faces.landmarks(np.kron(photo, np.ones((2, 2, 1), np.uint8)))
    np.testing.assert_allclose((twice - 0.5) / 2, places, atol=1)
    assert np.isnan(faces.landmarks(np.full((64, 64, 3), 128, np.uint8))).all()


def test_without_dlib_the_extra_is_named():
    code = (
        "import sys, numpy as np; sys.modules['dlib'] = None; "
        "from cgan_jax import faces; assert not faces.is_installed(); "
        "faces.describe(np.zeros((8, 8, 3), np.uint8))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SAMPLES.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FacesError" in result.stderr
    assert "pip install 'cgan_jax[faces]'" in result.stderr
