"""Sketch-photo pairs: a tfds data set, prepared once and read in any order.

Neither half needs TensorFlow. tensorflow_datasets takes half a second to import and is
imported where it is used.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float, UInt8
from PIL import Image

from cgan_jax.images import luma
from cgan_jax.progress import tracked
from cgan_jax.simplify import style_fn, style_parameters
from cgan_jax.sketches import area_resize
from cgan_jax.sources import SPLITS, BrokenPictureError, Example, Source, open_source

GIVEN = "given"  # the style of ready pairs, which bring their own sketches
_NAME = "sketch_photo_pairs"
_MANIFEST, _INFO = "manifest.json", "dataset_info.json"
# Raise it whenever the same source would give other pixels or other records.
_FORMAT = 3
_CHUNK = 64
# A photograph is first brought between these multiples of the wanted size. Finer detail
# costs time and is lost anyway, since the widths of the blurs grow with the picture. On a
# coarser one the blurs are narrower than a pixel: sketches of faces of 72 pixels differed
# from those of 128 by 0.018 on average (XDoG, at 64), enlarged first by 0.004.
_LEAST_OVERSAMPLING, _OVERSAMPLING = 2, 4

_Names = tuple[str, ...]


class _Pngs(NamedTuple):
    photo: bytes
    sketches: dict[str, bytes]


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of one split, decoded when asked for: a random access source for grain.

    Attributes:
      folder: the prepared data set.
      split: `train`, `validation` or `test`.
      styles: the sketch styles that are read, in this order.
      manifest: what the data set was made of, and how.
    """

    folder: Path
    split: str
    styles: _Names
    manifest: dict[str, Any] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return self.manifest["counts"][self.split]

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """`{'sketches': uint8 (styles, s, s), 'photo': uint8 (s, s, 3)}`; 255 is paper.

        Raises:
          IndexError: i is not from 0 to the number of pairs, less one.
          ValueError: the record is damaged.
        """
        record = self._record(i)
        sketches = [_from_png(record["sketches"][style]) for style in self.styles]
        return {"sketches": np.stack(sketches), "photo": _from_png(record["photo"])}

    @functools.cached_property
    def names(self) -> _Names:
        """The pictures' names in their source, in order; reads all records."""
        return tuple(self._record(i)["name"].decode() for i in range(len(self)))

    @functools.cached_property
    def identities(self) -> _Names:
        """Who or what each picture shows, "" where unknown; reads all records."""
        return tuple(self._record(i)["identity"].decode() for i in range(len(self)))

    def _record(self, i: int) -> dict[str, Any]:
        if not 0 <= i < len(self):
            raise IndexError(f"no pair {i}: there are {len(self)}")
        try:
            return self._records[i]
        except RuntimeError as error:  # of array_record, which keeps hashes
            raise ValueError(
                f"{self.folder} is damaged ({error}): delete it and prepare it again"
            ) from error

    @functools.cached_property
    def _records(self) -> Any:  # a sequence: looking into it would read
        import tensorflow_datasets as tfds

        # Decoding by tfds would decode every style, and warn that there is no OpenCV.
        encoded = tfds.decode.SkipDecoding()
        sketches = dict.fromkeys(self.manifest["styles"], encoded)
        return tfds.builder_from_directory(self.folder).as_data_source(
            self.split, decoders={"photo": encoded, "sketches": sketches}
        )


def open_pairs(
    folder: str | Path, split: str, styles: Sequence[str] | None = None
) -> Pairs:
    """The pairs of one split of a prepared data set.

    Args:
      folder: what `prepare_pairs` wrote.
      split: `train`, `validation` or `test`.
      styles: the sketch styles to read; all, by name, if not given.

    Raises:
      FileNotFoundError: the folder holds no prepared data set.
      ValueError: it has no such split or style, is damaged, or of another format.
    """
    manifest = read_manifest(folder)
    if split not in manifest["counts"]:
        raise ValueError(
            f"{folder} has no {split} pictures: it holds {manifest['counts']}"
        )
    wanted = tuple(manifest["styles"] if styles is None else styles)
    if not wanted or not set(wanted) <= set(manifest["styles"]):
        raise ValueError(
            f"{folder} was prepared in the styles {', '.join(manifest['styles'])}, not in "
            f"{', '.join(wanted) or 'none'}: choose among them, or prepare it again"
        )
    pairs = Pairs(Path(folder), split, wanted, manifest)
    pairs[0]  # damage at the file's ends shows now
    return pairs


def prepare_pairs(
    spec: str,
    output: str | Path,
    *,
    size: int = 64,
    styles: Sequence[str] = ("xdog",),
    frame: str = "wide",
    max_broken: float = 0.01,
) -> bool:
    """Computes the pairs of a source on all cores and writes them as a tfds data set.

    `output` appears when it is complete and is what `tfds.builder_from_directory` reads;
    a run that is killed leaves at most a hidden `.unfinished-*` folder beside it, which
    may be deleted. The same pictures give the same bytes. Broken pictures are left out,
    logged and named in the manifest.

    Args:
      spec: the source of the pictures, see `cgan_jax.sources.open_source`.
      output: the folder to write; its parents are created if need be.
      size: side s of sketches and photographs, in pixels.
      styles: names of sketch styles, see `cgan_jax.simplify.style_fn`; `given` for
        ready pairs.
      frame: how the source cuts its pictures, see `open_source`.
      max_broken: the part of the pictures that may be broken, 0 to 1.

    Returns:
      Whether it was written; not if `output` held these very pairs already.

    Raises:
      FileNotFoundError: there is no such source.
      ValueError: the source, size or style is not usable, too many pictures are
        broken, or `output` holds something else.
    """
    source = open_source(spec, frame=frame)
    recipe = _recipe(source, styles, size)
    output = Path(output)
    if output.exists():
        _check_same(output, recipe)
        return False
    _build(source, output, recipe, frame, max_broken)
    return True


def find_or_prepare(
    spec: str,
    cache_dir: str | Path,
    *,
    size: int,
    styles: Sequence[str],
    frame: str = "wide",
    max_broken: float = 0.01,
) -> Path:
    """The prepared data set of a source, made in the cache if nobody made it before.

    Args:
      spec: a prepared data set, which is returned, or a source as for `prepare_pairs`.
      cache_dir: holds a folder for each combination of pictures, size and styles.
      size: side of sketches and photographs, in pixels.
      styles: names of sketch styles.
      frame: how the source cuts its pictures; a prepared data set has been cut.
      max_broken: the part of the pictures that may be broken, 0 to 1.

    Raises:
      FileNotFoundError: there is no such source.
      ValueError: as of `prepare_pairs`, or the prepared data set is of another size.
    """
    folder = Path(spec)
    if (folder / _MANIFEST).is_file() and (folder / _INFO).is_file():
        prepared = read_manifest(folder)["size"]
        if prepared != size:
            raise ValueError(
                f"{spec} holds pictures of {prepared} pixels, but {size} are wanted: "
                f"prepare it again with --size={size}"
            )
        return folder
    source = open_source(spec, frame=frame)
    recipe = _recipe(source, styles, size)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    folder = Path(cache_dir) / f"{'-'.join(recipe['styles'])}_{size}_{digest[:16]}"
    if folder.exists():
        _check_same(folder, recipe)
    else:
        _build(source, folder, recipe, frame, max_broken)
    return folder


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What a prepared data set was made of, how, and the counts of its splits.

    Raises:
      FileNotFoundError: the folder holds no prepared data set.
      ValueError: it is damaged, or of another format.
    """
    try:
        manifest = json.loads((Path(folder) / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} holds no prepared data set: make one with cgan-prepare"
        ) from error
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{folder} is damaged ({error}): delete it and prepare it again"
        ) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != _FORMAT:
        raise ValueError(
            f"{folder} was prepared in format {found}, this package reads {_FORMAT}: "
            "prepare it again"
        )
    return manifest


def _recipe(source: Source, styles: Sequence[str], size: int) -> dict[str, Any]:
    """What decides every byte of the records, as JSON."""
    if size < 1:
        raise ValueError(f"size is {size}: pictures need at least one pixel")
    if not styles:
        raise ValueError("no sketch style is given: name at least one")
    if source.has_sketches and list(styles) != [GIVEN]:
        raise ValueError(
            f"{source.spec} holds ready pairs, not photographs: their one style is "
            f"{GIVEN!r}, not {','.join(styles)!r}"
        )
    drawn = () if source.has_sketches else sorted(set(styles))
    constants = {style: style_parameters(style) for style in drawn} or {GIVEN: {}}
    recipe = {
        "format": _FORMAT,
        "size": size,
        "styles": constants,
        "source": _source_summary(source),
    }
    return json.loads(json.dumps(recipe))


def _source_summary(source: Source) -> dict[str, Any]:
    """The same for the same pictures under the same names, in a folder or an archive."""
    digest = hashlib.sha256()
    for picture in source.pictures:
        digest.update(repr((*picture, source.checksum(picture.name))).encode())
    return {
        "num_pictures": len(source.pictures),
        "fingerprint": digest.hexdigest(),
        "settings": source.settings,
    }


def _check_same(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Raises ValueError unless the folder is the finished data set of this recipe."""
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder} exists and is no prepared data set: choose another folder"
        ) from error
    others = sorted(key for key in recipe if manifest.get(key) != recipe[key])
    if others:
        raise ValueError(
            f"{folder} exists and differs in {', '.join(others)} (see its {_MANIFEST}): "
            "choose another folder, or delete it"
        )
    for split in manifest["counts"]:
        open_pairs(folder, split)


def _build(
    source: Source, folder: Path, recipe: dict[str, Any], frame: str, max_broken: float
) -> None:
    """Writes all in a hidden folder beside, then moves it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".unfinished-", dir=folder.parent
    ) as beside:
        unfinished = Path(beside) / folder.name
        unfinished.mkdir()
        written = _write_pairs(source, unfinished, recipe, frame, max_broken)
        (unfinished / _MANIFEST).write_text(
            json.dumps(recipe | written, indent=1), encoding="utf-8"
        )
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not folder.exists():
                raise
            _check_same(folder, recipe)  # another process was first


def _write_pairs(
    source: Source, folder: Path, recipe: dict[str, Any], frame: str, max_broken: float
) -> dict[str, Any]:
    """Writes the records; returns how many, and what is wrong with which picture."""
    total = len(source.pictures)
    broken: dict[str, str] = {}
    pairs = _all_pairs(source, frame, recipe["size"], tuple(recipe["styles"]))
    progress = tracked(pairs, "pictures", total)
    with _Records(folder, recipe["size"], tuple(recipe["styles"])) as records:
        for picture, pngs in zip(source.pictures, progress, strict=True):
            if isinstance(pngs, str):
                logging.warning("left out: %s", pngs)
                broken[picture.name] = pngs
                _check_broken(source, broken, max_broken)
            else:
                named = {"name": picture.name, "identity": picture.identity}
                records.write(picture.split, named | pngs._asdict())
        records.write_metadata()
    if broken:
        logging.warning("%d of %d pictures were left out", len(broken), total)
    return {"counts": records.counts, "broken": broken}


def _check_broken(source: Source, broken: Mapping[str, str], max_broken: float) -> None:
    total = len(source.pictures)
    if len(broken) > max_broken * total or len(broken) == total:
        raise ValueError(
            f"{len(broken)} of {total} pictures in {source.spec} are broken, more than the "
            f"allowed part of {max_broken:g}: repair or remove them, or raise max_broken. "
            f"The first: {next(iter(broken.values()))}"
        )


class _Records(contextlib.AbstractContextManager):
    """The record files of a data set, one for each split, and their description.

    Attributes:
      counts: the number of records of each split that has any.
    """

    def __init__(self, folder: Path, size: int, styles: _Names) -> None:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.example_serializer import ExampleSerializer

        self._folder = folder
        self._features = _features(size, styles)
        self._serializer = ExampleSerializer(self._features.get_serialized_info())
        self._template = tfds.core.ShardedFileTemplate(
            folder, dataset_name=_NAME, filetype_suffix="array_record"
        )
        self._files: dict[str, Any] = {}
        self._num_bytes: collections.Counter[str] = collections.Counter()
        self.counts: dict[str, int] = {}

    def write(self, split: str, example: dict[str, Any]) -> None:
        if split not in self._files:
            self._files[split] = self._create(split)
            self.counts[split] = 0
        message = self._serializer.get_tf_example(
            self._features.encode_example(example)
        )
        # protobuf orders the entries of a map by an address, unless told otherwise.
        record = message.SerializeToString(deterministic=True)
        self._files[split].write(record)
        self.counts[split] += 1
        self._num_bytes[split] += len(record)

    def write_metadata(self) -> None:
        """Closes the files and writes what tfds wants to know of them."""
        import tensorflow_datasets as tfds

        self._close()
        self.counts = {
            name: self.counts[name] for name in SPLITS if name in self.counts
        }
        tfds.folder_dataset.write_metadata(
            data_dir=self._folder,
            features=self._features,
            split_infos=[
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[count],
                    num_bytes=self._num_bytes[split],
                    filename_template=self._template.replace(split=split),
                )
                for split, count in self.counts.items()
            ],
            version=f"{_FORMAT}.0.0",
            filename_template=self._template,
            check_data=False,  # it would read by TensorFlow
            disable_shuffling=True,
            description=f"Pairs of sketch and photograph; {_MANIFEST} says how they were made.",
        )

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _create(self, split: str) -> Any:
        from array_record.python.array_record_module import ArrayRecordWriter

        template = self._template.replace(split=split)
        path = template.sharded_filepath(shard_index=0, num_shards=1)
        # One record a group, for random access; PNGs are compressed already.
        return ArrayRecordWriter(str(path), "group_size:1,uncompressed")

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


def _features(size: int, styles: _Names) -> Any:
    """What a record holds, as tfds describes it."""
    from tensorflow_datasets import features

    def image(channels: int) -> Any:
        shape = (size, size, channels)
        return features.Image(shape=shape, encoding_format="png")

    return features.FeaturesDict(
        {
            "name": features.Text(),
            "identity": features.Text(),
            "photo": image(3),
            "sketches": {style: image(1) for style in styles},
        }
    )


def _all_pairs(
    source: Source, frame: str, size: int, styles: _Names
) -> Iterator[_Pngs | str]:
    """The pair of each picture, in order, or what is wrong with the picture."""
    names = tuple(picture.name for picture in source.pictures)
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    workers = min(os.cpu_count() or 1, len(chunks))
    if workers > 1:
        work = functools.partial(_work_in_process, source.spec, frame, size, styles)
        results = _in_processes(work, chunks, workers)
    else:
        results = (_chunk_of_pairs(source, size, styles, chunk) for chunk in chunks)
    for pairs in results:
        yield from pairs


def _in_processes(
    work: Callable[[_Names], list[_Pngs | str]], chunks: list[_Names], workers: int
) -> Iterator[list[_Pngs | str]]:
    """The results in order, a few chunks ahead of the reader and no more."""
    # 'spawn', since a fork of a process with running JAX threads may hang.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with_parent
    ) as pool:
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


def _end_with_parent() -> None:
    """Ends a worker when its parent was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work_in_process(
    spec: str, frame: str, size: int, styles: _Names, names: _Names
) -> list[_Pngs | str]:
    return _chunk_of_pairs(_reopen(spec, frame), size, styles, names)


@functools.lru_cache(maxsize=1)
def _reopen(spec: str, frame: str) -> Source:
    """One open source for each worker process: listing its pictures takes long."""
    return open_source(spec, frame=frame)


def _chunk_of_pairs(
    source: Source, size: int, styles: _Names, names: _Names
) -> list[_Pngs | str]:
    return [_pair_or_reason(source, name, size, styles) for name in names]


def _pair_or_reason(
    source: Source, name: str, size: int, styles: _Names
) -> _Pngs | str:
    try:
        example = source.read(name)
    except BrokenPictureError as error:
        return str(error)
    photo, sketches = draw_pair(example, size, styles)
    return _Pngs(_to_png(photo), {name: _to_png(x) for name, x in sketches.items()})


def draw_pair(
    example: Example, size: int, styles: Sequence[str]
) -> tuple[
    UInt8[np.ndarray, "{size} {size} 3"], dict[str, UInt8[np.ndarray, "{size} {size}"]]
]:
    """The photograph and its sketch in each style, of one size; 255 is paper and 0 ink.

    A ready pair has the one style `given`, whatever the styles. Else a sketch is drawn at
    the photograph's resolution, or at twice the size if that is more, and then reduced,
    by area averages.
    """
    photo = example.photo.astype(np.float32) / 255
    if len(photo) > _OVERSAMPLING * size:
        photo = area_resize(photo, _OVERSAMPLING * size)
    if example.sketch is not None:
        sketches = {GIVEN: example.sketch.astype(np.float32) / 255}
    else:
        least = _LEAST_OVERSAMPLING * size
        grey = luma(photo if len(photo) >= least else area_resize(photo, least))
        sketches = {style: style_fn(style)(grey) for style in styles}
    reduced = {x: _to_uint8(area_resize(y, size)) for x, y in sketches.items()}
    return _to_uint8(area_resize(photo, size)), reduced


def _to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _to_png(image: UInt8[np.ndarray, "*shape"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _from_png(content: bytes) -> UInt8[np.ndarray, "*shape"]:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        return np.array(image)
