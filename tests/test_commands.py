"""The commands from outside: help, usage errors, how fast they answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Of the modules of flags that commands share.
SEARCH = [
    "preset",
    "num_candidates",
    "num_starts",
    "encoder_starts",
    "steps",
    "inner_steps",
    "closeness",
]
HELD_OUT = [
    "model",
    "conditional",
    "data",
    "train_data",
    "split",
    "[no]faces",
    "features",
    "seed",
    "block_size",
]
DRAWING = ["fit", "invert", "frame", "[no]match_lines"]
FLAGS = {
    "ablate": [
        *SEARCH,
        "sweep",
        "output",
        "config",
        "[no]train",
        "num_devices",
        "model",
        "data",
        "split",
        "style",
        "direction",
        "num_examples",
        "reference",
        "seed",
        "block_size",
    ],
    "complete": [
        *SEARCH,
        *DRAWING,
        "model",
        "input",
        "output",
        "seed",
        "block_size",
        "direction",
        "style",
        "mask",
        "[no]save_z",
        "top_k",
        "[no]trajectory",
        "max_parallel",
        "coordinator",
        "num_processes",
        "process_id",
        "host_timeout",
    ],
    "evaluate": [
        *SEARCH,
        *HELD_OUT,
        "style",
        "direction",
        "num_examples",
        "methods",
        "compare_to",
        "identities",
        "output",
    ],
    "distort": [
        *SEARCH,
        *HELD_OUT,
        "style",
        "warp",
        "drop",
        "thicken",
        "soften",
        "num_examples",
        "methods",
        "output",
    ],
    "encode": ["model", "output", "num_steps", "batch_size", "seed"],
    "freehand": [*SEARCH, *HELD_OUT, *DRAWING, "input", "style", "methods", "output"],
    "plot": ["output"],
    "prepare": ["source", "style", "size", "frame", "max_broken", "output"],
    "publish": ["workdir", "output", "checkpoint"],
    "results": ["scores", "output"],
    "sample": ["model", "output", "num_samples", "seed"],
    "sketch": ["style", "[no]simplify"],
    "train": [
        "config",
        "workdir",
        "num_devices",
        "init_from",
        "[no]allow_config_change",
        "coordinator",
        "num_processes",
        "process_id",
        "host_timeout",
        "profile_steps",
    ],
}
REQUIRED = {
    "ablate": ["--sweep=projection.mass=ink", "--output=y"],
    "complete": ["--input=x.png"],
    "evaluate": ["--data=x", "--output=y"],
    "distort": ["--data=x", "--output=y"],
    "encode": ["--output=y"],
    "freehand": ["--input=x.png", "--data=x", "--output=y"],
    "prepare": ["--source=x", "--output=y"],
    "publish": ["--workdir=x", "--output=y"],
    "results": [],
    "sample": [],
    "train": ["--config=tiny", "--workdir=x"],
}
WITHOUT_JAX = {
    "plot": ["missing"],
    "prepare": ["--source=missing", "--output=x"],
    "sketch": ["missing.png", "out"],
}
HEAVY = {
    "tensorflow_datasets",
    "jax",
    "flax",
    "orbax",
    "grain",
    "scipy",
    "PIL",
    "optax",
    "matplotlib",
    "tensorboardX",
}


def run(*arguments, python=()):
    return subprocess.run(
        [sys.executable, *python, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def run_command(name, *arguments):
    return run(f"launch/{name}.py", *arguments)


def assert_help(result, name):
    # absl leaves with 1 after --help.
    assert result.returncode in (0, 1)
    listed = re.findall(r"^  --(\S+):", result.stdout, re.MULTILINE)
    common = [] if name in WITHOUT_JAX else ["compilation_cache"]
    assert sorted(listed) == sorted([*FLAGS[name], *common])
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", FLAGS)
def test_help_names_every_flag_and_loads_nothing_heavy(name):
    result = run(f"launch/{name}.py", "--help", python=["-X", "importtime"])
    assert_help(result, name)
    imported = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    assert "absl" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("name", WITHOUT_JAX)
def test_commands_that_compile_nothing_do_not_load_jax(name):
    python = ["-X", "importtime"]
    result = run(f"launch/{name}.py", *WITHOUT_JAX[name], python=python)
    imported = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    assert "numpy" in imported
    assert not imported & {"jax", "flax", "optax"}


@pytest.mark.parametrize("name", FLAGS)
def test_help_of_an_installed_command_is_the_same(name):
    # As in the script that pip writes: the module is imported, not run.
    code = f"import sys; from cgan_jax.launch.{name} import run; sys.exit(run())"
    result = run("-c", code, "--help")
    assert_help(result, name)
    module = (ROOT / "launch" / f"{name}.py").read_text()
    assert module.split('"""')[1] in result.stdout


@pytest.mark.parametrize("name", REQUIRED)
def test_arguments_that_are_no_flags_are_a_usage_error(name):
    result = run_command(name, *REQUIRED[name], "stray.png")
    assert result.returncode == 1
    assert "unknown arguments: ['stray.png']" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unquoted_pattern_is_explained():
    result = run_command("complete", "--input=a.png", "b.png", "c.png")
    assert "quote --input='*.png'" in result.stderr


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("train", "config"),
        ("train", "workdir"),
        ("prepare", "source"),
        ("prepare", "output"),
        ("publish", "workdir"),
        ("publish", "output"),
        ("complete", "input"),
        ("ablate", "sweep"),
        ("ablate", "output"),
        ("evaluate", "data"),
        ("evaluate", "output"),
        ("distort", "data"),
        ("distort", "output"),
        ("freehand", "input"),
        ("freehand", "data"),
        ("freehand", "output"),
    ],
)
def test_a_missing_flag_is_named(name, missing):
    given = [flag for flag in REQUIRED[name] if not flag.startswith(f"--{missing}=")]
    result = run_command(name, *given)
    assert result.returncode == 1
    assert f"Flag --{missing} must have a value" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_flag_is_named():
    result = run_command("sample", "--num_sample=3")
    assert result.returncode == 1
    assert "num_sample" in result.stderr
    assert "Did you mean: num_samples" in result.stderr


@pytest.mark.parametrize("flag", ["--num_samples=0", "--num_samples=many"])
def test_a_number_out_of_range_names_its_flag(flag):
    result = run_command("sample", flag)
    assert result.returncode == 1
    assert "--num_samples" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("value", ["2", "-0.1", "much", "nan"])
def test_a_closeness_that_there_is_not_names_its_flag(value):
    result = run_command("complete", "--input=x.png", f"--closeness={value}")
    assert result.returncode == 1
    assert f"flag --closeness={value}: give a number from 0 to 1, or auto" in (
        result.stderr
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--preset=paper", "--closeness=0.9"),
            "--closeness=0.9 needs an inner search, and inner_steps is 0",
        ),
        (
            ("--mask=m.png", "--style=xdog"),
            "--style says what a drawing is, and --mask what of a joint image",
        ),
    ],
    ids=["closeness without inner steps", "style beside a mask"],
)
def test_flags_that_contradict_each_other_are_refused(options, message, tmp_path):
    drawing = tmp_path / "x.png"
    drawing.write_bytes(b"")
    inputs = f"--input={drawing}", f"--output={tmp_path / 'out'}"
    result = run_command("complete", *inputs, *options)
    assert result.returncode == 1
    assert message in result.stderr


def test_an_unknown_config_is_named(tmp_path):
    result = run_command("train", "--config=no_such_config", f"--workdir={tmp_path}")
    assert result.returncode == 1
    assert "no_such_config" in result.stderr


def test_a_typo_in_a_field_names_the_field(tmp_path):
    flags = ["--config=tiny", f"--workdir={tmp_path}", "--config.train.batchsize=3"]
    result = run_command("train", *flags)
    assert result.returncode == 1
    assert 'Did you mean "batch_size" instead of "batchsize"?' in result.stderr


def test_a_missing_data_source_is_named(tmp_path):
    source = tmp_path / "nothing.zip"
    flags = ["--config=tiny", f"--workdir={tmp_path}", f"--config.data.source={source}"]
    result = run_command("train", *flags)
    assert result.returncode == 1
    assert f"error: {source} does not exist: give a folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_model_is_an_error_that_lists_what_there_is():
    result = run_command("sample", "--model=no_such_model", "--output=out/none.png")
    assert result.returncode == 1
    assert "error: no model 'no_such_model': give one of [" in result.stderr
    assert "Traceback" not in result.stderr


def test_publishing_what_is_no_run_names_it(tmp_path):
    workdir = tmp_path / "nothing"
    result = run_command("publish", f"--workdir={workdir}", f"--output={tmp_path}/out")
    assert result.returncode == 1
    assert re.search(f"^error: .*{workdir}", result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr
