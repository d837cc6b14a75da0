"""Picture files to pixels, and the square of a picture that is used."""

import io
from collections.abc import Callable
from pathlib import PurePath

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

Square = tuple[int, int, int]  # left, top, side in pixels; may reach over the edge
# Files of other names in a folder or an archive are no pictures.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class BrokenPictureError(ValueError):
    """A picture that cannot be used; the message names it and says why."""


def is_picture(path: PurePath) -> bool:
    """Whether a file's name is that of a picture; hidden files are none.

    macOS leaves `._face.png`, which is no picture, beside `face.png`.
    """
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_photo(
    read_bytes: Callable[[], bytes], label: str, *, upright: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as RGB, 0 to 255; transparent pictures are laid over white.

    Grey, 16-bit, palette and CMYK pictures come out as RGB; colour profiles are not
    applied.

    Args:
      read_bytes: gives the file's content.
      label: what to call the picture in errors.
      upright: turn it as its EXIF orientation says.

    Raises:
      BrokenPictureError: the content cannot be read or decoded.
    """
    return np.asarray(_read_rgb(read_bytes, label, upright))


def read_sketch(
    read_bytes: Callable[[], bytes], label: str
) -> UInt8[np.ndarray, "h w"]:
    """A picture file as brightness, 255 paper and 0 ink; otherwise like `read_photo`."""
    return np.asarray(_read_rgb(read_bytes, label, upright=True).convert("L"))


def _read_rgb(
    read_bytes: Callable[[], bytes], label: str, upright: bool
) -> Image.Image:
    try:
        with Image.open(io.BytesIO(read_bytes())) as image:
            return _to_rgb(ImageOps.exif_transpose(image) if upright else image)
    # Pillow has no exception of its own for damaged files: its decoders, like those of
    # archives, raise nearly anything.
    except Exception as error:
        # Pillow's own words for this one hold an address in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its content is no picture" if unknown else str(error) or repr(error)
        raise BrokenPictureError(f"{label} is broken: {reason}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB; Pillow alone would clip 16-bit grey and drop transparency."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def centre_square(width: int, height: int) -> Square:
    """The largest square in the middle of a picture."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def square_around(box: Box, margin: float, width: int, height: int) -> Square:
    """The square around a box, in the picture as far as the box allows.

    The box is cut at the picture's edges. The square is as long as its longer side and
    `margin` times that on either side. Where it would reach over an edge it is shifted
    inwards; if it is larger than the picture, the margin gives way. Only a box that is
    longer than the picture's shorter side gets a square that reaches over both edges,
    equally far.

    Raises:
      ValueError: nothing of the box lies in the picture.
    """
    left, right = np.clip(box[::2], 0, width)
    top, bottom = np.clip(box[1::2], 0, height)
    if left >= right or top >= bottom:
        raise ValueError(f"its box {box} lies outside of its {width}x{height} pixels")
    longest = max(right - left, bottom - top)
    room = max(longest, min(width, height))
    side = round(min(longest * (1 + 2 * margin), room))
    return (
        _place((left + right) / 2, side, width),
        _place((top + bottom) / 2, side, height),
        side,
    )


def _place(centre: float, side: int, length: int) -> int:
    """Where `side` pixels start: around the centre, shifted into `length` pixels."""
    if side > length:
        return (length - side) // 2
    return min(max(round(centre - side / 2), 0), length - side)


def cut_square(
    picture: Shaped[np.ndarray, "h w *c"], square: Square
) -> Shaped[np.ndarray, "s s *c"]:
    """The pixels of a square; beyond the edge the edge's pixels are repeated."""
    left, top, side = square
    height, width = picture.shape[:2]
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    return picture[np.ix_(rows, columns)]
