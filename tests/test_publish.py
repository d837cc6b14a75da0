"""From a checkpoint to a model: averaged weights, statistics of their own."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chex import assert_trees_all_equal
from tiny_models import ARGUMENTS, random_variables

from cgan_jax import checkpoints, complete, publish
from cgan_jax.checkpoints import Snapshot
from cgan_jax.model_files import ModelError
from cgan_jax.models import make_models, sample_z
from cgan_jax.train_state import make_tx, state_from_variables

CONFIG = {
    "seed": 0,
    "data": {"style": "xdog"},
    "model": ARGUMENTS,
    "train": {"learning_rate": 2e-4, "beta1": 0.5, "num_epochs": 9},
}
MODELS = make_models(**ARGUMENTS)
STEPS = 11


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def state():
    """The average, the newest weights and the running statistics all differ."""
    state = state_from_variables(*random_variables(), make_tx(2e-4, 0.5))
    ema_params = random_variables(seed=1).gen["params"]
    state = state.replace(step=np.asarray(STEPS, np.int32), ema_params=ema_params)
    return jax.tree.map(jnp.asarray, state)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, state):
    workdir = tmp_path_factory.mktemp("runs") / "faces_7"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(CONFIG))
    manager = checkpoints.open_manager(workdir, keep=1)
    checkpoints.save(manager, Snapshot(state, {}, {}))
    manager.close()
    return workdir


@pytest.fixture(scope="module")
def model(workdir):
    return publish.load_workdir(workdir)


def test_g_is_the_average_and_d_the_newest(model, state):
    assert_trees_all_equal(model.variables.gen["params"], state.ema_params)
    assert_trees_all_equal(model.variables.disc["params"], state.params.disc)
    assert_trees_all_equal(model.variables.disc["batch_stats"], state.batch_stats.disc)


def test_the_first_statistics_equal_those_by_hand(model, state):
    z = np.asarray(sample_z(jax.random.key(0), 512, 8), np.float64)
    activations = z @ np.asarray(state.ema_params["linear"]["kernel"], np.float64)
    activations = activations.reshape(512, 4, 8, -1)
    stats = model.variables.gen["batch_stats"]["bn_0"]
    np.testing.assert_allclose(stats["mean"], activations.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(stats["var"], activations.var((0, 1, 2)), rtol=1e-4)


def test_on_its_own_latents_the_model_is_as_in_training(model, state):
    """Batch norm by the batch and by the averages agree if these are the batch's."""
    z = sample_z(jax.random.key(0), 512, 8)
    by_average = MODELS.gen.apply(model.variables.gen, z, train=False)
    by_batch, _ = MODELS.gen.apply(
        {"params": state.ema_params, "batch_stats": state.batch_stats.gen},
        z,
        train=True,
        mutable=["batch_stats"],
    )
    np.testing.assert_allclose(by_average, by_batch, atol=1e-4)
    assert np.std(by_batch) > 0.1


def test_the_model_says_where_it_comes_from(model):
    assert model.name == "faces_7"
    assert model.models == MODELS
    assert model.config == {
        "model": ARGUMENTS,
        "style": "xdog",
        "steps": STEPS,
        "training": CONFIG["train"],
    }


def test_publishing_writes_the_model_that_it_returns(model, workdir, tmp_path):
    published = publish.publish(workdir, tmp_path / "out" / "faces")
    again = complete.load_model(str(tmp_path / "out" / "faces"))
    assert again.name == published.name == "faces"
    assert again.config == model.config | {"format_version": 1}
    assert_trees_all_equal(again.variables, published.variables)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2**-11, atol=2**-25),
        published.variables,
        jax.device_get(model.variables),
    )


def test_a_workdir_is_a_model_by_its_path(model, workdir):
    loaded = complete.load_model(str(workdir))
    assert (loaded.name, loaded.config) == (model.name, model.config)
    assert_trees_all_equal(loaded.variables, model.variables)


@pytest.mark.parametrize("load", [publish.load_workdir, complete.load_model])
def test_a_run_without_a_checkpoint_says_to_wait(tmp_path, load):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "checkpoints").mkdir()
    argument = tmp_path if load is publish.load_workdir else str(tmp_path)
    message = f"{tmp_path} has no checkpoint yet: wait for one"
    with pytest.raises(ModelError, match=message):
        load(argument)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(OSError, match=f"{tmp_path / 'nothing'}"):
        publish.publish(tmp_path / "nothing", tmp_path / "out")
    assert not list(tmp_path.iterdir())
