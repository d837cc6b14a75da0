"""What answers to held-out sketches: the model, and what needs none."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from jaxtyping import Int, UInt8

import cgan_jax
from cgan_jax import array_cache, complete, images
from cgan_jax.baselines import retrieval
from cgan_jax.dataset import Pairs
from cgan_jax.model_files import Model
from cgan_jax.progress import tracked
from cgan_jax.projection import Search

MODEL, TRUE = "model", "true"
METHODS = {
    MODEL: "contextual GAN",
    "nearest_kl": "nearest training photograph, sketch KL",
    "nearest_l2": "nearest training photograph, sketch L2",
    "mean": "mean training photograph",
    "random": "random training photographs",
    TRUE: "true photograph",
}
_NEED_TRAINING = frozenset(["nearest_kl", "nearest_l2", "mean", "random"])


class Task(NamedTuple):
    """Sketches to complete, and the photographs that they were drawn from.

    Attributes:
      style: of the sketches.
      names: of the pictures in their source.
      sketches: 255 is paper.
      photos: the true photographs.
    """

    style: str
    names: tuple[str, ...]
    sketches: UInt8[np.ndarray, "n s s"]
    photos: UInt8[np.ndarray, "n s s 3"]


class Answers(NamedTuple):
    """A method's photographs, best first, as they would be saved.

    Attributes:
      photos: k answers to each sketch.
      joint: the best answers beside their generated sketches; None of what draws none.
      seconds: what the answers took when they were computed, compilation included.
    """

    photos: UInt8[np.ndarray, "n k s s 3"]
    joint: UInt8[np.ndarray, "n s s2 3"] | None
    seconds: float


def needs_training(methods: Iterable[str]) -> bool:
    """Whether one of the methods answers with training photographs."""
    return not _NEED_TRAINING.isdisjoint(methods)


def read_task(pairs: Pairs, chosen: Int[np.ndarray, " n"], style: str) -> Task:
    """The chosen pairs of a split in one of its styles."""
    found = [pairs[int(i)] for i in chosen]
    which = pairs.styles.index(style)
    return Task(
        style,
        tuple(pairs.names[i] for i in chosen),
        np.stack([pair["sketches"][which] for pair in found]),
        np.stack([pair["photo"] for pair in found]),
    )


def completions(
    model: Model,
    task: Task,
    search: Search,
    cache: Path,
    *,
    seed: int,
    block_size: int,
) -> Answers:
    """The model's answers; what an earlier run has completed is read from its cache.

    Args:
      model: the model.
      task: what to complete.
      search: the loss and the budget.
      cache: folder of one file for each sketch, named after the weights, the search, the
        seed, the sketch and the version of this package; delete it after a change of code.
      seed: of the starts.
      block_size: sketches that are searched for side by side.
    """
    settings = [
        digest(model),
        dataclasses.asdict(search),
        seed,
        block_size,
        cgan_jax.__version__,
    ]
    keys = [array_cache.content_key(settings, sketch) for sketch in task.sketches]
    paths = [cache / f"completion_{key}.npz" for key in keys]
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        logging.info("%d of %d sketches to complete", len(missing), len(paths))
        grey = task.sketches[missing].astype(np.float32) / 255
        found = complete.search_sketches(
            model, grey, search, seed=seed, block_size=block_size
        )
        _save_each(found, [paths[i] for i in missing])
    return _read_completions(paths)


def digest(model: Model) -> str:
    """Names the weights of a model and its architecture."""
    return array_cache.content_key(
        model.config["model"], *map(np.asarray, jax.tree.leaves(model.variables))
    )


def _save_each(found: Iterable[Any], paths: list[Path]) -> None:
    began = time.monotonic()
    progress = tracked(found, "sketches", len(paths))
    for path, candidates in zip(paths, progress, strict=True):
        now = time.monotonic()
        joint = images.to_uint8(np.asarray(candidates.joint))
        seconds = np.array(now - began)
        array_cache.save(path, {"joint": joint, "seconds": seconds})
        began = now


def _read_completions(paths: list[Path]) -> Answers:
    found = [array_cache.load(path) for path in paths]
    arrays = [f for f in found if f is not None]
    joint = np.stack([a["joint"] for a in arrays])
    seconds = sum(float(a["seconds"]) for a in arrays)
    return Answers(images.split(joint)[1], joint[:, 0], seconds)


def baseline(
    method: str, task: Task, training: Pairs | None, count: int, *, seed: int
) -> Answers:
    """The answers of a method that needs no model.

    Args:
      method: one of `METHODS`, but `model`.
      task: what to answer.
      training: pairs of the task's style; None does for the true photograph.
      count: answers to each sketch, of methods that have several.
      seed: of random photographs.

    Raises:
      ValueError: there is no such method, or too few training photographs.
    """
    began = time.monotonic()
    if method == TRUE:
        photos = task.photos[:, None]
    else:
        if method not in _NEED_TRAINING:
            raise ValueError(
                f"unknown method {method!r}: choose of {', '.join(METHODS)}"
            )
        if training is None or len(training) < count:
            raise ValueError(f"{method} needs at least {count} training photographs")
        photos = _from_training(method, task, training, count, seed)
    return Answers(photos, None, time.monotonic() - began)


def _from_training(
    method: str, task: Task, training: Pairs, count: int, seed: int
) -> UInt8[np.ndarray, "n k s s 3"]:
    n = len(task.sketches)
    if method == "mean":
        mean = _mean(training)
        return np.broadcast_to(mean, (n, 1, *mean.shape)).copy()
    if method == "random":
        indices = retrieval.random(n, len(training), count, seed=seed)
    else:
        distance: retrieval.Distance = "kl" if method == "nearest_kl" else "l2"
        sketches = _sketches(training, task.style)
        indices = retrieval.nearest(task.sketches, sketches, distance, count)
    return np.stack([[training[int(i)]["photo"] for i in row] for row in indices])


# Both are read anew for no method of the same run.
@functools.lru_cache(maxsize=1)
def _sketches(training: Pairs, style: str) -> UInt8[np.ndarray, "m s s"]:
    which = training.styles.index(style)
    return np.stack([training[i]["sketches"][which] for i in range(len(training))])


@functools.lru_cache(maxsize=1)
def _mean(training: Pairs) -> UInt8[np.ndarray, "s s 3"]:
    return retrieval.mean_photograph(training[i]["photo"] for i in range(len(training)))
