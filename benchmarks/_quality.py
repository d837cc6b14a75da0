"""The quality of answers to held-out sketches against the generator passes they took."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _records import Record, significant

POINTS = 6  # of each curve, after the best starts
# One yardstick for all: of the answer with the lowest contextual loss.
YARDSTICKS = {
    "sketch_kl": "KL(y || G) of ink, epsilon 1e-3, in nats",
    "photo_mse": "mean square error of the photo in [0, 1]",
    "ssim_luma": "SSIM of the photo, luma",
}


@dataclasses.dataclass(frozen=True)
class Curve:
    """What a preset has reached after so many steps.

    Attributes:
      preset: its name, and after an `@` the closeness, where it is not the preset's.
      steps: of every candidate, from 0.
      passes: of the generator for one sketch alone, forward and backward.
      scores: of each example after so many steps, by yardstick: (points, examples).
      seconds: of one sketch, after the first block, all points included.
    """

    preset: str
    steps: list[int]
    passes: list[int]
    scores: dict[str, np.ndarray]
    seconds: float


def measure(
    model_name: str,
    data: str,
    presets: Sequence[str],
    *,
    num_examples: int,
    block_size: int,
    seed: int,
) -> Iterator[Curve]:
    """Curves of searches on the same examples of the validation split."""
    from cgan_jax import answers, evaluation, model_files  # after the flags
    from cgan_jax.dataset import open_pairs

    model = model_files.load(model_name)
    style, *_ = model.config["style"].split(",")
    pairs = open_pairs(Path(data), "validation", [style])
    chosen = evaluation.choose_examples(len(pairs), num_examples, seed)
    task = answers.read_task(pairs, chosen, style)
    for preset in presets:
        yield _follow(preset, model, task, search_of(preset), block_size, seed)
        print(f"{preset} is done", file=sys.stderr)


def search_of(preset: str) -> Any:
    """The `Search` of a preset, with the closeness behind an `@` in the place of its own.

    Raises:
      ValueError: there is no such preset, or no such closeness.
    """
    from cgan_jax.configs import presets
    from cgan_jax.projection import Search

    name, at, closeness = preset.partition("@")
    changes = {"closeness": closeness} if at else {}
    return Search(**dict(presets.get_projection(name)) | changes)


def _follow(
    preset: str, model: Any, task: Any, search: Any, block_size: int, seed: int
) -> Curve:
    """One search of all examples, looked at on its way."""
    import jax

    from cgan_jax.projection import count_passes, draw_starts

    steps = sorted(set(np.linspace(0, search.total_steps, POINTS + 1).astype(int)))
    steps = [int(step) for step in steps]
    starts = draw_starts(
        model.variables, jax.random.key(seed), models=model.models, search=search
    )
    targets, mask = task.targets(model.models.gen.joint)
    found, seconds = [], []
    for first in range(0, len(targets), block_size):
        block = targets[first : first + block_size]
        filling = ((0, block_size - len(block)), (0, 0), (0, 0), (0, 0))
        began = time.perf_counter()
        joint = _look(
            model, np.pad(block, filling, "edge"), mask, starts, search, steps
        )
        seconds.append(time.perf_counter() - began)
        found.append(joint[:, : len(block)])
    scores = [_scores(x, task, model) for x in np.concatenate(found, axis=1)]
    by_name = {name: np.stack([s[name] for s in scores]) for name in YARDSTICKS}
    each = float(np.median(seconds[1:] or seconds)) / block_size
    passes = [count_passes(search, step).alone for step in steps]
    return Curve(preset, steps, passes, by_name, each)


def _look(
    model: Any,
    targets: np.ndarray,
    mask: np.ndarray,
    starts: Any,
    search: Any,
    steps: Sequence[int],
) -> np.ndarray:
    """The best joint images after so many steps: (points, examples, s, s, c)."""
    import jax
    import jax.numpy as jnp

    from cgan_jax.projection import advance, begin, finish, guess

    fixed = {"models": model.models, "search": search}
    variables, y, m = model.variables, jnp.asarray(targets), jnp.asarray(mask)
    guesses = guess(model.encoder, variables, y, m, **fixed)
    state = begin(y, m, starts, guesses=guesses, **fixed)
    done, best = 0, []
    for step in steps:
        state = advance(
            variables, y, m, state, first=done, num_steps=step - done, **fixed
        )
        done = step
        found = finish(variables, y, m, state, **fixed)
        best.append(jax.device_get(found.joint[:, 0]))
    return np.stack(best)


def _scores(planes: np.ndarray, task: Any, model: Any) -> dict[str, np.ndarray]:
    import jax.numpy as jnp

    from cgan_jax import scores
    from cgan_jax.answers import part_of
    from cgan_jax.joint import PHOTO

    joint = model.models.gen.joint
    sketches, photos = (
        jnp.asarray(joint.part(planes, name) + 1) / 2
        for name in (part_of(joint, task.style), PHOTO)
    )
    truth, drawn = (
        jnp.asarray(x, jnp.float32) / 255 for x in (task.photos, task.sketches)
    )
    found = {
        "sketch_kl": scores.sketch_kl(drawn, sketches),
        "photo_mse": jnp.square(photos - truth).mean((1, 2, 3)),
        "ssim_luma": scores.ssim(scores.grey(photos), scores.grey(truth)),
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def records(curve: Curve, settings: dict[str, Any], seed: int) -> Iterator[Record]:
    """What is printed of a curve: means with intervals of 95 %."""
    from cgan_jax import intervals

    for i, (step, passes) in enumerate(zip(curve.steps, curve.passes, strict=True)):
        record: Record = {
            "benchmark": "search_quality",
            **settings,
            "preset": curve.preset,
            "steps": step,
            "passes": passes,
        }
        for name in YARDSTICKS:
            found = intervals.mean_interval(curve.scores[name][i], seed=seed)
            record[name] = significant(found.value)
            record[f"{name}_interval"] = [
                significant(x) for x in (found.low, found.high)
            ]
        if step == curve.steps[-1]:
            record["seconds_each"] = significant(curve.seconds)
        yield record


def passes_to_level(curve: Curve, level_of: Curve) -> Record:
    """The fewest passes by which a curve is as good as the end of another one."""
    record: Record = {
        "benchmark": "passes_to_level",
        "preset": curve.preset,
        "level_of": level_of.preset,
        "passes_there": level_of.passes[-1],
    }
    for name, higher in (
        ("sketch_kl", False),
        ("photo_mse", False),
        ("ssim_luma", True),
    ):
        sign = -1.0 if higher else 1.0
        means = sign * curve.scores[name].mean(axis=1)
        reached = np.flatnonzero(means <= sign * level_of.scores[name][-1].mean())
        passes = curve.passes[int(reached[0])] if len(reached) else None
        record[f"passes_{name}"] = passes
        record[f"ratio_{name}"] = (
            None if passes is None else significant(level_of.passes[-1] / passes)
        )
    return record


def draw(curves: Sequence[Curve], path: Path) -> None:
    """The means of each yardstick against passes; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    every = figure.subplots(1, len(YARDSTICKS))
    for axes, (name, meaning) in zip(every, YARDSTICKS.items(), strict=True):
        for curve in curves:
            means = curve.scores[name].mean(axis=1)
            axes.plot(curve.passes, means, "o-", markersize=3, label=curve.preset)
        axes.set(xscale="log", xlabel="generator passes", title=meaning)
        axes.title.set_fontsize(9)
        axes.spines[["top", "right"]].set_visible(False)
    every[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
