"""Photographs in, sketches out: files around the styles."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import UInt8
from PIL import Image, ImageOps

from cgan_jax import sheets
from cgan_jax.decoding import BrokenPictureError, is_picture, read_photo
from cgan_jax.images import luma
from cgan_jax.simplify import SIMPLIFIED, style_fn
from cgan_jax.sketches import SketchFn, style_names

_MAX_SIDE = 1024  # larger photographs are reduced to it
_SHEET_SIDE = 256  # of each picture on a sheet
_SHEET_ROWS = 16


def find_styles(
    names: Sequence[str], *, simplified: bool = False
) -> dict[str, SketchFn]:
    """The styles of these names; simplified ones are called NAME_simplified.

    Raises:
      ValueError: no style has this name, or none is named; the message lists those
        there are.
    """
    if not names:
        raise ValueError(f"no style is named: choose among {', '.join(style_names())}")
    end = SIMPLIFIED if simplified else ""
    return {f"{name}{end}": style_fn(f"{name}{end}") for name in names}


def find_photos(inputs: Sequence[str | Path]) -> list[Path]:
    """The files that are named, and the pictures that lie directly in named folders.

    Raises:
      FileNotFoundError: nothing lies at a path, or no picture in a folder.
    """
    found: dict[Path, None] = {}
    for path in map(Path, inputs):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: name photos and folders")
        files = sorted(filter(is_picture, path.iterdir())) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f"the folder {path} holds no picture")
        found.update(dict.fromkeys(files))
    return list(found)


def sketch_photos(
    photos: Sequence[Path], styles: Mapping[str, SketchFn], output: Path
) -> int:
    """Writes `STYLE/NAME.png` for each photo and style, and sheets to compare them.

    `comparison_001.png` and so on have 16 rows each: the photo, then its sketches. Photos of more than 1024 pixels a side are reduced first.
    One that cannot be read is logged with the reason, the others are sketched.

    Args:
      photos: files of photographs.
      styles: functions from brightness to sketch, by name.
      output: folder of the results.

    Returns:
      The number of photos that could not be read.

    Raises:
      OSError: output is a file, or cannot be written.
    """
    if output.is_file():
        raise NotADirectoryError(f"{output} is a file: name the output folder last")
    for style in styles:
        (output / style).mkdir(parents=True, exist_ok=True)
    sketched = _sketch(photos, styles, output)
    captions = ["photo", *styles]
    done = 0
    while rows := list(itertools.islice(sketched, _SHEET_ROWS)):
        path = output / f"comparison_{done // _SHEET_ROWS + 1:03d}.png"
        sheets.save(sheets.captioned_grid(rows, captions), path)
        done += len(rows)
    return len(photos) - done


def _sketch(
    photos: Sequence[Path], styles: Mapping[str, SketchFn], output: Path
) -> Iterator[list[sheets.Picture]]:
    """Writes the sketches of each photo that can be read; yields its row of a sheet."""
    for photo, name in zip(photos, _result_names(photos), strict=True):
        try:
            colour = _reduce(read_photo(photo.read_bytes, str(photo)))
        except BrokenPictureError as error:
            logging.error("%s", error)
            continue
        grey = luma(colour.astype(np.float32) / 255)
        row = [colour]
        for style, draw in styles.items():
            row.append(sheets.grey_picture(draw(grey)))
            sheets.save(row[-1], output / style / f"{name}.png")
        yield [_cell(picture) for picture in row]


def _result_names(photos: Sequence[Path]) -> list[str]:
    """The stem of each file, with a number where it is taken."""
    names: dict[str, None] = {}
    for photo in photos:
        numbered = (f"{photo.stem}_{number}" for number in itertools.count(2))
        free = (n for n in itertools.chain([photo.stem], numbered) if n not in names)
        names[next(free)] = None
    return list(names)


def _reduce(photo: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The longer side at most _MAX_SIDE pixels."""
    image = Image.fromarray(photo)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.BOX, reducing_gap=None)
    return np.asarray(image)


def _cell(picture: sheets.Picture) -> sheets.Picture:
    """A square of a sheet, white beside the picture where it is not square."""
    size = (_SHEET_SIDE, _SHEET_SIDE)
    return np.asarray(ImageOps.pad(Image.fromarray(picture), size, color="white"))
