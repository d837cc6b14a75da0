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


class Track(NamedTuple):
    """Places of one method, in their order; rows are values, lower ends, higher ends.

    Attributes:
      x: NaN where a value is not defined.
      y: as x.
    """

    x: Float[np.ndarray, "3 n"]
    y: Float[np.ndarray, "3 n"]


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
    _add_legend(figure, columns)
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
    figure, grid, across = _panel_grid(panels)
    for row, columns in zip(grid, panels.values(), strict=True):
        for axes, x_label in zip(row, across, strict=True):
            _draw_bands(axes, columns.get(x_label, {}))
    for axes, x_label in zip(grid[-1], across, strict=True):
        axes.set_xlabel(x_label)
    _add_legend(figure, min(_COLUMNS, grid.shape[1]))
    return figure


def draw_tracks(
    panels: Mapping[str, Mapping[str, Mapping[str, Track]]], x_label: str
) -> Figure:
    """The figure of some scores against one of them; a track begins at its large marker.

    Args:
      panels: the tracks by their labels, by the title of a column of panels, by the y axis
        of a row.
      x_label: of the x axis, the same for all.
    """
    figure, grid, titles = _panel_grid(panels)
    for row, columns in zip(grid, panels.values(), strict=True):
        for axes, title in zip(row, titles, strict=True):
            _draw_tracks(axes, columns.get(title, {}))
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize="small")
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    _add_legend(figure, min(_COLUMNS, grid.shape[1]))
    return figure


def _panel_grid(
    panels: Mapping[str, Mapping[str, Any]],
) -> tuple[Figure, np.ndarray, list[str]]:
    """Empty panels, a row for each y axis, and the names of the columns."""
    across = list(dict.fromkeys(x for columns in panels.values() for x in columns))
    size = _SMALL_PANEL[0] * len(across), _SMALL_PANEL[1] * len(panels)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        len(panels), len(across), sharex="col", sharey="row", squeeze=False
    )
    for row, y_label in zip(grid, panels, strict=True):
        row[0].set_ylabel(textwrap.fill(y_label, _LABEL_LENGTH), fontsize="small")
    return figure, grid, across


def _add_legend(figure: Figure, columns: int) -> None:
    handles, labels = _legend_entries(figure)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _draw_tracks(axes: Axes, tracks: Mapping[str, Track]) -> None:
    for i, (label, track) in enumerate(tracks.items()):
        x, y = track.x[0], track.y[0]
        reach = {
            "xerr": np.abs(track.x[1:] - x),
            "yerr": np.abs(track.y[1:] - y),
        }
        axes.errorbar(x, y, **reach, color=f"C{i}", fmt="none", alpha=0.25, lw=0.8)
        axes.plot(x, y, color=f"C{i}", marker=".", label=label)
        axes.plot(x[:1], y[:1], color=f"C{i}", marker="o")
    axes.grid(alpha=0.3)


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
