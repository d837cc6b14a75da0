"""A profile of a few training steps, taken by `jax.profiler`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
from absl import logging

_SKIPPED = 2  # steps of this launch: the first compiles, the second warms up


class StepTrace:
    """Traces a few steps of a loop that calls `before` and `after` around each.

    `workdir/profile` then holds what TensorBoard's profile plugin (xprof) and Perfetto read.
    """

    def __init__(self, workdir: Path, *, first: int, last: int, num_steps: int) -> None:
        """Traces `num_steps` steps, none if 0, of a loop from step `first` to `last`."""
        self._folder = workdir / "profile"
        begin = first + _SKIPPED
        self._steps = range(begin, min(begin + num_steps, last + 1))
        if num_steps and not self._steps:
            logging.warning(
                "no step is profiled: steps %d to %d are left, and profiling begins at %d",
                first,
                last,
                begin,
            )

    def before(self, step: int) -> None:
        """Starts the trace if this step is its first."""
        if self._steps and step == self._steps[0]:
            jax.profiler.start_trace(str(self._folder))

    def after(self, step: int, result: Any) -> None:
        """Ends the trace if this step is its last, once `result` is computed."""
        if self._steps and step == self._steps[-1]:
            jax.block_until_ready(result)
            jax.profiler.stop_trace()
            logging.info(
                "profile of steps %d to %d: %s", self._steps[0], step, self._folder
            )
