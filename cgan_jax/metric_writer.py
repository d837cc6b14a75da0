"""Scalars of a run, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class MetricWriter:
    """Appends `{"step": ..., name: value, ...}` lines to `workdir/metrics.jsonl`."""

    def __init__(self, workdir: Path, *, from_step: int) -> None:
        """Opens the file and cuts off the lines of steps after `from_step`."""
        self._path = workdir / "metrics.jsonl"
        kept = _lines_until(self._path, from_step)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(kept))
        temporary.replace(self._path)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends the scalars of one step."""
        line = {"step": step} | {name: float(x) for name, x in scalars.items()}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _lines_until(path: Path, step: int) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last
    return [line for line in whole if json.loads(line)["step"] <= step]
