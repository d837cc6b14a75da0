"""Training state on disk, by orbax; published weights are in `model_files`."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import LatestN

from cgan_jax import parallel
from cgan_jax.train_state import GanState

# The score by which the best checkpoint is kept, the higher the better: likeness of the
# completed photographs to the true ones. The fit to the sketch is no guide: a G that can
# draw anything but faces fits best (docs/recipes.md).
SCORE = "validation_ssim"
_ITEMS = ("state", "iterator", "config")


class CheckpointError(OSError):
    """Checkpoints cannot be written or read; the message says what is left."""


class Snapshot(NamedTuple):
    """What one moment of a run consists of.

    Attributes:
      state: all that a step changes.
      iterator_state: where the batches are.
      config: what the run computes, as JSON; see `workdir.changed_fields`.
    """

    state: GanState
    iterator_state: dict[str, Any]
    config: dict[str, Any]


def open_manager(workdir: Path, *, keep: int | None) -> ocp.CheckpointManager:
    """The checkpoints of a run, in `workdir/checkpoints`, for the process that trains.

    The newest `keep` stay (all if None), and the one with the highest `SCORE`. What a killed
    process had half written goes.
    """
    return _open(
        workdir,
        preservation_policy=_NewestAndBest(_folder(workdir), keep),
        create=True,
        cleanup_tmp_directories=True,
    )


def open_reader(workdir: Path) -> ocp.CheckpointManager:
    """The checkpoints of a run that may be in progress, to read: nothing is changed."""
    return _open(workdir, create=False)


def _folder(workdir: Path) -> Path:
    return (workdir / "checkpoints").absolute()


def _open(workdir: Path, **options: Any) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        _folder(workdir),
        options=ocp.CheckpointManagerOptions(
            best_fn=lambda scores: scores[SCORE],  # without it, orbax writes no scores
            lightweight_initialize=True,  # else a damaged file of scores is an error
            **options,
        ),
        item_names=_ITEMS,
    )


class _NewestAndBest:
    """Which checkpoints stay: the newest, and the one of the best completions."""

    def __init__(self, folder: Path, keep: int | None) -> None:
        self._folder = folder
        self._newest = LatestN(keep)

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> Sequence[bool]:
        """For orbax, whose own policy forgets the scores of earlier processes."""
        newest = self._newest.should_preserve(checkpoints, context=context)
        scores = [_score(self._folder, info.step, info.metrics) for info in checkpoints]
        best = max(scores, default=-math.inf)
        return [
            is_new or score == best > -math.inf
            for is_new, score in zip(newest, scores, strict=True)
        ]


def _score(folder: Path, step: int, scores: Mapping[str, float] | None = None) -> float:
    """That of the completions at a checkpoint; -inf without any."""
    if scores is None:
        try:
            scores = json.loads(
                (folder / str(step) / "metrics" / "metrics").read_text()
            )
        except (OSError, ValueError):
            return -math.inf
    return scores.get(SCORE, -math.inf)


def save(
    manager: ocp.CheckpointManager,
    snapshot: Snapshot,
    scores: Mapping[str, float] | None = None,
) -> None:
    """Saves a snapshot under its step, in the background; every host calls it.

    Args:
      manager: checkpoints of the run.
      snapshot: the moment.
      scores: of the validation completions, if they were made at this step.

    Raises:
      CheckpointError: this one or the one before cannot be written.
    """
    state, iterator_state, config = snapshot
    with _explained(manager):
        manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(parallel.to_all_hosts(state)),
                iterator=ocp.args.JsonSave(iterator_state),
                config=ocp.args.JsonSave(config),
            ),
            metrics=dict(scores or {}),
            force=True,
        )


def check(manager: ocp.CheckpointManager) -> None:
    """Raises CheckpointError if a save that has ended in the background failed."""
    with _explained(manager):
        manager.check_for_errors()


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits until all is on disk; raises CheckpointError if something could not be."""
    with _explained(manager):
        manager.wait_until_finished()
        manager.close()


@contextlib.contextmanager
def _explained(manager: ocp.CheckpointManager) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # orbax and tensorstore have many kinds
        names = (path.name for path in manager.directory.iterdir())
        steps = sorted(int(name) for name in names if name.isdigit())
        left = f"the newest whole one is of step {steps[-1]}" if steps else "none is"
        raise CheckpointError(
            f"a checkpoint could not be written to {manager.directory} ({error}); {left}. "
            "Is the disk full? Make room, then the same command goes on from there"
        ) from error


def restore_best(manager: ocp.CheckpointManager, like: GanState) -> Snapshot | None:
    """The snapshot with the highest `SCORE`, or None if none has completed sketches.

    Raises:
      CheckpointError: it cannot be read.
    """
    folder = Path(manager.directory)
    score, step = max(
        ((_score(folder, step), step) for step in manager.all_steps()),
        default=(-math.inf, 0),
    )
    if score == -math.inf:
        return None
    try:
        config = _read(manager, step, config=ocp.args.JsonRestore())["config"]
        return _restore(manager, step, like, config)
    except Exception as error:  # as above
        raise CheckpointError(
            f"the best checkpoint, of step {step}, cannot be read ({error})"
        ) from error


def restore_newest(
    manager: ocp.CheckpointManager,
    like: GanState,
    check_config: Callable[[dict[str, Any]], None] = lambda config: None,
) -> Snapshot | None:
    """The newest snapshot that can be read, or None if there is none at all.

    Args:
      manager: checkpoints of the run.
      like: a state of the same shapes.
      check_config: raises where the config of a snapshot does not suit.

    Raises:
      CheckpointError: there are some, and none can be read.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    reasons = []
    for step in steps:
        try:
            config = _read(manager, step, config=ocp.args.JsonRestore())["config"]
        except Exception as error:  # noqa: BLE001 as above
            reasons.append(_skip(step, error))
            continue
        check_config(config)
        try:
            return _restore(manager, step, like, config)
        except Exception as error:  # noqa: BLE001
            reasons.append(_skip(step, error))
    if steps:
        raise CheckpointError(
            f"none of the checkpoints {steps} in {manager.directory} can be read "
            f"({reasons[0]}): they are damaged, or of another model than the config's. Copy "
            "them back from elsewhere, or choose another --workdir"
        )
    return None


def _skip(step: int, error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0][:200]}"
    logging.warning("the checkpoint of step %d cannot be read (%s)", step, reason)
    return reason


def _restore(
    manager: ocp.CheckpointManager, step: int, like: GanState, config: dict[str, Any]
) -> Snapshot:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = _read(
        manager,
        step,
        state=ocp.args.StandardRestore(abstract),
        iterator=ocp.args.JsonRestore(),
    )
    return Snapshot(restored["state"], restored["iterator"], config)


def _read(manager: ocp.CheckpointManager, step: int, **items: Any) -> Any:
    return manager.restore(step, args=ocp.args.Composite(**items))


def set_aside_newer(workdir: Path, step: int) -> None:
    """Moves checkpoints of later steps, which cannot be read, out of the run's way.

    To `workdir/unreadable`: their steps will be done and saved again.
    """
    found = (path for path in _folder(workdir).iterdir() if path.name.isdigit())
    newer = [path for path in found if int(path.name) > step]
    parallel.wait_for_hosts("found the newer checkpoints")
    if newer and parallel.is_first_host():
        aside = workdir / "unreadable"
        aside.mkdir(exist_ok=True)
        for path in newer:
            others = len(list(aside.glob(f"{path.name}.*")))
            path.rename(aside / f"{path.name}.{others}")
            logging.warning("moved %s to %s", path, aside)
    parallel.wait_for_hosts("set aside the newer checkpoints")
