"""Flags of commands that score answers to held-out pictures."""

import sys

from absl import flags

from cgan_jax.configs import default
from cgan_jax.launch import searches

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model", "faces", "Bundled model, folder of a published one, or training workdir."
)
flags.DEFINE_string(
    "conditional",
    None,
    "Conditional GAN that answers as the method conditional: folder of a published one, or "
    "training workdir.",
)
flags.DEFINE_string(
    "data",
    None,
    "Held-out pictures: what cgan-prepare wrote, or anything that its --source takes.",
    required=True,
)
flags.DEFINE_string(
    "train_data", None, "Training pictures of the baselines; --data if not given."
)
flags.DEFINE_enum(
    "split", "validation", ["train", "validation", "test"], "Which part of --data."
)
flags.DEFINE_bool("faces", True, "Score faces by dlib, the extra [faces].")
flags.DEFINE_multi_string(
    "features",
    [],
    "Further features for realism, MODULE:FUNCTION, a function from a photograph (uint8, "
    "height x width x 3) to a vector, such as a network of yours. Repeatable.",
)
flags.DEFINE_integer(
    "seed", 0, "Seed of all that is drawn: examples, starts, intervals."
)
flags.DEFINE_integer("block_size", 1, "Examples searched for side by side.", 1)
CACHE_DIR = default.get_config().data.cache_dir


def check() -> None:
    """Reminds of what the test split is for; ends where flags contradict each other."""
    if FLAGS.split == "test":
        print(searches.REMINDER, file=sys.stderr)
    if FLAGS.conditional and "conditional" not in FLAGS.methods:
        sys.exit("error: --conditional is given: add conditional to --methods")
