"""Devices: the only module that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cgan_jax import runtime

AXIS_NAME = "device"
# A third less temporary memory than XLA's default order of kernels, which runs some of
# them side by side; no slower where it was measured (docs/performance.md).
COMPILER_OPTIONS = {
    "cpu": {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
}


def replicate(tree: Any, num_devices: int) -> Any:
    """Copies a pytree to each device, as `parallel_step` returns it."""
    mesh = Mesh(np.array(_devices(num_devices)), (AXIS_NAME,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def _devices(num_devices: int) -> list[jax.Device]:
    available = jax.local_devices()
    if num_devices > len(available):
        raise ValueError(
            f"--num_devices={num_devices}, but this process has {len(available)}"
        )
    return available[:num_devices]


def parallel_step(step_fn: Callable[..., Any], num_devices: int) -> Callable[..., Any]:
    """Shards `step_fn(state, batch, key)` over the batch by `jax.pmap`.

    The state and the metrics are replicated and keep their shapes; the state is donated.
    The first call compiles, for the shapes that it sees.
    `step_fn` must average what it returns over `AXIS_NAME`: what differs between devices
    is silently taken from the first.

    Args:
      step_fn: pure step of one device.
      num_devices: how many of this process's devices; 1 is nothing special.

    Returns:
      A step that takes the global batch.
    """
    devices = _devices(num_devices)
    mapped = jax.pmap(
        step_fn,
        AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=None,
        devices=devices,
        donate_argnums=0,
    )

    options = COMPILER_OPTIONS.get(devices[0].platform)
    compiled: Callable[..., Any] | None = None

    def step(state: Any, batch: np.ndarray, key: jax.Array) -> Any:
        nonlocal compiled
        args = state, shard_batch(batch, num_devices), key
        if compiled is None:
            compiled = mapped.lower(*args).compile(options)
            runtime.release_freed_memory()
        return compiled(*args)

    return step


def shard_batch(batch: np.ndarray, num_devices: int) -> np.ndarray:
    """`(n, ...)` -> `(num_devices, n / num_devices, ...)`.

    Raises:
      ValueError: the batch does not divide evenly.
    """
    if batch.shape[0] % num_devices:
        raise ValueError(
            f"a batch of {batch.shape[0]} does not divide among {num_devices} devices: "
            "change config.train.batch_size or --num_devices"
        )
    return batch.reshape(num_devices, -1, *batch.shape[1:])
