"""The card of a published model: the facts that are known, and what a person must add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from cgan_jax.baselines.conditional_files import ConditionalModel
from cgan_jax.model_files import Model

FILE = "MODEL_CARD.md"  # beside the weights
_TEMPLATE = """# {name}

{summary}

{facts}

## Scores

{scores}

## To be added by whoever publishes it

What it draws well and badly; what it may be used for, and what not; the terms of the
photographs that it was trained on, which hold for it too.
"""
_CONTEXTUAL = """A contextual GAN of joint images: a sketch and its photograph. Draw with
`cgan-sample --model=FOLDER`, complete drawings with `cgan-complete --model=FOLDER`."""
_CONDITIONAL = """A conditional GAN in the manner of pix2pix: it draws the photograph of a
sketch in one pass. Score it with `cgan-evaluate --conditional=FOLDER`."""
_NO_SCORES = "None were taken while it was trained."
# Of `config.train`, what the row on training tells in other words.
_TOLD = {"batch_size", "num_epochs", "learning_rate", "beta1", "ema_decay"}


def write_card(model: Model, folder: Path) -> str:
    """The card of a contextual GAN that is stored in a folder, as Markdown."""
    sizes = model.config["model"]
    about = {
        "network": f"{sizes['base_filters']} base filters, kernels of "
        f"{sizes['kernel_size']}, z of {sizes['z_dim']}; {_joint(model)}",
        "statistics": "batch statistics recomputed over its own samples",
    }
    return add_encoder(_card(model, folder, _CONTEXTUAL, **about), model)


def write_conditional_card(model: ConditionalModel, folder: Path) -> str:
    """The card of a conditional GAN that is stored in a folder, as Markdown."""
    sizes = model.config["model"]
    about = {
        "network": f"U-Net of {sizes['base_filters']} base filters; {_joint(model)}; "
        "L1 weighs "
        f"{model.config['conditional']['l1_weight']:g}",
        "statistics": "running averages of its batch statistics, without dropout",
    }
    return _card(model, folder, _CONDITIONAL, **about)


def _joint(model: Model | ConditionalModel) -> str:
    """Such as: joint images of xdog and photo, 64x64 pixels each, as halves."""
    size, names = model.joint.size, " and ".join(model.joint.names)
    layout = model.config["model"]["layout"]
    return f"joint images of {names}, {size}x{size} pixels each, as {layout}"


def _card(
    model: Model | ConditionalModel,
    folder: Path,
    summary: str,
    *,
    network: str,
    statistics: str,
) -> str:
    scores = model.config["scores"]
    measured = {name: f"{x:.4g}" for name, x in scores.items()}
    return _TEMPLATE.format(
        name=model.name,
        summary=summary,
        facts=_table(_facts(model, folder, network, statistics)),
        scores=_table(measured) if scores else _NO_SCORES,
    )


def add_encoder(card: str, model: Model) -> str:
    """A card with a section on the model's encoder, if any, in the place of an older one."""
    if model.encoder is None:
        return card
    others = re.sub(r"\n## Encoder\n.*?(?=\n## |\Z)", "", card, flags=re.DOTALL)
    size = sum(x.size for x in jax.tree.leaves(model.encoder.params))
    facts = _encoder_facts(model.config["encoder"], size)
    return f"{others.rstrip()}\n\n## Encoder\n\n{_table(facts)}\n"


def _encoder_facts(facts: Mapping[str, Any], size: int) -> dict[str, str]:
    return {
        "task": "starts of searches from sketches: `--encoder_starts`",
        "network": f"{facts['base_filters']} base filters, {size:,} parameters",
        "training": f"{facts['num_steps']:,} steps of {facts['batch_size']} samples of G, "
        f"their sketches distorted; learning rate {facts['learning_rate']:g}, sketch "
        f"weight {facts['sketch_weight']:g}, seed {facts['seed']}",
        "after it, on new samples": ", ".join(
            f"{name} {x:.4g}" for name, x in facts["scores"].items()
        ),
    }


def _facts(
    model: Model | ConditionalModel, folder: Path, network: str, statistics: str
) -> dict[str, str]:
    config, training = model.config, model.config["training"]
    gen, disc = (
        sum(x.size for x in jax.tree.leaves(v["params"])) for v in model.variables
    )
    megabytes = (folder / "weights.safetensors").stat().st_size / 1e6
    recipe = [f"{name} {x}" for name, x in training.items() if name not in _TOLD]
    return {
        "network": f"{network}; G has {gen:,} parameters, D {disc:,}",
        "file": f"`weights.safetensors`, {megabytes:.1f} MB: kernels float16, the rest "
        "float32",
        "data": _data(config["data"]),
        "sketches": config["style"],
        "training": f"{config['steps']:,} steps of {training['batch_size']} pairs; Adam, "
        f"learning rate {training['learning_rate']:g}, beta1 {training['beta1']:g}",
        "recipe": ", ".join(recipe),
        "weights": f"G: moving average, decay {training['ema_decay']:g}, {statistics}; "
        "D: as trained last",
        "code": f"cgan_jax {config['cgan_jax']}",
    }


def _data(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "unknown"
    counts = ", ".join(f"{n:,} {split}" for split, n in facts["counts"].items())
    settings = [f"{name} {x}" for name, x in facts["settings"].items()]
    described = ", ".join([f"{facts['size']} pixels", *settings])
    return f"{counts} pairs; {described}; pictures `{facts['fingerprint']}` (SHA-256)"


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])
