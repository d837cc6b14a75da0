"""Answers to sketches that are wrong by more and more: scores against the strength.

Whether a sketch is a weak constraint, as the paper claims, or a hard one: if it is weak,
answers to a bad sketch stay pictures of the data's kind while they lose likeness; if it is
hard, they take over its faults. The same examples are answered at each strength.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import UInt8
from matplotlib.figure import Figure

from cgan_jax import answers as answering
from cgan_jax import evaluation, plots, results, sheets, sketch_errors
from cgan_jax.answers import Answers, Means, Task
from cgan_jax.dataset import Pairs
from cgan_jax.evaluation import FeatureFn, Plan, Scored, Surroundings
from cgan_jax.joint import PHOTO
from cgan_jax.results import UNDISTORTED

# Of `results.SCORES`: likeness, realism, and whether the given strokes are kept.
SHOWN = (
    "ssim_luma",
    "face_distance",
    "verified",
    "face_found",
    results.KERNEL,
    "sketch_f",
)
_SHEET_COLUMNS = 8  # examples, at most

Strengths = Mapping[str, Sequence[float]]  # ascending, by kind of `sketch_errors.KINDS`


class Point(NamedTuple):
    """One distortion of all sketches.

    Attributes:
      kind: of `sketch_errors.KINDS`, or `UNDISTORTED`.
      strength: as there; 0 of what is not distorted.
    """

    kind: str
    strength: float


_START = Point(UNDISTORTED, 0.0)


def points(strengths: Strengths) -> list[Point]:
    """All distortions, first none.

    Raises:
      ValueError: there are none, or strengths of a kind do not ascend from above 0.
    """
    for kind, values in strengths.items():
        if any(b <= a for a, b in zip((0.0, *values), values, strict=False)):
            told = ",".join(f"{value:g}" for value in values)
            raise ValueError(
                f"--{kind}={told} must ascend, and begin above 0: the sketch as it is "
                "belongs to each kind anyway"
            )
    found = [Point(kind, x) for kind, values in strengths.items() for x in values]
    if not found:
        raise ValueError(f"give one of {', '.join(f'--{k}' for k in strengths)}")
    return [_START, *found]


def distorted(task: Task, point: Point, seed: int) -> Task:
    """The task with other sketches; the photographs are asked for as they were."""
    if point == _START:
        return task
    sketches = sketch_errors.distort(task.sketches, *point, seed=seed)
    return task._replace(sketches=sketches)


def measure(
    means: Means,
    pairs: Pairs,
    output: Path,
    plan: Plan,
    strengths: Strengths,
    *,
    features: Mapping[str, FeatureFn] | None = None,
) -> dict[str, Any]:
    """Scores all methods on sketches of the pairs' first style at each strength.

    `output` gets `distortion.json`, `distortion.csv`, `distortion.md`,
    `distortion_curves.png`, `realism_likeness.png`, for each method that generates a sheet
    without pictures of the data, `distortion_METHOD_generated.png`, and
    `sketches_sheet.png`, what was given.
    Completions and features are kept in `output/cache`: a run that was interrupted goes
    on where it stopped.

    Args:
      means: what the methods answer with.
      pairs: the split to draw the examples from.
      output: the folder to write.
      plan: what is scored; photographs are asked for, and methods compared with
        themselves.
      strengths: of the distortions.
      features: further ones for realism, by name.

    Returns:
      What `distortion.json` holds.

    Raises:
      ValueError: as of `evaluation.evaluate`, of `points` and of `sketch_errors.distort`.
      FacesError: faces shall be described and dlib is missing.
    """
    began = time.monotonic()
    evaluation.check(means, plan, pairs.styles[:1])
    chosen = evaluation.choose_examples(len(pairs), plan.num_examples, plan.seed)
    task = answering.read_task(pairs, chosen, pairs.styles[0])
    tasks = {point: distorted(task, point, plan.seed) for point in points(strengths)}
    around = evaluation.surroundings(pairs, chosen, task, plan, {}, features or {})
    output.mkdir(parents=True, exist_ok=True)
    answer = evaluation.answerer(means, output, plan)
    found: dict[Point, dict[str, Answers]] = {}
    for point, given in tasks.items():
        logging.info("%s %g: answers", *point)
        found[point] = {method: answer(method, given) for method in plan.methods}
    _write_sheets(output, tasks, found)
    scoring_began = time.monotonic()
    scored = {
        point: _score(tasks[point], answers, around, output / "cache", plan.seed)
        for point, answers in found.items()
    }
    rows = list(_rows(scored, plan.seed))
    now = time.monotonic()
    settings = evaluation.describe_settings(means, pairs, plan, [around])
    report = {
        "format_version": results.FORMAT_VERSION,
        "settings": settings | {"style": task.style} | _describe(strengths),
        "versions": evaluation.describe_versions(plan),
        "wall_time_seconds": {
            "total": now - began,
            "scoring": now - scoring_began,
            "answers": _seconds(found),
        },
        "notes": _notes(rows),
        "rows": rows,
    }
    lines = list(_csv_lines(rows))
    evaluation.write(output / results.DISTORTION_FILE, report, lines, "distortion.csv")
    draw(report).savefig(output / results.CURVES_FILE, dpi=100)
    evaluation.write_realism(output, realism_paths(report))
    return report


def _score(
    task: Task,
    answers: Mapping[str, Answers],
    around: Surroundings,
    cache: Path,
    seed: int,
) -> dict[str, Scored]:
    """Those scores of all methods that are `SHOWN`."""
    pictures = {method: found.pictures for method, found in answers.items()}
    every = evaluation.score_answers(task, pictures, around, cache=cache, seed=seed)
    return {
        method: Scored(_shown(found.values), _shown(found.distances))
        for method, found in every.items()
    }


def _shown(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in scores.items() if name.partition("/")[0] in SHOWN}


def _rows(
    scored: Mapping[Point, Mapping[str, Scored]], seed: int
) -> Iterator[dict[str, Any]]:
    """One for each distortion and method: scores, and differences to no distortion."""
    for point, methods in scored.items():
        for method, found in methods.items():
            start = scored[_START][method]
            yield {
                "kind": point.kind,
                "strength": point.strength,
                "method": method,
                "label": answering.label(method, PHOTO),
                "scores": evaluation.estimates(found, seed),
                "differences": {}
                if point == _START
                else evaluation.differences(found, start, seed),
            }


def _describe(strengths: Strengths) -> dict[str, Any]:
    asked = {kind: list(values) for kind, values in strengths.items() if values}
    meanings = {kind: sketch_errors.KINDS[kind].meaning for kind in asked}
    return {"kinds": meanings, "strengths": asked}


def _seconds(found: Mapping[Point, Mapping[str, Answers]]) -> dict[str, float]:
    methods = found[_START]
    return {
        method: sum(answers[method].seconds for answers in found.values())
        for method in methods
    }


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is left out, and what to beware of."""
    kinds = {name.partition("/")[0] for row in rows for name in row["scores"]}
    notes = []
    if results.KERNEL not in kinds:
        enough = f"{evaluation.MIN_SET} examples and as many other pictures"
        notes.append(f"realism is not scored: it takes {enough} of the split")
    if "sketch_f" in kinds:
        notes.append(
            "the F-score is against the sketch that was given, distorted; how it changes "
            "by itself shows in methods that no sketch decides, such as random photographs"
        )
    return notes


def _csv_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One for each score of each row: its estimate, then that of the difference."""
    for row in rows:
        for name, estimate in row["scores"].items():
            change = row["differences"].get(name) or dict.fromkeys(estimate, "")
            paired = {f"difference_{end}": change[end] for end in results.ENDS}
            where = {key: row[key] for key in ("kind", "strength", "method")}
            yield where | {"score": name} | dict(estimate) | paired


def draw(report: Mapping[str, Any]) -> Figure:
    """The curves of what `measure` returned: rows of scores, columns of distortions."""
    settings, rows = report["settings"], report["rows"]
    panels: dict[str, dict[str, dict[str, plots.Band]]] = {}
    for name in results.score_names(report):
        for kind, meaning in settings["kinds"].items():
            of_kind = [row for row in rows if row["kind"] in (UNDISTORTED, kind)]
            bands = {
                label: _band([row for row in of_kind if row["label"] == label], name)
                for label in dict.fromkeys(row["label"] for row in rows)
            }
            panels.setdefault(results.axis_label(name), {})[f"{kind}: {meaning}"] = (
                bands
            )
    return plots.draw_bands(panels)


def _band(rows: Sequence[Mapping[str, Any]], name: str) -> plots.Band:
    """One score of one method, in the units of the tables."""
    x = np.array([row["strength"] for row in rows], np.float64)
    return plots.Band(x, *results.to_arrays([row["scores"] for row in rows], name))


def realism_paths(report: Mapping[str, Any]) -> evaluation.Paths:
    """Of each kind of distortion the scores of each method, from none to the strongest."""
    rows = report["rows"]
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for kind, meaning in report["settings"]["kinds"].items():
        paths = found.setdefault(f"{kind}: {meaning}", {})
        for row in rows:
            if row["kind"] in (UNDISTORTED, kind):
                paths.setdefault(row["label"], []).append(row["scores"])
    return found


def _write_sheets(
    output: Path,
    tasks: Mapping[Point, Task],
    found: Mapping[Point, Mapping[str, Answers]],
) -> None:
    """A row for each distortion: what was given, and what each method generated of it."""
    given = {point: answering.in_colour(task.sketches) for point, task in tasks.items()}
    sheets.save(_sheet(given), output / "sketches_sheet.png")
    for method in filter(answering.generates, found[_START]):
        best = {point: of[method].pictures[:, 0] for point, of in found.items()}
        sheets.save(_sheet(best), output / results.generated_file(method))


def _sheet(pictures: Mapping[Point, UInt8[np.ndarray, "n s s 3"]]) -> sheets.Picture:
    rows = []
    for point, row in pictures.items():
        caption = f"{point.kind}\n{point.strength:g}"
        shown = [sheets.enlarge(picture) for picture in row[:_SHEET_COLUMNS]]
        rows.append([sheets.text_picture(caption, len(shown[0])), *shown])
    return sheets.grid(rows)
