"""Flags of commands that read drawings: how they become what the model has seen."""

from typing import Any

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "fit", "letterbox", ["letterbox", "crop"], "How a drawing becomes a square."
)
flags.DEFINE_enum(
    "invert", "auto", ["auto", "yes", "no"], "Whether strokes are white on black."
)
flags.DEFINE_string(
    "frame",
    "auto",
    "Where the drawing goes in the model's picture: head (with hair), face (without), "
    "keep (it stays where it is), or auto, which looks at the strokes. A model may have "
    "other places than head and face.",
)
flags.DEFINE_bool(
    "match_lines",
    True,
    "Bring strokes to the width, and tone to the ink, the model knows.",
)


def options() -> dict[str, Any]:
    """Those of `cgan_jax.drawings.Seen.prepare`, but the style, as the flags say."""
    return {x: getattr(FLAGS, x) for x in ("invert", "fit", "frame", "match_lines")}
