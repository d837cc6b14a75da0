"""What a command sets up in its own process, seen from processes of its own."""

import os
import subprocess
import sys

import pytest

from cgan_jax import runtime


def python(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


COMPILE = """
import jax
from cgan_jax import runtime
runtime._MIN_COMPILE_SECONDS = 0.0
runtime.use_compilation_cache({folder!r})
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
jax.jit(lambda x: x * 2 + 1)(3.0)
print(sum(name == "/jax/compilation_cache/cache_hits" for name in hits))
"""


def test_what_was_compiled_is_kept_for_the_next_process(tmp_path):
    code = COMPILE.format(folder=str(tmp_path))
    assert int(python(code)) == 0
    assert [path.name for path in tmp_path.iterdir()] == [runtime.processor_key()]
    assert list((tmp_path / runtime.processor_key()).glob("*-cache"))
    assert int(python(code)) > 0


def test_the_empty_string_keeps_nothing(tmp_path):
    code = COMPILE.format(folder="")
    python(code, JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_folder_may_start_with_the_users_home(tmp_path):
    python(COMPILE.format(folder="~/kept"), HOME=str(tmp_path))
    assert (tmp_path / "kept" / runtime.processor_key()).is_dir()


def test_the_key_is_stable_and_names_the_machine():
    key = runtime.processor_key()
    assert key == runtime.processor_key()
    assert key.startswith(os.uname().machine)


START = """
import sys
from cgan_jax import launch
sys.argv = ["command", *{arguments!r}]
def main(argv):
    import jax
    print(jax.config.jax_compilation_cache_dir, jax.config.jax_enable_compilation_cache)
launch.start(main)
"""


@pytest.mark.parametrize(
    ("arguments", "environment", "used"),
    [
        ([], {}, ["{home}/.cache/cgan_jax/compiled/{key}", "True"]),
        (["--compilation_cache={home}/c"], {}, ["{home}/c/{key}", "True"]),
        ([], {"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}, ["/elsewhere", "True"]),
        (
            ["--compilation_cache={home}/c"],
            {"JAX_COMPILATION_CACHE_DIR": "/elsewhere"},
            ["{home}/c/{key}", "True"],
        ),
        (["--compilation_cache="], {}, ["None", "False"]),
    ],
)
def test_every_command_has_the_flag(arguments, environment, used, tmp_path):
    known = {"home": tmp_path, "key": runtime.processor_key()}
    arguments = [argument.format(**known) for argument in arguments]
    code = START.format(arguments=arguments)
    printed = python(code, HOME=str(tmp_path), **environment)
    assert printed.split() == [word.format(**known) for word in used]


MEMORY = """
import resource
from cgan_jax import runtime
if {keep}:
    runtime.keep_freed_memory()
size = 2**26
def touch():
    b"x" * size  # 64 MB: glibc asks the kernel for them
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_touched_only_once_when_it_is_kept():
    given_back, kept = (int(python(MEMORY.format(keep=k))) for k in (False, True))
    assert given_back > 1000 > 10 * kept


RELEASE = """
from cgan_jax import runtime
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4 // 1024  # MB
runtime.keep_freed_memory()
held = b"x" * 2**28
del held
before = resident()
runtime.release_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_kept_memory_can_be_handed_back():
    assert int(python(RELEASE)) > 200
