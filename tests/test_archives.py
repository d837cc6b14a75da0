"""Folders, ZIP and tar archives: the same names and bytes, opened and unpacked once."""

import zipfile

import pytest
from tiny_archives import write_folder, write_tgz, write_zip

from cgan_jax import archives
from cgan_jax.archives import open_archive

FILES = {"b.txt": b"b" * 100, "a/ü/c.txt": b"c", "a.txt": b""}
JUNK = {"__MACOSX/a/._b.txt": b"junk", "a/.hidden": b"junk", ".thumbnails/a.txt": b"x"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(params=["folder", "zip", "tgz"])
def archive(request, tmp_path):
    write = {"folder": write_folder, "zip": write_zip, "tgz": write_tgz}[request.param]
    return open_archive(write(tmp_path / f"files.{request.param}", FILES | JUNK))


def test_every_kind_gives_the_same(archive):
    assert archive.names == ("a.txt", "a/ü/c.txt", "b.txt")
    for name, content in FILES.items():
        assert archive.read_bytes(name) == content
    # CRC-32 of the single letter c.
    assert archive.checksum("a/ü/c.txt") == "1-06b9df6f"


def test_folders_in_an_archive_are_no_files(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"album.png/": b"", "album.png/a.png": b"a"})
    assert open_archive(path).names == ("album.png/a.png",)


def test_linked_folders_are_entered(tmp_path):
    write_folder(tmp_path / "elsewhere", {"a.txt": b"a"})
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "linked").symlink_to(tmp_path / "elsewhere")
    assert open_archive(tmp_path / "files").names == ("linked/a.txt",)


def test_a_zip_is_opened_once(tmp_path, monkeypatch):
    opened = []

    class CountedZip(zipfile.ZipFile):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    path = write_zip(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(archives.zipfile, "ZipFile", CountedZip)
    archive = open_archive(path)
    assert archive.read_bytes("b.txt") == archive.read_bytes("b.txt")
    assert archive.names[0] == "a.txt"
    assert len(opened) == 1


def test_a_tar_archive_is_unpacked_once_and_again_when_it_changes(tmp_path, home):
    path = write_tgz(tmp_path / "a.tgz", FILES)
    first = open_archive(path)
    (first.path / "b.txt").write_bytes(b"as it was unpacked")
    assert open_archive(path).read_bytes("b.txt") == b"as it was unpacked"
    write_tgz(path, FILES | {"b.txt": b"new", "new.txt": b"n" * 50})
    assert open_archive(path).read_bytes("b.txt") == b"new"
    folders = (home / ".cache" / "cgan_jax" / "unpacked").iterdir()
    assert sorted(folder.name[:6] for folder in folders) == ["a.tgz-", "a.tgz-"]


def test_an_incomplete_tar_archive_is_refused_and_leaves_nothing(tmp_path, home):
    noise = bytes(i * i % 251 for i in range(50_000))
    path = write_tgz(tmp_path / "a.tgz", {"a.txt": b"a" * 600, "noise": noise})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"a\.tgz is damaged, download it again: \S"):
        open_archive(path)
    assert list((home / ".cache" / "cgan_jax" / "unpacked").iterdir()) == []


def test_a_tar_archive_writes_nowhere_else(tmp_path, home):
    path = write_tgz(tmp_path / "a.tgz", {"../../../../outside.txt": b"a"})
    with pytest.raises(ValueError, match="outside"):
        open_archive(path)
    assert not list(tmp_path.rglob("outside.txt"))


def test_another_process_may_be_first(tmp_path, monkeypatch):
    path = write_tgz(tmp_path / "a.tgz", FILES)
    replace = archives.os.replace

    def after_another(source, target):
        monkeypatch.setattr(archives.os, "replace", replace)
        archives.unpack(path)
        replace(source, target)

    monkeypatch.setattr(archives.os, "replace", after_another)
    assert open_archive(path).names == ("a.txt", "a/ü/c.txt", "b.txt")


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        open_archive(tmp_path / "nowhere")
    write_folder(tmp_path, {"a.zip": b"PK\3\4 and then the connection broke"})
    with pytest.raises(ValueError, match=r"a\.zip is neither.*incomplete"):
        open_archive(tmp_path / "a.zip")
