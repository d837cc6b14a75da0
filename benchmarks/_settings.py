"""What the benchmarks run, from the configurations."""

from __future__ import annotations

from typing import Any

from cgan_jax.configs import default, faces

LAYOUTS = ("planes", "halves")


def model(layout: str, filters: int) -> dict[str, Any]:
    """Arguments of `make_models`: the paper's network, or the same on planes.

    Planes hold every style of the configuration `faces`.
    """
    config = faces.get_config() if layout == "planes" else default.get_config()
    return config.model.to_dict() | {
        "layout": layout,
        "base_filters": filters,
        "styles": config.data.style.split(","),
    }


def train_step(
    layout: str, filters: int, batch: int, devices: int = 1
) -> dict[str, Any]:
    """Settings of a job of the workers; the rest is the paper's recipe."""
    config = default.get_config()
    return {
        "model": model(layout, filters),
        "batch": batch,
        "devices": devices,
        "seed": config.seed,
        "learning_rate": config.train.learning_rate,
        "beta1": config.train.beta1,
        "recipe": config.train.to_dict(),
    }
