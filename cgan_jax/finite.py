"""Where a run's numbers stop being finite: the step and the first tensor."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from cgan_jax.train_state import GanState

Metrics = dict[str, Array]


class NonFiniteError(ArithmeticError):
    """A metric or a tensor of the state is infinite or not a number."""


def watched(
    step_fn: Callable[..., tuple[GanState, Metrics]],
) -> Callable[..., tuple[GanState, tuple[Metrics, Bool[Array, " tensors"]]]]:
    """`step_fn`, which also tells which tensors of its new state are finite."""

    @functools.wraps(step_fn)
    def step(*args: Any) -> Any:
        state, metrics = step_fn(*args)
        finite = [jnp.isfinite(x).all() for _, x in _tensors(state)]
        return state, (metrics, jnp.stack(finite))

    return step


def _tensors(state: GanState) -> list[tuple[str, Any]]:
    """What is watched, by name, in the order in which a step computes it.

    Not the optimizers' states: the norms of the gradients are among the metrics.
    """
    trees = {
        "batch_stats.gen": state.batch_stats.gen,
        "batch_stats.disc": state.batch_stats.disc,
        "params.disc": state.params.disc,
        "params.gen": state.params.gen,
    }
    return [
        (f"{name}.{jax.tree_util.keystr(path, simple=True, separator='.')}", x)
        for name, tree in trees.items()
        for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


class Watch:
    """Metrics of the steps since they were last looked at; until then on the device."""

    def __init__(self, state: GanState) -> None:
        self._names = [name for name, _ in _tensors(state)]
        self._pending: list[tuple[int, Any]] = []

    def add(self, step: int, metrics: tuple[Metrics, Array]) -> None:
        """Notes what a watched step returned."""
        self._pending.append((step, metrics))

    def newest(self) -> dict[str, float]:
        """Scalars of the newest step, once all steps were found finite.

        Raises:
          NonFiniteError: they are not; names the first such step and tensor.
        """
        steps = jax.device_get(self._pending)
        self._pending = []
        for step, (metrics, finite) in steps:
            self._check(step, metrics, finite)
        return {name: float(x) for name, x in steps[-1][1][0].items()}

    def _check(
        self, step: int, metrics: dict[str, Any], finite: Bool[np.ndarray, " t"]
    ) -> None:
        bad = [f"{name} is {x}" for name, x in metrics.items() if not np.isfinite(x)]
        if not finite.all():
            bad.append(f"the first bad tensor is {self._names[int(finite.argmin())]}")
        if bad:
            raise NonFiniteError(f"step {step} is not finite: {', '.join(bad)}")
