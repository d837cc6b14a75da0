"""Where the time of a training step goes, ours beside PyTorch.

    pip install -e . torch==2.13.0
    python benchmarks/step_profile.py --filters=32

Both sides trace the same step turn by turn, by `jax.profiler` and by `torch.profiler`.
Tracing costs time of its own: the sums tell shares, `train_step.py` tells times. Kernels
that run side by side are added up, so that a sum may exceed the step.

Prints a JSON line for each kind of work, of each layout and number of filters, and a table:
milliseconds, medians over the turns.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

import _flags
import _kinds
import _machine
import _records
import _settings
import _turns
from _records import Record
from absl import app, flags

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(_flags)
flags.DEFINE_integer("batch", 64, "Pairs a step.", 2)
flags.DEFINE_integer("turns", 3, "Traced steps of each side, after one discarded.", 1)


def measure(layout: str, filters: int) -> list[Record]:
    """One row for each kind of work."""
    settings = _settings.train_step(layout, filters, FLAGS.batch)
    ours, torch, _ = _turns.measure(
        "profile", settings, FLAGS.turns, lambda *_: {}, peer=FLAGS.peer
    )
    case: Record = {
        "benchmark": "step_profile",
        "layout": layout,
        "filters": filters,
    }
    return [
        case
        | {"kind": kind}
        | {"ours_ms": _median(ours, kind), "torch_ms": _median(torch, kind)}
        for kind in (*_kinds.KINDS, "step")
    ]


def _median(replies: Sequence[_turns.Reply], kind: str) -> float | None:
    if not replies:
        return None
    seconds = [
        reply["seconds"] if kind == "step" else reply["kinds"][kind]
        for reply in replies
    ]
    return _records.significant(1e3 * statistics.median(seconds))


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.peer:
        _machine.require_torch()
    cases = itertools.product(FLAGS.layout, map(int, FLAGS.filters))
    rows = (row for case in cases for row in measure(*case))
    _records.report(rows, ("layout", "filters", "kind", "ours_ms", "torch_ms"))


if __name__ == "__main__":
    app.run(main)
