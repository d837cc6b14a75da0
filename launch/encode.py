"""Trains an encoder of sketches on a model's own samples: starts for its searches.

The model is written with it to a new folder, generator and discriminator as they are. One
run, without checkpoints: about 15 minutes on two CPU cores for the bundled faces.
"""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.configs import default
from cgan_jax.launch import start

FLAGS = flags.FLAGS
_encoder = default.get_config().encoder
flags.DEFINE_string(
    "model", "faces", "Bundled model, folder of a published one, or training workdir."
)
flags.DEFINE_string("output", None, "New folder of the model with it.", required=True)
flags.DEFINE_integer("num_steps", _encoder.num_steps, "Updates of the encoder.", 1)
flags.DEFINE_integer("batch_size", _encoder.batch_size, "Samples of a step.", 1)
flags.DEFINE_integer("seed", 0, "Seed of all that is drawn.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from cgan_jax import complete, encoder  # after the flags: --help stays fast

    changes = {"num_steps": FLAGS.num_steps, "batch_size": FLAGS.batch_size}
    recipe = encoder.Recipe(**dict(_encoder) | changes)
    try:
        model = encoder.add_encoder(
            complete.load_model(FLAGS.model),
            Path(FLAGS.output),
            recipe,
            seed=FLAGS.seed,
            card=encoder.read_card(FLAGS.model),
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    scores = model.config["encoder"]["scores"]
    told = ", ".join(f"{name} {x:.4g}" for name, x in scores.items())
    print(f"{FLAGS.output}: {told}")


def run() -> None:
    """Entry point of `cgan-encode`."""
    start(main)


if __name__ == "__main__":
    run()
