"""Which pictures are meant, and what the results of each are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cgan_jax.decoding import is_picture


class InputFile(NamedTuple):
    """A picture that was asked for.

    Attributes:
      path: the file.
      name: of its results below the output: its path below what was asked for, without
        the suffix.
    """

    path: Path
    name: str


def find_inputs(patterns: Sequence[str], output: Path) -> list[InputFile]:
    """Pictures of patterns such as `sketches/*.png`, below folders, or named one by one.

    The order is that of the patterns, and of the paths below each. Below a folder, hidden
    files and folders are left out, links to folders are not followed, and the output
    folder is no input.

    Args:
      patterns: paths, or patterns in which `**` stands for any folders.
      output: folder of the results.

    Raises:
      FileNotFoundError: a pattern fits nothing.
      ValueError: two pictures would have the same results, or results would be taken for
        pictures the next time.
    """
    found: dict[Path, str] = {}
    for pattern in patterns:
        base, paths = _find(pattern, output)
        if not paths:
            raise FileNotFoundError(
                f"--input={pattern} fits no picture: give a file, a folder that holds "
                "pictures, or a quoted pattern"
            )
        for path in paths:
            found.setdefault(path, _name(path.relative_to(base)))
    files = [InputFile(path, name) for path, name in found.items()]
    _check_names(files)
    return files


def _find(pattern: str, output: Path) -> tuple[Path, list[Path]]:
    """What names are relative to, and the files."""
    path = Path(pattern)
    if path.exists() and not path.is_dir():
        return path.parent, [path]
    base = path if path.is_dir() else _fixed_part(path)
    if base.resolve() == output.resolve():
        raise ValueError(
            f"--output={output} is where the pictures of --input={pattern} lie: choose "
            "another folder, or results would be taken for pictures"
        )
    hits = [path] if path.is_dir() else map(Path, glob.glob(pattern, recursive=True))
    files = (x for hit in hits for x in (_walk(hit) if hit.is_dir() else [hit]))
    inside = output.resolve()
    return base, sorted({x for x in files if inside not in x.resolve().parents})


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    fixed = Path()
    for part in pattern.parent.parts:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _walk(folder: Path) -> Iterator[Path]:
    """The pictures below a folder."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [x for x in folders if not x.startswith(".")]
        yield from (path for x in names if is_picture(path := Path(parent, x)))


def _name(path: Path) -> str:
    """Without the suffix, unless nothing but dots would be left."""
    return (path.with_suffix("") if path.stem.strip(".") else path).as_posix()


def _check_names(files: Sequence[InputFile]) -> None:
    """Every picture needs a folder of its own, of which none lies in another."""
    named: dict[str, Path] = {}
    for path, name in files:
        if name in named:
            raise ValueError(
                f"{named[name]} and {path} would both have the results {name}: rename "
                "one, give the folder that holds both, or use another --output for one"
            )
        named[name] = path
    for path, name in files:
        for outer in map(str, Path(name).parents):
            if outer in named:
                raise ValueError(
                    f"the results {name} of {path} would lie among those of "
                    f"{named[outer]}: rename one, or use another --output for one"
                )
