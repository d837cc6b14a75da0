"""The conditional GAN: its networks, its losses, its step, its files."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_models import filled, random_conditional, save_random_model

from cgan_jax import answers, complete, model_files, model_table
from cgan_jax.baselines import conditional, conditional_files, conditional_step
from cgan_jax.configs import default
from cgan_jax.joint import PHOTO
from cgan_jax.model_files import ModelError
from cgan_jax.models import GanPair
from cgan_jax.parallel import AXIS_NAME, parallel_step, replicate
from cgan_jax.strided_conv import phase_conv_transpose, plain_conv
from cgan_jax.train_state import create_state
from cgan_jax.train_step import Recipe

LAYOUTS = ["halves", "planes"]
RECIPE = dataclasses.replace(Recipe.of(default.get_config().train), ema_decay=0.75)
# After a step the state of each tells the gradient: it is the trace of the one, and half
# of it the first moment of the other.
TX = GanPair(optax.adam(5e-3, b1=0.5), optax.sgd(0.01, momentum=0.0))
KEY = jax.random.key(3)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request):
    return request.param


@functools.cache
def small(layout, size=8, axis_name=None):
    """G and D of two filters."""
    arguments = {"base_filters": 2, "height": size, "layout": layout}
    return conditional.make_models(**arguments, axis_name=axis_name)


@functools.partial(jax.jit, static_argnums=0)
def draw(gen, variables, sketches, dropout_keys=None):
    gen = gen.clone(conv_fn=plain_conv, conv_transpose_fn=phase_conv_transpose)
    return gen.apply(variables, sketches, False, dropout_keys)


@pytest.fixture(scope="module")
def sketches(layout):
    gen = random_conditional(0, layout).models.gen
    grey = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16)).astype(np.float32)
    planes = gen.joint.stack({gen.joint.sketches[0]: grey})
    return np.asarray(conditional.sketches_of(gen, planes))


def shapes(models):
    return jax.eval_shape(
        lambda key: [
            model.init(key, jnp.zeros((1, *model.input_shape)), train=False)
            for model in models
        ],
        KEY,
    )


def test_six_levels_lead_from_64_pixels_to_one_and_back():
    models = conditional.make_models(base_filters=64, height=64)
    gen, disc = model_table.layers(models)
    outputs = {layer.name: layer.output for layer in gen}
    assert [outputs[f"down_{i}"] for i in range(5)] == [
        (32, 32, 64),
        (16, 16, 128),
        (8, 8, 256),
        (4, 4, 512),
        (2, 2, 512),
    ]
    assert (outputs["linear_down"], outputs["linear_up"]) == ((512,), (2048,))
    assert [outputs[f"up_{i}"] for i in (4, 3, 2, 1, 0)] == [
        (4, 4, 512),
        (8, 8, 256),
        (16, 16, 128),
        (32, 32, 64),
        (64, 64, 3),
    ]
    kernels = {layer.name: layer.parameters for layer in gen}
    assert kernels["up_3"] == 25 * (512 + 512) * 256  # what is below, and the encoder's
    assert kernels["up_0"] == 25 * (64 + 64) * 3 + 3
    assert not {"down_bn_0", "linear_bn"} & kernels.keys()
    assert disc[0].parameters == 25 * 6 * 64 + 64  # of sketch and photograph at once
    assert disc[-1].output == (8, 8, 1)


def test_as_planes_a_sketch_is_one_channel_and_a_mixture_too():
    sizes = {"base_filters": 64, "height": 64, "layout": "planes"}
    for styles, name in ((["fdog"], "fdog"), (["xdog", "fdog"], "sketch")):
        models = conditional.make_models(**sizes, styles=styles)
        assert models.gen.joint.names == (name, PHOTO)
        assert models.gen.input_shape == (64, 64, 1)
        gen, disc = model_table.layers(models)
        assert gen[0].parameters == 25 * 1 * 64 + 64
        assert disc[0].parameters == 25 * 4 * 64 + 64
        halves = conditional.make_models(**sizes | {"layout": "halves"}, styles=styles)
        assert halves.gen.joint.names == (name, PHOTO)
        assert halves.gen.input_shape == (64, 64, 3)
    with pytest.raises(ValueError, match="no sketch style is given"):
        conditional.make_models(**sizes, styles=[])


@pytest.mark.parametrize("height", [8, 32, 128])
def test_other_heights_have_other_numbers_of_levels(height, layout):
    models = small(layout, height)
    gen, disc = shapes(models)
    levels = sum(name.startswith("down_") for name in gen["params"])
    levels -= sum(name.startswith("down_bn") for name in gen["params"])
    assert 2 << levels == height
    for model, variables, shape in (
        (models.gen, gen, (3, height, height, 3)),
        (models.disc, disc, (3, height // 8, height // 8)),
    ):
        x = jnp.zeros((3, *model.input_shape))
        out = jax.eval_shape(functools.partial(model.apply, train=False), variables, x)
        assert out.shape == shape


@pytest.mark.parametrize("height", [12, 48, 4])
def test_a_height_that_cannot_be_halved_to_a_pixel_is_refused(height):
    with pytest.raises(ValueError, match=f"height must be 8, 16.*{height}"):
        shapes(conditional.make_models(base_filters=2, height=height))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_each_level_of_the_encoder_reaches_the_photograph(layout, sketches, level):
    models = random_conditional(0, layout).models
    variables = filled(models, 0).gen
    whole = draw(models.gen, variables, sketches)
    kernel = variables["params"][f"up_{level}"]["kernel"]
    skipped = kernel.copy()
    skipped[..., kernel.shape[-1] // 2 :] = 0.0
    params = variables["params"] | {f"up_{level}": {"kernel": skipped}}
    if level == 0:
        params["up_0"]["bias"] = variables["params"]["up_0"]["bias"]
    without = draw(models.gen, variables | {"params": params}, sketches)
    assert np.abs(whole - without).max() > 0.05
    assert np.abs(whole).max() <= 1


def test_a_logit_is_of_29_pixels_of_all_planes_every_8th(layout):
    disc = small(layout, 64).disc.clone(conv_fn=plain_conv)
    planes = jax.random.uniform(KEY, (1, *disc.input_shape), minval=-1.0)
    variables = disc.init(KEY, planes, train=False)

    @jax.jit
    def slopes(planes):
        return jax.jacrev(lambda x: disc.apply(variables, x, train=False)[0, 4])(planes)

    def seen(column):
        found = np.abs(slopes(planes)[column, 0]).sum(0) > 0
        assert (found == found[:, :1]).all()
        return found[:, 0]

    assert seen(3).sum() == 29
    assert np.flatnonzero(seen(4))[0] == np.flatnonzero(seen(3))[0] + 8


def test_dropout_is_drawn_from_the_key_of_each_picture():
    x, keys = jnp.ones((3, 8, 8, 16)), jax.random.split(KEY, 3)
    dropped = np.asarray(conditional.dropout(x, keys))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_allclose(dropped.mean((1, 2, 3)), 1, atol=0.1)
    assert not np.array_equal(dropped[0], dropped[1])
    np.testing.assert_array_equal(conditional.dropout(x[1:2], keys[1:2])[0], dropped[1])


def test_answers_have_no_dropout_and_no_neighbours(layout, sketches):
    model = random_conditional(0, layout)
    draw_each = functools.partial(
        conditional.draw_each, model.models.gen, model.variables.gen
    )
    drawn = draw_each(jnp.asarray(sketches))
    gen, variables = model.models.gen, model.variables.gen
    np.testing.assert_allclose(drawn, draw(gen, variables, sketches), atol=1e-5)
    keys = jax.random.split(KEY, len(sketches))
    noisy = draw(gen, variables, sketches, keys)
    assert np.abs(noisy - drawn).max() > 0.05
    backwards = draw_each(jnp.asarray(sketches[::-1]))
    np.testing.assert_array_equal(backwards[::-1], drawn)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01


def test_the_loss_is_that_of_numbers_by_hand(layout):
    joint = small(layout).gen.joint
    true = np.zeros((2, *joint.shape), np.float32)
    fake = true.copy()
    fake[0, ..., joint.where(PHOTO)] = 0.5  # one of two photographs: 0.25 on average
    fake[..., joint.where(joint.sketches[0])] = 9.0  # the sketch is not compared
    logits = np.full((2, 1, 1), np.log(3), np.float32)  # D: 3/4 are real
    pair = jnp.asarray(fake), jnp.asarray(true)
    l1 = conditional_step.l1_distance(*pair, joint)
    np.testing.assert_allclose(l1, 0.25)
    loss = conditional_step.pair_loss(jnp.asarray(logits), l1, 100.0)
    np.testing.assert_allclose(loss, -np.log(0.75) + 25, rtol=1e-6)


# ------------------------------------------------------------------------ the step


def make_step(layout, axis_name=None, **changes):
    return functools.partial(
        conditional_step.train_step,
        models=small(layout, axis_name=axis_name),
        tx=TX,
        recipe=dataclasses.replace(RECIPE, **changes),
        l1_weight=100.0,
        axis_name=axis_name,
    )


@functools.cache
def step(layout):
    return jax.jit(make_step(layout))


@pytest.fixture(scope="module")
def models(layout):
    return small(layout)


@pytest.fixture(scope="module")
def joint(models):
    rng = np.random.default_rng(0)
    # Brighter towards the end: each device sees other statistics.
    brightness = np.linspace(-0.5, 0.5, 4)[:, None, None, None]
    noise = rng.uniform(-0.5, 0.5, (4, *models.gen.joint.shape))
    return (noise + brightness).astype(np.float32)


@pytest.fixture(scope="module")
def state(models):
    return create_state(models, TX, jax.random.key(0))


@pytest.fixture(scope="module")
def updated(layout, state, joint):
    return step(layout)(state, joint, KEY)


def largest_error(got, want):
    """Of all tensors, in parts of the largest entry of each."""
    errors = jax.tree.map(
        lambda a, b: np.abs(a - b).max() / max(np.abs(b).max(), 1e-30), got, want
    )
    return max(jax.tree.leaves(errors))


def test_a_step_is_that_of_its_equations(models, state, updated, joint):
    """D, then G against the new D, by gradients of the losses written out."""
    sketch, photo = jnp.asarray(joint)[..., :-3], jnp.asarray(joint)[..., -3:]
    drop_key, *_ = jax.random.split(jax.random.fold_in(KEY, 0), 4)
    keys = jax.random.split(drop_key, 4)

    def generate(params):
        variables = {"params": params, "batch_stats": state.batch_stats.gen}
        photo, _ = models.gen.apply(
            variables, sketch, True, keys, mutable=["batch_stats"]
        )
        return photo

    def judge(params, photo):
        variables = {"params": params, "batch_stats": state.batch_stats.disc}
        pair = jnp.concatenate([sketch, photo], -1)
        return models.disc.apply(variables, pair, True, mutable=["batch_stats"])[0]

    def disc_loss(params):
        real, fake = judge(params, photo), judge(params, generate(state.params.gen))
        return -(jax.nn.log_sigmoid(real) + jax.nn.log_sigmoid(-fake)).mean()

    def gen_loss(params, disc_params):
        drawn = generate(params)
        convinced = -jax.nn.log_sigmoid(judge(disc_params, drawn)).mean()
        return convinced + 100 * jnp.abs(photo - drawn).mean()

    @jax.jit
    def by_hand():
        disc_grads = jax.grad(disc_loss)(state.params.disc)
        disc = jax.tree.map(lambda p, g: p - 0.01 * g, state.params.disc, disc_grads)
        return disc, jax.grad(gen_loss)(state.params.gen, disc)

    disc, gen_grads = by_hand()
    new, metrics = updated
    assert largest_error(new.params.disc, disc) < 1e-5
    found = jax.tree.map(lambda mu: 2 * mu, new.opt_state.gen[0].mu)
    assert largest_error(found, gen_grads) < 1e-3
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gen_grads))
    assert int(new.step) == 1
    assert set(metrics) == {
        "disc_loss",
        "disc_accuracy_real",
        "disc_accuracy_fake",
        "disc_grad_norm",
        "gen_loss",
        "gen_grad_norm",
        "gen_l1",
    }


def test_the_statistics_are_those_of_the_average_without_dropout(
    models, state, updated, joint
):
    new, _ = updated
    once = models.gen.clone(bn_decay=0.0)
    variables = {"params": new.ema_params, "batch_stats": state.batch_stats.gen}
    sketches = jnp.asarray(joint[..., :-3])
    _, of_batch = once.apply(variables, sketches, True, mutable=["batch_stats"])
    want = jax.tree.map(
        lambda old, batch: 0.8 * old + 0.2 * batch,
        state.batch_stats.gen,
        of_batch["batch_stats"],
    )
    assert largest_error(new.batch_stats.gen, want) < 1e-5


def published_l1(gen, state, joint):
    planes = jnp.asarray(joint)
    variables = conditional.averaged_variables(state).gen
    sketches = conditional.sketches_of(gen, planes)
    drawn = conditional.draw_each(gen, variables, sketches)
    pairs = conditional.with_photo(gen, planes, drawn)
    np.testing.assert_array_equal(pairs[..., :-3], planes[..., :-3])
    np.testing.assert_array_equal(pairs[..., -3:], drawn)
    return conditional_step.l1_distance(pairs, planes, gen.joint)


def test_a_small_set_is_learned_by_heart(layout, models, state, joint):
    history = []
    for _ in range(60):
        state, metrics = step(layout)(state, joint, KEY)
        history.append(float(metrics["gen_l1"]))
    assert np.mean(history[-5:]) < 0.7 * history[0]
    # What is published answers as well: its statistics keep up with its parameters.
    found = published_l1(models.gen, state, joint)
    assert found < 0.8 * history[0]
    stale = create_state(models, TX, jax.random.key(0)).batch_stats
    stale = state.replace(batch_stats=stale)
    assert published_l1(models.gen, stale, joint) > 1.1 * found


def test_two_devices_make_the_same_step(layout, state, updated, joint):
    on_two = parallel_step(make_step(layout, AXIS_NAME), 2)
    copy = replicate(jax.device_get(state), 2)
    shared, metrics = jax.device_get(on_two(copy, joint, KEY))
    assert largest_error(metrics, updated[1]) < 1e-4
    assert largest_error(shared.opt_state, updated[0].opt_state) < 1e-3
    assert largest_error(shared.batch_stats, updated[0].batch_stats) < 1e-4


def test_d_may_be_held_back_by_any_recipe(layout, state, joint):
    changes = {"real_label": 0.9, "r1_gamma": 1.0, "diffaugment": "color,translation"}
    held_back = make_step(layout, **changes, stroke_noise=0.1)
    (changed, shapes), (plain, same_shapes) = (
        jax.make_jaxpr(fn, return_shape=True)(state, joint, KEY)
        for fn in (held_back, make_step(layout))
    )
    assert shapes == same_shapes
    assert len(str(changed)) > 1.1 * len(str(plain))


# ----------------------------------------------------------------- files and answers


@pytest.fixture
def folder(tmp_path, layout):
    model = random_conditional(0, layout)
    model_files.save(tmp_path / "pix", model.variables, model.config)
    return tmp_path / "pix"


@pytest.fixture
def task():
    rng = np.random.default_rng(1)
    sketches = rng.integers(0, 256, (3, 16, 16)).astype(np.uint8)
    photos = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    return answers.Task("xdog", ("a", "b", "c"), sketches, photos)


def test_a_stored_model_gives_the_same_answers_to_the_bit(folder, tmp_path, task):
    model = conditional_files.load(folder)
    assert model.name == "pix" and model.config["kind"] == "conditional"
    model_files.save(tmp_path / "again", model.variables, model.config)
    again = complete.load_conditional(str(tmp_path / "again"))
    assert conditional_files.digest(again) == conditional_files.digest(model)
    assert conditional_files.digest(random_conditional(1)) != conditional_files.digest(
        random_conditional()
    )
    first, second = (answers.conditional_answers(m, task) for m in (model, again))
    assert first.pictures.shape == (3, 1, 16, 16, 3) and first.joint is None
    assert model.joint.names == ("xdog", PHOTO)
    np.testing.assert_array_equal(first.pictures, second.pictures)
    known = task._replace(photos=255 - task.photos)
    unseen = answers.conditional_answers(model, known)
    np.testing.assert_array_equal(first.pictures, unseen.pictures)
    one = task._replace(sketches=task.sketches[2:], photos=task.photos[2:])
    alone = answers.conditional_answers(model, one)
    np.testing.assert_array_equal(alone.pictures[0], first.pictures[2])
    other = answers.conditional_answers(random_conditional(1), task)
    assert not np.array_equal(other.pictures, first.pictures)


def test_an_answer_is_the_photograph_on_the_scale_of_pictures(layout, task):
    model = random_conditional(0, layout)
    found = answers.conditional_answers(model, task).pictures[:, 0]
    gen, grey = model.models.gen, task.sketches.astype(np.float32) / 127.5 - 1
    sketch = np.repeat(grey[..., None], gen.input_shape[-1], -1)
    want = (np.asarray(draw(gen, model.variables.gen, sketch)) + 1) * 127.5
    assert np.abs(found - want).max() < 0.51


def test_photographs_and_other_sizes_have_no_answers(task):
    model = random_conditional()
    with pytest.raises(ValueError, match="no answers to photo2sketch"):
        answers.conditional_answers(model, task._replace(direction="photo2sketch"))
    large = task._replace(sketches=np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(ValueError, match="random takes sketches of 16 .*these have 32"):
        answers.conditional_answers(model, large)


def test_each_kind_says_what_it_is_in_the_place_of_the_other(folder, tmp_path):
    with pytest.raises(ModelError, match="pix holds a conditional .*--conditional="):
        complete.load_model(str(folder))
    save_random_model(tmp_path / "joint")
    with pytest.raises(ModelError, match="joint holds a contextual .* as --model"):
        complete.load_conditional(str(tmp_path / "joint"))
    with pytest.raises(ModelError, match="no model 'nothing'"):
        complete.load_conditional("nothing")


def test_a_damaged_model_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model": {}}))
    with pytest.raises(ModelError, match=f"{folder} is damaged .*: copy it anew"):
        conditional_files.load(folder)


def test_a_model_of_before_there_were_layouts_has_halves(folder, layout):
    model = conditional_files.load(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["model"]["layout"], config["model"]["styles"]
    path.write_text(json.dumps(config))
    older = conditional_files.load(folder)
    assert older.config["model"]["layout"] == "halves"
    assert (older.config == model.config) == (layout == "halves")
    assert older.joint.names == ("xdog", PHOTO)
