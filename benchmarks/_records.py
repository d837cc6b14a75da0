"""What two sides' replies say: medians, spreads, ratios, and how they are printed."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import _machine
from _turns import Reply, WorkerError

Record = dict[str, Any]


class Disagreement(ValueError):
    """The two sides did not compute the same."""


def compare(ours: Sequence[Reply], torch: Sequence[Reply]) -> Record:
    """Medians, spreads [least, largest], peaks and ratios of two workers' replies.

    Args:
      ours: at least one reply, with `seconds`, `cores` and `peak_mb`.
      torch: as many, or none where there was no peer.

    Returns:
      `ratio_to_torch` above 1 says that ours is faster, `ratio_spread` is taken pair by
      pair; `memory_ratio` above 1 says that ours needs more. Where `_cores` is far below
      the machine's, others were at work and no time is to be trusted.
    """
    record = _side("ours", ours)
    if not torch:
        return record
    record |= _side("torch", torch)
    pairs = zip(ours, torch, strict=True)
    ratios = [theirs["seconds"] / mine["seconds"] for mine, theirs in pairs]
    return record | {
        "ratio_to_torch": significant(record["torch_s"] / record["ours_s"]),
        "ratio_spread": spread(ratios),
        "memory_ratio": significant(record["ours_peak_mb"] / record["torch_peak_mb"]),
    }


def _side(name: str, replies: Sequence[Reply]) -> Record:
    seconds = [reply["seconds"] for reply in replies]
    return {
        f"{name}_s": significant(statistics.median(seconds)),
        f"{name}_spread": spread(seconds),
        f"{name}_cores": significant(statistics.median(r["cores"] for r in replies)),
        f"{name}_peak_mb": round(max(reply["peak_mb"] for reply in replies), 1),
    }


def spread(values: Sequence[float]) -> list[float]:
    """[least, largest]."""
    return [significant(min(values)), significant(max(values))]


def significant(value: float) -> float:
    """Rounded to four digits: more would be noise."""
    return float(f"{value:.4g}")


def check_same(
    what: str, ours: Sequence[float], torch: Sequence[float], tolerance: float = 1e-4
) -> float:
    """The largest difference, relative where results are above 1, absolute below.

    Raises:
      Disagreement: a pair differs by more than the tolerance, or is not finite.
    """
    worst = 0.0
    for mine, theirs in zip(ours, torch, strict=True):
        difference = abs(mine - theirs) / max(1.0, abs(theirs))
        if not difference <= tolerance:
            raise Disagreement(f"{what}: {mine!r} in cgan_jax, {theirs!r} in PyTorch")
        worst = max(worst, difference)
    return significant(worst)


def table(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows of records under the names of their columns; `-` where one has none."""
    rows = [list(columns)]
    rows += [[_cell(record.get(column)) for column in columns] for record in records]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "..".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def report(records: Iterable[Record], columns: Sequence[str]) -> None:
    """Prints each record as a line of JSON when it is there, then all as a table.

    Each line says which machine and which versions it comes from. Leaves with an error
    when a worker ends or the sides disagree.
    """
    where = {"machine": _machine.machine(), "versions": _machine.versions()}
    done = []
    try:
        for record in records:
            print(json.dumps(record | where), flush=True)
            done.append(record)
    except (WorkerError, Disagreement) as error:
        sys.exit(f"error: {error}")
    print(table(done, columns), flush=True)
