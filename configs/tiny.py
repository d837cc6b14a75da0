"""A toy of 32x64 joint images that trains in seconds: for tests and first looks."""

import ml_collections

from cgan_jax.configs import default


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The default, as small as it can be and still run every part."""
    config = default.get_config(style)
    config.model.base_filters = 8  # ours
    config.model.z_dim = 16  # ours
    config.model.height = 32  # ours
    config.train.batch_size = 16  # ours
    config.train.num_epochs = 2.0  # ours
    config.report.log_every_steps = 2  # ours
    config.report.sample_every_steps = 4  # ours
    config.report.checkpoint_every_steps = 4  # ours
    config.report.num_samples = 8  # ours
    config.report.validate_every_steps = 8  # ours
    config.report.num_validation = 4  # ours
    config.report.validation_starts = 64  # ours
    config.report.validation_steps = 5  # ours
    return config
