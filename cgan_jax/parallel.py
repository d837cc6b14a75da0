"""Devices and hosts: the only module that names them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cgan_jax import runtime

AXIS_NAME = "device"
_waits = itertools.count()  # the same in all processes
_LONGEST_WAIT = 7 * 24 * 3600 * 1000  # milliseconds; a lost process is noticed before
# A third less temporary memory than XLA's default order of kernels, which runs some of
# them side by side; no slower where it was measured (docs/performance.md).
COMPILER_OPTIONS = {
    "cpu": {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
}


def join_hosts(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    host_timeout: int = 100,
) -> None:
    """Makes this process one of many, before anything is computed.

    Without arguments, jax looks whether it runs on a cluster that it knows (SLURM, Open
    MPI, Kubernetes, TPU pods); if not, this process is the only one.

    Args:
      coordinator: `HOST:PORT` of process 0, the same in all processes.
      num_processes: how many there are.
      process_id: which one this is, from 0.
      host_timeout: seconds after which a silent process counts as lost, which ends all.

    Raises:
      ValueError: one of the three is missing.
    """
    given = [x is not None for x in (coordinator, num_processes, process_id)]
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=host_timeout,
            shutdown_timeout_seconds=host_timeout,
        )
    except ValueError as error:
        if any(given):
            raise ValueError(
                "--coordinator, --num_processes and --process_id go together where jax "
                f"does not know the cluster ({error})"
            ) from error


def split_cpu(num_devices: int) -> None:
    """Makes so many devices of a CPU, before anything is computed; other devices stay.

    Each computes on all cores, so that more than the machine's cores bring nothing. What
    XLA_FLAGS say of host devices comes first.
    """
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if num_devices > 1 and not forced:
        jax.config.update("jax_num_cpu_devices", num_devices)


def host() -> int:
    """Index of this process, 0 if it is the only one."""
    return jax.process_index()


def num_hosts() -> int:
    """Number of processes that work together."""
    return jax.process_count()


def is_first_host() -> bool:
    """Whether this process writes what is written once."""
    return host() == 0


def num_local() -> int:
    """Number of this process's devices."""
    return jax.local_device_count()


@contextlib.contextmanager
def running_on(index: int) -> Iterator[None]:
    """Inside the block, in this thread, jax computes on this one of the process's devices."""
    with jax.default_device(jax.local_devices()[index]):
        yield


def wait_for_hosts(what: str) -> None:
    """Waits until all processes have come here, however long some of them take.

    On CPUs a computation of all would wait for 30 seconds at most.
    """
    if num_hosts() == 1:
        return
    from orbax.checkpoint import multihost

    multihost.get_barrier_sync_fn()(
        key=f"{what}, {next(_waits)}", timeout_ms=_LONGEST_WAIT
    )


def as_first_host(x: float) -> float:
    """The first process's value, for all."""
    return float(multihost_utils.broadcast_one_to_all(np.float64(x)))


def to_all_hosts(tree: Any) -> Any:
    """What `parallel_step` returned, as one value of all processes: for orbax."""
    if num_hosts() == 1:
        return tree
    # Completing, which has no need of this, imports no orbax.
    from orbax.checkpoint.utils import fully_replicated_host_local_array_to_global_array

    return jax.tree.map(fully_replicated_host_local_array_to_global_array, tree)


def one_copy(tree: Any) -> Any:
    """What `parallel_step` returned, on one of this process's devices."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


@contextlib.contextmanager
def termination() -> Iterator[Callable[[int], bool]]:
    """Inside the block, SIGTERM only takes note.

    Yields:
      A function of the step just done, to be called after every step: whether to stop
      now. It tells all processes to stop after the same step, whichever got the signal.
    """
    if jax.distributed.is_initialized():
        yield multihost_utils.reached_preemption_sync_point
    else:
        with runtime.noted_sigterm() as noted:
            yield lambda step: noted()


def replicate(tree: Any, num_devices: int) -> Any:
    """Copies a pytree to each device, as `parallel_step` returns it."""
    mesh = Mesh(np.array(_devices(num_devices)), (AXIS_NAME,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def _devices(num_devices: int) -> list[jax.Device]:
    """So many of this process's devices."""
    available = jax.local_devices()
    if num_devices > len(available):
        raise ValueError(
            f"--num_devices={num_devices}, but this process has {len(available)}"
        )
    return available[:num_devices]


def _devices_of_all_hosts(num_devices: int) -> list[jax.Device]:
    """So many of each process's, in the order of processes."""
    _devices(num_devices)
    return [
        device
        for process in range(num_hosts())
        for device in jax.local_devices(process)[:num_devices]
    ]


def parallel_step(step_fn: Callable[..., Any], num_devices: int) -> Callable[..., Any]:
    """Shards `step_fn(state, batch, key)` over the batch by `jax.pmap`, on all hosts.

    The state and the metrics are replicated and keep their shapes; the state is donated.
    The first call compiles, for the shapes that it sees.
    `step_fn` must average what it returns over `AXIS_NAME`: what differs between devices
    is silently taken from the first.

    Args:
      step_fn: pure step of one device.
      num_devices: how many of each process's devices; 1 is nothing special.

    Returns:
      A step that takes this process's part of the global batch.
    """
    devices = _devices_of_all_hosts(num_devices)
    mapped = jax.pmap(
        step_fn,
        AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=None,
        devices=devices,
        donate_argnums=0,
    )

    options = COMPILER_OPTIONS.get(devices[0].platform)
    # What is compiled ahead takes global arrays; pmap itself makes them of each host's.
    compiled: Callable[..., Any] | None = mapped if num_hosts() > 1 else None

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
