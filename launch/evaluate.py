"""Completes held-out sketches or photographs and scores the answers, beside baselines."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import held_out, searches, start

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(searches)
flags.adopt_module_key_flags(held_out)
flags.DEFINE_list(
    "style",
    None,
    "Sketch styles, separated by commas, that are given or asked for one after the other; "
    "the model's if not given.",
)
flags.DEFINE_list(
    "direction",
    ["sketch2photo"],
    "What is completed: sketch2photo, photo2sketch, or both, separated by a comma.",
)
flags.DEFINE_integer("num_examples", 500, "Pairs to complete, drawn by the seed.", 1)
flags.DEFINE_list(
    "methods",
    ["model", "nearest_kl", "nearest_l2", "mean", "random", "true"],
    f"What is scored: {held_out.METHODS}, true.",
)
flags.DEFINE_string("compare_to", "model", "Method that the others are paired with.")
flags.DEFINE_string(
    "identities",
    None,
    "Who is shown, where --data does not say: a table, separated by tabs, with the "
    "columns name and identity.",
)
flags.DEFINE_string(
    "output", None, "Folder of the scores and the cache.", required=True
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    held_out.check()
    from cgan_jax import evaluation  # after the flags: --help stays fast

    try:
        files = held_out.files()
        plan = held_out.plan(
            FLAGS.num_examples,
            directions=tuple(FLAGS.direction),
            num_answers=files.search["num_candidates"],
            compare_to=FLAGS.compare_to,
        )
        who = FLAGS.identities
        known = evaluation.read_identities(Path(who)) if who else None
        features = held_out.features()
        evaluation.evaluate(
            *evaluation.open_files(files, plan),
            Path(FLAGS.output),
            plan,
            identities=known,
            features=features,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print((Path(FLAGS.output) / "scores.md").read_text(encoding="utf-8"))


def run() -> None:
    """Entry point of `cgan-evaluate`."""
    start(main)


if __name__ == "__main__":
    run()
