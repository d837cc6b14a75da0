"""Flags of commands that many processes run together."""

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT of process 0 of a run on many hosts; with --num_processes and --process_id. "
    "On clusters that jax knows, such as SLURM and TPU pods, all three are found out.",
)
flags.DEFINE_integer("num_processes", None, "Processes of a run on many hosts.", 1)
flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", 0)
flags.DEFINE_integer(
    "host_timeout", 100, "Seconds after which a silent process counts as lost.", 1
)


def join() -> None:
    """Makes this process one of many if the flags or the cluster say so.

    Raises:
      ValueError: a flag is missing.
    """
    from cgan_jax import parallel  # after the flags: --help stays fast

    parallel.join_hosts(
        FLAGS.coordinator,
        FLAGS.num_processes,
        FLAGS.process_id,
        host_timeout=FLAGS.host_timeout,
    )
