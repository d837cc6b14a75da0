"""Pairs of sketch and photograph, computed once and kept without loss."""

import collections
import dataclasses
import functools
import hashlib
import inspect
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8
from tqdm import tqdm

from cgan_jax.images import luma
from cgan_jax.sketches import area_resize, sketch_fn
from cgan_jax.sources import BrokenPictureError, Source, open_source

# Part of each cache's name: raise it whenever the same source would give other pixels.
_FORMAT = 1
_CHUNK = 64
# A photograph is first reduced to this many times the wanted size: finer detail costs
# time and is lost anyway, since the widths of the blurs grow with the picture.
_OVERSAMPLING = 4

_Names = tuple[str, ...]
_Pair = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Sketch-photo pairs, a random access source for grain.

    Attributes:
      sketches: uint8 (n, s, s), 255 is paper and 0 ink.
      photos: uint8 (n, s, s, 3), RGB.
      names: the n pictures' names in their source.
      manifest: what the pairs were made of, and how.
    """

    sketches: np.ndarray = dataclasses.field(repr=False)
    photos: np.ndarray = dataclasses.field(repr=False)
    names: tuple[str, ...] = dataclasses.field(repr=False)
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.sketches)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """`{'sketch': uint8 (s, s), 'photo': uint8 (s, s, 3)}`."""
        return {"sketch": np.array(self.sketches[i]), "photo": np.array(self.photos[i])}


def prepare_pairs(
    source_path: str | Path,
    cache_dir: str | Path,
    *,
    size: int = 64,
    style: str = "xdog",
    max_broken: float = 0.01,
) -> Pairs:
    """The pairs of a source: read from the cache, or computed on all cores and kept there.

    Each combination of pictures, size and style has a folder of its own in the cache.
    It appears when it is complete; a run that is killed leaves at most a hidden
    `.unfinished-*` folder, which may be deleted. Broken pictures are left out, logged
    and named in the manifest.

    Args:
      source_path: a folder or a ZIP archive of photographs.
      cache_dir: where to keep the pairs; created if need be.
      size: side s of sketches and photographs, in pixels.
      style: name of a sketch style, see `cgan_jax.sketches.sketch_fn`.
      max_broken: the part of the pictures that may be broken, 0 to 1.

    Returns:
      The pairs, mapped from the disk rather than read into memory.

    Raises:
      FileNotFoundError: there is no such source.
      ValueError: the source, size or style is not usable, too many pictures are
        broken, or somebody has changed the cache.
    """
    if size < 1:
        raise ValueError(f"size is {size}: pictures need at least one pixel")
    recipe = _style_recipe(style)
    source = open_source(source_path)
    wanted = {
        "format": _FORMAT,
        "size": size,
        **recipe,
        "source": _source_summary(source),
    }
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    folder = Path(cache_dir) / f"{style}_{size}_{digest[:16]}"
    if not folder.exists():
        _build(source, folder, wanted, max_broken)
    return _load(folder, wanted)


def _style_recipe(style: str) -> dict[str, Any]:
    """The style's name and the values of its parameters."""
    parameters = inspect.signature(sketch_fn(style)).parameters.values()
    constants = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {"style": style, "parameters": constants}


def _source_summary(source: Source) -> dict[str, Any]:
    """The same for the same pictures under the same names, in a folder or an archive."""
    digest = hashlib.sha256()
    for name in _names(source):
        digest.update(repr((name, source.checksum(name))).encode())
    return {"num_pictures": len(source.pictures), "fingerprint": digest.hexdigest()}


def _names(source: Source) -> _Names:
    return tuple(picture.name for picture in source.pictures)


def _build(
    source: Source, folder: Path, wanted: dict[str, Any], max_broken: float
) -> None:
    """Computes all pairs in a hidden folder beside, then moves it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".unfinished-", dir=folder.parent
    ) as beside:
        unfinished = Path(beside) / folder.name
        unfinished.mkdir()
        broken = _write_pairs(
            source, unfinished, wanted["size"], wanted["style"], max_broken
        )
        names = [name for name in _names(source) if name not in broken]
        manifest = wanted | {"num_pairs": len(names), "broken": broken}
        for file, content in (("names.json", names), ("manifest.json", manifest)):
            (unfinished / file).write_text(
                json.dumps(content, indent=1), encoding="utf-8"
            )
        try:
            os.replace(unfinished, folder)
        except OSError:
            if (
                not folder.exists()
            ):  # else another process was first, with the same pairs
                raise


def _write_pairs(
    source: Source, folder: Path, size: int, style: str, max_broken: float
) -> dict[str, str]:
    """Writes sketches.npy and photos.npy; returns what is wrong with which broken picture."""
    total = len(source.pictures)
    sketches = _create(folder / "sketches.npy", (total, size, size))
    photos = _create(folder / "photos.npy", (total, size, size, 3))
    broken: dict[str, str] = {}
    row = 0
    for name, pair in tqdm(
        _all_pairs(source, size, style), "sketches", total, disable=None
    ):
        if isinstance(pair, str):
            logging.warning("left out: %s", pair)
            broken[name] = pair
            _check_broken(source, broken, max_broken)
        else:
            sketches[row], photos[row] = pair
            row += 1
    _truncate(sketches, row)
    _truncate(photos, row)
    return broken


def _check_broken(source: Source, broken: dict[str, str], max_broken: float) -> None:
    total = len(source.pictures)
    if len(broken) > max_broken * total or len(broken) == total:
        raise ValueError(
            f"{len(broken)} of {total} pictures in {source.spec} are broken, more than the "
            f"allowed part of {max_broken:g}: repair or remove them, or raise max_broken. "
            f"The first: {next(iter(broken.values()))}"
        )


def _create(file: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)


def _truncate(array: np.memmap, rows: int) -> None:
    """Keeps the first rows of an array file; broken pictures left the others empty."""
    array.flush()
    if rows < len(array):
        file = Path(str(array.filename))
        shorter = file.with_suffix(".shorter.npy")
        np.save(shorter, array[:rows])
        os.replace(shorter, file)


def _all_pairs(
    source: Source, size: int, style: str
) -> Iterator[tuple[str, _Pair | str]]:
    """Each name, in order, with its pair, or with what is wrong with the picture."""
    names = _names(source)
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    workers = min(os.cpu_count() or 1, len(chunks))
    if workers > 1:
        work = functools.partial(_work_in_process, source.spec, size, style)
        results = _in_processes(work, chunks, workers)
    else:
        results = (_chunk_of_pairs(source, size, style, chunk) for chunk in chunks)
    for chunk, pairs in zip(chunks, results, strict=True):
        yield from zip(chunk, pairs, strict=True)


def _in_processes(
    work: Callable[[_Names], list[_Pair | str]], chunks: list[_Names], workers: int
) -> Iterator[list[_Pair | str]]:
    """The results in order, a few chunks ahead of the reader and no more."""
    # 'spawn', since a fork of a process with running JAX threads may hang.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        queue: collections.deque[futures.Future] = collections.deque()
        try:
            for chunk in chunks:
                queue.append(pool.submit(work, chunk))
                if len(queue) > 4 * workers:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _work_in_process(
    spec: str, size: int, style: str, names: _Names
) -> list[_Pair | str]:
    return _chunk_of_pairs(_reopen(spec), size, style, names)


@functools.lru_cache(maxsize=1)
def _reopen(spec: str) -> Source:
    """One open archive for each worker process: reading its directory takes long."""
    return open_source(spec)


def _chunk_of_pairs(
    source: Source, size: int, style: str, names: _Names
) -> list[_Pair | str]:
    return [_pair_or_reason(source, name, size, style) for name in names]


def _pair_or_reason(source: Source, name: str, size: int, style: str) -> _Pair | str:
    try:
        photo = source.read(name).photo
    except BrokenPictureError as error:
        return str(error)
    return pair_from_photo(photo, size, style)


def pair_from_photo(
    photo: UInt8[np.ndarray, "side side 3"], size: int, style: str
) -> tuple[UInt8[np.ndarray, "{size} {size}"], UInt8[np.ndarray, "{size} {size} 3"]]:
    """Sketch and photograph of one size, 0 to 255; 255 is paper and 0 ink.

    The sketch is drawn at the photograph's resolution and then reduced, both by
    area averages.
    """
    working = photo.astype(np.float32) / 255
    if len(photo) > _OVERSAMPLING * size:
        working = area_resize(working, _OVERSAMPLING * size)
    sketch = area_resize(sketch_fn(style)(luma(working)), size)
    return _to_uint8(sketch), _to_uint8(area_resize(working, size))


def _to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _load(folder: Path, wanted: dict[str, Any]) -> Pairs:
    """Maps a finished cache; raises ValueError if it is not what its name says."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        names = tuple(json.loads((folder / "names.json").read_text(encoding="utf-8")))
        sketches = np.load(folder / "sketches.npy", mmap_mode="r")
        photos = np.load(folder / "photos.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} is damaged ({error}): delete it and start again"
        ) from error
    expected = wanted | {"num_pairs": len(names), "broken": manifest.get("broken")}
    if manifest != expected or not len(names) == len(sketches) == len(photos):
        raise ValueError(
            f"{folder} does not match its manifest: delete it and start again"
        )
    return Pairs(sketches, photos, names, manifest)
