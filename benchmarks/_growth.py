"""How the time of a search grows with its candidates and with the sketches."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _records import Record, significant

CANDIDATES = (1, 2, 4, 8, 16, 32)
SKETCHES = (1, 2, 4, 8, 16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Line:
    """Seconds against a count, and the straight line through them.

    Attributes:
      counts: of what was varied.
      seconds: measured at each.
      each: slope, seconds of one more.
      fixed: seconds at a count of 0.
      largest_deviation: of a point from the line, as a part of the line's value there.
    """

    counts: list[int]
    seconds: list[float]
    each: float
    fixed: float
    largest_deviation: float

    def at(self, count: Any) -> Any:
        """The line's value at a count, or at each of an array."""
        return self.fixed + self.each * count


def fit(counts: Sequence[int], seconds: Sequence[float]) -> Line:
    """Least squares of the relative deviations, so that small counts matter too."""
    x, y = np.asarray(counts, float), np.asarray(seconds, float)
    each, fixed = np.polyfit(x, y, 1, w=1 / y)
    line = fixed + each * x
    deviation = float(np.abs(y / line - 1).max())
    return Line(list(counts), list(seconds), float(each), float(fixed), deviation)


def measure(
    model_name: str, search: dict[str, Any], block_size: int, seed: int, runs: int
) -> dict[str, Line]:
    """Lines of `candidates`, for one sketch, and of `sketches`, in blocks.

    Each point is the median of `runs` whole searches, compiled before.
    """
    from _sketches import example_targets  # after the flags: --help stays fast

    from cgan_jax import model_files
    from cgan_jax.block_search import search_targets
    from cgan_jax.projection import Search

    model = model_files.load(model_name)
    targets, mask = example_targets(SKETCHES[-1], model.models.gen.joint)

    def find(count: int, budget: Search, size: int) -> None:
        some = targets[:count]
        for _ in search_targets(model, some, mask, budget, seed=seed, block_size=size):
            pass  # one block is held at a time

    def by_candidates(count: int) -> None:
        find(1, Search(**search | {"num_candidates": count}), 1)

    def by_sketches(count: int) -> None:
        find(count, Search(**search), block_size)

    return {
        "candidates": _time("candidates", by_candidates, CANDIDATES, runs, CANDIDATES),
        "sketches": _time("sketches", by_sketches, SKETCHES, runs, SKETCHES[:1]),
    }


def _time(
    what: str,
    work: Callable[[int], None],
    counts: Sequence[int],
    runs: int,
    compiled: Sequence[int],
) -> Line:
    for count in compiled:
        work(count)
    rounds = []
    for number in range(runs):
        rounds.append([_seconds(work, count) for count in counts])
        print(f"{what}: run {number + 1} of {runs} is done", file=sys.stderr)
    return fit(counts, np.median(rounds, axis=0).tolist())


def _seconds(work: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    work(count)
    return time.perf_counter() - start


def record(what: str, line: Line, settings: dict[str, Any]) -> Record:
    """What is printed of a line."""
    return {
        "benchmark": f"growth_with_{what}",
        **settings,
        "counts": line.counts,
        "seconds": [significant(x) for x in line.seconds],
        "seconds_each": significant(line.each),
        "seconds_fixed": significant(line.fixed),
        "largest_deviation": significant(line.largest_deviation),
    }


def draw(lines: dict[str, Line], path: Path) -> None:
    """Points and lines, side by side; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (what, line) in zip(figure.subplots(1, 2), lines.items(), strict=True):
        ends = np.array([0, max(line.counts)])
        label = f"{line.fixed:.2g} s + {line.each:.2g} s each"
        axes.plot(ends, line.at(ends), color="0.6", label=label)
        axes.plot(line.counts, line.seconds, "o", color="tab:blue", label="measured")
        axes.set(xlabel=what, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axes.legend(loc="upper left", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
