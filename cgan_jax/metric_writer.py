"""Scalars of a run: lines of JSON, and event files for TensorBoard."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

_LINES, _EVENTS = "metrics.jsonl", "tensorboard"
_FLUSH_SECONDS = 10


class MetricWriter:
    """Appends `{"step": ..., name: value, ...}` lines to `workdir/metrics.jsonl`.

    The same scalars go to `workdir/tensorboard`, which TensorBoard draws, seconds later.
    """

    def __init__(self, workdir: Path, *, from_step: int) -> None:
        """Opens the file and cuts off the lines of steps after `from_step`."""
        self._path = workdir / _LINES
        self._events_folder, self._from_step = workdir / _EVENTS, from_step
        kept = _lines_until(self._path, from_step)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(kept))
        temporary.replace(self._path)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends the scalars of one step."""
        values = {name: float(x) for name, x in scalars.items()}
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        for name, x in values.items():
            self._events.add_scalar(name, x, step)

    def close(self) -> None:
        """Writes the rest of the event file, if one was begun."""
        if "_events" in self.__dict__:
            self._events.close()

    @functools.cached_property
    def _events(self) -> SummaryWriter:
        """Begins a file: of steps that an earlier one has too, TensorBoard shows these."""
        return SummaryWriter(
            str(self._events_folder),
            purge_step=self._from_step + 1,
            flush_secs=_FLUSH_SECONDS,
            filename_suffix=f".{self._from_step}",  # else named by the second alone
        )


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, in order; a last one that was cut off is left out.

    Raises:
      FileNotFoundError: the folder has none.
      ValueError: it is damaged; the line is named.
    """
    path = workdir / _LINES
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} is no workdir of cgan-train: it holds no {_LINES}"
        )
    metrics = []
    for number, line in enumerate(_whole_lines(path), 1):
        try:
            metrics.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path} is damaged in line {number}: {error}") from error
    return metrics


def _whole_lines(path: Path) -> list[str]:
    """Without the last, if a kill cut it off."""
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _lines_until(path: Path, step: int) -> list[str]:
    if not path.exists():
        return []
    return [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
