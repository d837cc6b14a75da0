"""Runs of the command that are killed or asked to stop."""

import json
import os
import random
import signal
import sys
import time

import jax
import numpy as np
import pytest
from chex import assert_trees_all_equal
from PIL import Image
from tiny_models import ARGUMENTS, CONFIGS, LAYOUTS, tiny_models

from cgan_jax import checkpoints
from cgan_jax.train_state import create_state, make_tx

TIMES = ("images_per_second", "input_wait_seconds")
NUM_STEPS = 24


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def start(launched, tmp_path_factory, layout):
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
        "data.style": CONFIGS[layout]["style"],
        "model.layout": layout,
        "train.batch_size": 4,
        "train.inner_noise": 0.2,
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
        return launched(
            [sys.executable, "-m", "cgan_jax.launch.train", "--config=tiny"]
            + [f"--workdir={workdir}", f"--compilation_cache={kept / 'compiled'}"]
            + [*settings, *flags],
            env=environment,
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


def kill(process):
    process.kill()
    process.communicate()


def steps_saved(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def unfinished(workdir):
    """Checkpoints of which only a part has been written."""
    return list((workdir / "checkpoints").glob("*tmp*"))


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def metrics(workdir):
    """Its lines without what depends on the clock."""
    read = [json.loads(line) for line in lines(workdir)]
    return [{n: x for n, x in line.items() if n not in TIMES} for line in read]


def snapshot(workdir, layout):
    models, tx = tiny_models(layout), make_tx(2e-4, 0.5)
    like = create_state(models, tx, jax.random.key(0))
    manager = checkpoints.open_reader(workdir)
    read = checkpoints.restore_newest(manager, like)
    manager.close()
    return read


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    finish(start(workdir, "--profile_steps=2"))
    return workdir


def test_a_run_is_profiled_where_it_is_asked_for(undisturbed):
    assert list((undisturbed / "profile").rglob("*.xplane.pb"))


def assert_same_end(workdir, undisturbed, layout):
    one, other = snapshot(workdir, layout), snapshot(undisturbed, layout)
    assert one.state.step == NUM_STEPS
    assert_trees_all_equal(one.state, other.state)
    assert one.iterator_state == other.iterator_state
    assert metrics(workdir) == metrics(undisturbed)
    assert [line["step"] for line in metrics(workdir)] == [*range(1, NUM_STEPS + 1)]


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_that_is_interrupted_ends_as_if_undisturbed(
    start, undisturbed, layout, tmp_path, kills
):
    """Killed as it writes a checkpoint, killed at random steps, asked to stop."""
    process = start(tmp_path)
    wait_until(process, lambda: unfinished(tmp_path))
    kill(process)
    assert unfinished(tmp_path)
    rng = random.Random(kills)
    for done in sorted(rng.sample(range(3, NUM_STEPS - 8), kills)):
        process = start(tmp_path)
        wait_until(process, lambda done=done: len(lines(tmp_path)) >= done)
        time.sleep(rng.uniform(0, 0.03))
        kill(process)
        print(f"killed after step {len(lines(tmp_path))}:", steps_saved(tmp_path))
        assert len(lines(tmp_path)) < NUM_STEPS

    before = len(lines(tmp_path))
    # With other intervals of reporting, which do not change the run.
    process = start(tmp_path, report__checkpoint_every_steps=1000)
    wait_until(process, lambda: len(lines(tmp_path)) > before)
    process.send_signal(signal.SIGTERM)
    output = finish(process, 128 + signal.SIGTERM)
    saved = int(snapshot(tmp_path, layout).state.step)
    assert f"SIGTERM: saved step {saved} of {NUM_STEPS} in {tmp_path}" in output
    assert saved == len(lines(tmp_path)) > before

    assert f"resumed at step {saved}" in finish(start(tmp_path))
    assert not unfinished(tmp_path)
    assert_same_end(tmp_path, undisturbed, layout)
