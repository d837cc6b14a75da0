"""Times a training step, ours beside the same step in PyTorch.

    pip install -e . torch==2.13.0
    python benchmarks/train_step.py
    python benchmarks/train_step.py --layout=planes,halves --devices=1
    python benchmarks/train_step.py --filters=32 --nopeer

Two processes take turns on one CPU: `cgan_jax.train_step` as the training loop runs it
(`pmap` on `--devices`, the state donated, the batch on the host), and
`peer_torch.Peer.train_step`. Both begin from the same weights, batch and latents, and the
losses of that first step must agree, or nothing is measured.

Prints a JSON line for each layout, number of filters and number of devices, then a table:
seconds a step (median, [least, largest]), the cores at work (far below the machine's:
others disturbed the run, and PyTorch the most), `ratio_to_torch` (above 1: ours is faster),
and each process's peak memory, compilation included.
"""

from __future__ import annotations

import itertools

import _flags
import _machine
import _records
import _settings
import _turns
from _records import Record
from absl import app, flags

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(_flags)
flags.DEFINE_integer("batch", 64, "Pairs a step.", 2)
flags.DEFINE_integer("turns", 7, "Measured turns of each side, after one discarded.", 1)
flags.DEFINE_integer("steps", 1, "Steps a turn.", 1)
flags.DEFINE_list(
    "devices", ["1", "2"], "CPU devices that share our batch, a run for each."
)

_COLUMNS = (
    "layout",
    "filters",
    "batch",
    "devices",
    "ours_s",
    "ours_spread",
    "ours_cores",
    "torch_s",
    "torch_spread",
    "torch_cores",
    "ratio_to_torch",
    "images_per_s",
    "ours_peak_mb",
    "torch_peak_mb",
    "memory_ratio",
)


def measure(layout: str, filters: int, devices: int) -> Record:
    """Times of one layout and size of network on so many devices."""
    settings = _settings.train_step(layout, filters, FLAGS.batch, devices)
    settings |= {"steps": FLAGS.steps}
    ours, torch, checked = _turns.measure(
        "train_step", settings, FLAGS.turns, _check, peer=FLAGS.peer
    )
    record: Record = {
        "benchmark": "train_step",
        "layout": layout,
        "filters": filters,
        "batch": FLAGS.batch,
        "devices": devices,
    }
    record |= _records.compare(ours, torch) | checked
    rate = FLAGS.batch / record["ours_s"]
    return record | {"images_per_s": _records.significant(rate)}


def _check(ours: _turns.Reply, torch: _turns.Reply) -> Record:
    """Of the first step; G's loss has seen D's update."""
    differences = [
        _records.check_same(f"{name} of the first step", [ours[name]], [torch[name]])
        for name in ("disc_loss", "gen_loss")
    ]
    return {"losses_agree_to": max(differences)}


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.peer:
        _machine.require_torch()
    cases = itertools.product(
        FLAGS.layout, map(int, FLAGS.filters), map(int, FLAGS.devices)
    )
    _records.report(itertools.starmap(measure, cases), _COLUMNS)


if __name__ == "__main__":
    app.run(main)
