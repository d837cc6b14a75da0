"""Curves: of training runs, from their `metrics.jsonl`, and of scores with intervals."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cgan_jax.metric_writer import read_metrics

_SUFFIXES = (".png", ".pdf", ".svg")
_COLUMNS = 3
_PANEL, _SMALL_PANEL = (4.6, 3.0), (3.8, 2.4)  # inches
_LABEL_LENGTH = 24  # letters in a line beside a small panel
# A scalar that spans more than this, without its outermost hundredths, is drawn on a
# logarithmic axis.
_WIDE_SPAN = 30.0
# The smooth line is a mean over this part of the points.
_SMOOTHED_PART = 1 / 25

# Scalar by scalar: the steps at which a run wrote it, and its values.
Curves = dict[str, tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]


class Band(NamedTuple):
    """A curve and its intervals; NaN where a value is not defined.

    Attributes:
      x: places, ascending.
      values: there.
      low: lower ends of the intervals.
      high: upper ends.
    """

    x: Float[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


def read_curves(workdir: Path) -> Curves:
    """All scalars of a run.

    Raises:
      FileNotFoundError: the folder is no workdir.
      ValueError: its metrics are damaged, or there are none yet.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for line in read_metrics(workdir):
        for name in line.keys() - {"step"}:
            points.setdefault(name, []).append((line["step"], line[name]))
    if not points:
        raise ValueError(f"{workdir} has no metrics yet: wait for its first log line")
    return {
        name: (columns[0], columns[1])
        for name, rows in sorted(points.items())
        for columns in [np.array(rows, np.float64).T]
    }


def smooth(values: Float[np.ndarray, " n"], window: int) -> Float[np.ndarray, " n"]:
    """The mean over `window` neighbours, window at most n; over fewer at the ends."""
    ones = np.ones(window)
    counts = np.convolve(np.ones_like(values), ones, "same")
    return np.convolve(values, ones, "same") / counts


def needs_log(values: Float[np.ndarray, " n"]) -> bool:
    """Whether values are positive and span so much that a linear axis hides most of them."""
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, (0.01, 0.99))
    return bool(high > _WIDE_SPAN * low)


def plot_runs(workdirs: Sequence[Path], output: Path) -> None:
    """Draws a panel for each scalar, with a curve for each run.

    Args:
      workdirs: folders of training runs.
      output: picture to write, PNG, PDF or SVG by its suffix; folders are made.

    Raises:
      FileNotFoundError: a folder is no workdir.
      ValueError: metrics are damaged or missing, or the suffix is another one.
    """
    if output.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"--output={output} must end in one of {', '.join(_SUFFIXES)}")
    labels = _labels(workdirs)
    runs = {label: read_curves(w) for label, w in zip(labels, workdirs, strict=True)}
    output.parent.mkdir(parents=True, exist_ok=True)
    draw(runs).savefig(output, dpi=100)


def _labels(workdirs: Sequence[Path]) -> list[str]:
    """The folders' names, or their whole paths if two are called the same."""
    names = [workdir.resolve().name for workdir in workdirs]
    return names if len(set(names)) == len(names) else [str(w) for w in workdirs]


def draw(runs: dict[str, Curves]) -> Figure:
    """The figure of some runs by their labels, every panel with one colour a run."""
    names = sorted({name for curves in runs.values() for name in curves})
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    size = _PANEL[0] * columns, _PANEL[1] * rows
    figure = Figure(figsize=size, layout="constrained")
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1, title=name, xlabel="step")
        _draw_panel(axes, name, runs)
    handles, labels = _legend_entries(figure)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _draw_panel(axes: Axes, name: str, runs: dict[str, Curves]) -> None:
    drawn = []
    for i, (label, curves) in enumerate(runs.items()):
        if name not in curves:
            continue
        steps, values = curves[name]
        drawn.append(values)
        window = max(1, round(_SMOOTHED_PART * len(values)))
        if window > 1:
            axes.plot(steps, values, color=f"C{i}", alpha=0.25, linewidth=0.8)
        marker = "." if len(values) < 10 else ""
        axes.plot(
            steps, smooth(values, window), color=f"C{i}", marker=marker, label=label
        )
    if "accuracy" in name:
        axes.set_ylim(-0.03, 1.03)
    elif needs_log(np.concatenate(drawn)):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)


def draw_bands(panels: Mapping[str, Mapping[str, Mapping[str, Band]]]) -> Figure:
    """The figure of some scores against several things that grow.

    Args:
      panels: the bands by their labels, by the x axis (a column of panels), by the y axis
        (a row of panels, which share it).
    """
    across = list(dict.fromkeys(x for columns in panels.values() for x in columns))
    size = _SMALL_PANEL[0] * len(across), _SMALL_PANEL[1] * len(panels)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        len(panels), len(across), sharex="col", sharey="row", squeeze=False
    )
    for row, (y_label, columns) in zip(grid, panels.items(), strict=True):
        row[0].set_ylabel(textwrap.fill(y_label, _LABEL_LENGTH), fontsize="small")
        for axes, x_label in zip(row, across, strict=True):
            _draw_bands(axes, columns.get(x_label, {}))
    for axes, x_label in zip(grid[-1], across, strict=True):
        axes.set_xlabel(x_label)
    handles, labels = _legend_entries(figure)
    figure.legend(handles, labels, loc="outside lower center", ncols=_COLUMNS)
    return figure


def _draw_bands(axes: Axes, bands: Mapping[str, Band]) -> None:
    for i, (label, band) in enumerate(bands.items()):
        axes.fill_between(band.x, band.low, band.high, color=f"C{i}", alpha=0.2, lw=0)
        axes.plot(band.x, band.values, color=f"C{i}", marker=".", label=label)
    axes.grid(alpha=0.3)


def _legend_entries(figure: Figure) -> tuple[list[Any], list[str]]:
    """One entry a run, whichever panels it is in."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)
