"""Sheets of answers: beside the pictures of the data, and what was generated alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from cgan_jax import answers as answering
from cgan_jax import attributes, results, sheets
from cgan_jax.answers import Answers, Task
from cgan_jax.joint import PHOTO

_ROWS = 3  # at most, of the best, of the median and of the worst answers
_FAILURES = 6  # answers, at most, that miss an attribute
_DRAWINGS_SIDE_BY_SIDE = 3


def write_examples(
    output: Path,
    task: Task,
    found: Mapping[str, Answers],
    quality: Float[np.ndarray, " n"],
) -> None:
    """The best, median and worst answers of the first method.

    `DIRECTION_STYLE_sheet.png` shows what was given and the answers of all methods,
    `DIRECTION_STYLE_generated.png` what was generated, a row for each part.

    Args:
      output: the folder.
      task: what was asked for.
      found: answers by method.
      quality: of the first method's answers; higher is better.
    """
    order = np.argsort(-quality, kind="stable").tolist()
    count = max(min(_ROWS, len(order) // 3), 1)
    middle = (len(order) - count) // 2
    parts = {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[-count:],
    }
    rows = []
    for part, which in parts.items():
        for i in which:
            caption = f"{part}\n{quality[i]:.3f}"
            rows.append(
                [
                    sheets.text_picture(caption, 2 * len(task.photos[i])),
                    sheets.enlarge(_given(task, i)),
                    *_cells(found, i),
                ]
            )
    captions = ["luma SSIM", task.given, *found]
    stem = results.stem(task.direction, task.style)
    sheets.save(sheets.captioned_grid(rows, captions), output / f"{stem}_sheet.png")
    path = output / f"{stem}{results.FIGURE_SUFFIX}"
    _write_generated(path, task, found, list(parts.values()))


def write_failures(
    output: Path,
    task: Task,
    method: str,
    answers: Answers,
    errors: Float[np.ndarray, "n a"],
) -> None:
    """For each attribute the answers that miss it most, alone and beside the truth."""
    pictures = answers.pictures[:, 0]
    alone, beside = [], []
    for name, missed in zip(attributes.NAMES, errors.T, strict=True):
        order = np.argsort(np.nan_to_num(-missed, nan=np.inf), kind="stable")
        worst = order[:_FAILURES]
        caption = sheets.text_picture(name, 2 * len(pictures[0]))
        both = [np.concatenate([task.truth[i], pictures[i]], axis=1) for i in worst]
        alone.append([caption, *(sheets.enlarge(pictures[i]) for i in worst)])
        beside.append([caption, *(sheets.enlarge(pair) for pair in both)])
    stem = results.stem(task.direction, task.style)
    sheets.save(sheets.grid(beside), output / f"{stem}_attributes_sheet.png")
    path = output / f"{stem}_attributes{results.FIGURE_SUFFIX}"
    path.unlink(missing_ok=True)  # of an earlier run
    if answering.generates(method):
        sheets.save(sheets.grid(alone), path)


def write_drawings(
    output: Path,
    task: Task,
    originals: Sequence[sheets.Picture],
    found: Mapping[str, Answers],
) -> None:
    """Drawings as they were drawn and given, and all answers to them; the first fifty.

    `freehand_sheet.png` shows all that, `freehand_generated.png` what was generated alone,
    three drawings in a row.
    """
    shown = range(min(len(task.names), results.FREEHAND_SHOWN))
    rows = [
        [
            sheets.at_height(originals[i], 2 * len(task.sketches[i])),
            sheets.enlarge(_given(task, i)),
            *_cells(found, i),
        ]
        for i in shown
    ]
    captions = ["drawing", "model's input", *found]
    sheets.save(sheets.captioned_grid(rows, captions), output / "freehand_sheet.png")
    side = _DRAWINGS_SIDE_BY_SIDE
    parts = [shown[i : i + side] for i in shown[::side]]
    _write_generated(output / results.FREEHAND_FIGURE, task, found, parts)


def _write_generated(
    path: Path,
    task: Task,
    found: Mapping[str, Answers],
    parts: Sequence[Sequence[int]],
) -> None:
    """A row for each part: of each example what every generator made of it."""
    drawn = {name: found[name] for name in found if answering.generates(name)}
    if not drawn:
        path.unlink(missing_ok=True)  # of an earlier run
        return
    rows = [[cell for i in part for cell in _cells(drawn, i)] for part in parts]
    labels = [answering.label(name, task.asked) for name in drawn]
    captions = labels * (len(rows[0]) // len(labels))
    sheets.save(sheets.captioned_grid(rows, captions), path)


def _given(task: Task, i: int) -> UInt8[np.ndarray, "s s 3"]:
    if task.given == PHOTO:
        return task.photos[i]
    return answering.in_colour(task.sketches[i])


def _cells(found: Mapping[str, Answers], i: int) -> list[sheets.Picture]:
    """The best answers to an example, beside their generated sketches where there are."""
    return [
        sheets.enlarge(x.pictures[i, 0] if x.joint is None else x.joint[i])
        for x in found.values()
    ]
