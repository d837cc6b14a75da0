"""Photographs where they lie: folders, archives, official layouts, tfds data sets."""

from pathlib import Path, PurePosixPath

from cgan_jax.archives import open_archive
from cgan_jax.decoding import (
    SUFFIXES,
    BrokenPictureError,
    centre_square,
    is_picture,
)
from cgan_jax.official import FRAMES, READERS
from cgan_jax.pictures import (
    SPLITS,
    Example,
    Photos,
    Picture,
    Several,
    Source,
    split_by_folders,
)
from cgan_jax.ready_pairs import open_pairs
from cgan_jax.tfds_photos import open_tfds

__all__ = [
    "FRAMES",
    "SPLITS",
    "BrokenPictureError",
    "Example",
    "Picture",
    "Source",
    "open_source",
]

_WANTED = (
    f"give a folder or a ZIP archive of photographs ({', '.join(SUFFIXES)}),"
    " celeba:DIR, cub:DIR, cars:DIR or tfds:NAME"
)


def open_source(spec: str | Path, *, frame: str = "wide") -> Source:
    """The pictures that `spec` names.

    Args:
      spec: the path of a folder or archive of photographs or of ready pairs of sketch
        and photograph; or `celeba:DIR`, `cub:DIR` (or its tgz), `cars:DIR` for the
        official layouts in `cgan_jax.official`; or `tfds:NAME`. Several of photographs
        are separated by commas.
      frame: of faces, `wide` shows hair and chin, `tight` the face alone; of birds and
        cars, `wide` leaves a margin around the box. Other pictures are cut to their
        centre square, which is `wide`.

    Raises:
      FileNotFoundError: it, or a part of it, is missing.
      ValueError: it is not usable, or does not have this frame.
    """
    specs = str(spec).split(",")
    if len(specs) == 1 or Path(spec).expanduser().exists():
        return _open_one(spec, frame)
    return Several(str(spec), _open_several(specs, frame))


def _open_several(specs: list[str], frame: str) -> dict[str, Source]:
    """Each source, by the last part of its path."""
    parts: dict[str, Source] = {}
    for spec in specs:
        if not spec.strip():
            raise ValueError(f"--source={','.join(specs)} has an empty part: {_WANTED}")
        source = _open_one(spec.strip(), frame)
        if source.has_sketches:
            raise ValueError(
                f"{spec} holds ready pairs: of several sources, all must be photographs"
            )
        name = Path(spec.strip().rpartition(":")[2]).stem
        if name in parts:
            raise ValueError(
                f"two sources are called {name}: pictures are told apart by the name of "
                "their source; rename one"
            )
        parts[name] = source
    return parts


def _open_one(spec: str | Path, frame: str) -> Source:
    kind, colon, rest = str(spec).partition(":")
    if frame not in FRAMES:
        raise ValueError(f"frame is {frame!r}: give one of {', '.join(FRAMES)}")
    if colon and not rest and kind in {*READERS, "tfds"}:
        raise ValueError(f"--source={spec} says nothing after the colon: {_WANTED}")
    if kind in READERS and colon:
        return _open_official(str(spec), kind, Path(rest).expanduser(), frame)
    if frame != "wide":
        raise ValueError(
            f"--source={spec} has no frame {frame!r}: where its faces or objects lie is"
            " not known, and pictures are cut to their centre square; leave --frame out"
        )
    if kind == "tfds" and colon:
        return open_tfds(str(spec), rest)
    return _open_path(str(spec), Path(spec).expanduser())


def _open_official(spec: str, kind: str, root: Path, frame: str) -> Source:
    if not root.exists():
        raise FileNotFoundError(
            f"{root} does not exist: --source={kind}:DIR names the folder of the"
            " download, see docs/data.md"
        )
    return READERS[kind](spec, root, frame)


def _open_path(spec: str, path: Path) -> Source:
    """Ready pairs or photographs in a folder or an archive."""
    try:
        archive = open_archive(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}: {_WANTED}") from error
    names = tuple(name for name in archive.names if is_picture(PurePosixPath(name)))
    if not names:
        raise ValueError(f"{path} holds no picture: {_WANTED}")
    pairs = open_pairs(spec, archive, names)
    if pairs is not None:
        return pairs
    return Photos(
        spec,
        archive,
        split_by_folders(names),
        settings={},
        square_fn=lambda name, width, height: centre_square(width, height),
        upright=True,
    )
