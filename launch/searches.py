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
flags.DEFINE_integer("steps", None, "Steps of the search for z.", 0)
flags.DEFINE_integer(
    "inner_steps",
    None,
    "Steps of the inner search after it, which moves the generator's inner layers, too.",
    0,
)
flags.DEFINE_string(
    "closeness",
    None,
    "How closely answers follow what is known: from 0, what a z alone reaches, to 1, nearly "
    "every stroke; or auto, as close as small changes inside the generator go.",
)


@flags.validator("closeness", "give a number from 0 to 1, or auto")
def _is_closeness(value: str | None) -> bool:
    if value in (None, "auto"):
        return True
    try:
        return 0 <= float(str(value)) <= 1
    except ValueError:
        return False


def fields(base: ml_collections.ConfigDict | None = None) -> dict[str, Any]:
    """Those of `cgan_jax.search.Search`: the preset's, but for what flags say.

    Args:
      base: what the preset changes; the defaults if None.

    Raises:
      ValueError: a closeness is given, but the search has no inner steps.
    """
    given = {
        "num_starts": FLAGS.num_starts,
        "encoder_starts": FLAGS.encoder_starts,
        "num_candidates": FLAGS.num_candidates,
        "num_steps": FLAGS.steps,
        "inner_steps": FLAGS.inner_steps,
        "closeness": FLAGS.closeness,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    found = dict(presets.get_projection(FLAGS.preset, base)) | changed
    is_inner = FLAGS.closeness == "auto" or float(FLAGS.closeness or 0) > 0
    if is_inner and not found["inner_steps"]:
        raise ValueError(
            f"--closeness={FLAGS.closeness} needs an inner search, and inner_steps is 0: "
            "take another --preset, or give --inner_steps"
        )
    return found
