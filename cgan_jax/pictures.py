"""What every source of photographs offers, and how its pictures are split."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from cgan_jax.archives import Archive
from cgan_jax.decoding import BrokenPictureError, Square, cut_square, read_photo

SPLITS = ("train", "validation", "test")
HELD_OUT_SHARE = 0.05
_SPLIT_WORDS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


class Picture(NamedTuple):
    """What a source knows of a picture before it is read.

    Attributes:
      name: unique in its source, with `/` between folders.
      split: one of `SPLITS`.
      identity: who or what is shown, as the data set numbers it; empty if unknown.
    """

    name: str
    split: str
    identity: str = ""


class Example(NamedTuple):
    """A square photograph at its source's resolution, with its sketch if it has one.

    Attributes:
      photo: RGB, 0 to 255.
      sketch: 255 is paper and 0 ink; None unless the source holds ready pairs.
    """

    photo: UInt8[np.ndarray, "s s 3"]
    sketch: UInt8[np.ndarray, "t t"] | None = None


@runtime_checkable
class Source(Protocol):
    """Photographs, or pairs of sketch and photograph, in one place."""

    @property
    def spec(self) -> str:
        """What `open_source` was given."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Sorted by name."""

    @property
    def settings(self) -> dict[str, Any]:
        """What else decides the pixels, fit for JSON."""

    @property
    def has_sketches(self) -> bool:
        """Whether it holds ready pairs."""

    def read(self, name: str) -> Example:
        """Raises BrokenPictureError, which names the picture and says why."""

    def checksum(self, name: str) -> str:
        """Changes when the stored bytes of this picture change."""


@dataclasses.dataclass(frozen=True)
class Photos:
    """Photographs in an archive, each cut to a square; see `Source`.

    Attributes:
      square_fn: the square of a picture from its name, width and height; raises
        ValueError if the picture is not as its data set promises.
      upright: whether to turn pictures as their EXIF orientation says, before that.
    """

    spec: str
    archive: Archive = dataclasses.field(repr=False)
    pictures: tuple[Picture, ...] = dataclasses.field(repr=False)
    settings: dict[str, Any]
    square_fn: Callable[[str, int, int], Square] = dataclasses.field(repr=False)
    upright: bool
    has_sketches: bool = False

    def read(self, name: str) -> Example:
        label = f"{name} in {self.archive.path}"
        photo = read_photo(
            lambda: self.archive.read_bytes(name), label, upright=self.upright
        )
        height, width = photo.shape[:2]
        try:
            square = self.square_fn(name, width, height)
        except ValueError as error:
            raise BrokenPictureError(f"{label} is broken: {error}") from error
        return Example(cut_square(photo, square))

    def checksum(self, name: str) -> str:
        return self.archive.checksum(name)


@dataclasses.dataclass(frozen=True)
class Several:
    """Photographs of several sources, in one; see `Source`.

    A picture's name begins with that of its source, and keeps the split it has there.

    Attributes:
      spec: what names them all.
      parts: each source, by a name of its own.
    """

    spec: str
    parts: Mapping[str, Source] = dataclasses.field(repr=False)
    has_sketches: bool = False

    @functools.cached_property
    def pictures(self) -> tuple[Picture, ...]:
        named = (
            picture._replace(name=f"{name}/{picture.name}")
            for name, source in self.parts.items()
            for picture in source.pictures
        )
        return tuple(sorted(named))

    @property
    def settings(self) -> dict[str, Any]:
        return {name: source.settings for name, source in self.parts.items()}

    def read(self, name: str) -> Example:
        source, rest = self._part(name)
        return source.read(rest)

    def checksum(self, name: str) -> str:
        source, rest = self._part(name)
        return source.checksum(rest)

    def _part(self, name: str) -> tuple[Source, str]:
        part, _, rest = name.partition("/")
        return self.parts[part], rest


def hash_split(name: str, held_out: Iterable[str] = SPLITS[1:]) -> str:
    """`train`, or for 5 % of all names each, one of the splits held out.

    The first 8 bytes of the name's SHA-256 decide, as a number u in [0, 1): u < 0.05 is
    the first split held out, u < 0.1 the second. So a name has the same split on every
    machine, whatever else lies beside it.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    u = int.from_bytes(digest[:8]) / 2**64
    for position, split in enumerate(held_out, start=1):
        if u < position * HELD_OUT_SHARE:
            return split
    return "train"


def named_split(words: Iterable[str]) -> str | None:
    """The split that the first of these words names, if any does: train, val, Test..."""
    found = (_SPLIT_WORDS.get(word.lower()) for word in words)
    return next((split for split in found if split), None)


def split_by_folders(names: Iterable[str]) -> tuple[Picture, ...]:
    """Pictures, sorted, in the splits that their folders name; without such, by hash.

    The folders are `train`, `validation` (or `valid`, `val`) and `test`, anywhere in a
    picture's path.

    Raises:
      ValueError: some pictures lie in such folders, others do not.
    """
    splits = {name: named_split(PurePosixPath(name).parts[:-1]) for name in names}
    outside = [name for name, split in splits.items() if split is None]
    if outside and len(outside) < len(splits):
        raise ValueError(
            f"{outside[0]} lies in none of the folders train, validation and test, but"
            " other pictures do: move it into one of them, or all pictures out of them"
        )
    return tuple(
        Picture(name, split or hash_split(name))
        for name, split in sorted(splits.items())
    )
