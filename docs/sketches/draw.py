"""Draw the example sketches of faces in this folder.

Every face is invented: smooth curves through hand-set points, drawn with a pen whose
width follows the pressure of the hand. Coordinates are those of a face in the frame
of the training pictures, 128 x 128 with the pupils at (46.7, 55.6) and (80.9, 55.6).

    python docs/sketches/draw.py            # writes face_*.png beside this file
    python docs/sketches/draw.py -o folder  # or somewhere else
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Points = Sequence[tuple[float, float]]
Curve = NDArray[np.float64]
Mask = NDArray[np.bool_]

MID = 63.8  # x of the middle between the pupils
EYE_Y = 55.6
EYE_DX = 17.1  # half the distance between the pupils
SUPERSAMPLE = 4

THICK, BOLD, LINE, FINE, THIN = 2.9, 2.45, 2.0, 1.5, 1.15  # pen widths, of 128


# ---------------------------------------------------------------- curves


def smooth(points: Points | Curve, steps: int = 14) -> Curve:
    """Return a centripetal Catmull-Rom curve through ``points``."""
    p = np.asarray(points, dtype=float)
    if len(p) < 3:
        return p
    h = np.sqrt(np.maximum(np.hypot(*np.diff(p, axis=0).T), 1e-6))[:, None]
    slope = np.diff(p, axis=0) / h
    inner = slope[:-1] + slope[1:] - (p[2:] - p[:-2]) / (h[:-1] + h[1:])
    first = 1.5 * slope[:1] - 0.5 * inner[:1]
    last = 1.5 * slope[-1:] - 0.5 * inner[-1:]
    m = np.concatenate([first, inner, last])
    s = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = (
        (2 * s**3 - 3 * s**2 + 1) * p[:-1]
        + (s**3 - 2 * s**2 + s) * h * m[:-1]
        + (3 * s**2 - 2 * s**3) * p[1:]
        + (s**3 - s**2) * h * m[1:]
    )
    return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 2), p[-1:]])


def resample(curve: Curve, count: int) -> Curve:
    """Return ``count`` points at equal distances along ``curve``."""
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    to = np.linspace(0, at[-1], count)
    return np.stack([np.interp(to, at, curve[:, i]) for i in (0, 1)], axis=1)


def length(curve: Curve) -> float:
    """Return the length of ``curve``."""
    return float(np.hypot(*np.diff(curve, axis=0).T).sum())


def path(text: str) -> list[tuple[float, float]]:
    """Return the points written as "x,y x,y ..."."""
    pairs = [word.split(",") for word in text.split()]
    return [(float(x), float(y)) for x, y in pairs]


def mirror(points: Points, about: float = MID) -> list[tuple[float, float]]:
    """Return ``points`` mirrored left to right."""
    return [(2 * about - x, y) for x, y in points]


def whole(half: Points, about: float = MID) -> list[tuple[float, float]]:
    """Return a left half, top to bottom, followed by its mirror image upwards."""
    return [*half, *reversed(mirror([p for p in half if p[0] < about - 0.1], about))]


def oval(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, turn: float = 360.0
) -> Curve:
    """Return an arc of an ellipse from ``start`` over ``turn`` degrees."""
    a = np.deg2rad(np.linspace(start, start + turn, 40))
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a)], axis=1)


# ---------------------------------------------------------------- pen and paper


@dataclass(frozen=True)
class Paper:
    """Size of a picture, and where and how large the 128-unit frame lies on it."""

    width: int = 256
    height: int = 256
    scale: float = 2.0
    left: float = 0.0
    top: float = 0.0


class Sheet:
    """A sheet of paper with a pen: strokes, filled shapes and erased shapes."""

    def __init__(self, seed: int, paper: Paper) -> None:
        """Lay out a white sheet; ``seed`` fixes the unsteadiness of the hand."""
        self.paper = paper
        self.rng = random.Random(seed)
        size = (self.paper.height * SUPERSAMPLE, self.paper.width * SUPERSAMPLE)
        self.ink: Mask = np.zeros(size, dtype=bool)
        self.flip = False
        self.skew = [6.283 * self.rng.random() for _ in range(4)]

    def stroke(
        self,
        points: Points | Curve,
        width: float = LINE,
        taper: tuple[float, float] = (0.25, 0.35),
        wobble: float = 0.28,
    ) -> None:
        """Draw a curve; ``taper`` is the part of it over which the pen comes down."""
        curve = smooth(points)
        count = max(6, int(length(curve) / 0.22))
        curve = resample(curve, count)
        curve = self._unsteady(curve, wobble)
        for (x, y), r in zip(self._pixels(curve), self._radii(curve, width, taper)):
            self._dot(x, y, r)

    def contour(
        self, points: Points | Curve, width: float = BOLD, pieces: int = 3
    ) -> None:
        """Draw a long curve in several strokes, each set down before the last ends."""
        curve = smooth(points)
        curve = resample(curve, max(40, int(length(curve) / 0.5)))
        n = len(curve)
        cuts = [0.0]
        for i in range(1, pieces):
            cuts.append((i + 0.4 * (self.rng.random() - 0.5)) / pieces)
        for a, b in pairwise([*cuts, 1.0]):
            piece = curve[max(0, int((a - 0.05) * n)) : int((b + 0.03) * n) + 1]
            self.stroke(piece, width, (0.2, 0.22), 0.22)

    def fill(self, *sides: Points | Curve, within: Mask | None = None) -> None:
        """Blacken the shape whose outline is the curves one after another."""
        shape = self.shape(*sides)
        self.ink |= shape if within is None else shape & within

    def clear(self, *sides: Points | Curve, within: Mask | None = None) -> None:
        """Erase the shape whose outline is the curves one after another."""
        shape = self.shape(*sides)
        self.ink &= ~(shape if within is None else shape & within)

    def shape(self, *sides: Points | Curve) -> Mask:
        """Return the inside (even-odd) of a closed outline."""
        edge = self._pixels(np.concatenate([smooth(side) for side in sides]))
        count = np.zeros((self.ink.shape[0], self.ink.shape[1] + 1), dtype=np.int32)
        for (xa, ya), (xb, yb) in zip(edge, np.roll(edge, -1, axis=0)):
            if ya > yb:
                xa, ya, xb, yb = xb, yb, xa, ya
            rows = np.arange(max(0, np.ceil(ya)), min(count.shape[0], np.ceil(yb)))
            if rows.size:
                x = xa + (rows - ya) * (xb - xa) / (yb - ya)
                columns = np.clip(np.ceil(x), 0, self.ink.shape[1]).astype(int)
                np.add.at(count, (rows.astype(int), columns), 1)
        inside: Mask = np.cumsum(count, axis=1)[:, :-1] % 2 == 1
        return inside

    def image(self) -> Image.Image:
        """Return the drawing as a grey picture, black on white."""
        h, w = self.paper.height, self.paper.width
        part = self.ink.reshape(h, SUPERSAMPLE, w, SUPERSAMPLE).mean(axis=(1, 3))
        return Image.fromarray(np.rint(255 * (1 - part)).astype(np.uint8))

    def _pixels(self, curve: Curve) -> Curve:
        """Return positions on the supersampled grid, to a 64th of a pixel."""
        offset = np.array([self.paper.left, self.paper.top])
        px = (self._uneven(curve) * self.paper.scale + offset) * SUPERSAMPLE
        fine: Curve = np.round(px * 64) / 64
        return fine

    def _uneven(self, curve: Curve) -> Curve:
        """Return the curve bent a little: no face is the same on both sides."""
        x, y = curve.T
        a, b, c, d = self.skew
        dx = 0.5 * np.sin(y / 19 + a) + 0.4 * np.sin(x / 14 + b)
        dy = 0.4 * np.sin(x / 17 + c) + 0.4 * np.sin(y / 21 + d)
        x = 2 * MID - x if self.flip else x
        return np.stack([x + dx, y + dy], axis=1)

    def _unsteady(self, curve: Curve, amount: float) -> Curve:
        """Return the curve with slow sideways waves, as of a hand."""
        along = np.linspace(0, length(curve), len(curve))
        for wave, share in ((41.0, 1.0), (17.0, 0.5)):
            reach = share * amount * min(1.0, along[-1] / wave)
            for axis in (0, 1):
                phase = 6.283 * self.rng.random()
                size = reach * (0.5 + self.rng.random())
                curve[:, axis] += size * np.sin(6.283 * along / wave + phase)
        return curve

    def _radii(self, curve: Curve, width: float, taper: tuple[float, float]) -> Curve:
        """Return half the pen's width, in supersampled pixels, along a curve."""
        t = np.linspace(0, 1, len(curve))
        down = np.clip(t / max(taper[0], 1e-6), 0, 1)
        up = np.clip((1 - t) / max(taper[1], 1e-6), 0, 1)
        press = 0.28 + 0.72 * np.sin(down * np.pi / 2) * np.sin(up * np.pi / 2)
        sway = 1 + 0.17 * np.sin(6.283 * (length(curve) / 23.0 * t + self.rng.random()))
        radius = width * press * sway * self.paper.scale * SUPERSAMPLE / 2
        return np.round(radius * 64) / 64

    def _dot(self, x: float, y: float, r: float) -> None:
        """Blacken a disc on the supersampled grid."""
        h, w = self.ink.shape
        x0, x1 = max(0, int(x - r)), min(w, int(x + r) + 2)
        y0, y1 = max(0, int(y - r)), min(h, int(y + r) + 2)
        if x0 < x1 and y0 < y1:
            dx = np.arange(x0, x1) - x
            dy = np.arange(y0, y1)[:, None] - y
            self.ink[y0:y1, x0:x1] |= dx * dx + dy * dy <= r * r


# ---------------------------------------------------------------- parts of a face


@dataclass(frozen=True)
class Eye:
    """How an eye looks: sizes in units of the frame, ``gaze`` moves the iris."""

    width: float = 17.0
    upper: float = 4.1
    lower: float = 2.6
    tilt: float = 0.8
    iris: float = 3.7
    gaze: tuple[float, float] = (0.0, 0.0)
    lash: float = 1.0
    crease: float = 2.3
    bag: float = 0.0


def eye(s: Sheet, x: float, side: int, look: Eye, y: float = EYE_Y) -> None:
    """Draw an eye; ``side`` is -1 for the one on the left of the picture."""

    def at(u: float, v: float) -> tuple[float, float]:
        return x + side * u * look.width / 2, y + v

    t, up, low = look.tilt, look.upper, look.lower
    lid = [
        at(-1, 1.3),
        at(-0.78, -0.35 * up),
        at(-0.3, -0.92 * up),
        at(0.15, -up),
        at(0.65, -0.62 * up - 0.4 * t),
        at(1.0, -t),
    ]
    floor = [at(1, -t), at(0.55, 0.72 * low), at(0, low), at(-0.6, 0.8 * low)]
    floor.append(at(-1, 1.3))
    iris(s, s.shape(lid, floor), at(*look.gaze), look.iris)
    s.stroke(lid, BOLD * (0.72 + 0.28 * look.lash), (0.5, 0.12), 0.1)
    flick = [at(0.62, -0.66 * up - 0.4 * t), at(1.0, -t), at(1.17, -t - 0.9)]
    s.stroke(flick, BOLD * 0.8 * look.lash, (0.2, 0.5), 0.05)
    s.stroke(floor[:4], THIN, (0.1, 0.7), 0.1)
    s.stroke([at(-1.02, 1.2), at(-0.9, 1.9), at(-0.72, 0.75 * low)], THIN, wobble=0)
    if look.crease:
        fold = [(px, py - look.crease) for px, py in lid[1:5]]
        s.stroke([*fold, at(1.05, -t - look.crease * 0.9)], THIN, (0.5, 0.5), 0.15)
    if look.bag:
        bag = [at(-0.75, low + 1.4), at(-0.1, low + 2.2 + look.bag), at(0.6, low + 1.8)]
        s.stroke(bag, THIN, (0.4, 0.6), 0.15)


def iris(s: Sheet, opening: Mask, centre: tuple[float, float], r: float) -> None:
    """Draw iris, pupil and the light in it, as far as the lids leave it open."""
    x, y = centre[0], centre[1] - 0.6
    s.fill(oval(x, y, r, r), within=opening)
    s.clear(oval(x, y + 0.45, r - 0.95, r - 0.75), within=opening)
    s.fill(oval(x, y, r * 0.56, r * 0.56), within=opening)
    s.clear(oval(x + 0.3 * r, y - 0.32 * r, 0.24 * r, 0.24 * r), within=opening)


def eyes(s: Sheet, look: Eye) -> None:
    """Draw both eyes of a face seen from the front."""
    gx, gy = look.gaze
    for side in (-1, 1):
        eye(s, MID + side * EYE_DX, side, replace(look, gaze=(gx * side, gy)))


def brow(s: Sheet, spine: Points, width: float, hairs: int = 0) -> None:
    """Draw an eyebrow from the inner end outwards, optionally of single hairs."""
    s.stroke(spine, width, (0.22, 0.75), 0.12)
    curve = resample(smooth(spine), 40)
    out = 1 if curve[-1, 0] > curve[0, 0] else -1
    for i in range(hairs):
        t = 0.75 * (i + 0.3 + 0.4 * s.rng.random()) / hairs
        x, y = curve[int(t * 39)]
        up = width * (0.75 - 0.5 * t)
        s.stroke([(x, y), (x + out * (1.2 + 2.4 * t), y - up)], THIN, (0.1, 0.8), 0)


def brows(s: Sheet, spine: Points, width: float = 3.0, hairs: int = 0) -> None:
    """Draw both eyebrows; ``spine`` is the one on the left, from its inner end."""
    for points in (spine, mirror(spine)):
        brow(s, points, width, hairs)


@dataclass(frozen=True)
class Nose:
    """How a nose looks from the front; ``bridge`` is the side that is in shadow."""

    y: float = 76.0
    width: float = 18.0
    bridge: int = 1
    top: float = 58.0
    flare: float = 1.0
    droop: float = 2.3


def nose(s: Sheet, n: Nose) -> None:
    """Draw a nose from the front."""
    for side in (-1, 1):

        def at(u: float, v: float, side: int = side) -> tuple[float, float]:
            return MID + side * u * n.width / 2, n.y + v

        wing = [at(0.76, -4.6), at(1.02, -2.2), at(0.98, 0.6), at(0.68, 1.0)]
        if n.flare:
            s.stroke(wing, FINE * n.flare, (0.4, 0.4), 0.12)
        nostril = [at(0.66, 1.0), at(0.42, 0.2), at(0.2, 1.4)]
        s.stroke(nostril, LINE, (0.4, 0.4), 0.05)
    tip = [(MID - 1.9, n.y + 0.7 * n.droop), (MID, n.y + n.droop)]
    s.stroke([*tip, (MID + 1.9, n.y + 0.7 * n.droop)], FINE, wobble=0.05)
    if n.bridge:
        b, drop = n.bridge * n.width, n.y - 5 - n.top
        side_of = [(0.31, 0.0), (0.22, 0.4), (0.22, 0.75), (0.32, 1.0)]
        curve = [(MID + b * u, n.top + drop * v) for u, v in side_of]
        s.stroke(curve, FINE, (0.6, 0.6), 0.15)


@dataclass(frozen=True)
class Mouth:
    """How a closed mouth looks; ``smile`` lifts the corners."""

    y: float = 90.5
    width: float = 28.0
    smile: float = 1.2
    upper: float = 3.4
    lower: float = 5.4


def mouth(s: Sheet, m: Mouth, x: float = MID, far: float = 1.0, turn: int = 0) -> None:
    """Draw a closed mouth; ``far`` shortens the half that is turned away."""
    left, right = (far, 1.0) if turn < 0 else (1.0, far)

    def at(u: float, v: float) -> tuple[float, float]:
        return x + u * m.width / 2 * (left if u < 0 else right), m.y + v

    lift = -m.smile
    line = [at(-1, lift), at(-0.62, 0.35 * lift + 0.7), at(-0.2, -0.15), at(0, 0.55)]
    line += [at(0.2, -0.15), at(0.62, 0.35 * lift + 0.7), at(1, lift)]
    s.stroke(line, LINE + 0.1, (0.15, 0.15), 0.12)
    up = -m.upper
    bow = [at(-0.86, lift - 0.5), at(-0.5, 0.62 * up), at(-0.17, up), at(0, up + 1.0)]
    bow += [at(0.17, up), at(0.5, 0.62 * up), at(0.86, lift - 0.5)]
    s.stroke(bow, THIN + 0.15, (0.3, 0.3), 0.12)
    low = m.lower
    lip = [at(-0.62, 0.55 * low), at(-0.3, 0.95 * low), at(0, low)]
    lip += [at(0.3, 0.95 * low), at(0.62, 0.55 * low)]
    s.stroke(lip, LINE, (0.5, 0.5), 0.12)
    for u in (-1, 1):
        s.stroke([at(u, lift - 0.5), at(1.06 * u, lift + 0.8)], FINE, wobble=0)


def laugh(s: Sheet, y: float = 88.5, width: float = 34.0, drop: float = 10.0) -> None:
    """Draw an open smile with the upper row of teeth."""

    def at(u: float, v: float) -> tuple[float, float]:
        return MID + u * width / 2, y + v

    top = [at(-1, -1.2), at(-0.6, 1.0), at(-0.2, 1.6), at(0.2, 1.6), at(0.6, 1.0)]
    top.append(at(1, -1.2))
    low = [at(0.97, -0.8), at(0.68, 0.62 * drop), at(0.25, 0.95 * drop)]
    low += [at(-0.25, 0.95 * drop), at(-0.68, 0.62 * drop), at(-0.97, -0.8)]
    inside = s.shape(top, low)
    edge = [at(-0.9, 0.2), at(-0.55, 0.55 * drop), at(0, 0.74 * drop)]
    edge += [at(0.55, 0.55 * drop), at(0.9, 0.2)]
    s.fill(top, low)
    s.clear(top, edge[::-1], within=inside)
    for u in (-0.52, -0.27, 0.0, 0.27, 0.52):
        a, b = at(u, 1.6), at(u * 0.97, 3.6 + 2.0 * (1 - abs(u)))
        s.stroke([a, b], 0.8, (0.1, 0.6), 0)
    s.stroke(top, LINE, (0.1, 0.1), 0.1)
    s.stroke(low, FINE, (0.2, 0.2), 0.1)
    bow = [at(-1.02, -2.2), at(-0.5, -1.6), at(-0.14, -2.2), at(0, -1.4)]
    bow += [at(0.14, -2.2), at(0.5, -1.6), at(1.02, -2.2)]
    s.stroke(bow, FINE, (0.3, 0.3), 0.1)
    lip = [at(-0.55, drop + 1.6), at(0, drop + 3.4), at(0.55, drop + 1.6)]
    s.stroke(lip, LINE, (0.5, 0.5), 0.1)


def ear(s: Sheet, x: float, y: float, side: int, high: float = 20.0) -> None:
    """Draw an ear seen from the front; (x, y) is where it joins the head above."""

    def at(u: float, v: float) -> tuple[float, float]:
        return x + side * u, y + v * high

    rim = [at(0.3, 0.02), at(3.4, -0.12), at(6.0, 0.06), at(5.8, 0.42)]
    rim += [at(4.2, 0.76), at(3.0, 0.98), at(0.9, 0.96)]
    s.clear(rim)
    s.stroke(rim, LINE, (0.2, 0.3), 0.15)
    fold = [at(3.9, 0.12), at(4.2, 0.34), at(2.6, 0.5), at(2.9, 0.68)]
    s.stroke(fold, THIN, (0.3, 0.4), 0.1)


def pair(
    s: Sheet,
    points: Points,
    width: float = LINE,
    taper: tuple[float, float] = (0.3, 0.6),
) -> None:
    """Draw a stroke and its mirror image."""
    s.stroke(points, width, taper)
    s.stroke(mirror(points), width, taper)


def hatch(
    s: Sheet,
    guides: Sequence[Points],
    count: int,
    width: float = FINE,
    part: tuple[float, float] = (0.3, 0.75),
    wobble: float = 0.25,
) -> None:
    """Draw strands that run between neighbouring guides, each over a part of them."""
    curves = [resample(smooth(g), 61) for g in guides]
    for i in range(count):
        t = (i + 0.3 + 0.4 * s.rng.random()) / count * (len(curves) - 1)
        k = min(int(t), len(curves) - 2)
        strand = curves[k] + (t - k) * (curves[k + 1] - curves[k])
        share = part[0] + (part[1] - part[0]) * s.rng.random()
        start = int((1 - share) * ((0.37 + i * 0.618034) % 1) * 60)
        strand = strand[start : start + max(6, int(share * 60)) : 4]
        heavy = width * (0.75 + 0.5 * s.rng.random())
        s.stroke(strand, heavy, (0.4, 0.6), wobble)


def tufts(
    s: Sheet,
    roots: Points,
    tips: Points,
    count: int,
    width: float = FINE,
    part: tuple[float, float] = (0.3, 0.6),
    bend: float = 1.0,
) -> None:
    """Draw short hairs from one curve towards another, each over a part of the way."""
    a, b = resample(smooth(roots), count), resample(smooth(tips), count)
    for i in range(count):
        share = part[0] + (part[1] - part[0]) * s.rng.random()
        start = (1 - share) * ((0.2 + i * 0.618034) % 1)
        p = a[i] + start * (b[i] - a[i]) + (0.8 * s.rng.random() - 0.4)
        q = a[i] + (start + share) * (b[i] - a[i])
        across = np.array([q[1] - p[1], p[0] - q[0]]) / (np.hypot(*(q - p)) + 1e-6)
        heavy = width * (0.75 + 0.5 * s.rng.random())
        s.stroke(np.array([p, (p + q) / 2 + bend * across, q]), heavy, (0.3, 0.6), 0.1)


def strands(s: Sheet, width: float, *curves: Points) -> None:
    """Draw several hand-set strokes of one width."""
    for curve in curves:
        s.stroke(curve, width, (0.3, 0.5))


def scallops(
    s: Sheet, points: Points, count: int, bulge: float = 2.0, width: float = LINE
) -> None:
    """Draw a line of bumps along a curve, out to the left of its direction."""
    curve = resample(smooth(points), count + 1)
    for p, q in pairwise(curve):
        out = np.array([q[1] - p[1], p[0] - q[0]]) / np.hypot(*(q - p))
        size = bulge * (0.7 + 0.6 * s.rng.random())
        back = 0.12 * (q - p)
        arc = [p - back, p + 0.2 * (q - p) + 0.8 * size * out]
        arc += [p + 0.75 * (q - p) + size * out, q + back]
        s.stroke(np.array(arc), width, (0.25, 0.25), 0.1)


def curls(
    s: Sheet, inner: Points, outer: Points, grid: tuple[int, int], size: float = 3.0
) -> None:
    """Draw open curls in rows between two curves; ``grid`` is how many, and rows."""
    count, rows = grid
    below, above = (resample(smooth(curve), 101) for curve in (inner, outer))
    for row in range(rows):
        for i in range(count):
            t = (i + 0.5 * (row % 2) + 0.5 * s.rng.random()) / count
            u = (row + 0.3 + 0.4 * s.rng.random()) / rows
            k = min(100, int(100 * t))
            x, y = below[k] + u * (above[k] - below[k])
            r = size * (0.75 + 0.5 * s.rng.random())
            turn = (150 + 110 * s.rng.random()) * (1 if s.rng.random() < 0.5 else -1)
            arc = oval(x, y, r, 0.8 * r, 360 * s.rng.random(), turn)
            s.stroke(arc[::4], FINE, (0.35, 0.45), 0.15)


# ---------------------------------------------------------------- the faces


def straight_hair(s: Sheet) -> None:
    """Woman with long straight hair, parted in the middle."""
    eyes(s, Eye(lash=1.15, upper=4.3))
    brows(s, path("54.5,46.8 47,43.6 40,43.8 35.5,46.8"), 2.7)
    nose(s, Nose(width=16.5, droop=2.6))
    mouth(s, Mouth(smile=1.8, upper=3.8, lower=6.0))
    jaw = path("31.5,74 35,88 42,102 52,112.5 58.7,115.8 63.8,116.4")
    s.stroke(whole(jaw), BOLD, (0.1, 0.1))
    s.stroke(path("44.5,105 45,114 42,123 35,129"), FINE)
    s.stroke(path("83.5,105 82.6,114 86,123 92,129"), FINE)
    left = [
        path("62,3.5 46,4 32,12 22,27 17,48 13.5,76 9,104 6,132"),
        path("62,8 49,11 37,21 29,35 25,52 23,76 21,104 18,132"),
        path("62,15 54,19 45,27 37,38 32,53 30.5,72 33,96 31,132"),
    ]
    right = [
        path("62,3.5 80,3 95,11 105,27 110,48 114,76 117,104 121,132"),
        path("62,8 77,11 90,21 98,35 102.5,52 104,76 106,104 109,132"),
        path("62,15 72,19 82,27 90,38 95.5,53 97.5,72 94.5,96 96,132"),
    ]
    for side in (left, right):
        s.stroke(side[0], BOLD, (0.15, 0.1))
        s.stroke(side[2], LINE, (0.15, 0.1))
        hatch(s, side, 9, FINE, (0.25, 0.6))
    s.stroke(path("62,3 61.5,9 62,15.5"), FINE)


def cropped_hair(s: Sheet) -> None:
    """Man with short hair, combed to one side."""
    ear(s, 28, 53, -1)
    ear(s, 99.6, 53, 1)
    eyes(s, Eye(upper=3.6, lower=2.2, tilt=0.3, lash=0.55, crease=1.9, iris=3.4))
    brows(s, path("55.5,48.4 48,46.4 40,46 34.5,49"), 3.4, 7)
    nose(s, Nose(77, 20, -1, 53, droop=2.0))
    mouth(s, Mouth(91.0, 29, 0.3, 2.6, 5.0))
    jaw = path("27.5,70 28.8,78 31.5,90 38,102 48,112.5 56,116.8")
    s.stroke(whole([*jaw, (MID, 117.4)]), BOLD, (0.08, 0.08))
    s.stroke(path("60,111 63.8,110 67.5,111"), FINE)
    s.stroke(path("36,101 36.5,113 33,121 20,128 6,133"))
    s.stroke(path("91.5,101 91.5,113 95,121 107,128 122,133"))
    s.stroke(path("27.8,57 25.2,46 24.5,34 27,22 33,12 41,7"), BOLD)
    over = [
        path("41,21 50,18 61,18 73,20 84,22 92,28 96,40"),
        path("40,15 48,10.5 61,9.5 76,11 90,18 98,30 99.5,44"),
        path("39,9 46,3.5 58,1.5 76,2 93,9 102,25 103,44"),
    ]
    s.stroke(over[0], LINE, (0.2, 0.2))
    s.stroke(over[2], BOLD, (0.15, 0.1))
    hatch(s, over, 14, LINE, (0.25, 0.6))
    s.stroke(path("96,38 97.8,46 99,57"), FINE)
    s.stroke(path("103,42 102.4,50 100,56"), LINE)
    s.stroke(path("41,21 35.5,27 32,37 31.2,48 29,58"), FINE)
    side = [path("39,17 33,23 30,33 29.5,50"), path("38,12 30,18 27,31 27,46")]
    hatch(s, side, 5, FINE, (0.3, 0.5))


def wavy_hair(s: Sheet) -> None:
    """Woman with long wavy hair, parted on one side."""
    eyes(s, Eye(lash=1.1, upper=3.9, tilt=1.4, crease=2.6, gaze=(0.05, 0)))
    brow(s, path("55,47 48,43 41,42.2 35.5,46"), 2.5)
    brow(s, path("72.5,46.5 79.5,42.6 86.5,42 92.5,46"), 2.5)
    nose(s, Nose(75.5, 17, -1, 60, flare=0.85, droop=1.8))
    mouth(s, Mouth(90, 30, 2.6, 3.4, 5.6))
    jaw = path("33,78 36,90 44,103 54,111.5 59,113.6 63.8,114")
    s.stroke(whole(jaw), BOLD, (0.1, 0.1))
    s.stroke(path("46,105.5 46.5,114 43,122 36,130"), FINE)
    s.stroke(path("82,105.5 81.5,114 85,122 93,130"), FINE)
    left = [
        path("73,3 56,0.5 38,4 26,14 20,28 13,42 15,56 7,70 9,86 2,100 5,116 0,132"),
        path(
            "72.5,8 58,9 43,16 34,26 28,38 22,50 24,62 17,76 20,91 13,105 17,120 12,133"
        ),
        path(
            "72,14 61,17 50,24 42,34 35,44 31,55 35,68 29,82 34,96 27,110 32,122 27,134"
        ),
    ]
    right = [
        path(
            "73,3 88,3 101,11 108,25 109,40 116,54 112,70 121,84 118,102 127,118 "
            "124,134"
        ),
        path(
            "72.5,8 84,10 95,20 101,34 102,46 107,58 103,72 110,86 106,102 "
            "113,118 110,134"
        ),
        path("72,14 81,19 90,30 96,42 97.5,54 94,67 99,80 93,94 98,108 93,121 98,134"),
    ]
    for side in (left, right):
        s.stroke(side[0], BOLD, (0.12, 0.1))
        s.stroke(side[2], LINE, (0.12, 0.1))
        hatch(s, side, 14, FINE, (0.2, 0.5))


def bob_with_fringe(s: Sheet) -> None:
    """Woman with chin-length hair and a straight fringe."""
    eyes(s, Eye(lash=1.2, upper=4.4, lower=2.9, tilt=1.0, iris=3.9))
    nose(s, Nose(75, 15.5, 1, 59, flare=0.7, droop=2.0))
    mouth(s, Mouth(88.5, 24, 1.0, 4.0, 6.2))
    jaw = path("31.5,84 36,94 44.5,104 54,110.8 59,112.6 63.8,113")
    s.stroke(whole(jaw), BOLD, (0.08, 0.08))
    s.stroke(path("48,107.5 48.5,117 45,123 34,129"), LINE)
    s.stroke(path("80,107.5 79.5,117 83,123 94,129"), LINE)
    s.stroke(path("39,127 50,130 64,131 78,130 89,127"), FINE)
    outer = path("63,3 46,4 30,12 20.5,28 16.5,48 15.5,68 17,86 22,98")
    middle = path("62,8 46,12 33,23 26,38 23.5,54 22.5,72 24,88 28,100")
    inner = path("60,14 46,22 37,34 32.5,46 30.5,60 30,74 32,88 37,99")
    for flip in (list, mirror):
        o, m, i = (flip(g) for g in (outer, middle, inner))
        s.stroke(o, BOLD, (0.1, 0.05))
        s.stroke(i[3:], LINE, (0.1, 0.1))
        s.stroke(flip(path("21.6,97 24,101.5 30,103 37.5,98.5")), LINE)
        hatch(s, [o, m, i], 12, FINE, (0.25, 0.6))
    fringe(s)


def fringe(s: Sheet) -> None:
    """Draw a fringe cut straight above the eyes."""
    edge = path("33,46 42,43.2 53,42.2 64,42.5 75,42 86,43 95,46")
    crown = path("59,9 60.5,9 62,8.6 64,8.5 65.5,8.6 67,9 68.5,9")
    tufts(s, crown, edge, 15, FINE, (0.35, 0.6), 0.0)
    above = resample(smooth([((x - MID) * 0.9 + MID, y - 17) for x, y in edge]), 101)
    below = resample(smooth(edge), 101)
    for i in range(23):
        k = int(100 * (i + 0.5 * s.rng.random()) / 23)
        root = above[k] + 0.7 * s.rng.random() * (below[k] - above[k])
        tip = below[k] + (0.0, 1.8 * s.rng.random())
        s.stroke(np.array([root, tip]), FINE + 0.2, (0.7, 0.3), 0.2)


def bald_with_beard(s: Sheet) -> None:
    """Bald man with a full beard."""
    ear(s, 27.5, 54, -1)
    ear(s, 100, 54, 1)
    eyes(
        s, Eye(upper=3.5, lower=2.3, tilt=-0.2, lash=0.5, crease=1.8, iris=3.4, bag=0.6)
    )
    brows(s, path("56,48.6 48,45.4 40,45.2 34,49.5"), 3.2, 8)
    nose(s, Nose(77.5, 22, 1, 52, flare=1.1, droop=3.0))
    skull = path("27.6,58 25.6,42 28,27 37,14 50,7.4 63.8,5.6")
    s.contour(whole(skull), BOLD, 3)
    strands(s, THIN, path("47,30 58,28 70,28.5 80,30"), path("50,36 62,34.5 77,36"))
    strands(s, FINE, path("38,22 43,16 50,12.4"))
    s.stroke(path("36.6,108 36,118 32,124 20,130"))
    s.stroke(path("91,108 91.6,118 95,124 108,130"))
    beard(s)


def beard(s: Sheet) -> None:
    """Draw a full beard with a moustache, and the mouth in it."""
    cheek = path("33,65 34,75 37.5,82.5 43,85.5 48,83")
    under = path("47,94 50,99 57,100.5 63.8,101")
    hem = path("28,64 27.6,80 31,96 39,109 50,117.6 58,120.6 63.8,121")
    tache = path("63.8,82.5 56,82 49,86 45.5,93")
    for flip in (list, mirror):
        s.stroke(flip(hem), LINE, (0.1, 0.05))
        tufts(s, flip([*cheek, *under]), flip(hem), 30, FINE, (0.25, 0.5), 0.7)
        tufts(
            s,
            flip([*cheek[1:], *under]),
            flip(path("32,86 38,101 50,110.6 63.8,113")),
            22,
            FINE,
            (0.4, 0.6),
        )
        lip = flip(path("63.8,88.8 56,88.4 50.5,91 48,96"))
        tufts(s, flip(tache), lip, 12, LINE, (0.75, 1.0), 0.4)
    s.stroke(path("52,91.5 58,90.6 63.8,91.4 70,90.6 76,91.5"), LINE, (0.2, 0.2))
    s.stroke(path("56,95.6 63.8,97 71.5,95.6"), LINE, (0.4, 0.4))


def glasses(s: Sheet) -> None:
    """Man with glasses and short curly hair."""
    ear(s, 27.5, 54, -1)
    ear(s, 100.2, 54, 1)
    eyes(
        s, Eye(width=16, upper=3.6, lower=2.4, tilt=0.2, lash=0.5, crease=1.6, iris=3.3)
    )
    brows(s, path("55.5,44.2 48,41.6 40,41.8 34,45"), 3.0, 6)
    nose(s, Nose(77.5, 18.5, 1, 64, droop=3.0))
    mouth(s, Mouth(91.5, 30, 1.6, 2.4, 4.8))
    jaw = path("28,72 29.6,82 33,92 40,104 50,113.5 57.5,116.8")
    s.stroke(whole([*jaw, (MID, 117.2)]), BOLD, (0.06, 0.06))
    frames(s)
    s.stroke(path("38.5,103 38.5,117 35,122 20,130"))
    s.stroke(path("89.5,103 89.5,117 93,122 108,130"))
    strands(s, LINE, path("38,116 47,125 56,131"), path("90,116 81,125 72,131"))
    strands(s, LINE, path("37,117 33,124 40,132"), path("91,117 95,124 88,132"))
    curly_top(s)


def frames(s: Sheet) -> None:
    """Draw spectacles over both eyes."""
    lens = path(
        "58.2,54 56,49.6 46,47.8 36.5,48.6 33.6,52.5 34.6,60 "
        "39,65.6 47,66.8 54.5,64.6 57.6,59.5 58.2,54 56.5,50"
    )
    for flip in (list, mirror):
        s.stroke(flip(lens), BOLD, (0.03, 0.03), 0.15)
        s.stroke(flip(path("34,52.4 30.5,53 27,54.6")), LINE, (0.1, 0.2))
    s.stroke(path("58,54.8 61,53 66.6,53 69.6,54.8"), LINE, (0.1, 0.1), 0.1)


def curly_top(s: Sheet) -> None:
    """Draw short curly hair."""
    line = path(
        "30.6,44 32.5,36 38,29 47,25.5 57,23.5 68,23 80,25 89,29 94.5,36 96.6,44"
    )
    top = path(
        "26.4,52 23,43 21,30 26,15 40,5 56,1.5 72,1.5 "
        "88,5 102,15 107,30 105.5,43 101.6,52"
    )
    scallops(s, top, 26, 2.2, LINE)
    scallops(s, line, 22, 1.4, FINE)
    curls(s, line, top, (19, 3), 2.6)


def laughing(s: Sheet) -> None:
    """Woman laughing, her hair tied back, with earrings."""
    ear(s, 28.5, 54, -1)
    ear(s, 99.2, 54, 1)
    eyes(
        s, Eye(upper=3.4, lower=1.7, tilt=0.6, lash=1.15, crease=2.4, iris=3.5, bag=0.5)
    )
    brows(s, path("55,45.6 47.5,41.8 40,41.6 34.5,45.4"), 2.6)
    nose(s, Nose(74.6, 20.5, 1, 59, droop=1.8))
    laugh(s)
    fold = path("51,75 46,78.4 42.4,83.4 41.4,88")
    for flip in (list, mirror):
        s.stroke(flip(fold), FINE, (0.3, 0.5))
        s.stroke(flip(path("25.8,74 25.6,76.5")), FINE, (0.2, 0.2))
    for x in (25.4, 102.2):
        s.stroke(oval(x, 82, 4.6, 5.6, -80, 350)[::3], LINE, (0.05, 0.05))
    jaw = path("28.4,72 30.4,83 35,95 43,105.6 53,112.4 58.8,114.6")
    s.contour(whole([*jaw, (MID, 115)]), BOLD, 3)
    s.stroke(path("40,103 41,112 38.4,121 25,129"))
    s.stroke(path("87.6,103 86.6,112 89.6,121 103,129"))
    top_knot(s)


def top_knot(s: Sheet) -> None:
    """Draw hair combed up into a knot on top of the head."""
    line = path("29.8,56 31.2,46 34,36 40,27.6 50,21.8 63.8,20")
    top = path("27.4,54 25.6,41 28.6,27 36,17 46,10.6 52,8.4")
    guides = [
        path("27.8,50 27.6,38 34,22 46,12.4 56,8"),
        path("31,47 34,33 43,20 53,12 58,8.4"),
        path("40,28 47,19.6 55,12.6 60,9"),
        path("52,21.4 57,16 61,12.4 63,9.4"),
    ]
    s.stroke(whole(line), FINE, (0.1, 0.1))
    for flip in (list, mirror):
        s.contour(flip(top), BOLD, 2)
        hatch(s, [flip(g) for g in guides], 13, FINE, (0.35, 0.75))
    strands(s, FINE, path("60,19.4 61,15 62.6,11.6"), path("68,19.4 67,14 65.6,11"))
    s.stroke(path("51,9.6 58,11.4 70,11.4 77,9.4"), LINE)
    s.contour(path("52,9 47.6,3 50,-5 58,-9 70,-9 78,-5 80,3 76,9"), BOLD, 2)
    strands(
        s,
        FINE,
        path("53,5 56,-1 63,-3"),
        path("59,8 63,2.4 71,0.6"),
        path("74,6 76,1 73,-3"),
    )
    strands(s, THIN, path("31,52 29.6,60 31.4,68"), path("97,52 98.4,60 96.8,67"))


def child(s: Sheet) -> None:
    """Child with tousled hair."""
    ear(s, 25.6, 57, -1, 18)
    ear(s, 102, 57, 1, 18)
    eyes(
        s,
        Eye(width=17.5, upper=4.8, lower=3.4, tilt=0.2, iris=4.5, lash=0.6, crease=1.9),
    )
    brows(s, path("54,45.8 47,43 40.5,43.2 36,45.4"), 1.9)
    s.stroke(path("56.8,72 57,74.6 59,75"), FINE)
    s.stroke(path("70.8,72 70.6,74.6 68.6,75"), FINE)
    s.stroke(path("59,75 61,74.4 63.8,75.8 66.6,74.4 68.6,75"), FINE, (0.3, 0.3))
    mouth(s, Mouth(85.4, 23, 2.4, 3.0, 5.0))
    strands(
        s,
        THIN,
        path("49.6,81.4 48.6,83.6 49.2,86"),
        path("78.4,81 79.2,83.4 78.6,85.4"),
    )
    jaw = path("26,72 28.6,83 35,93.6 44.5,101.6 54.5,106.2 59.4,107.2")
    s.contour(whole([*jaw, (MID, 107.4)]), BOLD, 3)
    s.stroke(path("48,104 48,113 43,119 30,124 18,131"))
    s.stroke(path("79.6,104 79.6,113 85,119 98,124 110,131"))
    s.stroke(path("43,119.5 50,124.5 63.8,126.5 77,124.5 85,119.5"), LINE)
    s.stroke(path("42,122.5 50,127.8 63.8,129.8 77,127.8 86,122.5"), FINE)
    tousled(s)


def tousled(s: Sheet) -> None:
    """Draw a child's hair, falling over the forehead in locks."""
    left = path("26,60 22.4,48 20.6,36 24,22 32,12 43,6 56,3.4 66,4")
    right = path("66,4 79,4.6 91,10 100,19 105.4,33 105.6,47 101.8,60")
    s.contour(left, BOLD, 3)
    s.contour(right, BOLD, 3)
    locks = [
        path("30,56 31.6,46 36,37"),
        path("41,41.5 35.4,38 33,30"),
        path("41,41.5 44.6,33 52,22"),
        path("51,39 47,36.4 45,31"),
        path("51,39 54.4,31 61,21"),
        path("61.6,40.6 57.6,37 55.4,31"),
        path("61.6,40.6 63.6,31 66,20"),
        path("72,38 67.4,36 64.6,30"),
        path("72,38 72,29 70,19"),
        path("83,40.4 77.4,37 73,30"),
        path("83,40.4 82.4,30 77,20"),
        path("93,44 87,40 83.4,32"),
        path("93,44 92.6,33 86,22"),
        path("98.6,57 96.4,47 92.8,38"),
    ]
    for lock in locks:
        s.stroke(lock, LINE, (0.12, 0.6))
    guides = [
        path("66,7 46,9 31,20 25,36 26,48"),
        path("66,8 52,12 40,22 34,34"),
        path("67,8 60,15 54,24 50,32"),
        path("68,8 68,16 69,26 68,32"),
        path("70,8 78,14 86,24 90,36"),
        path("70,7 86,11 97,21 102,36 101,48"),
    ]
    hatch(s, guides, 22, FINE, (0.25, 0.6))
    strands(
        s, LINE, path("62,5 58,0.4 52,-1"), path("67,5 71,0 77,-1"), path("64,5 64.6,0")
    )


def turned_left(s: Sheet) -> None:
    """Woman turned to the left of the picture, her hair in a knot."""
    eye(s, 47.4, -1, Eye(width=14.5, upper=4.0, tilt=1.0, gaze=(0.1, 0), lash=1.0))
    eye(s, 81.6, 1, Eye(width=17.5, upper=4.2, tilt=0.8, gaze=(-0.1, 0), lash=1.15))
    brow(s, path("55,47.6 49,44 43.4,43.4 38.6,46.4"), 2.4)
    brow(s, path("70.5,47.6 77.5,43.6 85,42.8 92.5,46.8"), 2.7)
    nose_from_side(s, 0.0)
    mouth(s, Mouth(91, 26, 1.4, 3.6, 5.8), 57.4, 0.72, -1)
    s.stroke(path("54.6,102.6 58.2,103.8 62.4,103.2"), THIN)
    far = path(
        "43,25 38.6,33 36.0,41 35.6,47 37.4,53.5 36.6,61 "
        "36.4,69 38.6,80 42.5,91 46,101 50.6,110 56,115 61,116.4"
    )
    s.contour(far, BOLD, 3)
    near = path("59.6,116.4 67,115.4 78,110 90,100.6 97,89.6 100.4,76")
    s.stroke(near, BOLD, (0.1, 0.2))
    ear(s, 101, 55, 1, 19)
    s.stroke(path("105.4,73 105.2,75.5"), LINE)
    s.stroke(path("96.4,93 97,106 101,116 112,124 127,130"), LINE)
    s.stroke(path("60,118 60.6,125 57,133"), LINE)
    s.stroke(path("94,96.6 86,106 78,112.4"), FINE)
    knot(s)


def nose_from_side(s: Sheet, big: float) -> None:
    """Draw a nose turned to the left; ``big`` makes it longer and wider."""
    b = big
    ridge = [(57, 50), (57.2, 56), (55 - b, 62.5), (52 - b, 68.8), (49.9 - b, 73.4)]
    ridge += [(49.9 - b, 76.2 + b / 2), (51.8 - b, 78.6 + b / 2), (55, 78.8 + b / 2)]
    s.stroke(ridge, LINE, (0.4, 0.15), 0.1)
    s.stroke(
        [(56.2, 79.4 + b / 2), (58.6, 78 + b / 2), (61.4, 79.2 + b / 2)],
        LINE,
        (0.3, 0.3),
        0,
    )
    wing = [
        (62 + b / 2, 71.6),
        (64.6 + b, 74.4),
        (64.4 + b, 77.8),
        (62 + b / 2, 79.4 + b / 2),
    ]
    s.stroke(wing, FINE, (0.35, 0.35), 0.1)


def knot(s: Sheet) -> None:
    """Draw hair combed back into a knot, of a head turned to the left."""
    bun = oval(119.4, 58, 10.6, 12, 100, 360)
    s.clear(bun)
    s.contour(bun[::3], LINE, 3)
    hatch(
        s,
        [
            path("111,53 119,48 127,53"),
            path("112,61 120,57 128,62"),
            path("113,68 120,65 126,68"),
        ],
        7,
        FINE,
        (0.4, 0.8),
    )
    top = path(
        "40,30 39.5,21 45,11.5 56,4.6 71,2 88,4.6 102,13 111.5,27 115,40 115.4,46.4"
    )
    s.contour(top, BOLD, 4)
    line = path("41.5,28 46,21.5 56,17.4 68,17.8 80,22.4 89,31 94,41 97.6,50 99.4,60")
    s.stroke(line, FINE, (0.1, 0.2), 0.4)
    guides = [
        path("42,27 46,16 60,8.4 84,8.6 103,19 112.6,36 114.4,47"),
        path("56,17.6 74,13.4 95,19 108,33 113,48"),
        path("80,22.6 95,27 106,39 111.6,51"),
        path("94,41 101,43 107,49 111,55"),
    ]
    hatch(s, guides, 13, FINE, (0.3, 0.65))
    strands(
        s,
        THIN,
        path("97.6,51 96.2,59 98.4,68 97.6,76"),
        path("108,74 110.6,82 108.6,90"),
    )


def turned_right(s: Sheet) -> None:
    """Man turned to the right of the picture, with unruly hair."""
    s.flip = True
    eye(
        s,
        47.2,
        -1,
        Eye(
            width=14.5,
            upper=3.7,
            lower=2.3,
            tilt=0.4,
            gaze=(0.06, 0),
            lash=0.5,
            crease=1.7,
            iris=3.5,
        ),
    )
    eye(
        s,
        81.4,
        1,
        Eye(
            width=17,
            upper=3.8,
            lower=2.3,
            tilt=0.2,
            gaze=(-0.06, 0),
            lash=0.55,
            crease=1.7,
            iris=3.5,
        ),
    )
    brow(s, path("55.6,49 49,46 42.6,45.4 37.4,48.6"), 3.4, 6)
    brow(s, path("69.6,49.4 77,46.2 85,45.6 93,50"), 3.6, 7)
    nose_from_side(s, 1.8)
    mouth(s, Mouth(92.4, 28, 0.4, 2.4, 4.8), 57.2, 0.7, -1)
    s.stroke(path("53.6,105.4 57.6,106.6 62.4,106"), FINE)
    far = path(
        "40.5,28 37,34 34.8,41 34.2,47 36.6,53 35.8,61 35.6,70 38,81 41,92 "
        "43.4,102 47,111.6 53,118.2 60,120"
    )
    s.contour(far, BOLD, 3)
    s.stroke(
        path("58.5,120.1 67,118.8 80,113 93,103.6 99.4,91 101.6,76"), BOLD, (0.1, 0.15)
    )
    ear(s, 102, 55, 1, 20)
    s.stroke(path("98,95 98,108 101,116 114,124 128,129"), LINE)
    s.stroke(path("60,121 60,127 55,133"), LINE)
    collar = [path("97.6,110 90,119 76,129"), path("98,112 104,121 96,131")]
    strands(s, LINE, *collar)
    unruly(s)


def unruly(s: Sheet) -> None:
    """Draw thick unruly hair, of a head turned to the left."""
    top = path(
        "37.4,37 33,28 35,17 42,12 47,5 59,3 68,-1 84,1.5 95,5 "
        "105,14 110,24 114.5,35 113.6,48 110.4,60 107,69"
    )
    s.contour(top, BOLD, 5)
    locks = [
        path("84,7 66,7 50,13 42,23 42.5,33"),
        path("80,13 64,14 52,20 46.5,28 48.5,36"),
        path("60,16 54,23 52,30 48.5,36"),
        path("84,17 70,19 60,25 57,34"),
        path("76,19 70,25 64,30 57,34"),
        path("88,19 80,24 74,30 72,35"),
        path("92,22 90,29 84,34 72,35"),
        path("42.5,33 40,26 37,24"),
        path("94,24 96,34 95,44 98,52 98.6,61"),
    ]
    strands(s, LINE, *locks)
    side = [
        path("98,20 101,32 100,44 101,54"),
        path("102,17 107,30 107,44 106,54"),
        path("98,9 109,24 111.5,40 109,58"),
    ]
    hatch(s, side, 10, FINE, (0.25, 0.5))
    crown = [
        path("88,5 68,4 52,9 40,20 39,30"),
        path("90,10 72,10 58,16 49,25 46,33"),
        path("92,15 78,17 68,23 62,30"),
    ]
    hatch(s, crown, 12, FINE, (0.25, 0.5))


def knitted_cap(s: Sheet) -> None:
    """Young man with a knitted cap and stubble."""
    ear(s, 28, 55, -1)
    ear(s, 99.6, 55, 1)
    eyes(s, Eye(upper=3.9, lower=2.4, tilt=0.7, lash=0.6, crease=2.0, iris=3.5))
    brows(s, path("55.5,47.6 48,45 40,44.6 34.4,47.8"), 3.6, 7)
    nose(s, Nose(77, 19, -1, 54, droop=2.8))
    mouth(s, Mouth(91.4, 29, 2.0, 2.8, 5.2))
    jaw = path("28,73 29.4,82 33,93 40,104 50,113 57.5,116.4")
    s.contour(whole([*jaw, (MID, 116.8)]), BOLD, 4)
    stubble(s)
    s.stroke(path("38.6,103 38.6,115 34,122 20,129"))
    s.stroke(path("89,103 89,115 93.6,122 107,129"))
    s.stroke(path("33,122.6 48,128.6 63.8,130 80,128.6 94.6,122.6"), LINE)
    cap(s)


def stubble(s: Sheet) -> None:
    """Draw a beard of a few days: specks along the jaw and over the mouth."""
    jaw = path("31,83 35.6,94 43,104 53,111 63.8,113.4")
    chin = path("36,85 40,94 46,101 54,106 63.8,107.6")
    lip = path("50.6,86 55,83.6 60,83.2 62.6,84.4")
    for flip in (list, mirror):
        for curve, count in ((jaw, 15), (chin, 12), (lip, 6)):
            for x, y in resample(smooth(flip(curve)), count):
                x, y = x + 3 * s.rng.random() - 1.5, y + 3 * s.rng.random() - 1.5
                s.stroke([(x, y), (x + 0.2, y + 1.7)], 1.0, (0.2, 0.5), 0)


def cap(s: Sheet) -> None:
    """Draw a knitted cap with a ribbed cuff."""
    low = path("24,42 40,36.6 63.8,34.6 88,36.6 103.6,42")
    high = path("22,25 40,19.6 63.8,17.6 88,19.6 105.6,25")
    for flip in (list, mirror):
        hair = [path("27,42 26,50 27.6,58"), path("33.5,40 31.4,48 30,57")]
        hatch(s, [flip(g) for g in hair], 5, FINE, (0.6, 0.9))
    dome = path("23,24 26.4,10 38,-2 52,-7 76,-7 90,-2 101.4,10 104.6,24")
    s.clear(low, [(105.6, 25)], dome[::-1], [(22, 25)])
    s.contour(low, BOLD, 2)
    s.contour(high, LINE, 2)
    s.contour(dome, BOLD, 3)
    s.stroke(path("24,42 21.8,34 22.4,24.4"), BOLD, (0.1, 0.1))
    s.stroke(path("103.6,42 106,34 105.2,24.4"), BOLD, (0.1, 0.1))
    tufts(
        s,
        [(x, y - 1.5) for x, y in low],
        [(x, y + 1.5) for x, y in high],
        27,
        FINE,
        (0.85, 1.0),
        0.0,
    )
    for x in (32, 40, 48, 56, 72, 80, 88, 96):
        bow = MID + (x - MID) * 0.72
        s.stroke([(x, 19 + abs(x - MID) * 0.09), (x, 8), (bow, -8)], FINE, (0.2, 0.1))
    s.stroke(path("63.8,17 63.8,-8"), FINE, (0.2, 0.1))


def old_man(s: Sheet) -> None:
    """Old man with a moustache and little hair."""
    ear(s, 27.6, 54, -1, 23)
    ear(s, 100, 54, 1, 23)
    eyes(
        s,
        Eye(
            width=16,
            upper=3.0,
            lower=2.2,
            tilt=-0.9,
            lash=0.4,
            crease=1.9,
            iris=3.2,
            bag=1.4,
        ),
    )
    brows(s, path("56,48.4 48,45.6 40,46 33.6,50.4"), 3.3, 11)
    nose(s, Nose(78, 22, 1, 56, droop=3.0))
    wrinkles(s)
    jaw = path("28,72 29,84 32,95 38,104 47,112.4 56,116.4")
    s.contour(whole([*jaw, (MID, 117)]), BOLD, 4)
    s.stroke(path("57,110 63.8,108.8 70,110"), FINE)
    s.stroke(path("39,104 38.6,117 34,123 20,130"))
    s.stroke(path("88.6,104 89,117 93.6,123 107,130"))
    strands(s, FINE, path("53,119 55.6,128"), path("74,119 72,128"))
    side_hair(s)
    moustache(s)


def wrinkles(s: Sheet) -> None:
    """Draw the lines of an old face."""
    lines = [
        path("59,43.6 59.6,46.4 59,49.6"),
        path("52,77 46.4,81.6 42.6,88.4 42.4,93.4"),
        path("34.6,55 31.6,53"),
        path("34.8,58 31.4,59.4"),
        path("34,72 35.6,77 38,81"),
        path("40,96 40.6,102 44,107"),
    ]
    for line in lines:
        pair(s, line, FINE - 0.2)
    strands(
        s,
        FINE,
        path("44,30 54,28 66,28.8 82,30"),
        path("42,36 56,34.6 70,35 86,36.4"),
        path("48,23.6 62,22 76,23"),
    )


def side_hair(s: Sheet) -> None:
    """Draw a bare skull with some hair over the ears."""
    skull = path("28.6,44 30,28 38,14 50,7 63.8,5.4")
    s.contour(whole(skull), BOLD, 3)
    for flip in (list, mirror):
        inner = path("32.6,30 31.4,40 30,50 29,60")
        outer = path("27,24 21,36 20.4,48 23,56")
        tufts(s, flip(inner), flip(outer), 15, FINE, (0.5, 0.95), 1.0)
        s.contour(flip(path("31,22 24.4,28 20.6,38 20.4,48 23,55")), LINE, 3)
    strands(s, THIN, path("42,14 54,9.6 70,10.4"), path("46,17 60,13 78,14.6"))


def moustache(s: Sheet) -> None:
    """Draw a full moustache and the lower lip under it."""
    top = path("63.8,81.4 57,81.4 49,86 44,93.4")
    low = path("63.8,90 57,90.8 51,93 45,96.4")
    for flip in (list, mirror):
        tufts(s, flip(top), flip(low), 14, LINE, (0.6, 0.95), 0.7)
        s.stroke(flip(low), FINE, (0.2, 0.2))
    s.stroke(path("55,93.8 59,95.6 63.8,96.2 68.6,95.6 72.6,93.8"), LINE, (0.3, 0.3))


def headband(s: Sheet) -> None:
    """Woman with a headband and a great deal of curly hair."""
    eyes(
        s,
        Eye(width=17.5, upper=4.2, lower=2.8, tilt=1.0, lash=1.2, crease=2.6, iris=3.8),
    )
    brows(s, path("54.6,45.6 47.4,42.4 40,42.4 34.6,46"), 2.8)
    nose(s, Nose(75.6, 22, 1, 60, flare=1.1, droop=2.0))
    mouth(s, Mouth(90, 30, 1.6, 5.0, 7.4))
    jaw = path("29.6,58 30.4,72 34,87 41,100 51.6,110.6 58.6,113.8")
    s.contour(whole([*jaw, (MID, 114.4)]), BOLD, 4)
    s.stroke(path("44,104 44.6,115 41,123 32,130"))
    s.stroke(path("83.6,104 83,115 86.6,123 96,130"))
    big_curls(s)
    band_over(s)


def big_curls(s: Sheet) -> None:
    """Draw a great round of curls about the face."""
    outer = path("27,112 14,104 6,88 3,68 5,46 13,26 27,10 45,1 63.8,-2")
    inner = path("36,104 31,92 28,78 27,64 27.4,48 30,34 38,24 50,17 63.8,15")
    for flip, sign in ((list, 1), (mirror, -1)):
        scallops(s, flip(outer), 18, 2.6 * sign, LINE)
        scallops(s, flip(inner[:6]), 11, -1.6 * sign, FINE)
        curls(s, flip(inner), flip(outer), (14, 4), 3.1)


def band_over(s: Sheet) -> None:
    """Draw a headband over the hair."""
    band = path("28,47 32,36 41,27.6 52,23.6 63.8,22.4")
    edge = path("27,38 32,27 42,18.6 53,14.6 63.8,13.4")
    s.clear(whole(band), whole(edge)[::-1])
    s.contour(whole(band), LINE, 2)
    s.contour(whole(edge), LINE, 2)
    for flip in (list, mirror):
        s.stroke(flip(path("28,47 26.4,42 27,38")), LINE, (0.1, 0.1))
        strands(s, THIN, flip(path("35,29.6 42,23.6 51,19.6")))


def old_woman(s: Sheet) -> None:
    """Old woman with short waved hair, drawn down to the shoulders."""
    eyes(
        s,
        Eye(
            width=16.5,
            upper=3.5,
            lower=2.3,
            tilt=-0.3,
            lash=0.9,
            crease=1.9,
            iris=3.4,
            bag=1.0,
        ),
    )
    brows(s, path("55,46 48,43.2 41,43.4 35.4,46.8"), 2.2)
    nose(s, Nose(76.6, 19, -1, 60, droop=2.9))
    mouth(s, Mouth(90.4, 29, 2.0, 2.4, 4.8))
    pair(s, path("51.4,76.6 46.6,80.6 43.4,86.6"), THIN)
    pair(s, path("41.6,95 42.4,100 45,104"), THIN)
    jaw = path("30.6,68 31.6,82 35,93 42,103 51.6,111.4 58.6,114.4")
    s.contour(whole([*jaw, (MID, 114.8)]), BOLD, 4)
    shoulders(s)
    waved(s)


def shoulders(s: Sheet) -> None:
    """Draw neck and shoulders, a pullover and a string of pearls."""
    s.contour(path("43,104 43.4,117 40,126 24,134 4,142 -6,158 -9,182"), BOLD, 3)
    s.contour(path("84.6,104 84.2,117 88,126 104,134 123,142 133,158 136,182"), BOLD, 3)
    strands(s, FINE, path("52,118 54,128 59,136"), path("76,118 74,128 69,136"))
    s.contour(path("30,132 42,148 55,160 64,166 73,160 86,148 98,132"), LINE, 2)
    for i in range(17):
        a = np.pi * (0.06 + 0.88 * i / 16)
        bead = oval(MID + 24.5 * np.cos(a), 121 + 21 * np.sin(a), 1.9, 1.9, 40 * i, 350)
        s.stroke(bead[::4], THIN, (0.1, 0.1), 0)


def waved(s: Sheet) -> None:
    """Draw short hair set in waves."""
    outer = path(
        "31,86 21,82 19,71 14,62 18,51 14.6,40 20,29 23,17 35,10 45,1 60,1 72,-1"
    )
    inner = path("31,72 28.6,64 31.6,55 29.6,46 34,38 38,30 47,27 55,21 64,21 72,17")
    other = path(
        "72,-1 85,1 95,8 105,15 107,27 113,38 109.6,50 113.6,61 108.6,72 107,82 97,86"
    )
    edge = path("72,17 79,23 87,27 90,35 95.6,43 95.4,54 98.8,63 97,73")
    for a, b in ((outer[::-1], inner[::-1]), (other, edge)):
        s.contour(a, BOLD, 4)
        s.stroke(b, LINE, (0.1, 0.1))
        hatch(s, [a, b], 11, FINE, (0.2, 0.45))


def quick(s: Sheet) -> None:
    """Man in as few strokes as can be, as most people would draw."""
    for x, side in ((MID - EYE_DX, -1), (MID + EYE_DX, 1)):
        s.stroke([(x - 8, 56.4), (x - 4, 52.6), (x + 3, 52.2), (x + 8, 55.8)], BOLD)
        s.stroke([(x - 5, 58.6), (x, 59.6), (x + 5, 58.2)], LINE)
        s.fill(oval(x, 55.6, 2.9, 3.0))
        s.stroke([(x - 9 * side, 48.4), (x, 45.4), (x + 9.4 * side, 47.8)], THICK)
    s.stroke(path("59.6,53 58,62 56.4,71 55.4,76 59,78 64,77.6"), BOLD)
    s.stroke(path("71.6,72.4 73,75.4 70.4,77.6"), BOLD)
    s.stroke(path("49.6,89.6 57,91.6 66,91.8 78.4,88.6"), THICK)
    s.stroke(path("57.6,97.4 64,98.4 71,97"), BOLD)
    face = path("28.6,44 28,62 30,82 37,101 49,113.6 63,117.6")
    s.contour(
        [*face, (78, 114), (91, 101), (97.6, 82), (99.6, 62), (99.4, 44)], THICK, 3
    )
    s.stroke(path("28,57 24,54.4 22.4,61 24.6,70 28.8,73"), BOLD)
    s.stroke(path("99.6,57 103.8,54.4 105.4,61 103,70 98.8,73"), BOLD)
    s.stroke(path("38.6,104 38.4,117 32,124 18,130"), THICK)
    s.stroke(path("89.4,104 89.6,117 96,124 110,130"), THICK)
    s.contour(path("28,50 24,34 30,16 44,6 64,3 84,5 99,16 104,34 100,50"), THICK, 3)
    s.stroke(path("41,18 50,25 64,27 80,26 92,32 98,46"), BOLD)
    s.stroke(path("42,17.6 35,25 31,36 29.4,49"), BOLD)
    bits = [path("46,15 58,18 74,17.6"), path("54,11 70,10.6 86,15.6")]
    bits += [path("78,19.4 89,22.6 96,32"), path("36,19 31,27 28,38")]
    strands(s, BOLD, *bits)


@dataclass(frozen=True)
class Picture:
    """A picture to write: who is drawn, on what paper, in which colours."""

    face: Callable[[Sheet], None]
    seed: int
    paper: Paper = Paper()
    inverted: bool = False

    def draw(self) -> Image.Image:
        """Return the picture."""
        sheet = Sheet(self.seed, self.paper)
        self.face(sheet)
        image = sheet.image()
        return ImageOps.invert(image) if self.inverted else image


PICTURES = {
    "face_01": Picture(straight_hair, 1),
    "face_02": Picture(wavy_hair, 2),
    "face_03": Picture(bob_with_fringe, 3),
    "face_04": Picture(cropped_hair, 4),
    "face_05": Picture(bald_with_beard, 5),
    "face_06": Picture(glasses, 6),
    "face_07": Picture(laughing, 7),
    "face_08": Picture(child, 8),
    "face_09": Picture(turned_left, 9),
    "face_09_inverted": Picture(turned_left, 9, inverted=True),
    "face_10": Picture(turned_right, 10),
    "face_11": Picture(knitted_cap, 11),
    "face_12": Picture(old_man, 12),
    "face_13": Picture(headband, 13),
    "face_14_scan": Picture(old_woman, 14, Paper(500, 640, 2.45, 140, 175)),
    "face_15": Picture(quick, 15),
}


def main() -> None:
    """Write all pictures as PNG files."""
    parser = argparse.ArgumentParser(description="Draw the example sketches of faces.")
    here = Path(__file__).resolve().parent
    parser.add_argument("-o", "--out", type=Path, default=here, help="folder to fill")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        picture.draw().save(out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
