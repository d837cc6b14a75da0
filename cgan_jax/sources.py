"""Photographs where they lie: in a folder or in a ZIP archive."""

import dataclasses
import functools
import io
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
_WANTED = f"give a folder or a ZIP archive of photographs ({', '.join(_SUFFIXES)})"
# Pillow has no exception of its own for damaged files: its decoders raise any of these.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    Image.DecompressionBombError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,  # among them: the archive is encrypted
)


class BrokenPictureError(ValueError):
    """A picture that cannot be decoded; the message names it and says why."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Photographs in one folder or one ZIP archive.

    Attributes:
      path: the folder or the archive.
      names: the pictures' names in it, sorted, with `/` between folders.
    """

    path: Path
    names: tuple[str, ...] = dataclasses.field(repr=False)

    def read_bytes(self, name: str) -> bytes:
        """The file as it is stored."""
        if self._archive is None:
            return (self.path / name).read_bytes()
        return self._archive.read(name)

    def checksum(self, name: str) -> tuple[int, int]:
        """The file's length in bytes and its CRC-32; an archive has both in its directory."""
        if self._archive is None:
            content = self.read_bytes(name)
            return len(content), zlib.crc32(content)
        info = self._archive.getinfo(name)
        return info.file_size, info.CRC

    @functools.cached_property
    def _archive(self) -> zipfile.ZipFile | None:
        return None if self.path.is_dir() else zipfile.ZipFile(self.path)


def open_source(path: str | Path) -> Source:
    """The photographs in a folder, its subfolders included, or in a ZIP archive.

    Hidden files and folders and those that macOS adds to archives are left out.

    Raises:
      FileNotFoundError: nothing lies at this path.
      ValueError: it is neither a folder nor a ZIP archive, or holds no picture.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {_WANTED}")
    if path.is_dir():
        files = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
        names = [file.as_posix() for file in files]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    else:
        raise ValueError(f"{path} is neither a folder nor a ZIP archive: {_WANTED}")
    pictures = tuple(sorted({name for name in names if _is_picture(name)}))
    if not pictures:
        raise ValueError(f"{path} holds no picture: {_WANTED}")
    return Source(path, pictures)


def read_photo(source: Source, name: str) -> UInt8[np.ndarray, "s s 3"]:
    """The picture as RGB, turned as its EXIF orientation says, cut to its centre square.

    Transparent pictures are laid over white; the resolution is left as it is.

    Args:
      source: where the picture lies.
      name: one of `source.names`.

    Returns:
      Values 0 to 255; the side s is the picture's shorter side.

    Raises:
      BrokenPictureError: the file cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(source.read_bytes(name))) as image:
            photo = _to_rgb(ImageOps.exif_transpose(image))
    except _DECODER_ERRORS as error:
        # Pillow's own words for this one hold an address in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its content is no picture" if unknown else error
        raise BrokenPictureError(
            f"{name} in {source.path} is broken: {reason}"
        ) from error
    return centre_square(np.asarray(photo))


def centre_square(photo: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """The largest square in the middle; s is the shorter of h and w."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return photo[top : top + side, left : left + side]


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    # An archive lists folders too, with a slash at the end.
    hidden = name.endswith("/") or any(
        part.startswith(".") or part == "__MACOSX" for part in path.parts
    )
    return path.suffix.lower() in _SUFFIXES and not hidden


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB; Pillow alone would clip 16-bit grey and drop transparency."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
