"""Snapshots of a run: what comes back, what stays, and where it lies."""

import gc
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_equal, assert_trees_all_equal_dtypes

from cgan_jax import checkpoints, parallel
from cgan_jax.checkpoints import Snapshot
from cgan_jax.models import GanPair
from cgan_jax.train_state import GanState, make_tx

CONFIG = {"seed": 1}
ITERATOR_STATE = {"next_index": 3, "nested": {"epoch": [1, 2], "name": "x"}}


@pytest.fixture
def failures_of_orbax():
    """Lets the futures go that orbax leaves behind where it fails: they complain then."""
    yield
    gc.collect()


def with_failures_of_orbax(test):
    """Marks a test in which orbax fails; what it leaves would fail a later one."""
    ignored = "ignore::pytest.PytestUnraisableExceptionWarning"
    test = pytest.mark.filterwarnings(ignored)(test)
    return pytest.mark.usefixtures("failures_of_orbax")(test)


def make_state(step, seed=0):
    """A state of a few numbers, in every type that one may hold."""
    rng = np.random.default_rng(seed)

    def params():
        return {
            "kernel": jnp.asarray(rng.normal(size=(2, 3)), jnp.float32),
            "half": jnp.asarray(rng.normal(size=4), jnp.bfloat16),
        }

    gen, disc = params(), params()
    tx = make_tx(1e-3, 0.5)
    return GanState(
        step=jnp.asarray(step, jnp.int32),
        params=GanPair(gen, disc),
        batch_stats=GanPair({"mean": jnp.asarray(rng.normal(size=3))}, {}),
        opt_state=GanPair(tx.gen.init(gen), tx.disc.init(disc)),
        ema_params=params(),
    )


def save_steps(workdir, steps, keep):
    manager = checkpoints.open_manager(workdir, keep=keep)
    for step in steps:
        checkpoints.save(
            manager, Snapshot(make_state(step, seed=step), {"at": step}, CONFIG)
        )
    manager.wait_until_finished()
    manager.close()


def steps_saved(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def restore(workdir, like):
    """Restores as another process would."""
    manager = checkpoints.open_reader(workdir)
    snapshot = checkpoints.restore_newest(manager, like)
    manager.close()
    return snapshot


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    state = make_state(7)
    manager = checkpoints.open_manager(tmp_path, keep=1)
    checkpoints.save(manager, Snapshot(state, ITERATOR_STATE, CONFIG))
    manager.close()
    restored = restore(tmp_path, make_state(0, seed=1))
    assert isinstance(restored.state, GanState)
    assert isinstance(restored.state.opt_state.gen[0], optax.ScaleByAdamState)
    assert_trees_all_equal(restored.state, state)
    assert_trees_all_equal_dtypes(restored.state, state)
    assert restored.iterator_state == ITERATOR_STATE


def test_the_newest_snapshot_is_restored(tmp_path):
    save_steps(tmp_path, [3, 10, 20], keep=None)
    restored = restore(tmp_path, make_state(0))
    assert_trees_all_equal(restored.state, make_state(20, seed=20))
    assert restored.iterator_state == {"at": 20}


@pytest.mark.parametrize(
    ("keep", "left"), [(2, ["3", "4"]), (1, ["4"]), (None, ["1", "2", "3", "4"])]
)
def test_only_the_newest_are_kept(tmp_path, keep, left):
    save_steps(tmp_path, [1, 2, 3, 4], keep=keep)
    assert steps_saved(tmp_path) == left


def test_a_run_that_has_none_yet_gives_none(tmp_path):
    assert restore(tmp_path, make_state(0)) is None


def test_the_state_may_be_donated_while_it_is_being_saved(tmp_path):
    expected = jax.device_get(make_state(5))
    state = parallel.replicate(make_state(5), 2)
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    manager = checkpoints.open_manager(tmp_path, keep=1)
    checkpoints.save(manager, Snapshot(state, {}, {}))
    jax.block_until_ready(add(state))
    assert state.step.is_deleted()
    manager.close()
    assert_trees_all_equal(restore(tmp_path, make_state(0)).state, expected)


def test_a_restored_state_lies_on_the_devices_of_the_one_it_replaces(tmp_path):
    save_steps(tmp_path, [1], keep=1)
    like = parallel.replicate(make_state(0), 2)
    restored = restore(tmp_path, like).state
    for got, wanted in zip(*map(jax.tree.leaves, (restored, like)), strict=True):
        assert got.sharding == wanted.sharding
        assert len(got.sharding.device_set) == 2


def test_the_checkpoint_of_the_best_completions_stays(tmp_path):
    ssim = {1: 0.1, 2: 0.3, 3: 0.25, 4: None, 5: -0.1}
    for steps in ([1, 2, 3], [4, 5]):  # the second time as a resumed run
        manager = checkpoints.open_manager(tmp_path, keep=1)
        for step in steps:
            scores = {} if ssim[step] is None else {checkpoints.SCORE: ssim[step]}
            checkpoints.save(manager, Snapshot(make_state(step), {}, {}), scores)
        checkpoints.finish(manager)
    assert steps_saved(tmp_path) == ["2", "5"]
    assert restore(tmp_path, make_state(0)).state.step == 5


def save_on_full_disk(workdir, size):
    """Saves step 6 where no file can grow beyond so many bytes; prints what went wrong."""
    manager = checkpoints.open_manager(Path(workdir), keep=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        checkpoints.save(manager, Snapshot(make_state(6), {}, CONFIG))
        checkpoints.finish(manager)
    except checkpoints.CheckpointError as error:
        print(error, flush=True)
    os._exit(0)


@pytest.mark.parametrize("size", [0, 150])
def test_a_full_disk_is_an_error_that_leaves_the_last_checkpoint(tmp_path, size):
    save_steps(tmp_path, [3], keep=1)
    here = Path(__file__).parent
    code = (
        f"import test_checkpoints; "
        f"test_checkpoints.save_on_full_disk({str(tmp_path)!r}, {size})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])},
        capture_output=True,
        text=True,
        check=True,
    )
    message = r"could not be written to .*checkpoints.*newest whole one is of step 3.*disk full"
    assert re.search(message, result.stdout, re.DOTALL), result.stdout
    assert_trees_all_equal(
        restore(tmp_path, make_state(0)).state, make_state(3, seed=3)
    )
    save_steps(tmp_path, [6], keep=1)  # there is room again
    assert steps_saved(tmp_path) == ["6"]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def files_of(workdir, step):
    folder = workdir / "checkpoints" / str(step)
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    save_steps(workdir, [1, 2], keep=None)
    return workdir


@with_failures_of_orbax
@pytest.mark.parametrize(
    "damage", [truncate, pytest.param(Path.unlink, marks=pytest.mark.slow)]
)
def test_whatever_is_damaged_the_newest_readable_snapshot_is_restored(
    two_saved, tmp_path, caplog, damage
):
    """Each file in turn; some are not needed, and then nothing is lost."""
    fell_back = []
    for i, original in enumerate(files_of(two_saved, 2)):
        workdir = shutil.copytree(two_saved, tmp_path / str(i))
        damage(workdir / original.relative_to(two_saved))
        caplog.clear()
        restored = restore(workdir, make_state(0))
        step = int(restored.state.step)
        assert_trees_all_equal(restored.state, make_state(step, seed=step))
        assert restored.iterator_state == {"at": step}
        said = "the checkpoint of step 2 cannot be read" in caplog.text
        assert said == (step == 1)
        fell_back.append(step == 1)
        checkpoints.set_aside_newer(workdir, step)
        manager = checkpoints.open_manager(workdir, keep=None)
        checkpoints.save(manager, Snapshot(make_state(3), {}, {}))
        checkpoints.finish(manager)
        aside = [path.name for path in workdir.glob("unreadable/*")]
        assert aside == (["2.0"] if said else [])
        assert steps_saved(workdir) == (["1", "3"] if said else ["1", "2", "3"])
    assert sum(fell_back) >= 3


@with_failures_of_orbax
def test_if_none_can_be_read_nothing_is_changed(two_saved, tmp_path):
    workdir = shutil.copytree(two_saved, tmp_path / "run")
    for step in (1, 2):
        for path in files_of(workdir, step):
            truncate(path)
    message = r"none of the checkpoints \[2, 1\] in .* can be read .*Error: .*--workdir"
    with pytest.raises(checkpoints.CheckpointError, match=message):
        restore(workdir, make_state(0))
    assert steps_saved(workdir) == ["1", "2"]


def test_a_config_that_does_not_suit_is_no_damage(two_saved):
    def check(config):
        assert config == CONFIG
        raise ValueError("other config")

    manager = checkpoints.open_reader(two_saved)
    with pytest.raises(ValueError, match="other config"):
        checkpoints.restore_newest(manager, make_state(0), check)
    manager.close()
