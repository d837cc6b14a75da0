"""Trains a contextual GAN; the same command again goes on from the newest checkpoint."""

import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from cgan_jax.configs import resolve
from cgan_jax.launch import start

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration: a name (faces, birds, cars, tiny) or a file such as configs/faces.py, "
    "and after a colon, where it is not xdog, the sketch style: --config=faces:fdog. Any "
    "field of configs/default.py can be set as --config.train.batch_size=32.",
    lock_config=True,
)
flags.DEFINE_string(
    "workdir", None, "Folder of this run: checkpoints, metrics, samples."
)
flags.DEFINE_integer("num_devices", 1, "Local devices that share each batch.", 1)
flags.DEFINE_string(
    "init_from", None, "Published model (name or folder) that a new run starts from."
)
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from cgan_jax import train  # after the flags: --help stays fast

    try:
        train.train(
            FLAGS.config,
            Path(FLAGS.workdir),
            num_devices=FLAGS.num_devices,
            init_from=FLAGS.init_from,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def run() -> None:
    """Entry point of `cgan-train`."""
    sys.argv = resolve(sys.argv)
    start(main)


if __name__ == "__main__":
    run()
