"""Draws the curves of training runs, side by side: cgan-plot WORKDIR... --output=FILE."""

import sys
from pathlib import Path

from absl import app, flags

from cgan_jax.launch import start

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "out/curves.png", "Picture: PNG, PDF or SVG.")


def main(argv: list[str]) -> None:
    if len(argv) < 2:
        raise app.UsageError("name the workdir of a run, or several to compare")
    from cgan_jax import plots  # after the flags: --help stays fast

    try:
        plots.plot_runs([Path(name) for name in argv[1:]], Path(FLAGS.output))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"curves: {FLAGS.output}")


def run() -> None:
    """Entry point of `cgan-plot`."""
    start(main, compiles=False)


if __name__ == "__main__":
    run()
