"""What the benchmarks of a training step run, from the default configuration."""

from __future__ import annotations

from typing import Any

from cgan_jax.configs import default


def train_step(filters: int, batch: int, devices: int = 1) -> dict[str, Any]:
    """Settings of a job of the workers; the rest is the paper's recipe."""
    config = default.get_config()
    return {
        "model": config.model.to_dict() | {"base_filters": filters},
        "batch": batch,
        "devices": devices,
        "seed": config.seed,
        "learning_rate": config.train.learning_rate,
        "beta1": config.train.beta1,
        "recipe": config.train.to_dict(),
    }
