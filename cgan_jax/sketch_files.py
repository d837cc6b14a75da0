"""Photographs in, sketches out: files around the styles."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Float
from PIL import Image

from cgan_jax import sheets
from cgan_jax.drawings import DrawingError, fit_square, read_drawing
from cgan_jax.simplify import simplify
from cgan_jax.sketches import SketchFn, area_resize, sketch_fn, style_names

_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"]
)
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
    styles = {name: sketch_fn(name) for name in names}
    if simplified:
        return {f"{name}_simplified": _simplified(styles[name]) for name in styles}
    return styles


def find_photos(inputs: Sequence[str | Path]) -> list[Path]:
    """The files that are named, and the pictures that lie directly in named folders.

    Raises:
      FileNotFoundError: nothing lies at a path, or no picture in a folder.
    """
    found: dict[Path, None] = {}
    for path in map(Path, inputs):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: name photos and folders")
        files = sorted(filter(_is_picture, path.iterdir())) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f"the folder {path} holds no picture")
        found.update(dict.fromkeys(files))
    return list(found)


def sketch_photos(
    photos: Sequence[Path], styles: Mapping[str, SketchFn], output: Path
) -> int:
    """Writes `STYLE/NAME.png` for each photo and style, and sheets to compare them.

    `comparison_001.png` and so on have 16 rows each: the photo, in grey as the styles
    see it, then its sketches. Photos of more than 1024 pixels a side are reduced first.
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
            grey = _reduce(read_drawing(photo))
        except DrawingError as error:
            logging.error("%s", error)
            continue
        sketches = {style: draw(grey) for style, draw in styles.items()}
        for style, sketch in sketches.items():
            path = output / style / f"{name}.png"
            sheets.save(sheets.grey_picture(sketch), path)
        yield [_cell(picture) for picture in (grey, *sketches.values())]


def _simplified(draw: SketchFn) -> SketchFn:
    return lambda grey: simplify(draw(grey))


def _is_picture(path: Path) -> bool:
    # Hidden files: macOS leaves `._face.png`, which is none, beside `face.png`.
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _result_names(photos: Sequence[Path]) -> list[str]:
    """The stem of each file, with a number where it is taken."""
    names: dict[str, None] = {}
    for photo in photos:
        numbered = (f"{photo.stem}_{number}" for number in itertools.count(2))
        free = (n for n in itertools.chain([photo.stem], numbered) if n not in names)
        names[next(free)] = None
    return list(names)


def _reduce(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h2 w2"]:
    """The longer side at most _MAX_SIDE pixels."""
    scale = _MAX_SIDE / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(length * scale)) for length in grey.shape)
    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(grey).resize((width, height), box))


def _cell(grey: Float[np.ndarray, "h w"]) -> sheets.Picture:
    """A square of a sheet, white beside the picture where it is not square."""
    return sheets.grey_picture(area_resize(fit_square(grey), _SHEET_SIDE))
