"""The folder of a run: one process at a time, one config, errors that name its files."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from cgan_jax import text_files

# What a run may change when it goes on: what it watches, how long it lasts, where what
# was computed before is kept.
_FREE = ("report.", "projection.", "encoder.", "train.num_epochs", "data.cache_dir")
# Fields that runs once began without, and how these did what the fields now say.
_ONCE_MISSING = {
    "kind": "contextual",
    "model.layout": "halves",
    "model.kernel_size": 5,
    "train.inner_noise": 0.0,
    "train.inner_layers": 3,
    "conditional.l1_weight": 100.0,
}


class WorkdirInUseError(OSError):
    """Another process works in this folder."""


class ConfigChangedError(ValueError):
    """A run would go on with another config than it began with."""


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Keeps every other run out of a folder, until the block or the process ends.

    The kernel's lock on `workdir/lock` goes with the process, however that ends.

    Raises:
      WorkdirInUseError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "lock"
    with naming(path), path.open("a+b", buffering=0) as file:
        _lock(file, workdir)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            file.truncate(0)


def _lock(file: Any, workdir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().decode() or "another process"
        raise WorkdirInUseError(
            f"{workdir} is in use by {holder}: wait until it ends, or choose another "
            "--workdir"
        ) from None
    except OSError as error:
        logging.warning(
            "%s cannot be locked (%s): see to it yourself that no second run uses it",
            workdir,
            error,
        )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives errors the name of the file where they lack it, as those of a full disk do."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes `workdir/config.json`, whole or not at all."""
    path = workdir / "config.json"
    with naming(path):
        text_files.write(path, json.dumps(config, indent=2))


def with_missing(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run with fields that it began without, as what it did then."""
    filled = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
    }
    for name, value in _ONCE_MISSING.items():
        section, _, field = name.rpartition(".")
        place = filled.setdefault(section, {}) if section else filled
        place.setdefault(field, value)
    return filled


def changed_fields(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Fields that decide what a run computes and that differ: `{name: (before, now)}`.

    A field that one of them lacks is as `with_missing` says, or None. How long a run lasts, what it reports,
    how it searches and an encoder of later are no such fields.
    """
    old, new = (_flat(with_missing(config)) for config in (before, now))
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old | new)
        if not name.startswith(_FREE) and old.get(name) != new.get(name)
    }


def check_unchanged(
    before: Mapping[str, Any], now: Mapping[str, Any], *, allow_change: bool
) -> None:
    """Says which fields differ; see `changed_fields`.

    Raises:
      ConfigChangedError: some do, and this is not allowed.
    """
    changes = [
        f"{name} was {old!r}, is {new!r}"
        for name, (old, new) in changed_fields(before, now).items()
    ]
    if changes and not allow_change:
        raise ConfigChangedError(
            f"the run began with another config: {'; '.join(changes)}. Choose another "
            "--workdir, or go on all the same with --allow_config_change"
        )
    for change in changes:
        logging.warning("config changed: %s", change)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
