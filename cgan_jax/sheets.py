"""Contact sheets: pictures side by side, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

Picture = UInt8[np.ndarray, "_ _ 3"]  # of any size, each its own
_GAP = 4
_CAPTION = 16


def grid(rows: Sequence[Sequence[Picture]], *, gap: int = _GAP) -> Picture:
    """Pictures of one height, row by row, on white.

    Args:
      rows: pictures of each row; those in one column have one width.
      gap: white pixels around each picture.
    """
    widths = [picture.shape[1] for picture in max(rows, key=len)]
    h = rows[0][0].shape[0]
    shape = (len(rows) * (h + gap) + gap, sum(widths) + (len(widths) + 1) * gap, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        top, left = gap + i * (h + gap), gap
        for picture in row:
            sheet[top : top + h, left : left + picture.shape[1]] = picture
            left += picture.shape[1] + gap
    return sheet


def completion_row(
    original: Picture,
    shown: Picture,
    candidates: UInt8[np.ndarray, "k size width 3"],
    *,
    scale: int = 2,
) -> list[Picture]:
    """A picture, what the model sees of it, and its candidates, enlarged.

    Args:
      original: as its author made it, of any size.
      shown: as the model sees it: a sketch, a photograph, or a joint image.
      candidates: the parts that are asked of each, side by side.
      scale: whole number by which the model's pixels are enlarged.
    """
    side = scale * shown.shape[0]
    return [at_height(picture, side) for picture in (original, shown, *candidates)]


def completion_sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Rows of `completion_row` below a line that says what the columns are."""
    captions = ["input", "model's input"]
    captions += [f"candidate {k + 1}" for k in range(len(rows[0]) - len(captions))]
    return captioned_grid(rows, captions)


def captioned_grid(
    rows: Sequence[Sequence[Picture]], captions: Sequence[str]
) -> Picture:
    """`grid` below a line with a caption for each column of the first row."""
    pictures = grid(rows)
    head = Image.new("RGB", (pictures.shape[1], _CAPTION), "white")
    draw = ImageDraw.Draw(head)
    left = _GAP
    for caption, picture in zip(captions, rows[0], strict=True):
        draw.text((left, 2), caption, "black", ImageFont.load_default(11))
        left += picture.shape[1] + _GAP
    return np.concatenate([np.asarray(head), pictures])


def stack(sheets: Sequence[Picture]) -> Picture:
    """Sheets of the same columns below each other, with the captions of the first."""
    width = max(sheet.shape[1] for sheet in sheets)
    parts = [sheets[0], *(sheet[_CAPTION + _GAP :] for sheet in sheets[1:])]
    sides = [((0, 0), (0, width - part.shape[1]), (0, 0)) for part in parts]
    padded = [np.pad(x, y, constant_values=255) for x, y in zip(parts, sides)]
    return np.concatenate(padded)


def read(path: Path) -> Picture:
    """A picture that `save` wrote."""
    with Image.open(path) as image:
        return np.asarray(image)


def save_animation(frames: Sequence[Picture], path: Path) -> None:
    """Writes pictures of one size as an endless WebP, eight a second, the last for long."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(
        path,
        format="webp",
        save_all=True,
        append_images=others,
        duration=[125] * len(others) + [1500],
        loop=0,
        quality=90,
    )


def save(picture: Picture, path: Path) -> None:
    """Writes a picture under its final name once it is whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    Image.fromarray(picture).save(temporary, format="png")
    temporary.replace(path)


def grey_picture(image: Float[np.ndarray, "h w"]) -> Picture:
    """Grey in [0, 1] as a picture; what is outside is clipped."""
    levels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def enlarge(picture: Picture, *, scale: int = 2) -> Picture:
    """A picture whose pixels are squares of `scale` pixels."""
    return at_height(picture, scale * len(picture))


def text_picture(text: str, height: int) -> Picture:
    """A few short lines of black text on a white square."""
    image = Image.new("RGB", (height, height), "white")
    ImageDraw.Draw(image).text((4, 4), text, "black", ImageFont.load_default(11))
    return np.asarray(image)


def at_height(picture: Picture, height: int) -> Picture:
    """A picture at another height; where that is a multiple, its pixels become squares."""
    h, w = picture.shape[:2]
    kind = Image.Resampling.NEAREST if height % h == 0 else Image.Resampling.LANCZOS
    image = Image.fromarray(picture).resize((w * height // h, height), kind)
    return np.asarray(image)
