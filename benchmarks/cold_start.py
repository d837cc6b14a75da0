"""Times `cgan-complete` from the start of the process to the written picture.

    pip install -e .
    python benchmarks/cold_start.py

One example drawing is completed with the bundled model by a fresh process: without a
compilation cache, with an empty one that it fills, and with the filled one; beside them
`--help`. The four take turns, `--runs` times.

Prints one JSON line and a table: medians and [least, largest] of the wall clock (`_s`)
and of the processor time (`_cpu_s`), in seconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import _records
from _records import Record
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("runs", 3, "Runs of each kind.", 1)
flags.DEFINE_string("model", "faces", "Model, by name or folder.")
flags.DEFINE_string(
    "input",
    str(Path(__file__).resolve().parents[1] / "docs" / "sketches" / "face_01.png"),
    "Drawing.",
)

_COMMAND = (sys.executable, "-m", "cgan_jax.launch.complete")
_HELP_CODES = (0, 1)  # absl leaves with 1 after --help
_KINDS = ("no_cache", "filling_cache", "filled_cache", "help")


class Used(NamedTuple):
    """What a process took, in seconds."""

    wall: float
    cpu: float


class CommandError(RuntimeError):
    """A command that failed; the message holds what it said."""


def run(command: Sequence[str], codes: Sequence[int] = (0,)) -> Used:
    """Runs a command to its end.

    Args:
      command: program and arguments.
      codes: exit codes of success.

    Returns:
      Wall clock and processor time, of all threads and of children it waited for.

    Raises:
      CommandError: another exit code.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=_environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            output.seek(0)
            raise CommandError(
                f"`{' '.join(command)}` ended with exit code {process.returncode}:\n"
                + output.read()
            )
    return Used(wall, usage.ru_utime + usage.ru_stime)


def _environment() -> dict[str, str]:
    """This process's, without a compilation cache that its user may have set."""
    cached = "JAX_COMPILATION_CACHE_DIR"
    return {name: value for name, value in os.environ.items() if name != cached}


def complete(folder: Path, cache: str) -> Used:
    """Completes the drawing into a new folder; the cache may be "", none."""
    used = run(
        [
            *_COMMAND,
            f"--model={FLAGS.model}",
            f"--input={FLAGS.input}",
            f"--output={folder}",
            f"--compilation_cache={cache}",
        ]
    )
    if not (folder / Path(FLAGS.input).stem / "photo.png").is_file():
        raise CommandError(f"no picture was written to {folder}")
    return used


def one_round() -> dict[str, Used]:
    """Each kind once."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cache = folder / "cache"
        cache.mkdir()
        none = complete(folder / "1", "")
        filling = complete(folder / "2", str(cache))
        if not any(cache.iterdir()):
            raise CommandError("the compilation cache stayed empty")
        filled = complete(folder / "3", str(cache))
    used = (none, filling, filled, run([*_COMMAND, "--help"], _HELP_CODES))
    return dict(zip(_KINDS, used, strict=True))


def summary(rounds: Sequence[dict[str, Used]]) -> Record:
    """Medians and spreads of each kind."""
    record: Record = {}
    for kind in _KINDS:
        wall, cpu = zip(*(used[kind] for used in rounds), strict=True)
        record |= {
            f"{kind}_s": _records.significant(statistics.median(wall)),
            f"{kind}_spread": _records.spread(wall),
            f"{kind}_cpu_s": _records.significant(statistics.median(cpu)),
        }
    return record


def measure() -> Iterator[Record]:
    """The one record."""
    rounds = [one_round() for _ in range(FLAGS.runs)]
    settings = {"benchmark": "cold_start", "model": FLAGS.model, "runs": FLAGS.runs}
    yield settings | summary(rounds)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    columns = [f"{kind}_{what}" for kind in _KINDS for what in ("s", "cpu_s")]
    try:
        _records.report(measure(), columns)
    except CommandError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
