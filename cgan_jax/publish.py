"""From a training run to a published model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jax
from absl import logging

import cgan_jax
from cgan_jax import checkpoints, model_card, model_files
from cgan_jax.baselines import conditional, conditional_files
from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.metric_writer import read_metrics
from cgan_jax.model_files import CONDITIONAL, CONTEXTUAL, Model, ModelError
from cgan_jax.models import (
    Discriminator,
    GanPair,
    TrainedEncoder,
    make_models,
    recompute_statistics,
    without_spectral_norm,
)
from cgan_jax.train_state import GanState, create_state, make_tx
from cgan_jax.workdir import with_missing

Checkpoint = Literal["newest", "best"]


def load_workdir(workdir: Path, checkpoint: Checkpoint = "newest") -> Model:
    """The model of one of a run's checkpoints: G averaged, with statistics of its own.

    D's spectral norm, if it has one, is folded into its kernels.

    Args:
      workdir: the run's folder.
      checkpoint: the newest, or the best: that with the highest SSIM of the validation
        completions.

    Raises:
      ModelError: the run has no such checkpoint yet, or trains another kind of model.
    """
    config = _read_config(workdir, CONTEXTUAL)
    arguments = contextual_arguments(config)
    models = make_models(**arguments)
    state = _restore(workdir, checkpoint, config, models)
    variables = averaged_variables(models, state)
    disc, disc_variables = without_spectral_norm(models.disc, variables.disc)
    return Model(
        workdir.name,
        GanPair(models.gen, disc),
        GanPair(variables.gen, disc_variables),
        {"model": arguments | _norm_of(disc, models.disc)}
        | _facts(workdir, config, int(state.step)),
    )


def load_conditional(
    workdir: Path, checkpoint: Checkpoint = "newest"
) -> ConditionalModel:
    """The conditional GAN of one of a run's checkpoints; as `load_workdir`.

    Raises:
      ModelError: the run has no such checkpoint yet, or trains another kind of model.
    """
    config = _read_config(workdir, CONDITIONAL)
    arguments = conditional.arguments(config)
    models = conditional.make_models(**arguments)
    state = _restore(workdir, checkpoint, config, models)
    facts = {
        "kind": CONDITIONAL,
        "model": arguments,
        "conditional": config["conditional"],
    } | _facts(workdir, config, int(state.step))
    variables = conditional.averaged_variables(state)
    return ConditionalModel(workdir.name, models, variables, facts)


def contextual_arguments(config: Any) -> dict[str, Any]:
    """The arguments of `make_models` for a config, a ConfigDict or a dict."""
    return dict(config["model"]) | {"styles": config["data"]["style"].split(",")}


def _read_config(workdir: Path, kind: str) -> dict[str, Any]:
    config = with_missing(json.loads((workdir / "config.json").read_text()))
    model_files.check_kind(workdir, config, kind)
    return config


def _restore(
    workdir: Path, checkpoint: Checkpoint, config: dict[str, Any], models: GanPair
) -> GanState:
    """The state that a run has saved."""
    tx = make_tx(config["train"]["learning_rate"], config["train"]["beta1"])
    like = create_state(models, tx, jax.random.key(config["seed"]))
    manager = checkpoints.open_reader(workdir)
    if checkpoint == "best":
        snapshot = checkpoints.restore_best(manager, like)
        missing = "no checkpoint with completed validation sketches: take the newest"
    else:
        snapshot = checkpoints.restore_newest(manager, like)
        missing = "no checkpoint yet: wait for one"
    manager.close()
    if snapshot is None:
        raise ModelError(f"{workdir} has {missing}")
    return snapshot.state


def _facts(workdir: Path, config: dict[str, Any], steps: int) -> dict[str, Any]:
    """What a published model tells of its training."""
    return {
        "style": config["data"]["style"],
        "steps": steps,
        "training": config["train"],
        "data": _data_facts(workdir),
        "scores": _scores(workdir, steps),
        "cgan_jax": cgan_jax.__version__,
    }


def _norm_of(disc: Discriminator, trained: Discriminator) -> dict[str, str]:
    """What folding has changed among the arguments of `make_models`."""
    return {} if disc.norm == trained.norm else {"disc_norm": disc.norm}


def _data_facts(workdir: Path) -> dict[str, Any]:
    """What the run's pairs were made of; names no place of this machine."""
    path = workdir / "data.json"
    if not path.is_file():  # of a run that began before there was one
        return {}
    manifest = json.loads(path.read_text())
    return {
        "fingerprint": manifest["source"]["fingerprint"],
        "settings": manifest["source"]["settings"],
        "size": manifest["size"],
        "styles": sorted(manifest["styles"]),
        "counts": manifest["counts"],
    }


def _scores(workdir: Path, steps: int) -> dict[str, Any]:
    """The newest `validation_*` scalars of the run, and their step; {} without any."""
    if not (workdir / "metrics.jsonl").is_file():
        return {}
    for line in reversed(read_metrics(workdir)):
        found = {name: x for name, x in line.items() if name.startswith("validation_")}
        if found and line["step"] <= steps:
            return {"step": line["step"]} | found
    return {}


def averaged_variables(models: GanPair, state: GanState) -> GanPair:
    """What is published: averaged G with recomputed statistics, raw D."""
    statistics = recompute_statistics(models.gen, state.ema_params, jax.random.key(0))
    gen = {"params": state.ema_params} | statistics
    disc = {"params": state.params.disc, "batch_stats": state.batch_stats.disc}
    return GanPair(gen, disc)


def _with_encoder_of(
    output: Path, model: Model
) -> tuple[dict[str, Any], TrainedEncoder | None]:
    """The config of a new model, and the encoder of the one whose place it takes."""
    if not model_files.is_model_folder(output):
        return model.config, None
    try:
        before = model_files.load(output)
    except ModelError:
        return model.config, None  # it is replaced, whatever it was
    if before.encoder is None:
        return model.config, None
    facts = before.config["encoder"]
    if facts["generator"] != model_files.generator_digest(model.variables):
        logging.warning(
            "%s: its encoder was trained on another generator and is left out; train one "
            "with cgan-encode",
            output,
        )
        return model.config, None
    return model.config | {"encoder": facts}, before.encoder


def publish(
    workdir: Path, output: Path, checkpoint: Checkpoint = "newest"
) -> Model | ConditionalModel:
    """Writes the model of a run, and its card, to `output`; returns it as it was stored.

    A card that is there is kept as `MODEL_CARD.md.old`: somebody may have written in it.
    An encoder that is there stays, if it was trained on this very generator.
    """
    config = json.loads((workdir / "config.json").read_text())
    if model_files.kind_of(config) == CONDITIONAL:
        return _publish_conditional(workdir, output, checkpoint)
    model = load_workdir(workdir, checkpoint)
    config, encoder = _with_encoder_of(output, model)
    model_files.save(output, model.variables, config, encoder)
    stored = model_files.load(output)
    _write_card(output, model_card.write_card(stored, output))
    return stored


def _publish_conditional(
    workdir: Path, output: Path, checkpoint: Checkpoint
) -> ConditionalModel:
    model = load_conditional(workdir, checkpoint)
    model_files.save(output, model.variables, model.config)
    stored = conditional_files.load(output)
    _write_card(output, model_card.write_conditional_card(stored, output))
    return stored


def _write_card(output: Path, text: str) -> None:
    card = output / model_card.FILE
    if card.exists():
        card.replace(card.with_suffix(".md.old"))
    card.write_text(text, encoding="utf-8")
