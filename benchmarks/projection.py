"""Times the search, its growth, its memory, ours beside PyTorch; its quality.

    pip install -e . torch==2.13.0 matplotlib
    python benchmarks/projection.py            # search steps, one drawing and memory
    python benchmarks/projection.py --growth   # and docs/figures/growth.png
    python benchmarks/projection.py --nopeer --filters=32 --layout=halves
    python benchmarks/projection.py --quality --data=FOLDER    # nothing else is measured

A search step is one step of Adam on 64 latents: G (and D) forward, the gradient back to
z; in an inner search, to the offsets of the first three inner layers, too. Ours runs where
users run it, in the compiled search: the time of `projection.project` with six steps less
that with two, by four. The peers are the steps of `peer_torch.Search` and `InnerSearch`.
Two processes take turns on one CPU. Both begin from the same weights, sketch and latents;
the losses there and two steps later must agree, or nothing is measured.

Prints JSON lines, then tables:
- `search_step`: for each layout and number of filters, of each stage: `z with D`, `z` and
  `inner`; seconds (median, [least, largest]), the cores at work (far below the machine's:
  others disturbed the run, and PyTorch the most) and `ratio_to_torch` (above 1: ours is
  faster).
- `one_drawing`: seconds of a whole search by the preset `default` for one drawing with the
  bundled model, its starts included, in a process that has done one before; 3 s is the
  goal. The peer does the same steps.
- `completion_memory`: peak memory of processes that complete 100 sketches with the
  bundled model, in the blocks of `cgan-complete`; few steps, since more need no more.
- `growth_with_candidates`, `growth_with_sketches` (`--growth`): seconds of whole
  searches, the straight line through them, and the largest deviation from it as a part.
- `search_quality` (`--quality`): for each preset, and for `default` at other values of
  `closeness`, what the search has reached on held-out sketches after so many generator
  passes (of one sketch alone, its starts included), by the same yardsticks for all: KL of
  ink, mean square error and SSIM of the photograph;
  `passes_to_level`: the fewest passes by which `default` is as good as each other preset
  at its end. Draws docs/figures/quality.png. FOLDER is what cgan-prepare wrote.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _flags
import _growth
import _machine
import _quality
import _records
import _settings
import _turns
from _records import Record
from absl import app, flags

from cgan_jax.configs import default, presets

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(_flags)
flags.DEFINE_integer("turns", 5, "Measured turns of each side, after one discarded.", 1)
flags.DEFINE_bool("drawing", True, "Whether to measure a whole search for a drawing.")
flags.DEFINE_bool("memory", True, "Whether to measure the memory of completing.")
flags.DEFINE_bool("growth", False, "Whether to measure growth and to draw it.")
flags.DEFINE_string("model", "faces", "Model of all but the steps, a name or folder.")
flags.DEFINE_integer("sketches", 100, "Sketches of the memory benchmark.", 1)
flags.DEFINE_integer("block_size", 1, "Sketches side by side, as in cgan-complete.", 1)
flags.DEFINE_integer("growth_steps", 10, "Steps of each stage in the growth.", 1)
flags.DEFINE_integer("growth_runs", 1, "Runs of each point of the growth.", 1)
flags.DEFINE_string("figure", "docs/figures/growth.png", "Figure of the growth.")
flags.DEFINE_bool("quality", False, "Measure the quality of answers instead.")
flags.DEFINE_string("data", None, "Prepared data set of --quality, with validation.")
flags.DEFINE_integer("examples", 128, "Held-out sketches of --quality.", 1)
flags.DEFINE_integer("quality_block", 16, "Sketches side by side in --quality.", 1)
flags.DEFINE_list(
    "presets",
    [*presets.NAMES, "default@0", "default@1", "default@auto"],
    "Searches of --quality: presets, and after an @ another closeness than theirs.",
)
flags.DEFINE_string(
    "quality_figure", "docs/figures/quality.png", "Figure of --quality."
)

_LATENTS = 64
_FIRST_STEPS, _MORE_STEPS = 2, 4
# With D at the slides' weight, and the two stages of the package's default.
_STAGES: dict[str, dict[str, Any]] = {
    "z with D": {
        "num_steps": _FIRST_STEPS,
        "inner_steps": 0,
        "perceptual_weight": 0.01,
    },
    "z": {"num_steps": _FIRST_STEPS, "inner_steps": 0, "perceptual_weight": 0.0},
    "inner": {"num_steps": 0, "inner_steps": _FIRST_STEPS},
}
_MEMORY_STEPS = 2

_SEARCH_COLUMNS = (
    "layout",
    "filters",
    "stage",
    "ours_s",
    "ours_spread",
    "ours_cores",
    "torch_s",
    "torch_spread",
    "torch_cores",
    "ratio_to_torch",
    "z_steps_per_s",
)
_DRAWING_COLUMNS = (
    "model",
    "ours_s",
    "ours_spread",
    "ours_cores",
    "torch_s",
    "torch_spread",
    "torch_cores",
    "ratio_to_torch",
)
_MEMORY_COLUMNS = ("sketches", "ours_peak_mb", "torch_peak_mb", "memory_ratio")
_GROWTH_COLUMNS = ("benchmark", "seconds_fixed", "seconds_each", "largest_deviation")
_QUALITY_COLUMNS = ("preset", "steps", "passes", *_quality.YARDSTICKS, "seconds_each")


def search_steps() -> Iterator[Record]:
    """Times of each layout and size of network, of each stage."""
    for layout, filters, stage in itertools.product(
        FLAGS.layout, map(int, FLAGS.filters), _STAGES
    ):
        yield _search_step(layout, filters, stage)


def _search_step(layout: str, filters: int, stage: str) -> Record:
    budget = {"num_starts": _LATENTS, "num_candidates": _LATENTS} | _STAGES[stage]
    settings = _search_settings(budget) | {
        "model": _settings.model(layout, filters),
        "more_steps": _MORE_STEPS,
    }
    ours, torch, checked = _turns.measure(
        "search", settings, FLAGS.turns, _check_search, peer=FLAGS.peer
    )
    record: Record = {
        "benchmark": "search_step",
        "layout": layout,
        "filters": filters,
        "latents": _LATENTS,
        "stage": stage,
    }
    record |= _records.compare(ours, torch) | checked
    rate = _LATENTS / record["ours_s"]
    return record | {"z_steps_per_s": _records.significant(rate)}


def _check_search(ours: _turns.Reply, torch: _turns.Reply) -> Record:
    what = f"loss of a latent after {_FIRST_STEPS} steps"
    later = _records.check_same(what, ours["later"], torch["later"], tolerance=1e-3)
    first = _records.check_same("loss of a start", ours["first"], torch["first"])
    return {"losses_agree_to": first, "later_losses_agree_to": later}


def _search_settings(changes: dict[str, Any]) -> dict[str, Any]:
    """Of a job: the default search, but for some fields, and what both sides make of it."""
    from cgan_jax.search import Search  # after the flags: --help stays fast

    config = default.get_config()
    search = config.projection.to_dict() | changes
    penalty = float(Search(**search).numbers.offset_penalty)
    return {"search": search, "offset_penalty": penalty, "seed": config.seed}


def _completion_settings(
    changes: dict[str, Any], sketches: int, block_size: int
) -> dict[str, Any]:
    from cgan_jax import model_files

    return _search_settings(changes) | {
        "name": FLAGS.model,
        "model": model_files.load(FLAGS.model).config["model"],
        "sketches": sketches,
        "block_size": block_size,
    }


def one_drawing() -> Iterator[Record]:
    """Times of a whole search for one drawing; what the first turn compiles is there."""
    settings = _completion_settings({}, 1, 1)
    ours, torch, _ = _turns.measure(
        "completion", settings, FLAGS.turns, lambda *_: {}, peer=FLAGS.peer
    )
    record: Record = {"benchmark": "one_drawing", "model": FLAGS.model}
    yield record | {"search": settings["search"]} | _records.compare(ours, torch)


def memory() -> Iterator[Record]:
    """Peaks of completing many sketches."""
    steps = {"num_steps": _MEMORY_STEPS, "inner_steps": _MEMORY_STEPS}
    settings = _completion_settings(steps, FLAGS.sketches, FLAGS.block_size)
    ours, torch, _ = _turns.measure(
        "completion", settings, 1, lambda *_: {}, peer=FLAGS.peer, discarded=0
    )
    record: Record = {
        "benchmark": "completion_memory",
        "model": FLAGS.model,
        "sketches": FLAGS.sketches,
        "block_size": FLAGS.block_size,
        "search": settings["search"],
    }
    compared = _records.compare(ours, torch)
    record |= {name: compared.get(name) for name in _MEMORY_COLUMNS[1:]}
    if torch:
        what = "divergence of a sketch's best candidate"
        pair = ours[0]["best"], torch[0]["best"]
        record["divergences_agree_to"] = _records.check_same(what, *pair, 1e-2)
    yield record


def growth() -> Iterator[Record]:
    """Straight lines through the times of whole searches; draws them."""
    config = default.get_config()
    search: dict[str, Any] = config.projection.to_dict()
    search |= {"num_steps": FLAGS.growth_steps, "inner_steps": FLAGS.growth_steps}
    lines = _growth.measure(
        FLAGS.model, search, FLAGS.block_size, config.seed, FLAGS.growth_runs
    )
    settings = {
        "model": FLAGS.model,
        "block_size": FLAGS.block_size,
        "runs": FLAGS.growth_runs,
        "search": search,
    }
    for what, line in lines.items():
        yield _growth.record(what, line, settings)
    _growth.draw(lines, Path(FLAGS.figure))


def quality() -> Iterator[Record]:
    """Curves of the presets, and where the default is level with the others; draws them."""
    settings = {"model": FLAGS.model, "examples": FLAGS.examples}
    seed = default.get_config().seed
    curves = []
    for curve in _quality.measure(
        FLAGS.model,
        FLAGS.data,
        FLAGS.presets,
        num_examples=FLAGS.examples,
        block_size=FLAGS.quality_block,
        seed=seed,
    ):
        curves.append(curve)
        yield from _quality.records(curve, settings, seed)
    by_name = {curve.preset: curve for curve in curves}
    if "default" in by_name:
        for other in (x for x in curves if x.preset != "default"):
            yield _quality.passes_to_level(by_name["default"], other)
    _quality.draw(curves, Path(FLAGS.quality_figure))


def _measure_quality() -> None:
    if FLAGS.data is None:
        raise app.UsageError("--quality needs --data, which cgan-prepare writes")
    _machine.require("matplotlib", "--quality draws: `pip install matplotlib`")
    try:
        _records.report(quality(), _QUALITY_COLUMNS)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.quality:
        return _measure_quality()
    if FLAGS.peer:
        _machine.require_torch()
    if FLAGS.growth:
        _machine.require("matplotlib", "--growth draws: `pip install matplotlib`")
    _records.report(search_steps(), _SEARCH_COLUMNS)
    if FLAGS.drawing:
        _records.report(one_drawing(), _DRAWING_COLUMNS)
    if FLAGS.memory:
        _records.report(memory(), _MEMORY_COLUMNS)
    if FLAGS.growth:
        _records.report(growth(), _GROWTH_COLUMNS)


if __name__ == "__main__":
    app.run(main)
