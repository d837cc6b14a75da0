"""Turns photographs into sketches: cgan-sketch [flags] PHOTO_OR_FOLDER... OUTPUT_FOLDER."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import start

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "style",
    ["xdog", "fdog", "photocopy"],
    "Styles, separated by commas: xdog, xdog_solid, fdog or photocopy.",
)
flags.DEFINE_bool(
    "simplify",
    False,
    "Remove specks and stubs, join small gaps, and draw all lines at one width.",
)


def main(argv: list[str]) -> None:
    if len(argv) < 3:
        raise app.UsageError("name photos or folders of them, and last the output")
    *inputs, output = argv[1:]
    from cgan_jax import sketch_files  # after the flags: --help stays fast

    try:
        styles = sketch_files.find_styles(FLAGS.style, simplified=FLAGS.simplify)
        photos = sketch_files.find_photos(inputs)
        broken = sketch_files.sketch_photos(photos, styles, Path(output))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if broken:
        sys.exit(f"{broken} of the photos could not be read, see above")
    print(f"sketches: {output}")


def run() -> None:
    """Entry point of `cgan-sketch`."""
    start(main, compiles=False)


if __name__ == "__main__":
    run()
