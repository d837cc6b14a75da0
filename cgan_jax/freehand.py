"""What each method makes of drawings by hand, to which no photograph belongs.

Nothing says what the answer should be. What can be said: whether it is a picture of the
data's kind (faces found, distance to held-out photographs), and how many of the drawing's
strokes it keeps.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import UInt8

from cgan_jax import answer_sheets, evaluation, images, inputs, results, sheets
from cgan_jax.answers import TRUE, Answers, Means, Task, part_of
from cgan_jax.dataset import GIVEN, Pairs
from cgan_jax.drawings import DrawingError, Seen, fit_square, read_drawing, reduce
from cgan_jax.evaluation import FACES, FeatureFn, Plan, Scored, Surroundings
from cgan_jax.input_files import InputFile


class Drawing(NamedTuple):
    """A drawing that was read.

    Attributes:
      name: for tables.
      original: as its author made it, squared.
      sketch: as the methods get it; 255 is paper. Its 8 bits may bring other answers than
        those of `complete`, which does not round.
    """

    name: str
    original: sheets.Picture
    sketch: UInt8[np.ndarray, "s s"]


def read_drawings(
    files: Sequence[InputFile], means: Means, style: str, reading: Mapping[str, Any]
) -> tuple[list[Drawing], list[str]]:
    """The drawings, and the names of those that cannot be used: the log says why.

    Args:
      files: the pictures.
      means: with a model, or a conditional GAN: drawings are brought to what it has seen.
      style: the sketches that they stand for.
      reading: options of `drawings.Seen.prepare`.

    Raises:
      ValueError: there is no model, it has no such sketches, or an option no such choice.
    """
    model = means.model or means.conditional
    if model is None:
        raise ValueError("drawings are brought to what a model has seen: give one")
    seen = Seen.by(model.joint, model.config)
    options = {"style": part_of(model.joint, style), **reading}
    found, unusable = [], []
    for path, name in files:
        try:
            grey = reduce(read_drawing(path))
            sketch = seen.prepare(grey, **options).sketch
        except DrawingError as error:
            logging.error("%s", inputs.named(path, error))
            unusable.append(name)
            continue
        original = sheets.grey_picture(fit_square(grey))
        found.append(Drawing(name, original, images.to_uint8(sketch * 2 - 1)))
    return found, unusable


def compare(
    means: Means,
    drawings: Sequence[Drawing],
    pairs: Pairs,
    output: Path,
    plan: Plan,
    *,
    reading: Mapping[str, Any],
    unusable: Sequence[str] = (),
    features: Mapping[str, FeatureFn] | None = None,
) -> dict[str, Any]:
    """Answers the drawings by all methods, and scores what can be scored without a truth.

    `output` gets `freehand.json`, `freehand.md`, `examples.csv` (a row for each method and
    drawing), `freehand_sheet.png`, the first fifty drawings with all answers, and
    `freehand_generated.png`, what was generated alone. Completions and features are kept in
    `output/cache`: a run that was interrupted goes on where it stopped.

    Args:
      means: what the methods answer with.
      drawings: what is answered.
      pairs: a split whose photographs realism is compared with; drawings stand for its
        first style, and answers are drawn again in it.
      output: the folder to write.
      plan: what is scored; all drawings are, and photographs are asked for.
      reading: how they were read, for the report.
      unusable: names of further drawings, for the report.
      features: further ones for realism, by name.

    Returns:
      What `freehand.json` holds.

    Raises:
      ValueError: there is no drawing, a method needs what is missing, or the true
        photographs are asked for.
      FacesError: faces shall be described and dlib is missing.
    """
    began = time.monotonic()
    check_methods(plan.methods)
    if not drawings:
        raise ValueError("none of the drawings can be used")
    plan = dataclasses.replace(plan, num_examples=len(drawings))
    task = _task(drawings, pairs.styles[0])
    evaluation.check(means, plan, [task.style])
    around = evaluation.surroundings(
        pairs, np.zeros(0, int), task, plan, {}, features or {}
    )
    output.mkdir(parents=True, exist_ok=True)
    answer = evaluation.answerer(means, output, plan)
    found = {method: answer(method, task) for method in plan.methods}
    originals = [drawing.original for drawing in drawings]
    answer_sheets.write_drawings(output, task, originals, found)
    scoring_began = time.monotonic()
    scored = _score(task, found, around, output / "cache", plan.seed)
    now = time.monotonic()
    settings = evaluation.describe_settings(means, pairs, plan, [around])
    seconds = {method: answers.seconds for method, answers in found.items()}
    report = {
        "format_version": results.FORMAT_VERSION,
        "settings": settings | {"drawings": list(task.names), "reading": dict(reading)},
        "versions": evaluation.describe_versions(plan),
        "wall_time_seconds": {
            "total": now - began,
            "scoring": now - scoring_began,
            "answers": seconds,
        },
        "notes": _notes(scored, task.style, unusable),
        "tables": [evaluation.tabulate(task, scored, plan)],
    }
    rows = evaluation.example_rows(task, scored)
    evaluation.write(output / results.FREEHAND_FILE, report, list(rows))
    return report


def check_methods(methods: Sequence[str]) -> None:
    """Refuses the true photographs, with a ValueError: there are none."""
    if TRUE in methods:
        raise ValueError(
            "no photograph belongs to a drawing by hand: leave true out of --methods"
        )


def _task(drawings: Sequence[Drawing], style: str) -> Task:
    """Sketches without photographs, which are black here and asked for."""
    sketches = np.stack([drawing.sketch for drawing in drawings])
    unknown = np.zeros((*sketches.shape, 3), np.uint8)
    names = tuple(drawing.name for drawing in drawings)
    return Task(style, names, sketches, unknown)


def _score(
    task: Task,
    found: Mapping[str, Answers],
    around: Surroundings,
    cache: Path,
    seed: int,
) -> dict[str, Scored]:
    """Strokes that are kept, faces found, and realism, of each method's best answers."""
    references = evaluation.all_vectors(cache, around, around.references)
    scored = {}
    for method, answers in found.items():
        best = answers.pictures[:, 0]
        values = evaluation.sketch_scores(best, task)
        vectors = evaluation.all_vectors(cache, around, best)
        if FACES in vectors:
            values["face_found"] = evaluation.faces_found(vectors[FACES])
        distances = evaluation.set_distances(vectors, references, seed)
        scored[method] = Scored(values, distances)
    return scored


def _notes(
    scored: Mapping[str, Scored], style: str, unusable: Sequence[str]
) -> list[str]:
    """What is left out, and what to beware of."""
    told = "nothing here says which answer is right, or what can be reached"
    notes = [f"no photograph belongs to a drawing by hand: {told}"]
    if unusable:
        notes.append(f"{len(unusable)} could not be used: {', '.join(unusable)}")
    if style == GIVEN:
        notes.append(evaluation.NOT_DRAWN_AGAIN)
    if not any(of.distances for of in scored.values()):
        enough = f"{evaluation.MIN_SET} drawings and as many photographs"
        notes.append(f"realism is not scored: it takes {enough} of the split")
    return notes
