"""Offsets of G's inner layers: what they reach, what they cost, and who chooses."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import LAYOUTS, random_model

from cgan_jax import block_search, projection
from cgan_jax.configs import default
from cgan_jax.models import generate, sample_z
from cgan_jax.projection import Candidates, choose_levels, draw_starts, project
from cgan_jax.search import AUTO, AUTO_SIZE, LEVELS, Search

SEARCH = Search(
    **dict(default.get_config().projection)
    | {
        "num_starts": 16,
        "num_candidates": 2,
        "num_steps": 4,
        "inner_steps": 6,
        "inner_layers": 2,
        "closeness": 0.8,
    }
)
LONG = dataclasses.replace(SEARCH, num_steps=20, inner_steps=80, num_candidates=1)
Z_ALONE = {"inner_steps": 0}
KEY = jax.random.key(0)
TOLERANCE = {"atol": 2e-4}

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module", params=LAYOUTS)
def model(request):
    """A model of each layout."""
    return random_model(layout=request.param)


@pytest.fixture(scope="module")
def halves():
    return random_model(layout="halves")


def rings(*radii):
    """Sketches in [-1, 1] that no latent of random weights draws."""
    y, x = np.mgrid[:16, :16] - 7.5
    radius = np.hypot(y, x)
    each = [np.clip(np.abs(radius - r) / 1.2, 0, 1) for r in radii]
    return (2 * np.stack(each) - 1).astype(np.float32)


def known(model, *radii):
    """Joint images of which the last sketch is known, and their mask."""
    joint = model.joint
    name = joint.sketches[-1]
    return joint.stack({name: rings(*(radii or (5.0, 3.0, 6.0)))}), joint.mask([name])


def run(model, search, targets=None, variables=None, **options):
    """The answers of a whole search, on the host."""
    given, mask = known(model)
    options |= {"models": model.models, "search": search}
    variables = model.variables if variables is None else variables
    starts = draw_starts(
        model.variables, KEY, models=model.models, search=options["search"]
    )
    targets = jnp.asarray(given if targets is None else targets)
    found = project(variables, targets, jnp.asarray(mask), starts, **options)
    return jax.device_get(found)


def advance(model, state, search, first, num_steps, targets=None):
    given, mask = known(model)
    targets = given[: len(state.z)] if targets is None else targets
    return projection.advance(
        model.variables,
        jnp.asarray(targets),
        jnp.asarray(mask),
        state,
        models=model.models,
        search=search,
        first=first,
        num_steps=num_steps,
    )


def finish(model, state, search):
    targets, mask = known(model)
    targets = jnp.asarray(targets[: len(state.z)])
    given = model.variables, targets, jnp.asarray(mask), state
    options = {"models": model.models, "search": search}
    return jax.device_get(projection.finish(*given, **options))


def begin_from(found, search):
    """A search that begins at answers."""
    z, offsets = jax.tree.map(jnp.asarray, (found.z, found.offsets))
    return projection.begin_from(z, offsets, search=search)


def misfit(model, found):
    """Mean squared difference from the known sketch, of each answer."""
    targets, mask = known(model)
    (name,) = model.joint.known(mask)
    drawn, wanted = (model.joint.view(x, name) for x in (found.joint, targets[:, None]))
    return np.square(drawn - wanted).mean((2, 3, 4))


assert_equal = functools.partial(jax.tree.map, np.testing.assert_array_equal)


# ---------------------------------------------------------------- what it reaches


def test_offsets_fit_what_no_latent_reaches(model):
    """At closeness 1; z alone is given as many steps."""
    alone = dataclasses.replace(LONG, num_steps=100, **Z_ALONE, distance="l2")
    close = run(model, dataclasses.replace(LONG, closeness=1))
    assert (misfit(model, close) < 0.5 * misfit(model, run(model, alone))).all()
    assert np.isfinite(close.joint).all() and np.abs(close.joint).max() <= 1


def test_the_closer_the_answer_the_larger_the_offsets(model):
    levels = (0, 0.2, 0.4, 0.6, 0.8, 1)
    found = [run(model, dataclasses.replace(LONG, closeness=x)) for x in levels]
    distance = np.array([misfit(model, x)[:, 0] for x in found])
    size = np.array([x.offset_size[:, 0] for x in found])
    assert (np.diff(distance, axis=0) < 0).all()
    assert (np.diff(size, axis=0) > 0).all()
    assert not size[0].any()
    for level, answers in zip(levels, found, strict=True):
        np.testing.assert_allclose(answers.closeness, level, atol=1e-6)


def test_at_closeness_0_the_search_is_that_of_z_alone(model):
    found = run(model, dataclasses.replace(SEARCH, closeness=0))
    assert_equal(found, run(model, dataclasses.replace(SEARCH, **Z_ALONE)))
    assert found.offsets == ()


def test_answers_have_the_offsets_that_draw_them(model):
    found, gen = run(model, SEARCH), model.models.gen
    shapes = gen.inner_shapes[: SEARCH.inner_layers]
    assert [x.shape for x in found.offsets] == [(3, 2, *shape) for shape in shapes]
    flat = (jnp.asarray(x) for x in (found.z, *found.offsets))
    z, *offsets = (x.reshape(6, *x.shape[2:]) for x in flat)
    joint = jax.jit(generate, static_argnums=0)(gen, model.variables.gen, z, offsets)
    np.testing.assert_allclose(found.joint, joint.reshape(found.joint.shape), atol=1e-5)
    squares = [np.square(x).mean((2, 3, 4)) for x in found.offsets]
    np.testing.assert_allclose(found.offset_size, np.sqrt(np.mean(squares, 0)), 1e-5)
    assert found.offset_size.min() > 1e-3
    assert np.abs(found.z).max() <= 1


def test_only_as_many_layers_move_as_are_asked_for(model):
    found = run(model, dataclasses.replace(SEARCH, inner_layers=1))
    assert [x.shape[2:] for x in found.offsets] == [model.models.gen.inner_shapes[0]]


def test_z_moves_beside_the_offsets(halves):
    first = run(halves, dataclasses.replace(SEARCH, **Z_ALONE))
    found = run(halves, SEARCH)
    assert np.abs(np.sort(first.z, 1) - np.sort(found.z, 1)).max() > 1e-3


def test_any_known_part_is_followed(halves):
    """A photograph, and pixels of both parts at once, by the inner distance."""
    joint = halves.joint
    rng = np.random.default_rng(0)
    target = rng.uniform(-1, 1, (1, *joint.shape)).astype(np.float32)
    some = (rng.random((16, 16)) < 0.5).astype(np.float32)
    for mask in (joint.mask(["photo"]), joint.mask({"xdog": some, "photo": some})):
        unknown = joint.per_plane(mask) == 0
        given = np.where(unknown, np.nan, target)

        def misfit(search, given=given, mask=mask, unknown=unknown):
            options = {"models": halves.models, "search": search}
            starts = draw_starts(halves.variables, KEY, **options)
            found = project(
                halves.variables,
                jnp.asarray(given),
                jnp.asarray(mask),
                starts,
                **options,
            )
            assert np.isfinite(found.joint).all()
            views = [
                (joint.view(found.joint[0, 0], x), joint.view(target[0], x))
                for x in joint.known(mask)
            ]
            weights = [joint.mask_of(mask, x) for x in joint.known(mask)]
            return sum(
                (w * np.square(a - b)).sum() / w.sum() / len(a)
                for (a, b), w in zip(views, weights, strict=True)
            )

        close = dataclasses.replace(LONG, inner_steps=40, closeness=1)
        alone = dataclasses.replace(LONG, num_steps=60, distance="l2", **Z_ALONE)
        assert misfit(close) < 0.7 * misfit(alone)


# --------------------------------------------------------------------------- units


def test_offsets_are_in_standard_deviations_of_their_channels(model):
    """Twice the spread of a layer, and half its offsets, are the same picture."""
    gen, variables = model.models.gen, model.variables.gen
    z = sample_z(KEY, 3, gen.z_dim)
    offsets = [
        0.3 * jax.random.normal(jax.random.fold_in(KEY, i), (3, *shape))
        for i, shape in enumerate(gen.inner_shapes)
    ]
    draw = jax.jit(functools.partial(generate, gen))
    want = draw(variables, z, offsets)
    for i in range(len(offsets)):
        spread = variables["spread"] | {f"std_{i}": 2 * variables["spread"][f"std_{i}"]}
        halved = [*offsets[:i], offsets[i] / 2, *offsets[i + 1 :]]
        wider = variables | {"spread": spread}
        np.testing.assert_array_equal(draw(wider, z, halved), want)
        assert np.abs(draw(wider, z, offsets) - want).max() > 0.01


def test_offsets_of_nothing_are_the_picture_of_z(model):
    gen, variables = model.models.gen, model.variables.gen
    z = sample_z(KEY, 3, gen.z_dim)
    zeros = [jnp.zeros((3, *shape)) for shape in gen.inner_shapes]
    draw = jax.jit(functools.partial(generate, gen))
    want = draw(variables, z)
    np.testing.assert_allclose(draw(variables, z, zeros), want, atol=1e-6)


# -------------------------------------------------------------------- independence


@pytest.mark.parametrize("closeness", [0.8, AUTO])
def test_an_answer_depends_on_no_neighbour(model, closeness):
    """Trap 4: bit for bit, whatever else is in the batch, and in whatever order."""
    search = dataclasses.replace(SEARCH, closeness=closeness)
    found, (targets, _) = run(model, search), known(model)
    order = np.array([2, 0, 1])
    turned = run(model, search, targets[order])
    assert_equal(turned, jax.tree.map(lambda x: x[order], found))
    strange = targets.copy()
    strange[1:] = 1.0
    beside = run(model, search, strange)
    assert_equal(*(jax.tree.map(lambda x: x[0], x) for x in (beside, found)))
    assert not np.array_equal(beside.offsets[0][1], found.offsets[0][1])


def test_an_answer_is_the_same_on_any_of_many_devices():
    model = random_model(layout="planes")
    targets, mask = known(model, *np.linspace(2, 6, 9))
    find = functools.partial(
        block_search.search_targets, model, targets, mask, SEARCH, seed=0, block_size=2
    )
    one, four = ([*find(max_parallel=x)] for x in (1, 4))
    assert len(one) == len(four) == 9
    assert_equal(four, one)
    assert np.abs(one[0].offsets[0] - one[1].offsets[0]).max() > 1e-3


@pytest.mark.parametrize("closeness", [0.8, AUTO])
def test_frames_of_the_way_change_no_answer(halves, closeness):
    search = dataclasses.replace(SEARCH, closeness=closeness)
    targets, mask = known(halves)
    options = {"seed": 0, "block_size": 2, "max_parallel": 1}

    def find(num_frames):
        items = enumerate(targets)
        found = block_search.search_stream(
            halves, items, mask, search, num_frames=num_frames, **options
        )
        return [x for _, x in found]

    alone, watched = find(0), find(3)
    for plain, shown in zip(alone, watched, strict=True):
        latents = ((x.candidates.z, x.candidates.offsets) for x in (plain, shown))
        assert_equal(*latents)
        assert plain.frames is None
        assert shown.frames.shape == (4, *halves.joint.shape)
        np.testing.assert_array_equal(shown.frames[-1], shown.candidates.joint[0])


# -------------------------------------------------------------------- parts of one


@pytest.fixture(scope="module")
def begun(halves):
    """A search of one target at two latents, before its first step."""
    z = sample_z(KEY, 2, halves.models.gen.z_dim)[None]
    return projection.begin_from(z, search=SEARCH)


@pytest.mark.parametrize("cuts", [(4, 10), (2, 7, 10), (3, 6, 8, 10)])
@pytest.mark.parametrize("closeness", [0.8, AUTO])
def test_steps_in_several_calls_are_the_steps_of_one(halves, begun, cuts, closeness):
    """Among them calls that end at, and reach over, the border of the stages at 4."""
    search = dataclasses.replace(SEARCH, closeness=closeness)
    whole, state = advance(halves, begun, search, 0, 10), begun
    for first, end in zip((0, *cuts), cuts):
        state = advance(halves, state, search, first, end - first)
    assert_equal((state.z, state.offsets), (whole.z, whole.offsets))
    assert_equal(state.opt_state, whole.opt_state)


def test_the_last_stage_goes_on_after_its_end(halves, begun):
    at_end = advance(halves, begun, SEARCH, 0, 10)
    later = advance(halves, at_end, SEARCH, 10, 3)
    longer = dataclasses.replace(SEARCH, inner_steps=9)
    want = advance(halves, begun, longer, 0, 13)
    assert_equal((later.z, later.offsets), (want.z, want.offsets))


@pytest.mark.parametrize("closeness", [0.8, AUTO])
def test_it_begins_again_at_its_answers(halves, closeness):
    """The picture is the same, and steps from there on fit better."""
    search = dataclasses.replace(SEARCH, closeness=closeness)
    found = run(halves, search)
    state = begin_from(found, search)
    again = finish(halves, state, search)
    assert_equal((again.z, again.offsets), (found.z, found.offsets))
    np.testing.assert_array_equal(again.joint, found.joint)
    np.testing.assert_allclose(again.contextual, found.contextual, rtol=1e-5)
    later = finish(halves, advance(halves, state, search, 4, 20), search)
    assert later.z.shape == found.z.shape
    if closeness != AUTO:  # which may take a level further away
        assert (misfit(halves, later).min(1) < misfit(halves, found).min(1)).all()


def test_offsets_are_left_out_where_the_search_has_no_inner_one(halves):
    """As of an answer that is to be z alone from now on."""
    found = run(halves, SEARCH)
    for changes in ({"closeness": 0}, Z_ALONE):
        search = dataclasses.replace(SEARCH, **changes)
        state = begin_from(found, search)
        assert state.offsets == ()
        assert advance(halves, state, search, 4, 2).offsets == ()


# -------------------------------------------------------- as a part of other programs


def test_a_sweep_over_closeness_compiles_once_and_is_each_search(model, monkeypatch):
    searches = [dataclasses.replace(SEARCH, closeness=x) for x in (0.2, 0.5, 0.9)]
    chex.clear_trace_counter()
    once = chex.assert_max_traces(block_search.project, n=1)
    monkeypatch.setattr(block_search, "project", once)
    options = {"seed": 0, "block_size": 3, "max_parallel": 1}
    swept = [*block_search.search_settings(model, *known(model), searches, **options)]
    assert [x.z.shape for x in swept] == [(3, 2, 8)] * 3
    for i, search in enumerate(searches):
        alone = block_search.search_targets(model, *known(model), search, **options)
        for row, want in zip(swept, alone, strict=True):
            got = jax.tree.map(lambda x, i=i: x[i], row)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), got, want
            )
    offsets = np.stack([x.offsets[0] for x in swept])
    assert np.abs(offsets[:, 0] - offsets[:, 2]).max() > 0.01


def test_other_numbers_of_the_inner_search_compile_nothing_anew(halves):
    run(halves, SEARCH)
    stages = projection._advance, projection._advance_inner
    compiled = [x._cache_size() for x in stages]
    found = run(halves, SEARCH)
    for changes in (
        {"closeness": 0.3},
        {"inner_weight": 40.0},
        {"inner_learning_rate": 0.2},
    ):
        other = run(halves, dataclasses.replace(SEARCH, **changes))
        assert np.abs(other.offsets[0] - found.offsets[0]).max() > 1e-3
    assert [x._cache_size() for x in stages] == compiled


def test_it_can_be_differentiated_by_its_target(model):
    """Against a difference quotient, along one direction; and finite in every pixel.

    After some steps, since Adam's first ones are all but the signs of the slopes.
    """
    z = sample_z(KEY, 1, model.models.gen.z_dim)[None]
    begun = projection.begin_from(z, search=SEARCH)
    targets, mask = known(model)
    state = advance(model, begun, SEARCH, 0, 10, targets[:1] * 0.5)
    noise = np.random.default_rng(0).normal(size=(1, *model.joint.shape))
    towards = np.float32(noise * model.joint.per_plane(mask))
    weights = np.random.default_rng(1).normal(size=z.shape[-1])

    def shown(target):
        after = advance(model, state, SEARCH, 10, 3, target)
        return (after.z * weights).sum() + sum(x.mean() for x in after.offsets)

    slopes = jax.jit(jax.grad(shown))(jnp.asarray(targets[:1] * 0.5))
    assert np.isfinite(slopes).all()
    assert not slopes[..., model.joint.where("photo")].any()

    @jax.jit
    def along(amount):
        return shown(targets[:1] * 0.5 + amount * towards)

    quotient = (along(0.005) - along(-0.005)) / 0.01
    assert abs(quotient) > 1e-3
    np.testing.assert_allclose(np.sum(slopes * towards), quotient, rtol=0.05)


def test_its_beginning_can_be_differentiated(halves):
    """Offsets that what is known does not depend on have slopes of 0, not NaN."""
    z = sample_z(KEY, 1, halves.models.gen.z_dim)[None]
    state = projection.begin_from(z, search=SEARCH)
    targets, _ = known(halves)

    def shown(target):
        after = advance(halves, state, SEARCH, 0, 6, target)
        return after.z.sum() + sum(x.sum() for x in after.offsets)

    slopes = jax.jit(jax.grad(shown))(jnp.asarray(targets[:1]))
    assert np.isfinite(slopes).all() and slopes.any()


def test_it_can_be_mapped_over_targets(halves):
    targets, mask = (jnp.asarray(x) for x in known(halves))
    options = {"models": halves.models, "search": SEARCH}
    starts = draw_starts(halves.variables, KEY, **options)

    def find(target):
        return project(halves.variables, target[None], mask, starts, **options)

    mapped = jax.tree.map(lambda x: x[:, 0], jax.vmap(find)(targets))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE),
        mapped,
        run(halves, SEARCH),
    )


# ----------------------------------------------------------------------------- auto


def test_auto_refines_each_candidate_at_every_level(model):
    """As searches at each level alone do, but for rounding."""
    auto = dataclasses.replace(SEARCH, closeness=AUTO)
    z = sample_z(KEY, 2, model.models.gen.z_dim)[None]
    found = advance(model, projection.begin_from(z, search=auto), auto, 0, 10)
    count = len(LEVELS)
    assert found.z.shape == (1, 2 * count, 8)
    for i, level in enumerate(LEVELS):
        search = dataclasses.replace(SEARCH, closeness=level)
        alone = advance(model, projection.begin_from(z, search=search), search, 0, 10)
        for got, want in zip(
            (found.z, *found.offsets), (alone.z, *alone.offsets), strict=True
        ):
            np.testing.assert_allclose(got[:, i::count], want, **TOLERANCE)


def test_auto_takes_one_level_of_each_candidate(model):
    auto = dataclasses.replace(LONG, closeness=AUTO, num_candidates=2)
    each = {
        level: run(model, dataclasses.replace(auto, closeness=level))
        for level in LEVELS
    }
    found = run(model, auto)
    assert found.z.shape == (3, 2, 8)
    assert (np.diff(found.contextual, axis=1) >= 0).all()
    for level, size in zip(
        found.closeness.ravel(), found.offset_size.ravel(), strict=True
    ):
        (nearest,) = (x for x in LEVELS if abs(x - level) < 1e-5)
        assert size <= AUTO_SIZE or nearest == LEVELS[0]
    sizes = np.stack([np.sort(x.offset_size, 1) for x in each.values()])
    assert sizes.min() < AUTO_SIZE < sizes.max()  # there is a choice
    chosen = [*each][int(np.flatnonzero(sizes.max((1, 2)) <= AUTO_SIZE)[-1])]
    assert found.closeness.min() >= chosen - 1e-5


def candidates(*sizes):
    """Answers whose z tells where they stood; `sizes` of each level of each candidate."""
    size = np.array(sizes, np.float32)[None]
    numbered = np.arange(size.size, dtype=np.float32).reshape(size.shape)
    return Candidates(
        z=numbered[..., None],
        offsets=(numbered[..., None, None, None],),
        joint=numbered[..., None, None, None],
        contextual=numbered,
        perceptual=numbered,
        terms={"xdog": numbered},
        closeness=numbered,
        offset_size=size,
    )


SMALL, LARGE = 0.5 * AUTO_SIZE, 1.5 * AUTO_SIZE


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ((SMALL, SMALL, SMALL, SMALL), [3]),
        ((SMALL, SMALL, LARGE, LARGE), [1]),
        ((SMALL, AUTO_SIZE, LARGE, LARGE), [1]),
        ((SMALL, LARGE, SMALL, LARGE), [0]),  # the last of those up to which all are
        ((LARGE, LARGE, LARGE, LARGE), [0]),
        ((LARGE, SMALL, SMALL, SMALL), [0]),
        ((SMALL, SMALL, SMALL, LARGE) + (SMALL, LARGE, LARGE, LARGE), [2, 4]),
        ((LARGE, LARGE, LARGE, LARGE) + (SMALL, SMALL, SMALL, SMALL), [0, 7]),
    ],
)
def test_the_closest_level_is_taken_up_to_which_offsets_are_small(sizes, chosen):
    auto = dataclasses.replace(SEARCH, closeness=AUTO)
    found = choose_levels(jax.tree.map(jnp.asarray, candidates(*sizes)), auto)
    for field in (found.contextual, found.perceptual, found.closeness):
        assert field.tolist() == [chosen]
    assert found.terms["xdog"].tolist() == [chosen]
    assert found.z[0, :, 0].tolist() == chosen
    assert found.offsets[0][0, :, 0, 0, 0].tolist() == chosen
    assert found.joint[0, :, 0, 0, 0].tolist() == chosen
    wanted = [np.float32(sizes[i]) for i in chosen]
    assert found.offset_size[0].tolist() == wanted


def test_each_target_has_levels_of_its_own():
    auto = dataclasses.replace(SEARCH, closeness=AUTO)
    one = candidates(SMALL, SMALL, LARGE, LARGE)
    other = candidates(SMALL, SMALL, SMALL, LARGE)
    both = jax.tree.map(lambda *x: jnp.concatenate(x), one, other)
    assert choose_levels(both, auto).closeness.tolist() == [[1], [2]]


def test_where_there_is_nothing_to_choose_from_all_are_kept():
    found = jax.tree.map(jnp.asarray, candidates(SMALL, LARGE))
    assert choose_levels(found, SEARCH) is found
    auto = dataclasses.replace(SEARCH, closeness=AUTO)
    early = found._replace(offsets=())
    assert choose_levels(early, auto) is early


# ---------------------------------------------------------------------------- errors


def test_of_more_inner_layers_than_g_has_all_are_moved(model):
    deep = run(model, dataclasses.replace(SEARCH, inner_layers=3, num_steps=0))
    shapes = [x.shape[2:] for x in deep.offsets]
    assert shapes == [*model.models.gen.inner_shapes]


def test_a_model_without_a_spread_is_told_the_way_out(halves):
    gen = {name: x for name, x in halves.variables.gen.items() if name != "spread"}
    without = halves.variables._replace(gen=gen)
    message = (
        "stores no spread of its inner layers: publish it again, or set inner_steps"
    )
    with pytest.raises(ValueError, match=message):
        run(halves, SEARCH, variables=without)
    older = dataclasses.replace(halves, variables=without)
    targets, mask = known(halves)
    with pytest.raises(ValueError, match=message):
        [
            *block_search.search_targets(
                older, targets, mask, SEARCH, seed=0, block_size=2
            )
        ]
    for changes in (Z_ALONE, {"closeness": 0}):
        search = dataclasses.replace(SEARCH, num_steps=1, **changes)
        assert run(halves, search, variables=without).offsets == ()


def test_more_offsets_than_inner_layers_are_refused(halves):
    gen = halves.models.gen
    offsets = [jnp.zeros((1, *shape)) for shape in (*gen.inner_shapes, (16, 32, 4))]
    with pytest.raises(ValueError, match="3 offsets for 2 inner layers"):
        generate(gen, halves.variables.gen, sample_z(KEY, 1, gen.z_dim), offsets)
