"""Which attributes of a face survive: pose, smile, hair, skin, glasses, measured crudely.

Proxies from the colours in boxes that lie where dlib's five landmarks say (`faces`). The
frame of a face has its origin between the eyes, its unit is the distance of their middles,
u points from the left eye to the right one as they are seen, v down. How far each proxy
can be trusted is measured on photographs that were changed in ways that should not matter
(`reliability`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from cgan_jax import faces, intervals
from cgan_jax.images import luma

_Photos = UInt8[np.ndarray, "n s s 3"]

# Name by name, what `measure` returns.
MEANINGS = {
    "yaw": "how far the nose's foot lies to the side, in eye distances",
    "smile": "luma of the lightest tenth around the mouth less the median there: teeth",
    "hair lightness": "median CIELAB lightness above the temples",
    "hair colour": "median CIELAB b, blue to yellow, above the temples",
    "hair length": "share of the pixels beside the jaw whose lightness is nearer to the hair's than to the skin's",
    "skin lightness": "median CIELAB lightness of the cheeks",
    "skin colour": "median CIELAB b of the cheeks",
    "glasses": "mean change of luma from row to row on the bridge of the nose",
}
NAMES = tuple(MEANINGS)

# Boxes in the frame of the face: u from, to; v from, to.
_Box = tuple[float, float, float, float]
_Colour = Float[np.ndarray, " 3"]
_Point = Float[np.ndarray, " 2"]
_HAIR: tuple[_Box, _Box] = ((-1.0, -0.6, -1.1, -0.75), (0.6, 1.0, -1.1, -0.75))
_CHEEKS: tuple[_Box, _Box] = ((-0.6, -0.3, 0.35, 0.65), (0.3, 0.6, 0.35, 0.65))
_BESIDE: tuple[_Box, _Box] = ((-1.4, -1.05, 0.6, 1.4), (1.05, 1.4, 0.6, 1.4))
_MOUTH: _Box = (-0.4, 0.4, 0.85, 1.3)
_BRIDGE: _Box = (-0.2, 0.2, -0.25, 0.25)
_SAMPLES = 16  # places in each direction of a box
_TEETH = 90  # percentile


def measure(photo: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " a"]:
    """The attributes of the face in a photograph, in the order of `NAMES`.

    NaN if no face is found, or, of one attribute, where its boxes lie outside.

    Raises:
      FacesError: the extra `[faces]` is not installed.
    """
    return from_landmarks(photo, faces.landmarks(photo))


def reliability(
    describe: Callable[[_Photos], Float[np.ndarray, "n a"]], photos: _Photos
) -> dict[str, Float[np.ndarray, "n a"]]:
    """Attributes after changes of the photographs that should not matter, by the change.

    Args:
      describe: `measure` for many photographs.
      photos: of an even size.
    """
    n, size = photos.shape[:2]
    small = photos.reshape(n, size // 2, 2, size // 2, 2, 3).mean((2, 4))
    same_way = np.where(np.array(NAMES) == "yaw", -1, 1)
    return {
        "true photograph, mirrored": same_way * describe(photos[:, :, ::-1]),
        "true photograph, half as large": describe(np.rint(small).astype(np.uint8)),
    }


def correlations(
    found: Float[np.ndarray, "n a"], truth: Float[np.ndarray, "n a"], *, seed: int
) -> dict[str, intervals.Estimate]:
    """Spearman's correlation of each attribute of answers and the truth, by its name."""
    return {
        name: intervals.rank_correlation(found[:, k], truth[:, k], seed=seed)
        for k, name in enumerate(NAMES)
    }


def errors(
    found: Float[np.ndarray, "n a"], truth: Float[np.ndarray, "n a"]
) -> Float[np.ndarray, "n a"]:
    """How far answers are from the truth, in its standard deviations; NaN without a face."""
    known = [column[~np.isnan(column)] for column in truth.T]
    spreads = np.array([column.std() if len(column) else 0.0 for column in known])
    return np.abs(found - truth) / np.where(spreads > 0, spreads, np.nan)


def from_landmarks(
    photo: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "5 2"]
) -> Float[np.ndarray, " a"]:
    """`measure` for landmarks as of `faces.landmarks`."""
    if np.isnan(landmarks).any():
        return np.full(len(NAMES), np.nan)
    right, left = landmarks[:2].mean(0), landmarks[2:4].mean(0)
    across = right - left
    middle, unit = (left + right) / 2, np.hypot(*across)

    def sample(image: Float[np.ndarray, "h w *c"], *boxes: _Box) -> np.ndarray:
        found = [_sample(image, middle, across, box) for box in boxes]
        return np.concatenate(found)

    colours = photo / 255
    lab, grey = to_lab(colours), luma(colours)
    hair = _median(sample(lab, *_HAIR))
    cheeks = _median(sample(lab, *_CHEEKS))
    mouth = sample(grey, _MOUTH)
    bridge = np.abs(np.diff(sample(grey, _BRIDGE), axis=0))
    found = {
        "yaw": (landmarks[4] - middle) @ across / unit**2,
        "smile": np.percentile(mouth, _TEETH) - np.median(mouth),
        "hair lightness": hair[0],
        "hair colour": hair[2],
        "hair length": _hair_beside(sample(lab, *_BESIDE), hair, cheeks),
        "skin lightness": cheeks[0],
        "skin colour": cheeks[2],
        "glasses": bridge.mean(),
    }
    return np.array([found[name] for name in NAMES])


def _sample(
    image: Float[np.ndarray, "h w *c"],
    middle: _Point,
    across: _Point,
    box: _Box,
) -> Float[np.ndarray, "_ _ *c"]:
    """A picture at places of a box, rows first, linear between pixels; NaN outside."""
    u, v = np.meshgrid(np.linspace(*box[:2], _SAMPLES), np.linspace(*box[2:], _SAMPLES))
    down = np.array([-across[1], across[0]])
    x, y = (middle[i] + u * across[i] + v * down[i] for i in (0, 1))
    channels = image.reshape(*image.shape[:2], -1)
    found = [
        ndimage.map_coordinates(channels[..., c], [y, x], order=1, cval=np.nan)
        for c in range(channels.shape[2])
    ]
    return np.stack(found, axis=-1).reshape(*u.shape, *image.shape[2:])


def _median(values: Float[np.ndarray, "_ _ 3"]) -> _Colour:
    """Of each channel, over what lies inside; NaN if that is less than half."""
    flat = values.reshape(-1, 3)
    inside = flat[~np.isnan(flat).any(axis=1)]
    return (
        np.median(inside, axis=0) if 2 * len(inside) >= len(flat) else flat[0] * np.nan
    )


def _hair_beside(
    beside: Float[np.ndarray, "_ _ 3"],
    hair: _Colour,
    skin: _Colour,
) -> float:
    lightness = beside[..., 0].ravel()
    lightness = lightness[~np.isnan(lightness)]
    if 2 * len(lightness) < beside[..., 0].size or np.isnan(hair[0] + skin[0]):
        return float("nan")
    return float(np.mean(np.abs(lightness - hair[0]) < np.abs(lightness - skin[0])))


def to_lab(colours: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """CIELAB of sRGB, white point D65: L in 0 to 100, a green to red, b blue to yellow.

    IEC 61966-2-1 and CIE 15:2004.

    Args:
      colours: sRGB in [0, 1].
    """
    linear = np.where(
        colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4
    )
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    parts = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    delta = 6 / 29
    root = np.where(parts > delta**3, np.cbrt(parts), parts / (3 * delta**2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
