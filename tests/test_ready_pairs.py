"""Ready pairs: found in two folders or side by side, and never mismatched silently."""

import unicodedata

import numpy as np
import pytest
from tiny_archives import colours, encode, write_folder, write_zip

from cgan_jax.sources import BrokenPictureError, Source, open_source


def _sketch(height: int = 6, width: int = 6, seed: int = 9) -> np.ndarray:
    return colours(height, width, seed)[:, :, 0]


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_two_folders(tmp_path, write):
    files = {
        "photo/b.png": encode(colours(seed=1)),
        "photo/a/c.jpeg": encode(np.full((8, 8, 3), 200, np.uint8), "JPEG"),
        "sketch/b.PNG": encode(_sketch(4, 4)),
        "sketch/a/c.png": encode(_sketch(seed=2)),
    }
    source = open_source(write(tmp_path / "pairs", files))
    assert isinstance(source, Source)
    assert source.has_sketches and source.settings == {"pairs": "folders"}
    assert [p.name for p in source.pictures] == ["photo/a/c.jpeg", "photo/b.png"]
    example = source.read("photo/b.png")
    np.testing.assert_array_equal(example.photo, colours(seed=1))
    np.testing.assert_array_equal(example.sketch, _sketch(4, 4))
    example = source.read("photo/a/c.jpeg")
    assert np.abs(example.photo.astype(int) - 200).max() <= 2
    np.testing.assert_array_equal(example.sketch, _sketch(seed=2))


@pytest.mark.parametrize("layout", ["{split}/{kind}/{n}.png", "{kind}/{split}/{n}.png"])
def test_splits_within_or_around_the_two_folders(tmp_path, layout):
    splits = ("train", "test", "validation")
    write_folder(
        tmp_path,
        {
            layout.format(split=split, kind=kind, n=7): encode(content)
            for split in splits
            for kind, content in (("sketches", _sketch()), ("photos", colours()))
        },
    )
    pictures = open_source(tmp_path).pictures
    assert sorted(picture.split for picture in pictures) == sorted(splits)
    for picture in pictures:
        assert picture.name == layout.format(split=picture.split, kind="photos", n=7)


def test_names_match_however_a_system_writes_accents(tmp_path):
    composed, decomposed = (unicodedata.normalize(f, "é.png") for f in ("NFC", "NFD"))
    files = {f"photo/{composed}": colours(), f"sketch/{decomposed}": _sketch()}
    assert composed != decomposed
    write_zip(tmp_path / "a.zip", {name: encode(p) for name, p in files.items()})
    example = open_source(tmp_path / "a.zip").read(f"photo/{composed}")
    np.testing.assert_array_equal(example.sketch, _sketch())


def test_both_are_cut_to_the_same_square(tmp_path):
    files = {"photo/a.png": colours(6, 12), "sketch/a.png": _sketch(3, 6)}
    write_folder(tmp_path, {name: encode(pixels) for name, pixels in files.items()})
    example = open_source(tmp_path).read("photo/a.png")
    np.testing.assert_array_equal(example.photo, colours(6, 12)[:, 3:9])
    np.testing.assert_array_equal(example.sketch, _sketch(3, 6)[:, 1:4])


def test_another_aspect_is_broken(tmp_path):
    files = {"photo/a.png": colours(6, 6), "sketch/a.png": _sketch(6, 7)}
    write_folder(tmp_path, {name: encode(pixels) for name, pixels in files.items()})
    with pytest.raises(
        BrokenPictureError, match=r"photo/a\.png.*6x6.*sketch/a\.png 7x6"
    ):
        open_source(tmp_path).read("photo/a.png")


def test_a_broken_sketch_is_named(tmp_path):
    files = {"photo/a.png": encode(colours()), "sketch/a.png": b"no picture"}
    with pytest.raises(BrokenPictureError, match=r"sketch/a\.png in .* is broken"):
        open_source(write_folder(tmp_path, files)).read("photo/a.png")


def test_the_checksum_follows_both(tmp_path):
    files = {"photo/a.png": encode(colours()), "sketch/a.png": encode(_sketch())}
    source = open_source(write_folder(tmp_path, files))
    checksums = {source.checksum("photo/a.png")}
    for changed in files:
        write_folder(tmp_path, files | {changed: encode(colours(seed=5))})
        checksums.add(source.checksum("photo/a.png"))
    assert len(checksums) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["photo/a.png", "sketch/a.png", "sketch/b.png"], r"sketch/b\.png has no photo"),
        (["photo/a.png", "sketch/a.png", "photo/b.png"], r"photo/b\.png has no sketch"),
        (["sketch/a.png"], r"sketch/a\.png has no photograph"),
        (["photo/a.png", "sketch/a.png", "b.png"], r"^b\.png lies beside the folders"),
        (["photo/a.png", "photo/a.jpg", "sketch/a.png"], r"photo/a\.\w+ .* is there twice"),
        (
            ["train/photo/a.png", "train/sketch/a.png", "photo/b.png", "sketch/b.png"],
            r"photo/b\.png lies in none of the folders train",
        ),
    ],
)  # fmt: skip
def test_what_does_not_match_is_named(tmp_path, files, message):
    write_folder(tmp_path, dict.fromkeys(files, encode(colours())))
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path)


def test_a_folder_of_photos_alone_is_no_pairs(tmp_path):
    write_folder(tmp_path, {"photo/a.png": encode(colours())})
    assert not open_source(tmp_path).has_sketches


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_side_by_side(tmp_path, write):
    pixels = colours(6, 12)
    files = {"train/a.png": encode(pixels), "test/b.png": encode(colours(4, 8))}
    source = open_source(write(tmp_path / "pairs", files))
    assert isinstance(source, Source)
    assert source.has_sketches and source.settings == {"pairs": "side by side"}
    assert [p[:2] for p in source.pictures] == [
        ("test/b.png", "test"),
        ("train/a.png", "train"),
    ]
    example = source.read("train/a.png")
    np.testing.assert_array_equal(example.photo, pixels[:, 6:])
    luma = pixels[:, :6] @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(example.sketch, luma, atol=1)


def test_among_pairs_side_by_side_another_aspect_is_broken(tmp_path):
    files = {f"{i}.png": encode(colours(4, 8)) for i in range(3)}
    files |= {"odd.png": encode(colours(4, 7)), "none.png": b"no picture"}
    source = open_source(write_folder(tmp_path, files))
    assert source.has_sketches
    with pytest.raises(BrokenPictureError, match=r"odd\.png.*7x4, not twice as wide"):
        source.read("odd.png")


def test_a_few_wide_photographs_are_no_pairs(tmp_path):
    files = {f"{i}.png": encode(colours(4, 8)) for i in range(2)}
    files |= {f"{i}.png": encode(colours(4, 6)) for i in range(2, 5)}
    assert not open_source(write_folder(tmp_path, files)).has_sketches


def test_looking_for_pairs_reads_only_a_sample(tmp_path, monkeypatch):
    files = {f"{i:02d}.png": encode(colours(2, 4)) for i in range(50)}
    source = open_source(write_folder(tmp_path, files))
    read = []
    folder = type(source.archive)
    monkeypatch.setattr(
        folder, "read_bytes", lambda self, name: read.append(name) or files[name]
    )
    assert open_source(tmp_path).has_sketches
    assert 8 <= len(read) <= 16
    assert read[-1] > "40.png"  # from everywhere
