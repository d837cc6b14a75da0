"""What answers to held-out sketches or photographs: the model, and what needs none."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Float, Int, UInt8

import cgan_jax
from cgan_jax import array_cache, complete, images, model_files
from cgan_jax.baselines import conditional, retrieval
from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.dataset import Pairs
from cgan_jax.model_files import Model
from cgan_jax.progress import tracked
from cgan_jax.projection import Search

DIRECTIONS = ("sketch2photo", "photo2sketch")
MODEL, CONDITIONAL, TRUE = "model", "conditional", "true"
# What the tables call the methods, by what they answer with.
LABELS: dict[images.Side, dict[str, str]] = {
    "photo": {
        MODEL: "contextual GAN",
        CONDITIONAL: "conditional GAN",
        "nearest_kl": "nearest training photograph, sketch KL",
        "nearest_l2": "nearest training photograph, sketch L2",
        "mean": "mean training photograph",
        "random": "random training photographs",
        TRUE: "true photograph",
    },
    "sketch": {
        MODEL: "contextual GAN",
        "nearest_kl": "sketch of the nearest training photograph, luma KL",
        "nearest_l2": "sketch of the nearest training photograph, luma L2",
        "mean": "mean training sketch",
        "random": "random training sketches",
        TRUE: "true sketch",
    },
}
METHODS = tuple(LABELS["photo"])
GENERATORS = frozenset(
    [MODEL, CONDITIONAL]
)  # whose answers are no pictures of the data
_NEED_TRAINING = frozenset(["nearest_kl", "nearest_l2", "mean", "random"])
_NEED_SKETCHES = frozenset([CONDITIONAL])


def given_half(direction: str) -> images.Side:
    """The half that is known, of one of `DIRECTIONS`."""
    return "sketch" if direction == "sketch2photo" else "photo"


class Task(NamedTuple):
    """Pairs of which one half is given, and the other one asked for.

    Attributes:
      style: of the sketches.
      names: of the pictures in their source.
      sketches: 255 is paper.
      photos: that the sketches were drawn from.
      direction: of `DIRECTIONS`: says which half is given.
    """

    style: str
    names: tuple[str, ...]
    sketches: UInt8[np.ndarray, "n s s"]
    photos: UInt8[np.ndarray, "n s s 3"]
    direction: str = "sketch2photo"

    @property
    def given(self) -> images.Side:
        """The half that is known."""
        return given_half(self.direction)

    @property
    def asked(self) -> images.Side:
        """The half that is to be found."""
        return "photo" if self.direction == "sketch2photo" else "sketch"

    @property
    def truth(self) -> UInt8[np.ndarray, "n s s 3"]:
        """The half that is asked for, sketches in three channels."""
        return self.photos if self.asked == "photo" else in_colour(self.sketches)

    def targets(
        self,
    ) -> tuple[Float[np.ndarray, "n s s2 3"], Float[np.ndarray, "s s2"]]:
        """Joint images in [-1, 1] of which the mask shows the given half."""
        if self.given == "sketch":
            joint = images.target_from_sketch(self.sketches.astype(np.float32) / 255)
        else:
            known = images.from_uint8(self.photos)
            joint = images.join(np.zeros_like(known), known)
        return joint, images.half_mask(self.photos.shape[1], self.given)


class Means(NamedTuple):
    """What methods answer with; None where no method needs it.

    Attributes:
      model: answers as `model`, by the search.
      search: the loss and the budget.
      training: pairs of the task's style, for `nearest_kl` and others.
      conditional: answers as `conditional`.
    """

    model: Model | None = None
    search: Search | None = None
    training: Pairs | None = None
    conditional: ConditionalModel | None = None


class Answers(NamedTuple):
    """What a method found, best first, as it would be saved.

    Attributes:
      pictures: k answers to each example; sketches are grey in three channels.
      joint: the best answers beside their generated sketches; None of what draws none.
      seconds: what the answers took when they were computed, compilation included.
    """

    pictures: UInt8[np.ndarray, "n k s s 3"]
    joint: UInt8[np.ndarray, "n s s2 3"] | None
    seconds: float


def needs_training(methods: Iterable[str]) -> bool:
    """Whether one of the methods answers with training photographs."""
    return not _NEED_TRAINING.isdisjoint(methods)


def methods_for(methods: Iterable[str], direction: str) -> tuple[str, ...]:
    """Those of the methods that have answers in a direction."""
    excluded = frozenset() if direction == "sketch2photo" else _NEED_SKETCHES
    return tuple(method for method in methods if method not in excluded)


def in_colour(grey: UInt8[np.ndarray, "*n s s"]) -> UInt8[np.ndarray, "*n s s 3"]:
    """Grey pictures in three channels."""
    return np.repeat(grey[..., None], 3, axis=-1)


def _in_grey(colour: UInt8[np.ndarray, "*n s s 3"]) -> UInt8[np.ndarray, "*n s s"]:
    return np.rint(images.luma(colour.astype(np.float32))).astype(np.uint8)


def read_task(
    pairs: Pairs,
    chosen: Int[np.ndarray, " n"],
    style: str,
    direction: str = "sketch2photo",
) -> Task:
    """The chosen pairs of a split in one of its styles."""
    found = [pairs[int(i)] for i in chosen]
    which = pairs.styles.index(style)
    return Task(
        style,
        tuple(pairs.names[i] for i in chosen),
        np.stack([pair["sketches"][which] for pair in found]),
        np.stack([pair["photo"] for pair in found]),
        direction,
    )


def answer(
    method: str,
    task: Task,
    means: Means,
    *,
    cache: Path,
    count: int,
    seed: int,
    block_size: int,
) -> Answers:
    """The answers of any method.

    Args:
      method: one of `METHODS`.
      task: what to answer.
      means: what the method needs, at least.
      cache: as of `completions`.
      count: answers to each example, of baselines that have several.
      seed: of the search's starts and of random answers.
      block_size: as of `completions`.

    Raises:
      ValueError: there is no such method, it lacks what it needs, or it has no answers to
        this task.
    """
    check_means([method], means)
    if method == MODEL:
        assert means.model is not None and means.search is not None  # as checked
        return completions(
            means.model, task, means.search, cache, seed=seed, block_size=block_size
        )
    if method == CONDITIONAL:
        assert means.conditional is not None
        return conditional_answers(means.conditional, task)
    return baseline(method, task, means.training, count, seed=seed)


def check_means(methods: Iterable[str], means: Means) -> None:
    """Says what methods lack.

    Raises:
      ValueError: one of them lacks something.
    """
    methods = set(methods)
    if MODEL in methods and (means.model is None or means.search is None):
        raise ValueError("the method 'model' needs a model and a search")
    if CONDITIONAL in methods and means.conditional is None:
        raise ValueError(
            "the method 'conditional' needs a conditional GAN: give --conditional, what "
            "cgan-train --config=faces_conditional trained"
        )
    if needs_training(methods) and means.training is None:
        raise ValueError(
            "baselines answer with training photographs, and there are none: give "
            "--train_data, or leave them out with --methods=model"
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
      cache: folder of one file for each example, named after the weights, the search, the
        seed, what is given and the version of this package; delete it after a change of
        code.
      seed: of the starts.
      block_size: examples that are searched for side by side.
    """
    settings = [
        model_files.digest(model),
        dataclasses.asdict(search),
        seed,
        block_size,
        task.direction,
        cgan_jax.__version__,
    ]
    paths = cache_paths(cache, "completion", settings, task)
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        logging.info("%d of %d examples to complete", len(missing), len(paths))
        targets, mask = task.targets()
        found = complete.search_targets(
            model, targets[missing], mask, search, seed=seed, block_size=block_size
        )
        _save_each(found, [paths[i] for i in missing])
    return _read_completions(paths, task.asked)


def cache_paths(cache: Path, kind: str, settings: Any, task: Task) -> list[Path]:
    """A file for each example, named after the settings and what is given of it."""
    given = task.sketches if task.given == "sketch" else task.photos
    keys = (array_cache.content_key(settings, picture) for picture in given)
    return [cache / f"{kind}_{key}.npz" for key in keys]


def _save_each(found: Iterable[Any], paths: list[Path]) -> None:
    began = time.monotonic()
    progress = tracked(found, "examples", len(paths))
    for path, candidates in zip(paths, progress, strict=True):
        now = time.monotonic()
        joint = images.to_uint8(np.asarray(candidates.joint))
        seconds = np.array(now - began)
        array_cache.save(path, {"joint": joint, "seconds": seconds})
        began = now


def _read_completions(paths: list[Path], asked: images.Side) -> Answers:
    arrays = array_cache.load_each(paths)
    joint = np.stack([a["joint"] for a in arrays])
    seconds = sum(float(a["seconds"]) for a in arrays)
    sketches, photos = images.split(joint)
    pictures = photos if asked == "photo" else in_colour(_in_grey(sketches))
    return Answers(pictures, joint[:, 0], seconds)


def conditional_answers(model: ConditionalModel, task: Task) -> Answers:
    """The photographs that a conditional GAN draws, one of each sketch.

    They are of their sketches alone, to the bit, and the same whenever they are drawn.

    Raises:
      ValueError: the task gives photographs, or sketches of another size.
    """
    if task.given != "sketch":
        raise ValueError(
            f"a conditional GAN draws photographs of sketches alone: it has no answers to "
            f"{task.direction}"
        )
    gen, size = model.models.gen, task.sketches.shape[1]
    if size != gen.height:
        raise ValueError(
            f"the conditional GAN {model.name} takes sketches of {gen.height} pixels, and "
            f"these have {size}: give one of that size"
        )
    began = time.monotonic()
    sketches = images.from_uint8(in_colour(task.sketches))
    drawn = conditional.draw_each(gen, model.variables.gen, jnp.asarray(sketches))
    pictures = images.to_uint8(np.asarray(drawn))[:, None]
    return Answers(pictures, None, time.monotonic() - began)


def baseline(
    method: str, task: Task, training: Pairs | None, count: int, *, seed: int
) -> Answers:
    """The answers of a method that needs no model.

    Args:
      method: one of `METHODS`, but `model` and `conditional`.
      task: what to answer.
      training: pairs of the task's style; None does for the true half.
      count: answers to each example, of methods that have several.
      seed: of random answers.

    Raises:
      ValueError: there is no such method, or too few training pairs.
    """
    began = time.monotonic()
    if method == TRUE:
        pictures = task.truth[:, None]
    else:
        if method not in _NEED_TRAINING:
            raise ValueError(
                f"unknown method {method!r}: choose of {', '.join(METHODS)}"
            )
        if training is None or len(training) < count:
            raise ValueError(f"{method} needs at least {count} training photographs")
        pictures = _from_training(method, task, training, count, seed)
    return Answers(pictures, None, time.monotonic() - began)


def _from_training(
    method: str, task: Task, training: Pairs, count: int, seed: int
) -> UInt8[np.ndarray, "n k s s 3"]:
    n = len(task.sketches)
    if method == "mean":
        mean = _mean(training, task.style, task.asked)
        return np.broadcast_to(mean, (n, 1, *mean.shape)).copy()
    if method == "random":
        indices = retrieval.random(n, len(training), count, seed=seed)
    else:
        distance: retrieval.Distance = "kl" if method == "nearest_kl" else "l2"
        given = task.sketches if task.given == "sketch" else _in_grey(task.photos)
        known = _greys(training, task.style, task.given)
        indices = retrieval.nearest(given, known, distance, count)
    read = functools.partial(read_halves, training, style=task.style, side=task.asked)
    return np.stack([read(row) for row in indices])


def read_halves(
    pairs: Pairs, indices: Int[np.ndarray, " n"], style: str, side: images.Side
) -> UInt8[np.ndarray, "n s s 3"]:
    """Photographs of a split, or its sketches in a style, in three channels."""
    size = pairs.manifest["size"]
    halves = [_half(pairs, int(i), style, side) for i in indices]
    return np.array(halves, np.uint8).reshape(-1, size, size, 3)


def _half(
    pairs: Pairs, i: int, style: str, side: images.Side
) -> UInt8[np.ndarray, "s s 3"]:
    pair = pairs[i]
    if side == "photo":
        return pair["photo"]
    return in_colour(pair["sketches"][pairs.styles.index(style)])


# Both are read anew for no method of the same run.
@functools.lru_cache(maxsize=1)
def _greys(
    training: Pairs, style: str, side: images.Side
) -> UInt8[np.ndarray, "m s s"]:
    halves = (_half(training, i, style, side) for i in range(len(training)))
    return np.stack([_in_grey(x) for x in halves])


@functools.lru_cache(maxsize=1)
def _mean(training: Pairs, style: str, side: images.Side) -> UInt8[np.ndarray, "s s 3"]:
    halves = (_half(training, i, style, side) for i in range(len(training)))
    return retrieval.mean_picture(halves)
