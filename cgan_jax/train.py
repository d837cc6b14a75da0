"""The training loop."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from cgan_jax import (
    checkpoints,
    finite,
    input_pipeline,
    kinds,
    parallel,
    sheets,
    validation,
)
from cgan_jax.dataset import Pairs, find_or_prepare, open_pairs
from cgan_jax.joint import Joint
from cgan_jax.kinds import Kind
from cgan_jax.metric_writer import MetricWriter
from cgan_jax.models import GanPair
from cgan_jax.step_trace import StepTrace
from cgan_jax.train_state import (
    GanState,
    create_state,
    make_tx,
    state_from_variables,
)
from cgan_jax.workdir import check_unchanged, held, naming, write_config


class Terminated(Exception):
    """The run was asked to end, and has saved all that it needs to go on."""


def train(
    config: ml_collections.ConfigDict,
    workdir: Path,
    *,
    num_devices: int = 1,
    init_from: str | None = None,
    allow_config_change: bool = False,
    profile_steps: int = 0,
) -> GanState:
    """Trains until `config.train.num_epochs` are done, from the newest checkpoint on.

    Writes `config.json`, `data.json` (what the data were made of), `metrics.jsonl`,
    `tensorboard/`, `checkpoints/`, `samples/` and `validation/` to `workdir`. Every process
    of a run on many hosts calls it.

    Args:
      config: fields as in `configs/default.py`.
      workdir: folder of this run, the same for all hosts; made if missing, resumed if it
        has checkpoints.
      num_devices: devices of each host that share each batch.
      init_from: published model (a name or a folder) whose weights a new run starts from.
      allow_config_change: go on although the run began with another config.
      profile_steps: how many steps `jax.profiler` traces, into `profile/`.

    Returns:
      The last state.

    Raises:
      Terminated: SIGTERM came; the state is saved.
      ValueError: the data cannot fill a batch, the batch does not divide among the
        devices, `init_from` is a model of another shape, or the config has changed.
      OSError: the workdir is in use, or a file cannot be written or read.
      finite.NonFiniteError: the losses or the state are infinite or not a number.
    """
    lock = held(workdir) if parallel.is_first_host() else contextlib.nullcontext()
    with lock:
        run = _start(config, workdir, num_devices, init_from, allow_config_change)
        with (
            contextlib.closing(_Reports(run)) as reports,
            parallel.termination() as must_stop,
        ):
            return _loop(run, reports, must_stop, profile_steps)


@dataclasses.dataclass
class _Run:
    """What the loop works with."""

    config: ml_collections.ConfigDict
    workdir: Path
    facts: dict[str, Any]
    kind: Kind
    state: GanState
    iterator: Any
    step_fn: Callable[..., Any]
    manager: Any
    num_steps: int
    held_out: np.ndarray


def _start(
    config: ml_collections.ConfigDict,
    workdir: Path,
    num_devices: int,
    init_from: str | None,
    allow_config_change: bool,
) -> _Run:
    """Everything up to the first step, from the newest checkpoint if there is one."""
    pairs = _training_pairs(config)
    kind = kinds.of(config)
    iterator = input_pipeline.make_train_iterator(
        pairs,
        kind.joint,
        batch_size=config.train.batch_size,
        seed=config.seed,
        flip=config.data.flip,
        host=parallel.host(),
        num_hosts=parallel.num_hosts(),
    )
    logging.info("%s", kind.table())
    tx = make_tx(config.train.learning_rate, config.train.beta1)
    state = parallel.replicate(
        _initial_state(kind, tx, config.seed, init_from), num_devices
    )
    facts = _facts(config, pairs)
    snapshot = _restore(workdir, state, facts, allow_config_change)
    if snapshot is not None:
        state = snapshot.state
        iterator.set_state(snapshot.iterator_state)
        logging.info("resumed at step %d", int(state.step))
    if parallel.is_first_host():
        write_config(workdir, config.to_dict())
        with naming(workdir / "data.json"):
            (workdir / "data.json").write_text(json.dumps(pairs.manifest, indent=1))
    return _Run(
        config,
        workdir,
        facts,
        kind,
        state,
        iterator,
        parallel.parallel_step(finite.watched(kind.step_fn(tx)), num_devices),
        checkpoints.open_manager(workdir, keep=config.report.checkpoints_kept),
        int(config.train.num_epochs * len(pairs) // config.train.batch_size),
        _held_out(config, pairs, kind.joint),
    )


def _restore(
    workdir: Path, like: GanState, facts: dict[str, Any], allow_config_change: bool
) -> checkpoints.Snapshot | None:
    check = functools.partial(
        check_unchanged, now=facts, allow_change=allow_config_change
    )
    manager = checkpoints.open_reader(workdir)
    snapshot = checkpoints.restore_newest(manager, like, check)
    manager.close()
    if snapshot is not None:
        checkpoints.set_aside_newer(workdir, int(snapshot.state.step))
    return snapshot


def _facts(config: ml_collections.ConfigDict, pairs: Pairs) -> dict[str, Any]:
    """The config and the pictures, as JSON: what must not change when a run goes on."""
    fingerprint = pairs.manifest["source"]["fingerprint"]
    return json.loads(config.to_json()) | {"pictures": fingerprint}


def _loop(
    run: _Run,
    reports: _Reports,
    must_stop: Callable[[int], bool],
    profile_steps: int,
) -> GanState:
    report, state, num_steps = run.config.report, run.state, run.num_steps
    first = int(state.step)
    watch = finite.Watch(state)
    clock = _Clock(60 * report.checkpoint_every_minutes)
    key = jax.random.key(run.config.seed)
    trace = StepTrace(
        run.workdir, first=first + 1, last=num_steps, num_steps=profile_steps
    )
    for step in range(first + 1, num_steps + 1):
        trace.before(step)
        batch = reports.progress.next(run.iterator)["joint"]
        state, metrics = run.step_fn(state, batch, key)
        trace.after(step, metrics)
        watch.add(step, metrics)
        stopping, last = must_stop(step), step == num_steps
        logs, samples, validates, saves = (
            last or step % every == 0
            for every in (
                report.log_every_steps,
                report.sample_every_steps,
                report.validate_every_steps,
                report.checkpoint_every_steps,
            )
        )
        validates = validates and len(run.held_out) > 0
        saves = saves or validates or stopping or (logs and clock.is_due())
        if not (logs or samples or saves):
            continue
        scalars = _finite_scalars(watch, run.manager)
        checkpoints.check(run.manager)
        scores = reports.validate(step, state) if validates else {}
        if logs or scores:
            reports.write_line(step, scalars | scores)
        if samples:
            reports.sample(step, state)
        if saves:
            _save(run, state, scores)
            clock.restart()
        if stopping and not last:
            checkpoints.finish(run.manager)
            raise Terminated(
                f"SIGTERM: saved step {step} of {num_steps} in {run.workdir}; the same "
                "command goes on from there"
            )
    checkpoints.finish(run.manager)
    return state


def _finite_scalars(watch: finite.Watch, manager: Any) -> dict[str, float]:
    try:
        return watch.newest()
    except finite.NonFiniteError as error:
        checkpoints.finish(manager)
        saved = manager.latest_step()
        kept = (
            "there is no checkpoint yet"
            if saved is None
            else (f"the newest checkpoint, of step {saved}, is finite and kept")
        )
        raise finite.NonFiniteError(
            f"{error}; {kept}. The same command would come here again: go on with another "
            "config, such as a lower config.train.learning_rate, and --allow_config_change"
        ) from error


def _save(run: _Run, state: GanState, scores: dict[str, float]) -> None:
    iterator_state = run.iterator.get_state()
    snapshot = checkpoints.Snapshot(state, iterator_state, run.facts)
    checkpoints.save(run.manager, snapshot, scores)


def _training_pairs(config: ml_collections.ConfigDict) -> Pairs:
    styles = config.data.style.split(",")
    folder = find_or_prepare(
        config.data.source,
        Path(config.data.cache_dir).expanduser(),
        size=config.model.height,
        styles=styles,
        frame=config.data.frame,
        max_broken=config.data.max_broken,
    )
    return open_pairs(folder, "train", styles)


def _held_out(
    config: ml_collections.ConfigDict, pairs: Pairs, joint: Joint
) -> np.ndarray:
    """The joint images of the sketches that are completed on the way; perhaps none."""
    none = np.zeros((0, *joint.shape), np.float32)
    if not config.report.num_validation:
        return none
    if not pairs.manifest["counts"].get("validation"):
        logging.warning("no pictures are held out for validation: nothing is completed")
        return none
    held_out = open_pairs(pairs.folder, "validation", pairs.styles)
    return validation.choose(held_out, joint, config.report.num_validation)


def _initial_state(
    kind: Kind, tx: GanPair, seed: int, init_from: str | None
) -> GanState:
    if init_from is None:
        return create_state(kind.models, tx, jax.random.key(seed))
    return state_from_variables(*kind.published(init_from), tx)


class _Progress:
    """Rates and the time left, from the wall clock."""

    def __init__(self, first: int, num_steps: int, batch_size: int) -> None:
        self._last_step, self._num_steps = first, num_steps
        self._batch_size = batch_size
        self._last_time = time.perf_counter()
        self._waited = 0.0

    def next(self, iterator: Iterator[Any]) -> Any:
        """The next batch; the time until it is there counts as waiting."""
        start = time.perf_counter()
        batch = next(iterator)
        self._waited += time.perf_counter() - start
        return batch

    def report(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        """Logs one line; returns the rate, and the wait a step, since the last one."""
        now = time.perf_counter()
        num_steps = step - self._last_step
        seconds = (now - self._last_time) / num_steps
        waited = self._waited / num_steps
        self._last_step, self._last_time, self._waited = step, now, 0.0
        logging.info(
            "step %d/%d  %.0f images/s  %s left  %s",
            step,
            self._num_steps,
            self._batch_size / seconds,
            _duration(seconds * (self._num_steps - step)),
            "  ".join(f"{name} {x:.3g}" for name, x in sorted(scalars.items())),
        )
        return {
            "images_per_second": self._batch_size / seconds,
            "input_wait_seconds": waited,
        }


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


class _Clock:
    """Whether so many seconds have passed, by the first host's watch."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._begin = time.monotonic()

    def is_due(self) -> bool:
        passed = time.monotonic() - self._begin
        return parallel.as_first_host(passed) >= self._seconds


class _Reports:
    """What people watch; every host computes it, the first one writes it."""

    def __init__(self, run: _Run) -> None:
        self._run, first = run, int(run.state.step)
        self.progress = _Progress(first, run.num_steps, run.config.train.batch_size)
        if parallel.is_first_host():
            self._writer = MetricWriter(run.workdir, from_step=first)

    def write_line(self, step: int, scalars: dict[str, float]) -> None:
        """Appends one line to `metrics.jsonl`, and logs it."""
        if parallel.is_first_host():
            with naming(self._run.workdir / "metrics.jsonl"):
                rate = self.progress.report(step, scalars)
                self._writer.write(step, scalars | rate)

    def close(self) -> None:
        """Ends the files of the curves."""
        if parallel.is_first_host():
            self._writer.close()

    def sample(self, step: int, state: GanState) -> None:
        """Writes a sheet of what the averaged generator draws."""
        run = self._run
        sheet = run.kind.samples(parallel.one_copy(state), run.held_out)
        if sheet is not None:
            self._save_sheet("samples", step, sheet)

    def validate(self, step: int, state: GanState) -> dict[str, float]:
        """Answers the held-out sketches; their scores, and a sheet."""
        run = self._run
        scores, sheet = run.kind.validate(parallel.one_copy(state), run.held_out)
        self._save_sheet("validation", step, sheet)
        return {name: parallel.as_first_host(x) for name, x in scores.items()}

    def _save_sheet(self, folder: str, step: int, sheet: sheets.Picture) -> None:
        if parallel.is_first_host():
            path = self._run.workdir / folder / f"step_{step:06d}.png"
            path.parent.mkdir(exist_ok=True)
            with naming(path):
                sheets.save(sheet, path)
