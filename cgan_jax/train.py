"""The training loop."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import jax
import ml_collections
from absl import logging

from cgan_jax import (
    checkpoints,
    images,
    input_pipeline,
    model_files,
    parallel,
    sample,
    sheets,
)
from cgan_jax.dataset import Pairs, find_or_prepare, open_pairs
from cgan_jax.metric_writer import MetricWriter
from cgan_jax.models import (
    GanPair,
    generate,
    make_models,
    recompute_batch_stats,
    sample_z,
)
from cgan_jax.train_state import (
    GanState,
    create_state,
    make_tx,
    state_from_variables,
)
from cgan_jax.train_step import train_step


def train(
    config: ml_collections.ConfigDict,
    workdir: Path,
    *,
    num_devices: int = 1,
    init_from: str | None = None,
) -> GanState:
    """Trains until `config.train.num_epochs` are done, from the newest checkpoint on.

    Writes `config.json`, `metrics.jsonl`, `checkpoints/` and `samples/` to `workdir`.

    Args:
      config: fields as in `configs/default.py`.
      workdir: folder of this run; made if missing, resumed if it has checkpoints.
      num_devices: devices that share each batch.
      init_from: published model (a name or a folder) whose weights a new run starts from.

    Returns:
      The last state.

    Raises:
      ValueError: the data cannot fill a batch, the batch does not divide among the
        devices, or `init_from` is a model of another shape.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    pairs = _training_pairs(config)
    iterator = input_pipeline.make_train_iterator(
        pairs,
        batch_size=config.train.batch_size,
        seed=config.seed,
        flip=config.data.flip,
    )
    num_steps = config.train.num_epochs * len(pairs) // config.train.batch_size
    (workdir / "config.json").write_text(config.to_json_best_effort(indent=2))

    axis = parallel.AXIS_NAME
    models = make_models(**config.model, axis_name=axis)
    tx = make_tx(config.train.learning_rate, config.train.beta1)
    state = _initial_state(models, tx, config, init_from)
    state = parallel.replicate(state, num_devices)
    manager = checkpoints.open_manager(workdir, keep=config.report.checkpoints_kept)
    snapshot = checkpoints.restore_latest(manager, state)
    if snapshot is not None:
        state = snapshot.state
        iterator.set_state(snapshot.iterator_state)
        logging.info("resumed at step %d", int(state.step))

    step_fn = parallel.parallel_step(
        functools.partial(
            train_step,
            models=models,
            tx=tx,
            ema_decay=config.train.ema_decay,
            axis_name=axis,
        ),
        num_devices,
    )
    first = int(state.step)
    writer = MetricWriter(workdir, from_step=first)
    progress = _Progress(first, num_steps, config.train.batch_size)
    key = jax.random.key(config.seed)
    for step in range(first + 1, num_steps + 1):
        state, metrics = step_fn(state, next(iterator)["joint"], key)
        if step % config.report.log_every_steps == 0 or step == num_steps:
            scalars = {name: float(x) for name, x in metrics.items()}
            writer.write(step, scalars | progress.report(step, scalars))
        if step % config.report.sample_every_steps == 0 or step == num_steps:
            write_samples(workdir, models, state, config.report.num_samples)
        if step % config.report.checkpoint_every_steps == 0 or step == num_steps:
            checkpoints.save(manager, checkpoints.Snapshot(state, iterator.get_state()))
    manager.wait_until_finished()
    manager.close()
    return state


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


def _initial_state(
    models: GanPair,
    tx: GanPair,
    config: ml_collections.ConfigDict,
    init_from: str | None,
) -> GanState:
    if init_from is None:
        return create_state(models, tx, jax.random.key(config.seed))
    model = model_files.load(init_from)
    for field in ("base_filters", "z_dim", "height"):
        theirs, ours = model.config["model"][field], config.model[field]
        if theirs != ours:
            raise ValueError(
                f"--init_from={init_from} has {field} {theirs}, but config.model.{field} "
                f"is {ours}"
            )
    return state_from_variables(*model.variables, tx)


class _Progress:
    """Rates and the time left, from the wall clock."""

    def __init__(self, first: int, num_steps: int, batch_size: int) -> None:
        self._last_step, self._num_steps = first, num_steps
        self._batch_size = batch_size
        self._last_time = time.perf_counter()

    def report(self, step: int, scalars: dict[str, float]) -> dict[str, float]:
        """Logs one line; returns the rate since the last one."""
        now = time.perf_counter()
        seconds = (now - self._last_time) / (step - self._last_step)
        self._last_step, self._last_time = step, now
        logging.info(
            "step %d/%d  %.0f images/s  %s left  %s",
            step,
            self._num_steps,
            self._batch_size / seconds,
            _duration(seconds * (self._num_steps - step)),
            "  ".join(f"{name} {x:.3g}" for name, x in sorted(scalars.items())),
        )
        return {"images_per_second": self._batch_size / seconds}


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


@functools.partial(jax.jit, static_argnums=(0, 3))
def _sample(gen: Any, ema_params: Any, key: jax.Array, num_samples: int) -> jax.Array:
    stats = recompute_batch_stats(gen, ema_params, key)
    variables = {"params": ema_params, "batch_stats": stats}
    return generate(gen, variables, sample_z(key, num_samples, gen.z_dim))


def write_samples(
    workdir: Path, models: GanPair, state: GanState, num_samples: int
) -> Path:
    """Writes a sheet of pairs from the averaged generator, always of the same latents."""
    joint = _sample(models.gen, state.ema_params, jax.random.key(0), num_samples)
    sheet = sample.pair_sheet(images.to_uint8(jax.device_get(joint)))
    folder = workdir / "samples"
    folder.mkdir(exist_ok=True)
    path = folder / f"step_{int(state.step):06d}.png"
    sheets.save(sheet, path)
    return path
