"""From a training run to a published model."""

from __future__ import annotations

import json
from pathlib import Path

import jax

from cgan_jax import checkpoints, model_files
from cgan_jax.model_files import Model, ModelError
from cgan_jax.models import GanPair, make_models, recompute_batch_stats
from cgan_jax.train_state import GanState, create_state, make_tx


def load_workdir(workdir: Path) -> Model:
    """The model of a run's newest checkpoint: G averaged, with statistics of its own.

    Raises:
      ModelError: the run has no checkpoint yet.
    """
    config = json.loads((workdir / "config.json").read_text())
    models = make_models(**config["model"])
    tx = make_tx(config["train"]["learning_rate"], config["train"]["beta1"])
    like = create_state(models, tx, jax.random.key(config["seed"]))
    manager = checkpoints.open_reader(workdir)
    snapshot = checkpoints.restore_newest(manager, like)
    manager.close()
    if snapshot is None:
        raise ModelError(f"{workdir} has no checkpoint yet: wait for one")
    facts = {
        "model": config["model"],
        "style": config["data"]["style"],
        "steps": int(snapshot.state.step),
        "training": config["train"],
    }
    variables = averaged_variables(models, snapshot.state)
    return Model(workdir.name, models, variables, facts)


def averaged_variables(models: GanPair, state: GanState) -> GanPair:
    """What is published: averaged G with recomputed statistics, raw D."""
    stats = recompute_batch_stats(models.gen, state.ema_params, jax.random.key(0))
    gen = {"params": state.ema_params, "batch_stats": stats}
    disc = {"params": state.params.disc, "batch_stats": state.batch_stats.disc}
    return GanPair(gen, disc)


def publish(workdir: Path, output: Path) -> Model:
    """Writes the model of a run to `output`; returns it as it was stored."""
    model = load_workdir(workdir)
    model_files.save(output, model.variables, model.config)
    return model_files.load(output)
