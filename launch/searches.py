"""Flags of commands that search: a preset, and what takes the place of its values."""

from typing import Any

import ml_collections
from absl import flags

from cgan_jax.configs import presets

FLAGS = flags.FLAGS
REMINDER = (
    "The test split is for final tables: whatever is chosen is chosen on validation."
)
flags.DEFINE_enum(
    "preset",
    "default",
    presets.NAMES,
    "What is minimized, and how; the flags below take the place of its values.",
)
flags.DEFINE_integer("num_candidates", None, "Candidates that are refined.", 1)
flags.DEFINE_integer("num_starts", None, "Latents that are ranked first.", 0)
flags.DEFINE_integer(
    "encoder_starts",
    None,
    "Latents of the model's encoder that are ranked beside them; of sketches alone, with a "
    "model that has been through cgan-encode.",
    0,
)
flags.DEFINE_integer("steps", None, "Steps of the search.", 0)
flags.DEFINE_integer(
    "chunk_steps",
    None,
    "Steps after which, again and again, sketches that have stalled stand still and leave "
    "their place in the block to others; it divides the steps. 0 never looks.",
    0,
)
flags.DEFINE_float(
    "stall_tolerance",
    None,
    "Part of its loss that a sketch must lose from look to look to go on.",
    0.0,
)


def fields(base: ml_collections.ConfigDict | None = None) -> dict[str, Any]:
    """Those of `cgan_jax.search.Search`: the preset's, but for what flags say.

    Args:
      base: what the preset changes; the defaults if None.
    """
    given = {
        "num_starts": FLAGS.num_starts,
        "encoder_starts": FLAGS.encoder_starts,
        "num_candidates": FLAGS.num_candidates,
        "num_steps": FLAGS.steps,
        "chunk_steps": FLAGS.chunk_steps,
        "stall_tolerance": FLAGS.stall_tolerance,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    return dict(presets.get_projection(FLAGS.preset, base)) | changed
