"""CelebA, CUB-200-2011 and Stanford Cars as their authors publish them.

Each reader takes the folder of a download with its official lists, keeps the official
splits and cuts every picture to a square: around the face or the object's box.
`docs/data.md` says what to download from where.
"""

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import io

from cgan_jax.archives import Archive, Folder, Zip, unpack
from cgan_jax.decoding import Box, Square, square_around
from cgan_jax.drawings import FACE_BOXES
from cgan_jax.pictures import Photos, Picture, hash_split

FRAMES = ("wide", "tight")

_CELEBA_ADDRESS = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_CUB_ADDRESS = "https://data.caltech.edu/records/65de6-vp158"
_CARS_ADDRESS = (
    "a mirror (the download of https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
    " is gone)"
)
_CELEBA_SIZE = (178, 218)
# Both eyes of the aligned pictures, (x, y) each.
_CELEBA_EYES = (69.5, 111.5, 108.0, 111.5)
_EYES_TOLERANCE = 4  # pixels, of their mean
# Hair and chin: the eyes come to lie at 36.5 % and 63.2 % of its width and 43.4 % of its
# height, (46.7, 55.6) and (80.9, 55.6) of 128; it is centred on the picture's width.
_CELEBA_WIDE: Square = (17, 49, 144)
_CELEBA_SPLITS = {"0": "train", "1": "validation", "2": "test"}
# Around the boxes of birds and cars, in parts of the box's longer side.
_MARGINS = {"wide": 0.1, "tight": 0.0}


class _Listed(NamedTuple):
    """A picture of a list, with the box of its object."""

    picture: Picture
    box: Box


def open_celeba(spec: str, root: Path, frame: str) -> Photos:
    """CelebA, aligned and cropped: official partition, people as identities.

    `root` holds `img_align_celeba/` or `img_align_celeba.zip`,
    `list_eval_partition.txt`, `identity_CelebA.txt` and, if the place of the eyes shall
    be checked, `list_landmarks_align_celeba.txt`; or the folders Img, Eval and Anno with
    them.

    Raises:
      FileNotFoundError: a part is missing.
      ValueError: a list or the archive is damaged, or names other pictures.
    """
    find = functools.partial(_find, root, spec, _CELEBA_ADDRESS)
    partition = find("list_eval_partition.txt", folder="Eval")
    identities = dict(_rows(find("identity_CelebA.txt", folder="Anno"), 2))
    store = find("img_align_celeba", "img_align_celeba.zip", folder="Img")
    landmarks = _first(root, "list_landmarks_align_celeba.txt", folder="Anno")
    if landmarks is not None:
        _check_eyes(landmarks)
    pictures = [
        Picture(
            f"img_align_celeba/{name}",
            _lookup(_CELEBA_SPLITS, number, partition),
            _lookup(identities, name, partition),
        )
        for name, number in _rows(partition, 2)
    ]
    archive = Folder(store.parent) if store.is_dir() else Zip(store)
    square = _celeba_square(frame)
    settings = {"frame": frame, "square": list(square)}

    def square_fn(name: str, width: int, height: int) -> Square:
        if (width, height) != _CELEBA_SIZE:
            raise ValueError(f"it is {width}x{height}, not 178x218 as aligned CelebA")
        return square

    return _photos(spec, archive, pictures, settings, square_fn, partition)


def open_cub(spec: str, root: Path, frame: str) -> Photos:
    """CUB-200-2011: official train and test, of train 5 % by hash for validation.

    `root` is `CUB_200_2011.tgz`, which is unpacked once (`archives.unpack`), or the
    folder in it, or one that holds this folder. Identities are the classes, 1 to 200.

    Raises:
      FileNotFoundError: a part is missing.
      ValueError: a list or the archive is damaged, or names other pictures.
    """
    folder = unpack(root) if root.is_file() else root
    find = functools.partial(_find, folder, spec, _CUB_ADDRESS, folder="CUB_200_2011")
    images = find("images.txt")
    boxes = {row[0]: row[1:] for row in _rows(find("bounding_boxes.txt"), 5)}
    is_train = dict(_rows(find("train_test_split.txt"), 2))
    classes = dict(_rows(find("image_class_labels.txt"), 2))
    find("images")
    listed = []
    for number, file in _rows(images, 2):
        name = f"images/{file}"
        left, top, width, height = map(float, _lookup(boxes, number, images))
        picture = Picture(
            name,
            _train_or_test(name, test=_lookup(is_train, number, images) == "0"),
            _lookup(classes, number, images),
        )
        listed.append(_Listed(picture, (left, top, left + width, top + height)))
    return _boxed(spec, Folder(images.parent), listed, frame, images)


def open_cars(spec: str, root: Path, frame: str) -> Photos:
    """Stanford Cars: official train and test, of train 5 % by hash for validation.

    `root` holds `cars_train/`, `cars_test/`, `devkit/cars_train_annos.mat` and
    `cars_test_annos_withlabels.mat` (there or in `devkit/`; without it the devkit's
    `cars_test_annos.mat` serves, which has no classes); or the older `car_ims/` and
    `cars_annos.mat`. Identities are the classes, 1 to 196.

    Raises:
      FileNotFoundError: a part is missing.
      ValueError: an annotation file is damaged, or names other pictures.
    """
    find = functools.partial(_find, root, spec, _CARS_ADDRESS)
    has_annotations = _first(root, "cars_annos.mat", folder="devkit") is not None
    older = _first(root, "car_ims") or (
        has_annotations and not _first(root, "cars_train")
    )
    source, listed = _older_cars(find) if older else _newer_cars(find)
    return _boxed(spec, Folder(root), listed, frame, source)


def _older_cars(find: Callable[..., Path]) -> tuple[Path, list[_Listed]]:
    """The annotations in one file, and the pictures in them."""
    annotations = find("cars_annos.mat", folder="devkit")
    find("car_ims")
    return annotations, [
        _car(row, str(row["relative_im_path"]), test=bool(row["test"]))
        for row in _annotations(annotations)
    ]


def _newer_cars(find: Callable[..., Path]) -> tuple[Path, list[_Listed]]:
    """The folder of the two annotation files, and the pictures in both."""
    train = find("cars_train_annos.mat", folder="devkit")
    test = find(
        "cars_test_annos_withlabels.mat", "cars_test_annos.mat", folder="devkit"
    )
    find("cars_train")
    find("cars_test")
    return train.parent, [
        _car(row, f"{folder}/{row['fname']}", test=folder == "cars_test")
        for folder, file in (("cars_train", train), ("cars_test", test))
        for row in _annotations(file)
    ]


def _celeba_square(frame: str) -> Square:
    """Of the tight frame: where drawings without hair are placed in the wide one."""
    left, top, side = _CELEBA_WIDE
    if frame == "wide":
        return _CELEBA_WIDE
    box = FACE_BOXES["face"]
    return (
        left + round(side * box[0]),
        top + round(side * box[1]),
        round(side * (box[2] - box[0])),
    )


def _check_eyes(landmarks: Path) -> None:
    rows = _rows(landmarks, 11, skip=2)  # their number and the names of the columns
    try:
        eyes = np.array([row[1:5] for row in rows], float).reshape(-1, 4)
    except ValueError as error:
        raise ValueError(f"{landmarks} is damaged: {error}") from error
    if not len(eyes):
        raise ValueError(f"{landmarks} is damaged: it ends before the first picture")
    mean = eyes.mean(0)
    if np.abs(mean - _CELEBA_EYES).max() > _EYES_TOLERANCE:
        raise ValueError(
            f"{landmarks} says that eyes lie at {mean.round(1).tolist()} on average, not"
            f" at {list(_CELEBA_EYES)}: the frames fit aligned and cropped CelebA only"
        )


def _car(row: Mapping[str, Any], name: str, *, test: bool) -> _Listed:
    """MATLAB counts pixels from 1, and its box includes the last one."""
    left, top, right, bottom = (
        float(row[f"bbox_{edge}"]) for edge in ("x1", "y1", "x2", "y2")
    )
    picture = Picture(name, _train_or_test(name, test=test), str(row.get("class", "")))
    return _Listed(picture, (left - 1, top - 1, right, bottom))


def _train_or_test(name: str, *, test: bool) -> str:
    return "test" if test else hash_split(name, ["validation"])


def _annotations(file: Path) -> list[Mapping[str, Any]]:
    """The rows of the struct array `annotations` in a MATLAB file."""
    try:
        content = io.loadmat(file, simplify_cells=True)
    except (
        ValueError,
        TypeError,
        OSError,
        NotImplementedError,
        zlib.error,
        io.matlab.MatReadError,
    ) as error:
        raise ValueError(
            f"{file} is damaged or no MATLAB file (before version 7.3): {error}"
        ) from error
    if "annotations" not in content:
        raise ValueError(f"{file} has no array `annotations`: it is another file")
    return list(np.atleast_1d(content["annotations"]))


def _boxed(
    spec: str, archive: Archive, listed: list[_Listed], frame: str, source: Path
) -> Photos:
    """Photographs cut to squares around their objects' boxes."""
    boxes = {picture.name: box for picture, box in listed}
    margin = _MARGINS[frame]

    def square_fn(name: str, width: int, height: int) -> Square:
        return square_around(boxes[name], margin, width, height)

    pictures = [picture for picture, _ in listed]
    settings = {"frame": frame, "margin": margin}
    return _photos(spec, archive, pictures, settings, square_fn, source)


def _photos(
    spec: str,
    archive: Archive,
    pictures: list[Picture],
    settings: dict[str, Any],
    square_fn: Callable[[str, int, int], Square],
    source: Path,
) -> Photos:
    """Photographs that a list names; all of them must be there."""
    stored = set(archive.names)
    missing = sorted(p.name for p in pictures if p.name not in stored)
    if missing or not pictures:
        raise ValueError(
            f"{source} lists {len(pictures)} pictures, and {len(missing)} of them are not"
            f" in {archive.path}{f', the first {missing[0]}' if missing else ''}: was it"
            " unpacked or downloaded to the end?"
        )
    # Boxes and landmarks are places in the pixels as stored: nothing is turned.
    pictures_by_name = tuple(sorted(pictures))
    return Photos(spec, archive, pictures_by_name, settings, square_fn, upright=False)


def _first(root: Path, *names: str, folder: str = ".") -> Path | None:
    """The first of these names that exists in `root` or in this folder of it."""
    places = [root / name for name in names]
    places += [root / folder / name for name in names]
    return next((place for place in places if place.exists()), None)


def _find(root: Path, spec: str, address: str, *names: str, folder: str = ".") -> Path:
    found = _first(root, *names, folder=folder)
    if found is not None:
        return found
    wanted = " or ".join(names)
    below = "" if folder == "." else f" or into {root / folder}"
    archive = root / f"{names[0]}.tgz"
    way_out = (
        f"unpack it: tar -xzf {archive} -C {root}"
        if archive.exists()
        else f"get it from {address} and put it there{below}"
    )
    raise FileNotFoundError(
        f"{root} lacks {wanted}, which --source={spec} needs: {way_out}, or let --source"
        " point to the folder that has it"
    )


def _rows(file: Path, num_columns: int, skip: int = 0) -> Iterator[list[str]]:
    """The rows of a list whose columns are separated by spaces, after some lines."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is damaged, no text: {error}") from error
    for number, line in enumerate(lines, start=1):
        row = line.split() if number > skip else []
        if len(row) not in (0, num_columns):
            raise ValueError(
                f"{file}, line {number} has {len(row)} columns instead of"
                f" {num_columns}: download it again"
            )
        if row:
            yield row


def _lookup(table: Mapping[str, Any], key: str, file: Path) -> Any:
    if key not in table:
        raise ValueError(
            f"{file} has the entry {key!r}, which does not fit the lists beside it:"
            " download them again"
        )
    return table[key]


READERS = {"celeba": open_celeba, "cub": open_cub, "cars": open_cars}
