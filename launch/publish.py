"""Writes the model of a training run, of either kind, as safetensors, to share or bundle."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import start

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of the training run.", required=True)
flags.DEFINE_string("output", None, "Folder of the published model.", required=True)
flags.DEFINE_enum(
    "checkpoint",
    "newest",
    ["newest", "best"],
    "Which one: best has the highest SSIM of the validation sketches completed on the way.",
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from cgan_jax import publish  # after the flags: --help stays fast

    try:
        model = publish.publish(
            Path(FLAGS.workdir), Path(FLAGS.output), FLAGS.checkpoint
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{FLAGS.output}: step {model.config['steps']}")


def run() -> None:
    """Entry point of `cgan-publish`."""
    start(main)


if __name__ == "__main__":
    run()
