"""Ready pairs of sketch and photograph: in two folders, or side by side in one picture."""

import dataclasses
import functools
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from cgan_jax.archives import Archive
from cgan_jax.decoding import (
    BrokenPictureError,
    centre_square,
    cut_square,
    read_photo,
    read_sketch,
)
from cgan_jax.pictures import Example, Picture, split_by_folders

_SKETCH_FOLDERS = ("sketch", "sketches")
_PHOTO_FOLDERS = ("photo", "photos")
_ASPECT_TOLERANCE = 0.02  # a reduced sketch has rounded sides
_SAMPLE = 16


@dataclasses.dataclass(frozen=True)
class FolderPairs:
    """Pairs of the files `sketch/NAME` and `photo/NAME`; see `pictures.Source`.

    Both are cut to their centre squares, which show the same if both have the same
    aspect; their resolutions may differ.
    """

    spec: str
    archive: Archive = dataclasses.field(repr=False)
    pictures: tuple[Picture, ...] = dataclasses.field(repr=False)
    sketch_of: Mapping[str, str] = dataclasses.field(repr=False)
    has_sketches: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        return {"pairs": "folders"}

    def read(self, name: str) -> Example:
        label = f"{name} in {self.archive.path}"
        photo = read_photo(lambda: self.archive.read_bytes(name), label)
        beside = self.sketch_of[name]
        sketch = read_sketch(
            lambda: self.archive.read_bytes(beside), f"{beside} in {self.archive.path}"
        )
        (height, width), (sketch_height, sketch_width) = photo.shape[:2], sketch.shape
        stretch = (sketch_width / sketch_height) / (width / height)
        if abs(stretch - 1) > _ASPECT_TOLERANCE:
            raise BrokenPictureError(
                f"{label} is broken: it is {width}x{height}, its sketch {beside}"
                f" {sketch_width}x{sketch_height}, of another aspect"
            )
        return Example(
            cut_square(photo, centre_square(width, height)),
            cut_square(sketch, centre_square(sketch_width, sketch_height)),
        )

    def checksum(self, name: str) -> str:
        checksum = self.archive.checksum
        return f"{checksum(name)}+{checksum(self.sketch_of[name])}"


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """Pictures twice as wide as high, the sketch on the left; see `pictures.Source`."""

    spec: str
    archive: Archive = dataclasses.field(repr=False)
    pictures: tuple[Picture, ...] = dataclasses.field(repr=False)
    has_sketches: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        return {"pairs": "side by side"}

    def read(self, name: str) -> Example:
        label = f"{name} in {self.archive.path}"
        photo = read_photo(lambda: self.archive.read_bytes(name), label)
        height, width = photo.shape[:2]
        if width != 2 * height:
            raise BrokenPictureError(
                f"{label} is broken: it is {width}x{height}, not twice as wide as high"
                " like the other pairs of sketch and photograph"
            )
        sketch = read_sketch(lambda: self.archive.read_bytes(name), label)
        return Example(photo[:, height:], sketch[:, :height])

    def checksum(self, name: str) -> str:
        return self.archive.checksum(name)


def open_pairs(
    spec: str, archive: Archive, names: tuple[str, ...]
) -> FolderPairs | SideBySide | None:
    """The pairs in an archive, or None if it holds single photographs.

    They are pairs if any picture lies in a folder `sketch`, or if most of a sample are
    exactly twice as wide as high.

    Raises:
      ValueError: a sketch has no photograph, a photograph no sketch, or a picture lies
        in neither folder.
    """
    if any(_folder_of(name, _SKETCH_FOLDERS) is not None for name in names):
        sketch_of = _match(names)
        return FolderPairs(spec, archive, split_by_folders(sketch_of), sketch_of)
    if _most_are_side_by_side(archive, names):
        return SideBySide(spec, archive, split_by_folders(names))
    return None


def _match(names: tuple[str, ...]) -> dict[str, str]:
    """The sketch of each photograph."""
    sketches = _keyed(names, _SKETCH_FOLDERS)
    photos = _keyed(names, _PHOTO_FOLDERS)
    matched = {*sketches.values(), *photos.values()}
    for name in names:
        if name not in matched:
            raise ValueError(
                f"{name} lies beside the folders `sketch` and `photo` of ready pairs, or"
                " is there twice: move it away, or into one of them"
            )
    _check_partners(sketches, photos, "photograph")
    _check_partners(photos, sketches, "sketch")
    return {photo: sketches[key] for key, photo in photos.items()}


def _check_partners(
    names: Mapping[str, str], others: Mapping[str, str], missing: str
) -> None:
    for key, name in names.items():
        if key not in others:
            raise ValueError(
                f"{name} has no {missing}: ready pairs are files of the same name in"
                " folders `sketch` and `photo`"
            )


def _keyed(names: Iterable[str], folders: tuple[str, ...]) -> dict[str, str]:
    """The names in such folders, by what both files of a pair have in common."""
    found = {}
    for name in names:
        position = _folder_of(name, folders)
        if position is not None:
            path = PurePosixPath(name).with_suffix("")
            rest = path.parts[:position] + path.parts[position + 1 :]
            # Systems differ in how they write accents.
            found[unicodedata.normalize("NFC", "/".join(rest))] = name
    return found


def _folder_of(name: str, folders: tuple[str, ...]) -> int | None:
    """Which part of the path is the first such folder."""
    parts = [part.lower() for part in PurePosixPath(name).parts[:-1]]
    return next((i for i, part in enumerate(parts) if part in folders), None)


def _most_are_side_by_side(archive: Archive, names: tuple[str, ...]) -> bool:
    votes = []
    for name in names[:: -(-len(names) // _SAMPLE)]:
        try:
            photo = read_photo(functools.partial(archive.read_bytes, name), name)
        except BrokenPictureError:
            continue
        votes.append(photo.shape[1] == 2 * photo.shape[0])
    return 2 * sum(votes) > len(votes)
