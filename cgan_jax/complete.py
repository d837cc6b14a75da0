"""Drawings in, photographs out, or the reverse: files around the projection."""

from __future__ import annotations

import dataclasses
import glob
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8

from cgan_jax import images, model_files, sheets
from cgan_jax.block_search import search_sketches, search_targets
from cgan_jax.decoding import is_picture
from cgan_jax.drawings import DrawingError
from cgan_jax.inputs import Known
from cgan_jax.model_files import Model
from cgan_jax.projection import Candidates, Search, count_passes

__all__ = [
    "search_sketches",
    "search_targets",
]

# Answers of `top_k` differ by this much: root mean square over the pixels that were not
# known, in [-1, 1].
LEAST_DIFFERENCE = 0.2


class Input(NamedTuple):
    """A file that was read.

    Attributes:
      name: folder of its results below the output.
      path: the file.
      known: what it tells.
    """

    name: str
    path: Path
    known: Known


def load_model(name_or_folder: str) -> Model:
    """A bundled model by name, a published one by folder, or a run's newest by workdir.

    Raises:
      ModelError: there is no such model, or it cannot be read.
    """
    folder = Path(name_or_folder)
    if (folder / "config.json").is_file() and (folder / "checkpoints").is_dir():
        from cgan_jax import publish  # needs orbax, which a published model does not

        return publish.load_workdir(folder)
    return model_files.load(name_or_folder)


def find_inputs(patterns: Sequence[str]) -> list[Path]:
    """Files of patterns such as `sketches/*.png`, of folders, or named one by one.

    Raises:
      FileNotFoundError: a pattern fits nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = [Path(pattern)] if Path(pattern).exists() else _glob(pattern)
        if len(paths) == 1 and paths[0].is_dir():
            files = sorted(paths[0].iterdir())
            paths = [p for p in files if is_picture(p)]
        if not paths:
            raise FileNotFoundError(f"--input={pattern} fits no picture")
        found.update(dict.fromkeys(paths))
    return list(found)


def _glob(pattern: str) -> list[Path]:
    return sorted(Path(p) for p in glob.glob(pattern, recursive=True))


def result_names(paths: Sequence[Path]) -> list[str]:
    """A folder name for each file: its stem, with more of its path where stems clash."""
    stems = [path.stem for path in paths]
    names: list[str] = []
    for path, stem in zip(paths, stems, strict=True):
        clash = stems.count(stem) > 1 or not stem.strip(".")  # `..` is no folder's name
        longer = "_".join(filter(None, [path.parent.name, path.name]))
        name = longer.replace(".", "_") if clash else stem
        while name in names:
            name += "_"
        names.append(name)
    return names


def complete(
    model: Model,
    paths: Sequence[Path],
    output: Path,
    read: Callable[[Path], Known],
    search: Search,
    *,
    mask: Float[np.ndarray, "h w"],
    seed: int,
    block_size: int,
    top_k: int = 1,
    save_z: bool = False,
) -> int:
    """Completes pictures; writes folders with answers and `report.json`, and a sheet.

    Each folder holds `joint.png`, G(z), and what was searched for: `photo.png` or
    `sketch.png`, or under a mask of its own `completed.png`, with what is known in its
    place. A picture that cannot be used is logged with the reason, the others complete.
    What is done is written at once.

    Args:
      model: the model.
      paths: the pictures.
      output: folder of the results.
      read: what a picture tells of its joint image; raises DrawingError.
      search: the loss and the budget.
      mask: 1 on the pixels of joint images that the pictures tell, 0 elsewhere.
      seed: of the starts.
      block_size: pictures that are searched for side by side. Results of other sizes
        differ by rounding, which many steps amplify.
      top_k: answers that are written, `joint_2.png` and so on; see `choose_different`.
      save_z: whether to write `z.npy`, the latents of all candidates, best first.

    Returns:
      The number of pictures that could not be used.

    Raises:
      ValueError: there are fewer candidates than answers.
    """
    if not 1 <= top_k <= search.num_candidates:
        raise ValueError(
            f"top_k is {top_k}: it must be at least 1 and at most num_candidates, "
            f"{search.num_candidates}"
        )
    inputs = list(_read(paths, read))
    output.mkdir(parents=True, exist_ok=True)
    if not inputs:
        return len(paths)
    targets = np.stack([given.known.target for given in inputs])
    found = search_targets(
        model, targets, mask, search, seed=seed, block_size=block_size
    )
    rows = []
    for given, candidates in zip(inputs, found, strict=True):
        chosen = choose_different(np.asarray(candidates.joint), mask, top_k)
        report = _report(given, candidates, model, search, seed)
        joint = images.to_uint8(np.asarray(candidates.joint))
        pictures = _answers(joint[chosen], given.known.target, mask)
        answers = dict(zip(pictures["joint"], map(int, chosen), strict=True))
        folder = output / given.name
        _write(folder, pictures, report | {"answers": answers})
        if save_z:
            np.save(folder / "z.npy", candidates.z)
        rows.append(
            sheets.completion_row(given.known.original, given.known.shown, joint)
        )
        logging.info("%s: loss %.4f", given.path, candidates.contextual[0])
    sheets.save(sheets.completion_sheet(rows), output / "contact_sheet.png")
    return len(paths) - len(inputs)


def _read(paths: Sequence[Path], read: Callable[[Path], Known]) -> Iterator[Input]:
    for path, name in zip(paths, result_names(paths), strict=True):
        try:
            yield Input(name, path, read(path))
        except DrawingError as error:
            reason = str(error)
            where = "" if str(path) in reason else f"{path}: "
            logging.error("%s%s", where, reason)


def choose_different(
    joint: Float[np.ndarray, "k h w 3"],
    mask: Float[np.ndarray, "h w"],
    count: int,
    least: float = LEAST_DIFFERENCE,
) -> list[int]:
    """Which candidates to give: the best, and then good ones that look otherwise.

    The first is the best. Next comes, each time, the best of those that differ from all
    chosen before by at least `least`, root mean square over the unknown pixels; where no
    such one is left, the one that differs most from its nearest chosen one.

    Args:
      joint: candidates in [-1, 1], best first.
      mask: 1 on the known pixels.
      count: how many; at most k.
      least: in [0, 2].

    Returns:
      Indices, best first.
    """
    unknown = joint[:, mask == 0].reshape(len(joint), -1)
    chosen = [0]
    while len(chosen) < count:
        differences = unknown[:, None] - unknown[chosen]
        nearest = np.sqrt(np.square(differences).mean(-1)).min(1)
        nearest[chosen] = -1.0
        different = np.flatnonzero(nearest >= least)
        chosen.append(int(different[0] if len(different) else nearest.argmax()))
    return sorted(chosen)


def _report(
    given: Input, found: Candidates, model: Model, search: Search, seed: int
) -> dict[str, Any]:
    return {
        "input": str(given.path),
        "model": model.name,
        "seed": seed,
        "search": dataclasses.asdict(search),
        "passes": count_passes(search)._asdict(),
        "candidates": [
            _losses(Candidates(*fields), search) for fields in zip(*found, strict=True)
        ],
    }


def _losses(candidate: Candidates, search: Search) -> dict[str, float]:
    """Every term of one candidate, and what says how far z is from where G was trained."""
    names = ("contextual", "sketch_loss", "photo_loss", "perceptual")
    terms = {name: float(getattr(candidate, name)) for name in names}
    total = terms["contextual"] + search.perceptual_weight * terms["perceptual"]
    spread = float(np.mean(np.square(candidate.z)))
    return terms | {"total": total, "mean_square_z": spread}


def _answers(
    joint: UInt8[np.ndarray, "k h w 3"],
    target: Float[np.ndarray, "h w 3"],
    mask: Float[np.ndarray, "h w"],
) -> dict[str, dict[str, sheets.Picture]]:
    """Pictures by what they are, and by the names of their files."""
    sketches, photos = images.split(joint)
    size = len(mask)
    if np.array_equal(mask, images.half_mask(size, "sketch")):
        what, pictures = "photo", photos
    elif np.array_equal(mask, images.half_mask(size, "photo")):
        what, pictures = "sketch", sketches
    else:
        what = "completed"
        pictures = np.where(mask[..., None] > 0, images.to_uint8(target), joint)
    ranks = ["", *(f"_{rank}" for rank in range(2, len(joint) + 1))]
    return {
        kind: {f"{kind}{rank}.png": x for rank, x in zip(ranks, some, strict=True)}
        for kind, some in (("joint", joint), (what, pictures))
    }


def _write(
    folder: Path,
    pictures: dict[str, dict[str, sheets.Picture]],
    report: dict[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in pictures.values():
        for name, picture in kind.items():
            sheets.save(picture, folder / name)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
