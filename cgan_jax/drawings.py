"""Drawings by hand, brought to what the model has seen: its frame, its lines, its ink.

The model learned from sketches that were computed from photographs. A person's
drawing comes as any picture file, on paper or on a transparent layer, framed at
will, in strokes of any width. `read_drawing` reads the file, `prepare_drawing`
does the rest; each of its steps is a function of its own here.

Everywhere below a drawing is grey in [0, 1]: 1 is paper, 0 is ink.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from scipy import ndimage

from cgan_jax.sketches import area_resize

Box = tuple[float, float, float, float]

# Width of the lines of `sketches.xdog`, in parts of the picture's side. Over 200
# photographs of faces `measure_line_width` says 3.4 of 128 pixels (median; nine in
# ten are between 2.8 and 3.9). What is drawn anew is blacker, so a little less.
LINE_WIDTH = 3.3 / 128

# Ink that a sketch of `sketches.xdog` has at most: 19 of 20 of the same photographs
# stay below it (mean 0.109, standard deviation 0.031).
MAX_INK = 0.16

# Where a face lies in a square training photograph: (left, top, right, bottom) in
# parts of its side. `head` is a head from hair to chin. `face` is its middle from
# the brows to the chin, as in drawings without hair or forehead.
FACE_BOXES: Mapping[str, Box] = MappingProxyType(
    {
        "head": (22 / 128, 10 / 128, 106 / 128, 118 / 128),
        "face": (26 / 128, 42 / 128, 102 / 128, 118 / 128),
    }
)

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_PAPER = 0.75  # what is darker counts as ink: the faint strokes of sketches as well
_MAX_PIXELS = 64_000_000
_MAX_SIDE = 1024  # larger drawings are reduced to it
_EDGE = 0.4  # ink at the edge of a stroke: low, so that thin grey ones do not break
_REACH = 0.94  # of the frame's side, the most that a placed drawing takes
_FINE_SIDE = 512  # strokes are placed and measured on at least so many pixels


class DrawingError(ValueError):
    """A drawing that cannot be used; the message says why."""


def read_drawing(path: str | Path) -> Float[np.ndarray, "h w"]:
    """Brightness of a picture file, turned as its EXIF orientation says.

    PNG, JPEG, WebP, GIF, BMP or TIFF of any mode; of animations the first picture. What is
    transparent shows white paper.

    Returns:
      Values in [0, 1], float32.

    Raises:
      DrawingError: the file is missing, no picture, damaged, empty or has more than
        64 million pixels; the message names it.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise Image.DecompressionBombError(
                    f"{image.width} x {image.height} pixels are too many"
                )
            return _to_grey(ImageOps.exif_transpose(image))
    # Pillow has no exception of its own for damaged files: its decoders raise nearly
    # anything.
    except Exception as error:
        raise DrawingError(f"cannot read {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why a file cannot be read, and what to do."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is not a picture: give a PNG, JPEG, WebP, GIF, BMP or TIFF file"
    if isinstance(
        error, (Image.DecompressionBombError, Image.DecompressionBombWarning)
    ):
        return f"{error}: reduce it to at most {_MAX_PIXELS // 10**6} million"
    if isinstance(error, OSError) and error.errno is not None:
        return str(error)
    return f"it is damaged ({error or repr(error)}): save it anew"


def prepare_drawing(
    grey: Float[np.ndarray, "h w"],
    size: int,
    *,
    invert: str = "auto",
    flatten: bool = True,
    fit: str = "letterbox",
    frame: str = "auto",
    boxes: Mapping[str, Box] = FACE_BOXES,
    match_lines: bool = True,
    line_width: float = LINE_WIDTH,
    max_ink: float = MAX_INK,
) -> Float[np.ndarray, "{size} {size}"]:
    """A drawing as the model's sketch: polarity, paper, ink, square, frame, lines, size.

    Args:
      grey: the drawing in [0, 1], of any size.
      size: side of the sketch, in pixels.
      invert: whether it is light on dark: `yes`, `no`, or `auto` to look.
      flatten: remove shadows and the paper's tone, and make the ink black.
      fit: `letterbox` pads to a square, `crop` cuts its centre out.
      frame: a name in boxes, `keep`, or `auto`; see `frame_drawing`.
      boxes: where such drawings lie in the model's frame.
      match_lines: bring the strokes to the line width.
      line_width: width of the model's lines, in parts of the side.
      max_ink: mean darkness beyond which strokes are not thickened: dense drawings, as
        of curls, would turn black.

    Returns:
      The sketch in [0, 1], float32.

    Raises:
      DrawingError: the drawing is blank.
      ValueError: an option has no such choice.
    """
    grey = set_polarity(reduce(grey), invert)
    if flatten:
        grey = normalise_ink(flatten_paper(grey))
    if is_blank(grey):
        raise DrawingError("the drawing is blank: no stroke stands out from its paper")
    grey = frame_drawing(fit_square(grey, fit=fit), frame, boxes)
    if match_lines:
        width = _affordable_width(grey, line_width * len(grey), max_ink)
        grey = match_line_width(grey, width)
    return area_resize(grey, size).clip(0, 1)


def reduce(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h2 w2"]:
    """A drawing as float32, its longer side at most 1024 pixels."""
    grey = grey.astype(np.float32)
    scale = _MAX_SIDE / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(length * scale)) for length in grey.shape)
    return _resample(grey, (height, width))


def is_white_on_black(grey: Float[np.ndarray, "h w"]) -> bool:
    """Whether the strokes are brighter than the paper around them.

    Strokes are few and far from the paper's tone, so the difference from the local
    mean, over a quarter of the side, is skewed towards them. Unlike the picture's
    medians, its sign stays right when half of the paper lies in a deep shadow.
    """
    detail = grey - ndimage.uniform_filter(grey, max(3, max(grey.shape) // 4))
    return bool(np.mean(detail**3, dtype=np.float64) > 0)


def set_polarity(
    grey: Float[np.ndarray, "h w"], invert: str = "auto"
) -> Float[np.ndarray, "h w"]:
    """The drawing dark on light.

    Args:
      grey: the drawing in [0, 1].
      invert: `yes` returns 1 - grey, `no` returns grey, `auto` looks which is right.

    Raises:
      ValueError: invert is none of `auto`, `yes`, `no`.
    """
    _check_choice("invert", invert, ("auto", "yes", "no"))
    if invert == "yes" or (invert == "auto" and is_white_on_black(grey)):
        return 1 - grey
    return grey


def flatten_paper(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Divides by the paper's brightness, so that shadows and the paper's tone go.

    The paper is what a morphological closing of 3/8 of the side leaves: it covers
    everything dark that is narrower. White paper stays exactly as it is.
    """
    step = max(1, round(max(grey.shape) / 64))
    height, width = (math.ceil(length / step) for length in grey.shape)
    pad = [(0, height * step - grey.shape[0]), (0, width * step - grey.shape[1])]
    tiles = np.pad(grey, pad, mode="edge").reshape(height, step, width, step)
    bright = ndimage.grey_closing(np.percentile(tiles, 90, axis=(1, 3)), (8, 8))
    # A shadow goes on beyond the edge as it came.
    wider = np.pad(bright, 24, mode="reflect", reflect_type="odd")
    closed = ndimage.grey_closing(wider.clip(0, bright.max()), (24, 24))
    paper = ndimage.gaussian_filter(closed, 2)[24:-24, 24:-24]
    paper = _resample(paper, (height * step, width * step))
    paper = paper[: grey.shape[0], : grey.shape[1]].clip(0.05)
    return (grey / paper).clip(0, 1).astype(grey.dtype)


def normalise_ink(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Stretches the levels: the paper with its noise becomes 1, a full stroke 0.

    A full stroke is the 90th percentile of the darker half of the ink's range. Clean
    black on white stays as it is, and so does a page without ink.
    """
    ink = 1 - grey
    noise = _noise_level(ink)
    stroke = np.percentile(ink[ink >= ink.max() / 2], 90)
    if stroke <= noise:
        return grey
    return (1 - (ink - noise) / (stroke - noise)).clip(0, 1).astype(grey.dtype)


def is_blank(grey: Float[np.ndarray, "h w"]) -> bool:
    """Whether fewer than 3 pixels in 10,000 are clearly darker than the paper.

    Clearly darker: by 0.1 and by more than the paper's noise.
    """
    ink = 1 - grey
    threshold = max(_noise_level(ink), np.median(ink) + 0.1)
    return bool(np.mean(ink > threshold) < 3e-4)


def fit_square(
    grey: Float[np.ndarray, "h w"], *, fit: str = "letterbox", fill: float = 1.0
) -> Float[np.ndarray, "side side"]:
    """The drawing as a square, without scaling it.

    Args:
      grey: the drawing in [0, 1].
      fit: `letterbox` pads the shorter side, `crop` cuts the longer one, evenly.
      fill: brightness of what `letterbox` adds.

    Raises:
      ValueError: fit is neither `letterbox` nor `crop`.
    """
    _check_choice("fit", fit, ("letterbox", "crop"))
    height, width = grey.shape
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return grey[top : top + side, left : left + side]
    side = max(height, width)
    rows, columns = side - height, side - width
    pad = [(rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)]
    return np.pad(grey, pad, constant_values=fill)


def choose_frame(
    grey: Float[np.ndarray, "side side"], boxes: Mapping[str, Box] = FACE_BOXES
) -> str:
    """What `auto` stands for: the name of a box, or `keep`.

    1. A drawing that is open above, as a face without its forehead is, takes the
       second box, unless four or more strokes run out of the picture, as hair, neck
       and background do in the model's own frame.
    2. Of the others, one that no stroke runs out of is whole and takes the first box.
    3. The rest fills the model's frame already: `keep`.

    Open above: in the middle third of the drawing, a tenth of the columns have no ink
    in the upper fifth. A stroke runs out where ink touches the picture's edge along
    less than an eighth of it; where it touches more, it lies along the edge.

    Args:
      grey: the drawing in [0, 1].
      boxes: first the box of a whole object; second, if any, that of one open above.
    """
    ink = grey < _PAPER
    whole, *partial = boxes
    leaving = _count_leaving(ink)
    if partial and leaving < 4 and _is_open_above(ink):
        return partial[0]
    return "keep" if leaving else whole


def frame_drawing(
    grey: Float[np.ndarray, "side side"],
    frame: str = "auto",
    boxes: Mapping[str, Box] = FACE_BOXES,
) -> Float[np.ndarray, "side2 side2"]:
    """Moves and scales a drawing to where the model expects such a thing.

    The box around the ink, all but the outermost 0.5 % of it on each side, is centred
    on the frame's box and scaled to the same area, so that neither a wide nor a tall
    drawing gets distorted or small; if need be it is shrunk and shifted to stay inside.

    Args:
      grey: the drawing in [0, 1].
      frame: a name in boxes, `keep` to leave the drawing as it is, or `auto` for
        what `choose_frame` says.
      boxes: (left, top, right, bottom) by name, in parts of the model's frame.

    Returns:
      The drawing as it was, or placed, in [0, 1], 512 pixels wide or as wide as it
      was, if that is more.

    Raises:
      ValueError: frame is none of `auto`, `keep` and the names in boxes.
    """
    _check_choice("frame", frame, ("auto", "keep", *boxes))
    if frame == "auto":
        frame = choose_frame(grey, boxes)
    ink = grey < _PAPER
    if frame == "keep" or not ink.any():
        return grey
    return _place(grey, _ink_box(ink), boxes[frame])


def measure_line_width(grey: Float[np.ndarray, "h w"]) -> float:
    """Typical width of the strokes in pixels: twice the median depth of their centre lines.

    Fractions count. 0 if there is no ink.
    """
    depth, centre = _strokes(grey)
    return _width(depth, centre) * len(grey) / len(depth)


def match_line_width(
    grey: Float[np.ndarray, "h w"], target: float, *, tolerance: float = 0.25
) -> Float[np.ndarray, "h w"]:
    """Thickens or thins the strokes to a typical width, and draws them anew in black.

    Every edge moves by half of what the typical width lacks, so thick strokes stay
    thicker than thin ones; but no stroke gets thinner than the target, so none breaks.
    (Where a hairline meets a large black area that is thinned, a gap may open.)

    Args:
      grey: dark strokes on white, in [0, 1].
      target: width in pixels.
      tolerance: a drawing whose width is that near, in parts of target, returns as it is.
    """
    depth, centre = _strokes(grey)
    scale = len(depth) / len(grey)
    goal, width = target * scale, _width(depth, centre)
    if width == 0 or abs(width - goal) <= tolerance * goal:
        return grey
    moved = depth + (goal - width) / 2
    kept = goal / 2 - ndimage.distance_transform_edt(~centre)
    # Soft edges, as the training sketches have: a ramp of a third of the line's width.
    ink = (_EDGE + np.maximum(moved, kept) / (goal / 3)).clip(0, 1)
    return _resample(1 - ink, grey.shape).astype(grey.dtype)


def _affordable_width(
    grey: Float[np.ndarray, "h w"], target: float, max_ink: float
) -> float:
    """The target, or the width at which thin strokes reach max_ink; ink grows as width."""
    ink, width = float(np.mean(1 - grey)), measure_line_width(grey)
    return min(target, width * max(1.0, max_ink / ink))


def _to_grey(image: Image.Image) -> Float[np.ndarray, "h w"]:
    """Brightness over white; Pillow alone would clip 16-bit grey."""
    if image.mode.startswith("I"):
        return (np.asarray(image) / np.float32(65535)).clip(0, 1).astype(np.float32)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    # CMYK and the like go by way of RGB.
    return np.asarray(image.convert("RGB").convert("L"), np.float32) / 255


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        known = ", ".join(choices)
        raise ValueError(f"unknown {option} {value!r}: choose one of {known}")


def _resample(
    grey: Float[np.ndarray, "h w"], shape: tuple[int, int], box: Box | None = None
) -> Float[np.ndarray, "h2 w2"]:
    """The part in box, or all, at another size: bicubic, or averaged where it shrinks."""
    image = Image.fromarray(grey.astype(np.float32))
    size = (shape[1], shape[0])
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box)).clip(0, 1)


def _noise_level(ink: Float[np.ndarray, "h w"]) -> float:
    """The ink that paper seems to have: its median and 4 standard deviations more."""
    median = np.median(ink)
    return float(median + 4 * 1.4826 * np.median(np.abs(ink - median)))


def _is_open_above(ink: Bool[np.ndarray, "h w"]) -> bool:
    """Whether a tenth of the middle columns have no ink in the upper fifth of the drawing."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if rows.size == 0:
        return False
    upper = ink[rows[0] : rows[0] + math.ceil((rows[-1] + 1 - rows[0]) / 5)]
    left, right = columns[0], columns[-1] + 1
    third = (right - left) // 3
    middle = upper[:, left + third : right - third]
    return bool(np.mean(~middle.any(axis=0)) > 0.1)


def _count_leaving(ink: Bool[np.ndarray, "side side"]) -> int:
    """How many strokes run out of the four edges."""
    band = max(1, len(ink) // 64)
    count = 0
    for edge in (ink[:band], ink[-band:], ink[:, :band].T, ink[:, -band:].T):
        touched = np.pad(edge.any(axis=0), 1)
        first, end = np.flatnonzero(np.diff(touched)).reshape(-1, 2).T
        count += int(np.sum(end - first < len(ink) / 8))
    return count


def _ink_box(ink: Bool[np.ndarray, "h w"]) -> Box:
    """(left, top, right, bottom) in pixels, 0.5 % of the ink outside on each side."""
    bounds = []
    for axis in (0, 1):
        share = np.cumsum(ink.sum(axis=axis))
        first, last = np.searchsorted(share, share[-1] * np.array([0.005, 0.995]))
        bounds.append((float(first), float(last) + 1))
    (left, right), (top, bottom) = bounds
    return left, top, right, bottom


def _place(
    grey: Float[np.ndarray, "side side"], source: Box, target: Box
) -> Float[np.ndarray, "side2 side2"]:
    """Resamples so that the source box, in pixels, covers target's area around its centre."""
    width, height = source[2] - source[0], source[3] - source[1]
    area = (target[2] - target[0]) * (target[3] - target[1])
    side = max(math.sqrt(width * height / area), width / _REACH, height / _REACH)
    corner = []
    for axis, length in enumerate((width, height)):
        half = length / side / 2
        room = half + (1 - _REACH) / 2
        middle = np.clip((target[axis] + target[axis + 2]) / 2, room, 1 - room)
        corner.append((source[axis] + source[axis + 2]) / 2 - middle * side)
    pad = math.ceil(max(0, -min(corner), max(corner) + side - len(grey))) + 1
    padded = np.pad(grey, pad, constant_values=1)
    left, top = (c + pad for c in corner)
    fine = max(len(grey), _FINE_SIDE)
    return _resample(padded, (fine, fine), (left, top, left + side, top + side))


def _strokes(
    grey: Float[np.ndarray, "h w"],
) -> tuple[Float[np.ndarray, "h2 w2"], Bool[np.ndarray, "h2 w2"]]:
    """Distance to the strokes' edges, positive inside, and the strokes' centre lines.

    Both on the pixels of a grid that is finer than the drawing, if that is small.
    """
    scale = max(1, math.ceil(_FINE_SIDE / max(grey.shape)))
    height, width = grey.shape
    ink = _resample(1 - grey, (height * scale, width * scale)) > _EDGE
    if not ink.any() or ink.all():
        return np.where(ink, np.inf, -np.inf), np.zeros_like(ink)
    inside = ndimage.distance_transform_edt(ink)
    outside = ndimage.distance_transform_edt(~ink)
    # On a centre line no neighbour is deeper by half a pixel; off it, one is. A dent
    # of the edge has such points too, but much deeper ones close by.
    centre = ink & (inside > ndimage.maximum_filter(inside, 3) - 0.5)
    centre &= inside > ndimage.maximum_filter(inside, _FINE_SIDE // 32) / 2
    return np.where(ink, inside - 0.5, 0.5 - outside), centre


def _width(depth: Float[np.ndarray, "h w"], centre: Bool[np.ndarray, "h w"]) -> float:
    """Twice the median depth along the centre lines, in pixels of the fine grid."""
    return float(2 * np.median(depth[centre]) + 0.5) if centre.any() else 0.0
