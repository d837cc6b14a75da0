"""One update, against a step written out here without its savings."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cgan_jax import train_step as step_module
from cgan_jax.configs import default
from cgan_jax.models import GanPair, make_models
from cgan_jax.parallel import AXIS_NAME, parallel_step, replicate
from cgan_jax.strided_conv import plain_conv
from cgan_jax.train_state import create_state, make_tx, state_from_variables
from cgan_jax.train_step import Recipe, train_step
from cgan_jax.workdir import with_missing

MODELS = make_models(base_filters=4, z_dim=6, height=16)
STYLES = ["xdog", "fdog", "photocopy"]
RATE = 0.5
SGD = GanPair(optax.sgd(RATE), optax.sgd(RATE))
PAPER = Recipe.of(default.get_config().train)
RECIPE = dataclasses.replace(PAPER, ema_decay=0.75)
KEY = jax.random.key(7)
METRICS = {
    "disc_loss",
    "disc_accuracy_real",
    "disc_accuracy_fake",
    "disc_grad_norm",
    "gen_loss",
    "gen_grad_norm",
}

sgd_step = jax.jit(functools.partial(train_step, models=MODELS, tx=SGD, recipe=RECIPE))
create = jax.jit(lambda key, tx: create_state(MODELS, tx, key), static_argnums=1)


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def joint():
    noise = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 6))
    return noise.astype(np.float32)


@pytest.fixture(scope="module")
def state():
    return create(jax.random.key(0), SGD)


@pytest.fixture(scope="module")
def updated(state, joint):
    return sgd_step(state, joint, KEY)


def assert_close(got, want, rtol=1e-4):
    """Every entry within `rtol` of the largest of its tensor."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 0, rtol * np.abs(b).max()),
        got,
        want,
    )


def assert_equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


def entries(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


# --------------------------------------------------------------- written out anew


def latents(step, n):
    key = jax.random.fold_in(KEY, step)
    return jax.random.uniform(key, (n, 6), minval=-1.0, maxval=1.0)


def run(model, params, stats, x, *more):
    variables = {"params": params, "batch_stats": stats}
    return model.apply(variables, x, True, *more, mutable=["batch_stats"])


@functools.partial(jax.jit, static_argnums=0)
def batch_statistics(model, params, stats, x):
    """The value, and the statistics of this batch alone."""
    value, updated = run(model.clone(bn_decay=0.0), params, stats, x)
    return value, updated["batch_stats"]


@jax.jit
def disc_gradient(disc_params, state, fake, joint):
    def loss(params):
        real = jax.nn.sigmoid(
            run(MODELS.disc, params, state.batch_stats.disc, joint)[0]
        )
        made = jax.nn.sigmoid(run(MODELS.disc, params, state.batch_stats.disc, fake)[0])
        return -jnp.log(real).mean() - jnp.log(1 - made).mean()

    return jax.value_and_grad(loss)(disc_params)


@jax.jit
def gen_gradient(disc_params, state, z):
    def loss(params):
        fake, _ = run(MODELS.gen, params, state.batch_stats.gen, z)
        made = run(MODELS.disc, disc_params, state.batch_stats.disc, fake)[0]
        return -jnp.log(jax.nn.sigmoid(made)).mean()

    return jax.value_and_grad(loss)(state.params.gen)


def descend(params, grads):
    return jax.tree.map(lambda p, g: p - RATE * g, params, grads)


def test_a_step_is_a_step_of_d_and_then_one_of_g_against_the_new_d(
    state, joint, updated
):
    new, metrics = updated
    z = latents(0, 4)
    fake, _ = batch_statistics(MODELS.gen, state.params.gen, state.batch_stats.gen, z)
    disc_loss, disc_grads = disc_gradient(state.params.disc, state, fake, joint)
    disc_params = descend(state.params.disc, disc_grads)
    gen_loss, gen_grads = gen_gradient(disc_params, state, z)
    _, stale_grads = gen_gradient(state.params.disc, state, z)

    assert_close(new.params.disc, disc_params)
    assert_close(new.params.gen, descend(state.params.gen, gen_grads))
    assert_close(metrics["disc_loss"], disc_loss)
    assert_close(metrics["gen_loss"], gen_loss)
    assert_close(metrics["disc_grad_norm"], np.linalg.norm(entries(disc_grads)))
    assert_close(metrics["gen_grad_norm"], np.linalg.norm(entries(gen_grads)))
    # The old D would have led G elsewhere.
    moved = entries(new.params.gen) - entries(state.params.gen)
    stale = -RATE * entries(stale_grads)
    assert np.abs(moved - stale).max() > 0.05 * np.abs(stale).max()


def test_accuracies_are_those_of_the_d_before_the_update(state, joint, updated):
    params, stats = state.params, state.batch_stats
    fake, _ = batch_statistics(MODELS.gen, params.gen, stats.gen, latents(0, 4))
    real_logits, _ = batch_statistics(MODELS.disc, params.disc, stats.disc, joint)
    fake_logits, _ = batch_statistics(MODELS.disc, params.disc, stats.disc, fake)
    _, metrics = updated
    assert metrics["disc_accuracy_real"] == np.mean(real_logits > 0)
    assert metrics["disc_accuracy_fake"] == np.mean(fake_logits < 0)


def test_running_averages_follow_each_forward_pass_that_they_should(
    state, joint, updated
):
    new, _ = updated
    params, old = state.params, state.batch_stats
    fake, gen_batch = batch_statistics(MODELS.gen, params.gen, old.gen, latents(0, 4))
    _, real_batch = batch_statistics(MODELS.disc, params.disc, old.disc, joint)
    _, fake_batch = batch_statistics(MODELS.disc, params.disc, old.disc, fake)

    def average(running, *batches):
        for batch in batches:
            running = jax.tree.map(lambda r, b: 0.9 * r + 0.1 * b, running, batch)
        return running

    assert_close(new.batch_stats.gen, average(old.gen, gen_batch))
    # Real, then fake; not a third time in G's update.
    assert_close(new.batch_stats.disc, average(old.disc, real_batch, fake_batch))


# ------------------------------------------------------------------------ the rest


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (0, 0.1),  # (1 + 0) / (10 + 0)
        (5, 0.4),  # (1 + 5) / (10 + 5)
        (26, 0.75),  # the decay itself, from here on
        (10_000, 0.75),
    ],
)
def test_the_moving_average_starts_with_a_short_window(state, joint, step, kept):
    start = state.replace(
        step=jnp.int32(step), ema_params=jax.tree.map(jnp.ones_like, state.ema_params)
    )
    new, _ = sgd_step(start, joint, KEY)
    want = jax.tree.map(lambda p: kept + (1 - kept) * p, new.params.gen)
    assert_close(new.ema_params, want, 1e-6)


def test_a_step_is_pure_and_repeats_bit_for_bit(state, joint, updated):
    before = jax.device_get(state)
    assert_equal(sgd_step(state, joint, KEY), updated)
    assert_equal(state, before)
    assert sgd_step.trace(state, joint, KEY).jaxpr.effects == set()


def test_latents_change_with_the_step_and_with_the_key(state, joint, updated):
    _, metrics = updated
    _, later = sgd_step(state.replace(step=jnp.int32(1)), joint, KEY)
    _, other = sgd_step(state, joint, jax.random.key(8))
    assert len({float(m["gen_loss"]) for m in (metrics, later, other)}) == 3


def test_the_step_is_counted_and_the_metrics_are_named_scalars(updated):
    new, metrics = updated
    assert new.step == 1 and new.step.dtype == np.int32
    assert set(metrics) == METRICS
    assert {m.shape for m in metrics.values()} == {()}


def test_a_few_steps_of_adam_stay_finite_and_move_everything(joint):
    tx = make_tx(2e-4, 0.5)
    step_fn = jax.jit(functools.partial(train_step, models=MODELS, tx=tx, recipe=PAPER))
    first = state = create(jax.random.key(0), tx)
    for _ in range(5):
        state, metrics = step_fn(state, joint, KEY)
        assert all(np.isfinite(m) for m in metrics.values())
    assert state.step == 5
    assert np.isfinite(entries(state)).all()
    for old, new in zip(
        jax.tree.leaves((first.params, first.batch_stats, first.ema_params)),
        jax.tree.leaves((state.params, state.batch_stats, state.ema_params)),
        strict=True,
    ):
        assert not np.array_equal(old, new)


# --------------------------------------------------------------------- the recipe


def small(**changed):
    """One layer each, and no batch norm in D: they compile quickly."""
    sizes = {"base_filters": 2, "z_dim": 3, "height": 8, "disc_norm": "none"}
    pair = make_models(**sizes | changed)
    return pair._replace(disc=pair.disc.clone(conv_fn=plain_conv))


SMALL = small()
SMALL_PLANES = small(layout="planes", styles=STYLES)
ALL_ON = dataclasses.replace(
    PAPER,
    gen_updates=2,
    real_label=0.9,
    r1_gamma=10.0,
    r1_every_steps=2,
    diffaugment="color,translation,cutout",
    stroke_blur=0.7,
    stroke_noise=0.2,
    inner_noise=0.3,
)


@pytest.fixture(scope="module")
def small_joint():
    noise = np.random.default_rng(1).uniform(-1, 1, (4, 8, 8, 6))
    return jnp.asarray(noise, jnp.float32)


@functools.cache
def state_of(models):
    return jax.jit(functools.partial(create_state, models, SGD))(jax.random.key(0))


@pytest.fixture(scope="module")
def small_state():
    return state_of(SMALL)


@pytest.fixture(scope="module")
def small_step(small_joint):
    """The state and the metrics after one step of the paper's recipe but for a few fields."""

    @functools.cache
    def step(first=0, models=SMALL, **changed):
        recipe = dataclasses.replace(PAPER, **changed)
        fn = functools.partial(train_step, models=models, tx=SGD, recipe=recipe)
        state = state_of(models).replace(step=jnp.int32(first))
        return jax.jit(fn)(state, small_joint, KEY)

    return step


def passes_through_d(monkeypatch, recipe, state, joint):
    """How each batch that D judges in a step is augmented; nothing is computed."""
    seen = []

    def marked(planes, keys, **kwargs):
        seen.append(kwargs | {"keys": keys})
        return planes

    monkeypatch.setattr(step_module, "augment", marked)
    fn = functools.partial(train_step, models=SMALL, tx=SGD, recipe=recipe)
    jax.eval_shape(fn, state, joint, KEY)
    return seen


def test_each_further_update_of_g_has_latents_of_its_own(
    small_state, small_step, small_joint
):
    once, twice = small_step()[0], small_step(gen_updates=2)[0]
    assert_close(twice.params.disc, once.params.disc)
    assert_close(twice.batch_stats.disc, once.batch_stats.disc)
    # The second update, from where the first has left G, against the same D.
    gen_keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), 4)
    z_key, _ = jax.random.split(gen_keys[3])
    z = jax.random.uniform(z_key, (4, 3), minval=-1.0, maxval=1.0)

    def loss(params):
        fake, _ = run(SMALL.gen, params, once.batch_stats.gen, z)
        made = run(SMALL.disc, once.params.disc, {}, fake)[0]
        return -jnp.log(jax.nn.sigmoid(made)).mean()

    grads = jax.jit(jax.grad(loss))(once.params.gen)
    assert_close(twice.params.gen, descend(once.params.gen, grads))


def test_smoothed_labels_are_those_of_real_images_alone(
    small_state, small_step, small_joint
):
    hard, soft = small_step()[1], small_step(real_label=0.7)[1]

    def mean_logit(params):
        return run(SMALL.disc, params, {}, small_joint)[0].mean()

    # Cross-entropy against 0.7 instead of 1 is 0.3 of the mean logit more.
    logit = jax.jit(mean_logit)(small_state.params.disc)
    np.testing.assert_allclose(
        soft["disc_loss"] - hard["disc_loss"], 0.3 * logit, atol=1e-6
    )
    assert abs(logit) > 1e-4


@pytest.mark.parametrize(
    ("every", "first", "weight"), [(1, 1, 1), (4, 4, 4), (4, 5, 0)]
)
def test_r1_adds_half_gamma_of_the_squared_slope(
    small_state, small_step, small_joint, every, first, weight
):
    plain = small_step(first=first)[0].params.disc
    got = small_step(first=first, r1_gamma=3.0, r1_every_steps=every)[0].params.disc

    def penalty(params):
        slope = jax.grad(lambda x: run(SMALL.disc, params, {}, x)[0].sum())(small_joint)
        return 3.0 / 2 * (slope**2).sum((1, 2, 3)).mean()

    grads = jax.jit(jax.grad(penalty))(small_state.params.disc)
    want = jax.tree.map(lambda g: -RATE * weight * g, grads)
    for name in ("conv_0", "linear"):
        moved = np.asarray(got[name]["kernel"]) - np.asarray(plain[name]["kernel"])
        np.testing.assert_allclose(moved, want[name]["kernel"], atol=1e-6)
        assert np.abs(grads[name]["kernel"]).max() > 1e-4


def test_d_sees_augmented_images_in_every_update(monkeypatch, small_state, small_joint):
    seen = passes_through_d(monkeypatch, ALL_ON, small_state, small_joint)
    assert len(seen) == 4  # real, fake, and one for each update of G
    for call in seen:
        assert call["policy"] == ("color", "translation", "cutout")
        assert (call["stroke_blur"], call["stroke_noise"]) == (0.7, 0.2)


@pytest.mark.parametrize("models", [SMALL, SMALL_PLANES], ids=["halves", "planes"])
def test_every_option_of_the_recipe_changes_the_step(small_step, models):
    """Each alone: what is read nowhere would change nothing."""
    changes = {
        "gen_updates": 2,
        "real_label": 0.9,
        "r1_gamma": 10.0,
        "diffaugment": "cutout",
        "stroke_blur": 1.0,
        "stroke_noise": 0.5,
        "inner_noise": 0.5,
    }
    rest = {"ema_decay", "r1_every_steps", "inner_layers"}  # tested elsewhere
    assert set(changes) | rest == {f.name for f in dataclasses.fields(Recipe)}
    paper = entries(small_step(models=models)[0].params)
    for name, value in changes.items():
        new, _ = small_step(models=models, **{name: value})
        assert not np.array_equal(entries(new.params), paper)


@pytest.fixture(scope="module")
def generator_passes(small_state, small_joint):
    """The offsets of each forward pass of G in a step; arrays, not computed again."""

    def passes(monkeypatch, models=MODELS, **changed):
        seen = []
        forward = step_module._forward_generator

        def noted(params, stats, latents, models):
            seen.append(latents)
            return forward(params, stats, latents, models)

        monkeypatch.setattr(step_module, "_forward_generator", noted)
        recipe = dataclasses.replace(PAPER, **changed)
        fn = functools.partial(train_step, models=models, tx=SGD, recipe=recipe)

        def latents_alone(state, joint):
            seen.clear()
            fn(state, joint, KEY)
            return list(seen)

        shape = jnp.zeros((4, *models.disc.input_shape))
        return jax.jit(latents_alone)(state_of(models), shape)

    return passes


def test_offsets_are_drawn_for_each_image_layer_and_update(
    generator_passes, monkeypatch
):
    found = generator_passes(monkeypatch, gen_updates=2, inner_noise=0.25)
    assert len(found) == 2  # D's update shares that of G's first
    shapes = [(4, *shape) for shape in MODELS.gen.inner_shapes]
    for _, offsets in found:
        assert [x.shape for x in offsets] == shapes
        for offset in offsets:
            np.testing.assert_allclose(offset.std(), 0.25, rtol=0.15)
            assert abs(offset.mean()) < 0.05
    rows = [np.ravel(x)[:256] for _, offsets in found for x in offsets[0]]
    rows += [np.ravel(x)[:256] for x in found[0][1][1]]
    alike = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(alike).max() < 0.3


@pytest.mark.parametrize(("layers", "count"), [(0, 0), (1, 1), (9, 2)])
def test_as_many_inner_layers_are_moved_as_are_asked_for(
    generator_passes, monkeypatch, layers, count
):
    ((_, offsets),) = generator_passes(
        monkeypatch, inner_noise=0.25, inner_layers=layers
    )
    assert len(offsets) == count


def test_without_inner_noise_a_step_is_as_it_was(
    generator_passes, monkeypatch, small_step
):
    ((z, offsets),) = generator_passes(monkeypatch, inner_noise=0.0)
    assert len(offsets) == 0
    ((same, _),) = generator_passes(monkeypatch, inner_noise=0.25)
    np.testing.assert_array_equal(z, same)
    plain, changed = small_step(), small_step(inner_noise=0.0, inner_layers=1)
    assert_equal(changed, plain)


def test_random_offsets_move_what_g_is_judged_by(small_step, small_joint, small_state):
    """G's gradient is that through its moved images, written out."""
    got, _ = small_step(inner_noise=0.5)
    key = jax.random.fold_in(KEY, 0)
    z = jax.random.uniform(key, (4, 3), minval=-1.0, maxval=1.0)
    rows = jax.random.split(jax.random.fold_in(key, 1), 4)
    shape = SMALL.gen.inner_shapes[0]
    offsets = jnp.stack(
        [0.5 * jax.random.normal(jax.random.fold_in(row, 0), shape) for row in rows]
    )

    def loss(params):
        fake, _ = run(SMALL.gen, params, small_state.batch_stats.gen, z, [offsets])
        made = run(SMALL.disc, got.params.disc, {}, fake)[0]
        return -jnp.log(jax.nn.sigmoid(made)).mean()

    grads = jax.jit(jax.grad(loss))(small_state.params.gen)
    assert_close(got.params.gen, descend(small_state.params.gen, grads))
    images = [
        run(SMALL.gen, small_state.params.gen, small_state.batch_stats.gen, z, x)[0]
        for x in ([], [offsets])
    ]
    assert (np.abs(images[1] - images[0]).max((1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize(
    ("layout", "num_devices"), [("halves", 2), ("halves", 4), ("planes", 4)]
)
def test_the_recipe_does_not_depend_on_the_number_of_devices(
    joint, layout, num_devices
):
    """Also where R1 and offsets go through a batch norm that the devices share."""

    def models(axis_name):
        sizes = {"base_filters": 2, "z_dim": 3, "height": 16, "axis_name": axis_name}
        pair = make_models(**sizes, layout=layout, styles=STYLES)
        return pair._replace(disc=pair.disc.clone(conv_fn=plain_conv))

    state = jax.device_get(
        jax.jit(functools.partial(create_state, models(None), SGD))(KEY)
    )
    fn = functools.partial(train_step, tx=SGD, recipe=ALL_ON)
    one = jax.jit(functools.partial(fn, models=models(None)))(state, joint, KEY)
    of_a_device = functools.partial(fn, models=models(AXIS_NAME), axis_name=AXIS_NAME)
    shared = replicate(state, num_devices)
    several = parallel_step(of_a_device, num_devices)(shared, joint, KEY)
    assert_close(jax.device_get(several), jax.device_get(one), 1e-4)


def random_draws(jaxpr):
    """How many arrays of random numbers a program draws, at any depth."""
    here = sum(e.primitive.name == "random_bits" for e in jaxpr.eqns)
    return here + sum(
        random_draws(getattr(p, "jaxpr", p))
        for e in jaxpr.eqns
        for p in jax.tree.leaves(list(e.params.values()), is_leaf=is_jaxpr)
        if is_jaxpr(p)
    )


def is_jaxpr(x):
    return hasattr(getattr(x, "jaxpr", x), "eqns")


def test_the_papers_recipe_pays_for_no_option(small_state, small_joint):
    """No draw but that of the latents, and D is passed no more often."""

    def draws(recipe):
        fn = functools.partial(train_step, models=SMALL, tx=SGD, recipe=recipe)
        return random_draws(jax.make_jaxpr(fn)(small_state, small_joint, KEY).jaxpr)

    assert draws(PAPER) == 1
    assert draws(ALL_ON) > 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ema_decay", 1.0),
        ("gen_updates", 0),
        ("real_label", 0.0),
        ("real_label", 1.1),
        ("r1_gamma", -1.0),
        ("r1_every_steps", 0),
        ("diffaugment", "colour"),
        ("stroke_blur", -0.1),
        ("stroke_noise", -0.1),
        ("inner_noise", -0.1),
        ("inner_layers", 0),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    fields = default.get_config().train.to_dict() | {field: value}
    with pytest.raises(ValueError, match=f"config.train.{field} is {value!r}"):
        Recipe.of(fields)


def test_fields_that_older_configs_lack_are_as_they_were_then():
    """As `workdir.with_missing` says, too."""
    fields = default.get_config().train.to_dict()
    once = with_missing({})["train"]
    older = {name: x for name, x in fields.items() if name not in once}
    assert Recipe.of(older) == Recipe.of(older | once) == PAPER


# ----------------------------------------------------------------------- the state


def test_adam_is_made_with_the_rate_and_beta1_given():
    # Moments of the gradients 1 and then -1, each over what it has gathered.
    first, second = 0.5 * 0.5 - 0.5 * 1, 1.0
    want = [-0.1, -0.1 * (first / (1 - 0.5**2)) / np.sqrt(second)]
    for tx in make_tx(0.1, 0.5):
        opt_state, got = tx.init(jnp.zeros(())), []
        for grad in (1.0, -1.0):
            update, opt_state = tx.update(jnp.float32(grad), opt_state)
            got.append(update)
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_a_state_starts_at_step_0_with_the_average_at_g(state):
    assert state.step == 0 and state.step.dtype == np.int32
    assert_equal(state.ema_params, state.params.gen)


def test_the_key_decides_the_state(state):
    assert_equal(create(jax.random.key(0), SGD), state)
    other = create(jax.random.key(1), SGD)
    for a, b in zip(other.params, state.params, strict=True):
        assert np.abs(entries(a) - entries(b)).max() > 0.01


def test_a_state_can_start_from_given_variables(state):
    given = [
        {
            "params": jax.tree.map(lambda x: 2 * x, params),
            "batch_stats": jax.tree.map(lambda x: 3 + x, stats),
        }
        for params, stats in zip(state.params, state.batch_stats, strict=True)
    ]
    new = state_from_variables(*given, make_tx(2e-4, 0.5))
    assert new.step == 0
    assert_equal(new.params, GanPair(*(g["params"] for g in given)))
    assert_equal(new.batch_stats, GanPair(*(g["batch_stats"] for g in given)))
    assert_equal(new.ema_params, given[0]["params"])
    assert not entries(new.opt_state).any()
    # A donated state may not hold one buffer twice.
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(new)]
    assert len(set(pointers)) == len(pointers)
