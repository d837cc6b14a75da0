"""Writes a document, tables and generated pictures, from the scores of evaluations."""

import glob
import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import start

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "scores",
    ["out/evaluation/*/scores.json"],
    "Files of cgan-evaluate, cgan-distort (distortion.json), cgan-freehand (freehand.json) "
    "or cgan-ablate (ablation.json), or a quoted pattern, in the order of the document. "
    "Repeatable.",
)
flags.DEFINE_string("output", "docs/results.md", "The document.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}: quote --scores='*.json'")
    from cgan_jax import results  # after the flags: --help stays fast

    try:
        results.write_document(_find(FLAGS.scores), Path(FLAGS.output))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(FLAGS.output)


def _find(patterns: list[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = sorted(glob.glob(pattern, recursive=True))
        if not paths:
            raise FileNotFoundError(f"--scores={pattern} fits no file")
        found.update(dict.fromkeys(map(Path, paths)))
    return list(found)


def run() -> None:
    """Entry point of `cgan-results`."""
    start(main)


if __name__ == "__main__":
    run()
