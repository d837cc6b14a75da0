"""What a file tells of a joint image: a drawing, a photograph, or parts of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cgan_jax.decoding import BrokenPictureError, centre_square, cut_square, read_photo
from cgan_jax.drawings import (
    DrawingError,
    Prepared,
    fit_square,
    read_drawing,
    reduce,
)
from cgan_jax.images import from_uint8, luma, to_uint8
from cgan_jax.joint import PHOTO, Joint
from cgan_jax.sheets import Picture, grey_picture
from cgan_jax.sketches import area_resize

Grey = Float[np.ndarray, "h w"]
Mask = Float[np.ndarray, "s s p"]


class Known(NamedTuple):
    """What is known of a joint image.

    Attributes:
      original: as its author made it, squared; for people to look at.
      shown: as the model sees it, for people to look at.
      target: joint image y in [-1, 1]; what is unknown may be anything.
      mask: 1 on the known pixels of each part, 0 elsewhere.
      asked: the parts that are wanted, each as a whole; none where parts of parts are.
      style: the sketch that a drawing is; None of other pictures.
    """

    original: Picture
    shown: Picture
    target: Float[np.ndarray, "s s c"]
    mask: Mask
    asked: tuple[str, ...]
    style: str | None = None


def drawing_known(
    path: Path, joint: Joint, prepare: Callable[[Grey], Prepared]
) -> Known:
    """A drawing of which the photograph is unknown.

    Args:
      path: a picture.
      joint: what the model's joint images hold.
      prepare: turns it, brightness in [0, 1], into one of the model's sketches.

    Raises:
      DrawingError: it cannot be used; the message says why.
    """
    grey = reduce(read_drawing(path))
    style, sketch = prepare(grey)
    return Known(
        grey_picture(fit_square(grey)),
        grey_picture(sketch),
        joint.stack({style: sketch.astype(np.float32) * 2 - 1}),
        joint.mask([style]),
        (PHOTO,),
        style,
    )


def photo_known(path: Path, joint: Joint, sketches: Sequence[str]) -> Known:
    """A photograph of which sketches are asked: its centre square at the model's size.

    Args:
      path: a picture.
      joint: what the model's joint images hold.
      sketches: names of those that are asked.

    Raises:
      DrawingError: it cannot be read; the message says why.
    """
    picture = _read(path)
    square = cut_square(picture, centre_square(*picture.shape[1::-1]))
    photo = to_uint8(_resized(square, joint.size))
    target = joint.stack({PHOTO: from_uint8(photo)})
    return Known(square, photo, target, joint.mask([PHOTO]), tuple(sketches))


def joint_known(path: Path, joint: Joint, mask: Mask) -> Known:
    """A joint image, its parts side by side, of which the mask shows some pixels.

    Raises:
      DrawingError: it cannot be read, or is not as wide as its parts are.
    """
    picture = _read(path)
    target = joint.from_panels(_resized_panels(picture, path, joint))
    known = np.where(joint.per_plane(mask) > 0, target, 0.0).astype(np.float32)
    return Known(picture, joint.panels(known), target, mask, _asked(joint, mask))


def _asked(joint: Joint, mask: Mask) -> tuple[str, ...]:
    """What is asked where whole parts are known: the photograph, or else the sketches."""
    known = joint.known(mask)
    if not np.array_equal(mask, joint.mask(known)):
        return ()
    unknown = tuple(name for name in joint.names if name not in known)
    return (PHOTO,) if PHOTO in unknown else unknown


def named(path: Path, error: Exception) -> str:
    """What is wrong with a file, with its name."""
    reason = str(error)
    return reason if str(path) in reason else f"{path}: {reason}"


def read_mask(path: Path, joint: Joint) -> Mask:
    """The mask of joint images in a picture of their parts, white where they are known.

    Raises:
      DrawingError: it cannot be read, is not as wide as the parts are, or leaves nothing
        to know or nothing to find.
    """
    panels = luma(_resized_panels(_read(path), path, joint)) > 0
    mask = np.stack(np.split(panels, len(joint.parts), axis=1), -1).astype(np.float32)
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


def _resized_panels(
    picture: Picture, path: Path, joint: Joint
) -> Float[np.ndarray, "s w 3"]:
    """In [-1, 1], each part at the model's size."""
    (height, width), count = picture.shape[:2], len(joint.parts)
    if width != count * height:
        raise DrawingError(
            f"{path} has {width} x {height} pixels: a joint image is {count} times as wide "
            f"as high; from the left it shows {', '.join(joint.names)}"
        )
    panels = np.split(picture, count, axis=1)
    return np.concatenate([_resized(panel, joint.size) for panel in panels], axis=1)


def _resized(square: Picture, size: int) -> Float[np.ndarray, "s s 3"]:
    """In [-1, 1]."""
    return area_resize(square.astype(np.float32) / 255, size) * 2 - 1
