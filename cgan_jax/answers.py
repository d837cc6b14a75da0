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
from cgan_jax import array_cache, block_search, images, model_files
from cgan_jax.baselines import conditional, retrieval
from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.dataset import GIVEN, Pairs
from cgan_jax.joint import PHOTO, Joint, Kind
from cgan_jax.model_files import Model
from cgan_jax.progress import tracked
from cgan_jax.projection import Search
from cgan_jax.search import AUTO

DIRECTIONS = ("sketch2photo", "photo2sketch")
MODEL, CONDITIONAL, TRUE = "model", "conditional", "true"
_AT = "@"  # between `model` and a closeness
_ANY_STYLE = frozenset(["sketch", GIVEN])  # sketches of which no style is known
# What the tables call the methods, by what they answer with.
LABELS: dict[Kind, dict[str, str]] = {
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
_NEED_TRAINING = frozenset(["nearest_kl", "nearest_l2", "mean", "random"])
_NEED_SKETCHES = frozenset([CONDITIONAL])


class Task(NamedTuple):
    """Pairs of which one part is given, and another one asked for.

    Attributes:
      style: of the sketches.
      names: of the pictures in their source.
      sketches: 255 is paper.
      photos: that the sketches were drawn from.
      direction: of `DIRECTIONS`: says which part is given.
    """

    style: str
    names: tuple[str, ...]
    sketches: UInt8[np.ndarray, "n s s"]
    photos: UInt8[np.ndarray, "n s s 3"]
    direction: str = "sketch2photo"

    @property
    def given(self) -> str:
        """The part that is known: the style, or `photo`."""
        return self.style if self.direction == "sketch2photo" else PHOTO

    @property
    def asked(self) -> str:
        """The part that is to be found, likewise."""
        return PHOTO if self.direction == "sketch2photo" else self.style

    @property
    def truth(self) -> UInt8[np.ndarray, "n s s 3"]:
        """What is asked for, sketches in three channels."""
        return self.photos if self.asked == PHOTO else in_colour(self.sketches)

    def targets(
        self, joint: Joint
    ) -> tuple[Float[np.ndarray, "n s s c"], Float[np.ndarray, "s s p"]]:
        """Joint images in [-1, 1] of which the mask shows what is given.

        Raises:
          ValueError: see `part_of`.
        """
        name = part_of(joint, self.given)
        if self.given == PHOTO:
            known = images.from_uint8(self.photos)
        else:
            known = self.sketches.astype(np.float32) / 255 * 2 - 1
        return joint.stack({name: known}), joint.mask([name])


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
      joint: of the best answers, sketch and photograph side by side, as they were
        generated; None of what draws no sketches.
      seconds: what the answers took when they were computed, compilation included.
    """

    pictures: UInt8[np.ndarray, "n k s s 3"]
    joint: UInt8[np.ndarray, "n s s2 3"] | None
    seconds: float


def closeness_of(method: str) -> float | str | None:
    """What `model@CLOSENESS` asks the search for; None of any other method.

    Raises:
      ValueError: it is neither a number from 0 to 1 nor `auto`.
    """
    base, at, text = method.partition(_AT)
    if base != MODEL or not at:
        return None
    if text == AUTO:
        return AUTO
    try:
        closeness = float(text)
    except ValueError:
        closeness = -1.0
    if not 0 <= closeness <= 1:
        raise ValueError(
            f"method {method}: a closeness is a number from 0 to 1, such as "
            f"{MODEL}{_AT}0.5, or {MODEL}{_AT}{AUTO}"
        )
    return closeness


def is_method(text: str) -> bool:
    """Whether it is one of `METHODS`, or the model under a closeness of its own.

    Raises:
      ValueError: see `closeness_of`.
    """
    return text in METHODS or closeness_of(text) is not None


def asks_model(method: str) -> bool:
    """Whether the model answers, under whatever closeness."""
    return method.partition(_AT)[0] == MODEL


def generates(method: str) -> bool:
    """Whether its answers are no pictures of the data."""
    return asks_model(method) or method == CONDITIONAL


def label(method: str, asked: str) -> str:
    """What the tables call a method.

    Args:
      method: one of `METHODS`, or `model@CLOSENESS`.
      asked: the part that it answers with: a style, or `photo`.
    """
    labels = LABELS["photo" if asked == PHOTO else "sketch"]
    closeness = closeness_of(method)
    if closeness is None:
        return labels[method]
    text = closeness if isinstance(closeness, str) else f"{closeness:g}"
    return f"{labels[MODEL]}, closeness {text}"


def search_of(method: str, search: Search) -> Search:
    """The search of a method that asks the model."""
    closeness = closeness_of(method)
    if closeness is None:
        return search
    return dataclasses.replace(search, closeness=closeness)


def part_of(joint: Joint, name: str) -> str:
    """The part of a model's joint images that shows what a data set calls so.

    A model of one sketch takes sketches of which no style is known, those that ready
    pairs brought; and if none is known of its own, a mixture, it takes any.

    Args:
      joint: the model's.
      name: a style, or `photo`.

    Raises:
      ValueError: the model has no sketches in this style.
    """
    if name in joint.names:
        return name
    only = joint.sketches[0]
    if len(joint.sketches) == 1 and not _ANY_STYLE.isdisjoint([only, name]):
        return only
    return joint.check_sketch(name)


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
      method: one of `METHODS`, or `model@CLOSENESS`.
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
    if asks_model(method):
        assert means.model is not None and means.search is not None  # as checked
        search = search_of(method, means.search)
        return completions(
            means.model, task, search, cache, seed=seed, block_size=block_size
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
    for method in sorted(filter(asks_model, methods)):
        _check_model(method, means)
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


def _check_model(method: str, means: Means) -> None:
    if means.model is None or means.search is None:
        raise ValueError(f"the method {method!r} needs a model and a search")
    if closeness_of(method) and not means.search.inner_steps:
        raise ValueError(
            f"the method {method!r} asks for a closeness, but the search has no inner "
            "steps, which follow it: give --inner_steps, or another --preset"
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
        task.given,
        cgan_jax.__version__,
    ]
    targets, mask = task.targets(model.joint)
    paths = cache_paths(cache, "completion", settings, task)
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        logging.info("%d of %d examples to complete", len(missing), len(paths))
        found = block_search.search_targets(
            model, targets[missing], mask, search, seed=seed, block_size=block_size
        )
        _save_each(found, [paths[i] for i in missing])
    return _read_completions(paths, model.joint, task)


def cache_paths(cache: Path, kind: str, settings: Any, task: Task) -> list[Path]:
    """A file for each example, named after the settings and what is given of it."""
    given = task.photos if task.given == PHOTO else task.sketches
    keys = (array_cache.content_key(settings, picture) for picture in given)
    return [cache / f"{kind}_{key}.npz" for key in keys]


def _save_each(found: Iterable[Any], paths: list[Path]) -> None:
    began = time.monotonic()
    progress = tracked(found, "examples", len(paths))
    for path, candidates in zip(paths, progress, strict=True):
        now = time.monotonic()
        planes = images.to_uint8(np.asarray(candidates.joint))
        seconds = np.array(now - began)
        array_cache.save(path, {"planes": planes, "seconds": seconds})
        began = now


def _read_completions(paths: list[Path], joint: Joint, task: Task) -> Answers:
    arrays = array_cache.load_each(paths)
    planes = np.stack([a["planes"] for a in arrays])
    seconds = sum(float(a["seconds"]) for a in arrays)
    asked = part_of(joint, task.asked)
    shown = {asked, part_of(joint, task.given)}
    names = [name for name in joint.names if name in shown]
    beside = joint.panels(images.from_uint8(planes[:, 0]), names)
    return Answers(_pictures(planes, joint, asked), beside, seconds)


def _pictures(
    planes: UInt8[np.ndarray, "n k s s c"], joint: Joint, name: str
) -> UInt8[np.ndarray, "n k s s 3"]:
    """A part of joint images from 0 to 255: photographs, or sketches in grey."""
    picture = joint.part(planes.astype(np.float32), name)
    whole = np.rint(picture).astype(np.uint8)
    return whole if name == PHOTO else in_colour(whole)


def conditional_answers(model: ConditionalModel, task: Task) -> Answers:
    """The photographs that a conditional GAN draws, one of each sketch.

    They are of their sketches alone, to the bit, and the same whenever they are drawn.

    Raises:
      ValueError: the task gives photographs, or sketches of another size or style.
    """
    if task.given == PHOTO:
        raise ValueError(
            f"a conditional GAN draws photographs of sketches alone: it has no answers to "
            f"{task.direction}"
        )
    joint, size = model.joint, task.sketches.shape[1]
    if size != joint.size:
        raise ValueError(
            f"the conditional GAN {model.name} takes sketches of {joint.size} pixels, and "
            f"these have {size}: give one of that size"
        )
    name = conditional_part(model, task.style)
    began = time.monotonic()
    gen = model.models.gen
    planes = joint.stack({name: images.from_uint8(task.sketches)})
    sketches = conditional.sketches_of(gen, jnp.asarray(planes))
    drawn = conditional.draw_each(gen, model.variables.gen, sketches)
    pictures = images.to_uint8(np.asarray(drawn))[:, None]
    return Answers(pictures, None, time.monotonic() - began)


def conditional_part(model: ConditionalModel, style: str) -> str:
    """The sketch that a conditional GAN draws from, where it takes this style.

    Raises:
      ValueError: it is of another style.
    """
    try:
        return part_of(model.joint, style)
    except ValueError:
        raise ValueError(
            f"the conditional GAN {model.name} takes {', '.join(model.joint.sketches)} "
            f"sketches, and these are {style}: give one of that style"
        ) from None


def baseline(
    method: str, task: Task, training: Pairs | None, count: int, *, seed: int
) -> Answers:
    """The answers of a method that needs no model.

    Args:
      method: one of `METHODS`, but `model` and `conditional`.
      task: what to answer.
      training: pairs of the task's style; None does for `true`.
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
        mean = _mean(training, task.asked)
        return np.broadcast_to(mean, (n, 1, *mean.shape)).copy()
    if method == "random":
        indices = retrieval.random(n, len(training), count, seed=seed)
    else:
        distance: retrieval.Distance = "kl" if method == "nearest_kl" else "l2"
        given = _in_grey(task.photos) if task.given == PHOTO else task.sketches
        known = _greys(training, task.given)
        indices = retrieval.nearest(given, known, distance, count)
    read = functools.partial(read_pictures, training, name=task.asked)
    return np.stack([read(row) for row in indices])


def read_pictures(
    pairs: Pairs, indices: Int[np.ndarray, " n"], name: str
) -> UInt8[np.ndarray, "n s s 3"]:
    """Photographs of a split (`photo`), or its sketches in a style, in three channels."""
    size = pairs.manifest["size"]
    pictures = [_picture(pairs, int(i), name) for i in indices]
    return np.array(pictures, np.uint8).reshape(-1, size, size, 3)


def _picture(pairs: Pairs, i: int, name: str) -> UInt8[np.ndarray, "s s 3"]:
    pair = pairs[i]
    if name == PHOTO:
        return pair["photo"]
    return in_colour(pair["sketches"][pairs.styles.index(name)])


# Both are read anew for no method of the same run.
@functools.lru_cache(maxsize=1)
def _greys(training: Pairs, name: str) -> UInt8[np.ndarray, "m s s"]:
    pictures = (_picture(training, i, name) for i in range(len(training)))
    return np.stack([_in_grey(x) for x in pictures])


@functools.lru_cache(maxsize=1)
def _mean(training: Pairs, name: str) -> UInt8[np.ndarray, "s s 3"]:
    pictures = (_picture(training, i, name) for i in range(len(training)))
    return retrieval.mean_picture(pictures)
