"""Devices: the only module that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

AXIS_NAME = "device"


def parallel_step(step_fn: Callable[..., Any], num_devices: int) -> Callable[..., Any]:
    """Shards `step_fn(state, batch, key)` over the batch by `jax.pmap`.

    The state and the metrics are replicated and keep their shapes; the state is donated.
    `step_fn` must average what it returns over `AXIS_NAME`: what differs between devices
    is silently taken from the first.

    Args:
      step_fn: pure step of one device.
      num_devices: how many of this process's devices; 1 is nothing special.

    Returns:
      A step that takes the global batch.
    """
    mapped = jax.pmap(
        step_fn,
        AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=None,
        devices=jax.local_devices()[:num_devices],
        donate_argnums=0,
    )

    def step(state: Any, batch: np.ndarray, key: jax.Array) -> Any:
        return mapped(state, shard_batch(batch, num_devices), key)

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
