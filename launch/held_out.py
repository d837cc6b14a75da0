"""Flags of commands that score answers to held-out pictures."""

import sys
from typing import Any

from absl import flags

from cgan_jax.configs import default
from cgan_jax.launch import searches

FLAGS = flags.FLAGS
METHODS = (
    "model, model@CLOSENESS (from 0 to 1, or auto: the model under a closeness of its own), "
    "conditional, nearest_kl, nearest_l2, mean, random"
)
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
_CACHE_DIR = default.get_config().data.cache_dir


def files() -> Any:
    """The `evaluation.Files` that the flags name.

    A command's --style is a list of styles, or one: then the first of the model's is read
    where none is given.
    """
    from cgan_jax.evaluation import Files  # after the flags: --help stays fast

    is_list = isinstance(FLAGS["style"].parser, flags.ListParser)
    style: str | list[str] | None = FLAGS.style
    return Files(
        FLAGS.model,
        FLAGS.data,
        FLAGS.split,
        searches.fields(),
        _CACHE_DIR,
        FLAGS.train_data,
        FLAGS.conditional,
        [style] if isinstance(style, str) else style,
        first_style=not is_list,
    )


def plan(num_examples: int, **changes: Any) -> Any:
    """The `evaluation.Plan` of the flags: one photograph of each method, unless changed."""
    from cgan_jax.evaluation import Plan  # as above

    settings = {
        "directions": ("sketch2photo",),
        "methods": tuple(FLAGS.methods),
        "num_examples": num_examples,
        "num_answers": 1,
        "compare_to": next(iter(FLAGS.methods), ""),
        "seed": FLAGS.seed,
        "block_size": FLAGS.block_size,
        "use_faces": FLAGS.faces,
    }
    return Plan(**settings | changes)


def features() -> dict[str, Any]:
    """The functions that --features names."""
    from cgan_jax import evaluation  # as above

    return {name: evaluation.import_features(name) for name in FLAGS.features}


def check() -> None:
    """Reminds of what the test split is for; ends where flags contradict each other."""
    if FLAGS.split == "test":
        print(searches.REMINDER, file=sys.stderr)
    if FLAGS.conditional and "conditional" not in FLAGS.methods:
        sys.exit("error: --conditional is given: add conditional to --methods")
