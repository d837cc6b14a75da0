"""Prepared pairs: complete or absent, the same bytes for any number of cores."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cgan_jax import dataset, sketches
from cgan_jax.dataset import draw_pair, find_or_prepare, open_pairs, prepare_pairs
from cgan_jax.sources import Example, Picture, Source

NAMES = ("test/f.png", "train/a.png", "train/b.png", "train/c.png", "train/sub/e.png")
STYLES = ("xdog", "xdog_solid")


def _picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 30, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path):
    """A folder of five pictures in two splits."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_picture(seed))
    return folder


@pytest.fixture
def archive(photos, tmp_path):
    """The same pictures, stored in another order."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for name in reversed(NAMES):
            file.write(photos / name, name)
    return tmp_path / "photos.zip"


@pytest.fixture
def no_computing(monkeypatch):
    """Makes any attempt to compute a pair fail; call it to begin."""

    def begin():
        def fail(*args):
            raise AssertionError("computed anew")

        monkeypatch.setattr(dataset, "draw_pair", fail)

    return begin


def _prepare(photos, output, **options):
    options = {"size": 8, "styles": STYLES} | options
    return prepare_pairs(str(photos), output, **options)


def _cached(photos, tmp_path, **options):
    options = {"size": 8, "styles": ("xdog",)} | options
    return find_or_prepare(str(photos), tmp_path / "cache", **options)


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _records(folder: Path) -> Path:
    (file,) = folder.glob("*-train.array_record*")
    return file


def test_pairs_are_those_of_the_pictures(photos, tmp_path):
    assert _prepare(photos, tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs", "train")
    assert pairs.names == NAMES[1:]
    assert pairs.identities == ("",) * 4
    assert pairs.styles == STYLES
    assert len(pairs) == len(list(pairs)) == 4
    for row, name in enumerate(pairs.names):
        photo = np.asarray(Image.open(photos / name))[:, 3:27] / 255
        mean = photo.reshape(8, 3, 8, 3, 3).mean((1, 3))
        grey = (photo @ [0.299, 0.587, 0.114]).astype(np.float32)
        assert pairs[row]["photo"].dtype == pairs[row]["sketches"].dtype == np.uint8
        np.testing.assert_allclose(pairs[row]["photo"], mean * 255, atol=0.51)
        for style, sketch in zip(STYLES, pairs[row]["sketches"], strict=True):
            ink = sketches.area_resize(sketches.sketch_fn(style)(grey), 8)
            np.testing.assert_allclose(sketch, ink * 255, atol=0.51)


def test_any_styles_are_read_in_the_order_asked_for(photos, tmp_path):
    _prepare(photos, tmp_path / "pairs")
    both = open_pairs(tmp_path / "pairs", "test")[0]["sketches"]
    turned = open_pairs(tmp_path / "pairs", "test", STYLES[::-1])[0]["sketches"]
    np.testing.assert_array_equal(turned, both[::-1])
    one = open_pairs(tmp_path / "pairs", "test", ["xdog_solid"])[0]["sketches"]
    np.testing.assert_array_equal(one, both[1:])
    assert not np.array_equal(both[0], both[1])


@pytest.mark.parametrize("row", [-1, 4])
def test_a_row_that_is_not_there(photos, tmp_path, row):
    _prepare(photos, tmp_path / "pairs")
    with pytest.raises(IndexError, match=f"no pair {row}: there are 4"):
        open_pairs(tmp_path / "pairs", "train")[row]


def test_pairs_may_go_to_another_process(photos, tmp_path):
    _prepare(photos, tmp_path / "pairs")
    pairs = open_pairs(tmp_path / "pairs", "train")
    copy = pickle.loads(pickle.dumps(pairs))
    np.testing.assert_array_equal(copy[2]["photo"], pairs[2]["photo"])


def test_tfds_itself_reads_them(photos, tmp_path):
    _prepare(photos, tmp_path / "pairs")
    builder = tfds.builder_from_directory(tmp_path / "pairs")
    assert builder.name == "sketch_photo_pairs"
    assert {name: x.num_examples for name, x in builder.info.splits.items()} == {
        "train": 4,
        "test": 1,
    }
    ours = open_pairs(tmp_path / "pairs", "train")
    for theirs, pair in zip(builder.as_data_source("train"), ours, strict=True):
        np.testing.assert_array_equal(theirs["photo"], pair["photo"])
        for style, sketch in zip(STYLES, pair["sketches"], strict=True):
            np.testing.assert_array_equal(theirs["sketches"][style][..., 0], sketch)
    assert theirs["name"] == b"train/sub/e.png"


_WITH_TWO_WORKERS = """
import os, sys
from cgan_jax import dataset

if __name__ == "__main__":
    dataset._CHUNK = 1
    dataset.os.cpu_count = lambda: 2
    dataset.prepare_pairs(sys.argv[1], sys.argv[2], size=8, styles=sys.argv[3:])
"""


def test_folder_archive_and_any_number_of_processes_give_the_same_bytes(
    photos, archive, tmp_path
):
    _prepare(photos, tmp_path / "first")
    _prepare(archive, tmp_path / "archive")
    # An interpreter of its own: in each, protobuf orders a map in another way.
    (tmp_path / "run.py").write_text(_WITH_TWO_WORKERS)
    command = [sys.executable, "run.py", str(photos), str(tmp_path / "two"), *STYLES]
    subprocess.run(command, check=True, cwd=tmp_path)
    first = _files(tmp_path / "first")
    assert len(first) == 5
    assert first == _files(tmp_path / "archive") == _files(tmp_path / "two")


def test_manifest_says_how(photos, tmp_path):
    _prepare(photos, tmp_path / "pairs")
    manifest = json.loads((tmp_path / "pairs" / "manifest.json").read_text())
    assert manifest == open_pairs(tmp_path / "pairs", "train").manifest
    constants = {"sigma": 1.6, "k": 1.6, "tau": 0.97, "epsilon": -0.005, "phi": 60.0}
    assert manifest["styles"]["xdog"] == constants
    assert list(manifest["styles"]) == list(STYLES)
    assert manifest["size"] == 8
    assert manifest["counts"] == {"train": 4, "test": 1}
    assert manifest["source"]["num_pictures"] == 5
    assert manifest["broken"] == {}


class _Ready(Source):
    """Two ready pairs of two persons, whose sketches are larger than the photographs."""

    spec, settings, has_sketches = "ready", {"frame": "wide"}, True
    pictures = (Picture("a.png", "test", "7"), Picture("b.png", "test", "3"))

    def read(self, name):
        rows = np.arange(16, dtype=np.uint8)[:, None]
        return Example(np.full((8, 8, 3), 50, np.uint8), np.repeat(rows, 16, axis=1))

    def checksum(self, name):
        return name


def test_ready_pairs_keep_their_sketches_and_identities(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "open_source", lambda spec, frame: _Ready())
    prepare_pairs("ready", tmp_path / "pairs", size=8, styles=["given"])
    pairs = open_pairs(tmp_path / "pairs", "test", ["given"])
    assert pairs.identities == ("7", "3")
    expected = np.rint(np.arange(0.5, 16, 2)).astype(np.uint8)
    np.testing.assert_array_equal(pairs[1]["sketches"][0, :, 0], expected)
    assert pairs.manifest["source"]["settings"] == {"frame": "wide"}
    with pytest.raises(ValueError, match="ready pairs.*'given', not 'xdog'"):
        prepare_pairs("ready", tmp_path / "other", size=8)


def test_the_same_again_writes_nothing(photos, archive, tmp_path, no_computing):
    _prepare(photos, tmp_path / "pairs")
    no_computing()
    assert not _prepare(photos, tmp_path / "pairs")
    assert not _prepare(archive, tmp_path / "pairs", styles=STYLES[::-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 9}, "differs in size"), ({"styles": ["xdog"]}, "differs in styles")],
)
def test_another_data_set_is_not_overwritten(photos, tmp_path, options, message):
    _prepare(photos, tmp_path / "pairs")
    before = _files(tmp_path / "pairs")
    with pytest.raises(ValueError, match=message):
        _prepare(photos, tmp_path / "pairs", **options)
    (photos / "train" / "a.png").write_bytes(_picture(99))
    with pytest.raises(ValueError, match="differs in source"):
        _prepare(photos, tmp_path / "pairs")
    assert _files(tmp_path / "pairs") == before


def test_a_folder_of_something_else_is_not_overwritten(photos, tmp_path):
    with pytest.raises(ValueError, match="photos exists and is no prepared data set"):
        _prepare(photos, photos)


def test_a_cache_is_used_again(photos, archive, tmp_path, no_computing):
    folder = _cached(photos, tmp_path)
    no_computing()
    assert _cached(photos, tmp_path) == _cached(archive, tmp_path) == folder


@pytest.mark.parametrize("options", [{"size": 9}, {"styles": ["xdog_solid"]}])
def test_another_recipe_has_another_folder(photos, tmp_path, options):
    first, second = _cached(photos, tmp_path), _cached(photos, tmp_path, **options)
    assert first != second
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("change", ["content", "split"])
def test_other_pictures_have_another_folder(photos, tmp_path, change):
    first = _cached(photos, tmp_path)
    if change == "content":
        (photos / "train" / "a.png").write_bytes(_picture(99))
    else:
        (photos / "train").rename(photos / "validation")
    assert _cached(photos, tmp_path) != first


def test_a_prepared_data_set_is_no_source_of_another(photos, tmp_path, no_computing):
    _prepare(photos, tmp_path / "pairs")
    no_computing()
    assert _cached(tmp_path / "pairs", tmp_path) == tmp_path / "pairs"
    with pytest.raises(ValueError, match="8 pixels, but 16 are wanted.*--size=16"):
        _cached(tmp_path / "pairs", tmp_path, size=16)


def test_broken_pictures_are_left_out_and_named(photos, tmp_path):
    _prepare(photos, tmp_path / "whole")
    (photos / "train" / "b.png").write_bytes(b"no picture")
    _prepare(photos, tmp_path / "pairs", max_broken=0.2)
    whole = open_pairs(tmp_path / "whole", "train")
    pairs = open_pairs(tmp_path / "pairs", "train")
    assert pairs.names == ("train/a.png", "train/c.png", "train/sub/e.png")
    for row, other in enumerate([0, 2, 3]):
        np.testing.assert_array_equal(pairs[row]["photo"], whole[other]["photo"])
    (reason,) = pairs.manifest["broken"].items()
    assert reason[0] == "train/b.png"
    assert "is broken" in reason[1]
    assert pairs.manifest["counts"] == {"train": 3, "test": 1}


@pytest.mark.parametrize(
    ("num_broken", "allowed", "cpus"),
    [(1, 0.01, 1), (1, 0.01, 2), (2, 0.2, 1), (5, 1.0, 1)],
)
def test_too_many_broken_pictures_stop(
    photos, tmp_path, monkeypatch, num_broken, allowed, cpus
):
    monkeypatch.setattr(dataset, "_CHUNK", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    for name in NAMES[:num_broken]:
        (photos / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=rf"{num_broken} of 5 pictures in .*f\.png"):
        _prepare(photos, tmp_path / "new" / "pairs", max_broken=allowed)
    assert list((tmp_path / "new").iterdir()) == []


def test_an_interrupted_preparation_leaves_nothing(photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        calls = iter(range(3))

        def interrupt(*args):
            if next(calls) == 2:
                raise KeyboardInterrupt
            return draw_pair(*args)

        patch.setattr(dataset, "draw_pair", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _prepare(photos, tmp_path / "new" / "pairs")
    assert list((tmp_path / "new").iterdir()) == []
    assert _prepare(photos, tmp_path / "new" / "pairs")


_KILLED_AT_THE_END = """
import os, signal, sys
from cgan_jax import dataset
dataset.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
dataset.prepare_pairs(sys.argv[1], sys.argv[2], size=8)
"""


def test_a_run_killed_at_the_end_is_not_mistaken_for_a_finished_one(photos, tmp_path):
    output = tmp_path / "new" / "pairs"
    command = [sys.executable, "-c", _KILLED_AT_THE_END, str(photos), str(output)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = (tmp_path / "new").iterdir()
    assert left.name.startswith(".unfinished-")
    with pytest.raises(FileNotFoundError, match="holds no prepared data set"):
        open_pairs(output, "train")
    assert _prepare(photos, output)


def test_two_preparations_at_once_agree(photos, tmp_path, monkeypatch):
    """The other process finishes while this one is about to move its folder."""
    replace = os.replace

    def after_another(source, target):
        monkeypatch.setattr(os, "replace", replace)
        _cached(photos, tmp_path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_another)
    assert len(open_pairs(_cached(photos, tmp_path), "train")) == 4
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("file", ["manifest.json", "records"])
def test_a_damaged_data_set_is_refused(photos, tmp_path, file):
    folder = _cached(photos, tmp_path)
    path = _records(folder) if file == "records" else folder / file
    path.write_bytes(path.read_bytes()[:-5])
    for use in (lambda: _cached(photos, tmp_path), lambda: open_pairs(folder, "train")):
        with pytest.raises(ValueError, match="is damaged.*delete it"):
            use()


def test_damage_to_one_record_is_found_when_it_is_read(photos, tmp_path):
    folder = _cached(photos, tmp_path)
    name = b"train/b.png"
    content = _records(folder).read_bytes()
    assert content.count(name) == 1
    _records(folder).write_bytes(content.replace(name, b"train/x.png"))
    pairs = open_pairs(folder, "train")
    with pytest.raises(ValueError, match=rf"{folder} is damaged"):
        pairs[1]


def test_what_another_version_prepared_is_refused(photos, tmp_path):
    folder = _cached(photos, tmp_path)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="in format 99, this package reads"):
        open_pairs(folder, "train")


@pytest.mark.parametrize(
    ("split", "styles", "message"),
    [
        ("validation", None, "no validation pictures: it holds.*'train': 4"),
        ("train", ["fdog"], "styles xdog, xdog_solid, not in fdog"),
        ("train", [], "not in none"),
    ],
)
def test_splits_and_styles_that_are_not_there(photos, tmp_path, split, styles, message):
    _prepare(photos, tmp_path / "pairs")
    with pytest.raises(ValueError, match=message):
        open_pairs(tmp_path / "pairs", split, styles)


def test_a_small_photo_is_enlarged_before_it_is_drawn():
    photo = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    small, drawn = draw_pair(Example(photo), 8, ["xdog"])
    grey = sketches.luma(sketches.area_resize(photo.astype(np.float32) / 255, 16))
    sketch = sketches.area_resize(sketches.xdog(grey), 8)
    np.testing.assert_array_equal(drawn["xdog"], np.rint(sketch * 255))
    reduced = sketches.area_resize(photo.astype(np.float32) / 255, 8)
    np.testing.assert_array_equal(small, np.rint(reduced * 255))


def test_a_large_photo_is_reduced_before_it_is_drawn():
    """Its pair is nearly that of the photo reduced by hand."""
    coarse = np.random.default_rng(0).uniform(0, 1, (12, 12, 3)).astype(np.float32)
    large, small = (
        np.rint(sketches.area_resize(coarse, side) * 255).astype(np.uint8)
        for side in (192, 64)
    )
    photo, drawn = draw_pair(Example(large, None), 16, ["xdog"])
    expected, expected_drawn = draw_pair(Example(small, None), 16, ["xdog"])
    assert np.abs(photo.astype(int) - expected).mean() < 5
    assert np.abs(drawn["xdog"].astype(int) - expected_drawn["xdog"]).mean() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"styles": ["pencil"]}, "'pencil'.*xdog"),
        ({"styles": []}, "no sketch style"),
        ({"styles": ["given"]}, "'given'"),
    ],
)
def test_unusable_arguments(photos, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _prepare(photos, tmp_path / "new" / "pairs", **options)
    assert not (tmp_path / "new").exists()


def test_workers_need_neither_jax_nor_tfds():
    """Each worker process imports this module: both would cost it seconds and memory."""
    code = "import sys, cgan_jax.dataset; sys.exit(bool({heavy} & set(sys.modules)))"
    command = code.format(heavy={"jax", "tensorflow_datasets", "grain"})
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
