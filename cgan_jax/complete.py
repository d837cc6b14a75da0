"""Drawings in, photographs out: files around the projection."""

from __future__ import annotations

import dataclasses
import functools
import glob
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Array, Float

from cgan_jax import images, model_files, runtime, sheets
from cgan_jax.drawings import DrawingError, fit_square, read_drawing
from cgan_jax.model_files import Model
from cgan_jax.projection import (
    Candidates,
    Search,
    Starts,
    compile_project,
    draw_starts,
    project,
)

_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"]
)


class Drawing(NamedTuple):
    """A drawing that was read.

    Attributes:
      name: folder of its results below the output.
      path: its file.
      original: as it was read, squared, for the contact sheet; in [0, 1].
      sketch: as the model sees it, in [0, 1].
    """

    name: str
    path: Path
    original: Float[np.ndarray, "side side"]
    sketch: Float[np.ndarray, "size size"]


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
            paths = [p for p in files if _is_picture(p)]
        if not paths:
            raise FileNotFoundError(f"--input={pattern} fits no picture")
        found.update(dict.fromkeys(paths))
    return list(found)


def _is_picture(path: Path) -> bool:
    # Hidden files: macOS leaves `._face.png`, which is none, beside `face.png`.
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


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
    prepare: Callable[[Float[np.ndarray, "h w"]], Float[np.ndarray, "s s"]],
    search: Search,
    *,
    seed: int,
    block_size: int,
) -> int:
    """Completes drawings; writes `NAME/{photo,joint}.png`, `NAME/report.json`, a sheet.

    A drawing that cannot be used is logged with the reason, the others complete. What is
    done is written at once.

    Args:
      model: the model.
      paths: files of drawings.
      output: folder of the results.
      prepare: turns a drawing in [0, 1] into the model's sketch, or raises DrawingError.
      search: the loss and the budget.
      seed: of the starts.
      block_size: drawings that are searched for side by side. Results of other sizes
        differ by rounding, which many steps amplify.

    Returns:
      The number of drawings that could not be used.
    """
    drawings = list(_read(paths, prepare))
    output.mkdir(parents=True, exist_ok=True)
    if not drawings:
        return len(paths)
    sketches = np.stack([drawing.sketch for drawing in drawings])
    found = search_sketches(model, sketches, search, seed=seed, block_size=block_size)
    rows = []
    for drawing, candidates in zip(drawings, found, strict=True):
        report = _report(drawing, candidates, model, search, seed)
        joint = images.to_uint8(np.asarray(candidates.joint))
        _write(output / drawing.name, joint[0], report)
        rows.append(sheets.completion_row(drawing.original, drawing.sketch, joint))
        logging.info("%s: KL %.4f", drawing.path, candidates.contextual[0])
    sheets.save(sheets.completion_sheet(rows), output / "contact_sheet.png")
    return len(paths) - len(drawings)


def _read(
    paths: Sequence[Path],
    prepare: Callable[[Float[np.ndarray, "h w"]], Float[np.ndarray, "s s"]],
) -> Iterator[Drawing]:
    for path, name in zip(paths, result_names(paths), strict=True):
        try:
            grey = read_drawing(path)
            yield Drawing(name, path, fit_square(grey), prepare(grey))
        except DrawingError as error:
            reason = str(error)
            where = "" if str(path) in reason else f"{path}: "
            logging.error("%s%s", where, reason)


def search_sketches(
    model: Model,
    sketches: Float[np.ndarray, "n s s"],
    search: Search,
    *,
    seed: int,
    block_size: int,
) -> Iterator[Candidates]:
    """Candidates of each sketch, on the host; blocks are searched as they are asked for.

    Args:
      model: the model.
      sketches: as the model sees them, in [0, 1].
      search: the loss and the budget.
      seed: of the starts, which serve all sketches.
      block_size: sketches side by side; the last block is filled up to this one compiled
        shape.
    """
    size = sketches.shape[1]
    mask = jnp.asarray(images.half_mask(size, "sketch"))
    starts = _starts_and_compilation(
        model, (block_size, size, 2 * size, 3), mask, search, seed
    )
    for first in range(0, len(sketches), block_size):
        block = sketches[first : first + block_size]
        filling = ((0, block_size - len(block)), (0, 0), (0, 0))
        target = jnp.asarray(images.target_from_sketch(np.pad(block, filling, "edge")))
        found = jax.device_get(
            project(
                model.variables,
                target,
                mask,
                starts,
                models=model.models,
                search=search,
            )
        )
        for i in range(len(block)):
            yield Candidates(*(x[i] for x in found))


def _starts_and_compilation(
    model: Model, shape: tuple[int, ...], mask: Array, search: Search, seed: int
) -> Starts:
    """Draws the starts while a thread compiles the search for targets of this shape."""
    models, variables = model.models, model.variables
    target = jax.ShapeDtypeStruct(shape, jnp.float32)
    compile_search = functools.partial(
        compile_project, variables, target, mask, models=models, search=search
    )
    with futures.ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(compile_search)
        starts = draw_starts(
            variables, jax.random.key(seed), models=models, search=search
        )
        compiled.result()
    runtime.release_freed_memory()
    return starts


def _report(
    drawing: Drawing, found: Candidates, model: Model, search: Search, seed: int
) -> dict[str, Any]:
    return {
        "input": str(drawing.path),
        "model": model.name,
        "seed": seed,
        "search": dataclasses.asdict(search),
        "candidates": [
            {"kl": float(kl), "perceptual": float(perceptual)}
            for kl, perceptual in zip(found.contextual, found.perceptual, strict=True)
        ],
    }


def _write(folder: Path, joint: np.ndarray, report: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sheets.save(joint, folder / "joint.png")
    sheets.save(images.split(joint)[1], folder / "photo.png")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
