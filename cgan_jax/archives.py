"""Stores of files: a folder, a ZIP archive, or a tar archive that is unpacked once."""

import dataclasses
import functools
import gzip
import hashlib
import os
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from absl import logging

_UNPACKED = "~/.cache/cgan_jax/unpacked"


@dataclasses.dataclass(frozen=True)
class Folder:
    """The files below a folder, by their names with `/` between folders."""

    path: Path

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Sorted; without hidden files and what macOS adds to archives."""
        found = []
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            subfolders[:] = [name for name in subfolders if _is_visible(name)]
            here = Path(folder).relative_to(self.path).as_posix()
            prefix = "" if here == "." else f"{here}/"
            found += [prefix + name for name in files if _is_visible(name)]
        return tuple(sorted(found))

    def read_bytes(self, name: str) -> bytes:
        """The file as it is stored."""
        return (self.path / name).read_bytes()

    def checksum(self, name: str) -> str:
        """The file's length in bytes and its CRC-32: the same in a folder and a ZIP."""
        content = self.read_bytes(name)
        return _checksum(len(content), zlib.crc32(content))


@dataclasses.dataclass(frozen=True)
class Zip:
    """The files in a ZIP archive, which is opened once, when needed; like `Folder`."""

    path: Path

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        files = {f.filename for f in self._file.infolist() if not f.is_dir()}
        return tuple(sorted(name for name in files if _is_visible(name)))

    def read_bytes(self, name: str) -> bytes:
        return self._file.read(name)

    def checksum(self, name: str) -> str:
        info = self._file.getinfo(name)
        return _checksum(info.file_size, info.CRC)

    @functools.cached_property
    def _file(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{self.path} is damaged, download it again: {error}"
            ) from error


Archive = Folder | Zip


def open_archive(path: Path) -> Archive:
    """The files in a folder, a ZIP archive or a (compressed) tar archive.

    A tar archive is unpacked by the first call: random access to a compressed one would
    unpack half of it for each picture. See `unpack`.

    Raises:
      FileNotFoundError: nothing lies at this path.
      ValueError: it is none of the three, or damaged.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        return Folder(path)
    if zipfile.is_zipfile(path):
        return Zip(path)
    if tarfile.is_tarfile(path):
        return Folder(unpack(path))
    raise ValueError(
        f"{path} is neither a folder nor a ZIP archive, nor a tar archive"
        " (an incomplete download?)"
    )


def unpack(path: Path) -> Path:
    """Unpacks a tar archive into a folder of its own in `~/.cache/cgan_jax/unpacked`.

    The folder appears when it is complete and serves every later call; another size or
    date of the archive gives another folder. It may be deleted at any time.

    Raises:
      ValueError: the archive is damaged.
    """
    state = path.stat()
    key = repr((str(path.resolve()), state.st_size, state.st_mtime_ns))
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    target = Path(_UNPACKED).expanduser() / f"{path.name}-{digest}"
    if not target.exists():
        logging.info("unpacking %s into %s, once", path, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _unpack_into(path, target)
    return target


def _unpack_into(path: Path, target: Path) -> None:
    """Unpacks into a hidden folder beside, then moves it into place."""
    with tempfile.TemporaryDirectory(
        prefix=".unfinished-", dir=target.parent
    ) as beside:
        unfinished = Path(beside) / "files"
        try:
            with tarfile.open(path) as archive:
                archive.extractall(unfinished, filter="data")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path} is damaged, download it again: {error}"
            ) from error
        try:
            os.replace(unfinished, target)
        except OSError:
            if not target.exists():  # else another process was first
                raise


def _is_visible(name: str) -> bool:
    return not any(
        part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts
    )


def _checksum(length: int, crc: int) -> str:
    return f"{length}-{crc:08x}"
