"""Times the input pipeline beside the training step that it feeds.

    pip install -e .
    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --data=prepared/faces --style=xdog,fdog

Two processes take turns: `cgan_jax.input_pipeline` reads, decodes, mirrors and stacks
batches of a prepared data set, every style of a picture among the planes of its joint
image; the other does training steps on a batch that is already there, as `train_step.py`
measures them. Without `--data` it first draws smooth pictures
and prepares them, on all cores.

Prints one JSON line and a table: pictures a second of either (median, [least, largest])
and their ratio. Below 1 the network waits for pictures; 5 is aimed at, since reading
shares the cores with the step.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import _records
import _settings
import _turns
from _records import Record
from absl import app, flags

from cgan_jax.configs import faces

_defaults = faces.get_config()
FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Prepared data set; its training pictures are read.")
flags.DEFINE_list("style", _defaults.data.style, "Styles, a plane for each.")
flags.DEFINE_integer("pictures", 512, "Pictures to prepare, without --data.", 1)
flags.DEFINE_integer("size", _defaults.model.height, "Their side, without --data.", 8)
flags.DEFINE_integer("filters", 32, "Base filters of the network.", 1)
flags.DEFINE_integer("batch", 64, "Pictures a step.", 2)
flags.DEFINE_integer("batches", 40, "Batches read a turn.", 1)
flags.DEFINE_integer("turns", 5, "Measured turns of each side, after one discarded.", 1)

_LARGER = 3  # how many times larger a picture is than what is made of it
_COLUMNS = (
    "filters",
    "batch",
    "size",
    "styles",
    "prepared_per_s",
    "read_per_s",
    "read_spread",
    "step_per_s",
    "step_spread",
    "ratio_to_step",
)


def draw_pictures(folder: Path, count: int, side: int) -> None:
    """Writes smooth coloured noise: PNGs that compress about as photographs do."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        coarse = rng.integers(0, 256, (side // 8 + 1, side // 8 + 1, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        grain = rng.integers(-6, 7, (side, side, 1))
        noisy = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:06d}.png")


def prepare(folder: Path) -> Record:
    """Prepares drawn pictures in `folder / "pairs"`; says how fast."""
    from cgan_jax.dataset import prepare_pairs

    side = _LARGER * FLAGS.size
    draw_pictures(folder / "pictures" / "train", FLAGS.pictures, side)
    start = time.perf_counter()
    prepare_pairs(
        str(folder / "pictures"), folder / "pairs", size=FLAGS.size, styles=FLAGS.style
    )
    rate = FLAGS.pictures / (time.perf_counter() - start)
    return {"prepared_per_s": _records.significant(rate), "picture_side": side}


def take_turns(data: Path, size: int) -> tuple[list[_turns.Reply], list[_turns.Reply]]:
    """Replies of the reading side and of the training side."""
    settings = _settings.train_step("planes", FLAGS.filters, FLAGS.batch)
    settings["model"] |= {"height": size, "styles": FLAGS.style}
    settings |= {"steps": 1, "batches": FLAGS.batches, "data": str(data)}
    script = str(Path(__file__).with_name("_worker_ours.py"))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        argument = json.dumps(settings | {"folder": folder})
        workers = [
            stack.enter_context(
                _turns.Worker(job, [sys.executable, script, job, argument])
            )
            for job in ("input_pipeline", "train_step")
        ]
        reading, training = _turns.take_turns(workers, FLAGS.turns)
    return reading, training


def rates(name: str, pictures: int, replies: list[_turns.Reply]) -> Record:
    """Pictures a second of one side, of turns of so many pictures."""
    per_second = sorted(pictures / reply["seconds"] for reply in replies)
    return {
        f"{name}_per_s": _records.significant(per_second[len(per_second) // 2]),
        f"{name}_spread": _records.spread(per_second),
    }


def measure() -> Iterator[Record]:
    """The one record."""
    from cgan_jax.dataset import open_pairs

    record: Record = {"benchmark": "input_pipeline", "styles": len(FLAGS.style)}
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(FLAGS.data or Path(temporary) / "pairs")
        record |= {} if FLAGS.data else prepare(Path(temporary))
        pairs = open_pairs(data, "train", FLAGS.style)
        size = pairs.manifest["size"]
        reading, training = take_turns(data, size)
    record |= {"filters": FLAGS.filters, "batch": FLAGS.batch, "size": size}
    record |= rates("read", FLAGS.batch * FLAGS.batches, reading)
    record |= rates("step", FLAGS.batch, training)
    ratio = _records.significant(record["read_per_s"] / record["step_per_s"])
    yield record | {"pictures": len(pairs), "ratio_to_step": ratio}


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    try:
        _records.report(measure(), _COLUMNS)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
