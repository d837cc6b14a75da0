"""Drawings in, photographs out, or the reverse: files around the search."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

import cgan_jax
from cgan_jax import (
    gallery,
    model_files,
    parallel,
    result_files,
    sheets,
)
from cgan_jax.baselines import conditional_files
from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.block_search import Found, search_stream, search_targets
from cgan_jax.drawings import DrawingError
from cgan_jax.input_files import InputFile
from cgan_jax.inputs import Known, Mask, named
from cgan_jax.joint import Joint
from cgan_jax.model_files import Model
from cgan_jax.projection import Search, count_passes
from cgan_jax.workdir import naming

__all__ = [
    "Request",
    "complete",
    "load_conditional",
    "load_model",
    "search_targets",
]

_FRAMES = 20  # of the way of a search, besides its start
_SCALE = 2  # of pictures for people


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What is asked for each picture.

    Attributes:
      read: what a picture tells of its joint image; raises DrawingError.
      reading: all that decides how it reads, as JSON values.
      search: the loss and the budget.
      seed: of the starts.
      block_size: pictures that are searched for side by side. Results of other sizes
        differ by rounding, which many steps amplify.
      top_k: answers that are written, `joint_2.png` and so on; see
        `result_files.choose_different`.
      save_z: whether to write `z.npy`, the latents of all candidates, best first; and
        `offsets.npz`, an array a layer, where there are offsets.
      trajectory: whether to write `search.webp`, the best joint image as the search
        goes on.

    Raises:
      ValueError: there are fewer candidates than answers.
    """

    read: Callable[[Path], Known]
    reading: Mapping[str, Any]
    search: Search
    seed: int = 0
    block_size: int = 1
    top_k: int = 1
    save_z: bool = False
    trajectory: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.search.num_candidates:
            raise ValueError(
                f"top_k is {self.top_k}: it must be at least 1 and at most "
                f"num_candidates, {self.search.num_candidates}: raise --num_candidates"
            )


class _Input(NamedTuple):
    """A picture that was read.

    Attributes:
      file: where it lies.
      settings: all that decides its results.
      known: what it tells; pictures for people are small.
    """

    file: InputFile
    settings: dict[str, Any]
    known: Known


def load_model(name_or_folder: str) -> Model:
    """A bundled model by name, a published one by folder, or a run's newest by workdir.

    Raises:
      ModelError: there is no such model, or it cannot be read.
    """
    folder = Path(name_or_folder)
    if _is_run(folder):
        from cgan_jax import publish  # needs orbax, which a published model does not

        return publish.load_workdir(folder)
    return model_files.load(name_or_folder)


def load_conditional(folder: str) -> ConditionalModel:
    """A published conditional GAN by folder, or a run's newest by workdir.

    Raises:
      ModelError: there is no such model, or it cannot be read.
    """
    if _is_run(Path(folder)):
        from cgan_jax import publish  # as above

        return publish.load_conditional(Path(folder))
    return conditional_files.load(folder)


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "checkpoints").is_dir()


def complete(
    model: Model,
    files: Sequence[InputFile],
    output: Path,
    request: Request,
    *,
    max_parallel: int | None = None,
) -> int:
    """Completes pictures; writes a folder of results for each, sheets and a gallery.

    Each folder holds `joint.png`, all parts of G's answer side by side, and what was
    searched for: `photo.png` or `sketch.png` (of several sketches `sketch_xdog.png` and so
    on), or under a mask of its own `completed.png`, with what is known in its place;
    `overview.png`, the row of the sheet, with all candidates; and `report.json`.
    It is there whole or not at all; those that are there already, by the same settings,
    stay. Any number of pictures takes the memory of a few blocks.

    A picture that cannot be used is logged with the reason, the others complete. Of many
    processes each takes every n-th picture; the first writes sheets and gallery.

    Args:
      model: the model.
      files: the pictures.
      output: folder of the results.
      request: what is asked for.
      max_parallel: blocks in flight; see `search_stream`. It changes no result.

    Returns:
      The number of this process's pictures that could not be used.

    Raises:
      OSError: results cannot be written; the message names the file. Those that are
        finished stay.
    """
    settings = _settings(model, request)
    with _writing():
        output.mkdir(parents=True, exist_ok=True)
    mine = files[parallel.host() :: parallel.num_hosts()]
    unusable: list[InputFile] = []
    read = functools.partial(
        _read, output=output, request=request, settings=settings, unusable=unusable
    )
    for mask, inputs in _by_mask(mine, read):
        stream = search_stream(
            model,
            ((given, given.known.target) for given in inputs),
            mask,
            request.search,
            seed=request.seed,
            block_size=request.block_size,
            max_parallel=max_parallel,
            num_frames=_FRAMES if request.trajectory else 0,
        )
        with _writing():
            _write_results(stream, output, request, model.joint)
    with _writing():
        _write_gallery(files, output, settings)
    return len(unusable)


def _by_mask(
    files: Sequence[InputFile], read: Callable[[Sequence[InputFile]], Iterator[_Input]]
) -> Iterator[tuple[Mask, Iterator[_Input]]]:
    """Masks, and the pictures of each: use these up before the next.

    A search has one mask. Pictures of another one than the first are read again.
    """
    while files:
        later: list[InputFile] = []
        inputs = read(files)
        if (first := next(inputs, None)) is not None:
            yield first.known.mask, _alike(first, inputs, later)
        files = later


def _alike(
    first: _Input, others: Iterator[_Input], later: list[InputFile]
) -> Iterator[_Input]:
    """The first and those with its mask; appends the files of the rest."""
    for given in itertools.chain([first], others):
        if np.array_equal(given.known.mask, first.known.mask):
            yield given
        else:
            later.append(given.file)


def _settings(model: Model, request: Request) -> dict[str, Any]:
    """What decides the results of a picture, but for the picture; as JSON gives it back."""
    kept = ("seed", "block_size", "reading", "top_k", "save_z", "trajectory")
    settings = {
        "model": model.name,
        "model_digest": model_files.digest(model),
        "version": cgan_jax.__version__,
        "search": dataclasses.asdict(request.search),
    }
    settings |= {name: getattr(request, name) for name in kept}
    return json.loads(json.dumps(settings))


def _of_picture(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise DrawingError(f"{path} is no ordinary file: name pictures")  # would block
    with naming(path), path.open("rb") as file:
        return settings | {
            "input_sha256": hashlib.file_digest(file, "sha256").hexdigest()
        }


def _read(
    files: Sequence[InputFile],
    output: Path,
    request: Request,
    settings: dict[str, Any],
    unusable: list[InputFile],
) -> Iterator[_Input]:
    """Pictures that are not finished, one by one; appends those that cannot be used."""
    for file in files:
        try:
            its_settings = _of_picture(settings, file.path)
            if result_files.is_finished(output / file.name, its_settings):
                continue
            result_files.check_free(output / file.name)
            known = request.read(file.path)
        except (DrawingError, OSError) as error:
            logging.error("%s", named(file.path, error))
            unusable.append(file)
            continue
        original = sheets.at_height(known.original, _SCALE * len(known.target))
        yield _Input(file, its_settings, known._replace(original=original))


def _write_results(
    stream: Iterator[tuple[_Input, Found]],
    output: Path,
    request: Request,
    joint: Joint,
) -> None:
    """Writes results as they come, and what they took to a file of their own."""
    timings = output / f"timings_{parallel.host()}.jsonl"
    began = time.monotonic()
    for given, found in stream:
        _write_result(given, found, output / given.file.name, request, joint)
        now = time.monotonic()
        line = {"name": given.file.name, "seconds": round(now - began, 3)}
        with naming(timings), timings.open("a") as file:
            file.write(json.dumps(line) + "\n")
        began = now


def _write_result(
    given: _Input, found: Found, folder: Path, request: Request, joint: Joint
) -> None:
    candidates, known = found.candidates, given.known
    planes = np.asarray(candidates.joint)
    chosen = result_files.choose_different(
        planes, joint.per_plane(known.mask), request.top_k
    )
    pictures = result_files.answer_pictures(
        planes[chosen], known.target, known.mask, joint, known.asked
    )
    report = {"input": str(given.file.path)} | given.settings
    report |= {} if known.style is None else {"style": known.style}
    report |= {
        "passes": count_passes(request.search)._asdict(),
        "steps": request.search.total_steps,
        "answers": dict(zip(pictures["joint"], map(int, chosen), strict=True)),
        "candidates": result_files.candidate_losses(candidates, request.search),
    }
    shown = joint.panels(planes, known.asked or None)
    row = sheets.completion_row(known.original, known.shown, shown, scale=_SCALE)
    overview = {result_files.OVERVIEW: sheets.completion_sheet([row])}
    writers = _writers([*pictures.values(), overview], found, request, joint)
    result_files.write(folder, writers, report)
    logging.info("%s: loss %.4f", given.file.path, candidates.contextual[0])


def _writers(
    pictures: Sequence[Mapping[str, sheets.Picture]],
    found: Found,
    request: Request,
    joint: Joint,
) -> result_files.Writers:
    """What writes each file, by its name, but for the report."""
    writers: dict[str, Callable[[Path], None]] = {
        name: functools.partial(sheets.save, picture)
        for kind in pictures
        for name, picture in kind.items()
    }
    if request.save_z:
        z, offsets = found.candidates.z, found.candidates.offsets
        writers["z.npy"] = functools.partial(np.save, arr=np.asarray(z))
        if offsets:
            save = functools.partial(_save_offsets, offsets=offsets)
            writers["offsets.npz"] = save
    if found.frames is not None:
        way = [sheets.enlarge(x, scale=_SCALE) for x in joint.panels(found.frames)]
        writers[result_files.TRAJECTORY] = functools.partial(sheets.save_animation, way)
    return writers


def _save_offsets(path: Path, offsets: Sequence[Any]) -> None:
    layers = {f"layer_{i}": np.asarray(x) for i, x in enumerate(offsets)}
    np.savez(path, allow_pickle=False, **layers)


def _write_gallery(
    files: Sequence[InputFile], output: Path, settings: dict[str, Any]
) -> None:
    """Sheets and gallery of all that is finished, once all processes are done."""
    parallel.wait_for_hosts("all pictures are completed")
    if parallel.is_first_host():
        done = [file.name for file in files if _is_done(file, output, settings)]
        gallery.write(output, done)
    parallel.wait_for_hosts("the gallery is written")


def _is_done(file: InputFile, output: Path, settings: dict[str, Any]) -> bool:
    try:
        settings = _of_picture(settings, file.path)
    except (DrawingError, OSError):  # said before
        return False
    return result_files.is_finished(output / file.name, settings)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Says that what is written need not be done again."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{error}: see to it and give the same command again, what is finished stays"
        ) from error
