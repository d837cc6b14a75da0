"""What a command sets up in its own process before it computes; never on import."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

_MIN_COMPILE_SECONDS = 0.2  # below this, compiling anew is as fast as reading
# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def processor_key() -> str:
    """Names this kind of processor: what XLA compiled for another one may not run."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    kept = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    found = sorted({line for line in lines if line.startswith(kept)})
    described = "\n".join([platform.machine(), platform.processor(), *found])
    return f"{platform.machine()}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"


def use_compilation_cache(folder: str) -> None:
    """Keeps what XLA compiles in `folder`, apart for each kind of processor.

    Args:
      folder: made if it is missing; the empty string switches the cache off.
    """
    if not folder:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    path = Path(folder).expanduser() / processor_key()
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update(
        "jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS
    )


def keep_freed_memory() -> None:
    """Lets glibc keep what XLA frees instead of handing it back to the kernel.

    XLA allocates its temporary memory anew for every call, on CPUs: a training step at 32
    filters then touches 100,000 fresh pages, a tenth of its time. Without glibc, nothing
    happens.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)


def release_freed_memory() -> None:
    """Hands what glibc holds, unused, back to the kernel: hundreds of MB after XLA compiled.

    Without glibc, nothing happens.
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@contextlib.contextmanager
def noted_sigterm() -> Iterator[Callable[[], bool]]:
    """Inside the block, SIGTERM does not end the process; outside, all is as before.

    In a thread other than the main one, where Python takes no signals, nothing changes.

    Yields:
      A function that tells whether the signal has come.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
