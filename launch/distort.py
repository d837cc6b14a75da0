"""Distorts held-out sketches more and more, and scores what each method makes of them."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import held_out, searches, start

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(searches)
flags.adopt_module_key_flags(held_out)
flags.DEFINE_string("style", None, "Sketch style; the model's first if not given.")
flags.DEFINE_list(
    "warp",
    ["1", "2", "3", "4", "5", "6"],
    "Strengths of smooth random warps: the longest displacement, in pixels. Strength 0 "
    "belongs to each kind; '' leaves a kind out.",
)
flags.DEFINE_list(
    "drop",
    ["0.1", "0.2", "0.3", "0.4", "0.5"],
    "Shares of the ink that are left out, in pieces of strokes.",
)
flags.DEFINE_list(
    "thicken", ["1", "2", "3"], "Pixels by which strokes grow to every side."
)
flags.DEFINE_list(
    "soften",
    ["0.5", "1", "2"],
    "Standard deviations, in pixels, of a blur that moves no stroke.",
)
flags.DEFINE_integer(
    "num_examples", 128, "Pairs for each strength, the same for all.", 1
)
flags.DEFINE_list(
    "methods",
    ["model", "nearest_kl", "nearest_l2", "mean", "random"],
    f"What answers: {held_out.METHODS}, true.",
)
flags.DEFINE_string(
    "output", None, "Folder of the curves and the cache.", required=True
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    held_out.check()
    # after the flags: --help stays fast
    from cgan_jax import evaluation, robustness, sketch_errors

    try:
        strengths = {kind: _numbers(kind) for kind in sketch_errors.KINDS}
        robustness.points(strengths)  # refuses what cannot be before anything is read
        plan = held_out.plan(FLAGS.num_examples)
        features = held_out.features()
        robustness.measure(
            *evaluation.open_files(held_out.files(), plan),
            Path(FLAGS.output),
            plan,
            strengths,
            features=features,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print((Path(FLAGS.output) / "distortion.md").read_text(encoding="utf-8"))


def _numbers(flag: str) -> list[float]:
    values: list[str] = getattr(FLAGS, flag)
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise ValueError(
            f"--{flag}={','.join(values)} is no list of numbers"
        ) from error


def run() -> None:
    """Entry point of `cgan-distort`."""
    start(main)


if __name__ == "__main__":
    run()
