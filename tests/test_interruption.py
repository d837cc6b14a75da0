"""Runs of the command that are killed, stopped, or started twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from chex import assert_trees_all_equal
from PIL import Image
from tiny_models import ARGUMENTS

from cgan_jax import checkpoints
from cgan_jax.models import make_models
from cgan_jax.train_state import create_state, make_tx

NUM_STEPS = 60
KILLS = 4


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the command in a workdir; what it compiles, it compiles once."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        noise = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(folder / "train" / f"{i}.png")
    kept = tmp_path_factory.mktemp("kept")
    model = {f"model.{name}": value for name, value in ARGUMENTS.items()}
    fields = model | {
        "data.source": folder,
        "data.cache_dir": kept / "pairs",
        "train.batch_size": 4,
        "train.num_epochs": NUM_STEPS // 2,
        "report.log_every_steps": 1,
        "report.checkpoint_every_steps": 3,
        "report.checkpoints_kept": 2,
        "report.sample_every_steps": 1000,
    }
    environment = os.environ | {
        "XLA_FLAGS": "",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def start(workdir, *flags, **changed):
        changed = {name.replace("__", "."): x for name, x in changed.items()}
        settings = [f"--config.{name}={x}" for name, x in (fields | changed).items()]
        return subprocess.Popen(
            [sys.executable, "-m", "cgan_jax.launch.train", "--config=tiny"]
            + [f"--workdir={workdir}", f"--compilation_cache={kept / 'compiled'}"]
            + [*settings, *flags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def finish(process, code=0):
    """What it printed, once it has ended with this code."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def wait_until(process, condition):
    while not condition():
        if process.poll() is not None:
            pytest.fail(process.communicate()[0])
        time.sleep(0.001)


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def metrics(workdir):
    """Its lines without what depends on the clock."""
    read = [json.loads(line) for line in lines(workdir)]
    return [
        {n: x for n, x in line.items() if n != "images_per_second"} for line in read
    ]


def snapshot(workdir):
    models = make_models(**ARGUMENTS)
    like = create_state(models, make_tx(2e-4, 0.5), jax.random.key(0))
    manager = checkpoints.open_reader(workdir)
    read = checkpoints.restore_newest(manager, like)
    manager.close()
    return read


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    finish(start(workdir))
    return workdir


def assert_same_end(workdir, undisturbed):
    one, other = snapshot(workdir), snapshot(undisturbed)
    assert one.state.step == NUM_STEPS
    assert_trees_all_equal(one.state, other.state)
    assert one.iterator_state == other.iterator_state
    assert metrics(workdir) == metrics(undisturbed)
    assert [line["step"] for line in metrics(workdir)] == [*range(1, NUM_STEPS + 1)]


def test_a_run_killed_at_random_points_ends_as_if_undisturbed(
    start, undisturbed, tmp_path
):
    rng = random.Random(0)
    killed_at = []
    for first in range(0, NUM_STEPS, NUM_STEPS // KILLS):
        process = start(tmp_path)
        done = first + rng.randrange(1, NUM_STEPS // KILLS - 3)
        wait_until(process, lambda done=done: len(lines(tmp_path)) >= done)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.communicate()
        killed_at.append(len(lines(tmp_path)))
    print("killed after steps", killed_at)
    finish(start(tmp_path))
    assert killed_at[0] < NUM_STEPS
    assert_same_end(tmp_path, undisturbed)


def test_a_run_killed_while_it_writes_a_checkpoint_ends_as_if_undisturbed(
    start, undisturbed, tmp_path
):
    def unfinished():
        return list((tmp_path / "checkpoints").glob("*tmp*"))

    caught = 0
    for _ in range(3):
        process = start(tmp_path)
        wait_until(process, unfinished)
        process.kill()
        process.communicate()
        caught += bool(unfinished())
    finish(start(tmp_path))
    assert caught and not unfinished()
    assert_same_end(tmp_path, undisturbed)


def test_sigterm_saves_says_so_and_the_next_run_goes_on(start, undisturbed, tmp_path):
    process = start(tmp_path, report__checkpoint_every_steps=1000)
    wait_until(process, lambda: len(lines(tmp_path)) >= 7)
    process.send_signal(signal.SIGTERM)
    output = finish(process, 128 + signal.SIGTERM)
    saved = int(snapshot(tmp_path).state.step)
    assert f"SIGTERM: saved step {saved} of {NUM_STEPS} in {tmp_path}" in output
    assert saved == len(lines(tmp_path)) >= 7
    # Other intervals of reporting do not change the run.
    assert f"resumed at step {saved}" in finish(start(tmp_path))
    assert_same_end(tmp_path, undisturbed)


def test_a_second_run_on_a_workdir_in_use_is_refused(start, undisturbed, tmp_path):
    first = start(tmp_path)
    wait_until(first, lambda: lines(tmp_path))
    first.send_signal(signal.SIGSTOP)
    before = lines(tmp_path)
    output = finish(start(tmp_path), 1)
    assert f"{tmp_path} is in use by process {first.pid} on" in output
    assert "another --workdir" in output
    assert lines(tmp_path) == before
    first.kill()
    first.communicate()
    finish(start(tmp_path))
    assert_same_end(tmp_path, undisturbed)


def test_a_changed_config_is_refused_by_name_unless_allowed(start, tmp_path):
    finish(start(tmp_path, train__num_epochs=3))
    changed = {"train__num_epochs": 4, "train__learning_rate": 1e-3, "seed": 5}
    output = finish(start(tmp_path, **changed), 1)
    assert "seed was 0, is 5; train.learning_rate was 0.0002, is 0.001" in output
    assert "num_epochs" not in output and "--allow_config_change" in output
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0
    output = finish(start(tmp_path, "--allow_config_change", **changed))
    assert "train.learning_rate was 0.0002, is 0.001" in output
    assert snapshot(tmp_path).config["seed"] == 5


FILE_LIMIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from cgan_jax.launch import train
train.run()
"""
