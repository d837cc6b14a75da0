"""Entry points: each parses its flags and calls one function of `cgan_jax`."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

FLAGS = flags.FLAGS
_CACHE_FLAG = "compilation_cache"
flags.DEFINE_string(
    _CACHE_FLAG,
    "~/.cache/cgan_jax/compiled",
    "Folder in which compiled programs are kept for the next run; '' keeps none. The "
    "environment variable JAX_COMPILATION_CACHE_DIR takes its place where it is set.",
)


def _is_ours(record: logging.LogRecord) -> bool:
    """Libraries may warn; but orbax alone tells twenty lines a checkpoint."""
    ours = Path(record.pathname).parent.name == "cgan_jax"
    return ours or record.levelno >= logging.WARNING


def start(main: Callable[[list[str]], None], *, compiles: bool = True) -> None:
    """`app.run`, with a `--help` that also serves a command that pip installed.

    absl describes the module `__main__`, which there is pip's own script.

    Args:
      main: takes the arguments that are no flags.
      compiles: whether the command runs jax, and so takes `--compilation_cache`.
    """
    module = sys.modules[main.__module__]
    if compiles:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[_CACHE_FLAG])
    if module.__name__ != "__main__":
        for flag in flags.FLAGS.get_key_flags_for_module(module):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
        sys.modules["__main__"].__doc__ = module.__doc__
    absl_logging.get_absl_handler().addFilter(_is_ours)
    app.run(functools.partial(_run, main) if compiles else main)


def _run(main: Callable[[list[str]], None], argv: list[str]) -> None:
    from cgan_jax import runtime  # after the flags: --help stays fast

    if FLAGS[_CACHE_FLAG].present or "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        runtime.use_compilation_cache(FLAGS[_CACHE_FLAG].value or "")
    runtime.keep_freed_memory()
    main(argv)
