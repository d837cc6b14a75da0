"""From a checkpoint to a model: averaged weights, statistics of their own."""

import copy
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chex import assert_trees_all_equal
from tiny_models import ARGUMENTS, CONFIGS, LAYOUTS, random_variables, tiny_models

import cgan_jax
from cgan_jax import checkpoints, complete, model_files, publish
from cgan_jax.checkpoints import Snapshot
from cgan_jax.model_files import ModelError
from cgan_jax.models import Encoder, TrainedEncoder, make_models, sample_z
from cgan_jax.strided_conv import plain_conv
from cgan_jax.train_state import create_state, make_tx, state_from_variables

CONFIG = {
    "seed": 0,
    "train": {
        "batch_size": 12,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "num_epochs": 9,
        "ema_decay": 0.99,
        "r1_gamma": 3.5,
        "inner_noise": 0.0,
        "inner_layers": 3,
    },
}
MANIFEST = {
    "source": {
        "fingerprint": "f1ng3r",
        "num_pictures": 9,
        "settings": {"frame": "wide"},
    },
    "size": 16,
    "styles": {"xdog": {"sigma": 1.6}},
    "counts": {"train": 1234, "test": 56},
    "broken": {"private/name.png": "cut off"},
}
METRICS = [
    {"step": 5, "validation_kl": 0.5, "gen_loss": 1.0},
    {"step": 10, "validation_kl": 0.125, "gen_loss": 2.0},
    {"step": 11, "gen_loss": 3.0},
    {"step": 12, "validation_kl": 9.0},  # after the checkpoint
]
STEPS = 11


def config_of(layout):
    """The config of a run."""
    return copy.deepcopy(CONFIG) | {
        "model": ARGUMENTS | {"layout": layout},
        "data": {"style": CONFIGS[layout]["style"]},
    }


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def state(layout):
    """The average, the newest weights and the running statistics all differ."""
    variables = random_variables(0, layout)
    state = state_from_variables(*variables, make_tx(2e-4, 0.5))
    ema_params = random_variables(1, layout).gen["params"]
    state = state.replace(step=np.asarray(STEPS, np.int32), ema_params=ema_params)
    return jax.tree.map(jnp.asarray, state)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, layout, state):
    workdir = tmp_path_factory.mktemp("runs") / "faces_7"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(config_of(layout)))
    (workdir / "data.json").write_text(json.dumps(MANIFEST))
    lines = "".join(json.dumps(line) + "\n" for line in METRICS)
    (workdir / "metrics.jsonl").write_text(lines)
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
    activations = activations.reshape(512, *model.models.gen.inner_shapes[0])
    stats = model.variables.gen["batch_stats"]["bn_0"]
    mean, var = activations.mean((0, 1, 2)), activations.var((0, 1, 2))
    np.testing.assert_allclose(stats["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-4)
    layer = state.ema_params["bn_0"]
    normal = (activations - mean) / np.sqrt(var + 1e-5)
    inner = np.maximum(normal * layer["scale"] + layer["bias"], 0)
    spread = model.variables.gen["spread"]
    np.testing.assert_allclose(spread["std_0"], inner.std((0, 1, 2)), rtol=1e-4)
    assert spread.keys() == {"std_0", "std_1"}


def test_on_its_own_latents_the_model_is_as_in_training(model, state):
    """Batch norm by the batch and by the averages agree if these are the batch's."""
    z = sample_z(jax.random.key(0), 512, 8)
    gen = model.models.gen
    by_average = gen.apply(model.variables.gen, z, train=False)
    by_batch, _ = gen.apply(
        {"params": state.ema_params, "batch_stats": state.batch_stats.gen},
        z,
        train=True,
        mutable=["batch_stats"],
    )
    np.testing.assert_allclose(by_average, by_batch, atol=1e-4)
    assert np.std(by_batch) > 0.1


def test_the_model_says_where_it_comes_from(layout, model):
    assert model.name == "faces_7"
    assert model.models == tiny_models(layout)
    assert model.joint.sketches == tuple(LAYOUTS[layout]["styles"])
    assert model.config == {
        "model": LAYOUTS[layout],
        "style": CONFIGS[layout]["style"],
        "steps": STEPS,
        "training": CONFIG["train"],
        "data": {
            "fingerprint": "f1ng3r",
            "settings": {"frame": "wide"},
            "size": 16,
            "styles": ["xdog"],
            "counts": {"train": 1234, "test": 56},
        },
        "scores": {"step": 10, "validation_kl": 0.125},
        "cgan_jax": cgan_jax.__version__,
    }


def test_a_card_tells_the_facts(layout, workdir, tmp_path):
    publish.publish(workdir, tmp_path / "faces")
    card = (tmp_path / "faces" / "MODEL_CARD.md").read_text()
    size = (tmp_path / "faces" / "weights.safetensors").stat().st_size
    for fact in (
        "# faces\n",
        "4 base filters, kernels of 5, z of 8; joint images of xdog and ",
        f"photo, 16x16 pixels each, as {layout}",
        f"{size / 1e6:.1f} MB",
        "1,234 train, 56 test pairs; 16 pixels, frame wide; pictures `f1ng3r`",
        "11 steps of 12 pairs; Adam, learning rate 0.0002, beta1 0.5",
        "r1_gamma 3.5",
        "decay 0.99",
        "| validation_kl | 0.125 |",
    ):
        assert fact in card
    assert "private" not in card


def test_a_run_of_before_and_without_scores_has_a_card_too(workdir, tmp_path):
    older = shutil.copytree(workdir, tmp_path / "older")
    (older / "data.json").unlink()
    (older / "metrics.jsonl").unlink()
    model = publish.publish(older, tmp_path / "out")
    assert (model.config["data"], model.config["scores"]) == ({}, {})
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "| data | unknown |" in card and "None were taken" in card


def test_a_card_that_somebody_wrote_is_kept_beside(workdir, tmp_path):
    (tmp_path / "MODEL_CARD.md").write_text("what is good, what is mud")
    publish.publish(workdir, tmp_path)
    old = (tmp_path / "MODEL_CARD.md.old").read_text()
    assert old == "what is good, what is mud"
    assert (tmp_path / "MODEL_CARD.md").read_text().startswith("# ")


def test_spectral_norm_is_folded_into_what_is_published(layout, tmp_path):
    arguments = LAYOUTS[layout] | {"disc_norm": "spectral"}
    models, tx = make_models(**arguments), make_tx(2e-4, 0.5)
    state = create_state(models, tx, jax.random.key(0))
    joint = jax.random.uniform(jax.random.key(1), (3, 16, 16, 6), minval=-1.0)
    judge = models.disc.clone(conv_fn=plain_conv)
    train = jax.jit(lambda d: judge.apply(d, joint, True, mutable=["batch_stats"])[1])
    trained = {"params": state.params.disc, "batch_stats": state.batch_stats.disc}
    for _ in range(30):  # the norms settle
        trained |= train(trained)
    want = judge.apply(trained, joint, train=False)
    stats = state.batch_stats._replace(disc=trained["batch_stats"])
    state = state.replace(batch_stats=stats)

    workdir = tmp_path / "run"
    workdir.mkdir()
    config = config_of(layout)
    config["model"] = config["model"] | {"disc_norm": "spectral"}
    (workdir / "config.json").write_text(json.dumps(config))
    manager = checkpoints.open_manager(workdir, keep=1)
    checkpoints.save(manager, Snapshot(state, {}, {}))
    manager.close()
    model = publish.publish(workdir, tmp_path / "out")
    assert model.config["model"] == LAYOUTS[layout] | {"disc_norm": "none"}
    published = jax.tree.map(jnp.asarray, model.variables.disc)
    got = model.models.disc.apply(published, joint, train=False)
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4)
    plain = model.models.disc.apply({"params": state.params.disc}, joint, train=False)
    assert np.abs(plain - want).max() > 0.01


def test_publishing_writes_the_model_that_it_returns(model, workdir, tmp_path):
    published = publish.publish(workdir, tmp_path / "out" / "faces")
    again = complete.load_model(str(tmp_path / "out" / "faces"))
    assert again.name == published.name == "faces"
    assert again.config == model.config | {"format_version": 2}
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


def test_the_best_checkpoint_is_that_of_the_likest_photographs(
    state, workdir, tmp_path
):
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(workdir / name, tmp_path)
    manager = checkpoints.open_manager(tmp_path, keep=None)
    for step, ssim in ((5, 0.1), (10, 0.3), (11, 0.2), (12, None)):
        scores = {} if ssim is None else {checkpoints.SCORE: ssim}
        snapshot = Snapshot(state.replace(step=np.asarray(step, np.int32)), {}, {})
        checkpoints.save(manager, snapshot, scores)
    checkpoints.finish(manager)
    assert publish.load_workdir(tmp_path).config["steps"] == 12
    best = publish.publish(tmp_path, tmp_path / "best", "best").config
    assert best["steps"] == best["scores"]["step"] == 10


def test_without_completions_no_checkpoint_is_the_best(workdir):
    with pytest.raises(ModelError, match="faces_7 has no checkpoint with completed"):
        publish.load_workdir(workdir, "best")


@pytest.mark.parametrize("load", [publish.load_workdir, complete.load_model])
def test_a_run_without_a_checkpoint_says_to_wait(tmp_path, load):
    (tmp_path / "config.json").write_text(json.dumps(config_of("halves")))
    (tmp_path / "checkpoints").mkdir()
    argument = tmp_path if load is publish.load_workdir else str(tmp_path)
    message = f"{tmp_path} has no checkpoint yet: wait for one"
    with pytest.raises(ModelError, match=message):
        load(argument)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(OSError, match=f"{tmp_path / 'nothing'}"):
        publish.publish(tmp_path / "nothing", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def with_encoder(folder, model, generator):
    """Publishes a model with an encoder that was trained on a generator."""
    module = Encoder(2, ARGUMENTS["z_dim"], ARGUMENTS["height"])
    params = module.init(jax.random.key(3), jnp.zeros((1, 16, 16)))["params"]
    facts = {
        "base_filters": 2,
        "num_steps": 5,
        "batch_size": 6,
        "learning_rate": 0.1,
        "sketch_weight": 0.3,
        "seed": 7,
        "scores": {"z_error": 0.25},
        "generator": model_files.generator_digest(generator),
    }
    encoder = TrainedEncoder(module, jax.device_get(params))
    config = model.config | {"encoder": facts}
    model_files.save(folder, model.variables, config, encoder)
    return model_files.load(folder)


def test_an_encoder_of_the_same_generator_stays(model, workdir, tmp_path):
    before = with_encoder(tmp_path, model, model.variables)
    published = publish.publish(workdir, tmp_path)
    assert_trees_all_equal(published.encoder.params, before.encoder.params)
    assert published.config["encoder"] == before.config["encoder"]
    assert "5 steps of 6 samples" in (tmp_path / "MODEL_CARD.md").read_text()


def test_an_encoder_of_another_generator_is_left_out(layout, model, workdir, tmp_path):
    with_encoder(tmp_path, model, random_variables(5, layout))
    published = publish.publish(workdir, tmp_path)
    assert published.encoder is None and "encoder" not in published.config
    assert "Encoder" not in (tmp_path / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("layout", ["halves"], indirect=True, scope="module")
def test_a_run_of_before_there_were_layouts_is_one_of_halves(
    layout, model, workdir, tmp_path
):
    older = shutil.copytree(workdir, tmp_path / "faces_7")
    config = config_of(layout)
    for field in ("layout", "kernel_size"):
        del config["model"][field]
    for field in ("inner_noise", "inner_layers"):
        del config["train"][field]
    (older / "config.json").write_text(json.dumps(config))
    again = publish.load_workdir(older)
    assert again.config == model.config
    assert_trees_all_equal(again.variables, model.variables)


def test_what_is_published_needs_nothing_to_be_computed(workdir, tmp_path, monkeypatch):
    published = publish.publish(workdir, tmp_path)
    monkeypatch.setattr(model_files, "recompute_statistics", None)
    again = model_files.load(tmp_path)
    assert_trees_all_equal(again.variables, published.variables)
