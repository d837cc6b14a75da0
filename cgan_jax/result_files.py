"""What is written for a picture: a folder that is there whole, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cgan_jax import sheets
from cgan_jax.joint import Joint
from cgan_jax.projection import Candidates, Search
from cgan_jax.workdir import naming

REPORT = "report.json"
OVERVIEW = "overview.png"
TRAJECTORY = "search.webp"
# Answers of `top_k` differ by this much: root mean square over the pixels that were not
# known, in [-1, 1].
LEAST_DIFFERENCE = 0.2

Report = dict[str, Any]
Writers = Mapping[str, Callable[[Path], None]]  # of each file, by its name


def choose_different(
    planes: Float[np.ndarray, "k s s c"],
    known: Float[np.ndarray, "s s c"],
    count: int,
    least: float = LEAST_DIFFERENCE,
) -> list[int]:
    """Which candidates to give: the best, and then good ones that look otherwise.

    The first is the best. Next comes, each time, the best of those that differ from all
    chosen before by at least `least`, root mean square over the unknown pixels; where no
    such one is left, the one that differs most from its nearest chosen one.

    Args:
      planes: candidates in [-1, 1], best first.
      known: 1 on the known pixels.
      count: how many; at most k.
      least: in [0, 2].

    Returns:
      Indices, best first.
    """
    unknown = planes[:, known == 0]
    chosen = [0]
    while len(chosen) < count:
        differences = unknown[:, None] - unknown[chosen]
        nearest = np.sqrt(np.square(differences).mean(-1)).min(1)
        nearest[chosen] = -1.0
        different = np.flatnonzero(nearest >= least)
        chosen.append(int(different[0] if len(different) else nearest.argmax()))
    return sorted(chosen)


def answer_pictures(
    planes: Float[np.ndarray, "k s s c"],
    target: Float[np.ndarray, "s s c"],
    mask: Float[np.ndarray, "s s p"],
    joint: Joint,
    asked: Sequence[str],
) -> dict[str, dict[str, sheets.Picture]]:
    """Pictures by what they are, and by the names of their files, best first.

    Args:
      planes: the chosen answers in [-1, 1].
      target: what is known, in [-1, 1].
      mask: 1 on its pixels.
      joint: what joint images hold.
      asked: the parts that are wanted; if none, all, with what is known in its place.
    """
    pictures = {"joint": joint.panels(planes)}
    if asked:
        pictures |= {_file_stem(joint, x): joint.panel(planes, x) for x in asked}
    else:
        filled = np.where(joint.per_plane(mask) > 0, target, planes)
        pictures["completed"] = joint.panels(filled)
    ranks = ["", *(f"_{rank}" for rank in range(2, len(planes) + 1))]
    return {
        kind: {f"{kind}{rank}.png": x for rank, x in zip(ranks, some, strict=True)}
        for kind, some in pictures.items()
    }


def _file_stem(joint: Joint, part: str) -> str:
    """Of the pictures of a part: sketches are told apart where there are several."""
    if joint.kind(part) == "photo":
        return "photo"
    return "sketch" if len(joint.sketches) == 1 else f"sketch_{part}"


def candidate_losses(found: Candidates, search: Search) -> list[dict[str, Any]]:
    """Of each candidate: its losses, and how far it is from where G was trained.

    Distances of the known parts are `terms`, by their names.
    """
    total = found.contextual + search.perceptual_weight * found.perceptual
    losses = {
        "contextual": found.contextual,
        "perceptual": found.perceptual,
        "total": total,
        "mean_square_z": np.square(found.z).mean(-1),
        "closeness": found.closeness,
        "offset_size": found.offset_size,
    }
    return [
        {"terms": {name: float(x[i]) for name, x in found.terms.items()}}
        | {name: float(x[i]) for name, x in losses.items()}
        for i in range(len(found.z))
    ]


def read_report(folder: Path) -> Report | None:
    """The report of a folder that `write` wrote, or None."""
    try:
        report = json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and "files" in report else None


def is_finished(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a folder holds all results, and its report these settings (JSON values)."""
    report = read_report(folder)
    return (
        report is not None
        and all(report.get(name) == value for name, value in settings.items())
        and all((folder / name).is_file() for name in report["files"])
    )


def check_free(folder: Path) -> None:
    """Results may only take the place of results.

    Raises:
      FileExistsError: there is something else.
    """
    report = read_report(folder)
    ours = {REPORT, *report["files"]} if report else set()
    others = {x.name for x in folder.iterdir()} - ours if folder.is_dir() else set()
    if others or (folder.exists() and not folder.is_dir()):
        raise FileExistsError(
            f"{folder} is in the way of the results: it is not, or not only, what this "
            "command wrote; move it away, or choose another --output"
        )


def write(folder: Path, writers: Writers, report: Report) -> None:
    """Writes a folder under another name and renames it when it is whole.

    Earlier results in its place go; see `check_free`.

    Args:
      folder: of the results.
      writers: of each file, by its name: they take its path.
      report: what else is to be known; gets the names of the files.

    Raises:
      OSError: it cannot be written; the error names the file.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with naming(temporary):
        temporary.mkdir(parents=True)
    for name, write_file in writers.items():
        with naming(temporary / name):
            write_file(temporary / name)
    with naming(temporary / REPORT):
        text = json.dumps(report | {"files": sorted(writers)}, indent=2)
        (temporary / REPORT).write_text(text + "\n")
    _remove_results(folder)
    temporary.rename(folder)


def _remove_results(folder: Path) -> None:
    """The report goes last: until then it is known whose files these are."""
    report = read_report(folder)
    for name in [*report["files"], REPORT] if report else []:
        (folder / Path(name).name).unlink(missing_ok=True)
