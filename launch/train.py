"""Trains a contextual GAN, or the conditional one that it is compared with.

The same command again goes on from the newest checkpoint.
"""

import signal
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from cgan_jax.configs import resolve
from cgan_jax.launch import hosts, start

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(hosts)
config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration: a name (faces, birds, cars, paper, tiny, or the baseline "
    "faces_conditional) or a file such as configs/faces.py, and after a colon, if not those "
    "of the configuration, the sketch styles: --config=paper:fdog. Any field of "
    "configs/default.py can be set as --config.train.batch_size=32.",
    lock_config=True,
)
flags.DEFINE_string(
    "workdir", None, "Folder of this run: checkpoints, metrics, samples."
)
flags.DEFINE_integer(
    "num_devices",
    1,
    "Devices of each process that share each batch; a CPU becomes so many.",
    1,
)
flags.DEFINE_string(
    "init_from", None, "Published model (name or folder) that a new run starts from."
)
flags.DEFINE_bool(
    "allow_config_change",
    False,
    "Go on from a checkpoint although the run began with another config.",
)
flags.DEFINE_integer(
    "profile_steps", 0, "Steps that jax.profiler traces, into WORKDIR/profile.", 0
)
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from cgan_jax import finite, parallel, train  # after the flags: --help stays fast

    parallel.split_cpu(FLAGS.num_devices)
    try:
        hosts.join()
        train.train(
            FLAGS.config,
            Path(FLAGS.workdir),
            num_devices=FLAGS.num_devices,
            init_from=FLAGS.init_from,
            allow_config_change=FLAGS.allow_config_change,
            profile_steps=FLAGS.profile_steps,
        )
    except train.Terminated as stopped:
        logging.warning("%s", stopped)
        sys.exit(128 + signal.SIGTERM)
    except (OSError, ValueError, finite.NonFiniteError) as error:
        sys.exit(f"error: {error}")


def run() -> None:
    """Entry point of `cgan-train`."""
    sys.argv = resolve(sys.argv)
    start(main)


if __name__ == "__main__":
    run()
