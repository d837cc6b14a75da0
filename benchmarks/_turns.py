"""Two processes that work turn by turn.

Times of a shared machine wander, so both sides of a comparison are measured in one run,
A B A B ..., and never work at once. A worker is a script that calls `serve`; the
benchmark holds it as a `Worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Reply = dict[str, Any]
_SECONDS_TO_END = 30


class WorkerError(RuntimeError):
    """A worker that ended before its time."""


class Worker:
    """A process that works only while `turn` waits for it.

    Args:
      name: how messages call it.
      command: program and arguments; its script calls `serve`. Standard error passes
        through.

    Attributes:
      ready: what the worker told when it was prepared.

    Raises:
      WorkerError: it ended, while it prepared itself or later in `turn`.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        try:
            self.ready = self._read()
        except BaseException:
            self.close()
            raise

    def turn(self) -> Reply:
        """Lets the worker do one turn."""
        try:
            self._stdin.write("\n")
            self._stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: reading finds out how
        return self._read()

    def close(self) -> None:
        """Ends the process, which leaves by itself at the end of its input."""
        try:
            self._stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def _read(self) -> Reply:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise WorkerError(
                f"the {self._name} worker ended with exit code {code}: its messages "
                "are above"
            )
        return json.loads(line)


def _environment() -> dict[str, str]:
    """The CPU, where the peer runs; no cache, so that each run compiles alike."""
    cached = "JAX_COMPILATION_CACHE_DIR"
    kept = {name: value for name, value in os.environ.items() if name != cached}
    return kept | {"JAX_PLATFORMS": "cpu"}


def serve(prepare: Callable[[], tuple[Reply, Callable[[], Reply]]]) -> None:
    """The worker's side: prepares, then does a turn for each line of standard input.

    Args:
      prepare: does all that is not timed; returns what to tell the benchmark, and the
        turn, whose reply holds at least `seconds`. Each reply gets `peak_mb`, and
        `cores`: how many were at work on average.
    """
    replies, sys.stdout = sys.stdout, sys.stderr  # a library that prints disturbs none

    def send(reply: Reply) -> None:
        print(json.dumps(reply), file=replies, flush=True)

    ready, turn = prepare()
    send(ready)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        reply = turn()
        cores = (time.process_time() - cpu) / (time.perf_counter() - wall)
        send(reply | {"peak_mb": peak_mb(), "cores": cores})


def peak_mb() -> float:
    """Largest memory of this process so far, in 10^6 bytes.

    From /proc: `ru_maxrss` of a new process begins with that of its parent.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = (x for x in status.splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def take_turns(
    workers: Sequence[Worker], turns: int, *, discarded: int = 1
) -> list[list[Reply]]:
    """Replies of each worker in `turns` rounds, after some that are not looked at."""
    rounds = [[w.turn() for w in workers] for _ in range(discarded + turns)]
    return [list(replies) for replies in zip(*rounds[discarded:], strict=True)]


def measure(
    job: str,
    settings: dict[str, Any],
    turns: int,
    check: Callable[[Reply, Reply], Reply],
    *,
    peer: bool,
    discarded: int = 1,
) -> tuple[list[Reply], list[Reply], Reply]:
    """Our replies to a job, PyTorch's (none without the peer), and what `check` found.

    Args:
      job: a job of `_worker_ours.py` and of `_worker_torch.py`.
      settings: of the job; a folder that both share is added.
      turns: that count.
      check: compares what both told when they were ready; raises to stop here.
      peer: whether there is a peer.
      discarded: turns before those that count.
    """
    names = ("ours", "torch") if peer else ("ours",)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        argument = json.dumps(settings | {"folder": folder})
        workers = []
        for name in names:
            script = Path(__file__).with_name(f"_worker_{name}.py")
            command = [sys.executable, str(script), job, argument]
            workers.append(stack.enter_context(Worker(name, command)))
        checked = check(workers[0].ready, workers[1].ready) if peer else {}
        replies = take_turns(workers, turns, discarded=discarded)
    return replies[0], replies[1] if peer else [], checked
