"""Four fake devices, checked shapes, parsed flags: for every test."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

import contextlib
import gc
import pathlib
import subprocess

import jax
import pytest
from absl import flags
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import install_import_hook
from tiny_archives import disc, encode

install_import_hook("cgan_jax", "beartype.beartype")
flags.FLAGS.mark_as_parsed()  # grain reads one
_MANY_MAPS = 20_000


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_end_with_their_module():
    """A process may map so many pieces of memory, and each program that jax keeps has some.

    Linux allows 65,530 (vm.max_map_count); beyond them the compiler crashes.
    """
    yield
    if _count_maps() > _MANY_MAPS:
        jax.clear_caches()
        gc.collect()


def _count_maps():
    maps = pathlib.Path("/proc/self/maps")
    return len(maps.read_bytes().splitlines()) if maps.exists() else 0


@pytest.fixture(scope="module")
def quick_compilation():
    """For tests whose time goes to the compiler, not to the arithmetic."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """A prepared data set of coloured discs: 12 training and 20 validation pictures."""
    from cgan_jax import dataset  # after the hook above

    folder = tmp_path_factory.mktemp("pictures")
    for split, seeds in (("train", range(12)), ("validation", range(20, 40))):
        (folder / split).mkdir()
        for seed in seeds:
            (folder / split / f"{seed:02}.png").write_bytes(encode(disc(seed)))
    output = tmp_path_factory.mktemp("data") / "discs"
    dataset.prepare_pairs(str(folder), output, size=16)
    return output


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """For tests that run the same programs again: compiled quickly, each once."""
    folder = tmp_path_factory.mktemp("compiled")
    before_and_here = {
        "jax_disable_most_optimizations": (False, True),
        "jax_compilation_cache_dir": (None, str(folder)),
        "jax_persistent_cache_min_compile_time_secs": (1.0, 0.0),
        "jax_persistent_cache_min_entry_size_bytes": (0, -1),
    }
    for name, (_, here) in before_and_here.items():
        jax.config.update(name, here)
    compilation_cache.reset_cache()
    yield
    for name, (before, _) in before_and_here.items():
        jax.config.update(name, before)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def launched():
    """Starts a command whose output is read; what a failed test leaves running ends."""
    with contextlib.ExitStack() as processes:

        def launched(command, **options):
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                **options,
            )
            processes.callback(_end, process)
            return process

        yield launched


def _end(process):
    process.kill()
    process.wait()
    process.stdout.close()
