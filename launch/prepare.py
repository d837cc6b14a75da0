"""Computes sketch-photo pairs once, as a tfds data set to train on and to evaluate with."""

import sys

from absl import app, flags

from cgan_jax.configs import default
from cgan_jax.launch import start

FLAGS = flags.FLAGS
_defaults = default.get_config()
flags.DEFINE_string(
    "source",
    None,
    "Pictures: a folder or ZIP of photographs or of ready pairs, celeba:DIR, cub:DIR, "
    "cars:DIR, or tfds:NAME; several of photographs, separated by commas.",
    required=True,
)
flags.DEFINE_list(
    "style",
    _defaults.data.style,
    "Sketch styles, separated by commas: xdog, xdog_solid, fdog, photocopy, each simplified "
    "too, as in xdog_simplified; 'given' for ready pairs.",
)
flags.DEFINE_integer("size", _defaults.model.height, "Side of the pictures, pixels.", 1)
flags.DEFINE_string(
    "frame", _defaults.data.frame, "How the pictures are cut: wide or tight."
)
flags.DEFINE_float(
    "max_broken", _defaults.data.max_broken, "Part that may be broken.", 0, 1
)
flags.DEFINE_string(
    "output", None, "Folder of the data set, for --config.data.source.", required=True
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from cgan_jax import dataset  # after the flags: --help stays fast

    try:
        written = dataset.prepare_pairs(
            FLAGS.source,
            FLAGS.output,
            size=FLAGS.size,
            styles=FLAGS.style,
            frame=FLAGS.frame,
            max_broken=FLAGS.max_broken,
        )
        manifest = dataset.read_manifest(FLAGS.output)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    parts = [f"{count} {split}" for split, count in manifest["counts"].items()]
    if manifest["broken"]:
        parts.append(f"{len(manifest['broken'])} left out")
    if not written:
        parts.append("these very pairs were there already")
    print(f"{FLAGS.output}: {', '.join(parts)}")


def run() -> None:
    """Entry point of `cgan-prepare`."""
    start(main, compiles=False)


if __name__ == "__main__":
    run()
