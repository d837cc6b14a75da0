"""Training state on disk, by orbax; published weights are in `model_files`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from cgan_jax.train_state import GanState


class Snapshot(NamedTuple):
    """What one moment of a run consists of."""

    state: GanState
    iterator_state: dict[str, Any]


def open_manager(workdir: Path, *, keep: int | None) -> ocp.CheckpointManager:
    """The checkpoints of a run, in `workdir/checkpoints`; the newest `keep` stay (all if None)."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    return ocp.CheckpointManager(
        (workdir / "checkpoints").absolute(),
        options=options,
        item_names=("state", "iterator"),
    )


def save(manager: ocp.CheckpointManager, snapshot: Snapshot) -> None:
    """Saves a snapshot under its step, in the background."""
    manager.save(
        int(snapshot.state.step),
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(snapshot.state),
            iterator=ocp.args.JsonSave(snapshot.iterator_state),
        ),
    )


def restore_latest(manager: ocp.CheckpointManager, like: GanState) -> Snapshot | None:
    """The newest snapshot, or None if there is none.

    Args:
      manager: checkpoints of the run.
      like: a state of the same shapes.
    """
    step = manager.latest_step()
    if step is None:
        return None
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = manager.restore(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract),
            iterator=ocp.args.JsonRestore(),
        ),
    )
    return Snapshot(restored["state"], restored["iterator"])
