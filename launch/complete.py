"""Turns drawings into photographs."""

import functools
import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.configs import default
from cgan_jax.launch import start

FLAGS = flags.FLAGS
_projection = default.get_config().projection
flags.DEFINE_string(
    "model", "faces", "Bundled model, folder of a published one, or training workdir."
)
flags.DEFINE_multi_string(
    "input",
    None,
    "Drawings: a quoted pattern such as 'sketches/*.png', a folder, or a file. Repeatable.",
    required=True,
)
flags.DEFINE_string("output", "out", "Folder of the results.")
flags.DEFINE_integer("seed", 0, "Seed of the starts.")
flags.DEFINE_integer(
    "num_candidates", _projection.num_candidates, "Answers to each drawing.", 1
)
flags.DEFINE_integer(
    "num_starts", _projection.num_starts, "Latents that are ranked first.", 1
)
flags.DEFINE_integer("steps", _projection.num_steps, "Steps of the search.", 0)
flags.DEFINE_integer(
    "block_size",
    1,
    "Drawings searched for side by side: 1 suits a CPU, more fills an accelerator.",
    1,
)
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
    "keep (it stays where it is), or auto, which looks at the strokes.",
)
flags.DEFINE_bool("match_lines", True, "Bring strokes to the width the model knows.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}: quote --input='*.png'")
    try:
        broken = _complete()
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if broken:
        sys.exit(f"{broken} of the drawings could not be used, see above")


def _complete() -> int:
    # After the flags: --help stays fast.
    from cgan_jax import complete, drawings
    from cgan_jax.projection import Search

    paths = complete.find_inputs(FLAGS.input)
    model = complete.load_model(FLAGS.model)
    prepare = functools.partial(
        drawings.prepare_drawing,
        size=model.models.gen.height,
        invert=FLAGS.invert,
        fit=FLAGS.fit,
        frame=FLAGS.frame,
        match_lines=FLAGS.match_lines,
    )
    search = Search(
        **dict(default.get_config().projection)
        | {
            "num_starts": FLAGS.num_starts,
            "num_candidates": FLAGS.num_candidates,
            "num_steps": FLAGS.steps,
        }
    )
    return complete.complete(
        model,
        paths,
        Path(FLAGS.output),
        prepare,
        search,
        seed=FLAGS.seed,
        block_size=FLAGS.block_size,
    )


def run() -> None:
    """Entry point of `cgan-complete`."""
    start(main)


if __name__ == "__main__":
    run()
