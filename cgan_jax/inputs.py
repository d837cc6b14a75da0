"""What a file tells of a joint image: a drawing, a photograph, or parts of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cgan_jax import images
from cgan_jax.decoding import BrokenPictureError, centre_square, cut_square, read_photo
from cgan_jax.drawings import DrawingError, fit_square, read_drawing, reduce
from cgan_jax.sheets import Picture, grey_picture
from cgan_jax.sketches import area_resize

Grey = Float[np.ndarray, "h w"]
Mask = Float[np.ndarray, "h w"]


class Known(NamedTuple):
    """What is known of a joint image.

    Attributes:
      original: as its author made it, squared; for people to look at.
      shown: as the model sees it, for people to look at.
      target: joint image y in [-1, 1]; what is unknown may be anything.
    """

    original: Picture
    shown: Picture
    target: Float[np.ndarray, "h w 3"]


def drawing_known(path: Path, prepare: Callable[[Grey], Grey]) -> Known:
    """A drawing of which the photograph is unknown.

    Args:
      path: a picture.
      prepare: turns it, brightness in [0, 1], into the model's sketch.

    Raises:
      DrawingError: it cannot be used; the message says why.
    """
    grey = reduce(read_drawing(path))
    sketch = prepare(grey)
    return Known(
        grey_picture(fit_square(grey)),
        grey_picture(sketch),
        images.target_from_sketch(sketch),
    )


def photo_known(path: Path, size: int) -> Known:
    """A photograph of which the sketch is unknown: its centre square at the model's size.

    Raises:
      DrawingError: it cannot be read; the message says why.
    """
    picture = _read(path)
    square = cut_square(picture, centre_square(*picture.shape[1::-1]))
    photo = images.to_uint8(_resized(square, size))
    unknown = np.zeros((size, size, 3), np.float32)
    return Known(square, photo, images.join(unknown, images.from_uint8(photo)))


def joint_known(path: Path, size: int, mask: Mask) -> Known:
    """A joint image, sketch left and photograph right, of which the mask shows a part.

    Raises:
      DrawingError: it cannot be read, or is not twice as wide as high.
    """
    picture = _read(path)
    target = _resized_joint(picture, path, size)
    shown = np.where(mask[..., None] > 0, target, 0.0).astype(np.float32)
    return Known(picture, images.to_uint8(shown), target)


def named(path: Path, error: Exception) -> str:
    """What is wrong with a file, with its name."""
    reason = str(error)
    return reason if str(path) in reason else f"{path}: {reason}"


def read_mask(path: Path, size: int) -> Mask:
    """The mask of joint images in a picture, white where they are known.

    Raises:
      DrawingError: it cannot be read, is not twice as wide as high, or leaves nothing to
        know or nothing to find.
    """
    joint = _resized_joint(_read(path), path, size)
    mask = (images.luma(joint) > 0).astype(np.float32)
    if mask.min() == mask.max():
        colour, what = ("white", "find") if mask.min() else ("black", "go by")
        raise DrawingError(
            f"the mask {path} is all {colour}: it leaves nothing to {what}"
        )
    return mask


def _read(path: Path) -> Picture:
    try:
        return read_photo(path.read_bytes, str(path))
    except BrokenPictureError as error:
        raise DrawingError(f"{error}: give another file, or save it anew") from error


def _resized_joint(
    picture: Picture, path: Path, size: int
) -> Float[np.ndarray, "h w 3"]:
    height, width = picture.shape[:2]
    if width != 2 * height:
        raise DrawingError(
            f"{path} has {width} x {height} pixels: a joint image is twice as wide as "
            "high, the sketch on the left"
        )
    return images.join(*(_resized(half, size) for half in images.split(picture)))


def _resized(square: Picture, size: int) -> Float[np.ndarray, "s s 3"]:
    """In [-1, 1]."""
    return area_resize(square.astype(np.float32) / 255, size) * 2 - 1
