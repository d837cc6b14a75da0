"""Photographs from folders and archives, how they are split, and what is said of bad ones."""

import numpy as np
import pytest
from tiny_archives import colours, encode, write_folder, write_zip

from cgan_jax.pictures import hash_split
from cgan_jax.sources import BrokenPictureError, Source, open_source


def _names(source: Source) -> list[str]:
    return [picture.name for picture in source.pictures]


def _splits(folder, names: list[str]) -> dict[str, str]:
    """The split of each of these pictures, if a folder holds no others."""
    write_folder(folder, dict.fromkeys(names, encode(colours())))
    return {picture.name: picture.split for picture in open_source(folder).pictures}


@pytest.fixture
def files() -> dict[str, bytes]:
    """Four pictures in nested folders, with the junk that surrounds them in practice."""
    pictures = {
        name: encode(colours(seed=seed))
        for seed, name in enumerate(["b.png", "a/z.PNG", "a/b/ç 1.png", "a.png"])
    }
    junk = {
        "__MACOSX/a/._z.PNG": b"junk",
        "a/.hidden.png": b"junk",
        ".thumbnails/a.png": b"junk",
        "readme.txt": b"text",
    }
    return pictures | junk


def test_folder_and_archive_give_the_same(tmp_path, files):
    folder = open_source(write_folder(tmp_path / "folder", files))
    archive = open_source(str(write_zip(tmp_path / "archive.zip", files)))
    assert _names(folder) == ["a.png", "a/b/ç 1.png", "a/z.PNG", "b.png"]
    assert folder.pictures == archive.pictures
    for seed, name in enumerate(["b.png", "a/z.PNG", "a/b/ç 1.png", "a.png"]):
        for source in (folder, archive):
            example = source.read(name)
            np.testing.assert_array_equal(example.photo, colours(seed=seed))
            assert example.sketch is None
        assert folder.checksum(name) == archive.checksum(name)


def test_a_source_says_what_it_is(tmp_path, files):
    path = write_folder(tmp_path / "folder", files)
    source = open_source(path)
    assert isinstance(source, Source)
    assert (source.spec, source.settings, source.has_sketches) == (str(path), {}, False)
    assert {picture.identity for picture in source.pictures} == {""}


def test_checksums_follow_the_content(tmp_path):
    write_folder(tmp_path, {"a.png": encode(colours()), "b.png": encode(colours())})
    source = open_source(tmp_path)
    before = source.checksum("a.png")
    assert before == source.checksum("b.png")
    write_folder(tmp_path, {"a.png": encode(colours(seed=1))})
    assert source.checksum("a.png") != before


def test_the_centre_square_is_cut_out(tmp_path):
    wide, high = colours(4, 9), colours(8, 5)
    source = open_source(
        write_folder(tmp_path, {"wide.png": encode(wide), "high.png": encode(high)})
    )
    np.testing.assert_array_equal(source.read("wide.png").photo, wide[:, 2:6])
    np.testing.assert_array_equal(source.read("high.png").photo, high[1:6])


def test_folders_decide_the_split(tmp_path):
    names = ["faces/train/a.png", "val/a.png", "valid/b.png", "Validation/c.png"]
    assert _splits(tmp_path, [*names, "test/x/a.png"]) == {
        "Validation/c.png": "validation",
        "faces/train/a.png": "train",
        "test/x/a.png": "test",
        "val/a.png": "validation",
        "valid/b.png": "validation",
    }


def test_a_picture_outside_of_the_split_folders_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"b/test\.png lies in none of the folders"):
        _splits(tmp_path, ["train/a.png", "b/test.png", "test/a.png"])


def test_without_split_folders_a_stated_hash_decides(tmp_path):
    """u is the SHA-256 of the name: 0.414, 0.034 and 0.059."""
    splits = _splits(tmp_path, ["tests/a.png", "6.png", "0.png"])
    assert splits == {"tests/a.png": "train", "6.png": "validation", "0.png": "test"}


def test_the_hash_holds_out_five_percent_each():
    splits = [hash_split(f"{i:06d}.jpg") for i in range(20_000)]
    # Five standard deviations are 0.8 %.
    for split, share in (("train", 0.9), ("validation", 0.05), ("test", 0.05)):
        assert abs(splits.count(split) / len(splits) - share) < 0.008
    # The validation pictures are the same if no test pictures are wanted.
    alone = [hash_split(f"{i:06d}.jpg", ["validation"]) for i in range(20_000)]
    assert [s == "validation" for s in alone] == [s == "validation" for s in splits]
    assert "test" not in alone


@pytest.mark.parametrize("content", [b"", b"no picture", "truncated"])
@pytest.mark.parametrize("archived", [False, True])
def test_a_broken_picture_is_named(tmp_path, content, archived):
    if content == "truncated":
        content = encode(colours(64, 64), "JPEG")[:2000]
    files = {"sub/bad.jpg": content}
    path = (
        write_zip(tmp_path / "a.zip", files)
        if archived
        else write_folder(tmp_path / "f", files)
    )
    with pytest.raises(BrokenPictureError, match=r"sub/bad\.jpg in .* is broken: ."):
        open_source(path).read("sub/bad.jpg")


def test_damage_inside_an_archive_is_found(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": encode(colours(16, 16))})
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BrokenPictureError, match="a.png.*CRC"):
        open_source(path).read("a.png")


@pytest.mark.parametrize("spec", ["nowhere", "celebA:nowhere", "C:/photos"])
def test_a_missing_path_is_named(tmp_path, spec, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=f"{spec} does not exist: give a folder or a ZIP"
    ):
        open_source(spec)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "photos", {"a.png": encode(colours())})
    assert _names(open_source("~/photos")) == ["a.png"]


def test_a_file_that_is_no_archive_is_named(tmp_path):
    write_folder(tmp_path, {"a.png": encode(colours())})
    with pytest.raises(ValueError, match=r"a\.png is neither a folder nor a ZIP"):
        open_source(tmp_path / "a.png")


@pytest.mark.parametrize("archived", [False, True])
def test_no_pictures(tmp_path, archived):
    files = {"readme.txt": b"text", "__MACOSX/a.png": b"junk"}
    path = (
        write_zip(tmp_path / "a.zip", files)
        if archived
        else write_folder(tmp_path / "f", files)
    )
    with pytest.raises(ValueError, match=r"holds no picture: give .*\.jpg.*\.webp"):
        open_source(path)


def test_only_known_frames(tmp_path, files):
    folder = write_folder(tmp_path / "folder", files)
    with pytest.raises(ValueError, match="has no frame 'tight'.*leave --frame out"):
        open_source(folder, frame="tight")
    with pytest.raises(ValueError, match="'narrow': give one of wide, tight"):
        open_source(folder, frame="narrow")


@pytest.mark.parametrize("kind", ["celeba", "cub", "cars", "tfds"])
def test_a_kind_needs_a_place(kind):
    with pytest.raises(ValueError, match=f"{kind}: says nothing after the colon"):
        open_source(f"{kind}:")


@pytest.fixture
def two(tmp_path, files):
    """A folder and an archive that hold pictures of the same names, and their spec."""
    folder = write_folder(tmp_path / "mine", files)
    archive = write_zip(
        tmp_path / "theirs.zip", {"test/a.png": encode(colours(seed=9))}
    )
    return f"{folder},{archive}"


def test_several_sources_are_one(two):
    source = open_source(two)
    assert isinstance(source, Source)
    assert _names(source) == [
        "mine/a.png",
        "mine/a/b/ç 1.png",
        "mine/a/z.PNG",
        "mine/b.png",
        "theirs/test/a.png",
    ]
    alone = {f"mine/{p.name}": p.split for p in open_source(two.split(",")[0]).pictures}
    splits = {p.name: p.split for p in source.pictures}
    assert splits == alone | {"theirs/test/a.png": "test"}
    np.testing.assert_array_equal(
        source.read("theirs/test/a.png").photo, colours(seed=9)
    )
    np.testing.assert_array_equal(source.read("mine/a.png").photo, colours(seed=3))
    assert source.checksum("mine/a.png") != source.checksum("theirs/test/a.png")
    assert source.settings == {"mine": {}, "theirs": {}}


def test_a_comma_in_the_name_of_a_folder_is_no_separator(tmp_path, files):
    folder = write_folder(tmp_path / "mine, old", files)
    assert _names(open_source(str(folder)))[0] == "a.png"


def test_sources_that_cannot_be_told_apart_or_are_missing(tmp_path, two, files):
    first = two.split(",")[0]
    write_folder(tmp_path / "other" / "mine", files)
    with pytest.raises(ValueError, match="two sources are called mine"):
        open_source(f"{first},{tmp_path / 'other' / 'mine'}")
    with pytest.raises(ValueError, match="empty part"):
        open_source(f"{first},")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_source(f"{first},{tmp_path / 'nowhere'}")


def test_ready_pairs_do_not_go_with_other_sources(tmp_path, two):
    wide = encode(np.full((8, 16, 3), 255, np.uint8))
    pairs = write_folder(tmp_path / "pairs", {f"{i}.png": wide for i in range(3)})
    with pytest.raises(ValueError, match="all must be photographs"):
        open_source(f"{two},{pairs}")
