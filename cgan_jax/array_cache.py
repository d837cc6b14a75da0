"""Arrays that were computed before, in files named after what they were computed from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


def content_key(*parts: np.ndarray | Any) -> str:
    """A name for arrays (type, shape, bytes) and JSON values: equal parts, equal names."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:32]


def load(path: Path) -> Arrays | None:
    """What `save` wrote, or None if there is no such file."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def load_each(paths: Iterable[Path]) -> list[Arrays]:
    """What `save` wrote to each.

    Raises:
      FileNotFoundError: there is no such file.
    """
    found = []
    for path in paths:
        arrays = load(path)
        if arrays is None:
            raise FileNotFoundError(f"{path} has vanished: give the same command again")
        found.append(arrays)
    return found


def save(path: Path, arrays: Arrays) -> None:
    """Writes arrays under the final name once they are whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)
