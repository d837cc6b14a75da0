"""The encoder: what it learns, what it answers, and the model that it is written with."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chex import assert_trees_all_equal
from tiny_models import LAYOUTS, random_model, save_random_model

from cgan_jax import encoder, model_files
from cgan_jax.encoder import Recipe
from cgan_jax.model_files import ModelError
from cgan_jax.models import Encoder, encode, generate, sample_z

# One for all tests: it is compiled once.
RECIPE = Recipe(
    base_filters=8, num_steps=60, batch_size=32, learning_rate=5e-3, sketch_weight=0.3
)
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def model(layout):
    return random_model(0, layout)


@pytest.fixture(scope="module")
def trained(model):
    return encoder.train(model, RECIPE, seed=0)


@pytest.fixture(scope="module")
def published(tmp_path_factory, layout):
    """The folder of a model, and that of the model with an encoder."""
    folder = tmp_path_factory.mktemp("models")
    save_random_model(folder / "before", 0, layout)
    before = model_files.load(folder / "before")
    card = "# before\n\nwhat it is\n"
    encoder.add_encoder(before, folder / "after", RECIPE, seed=0, card=card)
    return folder / "before", folder / "after"


def test_an_answer_has_the_promised_shape_range_and_no_neighbour():
    module = Encoder(base_filters=4, z_dim=7, height=16)
    sketch = jax.random.uniform(jax.random.key(0), (3, 16, 16))
    params = module.init(jax.random.key(1), sketch)["params"]
    np.testing.assert_array_equal(encode(module, params, sketch), np.zeros((3, 7)))
    params = jax.tree.map(
        lambda x: x + 0.3 * np.sin(np.arange(x.size)).reshape(x.shape), params
    )
    z = encode(module, params, sketch)
    assert z.shape == (3, 7) and 0.1 < np.abs(z).max() < 1
    assert np.abs(z[0] - z[1]).max() > 1e-3
    alone = encode(module, params, sketch[1:2])
    np.testing.assert_allclose(alone[0], z[1], atol=1e-5)


def test_the_network_of_the_paper_s_size_is_small():
    shapes = jax.eval_shape(Encoder().init, jax.random.key(0), jnp.zeros((1, 64, 64)))
    assert 2 * sum(x.size for x in jax.tree.leaves(shapes)) < 4e6  # bytes of float16


def test_a_sketch_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected sketches of 64 pixels, got .32, 32"):
        Encoder().init(jax.random.key(0), jnp.zeros((1, 32, 32)))


def test_it_learns_what_no_chance_tells(trained):
    _, scores = trained
    assert scores["z_error"] < 0.3
    assert scores["sketch_kl"] < 0.5 * scores["chance_kl"]


def test_the_loss_falls(model):
    parts = {
        "encoder": Encoder(8, 8, 16),
        "gen": model.models.gen,
        "recipe": RECIPE,
    }
    state = encoder.create_state(
        parts["encoder"], encoder.make_tx(RECIPE), jax.random.key(0)
    )
    terms = []
    for _ in range(30):
        state, found = encoder.train_step(
            state, model.variables.gen, jax.random.key(1), **parts
        )
        terms.append(jax.device_get(found))
    np.testing.assert_allclose(terms[0]["z_error"], 1 / 3, atol=0.05)
    for name in ("z_error", "sketch_kl"):
        first, last = (
            np.mean([x[name] for x in part]) for part in (terms[:5], terms[-5:])
        )
        assert last < first
    assert int(state.step) == 30


def test_each_sample_shows_the_sketch_that_is_asked_for(model):
    gen, joint = model.models.gen, model.joint
    z = sample_z(jax.random.key(5), 6, gen.z_dim)
    count = len(joint.sketches)
    part = jnp.arange(6) % count
    found = jax.jit(encoder.sketches_of, static_argnums=0)(
        gen, model.variables.gen, z, part
    )
    planes = jax.jit(generate, static_argnums=0)(gen, model.variables.gen, z)
    for i in range(6):
        want = joint.view(planes[i], joint.sketches[i % count])
        np.testing.assert_allclose(found[i], want[0], atol=1e-6)
    assert found.min() >= 0 and found.max() <= 1


def test_a_step_shows_sketches_in_every_style(model, monkeypatch):
    seen = []

    def sketches_of(gen, variables, z, part):
        seen.append(part)
        return real(gen, variables, z, part)

    real = encoder.sketches_of
    monkeypatch.setattr(encoder, "sketches_of", sketches_of)
    recipe = Recipe(**vars(RECIPE) | {"batch_size": 64})
    parts = {"encoder": Encoder(2, 8, 16), "gen": model.models.gen, "recipe": recipe}
    state = encoder.create_state(
        parts["encoder"], encoder.make_tx(recipe), jax.random.key(0)
    )

    @jax.jit
    def shown(state, variables, key):
        seen.clear()
        encoder.train_step.__wrapped__(state, variables, key, **parts)
        first, again = seen
        assert again is first  # it is compared in the same style
        return first

    first, later = (
        shown(state._replace(step=jnp.int32(i)), model.variables.gen, jax.random.key(1))
        for i in (0, 1)
    )
    styles = len(model.joint.sketches)
    assert set(np.unique(first)) == set(range(styles))
    assert np.array_equal(first, later) == (styles == 1)


def test_the_seed_decides_everything(model):
    one, same, other = (
        encoder.train(model, RECIPE, seed=seed)[0].params for seed in (0, 0, 1)
    )
    assert_trees_all_equal(one, same)
    assert np.abs(one["conv_0"]["kernel"] - other["conv_0"]["kernel"]).max() > 1e-3


def test_without_weight_the_generator_draws_no_second_time(model):
    blind = Recipe(**vars(RECIPE) | {"sketch_weight": 0.0})
    parts = {"encoder": Encoder(4, 8, 16), "gen": model.models.gen, "recipe": blind}
    state = encoder.create_state(
        parts["encoder"], encoder.make_tx(blind), jax.random.key(0)
    )
    step = functools.partial(encoder.train_step, **parts)
    _, terms = jax.eval_shape(step, state, model.variables.gen, jax.random.key(1))
    assert set(terms) == {"z_error"}


def test_the_blurred_divergence_is_0_of_equals_and_falls_with_nearness():
    def line(column):
        sketch = np.ones((1, 32, 32), np.float32)
        sketch[:, :, column] = 0
        return jnp.asarray(sketch)

    found = [float(encoder.blurred_kl(line(x), line(10))[0]) for x in (10, 12, 20)]
    assert abs(found[0]) < 1e-5
    assert 0.01 < found[1] < 0.5 * found[2]


def test_the_model_is_as_it_was_but_for_its_encoder(published):
    before, after = map(model_files.load, published)
    assert_trees_all_equal(after.variables, before.variables)
    assert before.encoder is None
    facts = after.config.pop("encoder")
    assert after.config == before.config
    assert {name: facts[name] for name in vars(RECIPE)} == vars(RECIPE)
    assert set(facts["scores"]) == {"z_error", "sketch_kl", "chance_kl"}
    assert facts["generator"] == model_files.generator_digest(before.variables)
    assert after.encoder.module == Encoder(8, 8, 16)


def test_a_card_gets_a_section_and_keeps_what_somebody_wrote(published):
    card = (published[1] / "MODEL_CARD.md").read_text()
    assert card.startswith("# before\n\nwhat it is\n\n## Encoder\n")
    assert "60 steps of 32 samples" in card and "sketch_kl" in card
    assert not (published[0] / "MODEL_CARD.md").exists()


def test_another_encoder_takes_the_place_of_the_section(published, tmp_path):
    model = model_files.load(published[1])
    card = encoder.read_card(str(published[1])) + "\n## Terms\n\nresearch only\n"
    encoder.add_encoder(model, tmp_path / "new", RECIPE, seed=5, card=card)
    text = (tmp_path / "new" / "MODEL_CARD.md").read_text()
    assert text.count("## Encoder") == 1 and "seed 5" in text
    assert "what it is" in text and "research only" in text


def test_a_model_is_never_written_over(published):
    model = model_files.load(published[0])
    for folder in published:
        before = (folder / "weights.safetensors").read_bytes()
        with pytest.raises(ModelError, match=f"{re.escape(str(folder))} holds a model"):
            encoder.add_encoder(model, folder, RECIPE, seed=1, card="")
        assert (folder / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("field", ["base_filters", "num_steps", "batch_size"])
def test_a_number_out_of_range_is_named(model, field):
    with pytest.raises(ValueError, match=f"{field} is 0"):
        encoder.train(model, Recipe(**vars(RECIPE) | {field: 0}), seed=0)


def lose_section(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["encoder"]
    path.write_text(json.dumps(config))


def lose_tensors(folder):
    config = json.loads((folder / "config.json").read_text())
    variables = model_files.load(folder).variables
    model_files.save(folder, variables, config)


def other_filters(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["encoder"]["base_filters"] = 5
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("damage", [lose_section, lose_tensors, other_filters])
def test_half_an_encoder_is_a_damaged_model(published, tmp_path, damage):
    model = model_files.load(published[1])
    folder = tmp_path / "model"
    model_files.save(folder, model.variables, model.config, model.encoder)
    assert_trees_all_equal(
        model_files.load(folder).encoder.params, model.encoder.params
    )
    damage(folder)
    with pytest.raises(ModelError, match=f"{folder} is damaged.*encoder.*copy it anew"):
        model_files.load(folder)


def test_what_is_no_folder_of_a_model_has_no_card(tmp_path):
    assert encoder.read_card(str(tmp_path)) is None


def test_a_model_whose_card_was_taken_away_gets_one_by_its_name(published):
    assert encoder.read_card(str(published[0])) == "# before\n"
