"""What the numbers of a run hang on: the machine, the versions, what is installed."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

TORCH = "torch==2.13.0"
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")
_SIDE = 2048
_REPEATS = 5


def require(module: str, message: str) -> None:
    """Leaves with an error unless a module is installed."""
    if importlib.util.find_spec(module) is None:
        sys.exit(f"error: {message}")


def require_torch() -> None:
    """Leaves with an error unless the peer can run."""
    require(
        "torch",
        f"the peer needs PyTorch: `pip install {TORCH}`, or measure without it, --nopeer",
    )


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages; None where one is missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


@functools.cache
def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, how busy and how fast they are now.

    Asked once, before anything is measured: a `load_average` of 1 and more says that
    others were at work in the last minute. PyTorch's threads wait for each other and
    suffer more from that than XLA's, so that no ratio is to be trusted then.
    """
    load = os.getloadavg()[0]
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(load, 2),
        "jax_matmul_gflops": round(matmul_gflops(), 1),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as Linux gives it."""
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()  # ARM's cpuinfo has no such line


def matmul_gflops() -> float:
    """Best rate of float32 products of 2048x2048 matrices in jax on the CPU."""
    import jax  # after the flags: --help stays fast
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")
    a = jax.random.normal(jax.random.key(0), (_SIDE, _SIDE), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    multiply(a, a).block_until_ready()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        multiply(a, a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * _SIDE**3 / min(seconds) / 1e9
