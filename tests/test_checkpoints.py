"""Snapshots of a run: what comes back, what stays, and where it lies."""

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


def restore(workdir, like):
    """Restores as another process would."""
    manager = checkpoints.open_manager(workdir, keep=None)
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
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == left


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
