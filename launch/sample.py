"""Draws pairs of sketch and photo from a model, without any condition."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import start

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model", "faces", "Bundled model, folder of a published one, or training workdir."
)
flags.DEFINE_string("output", "out/samples.png", "PNG of the contact sheet.")
flags.DEFINE_integer("num_samples", 32, "Number of pairs.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the latents.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from cgan_jax import complete, sample  # after the flags: --help stays fast

    try:
        model = complete.load_model(FLAGS.model)
        output = Path(FLAGS.output)
        sample.write_sheet(model, output, FLAGS.num_samples, seed=FLAGS.seed)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"sample sheet: {output}")


def run() -> None:
    """Entry point of `cgan-sample`."""
    start(main)


if __name__ == "__main__":
    run()
