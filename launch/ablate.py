"""Compares settings of the search on held-out examples, or, with --train, of the training.

    cgan-ablate --data=FOLDER --output=out --sweep=projection.perceptual_weight=0,0.01,0.1
    cgan-ablate --train --config=tiny --output=out --sweep=train.gen_updates=1,2

Killed, the same command goes on where it was.
"""

import signal
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from cgan_jax.configs import default, resolve
from cgan_jax.launch import searches, start

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(searches)
_defaults = default.get_config()
flags.DEFINE_multi_string(
    "sweep",
    None,
    "FIELD=VALUE,VALUE: a field of configs/default.py and the values that it takes, such as "
    "projection.direction=y||G,G||y. Of the section projection, or with --train of any. "
    "Repeatable: every combination is a setting.",
    required=True,
)
flags.DEFINE_string("output", None, "Folder of tables and cache.", required=True)
config_flags.DEFINE_config_file(
    "config",
    None,
    "What the settings change, by name or file as in cgan-train: its section projection "
    "(--preset and the flags of the search come on top), or with --train all of it.",
    lock_config=True,
)
flags.DEFINE_bool("train", False, "Train a run for each setting, one after the other.")
flags.DEFINE_integer("num_devices", 1, "With --train: devices that share a batch.", 1)
flags.DEFINE_string(
    "model", "faces", "Bundled model, folder of a published one, or training workdir."
)
flags.DEFINE_string(
    "data",
    None,
    "Held-out pictures: what cgan-prepare wrote, or anything that its --source takes.",
)
flags.DEFINE_enum(
    "split", "validation", ["train", "validation", "test"], "Which part of --data."
)
flags.DEFINE_string("style", None, "Sketch style; the model's first if not given.")
flags.DEFINE_enum(
    "direction", "sketch2photo", ["sketch2photo", "photo2sketch"], "What is completed."
)
flags.DEFINE_integer("num_examples", 128, "Pairs to complete, drawn by the seed.", 1)
flags.DEFINE_string(
    "reference",
    "",
    "Setting that the others are paired with, as the table calls it, such as "
    "'direction=y||G, mass=ink'; the first if not given.",
)
flags.DEFINE_integer("seed", 0, "Seed of examples, starts, and intervals.")
flags.DEFINE_integer("block_size", 1, "Examples searched for side by side.", 1)
_OF_SEARCHES = (
    *("model", "data", "split", "style", "direction", "num_examples", "reference"),
    *("seed", "block_size"),
    *(flag.name for flag in FLAGS.get_flags_for_module(searches.__name__)),
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}: quote --sweep='...'")
    try:
        if FLAGS.train:
            _ablate_training()
        else:
            _ablate_searches()
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print((Path(FLAGS.output) / "ablation.md").read_text(encoding="utf-8"))


def _ablate_searches() -> None:
    if FLAGS.data is None:
        raise ValueError("--data is missing: name held-out pictures, or use --train")
    if FLAGS.split == "test":
        print(searches.REMINDER, file=sys.stderr)
    config = _defaults if FLAGS.config is None else FLAGS.config
    from cgan_jax import ablation  # after the flags: --help stays fast

    ablation.ablate_files(
        FLAGS.model,
        FLAGS.data,
        FLAGS.split,
        FLAGS.style,
        FLAGS.sweep,
        searches.fields(config.projection),
        Path(FLAGS.output),
        ablation.Plan(
            direction=FLAGS.direction,
            num_examples=FLAGS.num_examples,
            reference=FLAGS.reference,
            seed=FLAGS.seed,
            block_size=FLAGS.block_size,
        ),
        cache_dir=config.data.cache_dir,
    )


def _ablate_training() -> None:
    stray = [f"--{name}" for name in _OF_SEARCHES if FLAGS[name].present]
    if stray:
        raise ValueError(
            f"{', '.join(stray)}: of searches; --train takes --config.* alone"
        )
    if FLAGS.config is None:
        raise ValueError(
            "--config is missing: name what the runs change, as cgan-train"
        )
    # after the flags: --help stays fast
    from cgan_jax import parallel, train, train_ablation

    parallel.split_cpu(FLAGS.num_devices)
    try:
        train_ablation.ablate(
            FLAGS.config,
            Path(config_flags.get_config_filename(FLAGS["config"])).stem,
            FLAGS.sweep,
            Path(FLAGS.output),
            num_devices=FLAGS.num_devices,
        )
    except train.Terminated as stopped:
        logging.warning("%s", stopped)
        sys.exit(128 + signal.SIGTERM)


def run() -> None:
    """Entry point of `cgan-ablate`."""
    sys.argv = resolve(sys.argv)
    start(main)


if __name__ == "__main__":
    run()
