"""Curves of an ablation: each yardstick against each number that is swept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cgan_jax import sweeps
from cgan_jax.ablation_report import YARDSTICKS, measured

_PANEL = (3.0, 2.6)  # inches
_DECADE = 10.0  # numbers that span at least this are drawn on a logarithmic axis
_Row = Mapping[str, Any]


def swept_numbers(found: Mapping[str, Any]) -> list[str]:
    """The fields that are numbers and take several values."""
    values: dict[str, list[Any]] = {}
    for row in found["rows"]:
        for name, value in row["values"].items():
            values.setdefault(name, []).append(value)
    return [name for name, x in values.items() if _are_numbers(x) and len(set(x)) > 1]


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)


def lines(found: Mapping[str, Any], name: str) -> dict[str, list[_Row]]:
    """The rows along one number, for each combination of the other fields, by its label."""
    several: dict[str, list[_Row]] = {}
    for row in found["rows"]:
        others = {n: x for n, x in row["values"].items() if n != name}
        several.setdefault(sweeps.label(others), []).append(row)
    return {
        label: sorted(rows, key=lambda row: row["values"][name])
        for label, rows in several.items()
    }


def draw(found: Mapping[str, Any]) -> Figure | None:
    """A row of panels for each number that is swept; None if there is none.

    Args:
      found: what `ablation.json` holds, of searches.
    """
    names = swept_numbers(found)
    if not names:
        return None
    shown = measured(found["rows"])
    size = _PANEL[0] * len(shown), _PANEL[1] * len(names)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(names), len(shown), squeeze=False)
    for row, name in zip(panels, names, strict=True):
        for axes, yardstick in zip(row, shown, strict=True):
            _draw_panel(axes, found, name, yardstick)
        if len(lines(found, name)) > 1:
            row[0].legend(fontsize=6, frameon=False)
    return figure


def _draw_panel(axes: Axes, found: Mapping[str, Any], name: str, kind: str) -> None:
    for label, rows in lines(found, name).items():
        x = [row["values"][name] for row in rows]
        value, low, high = (
            [_number(row["scores"].get(kind, {}).get(key)) for row in rows]
            for key in ("value", "low", "high")
        )
        (line,) = axes.plot(x, value, "o-", markersize=3, label=label)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, lw=0)
    known = sorted({row["values"][name] for row in found["rows"]})
    _scale(axes, known)
    short = sweeps.short_names(list(found["rows"][0]["values"]))[name]
    axes.set_xlabel(short, fontsize=8)
    axes.set_title(YARDSTICKS[kind].label, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)


def _number(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)


def _scale(axes: Axes, values: Sequence[float | int]) -> None:
    """Logarithmic where positive values span decades; 0 stands half a decade left of them."""
    positive = [x for x in values if x > 0]
    if values[0] < 0 or positive[-1] < _DECADE * positive[0]:
        return
    if values[0] == 0:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
    else:
        axes.set_xscale("log")
    axes.set_xticks(values, [sweeps.to_text(x) for x in values], rotation=45)
    axes.minorticks_off()
