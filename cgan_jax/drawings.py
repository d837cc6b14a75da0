"""Drawings by hand, brought to what a model has seen: its frame, its lines, its tone.

A model learned from sketches that were computed from photographs. A person's drawing
comes as any picture file, on paper or on a transparent layer, framed at will, in strokes
of any width or in soft pencil. `read_drawing` reads the file, `prepare_drawing` does the
rest for a style of sketches, `Seen.prepare` for a model; each step is a function of its
own here.

Everywhere below a drawing is grey in [0, 1]: 1 is paper, 0 is ink.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from scipy import ndimage

from cgan_jax.joint import Joint
from cgan_jax.sketches import area_resize, xdog

Box = tuple[float, float, float, float]

AUTO = "auto"  # the style, or the frame, that the drawing itself asks for


@dataclasses.dataclass(frozen=True)
class StyleFacts:
    """What the sketches of a style look like.

    Attributes:
      line_width: to which strokes are brought, in parts of the picture's side.
      max_ink: mean darkness that 19 of 20 sketches stay below.
      keeps_tone: whether they show soft grey tone; else they are black lines.
    """

    line_width: float
    max_ink: float
    keeps_tone: bool = False


# Measured on the sketches of 200 training photographs of faces, 64 pixels a side. Width by
# `measure_line_width`, in parts of 128: the median, and between what nine in ten are; ink:
# its 95th percentile.
#   xdog        3.7  (2.9 to 4.4)   0.167    simplified  2.9  (2.9 to 2.9)  0.116
#   fdog        2.9  (2.4 to 3.5)   0.162    simplified  2.9  (2.9 to 2.9)  0.143
#   photocopy   5.4  (3.4 to 9.1)   0.292    simplified  2.9  (2.9 to 3.0)  0.163
#   xdog_solid  7.6  (5.5 to 14.9)  0.788    simplified  3.0  (2.9 to 3.0)  0.252
# What is drawn anew is blacker than they are, so that lines get nine tenths of the width.
STYLE_FACTS: Mapping[str, StyleFacts] = MappingProxyType(
    {
        "xdog": StyleFacts(3.3 / 128, 0.16),
        "fdog": StyleFacts(2.6 / 128, 0.16),
        "photocopy": StyleFacts(5.4 / 128, 0.29, keeps_tone=True),
        "xdog_solid": StyleFacts(6.9 / 128, 0.78),
        "xdog_simplified": StyleFacts(2.6 / 128, 0.11),
        "fdog_simplified": StyleFacts(2.6 / 128, 0.14),
        "photocopy_simplified": StyleFacts(2.6 / 128, 0.16),
        "xdog_solid_simplified": StyleFacts(2.7 / 128, 0.25),
    }
)
_USUAL = STYLE_FACTS["xdog"]  # of styles that nothing is known of

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
_LEAST_SIDE = 4  # what is narrower is no drawing
_EDGE = 0.4  # ink at the edge of a stroke: low, so that thin grey ones do not break
_REACH = 0.94  # of the frame's side, the most that a placed drawing takes
_FINE_SIDE = 512  # strokes are placed and measured on at least so many pixels
_NOISIEST = 0.2  # no paper's noise looks like more ink: what does is tone
# Of a drawing 128 pixels a side: the ink from which on there is pencil, and black; and how
# far from both no edge of a stroke reaches. Then how much of the ink is grey, and deep in
# the grey, where a drawing is shaded. All of 60 sketches of photographs by `photocopy` have
# more, 2 of 120 by `xdog` and `fdog`, and none of 67 drawings of lines by hand.
_PENCIL, _BLACK, _DEPTH = 0.12, 0.7, 3.0
_SHADED_GREY, _SHADED_DEEP = 0.3, 0.07
# Tone becomes ink as in `sketches.photocopy`: its ramp, and the width of its local mean.
_TONE_STEEPNESS, _TONE_START, _TONE_RADIUS = 2.0, 0.05, 8 / 128


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


class Prepared(NamedTuple):
    """A drawing as a model's sketch.

    Attributes:
      style: the sketch of the model's that it is like.
      sketch: in [0, 1], float32, of the model's size.
    """

    style: str
    sketch: Float[np.ndarray, "s s"]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a model has seen: drawings are brought to it.

    Attributes:
      size: side of its sketches, in pixels.
      facts: of each of its sketches, by name, in their order.
      boxes: where such things lie in its frame, by name; see `choose_frame`.
    """

    size: int
    facts: Mapping[str, StyleFacts]
    boxes: Mapping[str, Box]

    @classmethod
    def by(cls, joint: Joint, config: Mapping[str, Any]) -> "Seen":
        """What a published model tells of itself.

        Args:
          joint: what its joint images hold.
          config: its `style_facts`, by style, and `frame_boxes` go before `STYLE_FACTS`
            and `FACE_BOXES`; `style` names the styles that a sketch called otherwise mixes.
        """
        told = config.get("style_facts", {})
        known = {**STYLE_FACTS, **{x: StyleFacts(**y) for x, y in told.items()}}
        first = known.get(config.get("style", "").split(",")[0], _USUAL)
        boxes = config.get("frame_boxes", FACE_BOXES)
        return cls(
            joint.size,
            {name: known.get(name, first) for name in joint.sketches},
            {name: (x[0], x[1], x[2], x[3]) for name, x in boxes.items()},
        )

    def describe(self) -> dict[str, Any]:
        """Facts and boxes, fit for JSON."""
        facts = {name: dataclasses.asdict(x) for name, x in self.facts.items()}
        return {"style_facts": facts, "frame_boxes": dict(self.boxes)}

    def prepare(
        self,
        grey: Float[np.ndarray, "h w"],
        style: str = AUTO,
        *,
        invert: str = AUTO,
        flatten: bool = True,
        fit: str = "letterbox",
        frame: str = AUTO,
        match_lines: bool = True,
    ) -> Prepared:
        """A drawing as the model's sketch.

        Args:
          grey: the drawing in [0, 1], of any size.
          style: which of its sketches it becomes; `auto` for what `choose_style` says.

        The others are as in `prepare_drawing`.

        Raises:
          DrawingError: the drawing is blank.
          ValueError: an option has no such choice.
        """
        _check_choice("style", style, (AUTO, *self.facts))
        clean = clean_drawing(grey, invert=invert, flatten=flatten)
        if style == AUTO:
            style = choose_style(clean, self.facts)
        facts = self.facts[style] if match_lines else None
        return Prepared(style, _bring(clean, self.size, facts, fit, frame, self.boxes))


def prepare_drawing(
    grey: Float[np.ndarray, "h w"],
    size: int,
    *,
    invert: str = AUTO,
    flatten: bool = True,
    fit: str = "letterbox",
    frame: str = AUTO,
    boxes: Mapping[str, Box] = FACE_BOXES,
    match_lines: bool = True,
    facts: StyleFacts = _USUAL,
) -> Float[np.ndarray, "{size} {size}"]:
    """A drawing as a sketch of a style: polarity, paper, ink, square, frame, lines, size.

    Args:
      grey: the drawing in [0, 1], of any size.
      size: side of the sketch, in pixels.
      invert: whether it is light on dark: `yes`, `no`, or `auto` to look.
      flatten: remove shadows and the paper's tone, and make the ink black.
      fit: `letterbox` pads to a square, `crop` cuts its centre out.
      frame: a name in boxes, `keep`, or `auto`; see `frame_drawing`.
      boxes: where such drawings lie in the model's frame.
      match_lines: bring strokes, or tone, to those of the style; see `match_style`.
      facts: of the style.

    Returns:
      The sketch in [0, 1], float32.

    Raises:
      DrawingError: the drawing is blank.
      ValueError: an option has no such choice.
    """
    clean = clean_drawing(grey, invert=invert, flatten=flatten)
    return _bring(clean, size, facts if match_lines else None, fit, frame, boxes)


def clean_drawing(
    grey: Float[np.ndarray, "h w"], *, invert: str = AUTO, flatten: bool = True
) -> Float[np.ndarray, "h2 w2"]:
    """Dark on white, at most 1024 pixels; arguments as in `prepare_drawing`.

    Strokes become black; of what is shaded, only the darkest parts do.

    Raises:
      DrawingError: the drawing is blank.
      ValueError: invert has no such choice.
    """
    grey = set_polarity(reduce(grey), invert)
    if flatten:
        flat = flatten_paper(grey)
        grey = normalise_tone(flat)
        if not is_shaded(grey):
            grey = normalise_ink(flat)
    if is_blank(grey):
        raise DrawingError("the drawing is blank: no stroke stands out from its paper")
    return grey


def _bring(
    clean: Float[np.ndarray, "h w"],
    size: int,
    facts: StyleFacts | None,
    fit: str,
    frame: str,
    boxes: Mapping[str, Box],
) -> Float[np.ndarray, "{size} {size}"]:
    """What `clean_drawing` gave, in the frame, in the style if one is given, at the size."""
    grey = frame_drawing(fit_square(clean, fit=fit), frame, boxes)
    if facts is not None:
        grey = match_style(grey, facts, is_shaded(clean))
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
    grey: Float[np.ndarray, "h w"], invert: str = AUTO
) -> Float[np.ndarray, "h w"]:
    """The drawing dark on light.

    Args:
      grey: the drawing in [0, 1].
      invert: `yes` returns 1 - grey, `no` returns grey, `auto` looks which is right.

    Raises:
      ValueError: invert is none of `auto`, `yes`, `no`.
    """
    _check_choice("invert", invert, (AUTO, "yes", "no"))
    if invert == "yes" or (invert == AUTO and is_white_on_black(grey)):
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
    return _stretch(grey, float(np.percentile(ink[ink >= ink.max() / 2], 90)))


def normalise_tone(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Stretches the levels so that tone stays: the paper becomes 1, the darkest ink 0.

    The darkest ink is the 99.5th percentile of what is darker than the paper's noise. A
    page without ink stays as it is.
    """
    ink = 1 - grey
    drawn = ink[ink > _noise_level(ink)]
    return _stretch(grey, float(np.percentile(drawn, 99.5))) if drawn.size else grey


def _stretch(grey: Float[np.ndarray, "h w"], black: float) -> Float[np.ndarray, "h w"]:
    """The paper with its noise becomes 1, and so much ink 0."""
    ink = 1 - grey
    noise = _noise_level(ink)
    if black <= noise:
        return grey
    return (1 - (ink - noise) / (black - noise)).clip(0, 1).astype(grey.dtype)


def is_blank(grey: Float[np.ndarray, "h w"]) -> bool:
    """Whether fewer than 3 pixels in 10,000 are clearly darker than the paper.

    Clearly darker: by 0.1 and by more than the paper's noise. A strip of fewer than 4
    pixels across is blank, too: there is no paper beside its strokes.
    """
    if min(grey.shape) < _LEAST_SIDE:
        return True
    ink = 1 - grey
    threshold = max(_noise_level(ink), np.median(_paper(ink)) + 0.1)
    return bool(np.mean(ink > threshold) < 3e-4)


class Tone(NamedTuple):
    """What `measure_tone` finds, in parts of the ink's area.

    Attributes:
      grey: ink that is far from black.
      deep: grey in areas that are wider than the soft edges of strokes.
    """

    grey: float
    deep: float


def measure_tone(grey: Float[np.ndarray, "h w"]) -> Tone:
    """How much of the ink is grey, and how much is grey where no edge of a stroke is.

    On a copy of 128 pixels, of which ink is what is darker than the paper by 0.12, and
    grey what is not darker by 0.7. It is deep where a disc of 6 pixels, all of it grey,
    covers it.

    Args:
      grey: what `clean_drawing` gives.

    Returns:
      Zeros, if there is no ink.
    """
    small = area_resize(fit_square(grey), 128)
    darkness = 1 - ndimage.gaussian_filter(small, 0.5)
    ink = darkness > _PENCIL
    if not ink.any():
        return Tone(0.0, 0.0)
    soft = ink & (darkness < _BLACK)
    depth = ndimage.distance_transform_edt(np.pad(soft, 1, mode="edge"))[1:-1, 1:-1]
    deep = ndimage.distance_transform_edt(depth <= _DEPTH) < _DEPTH
    return Tone(float(np.mean(soft[ink])), float(np.mean(deep[ink])))


def is_shaded(grey: Float[np.ndarray, "h w"]) -> bool:
    """Whether a drawing lives by soft tone, as of a pencil, and not by its strokes.

    At least 0.3 of its ink is grey, and 0.07 lies deep in grey areas (`measure_tone`).
    Black areas are no tone, nor are thin grey strokes.

    Args:
      grey: what `normalise_tone` or `clean_drawing` gives.
    """
    tone = measure_tone(grey)
    return tone.grey >= _SHADED_GREY and tone.deep >= _SHADED_DEEP


def choose_style(
    grey: Float[np.ndarray, "h w"], facts: Mapping[str, StyleFacts]
) -> str:
    """Which of a model's sketches a drawing is like: what `auto` stands for.

    One that is shaded takes the first that keeps tone, any other the first of lines:
    `xdog` or `fdog` where the model has one.

    Args:
      grey: what `clean_drawing` gives.
      facts: of each of the model's sketches, by name, in their order.
    """
    tone = [name for name, x in facts.items() if x.keeps_tone]
    lines = [name for name in facts if name not in tone]
    lines.sort(key=lambda name: name not in ("xdog", "fdog"))
    first, second = (tone, lines) if is_shaded(grey) else (lines, tone)
    return [*first, *second][0]


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
    if not boxes:
        return "keep"
    ink = grey < _PAPER
    whole, *partial = boxes
    leaving = _count_leaving(ink)
    if partial and leaving < 4 and _is_open_above(ink):
        return partial[0]
    return "keep" if leaving else whole


def frame_drawing(
    grey: Float[np.ndarray, "side side"],
    frame: str = AUTO,
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
    _check_choice("frame", frame, (AUTO, "keep", *boxes))
    if frame == AUTO:
        frame = choose_frame(grey, boxes)
    ink = grey < _PAPER
    if frame == "keep" or not ink.any():
        return grey
    return _place(grey, _ink_box(ink), boxes[frame])


def match_style(
    grey: Float[np.ndarray, "side side"], facts: StyleFacts, shaded: bool
) -> Float[np.ndarray, "side2 side2"]:
    """A drawing as its style would show it.

    Where the style keeps tone, see `match_tone`. Else strokes are brought to its line
    width, but for dense drawings, which would turn black. What is shaded has few strokes
    to bring there: it is drawn in lines first, by `sketches.xdog`, as photographs are.

    Args:
      grey: the drawing in its frame.
      facts: of the style.
      shaded: what `is_shaded` says of the drawing.
    """
    if facts.keeps_tone:
        return match_tone(grey, facts)
    if shaded:
        grey = xdog(grey)
    width = _affordable_width(grey, facts)
    return match_line_width(grey, width)


def match_tone(
    grey: Float[np.ndarray, "side side"], facts: StyleFacts
) -> Float[np.ndarray, "side side"]:
    """Soft tone with the ink of a style: nothing is drawn anew.

    Strokes that are thinner than a third of the style's are widened to that, so that the
    blur which follows leaves them dark. Darkness goes through the ramp of
    `sketches.photocopy`, over white paper. Where that is more ink than the style has,
    large dark areas fade towards their middle, as they do there: strokes and edges stay.

    Args:
      grey: dark on white, in [0, 1].
      facts: of the style.
    """
    side = len(grey)
    missing = _affordable_width(grey, facts, 1 / 3) - measure_line_width(grey)
    wide = ndimage.minimum_filter(grey, max(1, 1 + round(missing)))
    ink = 1 - ndimage.gaussian_filter(wide, facts.line_width * side / 5)
    around = ndimage.gaussian_filter(ink, _TONE_RADIUS * side)
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        raised = np.maximum(ink - part * around - _TONE_START, 0)
        tone = np.tanh(_TONE_STEEPNESS * raised)
        if tone.mean() <= facts.max_ink:
            break
    return (1 - tone).astype(grey.dtype)


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
    grey: Float[np.ndarray, "h w"], facts: StyleFacts, part: float = 1.0
) -> float:
    """A part of the style's width, in pixels; or that at which its ink is reached.

    Ink grows as the width.
    """
    ink, width = float(np.mean(1 - grey)), measure_line_width(grey)
    target = part * facts.line_width * len(grey)
    return min(target, width * max(1.0, facts.max_ink / ink))


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
    return _usual_most(_paper(ink))


def _paper(ink: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "*n"]:
    """The ink of what is paper.

    The whole page, since strokes are few; or its brightest quarter, where the page as a
    whole has more ink than paper can have: most of it is shaded, or black.
    """
    whole = _usual_most(ink) <= _NOISIEST
    return ink if whole else ink[ink <= np.percentile(ink, 25)]


def _usual_most(ink: Float[np.ndarray, "*n"]) -> float:
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
