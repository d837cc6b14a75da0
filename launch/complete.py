"""Turns drawings into photographs, photographs into drawings, and parts into wholes."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags

from cgan_jax.launch import drawn, hosts, searches, start

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(hosts)
flags.adopt_module_key_flags(searches)
flags.adopt_module_key_flags(drawn)
flags.DEFINE_string(
    "model", "faces", "Bundled model, folder of a published one, or training workdir."
)
flags.DEFINE_multi_string(
    "input",
    None,
    "Pictures: a quoted pattern such as 'sketches/*.png', a folder with all that lies "
    "below it, or a file. Repeatable. Results keep the path below the folder.",
    required=True,
)
flags.DEFINE_string(
    "output",
    "out",
    "Folder of the results. Those that the same command has finished are not done again.",
)
flags.DEFINE_integer("seed", 0, "Seed of the starts.")
flags.DEFINE_enum(
    "direction",
    "sketch2photo",
    ["sketch2photo", "photo2sketch"],
    "What the pictures are, and what is asked; with --mask they are joint images.",
)
flags.DEFINE_string(
    "style",
    "auto",
    "Which of the model's sketches a drawing is compared with, such as xdog; auto takes one "
    "of lines, or for shaded drawings one with tone. Under photo2sketch: which is asked; "
    "auto asks all.",
)
flags.DEFINE_string(
    "mask",
    None,
    "Picture, white where joint images are known. The pictures of --input are then joint "
    "images: the model's sketches from the left, and on the right the photograph.",
)
flags.DEFINE_integer(
    "top_k",
    1,
    "Answers to each picture: the best, and good ones that look otherwise.",
    1,
)
flags.DEFINE_bool(
    "save_z",
    False,
    "Write the latents of all candidates, z.npy, and what the inner search found, "
    "offsets.npz.",
)
flags.DEFINE_bool(
    "trajectory",
    False,
    "Write the best joint image as the search goes on, search.webp: 20 more forward passes "
    "for each picture, and the same answers.",
)
flags.DEFINE_integer(
    "block_size",
    1,
    "Pictures searched for side by side: 1 suits a CPU, more fills an accelerator.",
    1,
)
flags.DEFINE_integer(
    "max_parallel",
    None,
    "Blocks in flight, dealt out to the devices of this process: one for each if not "
    "given. No answer depends on it.",
    1,
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}: quote --input='*.png'")
    try:
        hosts.join()
        broken = _complete()
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if broken:
        sys.exit(f"{broken} of the pictures could not be used, see above")


def _complete() -> int:
    from cgan_jax import complete, input_files  # after the flags: --help stays fast
    from cgan_jax.projection import Search

    output = Path(FLAGS.output)
    files = input_files.find_inputs(FLAGS.input, output)
    search = Search(**searches.fields())
    model = complete.load_model(FLAGS.model)
    read, reading = _reader(model)
    request = complete.Request(
        read,
        reading,
        search,
        seed=FLAGS.seed,
        block_size=FLAGS.block_size,
        top_k=FLAGS.top_k,
        save_z=FLAGS.save_z,
        trajectory=FLAGS.trajectory,
    )
    return complete.complete(
        model, files, output, request, max_parallel=FLAGS.max_parallel
    )


def _reader(model: Any) -> tuple[Callable[[Path], Any], dict[str, Any]]:
    """How the pictures are read for a `cgan_jax.model_files.Model`, and that in words."""
    from cgan_jax import array_cache, drawings, inputs

    joint = model.joint
    if FLAGS.style != drawings.AUTO:
        joint.check_sketch(FLAGS.style)
    if FLAGS.mask is not None:
        if FLAGS.style != drawings.AUTO:
            raise ValueError(
                "--style says what a drawing is, and --mask what of a joint image is "
                "known: leave one of them out"
            )
        mask = inputs.read_mask(Path(FLAGS.mask), joint)
        read = functools.partial(inputs.joint_known, joint=joint, mask=mask)
        return read, {"pictures": "joint images", "mask": array_cache.content_key(mask)}
    if FLAGS.direction == "photo2sketch":
        asked = joint.sketches if FLAGS.style == drawings.AUTO else (FLAGS.style,)
        read = functools.partial(inputs.photo_known, joint=joint, sketches=asked)
        return read, {"pictures": "photographs", "asked": list(asked)}
    seen = drawings.Seen.by(joint, model.config)
    options = {"style": FLAGS.style} | drawn.options()
    prepare = functools.partial(seen.prepare, **options)
    read = functools.partial(inputs.drawing_known, joint=joint, prepare=prepare)
    return read, {"pictures": "drawings"} | options | seen.describe()


def run() -> None:
    """Entry point of `cgan-complete`."""
    start(main)


if __name__ == "__main__":
    run()
