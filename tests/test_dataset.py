"""The cache of pairs: computed once, complete or absent, the same for any number of cores."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from cgan_jax import dataset, sketches
from cgan_jax.dataset import pair_from_photo, prepare_pairs


def _picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 30, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path):
    """A folder of five pictures, one of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(["a.png", "b.png", "c.png", "d.png", "sub/e.png"]):
        (folder / name).write_bytes(_picture(seed))
    return folder


@pytest.fixture
def no_computing(monkeypatch):
    """Makes any attempt to compute a pair fail; call it to begin."""

    def begin():
        def fail(*args):
            raise AssertionError("computed anew")

        monkeypatch.setattr(dataset, "pair_from_photo", fail)

    return begin


def _prepare(photos, tmp_path, **options):
    return prepare_pairs(photos, tmp_path / "cache", **{"size": 8} | options)


def test_pairs_are_those_of_the_pictures(photos, tmp_path):
    pairs = _prepare(photos, tmp_path)
    assert pairs.names == ("a.png", "b.png", "c.png", "d.png", "sub/e.png")
    assert len(pairs) == 5
    assert pairs.sketches.shape == (5, 8, 8)
    assert pairs.photos.shape == (5, 8, 8, 3)
    for row, name in enumerate(pairs.names):
        photo = np.asarray(Image.open(photos / name))[:, 3:27] / 255
        mean = photo.reshape(8, 3, 8, 3, 3).mean((1, 3))
        grey = (photo @ [0.299, 0.587, 0.114]).astype(np.float32)
        ink = sketches.area_resize(sketches.xdog(grey), 8)
        assert pairs[row]["photo"].dtype == pairs[row]["sketch"].dtype == np.uint8
        np.testing.assert_allclose(pairs[row]["photo"], mean * 255, atol=0.51)
        np.testing.assert_allclose(pairs[row]["sketch"], ink * 255, atol=0.51)


def test_pairs_are_mapped_from_the_disk_and_handed_out_as_copies(photos, tmp_path):
    pairs = _prepare(photos, tmp_path)
    assert isinstance(pairs.sketches, np.memmap)
    first = pairs[0]["photo"]
    first[:] = 0
    assert pairs[0]["photo"].any()
    with pytest.raises(IndexError):
        pairs[5]
    with pytest.raises(dataclasses.FrozenInstanceError):
        pairs.names = ()


def test_a_second_call_computes_nothing(photos, tmp_path, no_computing):
    first = _prepare(photos, tmp_path)
    no_computing()
    second = _prepare(photos, tmp_path)
    np.testing.assert_array_equal(first.sketches, second.sketches)
    assert first.manifest == second.manifest


def test_archive_and_folder_share_a_cache(photos, tmp_path, no_computing):
    first = _prepare(photos, tmp_path)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in first.names:
            archive.write(photos / name, name)
    no_computing()
    second = _prepare(tmp_path / "photos.zip", tmp_path)
    np.testing.assert_array_equal(first.photos, second.photos)


@pytest.mark.parametrize("options", [{"size": 9}, {"style": "xdog_solid"}])
def test_another_recipe_has_another_folder(photos, tmp_path, options):
    first = _prepare(photos, tmp_path)
    second = _prepare(photos, tmp_path, **options)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert not np.array_equal(first.sketches, second.sketches)
    assert _prepare(photos, tmp_path).manifest == first.manifest


def test_other_pictures_have_another_folder(photos, tmp_path):
    first = _prepare(photos, tmp_path)
    (photos / "a.png").write_bytes(_picture(99))
    second = _prepare(photos, tmp_path)
    assert not np.array_equal(first.photos[0], second.photos[0])
    np.testing.assert_array_equal(first.photos[1:], second.photos[1:])


def test_manifest_says_how(photos, tmp_path):
    manifest = _prepare(photos, tmp_path).manifest
    constants = {"sigma": 1.6, "k": 1.6, "tau": 0.97, "epsilon": -0.005, "phi": 60.0}
    assert manifest["parameters"] == constants
    assert (manifest["style"], manifest["size"], manifest["num_pairs"]) == (
        "xdog",
        8,
        5,
    )
    (folder,) = (tmp_path / "cache").iterdir()
    assert json.loads((folder / "manifest.json").read_text()) == manifest


def test_broken_pictures_are_left_out_and_named(photos, tmp_path):
    whole = _prepare(photos, tmp_path)
    (photos / "b.png").write_bytes(b"no picture")
    pairs = _prepare(photos, tmp_path, max_broken=0.2)
    assert pairs.names == ("a.png", "c.png", "d.png", "sub/e.png")
    np.testing.assert_array_equal(pairs.photos, whole.photos[[0, 2, 3, 4]])
    np.testing.assert_array_equal(pairs.sketches, whole.sketches[[0, 2, 3, 4]])
    assert list(pairs.manifest["broken"]) == ["b.png"]
    assert pairs.manifest["num_pairs"] == 4


@pytest.mark.parametrize(("num_broken", "allowed"), [(1, 0.01), (2, 0.2), (5, 1.0)])
def test_too_many_broken_pictures_stop(photos, tmp_path, num_broken, allowed):
    for name in ["a.png", "b.png", "c.png", "d.png", "sub/e.png"][:num_broken]:
        (photos / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=rf"{num_broken} of 5 pictures in .*a\.png"):
        _prepare(photos, tmp_path, max_broken=allowed)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_interrupted_preparation_leaves_nothing(photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        calls = iter(range(3))

        def interrupt(*args):
            if next(calls) == 2:
                raise KeyboardInterrupt
            return pair_from_photo(*args)

        patch.setattr(dataset, "pair_from_photo", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _prepare(photos, tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(_prepare(photos, tmp_path)) == 5


_KILLED_AT_THE_END = """
import os, signal, sys
from cgan_jax import dataset
dataset.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
dataset.prepare_pairs(sys.argv[1], sys.argv[2], size=8)
"""


def test_a_killed_preparation_is_not_mistaken_for_a_finished_one(photos, tmp_path):
    command = [
        sys.executable,
        "-c",
        _KILLED_AT_THE_END,
        str(photos),
        str(tmp_path / "cache"),
    ]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = (tmp_path / "cache").iterdir()
    assert left.name.startswith(".unfinished-")
    assert len(_prepare(photos, tmp_path)) == 5


def test_two_preparations_at_once_agree(photos, tmp_path, monkeypatch):
    """The other process finishes while this one is about to move its folder."""
    replace = os.replace

    def after_another(source, target):
        monkeypatch.setattr(os, "replace", replace)
        _prepare(photos, tmp_path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_another)
    assert len(_prepare(photos, tmp_path)) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    "file", ["manifest.json", "names.json", "sketches.npy", "photos.npy"]
)
def test_a_damaged_cache_is_refused(photos, tmp_path, file):
    _prepare(photos, tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / file).write_bytes((folder / file).read_bytes()[:-5])
    with pytest.raises(ValueError, match="is damaged.*delete it and start again"):
        _prepare(photos, tmp_path)


def test_a_changed_cache_is_refused(photos, tmp_path):
    pairs = _prepare(photos, tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "names.json").write_text(json.dumps(pairs.names[:4]))
    with pytest.raises(ValueError, match="does not match its manifest"):
        _prepare(photos, tmp_path)


def test_processes_give_the_same_as_one(photos, tmp_path, monkeypatch):
    (photos / "b.png").write_bytes(b"no picture")
    alone = _prepare(photos, tmp_path, max_broken=0.2)
    monkeypatch.setattr(dataset, "_CHUNK", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    together = prepare_pairs(photos, tmp_path / "other", size=8, max_broken=0.2)
    np.testing.assert_array_equal(alone.sketches, together.sketches)
    np.testing.assert_array_equal(alone.photos, together.photos)
    assert alone.manifest == together.manifest


def test_processes_that_are_stopped_leave_nothing(photos, tmp_path, monkeypatch):
    (photos / "b.png").write_bytes(b"no picture")
    monkeypatch.setattr(dataset, "_CHUNK", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(ValueError, match="1 of 5 pictures"):
        _prepare(photos, tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_large_photo_is_reduced_before_it_is_drawn():
    """Its pair is nearly that of the photo reduced by hand."""
    coarse = np.random.default_rng(0).uniform(0, 1, (12, 12, 3)).astype(np.float32)
    large = np.rint(sketches.area_resize(coarse, 192) * 255).astype(np.uint8)
    small = np.rint(sketches.area_resize(coarse, 64) * 255).astype(np.uint8)
    for half, expected in zip(
        pair_from_photo(large, 16, "xdog"),
        pair_from_photo(small, 16, "xdog"),
        strict=True,
    ):
        assert np.abs(half.astype(int) - expected).mean() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 0}, "size is 0"), ({"style": "pencil"}, "'pencil'.*xdog")],
)
def test_unusable_arguments(photos, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _prepare(photos, tmp_path, **options)
    assert not (tmp_path / "cache").exists()


def test_workers_need_no_jax():
    """Each worker process imports this module: JAX would cost it seconds and memory."""
    command = "import sys, cgan_jax.dataset; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
