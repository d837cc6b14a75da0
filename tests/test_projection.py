"""The search finds what fits, and an answer depends on nothing that it should not."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import random_model

from cgan_jax import losses, projection
from cgan_jax.configs import default
from cgan_jax.models import (
    Encoder,
    GanPair,
    TrainedEncoder,
    generate,
    make_models,
    recompute_statistics,
    sample_z,
)
from cgan_jax.projection import Search, draw_starts, project

SIZE, Z_DIM = 8, 5
COMMON = {"base_filters": 4, "z_dim": Z_DIM, "height": SIZE}
MODELS = {
    "halves": make_models(**COMMON, layout="halves", styles=["xdog"]),
    "planes": make_models(**COMMON, layout="planes", styles=["xdog", "fdog"]),
}
# What is known of the joint images of a layout; None is some pixels of every part.
CASES = {
    "halves-sketch": ("halves", ["xdog"]),
    "halves-parts": ("halves", None),
    "planes-sketch": ("planes", ["fdog"]),
    "planes-photo": ("planes", ["photo"]),
    "planes-parts": ("planes", None),
}
RARELY = {
    "halves-photo": ("halves", ["photo"]),
    "planes-sketches": ("planes", ["xdog", "fdog"]),
}
KEY = jax.random.key(2)
SEARCH = Search(
    **dict(default.get_config().projection)
    | {
        "num_starts": 64,
        "num_candidates": 3,
        "num_steps": 60,
        "keep_spread": False,
        "photo_distance": "kl",
        "inner_steps": 0,
    }
)
RANKING = dataclasses.replace(SEARCH, num_steps=0)
CONVINCING = dataclasses.replace(SEARCH, perceptual_weight=0.5)
EVERYTHING = dataclasses.replace(
    CONVINCING,
    num_candidates=2,
    num_steps=4,
    optimizer="nesterov",
    keep_spread=True,
    distance="js",
    inner_steps=4,
    inner_layers=1,
    closeness="auto",
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


class Case(NamedTuple):
    """A model, and joint images of which something is known.

    Attributes:
      models: G and D.
      variables: of them.
      mask: of what is known.
      z: latents.
      true: their joint images.
      targets: the same; what is unknown is NaN.
    """

    models: GanPair
    variables: GanPair
    mask: np.ndarray
    z: Any
    true: np.ndarray
    targets: np.ndarray

    @property
    def joint(self):
        return self.models.gen.joint

    @property
    def fixed(self):
        """What is given first of all parts of a search of the first target."""
        return jnp.asarray(self.targets[:1]), jnp.asarray(self.mask)


@functools.cache
def random_variables(layout):
    """A random pair, its weights large enough for images that differ visibly."""
    models = MODELS[layout]

    @jax.jit
    def init(key):
        gen, disc = (
            model.init(key, jnp.zeros((1, *model.input_shape)), train=False)
            for model in models
        )
        gen, disc = ({**v, "params": _louder(v["params"])} for v in (gen, disc))
        statistics = recompute_statistics(models.gen, gen["params"], key)
        return GanPair(gen | statistics, disc | {"batch_stats": {}})

    return init(jax.random.key(0))


def _louder(params):
    return jax.tree_util.tree_map_with_path(
        lambda path, x: 10 * x if path[-1].key == "kernel" else x, params
    )


@functools.cache
def make_case(name):
    layout, known = (CASES | RARELY)[name]
    models, variables = MODELS[layout], random_variables(layout)
    joint = models.gen.joint
    if known is None:
        rng = np.random.default_rng(6)
        mask = (rng.random(joint.mask_shape) < 0.4).astype(np.float32)
    else:
        mask = joint.mask(known)
    z = sample_z(jax.random.key(11), 3, Z_DIM)
    true = np.array(generated(models, variables, z))
    targets = np.where(joint.per_plane(mask) > 0, true, np.nan)
    return Case(models, variables, mask, z, true, targets)


generated = jax.jit(
    lambda models, variables, z: generate(models.gen, variables.gen, z),
    static_argnums=0,
)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """Each layout, and each thing that may be known of it."""
    return make_case(request.param)


@pytest.fixture(scope="module")
def halves():
    """A known sketch of the paper's joint image."""
    return make_case("halves-sketch")


@pytest.fixture(scope="module", params=["halves-sketch", "planes-sketch"])
def sketched(request):
    """A known sketch in each layout."""
    return make_case(request.param)


@pytest.fixture(scope="module", params=["halves-sketch", "planes-parts"])
def one_or_all(request):
    """One known part of two, and some pixels of each of three."""
    return make_case(request.param)


def run(case, targets=None, mask=None, key=KEY, search=SEARCH, encoder=None):
    """The answers of a whole search, on the host."""
    options = {"models": case.models, "search": search}
    starts = draw_starts(case.variables, key, **options)
    found = project(
        case.variables,
        jnp.asarray(case.targets if targets is None else targets),
        jnp.asarray(case.mask if mask is None else mask),
        starts,
        encoder=encoder,
        **options,
    )
    return jax.device_get(found)


def images_of(case, found):
    """G of all latents of the answers."""
    z = found.z.reshape(-1, Z_DIM)
    return generated(case.models, case.variables, z).reshape(found.joint.shape)


@functools.partial(jax.jit, static_argnames=("joint", "known", "photo_distance"))
def terms_of(planes, target, mask, *, joint, known, photo_distance="kl"):
    """The distance of each known part, by its definition."""
    return {
        name: losses.image_distance(
            joint.view(planes, name),
            joint.view(target, name),
            joint.mask_of(mask, name),
            photo_distance if name == "photo" else "kl",
        ).mean(-1)
        for name in known
    }


def contextual_of(case, planes, targets):
    """The contextual loss of joint images, by its definition."""
    known = case.joint.known(case.mask)
    found = terms_of(planes, targets, case.mask, joint=case.joint, known=known)
    return sum(found.values())


@pytest.fixture(scope="module")
def found(case):
    return run(case)


@pytest.fixture(scope="module")
def ranked(case):
    return run(case, search=RANKING)


# ----------------------------------------------------------------------- answers


def test_answers_have_the_shapes_and_ranges_they_promise(case, found):
    assert found.z.shape == (3, 3, Z_DIM)
    assert found.joint.shape == (3, 3, *case.joint.shape)
    assert found.contextual.shape == found.perceptual.shape == (3, 3)
    assert found.offset_size.shape == found.closeness.shape == (3, 3)
    assert np.abs(found.z).max() <= 1 and np.abs(found.joint).max() <= 1
    assert np.isfinite(found.joint).all()


def test_without_an_inner_search_there_are_no_offsets(found):
    assert found.offsets == ()
    assert not found.offset_size.any() and not found.closeness.any()


def test_the_search_fits_far_better_than_the_best_start(found, ranked):
    assert (ranked.contextual[:, 0] > 1e-3).all()
    assert (found.contextual[:, 0] < 0.05 * ranked.contextual[:, 0]).all()


def test_the_search_brings_what_is_lost_back(case, found, ranked):
    lost = case.joint.per_plane(case.mask) == 0
    error, before = (
        np.abs(f.joint - case.true[:, None])[..., lost].mean(-1)
        for f in (found, ranked)
    )
    assert error[:, 0].mean() < 0.5 * before[:, 0].mean()


def test_answers_are_sorted_and_their_fields_belong_together(case, found):
    assert (np.diff(found.contextual, axis=1) >= 0).all()
    assert np.ptp(found.contextual, axis=1).min() > 0
    joint = images_of(case, found)
    np.testing.assert_allclose(found.joint, joint, atol=1e-5)
    targets = np.repeat(case.targets[:, None], 3, 1)
    contextual = contextual_of(case, found.joint, targets)
    np.testing.assert_allclose(found.contextual, contextual, rtol=1e-3, atol=1e-6)
    flat = joint.reshape(9, *case.joint.shape)
    logits = case.models.disc.apply(case.variables.disc, flat, train=False)
    perceptual = losses.perceptual_loss(logits).reshape(3, 3)
    np.testing.assert_allclose(found.perceptual, perceptual, rtol=1e-4, atol=1e-5)


def test_the_terms_are_those_of_the_known_parts_and_add_up(case, found):
    known = case.joint.known(case.mask)
    assert {*found.terms} == {*known}
    np.testing.assert_allclose(
        sum(found.terms.values()), found.contextual, rtol=1e-5, atol=1e-8
    )
    targets = np.repeat(case.targets[:, None], 3, 1)
    want = terms_of(found.joint, targets, case.mask, joint=case.joint, known=known)
    for name in known:
        np.testing.assert_allclose(
            found.terms[name], want[name], rtol=1e-3, atol=1e-6, err_msg=name
        )


def test_without_steps_the_answers_are_the_best_starts_in_order(case, ranked):
    z = sample_z(KEY, 64, Z_DIM)
    joint = generated(case.models, case.variables, z)
    every = np.stack(
        [
            contextual_of(case, joint, np.broadcast_to(target, joint.shape))
            for target in case.targets
        ]
    )
    best = np.argsort(every, axis=1)[:, :3]
    np.testing.assert_array_equal(ranked.z, np.asarray(z)[best])
    np.testing.assert_allclose(
        ranked.contextual, np.take_along_axis(every, best, 1), rtol=1e-4
    )


@pytest.mark.parametrize(("asked", "blocks"), [(5, 1), (8, 1), (9, 2)])
def test_as_many_starts_as_asked_are_drawn_and_generated_in_blocks(
    halves, asked, blocks
):
    search = dataclasses.replace(RANKING, num_starts=asked)
    starts = draw_starts(halves.variables, KEY, models=halves.models, search=search)
    np.testing.assert_array_equal(starts.z, sample_z(KEY, asked, Z_DIM))
    assert [len(joint) for joint in starts.joint] == [8] * blocks
    joint = np.concatenate(starts.joint)[:asked]
    want = generated(halves.models, halves.variables, starts.z)
    np.testing.assert_allclose(joint, want, atol=1e-5)


@pytest.mark.parametrize("layout", MODELS)
def test_an_image_does_not_depend_on_its_place_in_a_block(layout):
    """To the bit, where XLA optimizes: in one batch of these shapes it would."""
    model = random_model(layout=layout)
    gen, variables = model.models.gen, model.variables.gen
    z = sample_z(KEY, 8, gen.z_dim)
    offsets = tuple(jax.random.normal(KEY, (8, *shape)) for shape in gen.inner_shapes)
    quick = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        anew = jax.jit(
            lambda z, offsets: projection.generate_each(gen, variables, z, offsets)
        )
        first = np.asarray(anew(z, offsets))
        rolled = jax.tree.map(lambda x: jnp.roll(x, 3, 0), (z, offsets))
        moved = np.asarray(anew(*rolled))
    finally:
        jax.config.update("jax_disable_most_optimizations", quick)
    np.testing.assert_array_equal(np.roll(first, 3, 0), moved)


def test_what_fills_a_block_of_starts_up_is_no_start(halves):
    """There z is 0: a target that it would fit best gets one of the five."""
    zero = np.zeros((1, Z_DIM), np.float32)
    target = np.array(generated(halves.models, halves.variables, zero))
    few = dataclasses.replace(RANKING, num_starts=5)
    found = run(halves, target, search=few)
    drawn = np.asarray(sample_z(KEY, 5, Z_DIM))
    assert {*map(tuple, found.z[0])} < {*map(tuple, drawn)}


def test_more_answers_than_a_block_of_images(halves):
    wide = dataclasses.replace(SEARCH, num_candidates=25, num_steps=1)
    found = run(halves, search=wide)
    np.testing.assert_allclose(found.joint, images_of(halves, found), atol=1e-5)


@pytest.mark.parametrize(
    "search",
    [SEARCH, CONVINCING, EVERYTHING],
    ids=["without_d", "with_d", "with_everything"],
)
def test_an_answer_depends_on_no_neighbour(case, search):
    """Trap 4: bit for bit, whatever else is in the batch, and in whatever order."""
    found = run(case, search=search)
    order = np.array([2, 0, 1])
    turned = run(case, case.targets[order], search=search)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[order]), turned, found)

    strange = case.targets.copy()
    strange[1:][..., case.joint.per_plane(case.mask) > 0] = 1.0
    beside = run(case, strange, search=search)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), beside, found)
    assert not np.array_equal(beside.z[1], found.z[1])


def test_the_size_of_the_batch_changes_one_step_by_no_more_than_rounding(sketched):
    search = dataclasses.replace(SEARCH, num_steps=1)
    together = run(sketched, search=search)
    for i in range(3):
        alone = run(sketched, sketched.targets[i : i + 1], search=search)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[0], b[i], atol=1e-5),
            alone,
            together,
        )


def test_the_key_and_nothing_else_draws_the_starts(halves):
    found, ranked = run(halves), run(halves, search=RANKING)
    jax.tree.map(np.testing.assert_array_equal, run(halves), found)
    other = run(halves, key=jax.random.key(3), search=RANKING)
    assert np.abs(other.z - ranked.z).max() > 0.1
    assert np.abs(run(halves, key=jax.random.key(3)).z - found.z).max() > 0


def test_d_steers_the_search_only_where_it_has_weight(sketched):
    found = run(sketched)
    opposite = sketched.variables._replace(
        disc=jax.tree.map(lambda x: -x, sketched.variables.disc)
    )
    against = sketched._replace(variables=opposite)
    unmoved = run(against)
    np.testing.assert_array_equal(unmoved.z, found.z)
    assert np.abs(unmoved.perceptual - found.perceptual).max() > 1e-3

    steered = run(sketched, search=CONVINCING)
    astray = run(against, search=CONVINCING)
    assert np.abs(steered.z - astray.z).max() > 0.1
    # The loss is low where D is convinced.
    assert steered.perceptual.mean() < found.perceptual.mean()
    assert steered.contextual.mean() > found.contextual.mean()


@pytest.mark.parametrize("name", ["halves-photo", "planes-photo"])
def test_photos_are_turned_into_sketches_by_the_other_mask(name):
    """Trap 5: there the search reads the left half under any mask."""
    case = make_case(name)
    assert np.isnan(case.targets[..., case.joint.where(case.joint.sketches[0])]).all()
    start, end = (run(case, search=search) for search in (RANKING, SEARCH))
    assert (end.contextual[:, 0] < 0.05 * start.contextual[:, 0]).all()
    assert np.isfinite(end.joint).all()


# ------------------------------------------------------------------------- steps


def advanced(case, z, search):
    """The state after the steps of a search that begins at z, `(b, k, z)`."""
    return step(case, projection.begin_from(z, search=search), search, search.num_steps)


def step(case, state, search, num_steps, first=0, targets=None):
    """The state so many steps later; of as many targets as the state has."""
    targets = case.targets[: len(state.z)] if targets is None else targets
    return projection.advance(
        case.variables,
        jnp.asarray(targets),
        jnp.asarray(case.mask),
        state,
        models=case.models,
        search=search,
        first=first,
        num_steps=num_steps,
    )


def begun(search):
    """A search of one target at two latents."""
    return projection.begin_from(sample_z(KEY, 2, Z_DIM)[None], search=search)


def test_latents_stay_in_the_box_that_the_search_pushes_against(halves):
    hasty = dataclasses.replace(SEARCH, num_steps=3, learning_rate=5.0)
    z = advanced(halves, sample_z(KEY, 3, Z_DIM)[:, None], hasty).z
    assert (np.abs(z) > 0.99).mean() > 0.5
    assert np.abs(z).max() <= 1.0


def test_latents_keep_the_spread_of_the_training_where_it_is_asked_for(halves):
    def spread(search):
        starts = 0.1 * sample_z(KEY, 3, Z_DIM)[:, None]
        return np.mean(np.square(advanced(halves, starts, search).z), -1)

    base = dataclasses.replace(SEARCH, num_steps=1)
    kept = spread(dataclasses.replace(base, keep_spread=True))
    assert 0.2 < kept.min() <= kept.max() < 0.45
    assert spread(base).max() < 0.1


def test_the_scale_of_the_loss_does_not_matter_to_the_search(halves, monkeypatch):
    """Trap 6: lambda 0.5 beside 1 is lambda 50 beside 100 because the search is Adam's."""
    scale = None
    for name in ("image_distance", "perceptual_loss"):
        loss = getattr(losses, name)
        monkeypatch.setattr(
            losses, name, lambda *a, loss=loss, **k: scale * loss(*a, **k)
        )

    def searches(search):
        @jax.jit
        def find(factor, z):
            nonlocal scale
            scale = factor
            with monkeypatch.context() as patch:  # traced anew, with the patches
                patch.setattr(projection, "_advance", projection._advance.__wrapped__)
                return advanced(halves, z, search).z

        starts = sample_z(KEY, 3, Z_DIM)[:, None]
        return [find(s, starts) for s in (1.0, 100.0)]

    few = dataclasses.replace(CONVINCING, num_steps=3)
    np.testing.assert_allclose(*searches(few), atol=1e-3)
    plain = dataclasses.replace(few, optimizer="nesterov", learning_rate=0.01)
    once, hundredfold = searches(plain)
    assert np.abs(once - hundredfold).max() > 0.05


@pytest.mark.parametrize("search", [SEARCH, EVERYTHING], ids=["plain", "everything"])
def test_steps_in_several_calls_are_the_steps_of_one(one_or_all, search):
    """With everything the inner search begins after four, in the midst of a call."""
    whole = step(one_or_all, begun(search), search, 6)
    state = begun(search)
    for first, count in ((0, 3), (3, 2), (5, 1)):
        state = step(one_or_all, state, search, count, first=first)
    latents, want = (state.z, state.offsets), (whole.z, whole.offsets)
    jax.tree.map(np.testing.assert_array_equal, latents, want)
    np.testing.assert_allclose(state.contextual, whole.contextual, rtol=1e-6)
    assert np.abs(whole.z[:, :1] - begun(search).z[:, :1]).max() > 1e-3
    assert len(whole.offsets) == (1 if search.is_inner else 0)


def test_a_search_by_hand_is_the_search_by_project(one_or_all):
    targets, mask = jnp.asarray(one_or_all.targets), jnp.asarray(one_or_all.mask)
    options = {"models": one_or_all.models, "search": EVERYTHING}
    starts = draw_starts(one_or_all.variables, KEY, **options)
    state = projection.begin(targets, mask, starts, **options)
    assert state.z.shape == (3, 2, Z_DIM) and state.offsets == ()
    known = one_or_all.variables, targets, mask
    for first, steps, candidates in ((0, 4, 2), (4, 1, 8), (5, 3, 8)):
        state = projection.advance(
            *known, state, first=first, num_steps=steps, **options
        )
        assert state.z.shape == (3, candidates, Z_DIM)
    found = projection.finish(*known, state, **options)
    expected = run(one_or_all, search=EVERYTHING)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), expected)


def test_a_search_that_is_ended_early_has_answers(sketched):
    """In the first stage, where there are no offsets, whatever is asked for later."""
    state = step(sketched, begun(EVERYTHING), EVERYTHING, 2)
    options = {"models": sketched.models, "search": EVERYTHING}
    found = projection.finish(sketched.variables, *sketched.fixed, state, **options)
    assert found.z.shape == (1, 2, Z_DIM) and found.offsets == ()
    assert (np.diff(found.contextual) >= 0).all()
    assert {*map(tuple, found.z[0].tolist())} == {*map(tuple, state.z[0].tolist())}


def test_a_step_tells_the_loss_that_it_began_with(sketched):
    state = begun(SEARCH)
    after = step(sketched, state, SEARCH, 1)
    joint = generated(sketched.models, sketched.variables, state.z[0])
    want = contextual_of(sketched, joint, np.stack([sketched.targets[0]] * 2))
    np.testing.assert_allclose(after.contextual[0], want, rtol=1e-4)


# ------------------------------------------------------ as a part of other programs


def test_a_sweep_over_numbers_compiles_once_and_is_each_search(sketched):
    rates = np.array([0.01, 0.05, 0.1], np.float32)
    base = dataclasses.replace(SEARCH, num_steps=3)
    options = {"models": sketched.models, "search": base}
    starts = draw_starts(sketched.variables, KEY, **options)

    def find(rate, search=base):
        numbers = None if rate is None else base.numbers._replace(learning_rate=rate)
        options = {"models": sketched.models, "search": search, "numbers": numbers}
        return project(sketched.variables, *sketched.fixed, starts, **options)

    swept = jax.vmap(find)(rates)
    find(rates[0])  # compiled
    compiled = projection._advance._cache_size()
    for i, rate in enumerate(rates):
        alone = find(None, dataclasses.replace(base, learning_rate=float(rate)))
        np.testing.assert_allclose(swept.z[i], alone.z, atol=1e-4)
    assert projection._advance._cache_size() == compiled
    assert np.abs(swept.z[0] - swept.z[2]).max() > 0.05


def test_a_search_can_be_differentiated_by_its_target(one_or_all):
    """Against a difference quotient, along one direction, through three steps."""
    state = begun(SEARCH)
    gentle = dataclasses.replace(SEARCH, optimizer="sgd", learning_rate=0.02)
    target = np.nan_to_num(one_or_all.targets[:1])
    noise = np.random.default_rng(0).normal(size=target.shape)
    towards = np.float32(noise * one_or_all.joint.per_plane(one_or_all.mask))

    @jax.jit
    def shown(amount):
        moved = jnp.clip(target * 0.5 + amount * towards, -1, 1)
        return step(one_or_all, state, gentle, 3, targets=moved).z.sum()

    at = 0.05
    slope = jax.jit(jax.grad(shown))(at)
    quotient = (shown(at + 1e-2) - shown(at - 1e-2)) / 2e-2
    assert abs(quotient) > 1e-3
    np.testing.assert_allclose(slope, quotient, rtol=0.05)


def test_d_may_rank_answers_that_it_did_not_steer(sketched):
    judged = dataclasses.replace(
        SEARCH, perceptual_weight=50.0, perceptual_role="ranks"
    )
    ranked, found = run(sketched, search=judged), run(sketched)
    total = ranked.contextual + 50.0 * ranked.perceptual
    assert (np.diff(total, axis=1) >= 0).all()
    assert (np.diff(ranked.contextual, axis=1) < 0).any()
    for one, other in zip(ranked.z, found.z, strict=True):
        assert {*map(tuple, one)} == {*map(tuple, other)}


@pytest.mark.parametrize(
    "search",
    [dataclasses.replace(x, num_steps=7) for x in (SEARCH, EVERYTHING)],
    ids=["z_alone", "with_everything"],
)
def test_what_is_compiled_ahead_is_what_the_search_runs(sketched, search):
    """What a thread has compiled is not compiled again."""
    options = {"models": sketched.models, "search": search}
    starts = draw_starts(sketched.variables, KEY, **options)
    projection.compile_project(sketched.variables, *sketched.fixed, **options)
    built = []

    def listen(name, *_, **__):
        if name.endswith("backend_compile_duration"):
            built.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    project(sketched.variables, *sketched.fixed, starts, **options)
    # What is small: the choice of starts, the opening of the layers, blocks of latents.
    assert len(built) <= 4


# -------------------------------------------------------------------------- masks


def test_a_mask_that_shows_nothing_is_refused(sketched):
    with pytest.raises(ValueError, match="the mask shows nothing"):
        run(sketched, mask=np.zeros(sketched.joint.mask_shape, np.float32))


def test_a_traced_mask_serves_as_well(one_or_all):
    few = dataclasses.replace(SEARCH, num_steps=1)
    options = {"models": one_or_all.models, "search": few}
    starts = draw_starts(one_or_all.variables, KEY, **options)

    @jax.jit
    def find(mask):
        targets = jnp.asarray(one_or_all.targets)
        return project(one_or_all.variables, targets, mask, starts, **options)

    expected, traced = run(one_or_all, search=few), find(jnp.asarray(one_or_all.mask))
    assert {*traced.terms} == {*one_or_all.joint.names}
    for name in set(one_or_all.joint.names) - set(expected.terms):
        assert not traced.terms[name].any()
    traced = traced._replace(terms={x: traced.terms[x] for x in expected.terms})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), traced, expected
    )


@pytest.mark.parametrize("name", ["halves-parts", "planes-parts"])
def test_parts_known_in_part_weigh_as_asked(name):
    case = make_case(name)
    search = dataclasses.replace(SEARCH, photo_distance="l2", photo_weight=10.0)
    found = run(case, search=search)
    start = run(case, search=dataclasses.replace(search, num_steps=0))
    assert (found.contextual[:, 0] < 0.05 * start.contextual[:, 0]).all()
    weights = {"photo": 10.0}
    total = sum(weights.get(x, 1.0) * term for x, term in start.terms.items())
    np.testing.assert_allclose(start.contextual, total, rtol=1e-5)
    mask = case.joint.mask_of(case.mask, "photo")
    photo, true = (
        x[..., case.joint.where("photo")] for x in (start.joint, case.true[:, None])
    )
    difference = np.where(mask[..., None] > 0, photo - true, 0) / 2
    l2 = np.square(difference).sum((-3, -2)).mean(-1) / mask.sum()
    np.testing.assert_allclose(start.terms["photo"], l2, rtol=1e-4)


def test_several_sketches_weigh_alike():
    """Each known sketch is a distribution of its own, of weight 1."""
    case = make_case("planes-sketches")
    found = run(case, search=RANKING)
    assert {*found.terms} == {"xdog", "fdog"}
    total = found.terms["xdog"] + found.terms["fdog"]
    np.testing.assert_allclose(found.contextual, total, rtol=1e-6)
    assert min(x.min() for x in found.terms.values()) > 1e-4


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_candidates", 0, "num_candidates is 0: .* at least 1"),
        ("num_candidates", 65, "num_candidates is 65: .* at most num_starts, 64"),
        ("num_starts", 2, "num_candidates is 3: .* at most num_starts, 2"),
        ("num_starts", -1, "num_starts is -1: it is at least 0"),
        ("encoder_starts", -1, "encoder_starts is -1: it is at least 0"),
        ("num_steps", -1, "num_steps is -1: it is at least 0"),
        ("inner_steps", -1, "inner_steps is -1: it is at least 0"),
        ("inner_layers", 0, "inner_layers is 0: it is at least 1"),
    ],
)
def test_an_impossible_search_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SEARCH, **{field: value})


# ------------------------------------------------------------------------ encoder


class Oracle(Encoder):
    """Knows some sketches, and their latents, by heart."""

    def __call__(self, sketch):
        known, z = (self.get_variable("params", name) for name in ("sketch", "z"))
        distance = jnp.square(sketch[:, None] - known).sum((-1, -2))
        return z[jnp.argmin(distance, axis=1)]


class Centre(Encoder):
    """Answers with the centre of the ink, in [-1, 1]."""

    def __call__(self, sketch):
        line = jnp.linspace(-1, 1, SIZE)
        ink = (1 - sketch) / (1 - sketch).sum((1, 2), keepdims=True)
        z = [(ink.sum(2) * line).sum(1), (ink.sum(1) * line).sum(1)]
        return jnp.pad(jnp.stack(z, 1), ((0, 0), (0, 3)))


def own(count, **fields):
    """The search with so many starts of the encoder."""
    return dataclasses.replace(SEARCH, encoder_starts=count, **fields)


@pytest.fixture(scope="module")
def oracle(sketched):
    (name,) = sketched.joint.known(sketched.mask)
    sketch = jnp.asarray(sketched.joint.view(sketched.true, name)[:, 0])
    return TrainedEncoder(Oracle(4, Z_DIM, SIZE), {"sketch": sketch, "z": sketched.z})


@pytest.fixture(scope="module")
def random_encoder():
    module = Encoder(4, Z_DIM, SIZE)
    params = module.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE)))["params"]
    rng = np.random.default_rng(0)
    noisy = jax.tree.map(lambda x: x + rng.normal(0, 0.2, x.shape), params)
    return TrainedEncoder(module, jax.tree.map(jnp.float32, noisy))


def test_a_good_encoder_begins_where_the_search_should_end(sketched, oracle):
    at_once = run(sketched, search=own(1, num_steps=0), encoder=oracle)
    np.testing.assert_allclose(at_once.z[:, 0], sketched.z, atol=1e-6)
    assert (at_once.contextual[:, 0] < run(sketched).contextual[:, 0]).all()
    alone = own(1, num_starts=0, num_candidates=1, num_steps=3, learning_rate=1e-3)
    assert run(sketched, search=alone, encoder=oracle).contextual.max() < 1e-4


def test_guesses_are_ranked_among_the_starts(sketched, oracle):
    """The oracle's is the best of each; the next best are those without it."""
    search, ranked = own(1, num_steps=0), run(sketched, search=RANKING)
    beside = run(sketched, search=search, encoder=oracle)
    np.testing.assert_array_equal(beside.z[:, 1:], ranked.z[:, :2])
    away = oracle._replace(params=oracle.params | {"z": -oracle.params["z"]})
    wrong = run(sketched, search=search, encoder=away)
    assert (np.diff(wrong.contextual, axis=1) >= 0).all()
    assert (wrong.z[:, 0] == ranked.z[:, 0]).all(1).any()


def test_the_next_guesses_are_of_the_nearest_shifts(sketched):
    sketch = np.ones((2, SIZE, SIZE), np.float32)
    sketch[0, 3, 4] = sketch[1, 5, 2] = 0
    (name,) = sketched.joint.known(sketched.mask)
    target = jnp.asarray(sketched.joint.stack({name: 2 * sketch - 1}))
    options = {"models": sketched.models, "search": own(6)}
    centre = TrainedEncoder(Centre(4, Z_DIM, SIZE), {})
    guesses = projection.guess(
        centre, sketched.variables, target, jnp.asarray(sketched.mask), **options
    )
    assert guesses.z.shape == (2, 6, Z_DIM)
    places = np.rint((np.asarray(guesses.z)[..., :2] + 1) * 3.5)
    for found, (row, column) in zip(places, [(3, 4), (5, 2)], strict=True):
        moves = [tuple(x) for x in found - [row, column]]
        assert moves[0] == (0, 0)
        assert {*moves[1:5]} == {(0, 1), (0, -1), (1, 0), (-1, 0)}
        assert np.abs(moves[5]).tolist() == [1, 1]
    joint = np.concatenate(guesses.joint)[:12]
    z = guesses.z.reshape(12, Z_DIM)
    want = generated(sketched.models, sketched.variables, z)
    np.testing.assert_allclose(joint, want, atol=1e-5)


def test_a_guess_depends_on_no_neighbour(sketched, random_encoder):
    """Trap 4: bit for bit, whatever else is in the batch, and in whatever order."""
    options = {"search": own(4, num_starts=0, num_steps=2), "encoder": random_encoder}
    found = run(sketched, **options)
    order = np.array([2, 0, 1])
    turned = run(sketched, sketched.targets[order], **options)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[order]), turned, found)
    assert np.abs(found.z[0] - found.z[1]).max() > 1e-3


def test_a_search_that_does_not_ask_the_encoder_is_as_without(sketched, random_encoder):
    same = run(sketched, encoder=random_encoder)
    jax.tree.map(np.testing.assert_array_equal, same, run(sketched))


def test_the_first_step_gives_guesses_the_spread_that_the_search_keeps(
    sketched, random_encoder
):
    def spread(num_steps):
        search = own(3, num_starts=0, keep_spread=True, num_steps=num_steps)
        found = run(sketched, search=search, encoder=random_encoder)
        return np.square(found.z).mean(-1)

    assert np.abs(spread(0) - 1 / 3).max() > 0.1
    assert 0.2 < spread(1).min() <= spread(1).max() < 0.45


def test_an_encoder_that_is_missing_is_named(halves):
    with pytest.raises(
        ValueError, match="encoder_starts is 2, .*no encoder.*cgan-encode"
    ):
        run(halves, search=own(2))


@pytest.mark.parametrize("known", ["photo", "part", "both", "traced"])
def test_an_encoder_reads_whole_sketches_alone(sketched, random_encoder, known):
    joint = sketched.joint
    (name,) = joint.known(sketched.mask)
    some = np.eye(SIZE, dtype=np.float32)
    mask = {
        "photo": joint.mask(["photo"]),
        "part": joint.mask({name: 1 - some}),
        "both": joint.mask({name: np.ones_like(some), "photo": some}),
        "traced": sketched.mask,
    }[known]

    def find(mask):
        return run(sketched, mask=mask, search=own(2), encoder=random_encoder)

    with pytest.raises(ValueError, match="encoder_starts is 2, .*set encoder_starts"):
        (jax.jit(find) if known == "traced" else find)(mask)


def test_an_encoder_reads_any_one_sketch_but_not_two():
    joint = MODELS["planes"].gen.joint
    encoder = TrainedEncoder(Encoder(4, Z_DIM, SIZE), {})
    for name in joint.sketches:
        projection.check_encoder(encoder, joint, joint.mask([name]), own(1))
    with pytest.raises(ValueError, match="not one whole sketch"):
        projection.check_encoder(encoder, joint, joint.mask(joint.sketches), own(1))


def test_a_search_is_not_begun_without_the_guesses_that_it_asks_for(halves):
    options = {"models": halves.models, "search": own(2)}
    starts = draw_starts(halves.variables, KEY, **options)
    with pytest.raises(ValueError, match="encoder_starts is 2, but 0 guesses"):
        projection.begin(*halves.fixed, starts, **options)
