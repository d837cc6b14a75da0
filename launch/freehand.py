"""Answers drawings by hand by several methods, side by side, and scores the answers."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import drawn, held_out, searches, start

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(searches)
flags.adopt_module_key_flags(held_out)
flags.adopt_module_key_flags(drawn)
flags.DEFINE_multi_string(
    "input",
    None,
    "Drawings: a quoted pattern such as 'sketches/*.png', a folder with all that lies "
    "below it, or a file. Repeatable.",
    required=True,
)
flags.DEFINE_string(
    "style",
    None,
    "Sketch style that the drawings stand for; the model's first if not given.",
)
flags.DEFINE_list(
    "methods",
    ["model", "nearest_kl", "nearest_l2", "mean", "random"],
    f"What answers: {held_out.METHODS}.",
)
flags.DEFINE_string(
    "output", None, "Folder of the sheets, the scores and the cache.", required=True
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}: quote --input='*.png'")
    held_out.check()
    try:
        broken = _compare(Path(FLAGS.output))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print((Path(FLAGS.output) / "freehand.md").read_text(encoding="utf-8"))
    if broken:
        sys.exit(f"{broken} of the drawings could not be used, see above")


def _compare(output: Path) -> int:
    # after the flags: --help stays fast
    from cgan_jax import evaluation, freehand, input_files

    files = input_files.find_inputs(FLAGS.input, output)
    freehand.check_methods(FLAGS.methods)  # before anything is read
    plan = held_out.plan(len(files))
    features, reading = held_out.features(), drawn.options()
    means, pairs = evaluation.open_files(held_out.files(), plan)
    style = pairs.styles[0]
    found, unusable = freehand.read_drawings(files, means, style, reading)
    freehand.compare(
        means,
        found,
        pairs,
        output,
        plan,
        reading=reading,
        unusable=unusable,
        features=features,
    )
    return len(unusable)


def run() -> None:
    """Entry point of `cgan-freehand`."""
    start(main)


if __name__ == "__main__":
    run()
