"""The search finds what fits, and an answer depends on nothing that it should not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import random_model

from cgan_jax import images, losses, projection
from cgan_jax.configs import default
from cgan_jax.models import (
    Encoder,
    GanPair,
    TrainedEncoder,
    generate,
    make_models,
    recompute_batch_stats,
    sample_z,
)
from cgan_jax.projection import Search, draw_starts, project

MODELS = make_models(base_filters=4, z_dim=5, height=8)
SKETCH_KNOWN = images.half_mask(8, "sketch")
PHOTO_KNOWN = images.half_mask(8, "photo")
MASK = jnp.asarray(SKETCH_KNOWN)
KEY = jax.random.key(2)
SEARCH = Search(
    **dict(default.get_config().projection)
    | {
        "num_starts": 64,
        "num_candidates": 3,
        "num_steps": 60,
        "keep_spread": False,
        "photo_distance": "kl",
    }
)
RANKING = dataclasses.replace(SEARCH, num_steps=0)
CONVINCING = dataclasses.replace(SEARCH, perceptual_weight=0.5)

contextual_loss = jax.jit(losses.contextual_loss)
generated = jax.jit(lambda variables, z: generate(MODELS.gen, variables.gen, z))


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def variables():
    """A random pair, its weights large enough for images that differ visibly."""

    @jax.jit
    def init(key):
        gen = MODELS.gen.init(key, jnp.zeros((1, 5)), train=False)
        disc = MODELS.disc.init(key, jnp.zeros((1, 8, 16, 3)), train=False)
        gen, disc = ({**v, "params": _louder(v["params"])} for v in (gen, disc))
        stats = recompute_batch_stats(MODELS.gen, gen["params"], key)
        return GanPair({**gen, "batch_stats": stats}, disc | {"batch_stats": {}})

    return init(jax.random.key(0))


def _louder(params):
    return jax.tree_util.tree_map_with_path(
        lambda path, x: 10 * x if path[-1].key == "kernel" else x, params
    )


@pytest.fixture(scope="module")
def true_z():
    return sample_z(jax.random.key(11), 3, 5)


@pytest.fixture(scope="module")
def targets(variables, true_z):
    """Joint images of known latents whose photo halves are lost."""
    joint = np.array(generated(variables, true_z))
    joint[:, :, 8:] = np.nan
    return joint


def run(variables, targets, mask=SKETCH_KNOWN, key=KEY, search=SEARCH):
    starts = draw_starts(variables, key, models=MODELS, search=search)
    found = project(
        variables,
        jnp.asarray(targets),
        jnp.asarray(mask),
        starts,
        models=MODELS,
        search=search,
    )
    return jax.device_get(found)


@pytest.fixture(scope="module")
def found(variables, targets):
    return run(variables, targets)


@pytest.fixture(scope="module")
def ranked(variables, targets):
    return run(variables, targets, search=RANKING)


def test_answers_have_the_shapes_and_ranges_they_promise(found):
    assert found.z.shape == (3, 3, 5)
    assert found.joint.shape == (3, 3, 8, 16, 3)
    assert found.contextual.shape == found.perceptual.shape == (3, 3)
    assert np.abs(found.z).max() <= 1 and np.abs(found.joint).max() <= 1
    assert np.isfinite(found.joint).all()


def test_the_search_fits_far_better_than_the_best_start(found, ranked):
    assert (ranked.contextual[:, 0] > 1e-3).all()
    assert (found.contextual[:, 0] < 0.05 * ranked.contextual[:, 0]).all()


def test_the_search_brings_the_lost_half_back(variables, true_z, found, ranked):
    photo = np.array(generated(variables, true_z))[:, None, :, 8:]
    error, before = (
        np.abs(f.joint[:, :, :, 8:] - photo).mean((2, 3, 4)) for f in (found, ranked)
    )
    assert error[:, 0].mean() < 0.5 * before[:, 0].mean()


def test_answers_are_sorted_and_their_fields_belong_together(variables, targets, found):
    assert (np.diff(found.contextual, axis=1) >= 0).all()
    assert np.ptp(found.contextual, axis=1).min() > 0
    joint = generated(variables, found.z.reshape(9, 5)).reshape(found.joint.shape)
    np.testing.assert_allclose(found.joint, joint, atol=1e-5)
    contextual = contextual_loss(
        found.joint, np.repeat(targets[:, None], 3, 1), SKETCH_KNOWN
    )
    np.testing.assert_allclose(found.contextual, contextual, rtol=1e-3, atol=1e-6)
    logits = MODELS.disc.apply(variables.disc, joint.reshape(9, 8, 16, 3), train=False)
    perceptual = losses.perceptual_loss(logits).reshape(3, 3)
    np.testing.assert_allclose(found.perceptual, perceptual, rtol=1e-4, atol=1e-5)


def test_without_steps_the_answers_are_the_best_starts_in_order(
    variables, targets, ranked
):
    z = sample_z(KEY, 64, 5)
    joint = generated(variables, z)
    every = np.stack(
        [
            contextual_loss(joint, np.broadcast_to(target, joint.shape), SKETCH_KNOWN)
            for target in targets
        ]
    )
    best = np.argsort(every, axis=1)[:, :3]
    np.testing.assert_array_equal(ranked.z, np.asarray(z)[best])
    np.testing.assert_allclose(
        ranked.contextual, np.take_along_axis(every, best, 1), rtol=1e-4
    )


@pytest.mark.parametrize(("asked", "blocks"), [(5, 1), (8, 1), (9, 2)])
def test_as_many_starts_as_asked_are_drawn_and_generated_in_blocks(
    variables, asked, blocks
):
    search = dataclasses.replace(RANKING, num_starts=asked)
    starts = draw_starts(variables, KEY, models=MODELS, search=search)
    np.testing.assert_array_equal(starts.z, sample_z(KEY, asked, 5))
    assert [len(joint) for joint in starts.joint] == [8] * blocks
    joint = np.concatenate(starts.joint)[:asked]
    np.testing.assert_allclose(joint, generated(variables, starts.z), atol=1e-5)


def test_an_image_does_not_depend_on_its_place_in_a_block():
    """To the bit, where XLA optimizes: in one batch of these shapes it would."""
    gen, variables = random_model().models.gen, random_model().variables.gen
    z = sample_z(KEY, 8, gen.z_dim)
    quick = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        anew = jax.jit(lambda z: projection.generate_each(gen, variables, z))
        first, moved = np.asarray(anew(z)), np.asarray(anew(jnp.roll(z, 3, 0)))
    finally:
        jax.config.update("jax_disable_most_optimizations", quick)
    np.testing.assert_array_equal(np.roll(first, 3, 0), moved)


def test_what_fills_a_block_of_starts_up_is_no_start(variables):
    """There z is 0: a target that it would fit best gets one of the five."""
    target = np.array(generated(variables, np.zeros((1, 5), np.float32)))
    few = dataclasses.replace(RANKING, num_starts=5)
    found = run(variables, target, search=few)
    assert {*map(tuple, found.z[0])} < {*map(tuple, np.asarray(sample_z(KEY, 5, 5)))}


def test_more_answers_than_a_block_of_images(variables, targets):
    wide = dataclasses.replace(SEARCH, num_candidates=25, num_steps=1)
    found = run(variables, targets, search=wide)
    joint = generated(variables, found.z.reshape(75, 5)).reshape(found.joint.shape)
    np.testing.assert_allclose(found.joint, joint, atol=1e-5)


EVERYTHING = dataclasses.replace(
    CONVINCING,
    stages=((6, 4), (4, 4)),
    num_candidates=2,
    num_steps=4,
    optimizer="nesterov",
    learning_rate_schedule="cosine",
    bound="smooth",
    keep_spread=True,
    noise=0.2,
    stop_at=1e-4,
    distance="js",
    blur_widths=(0.0, 1.0, 2.0),
    blur_focus=1.0,
)


@pytest.mark.parametrize(
    "search",
    [SEARCH, CONVINCING, EVERYTHING],
    ids=["without_d", "with_d", "with_everything"],
)
def test_an_answer_depends_on_no_neighbour(variables, targets, search):
    """Trap 4: bit for bit, whatever else is in the batch, and in whatever order."""
    found = run(variables, targets, search=search)
    order = np.array([2, 0, 1])
    turned = run(variables, targets[order], search=search)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[order]), turned, found)

    strange = targets.copy()
    strange[1:, :, :8] = 1.0
    beside = run(variables, strange, search=search)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), beside, found)
    assert not np.array_equal(beside.z[1], found.z[1])


def test_the_size_of_the_batch_changes_one_step_by_no_more_than_rounding(
    variables, targets
):
    search = dataclasses.replace(SEARCH, num_steps=1)
    together = run(variables, targets, search=search)
    for i in range(3):
        alone = run(variables, targets[i : i + 1], search=search)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[0], b[i], atol=1e-5),
            alone,
            together,
        )


def test_the_key_and_nothing_else_draws_the_starts(variables, targets, found, ranked):
    jax.tree.map(np.testing.assert_array_equal, run(variables, targets), found)
    other = run(variables, targets, key=jax.random.key(3), search=RANKING)
    assert np.abs(other.z - ranked.z).max() > 0.1
    assert np.abs(run(variables, targets, key=jax.random.key(3)).z - found.z).max() > 0


def test_d_steers_the_search_only_where_it_has_weight(variables, targets, found):
    opposite = variables._replace(disc=jax.tree.map(lambda x: -x, variables.disc))
    unmoved = run(opposite, targets)
    np.testing.assert_array_equal(unmoved.z, found.z)
    assert np.abs(unmoved.perceptual - found.perceptual).max() > 1e-3

    steered = run(variables, targets, search=CONVINCING)
    astray = run(opposite, targets, search=CONVINCING)
    assert np.abs(steered.z - astray.z).max() > 0.1
    # The loss is low where D is convinced.
    assert steered.perceptual.mean() < found.perceptual.mean()
    assert steered.contextual.mean() > found.contextual.mean()


def test_photos_are_turned_into_sketches_by_the_other_mask(variables, true_z):
    """Trap 5: there the search reads the left half under any mask."""
    joint = np.array(generated(variables, true_z))
    joint[:, :, :8] = np.nan
    start, end = (
        run(variables, joint, mask=PHOTO_KNOWN, search=search)
        for search in (RANKING, SEARCH)
    )
    assert (end.contextual[:, 0] < 0.05 * start.contextual[:, 0]).all()
    assert np.isfinite(end.joint).all()


def advanced(variables, targets, z, search):
    """Latents after the steps of a search that begins at z, `(b, k, z)`."""
    known = jnp.asarray(targets), MASK
    state = projection.begin_from(z, *known, KEY, search=search)
    steps = {"models": MODELS, "search": search, "num_steps": search.num_steps}
    return projection.advance(variables, *known, state, **steps)


@pytest.mark.parametrize("bound", ["clip", "smooth"])
def test_latents_stay_in_the_box_that_the_search_pushes_against(
    variables, targets, bound
):
    hasty = dataclasses.replace(SEARCH, num_steps=3, learning_rate=5.0, bound=bound)
    z = advanced(variables, targets, sample_z(KEY, 3, 5)[:, None], hasty).z
    assert (np.abs(z) > 0.99).mean() > 0.5
    assert np.abs(z).max() <= 1.0


@pytest.mark.parametrize("bound", ["clip", "smooth"])
def test_latents_keep_the_spread_of_the_training_where_it_is_asked_for(
    variables, targets, bound
):
    def spread(search):
        starts = 0.1 * sample_z(KEY, 3, 5)[:, None]
        return np.mean(np.square(advanced(variables, targets, starts, search).z), -1)

    base = dataclasses.replace(SEARCH, num_steps=1, bound=bound)
    kept = spread(dataclasses.replace(base, keep_spread=True))
    assert 0.2 < kept.min() <= kept.max() < 0.45
    assert spread(base).max() < 0.1


def test_the_scale_of_the_loss_does_not_matter_to_the_search(
    variables, targets, monkeypatch
):
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
                return advanced(variables, targets, z, search).z

        starts = sample_z(KEY, 3, 5)[:, None]
        return [find(s, starts) for s in (1.0, 100.0)]

    few = dataclasses.replace(CONVINCING, num_steps=3)
    np.testing.assert_allclose(*searches(few), atol=1e-3)
    plain = dataclasses.replace(few, optimizer="nesterov", learning_rate=0.01)
    once, hundredfold = searches(plain)
    assert np.abs(once - hundredfold).max() > 0.05


def begun(targets, search):
    """A search of the first target at two latents."""
    z = sample_z(KEY, 2, 5)[None]
    known = jnp.asarray(targets[:1]), MASK
    return known, projection.begin_from(z, *known, KEY, search=search)


def step(variables, known, state, search, num_steps, **options):
    return projection.advance(
        variables, *known, state, models=MODELS, search=search, num_steps=num_steps
    )


@pytest.mark.parametrize("search", [SEARCH, EVERYTHING], ids=["plain", "everything"])
def test_steps_in_chunks_are_the_steps_of_one_search(variables, targets, search):
    known, state = begun(targets, search)
    whole = step(variables, known, state, search, 6)
    for _ in range(3):
        state = step(variables, known, state, search, 2)
    np.testing.assert_array_equal(state.z, whole.z)
    assert int(state.step[0]) == 6
    assert np.abs(whole.z - begun(targets, search)[1].z).max() > 1e-3


def test_a_search_by_hand_is_the_search_by_project(variables, targets):
    search = dataclasses.replace(EVERYTHING, perceptual_weight=0.0)
    known = jnp.asarray(targets), MASK
    starts = draw_starts(variables, KEY, models=MODELS, search=search)
    state = projection.begin(*known, starts, search=search)
    for count, steps in ((6, 4), (4, 4), (2, 4)):
        state = projection.keep_best(state, count)
        assert state.z.shape[:2] == (3, count)
        state = step(variables, known, state, search, steps)
    found = projection.finish(variables, *known, state, models=MODELS, search=search)
    expected = run(variables, targets, search=search)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_best_go_on_with_the_memory_of_their_optimizer(variables, targets):
    known, state = begun(targets, SEARCH)
    state = step(variables, known, state, SEARCH, 3)
    best = int(np.argmin(state.contextual[0]))
    kept = projection.keep_best(state, 1)
    np.testing.assert_array_equal(kept.z[:, 0], state.z[:, best])
    np.testing.assert_array_equal(kept.contextual[:, 0], state.contextual[:, best])
    for one, all_of in zip(kept.opt_state[1:], state.opt_state[1:], strict=True):
        np.testing.assert_array_equal(one[:, 0], all_of[:, best])
    assert int(kept.step[0]) == 3


def test_a_step_tells_the_loss_that_it_began_with(variables, targets):
    known, state = begun(targets, SEARCH)
    after = step(variables, known, state, SEARCH, 1)
    joint = generated(variables, state.z[0])
    want = contextual_loss(joint, np.stack([targets[0]] * 2), SKETCH_KNOWN)
    np.testing.assert_allclose(after.contextual[0], want, rtol=1e-4)


def test_a_sweep_over_numbers_compiles_once_and_is_each_search(variables, targets):
    rates = np.array([0.01, 0.05, 0.1], np.float32)
    base = dataclasses.replace(SEARCH, num_steps=3)
    starts = draw_starts(variables, KEY, models=MODELS, search=base)
    known = jnp.asarray(targets[:1]), MASK

    def find(rate, search=base):
        numbers = None if rate is None else base.numbers._replace(learning_rate=rate)
        options = {"models": MODELS, "search": search, "numbers": numbers}
        return project(variables, *known, starts, **options)

    swept = jax.vmap(find)(rates)
    find(rates[0])  # compiled
    compiled = projection._advance._cache_size()
    for i, rate in enumerate(rates):
        alone = find(None, dataclasses.replace(base, learning_rate=float(rate)))
        np.testing.assert_allclose(swept.z[i], alone.z, atol=1e-4)
    assert projection._advance._cache_size() == compiled
    assert np.abs(swept.z[0] - swept.z[2]).max() > 0.05


def test_a_search_can_be_differentiated_by_its_target(variables, targets):
    """Against a difference quotient, along one direction, through three steps."""
    known, state = begun(np.nan_to_num(targets), SEARCH)
    gentle = dataclasses.replace(SEARCH, optimizer="sgd", learning_rate=0.02)
    towards = np.zeros(known[0].shape, np.float32)
    towards[:, :, :8] = np.random.default_rng(0).normal(size=(1, 8, 8, 3))

    @jax.jit
    def shown(amount):
        moved = jnp.clip(known[0] * 0.5 + amount * towards, -1, 1)
        found = step(variables, (moved, MASK), state, gentle, 3)
        return found.z.sum()

    at = 0.05
    slope = jax.jit(jax.grad(shown))(at)
    quotient = (shown(at + 1e-2) - shown(at - 1e-2)) / 2e-2
    assert abs(quotient) > 1e-3
    np.testing.assert_allclose(slope, quotient, rtol=0.05)


def test_a_candidate_rests_at_the_loss_that_is_asked_for(variables, targets):
    known, state = begun(targets, SEARCH)
    first = np.sort(step(variables, known, state, SEARCH, 1).contextual[0])
    between = float(first.mean())
    resting = dataclasses.replace(SEARCH, stop_at=between)
    moved = np.abs(step(variables, known, state, resting, 1).z - state.z).max(-1)[0]
    assert sorted(moved > 0) == [False, True]


def test_a_sketch_that_stalls_stands_still_and_the_others_go_on(variables, targets):
    base = dataclasses.replace(SEARCH, num_candidates=2, num_steps=12, chunk_steps=4)
    known = jnp.asarray(targets), MASK
    starts = draw_starts(variables, KEY, models=MODELS, search=base)
    state = projection.begin(*known, starts, search=base)
    falls = []
    for _ in range(2):
        before = state.contextual.min(1)
        state = step(variables, known, state, base, 4)
        falls.append(1 - state.contextual.min(1) / before)
    falls = falls[1]  # from the first look to the second
    assert falls.min() > 0 and np.ptp(falls) > 0.01
    chunked = dataclasses.replace(
        base, stall_tolerance=float(np.sort(falls)[:2].mean())
    )
    found = run(variables, targets, search=chunked)
    one = int(falls.argmin())
    assert found.steps.tolist() == [[8, 8] if i == one else [12, 12] for i in range(3)]
    for num_steps in (8, 12):
        plain = dataclasses.replace(base, num_steps=num_steps, chunk_steps=0)
        expected = run(variables, targets, search=plain)
        for i in range(3):
            same = np.array_equal(found.z[i], expected.z[i])
            assert same == ((num_steps == 8) == (i == one))


def test_a_stage_of_fewer_candidates_sets_all_in_motion_again(variables, targets):
    known = jnp.asarray(targets), MASK
    search = dataclasses.replace(
        SEARCH,
        stages=((6, 12),),
        num_candidates=2,
        num_steps=4,
        chunk_steps=4,
        stall_tolerance=0.999,
    )
    starts = draw_starts(variables, KEY, models=MODELS, search=search)
    state = projection.begin(*known, starts, search=search)
    options = {"models": MODELS, "search": search}
    state = projection.advance_stages(
        variables, *known, state, first=0, num_steps=8, **options
    )
    assert not state.moving.any() and state.step.tolist() == [8, 8, 8]
    state = projection.advance_stages(
        variables, *known, state, first=8, num_steps=8, **options
    )
    assert state.moving.all() and state.step.tolist() == [12, 12, 12]


def test_noise_is_drawn_from_the_seed_and_what_is_known(variables, targets):
    search = dataclasses.replace(SEARCH, noise=0.3)
    start = np.repeat(sample_z(KEY, 1, 5)[None], 3, 0)

    def moved(targets, key=KEY):
        known = jnp.asarray(targets), MASK
        state = projection.begin_from(jnp.asarray(start), *known, key, search=search)
        return np.asarray(step(variables, known, state, search, 2).z)

    same = np.stack([targets[0]] * 3)
    same[1, :, 8:] = 0.5  # unknown
    same[2, 0, 0] = -same[2, 0, 0]
    found = moved(same)
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-3
    assert np.abs(moved(same, jax.random.key(9)) - found).max() > 1e-3
    quiet = advanced(variables, same, start, dataclasses.replace(SEARCH, num_steps=2))
    assert np.abs(found - quiet.z).max() > 1e-2


def test_d_may_rank_answers_that_it_did_not_steer(variables, targets, found):
    judged = dataclasses.replace(
        SEARCH, perceptual_weight=50.0, perceptual_role="ranks"
    )
    ranked = run(variables, targets, search=judged)
    total = ranked.contextual + 50.0 * ranked.perceptual
    assert (np.diff(total, axis=1) >= 0).all()
    assert (np.diff(ranked.contextual, axis=1) < 0).any()
    for one, other in zip(ranked.z, found.z, strict=True):
        assert {*map(tuple, one)} == {*map(tuple, other)}


def test_only_the_blur_of_the_start_ranks_the_starts(variables, targets):
    """At the first step the widest of the blurs has all the weight."""
    coarse = dataclasses.replace(RANKING, blur_widths=(0.0, 3.0), blur_focus=99.0)
    z = np.asarray(sample_z(KEY, 64, 5))
    sketches = losses.comparable(generated(variables, z), "sketch")
    known = losses.comparable(jnp.asarray(targets), "sketch")
    whole = jnp.ones((8, 8))
    blurred = [losses.blur(x, whole, (3.0,))[0] for x in (sketches, known)]
    every = np.stack(
        [
            losses.image_distance(blurred[0], jnp.stack([y] * 64), whole, "kl")[:, 0]
            for y in blurred[1]
        ]
    )
    best = np.argsort(every, axis=1)[:, :3]
    chosen = run(variables, targets, search=coarse)
    for i in range(3):
        assert {*map(tuple, chosen.z[i])} == {*map(tuple, z[best[i]])}
    # The answers' own loss is that without blur.
    plain = contextual_loss(
        chosen.joint, np.repeat(targets[:, None], 3, 1), SKETCH_KNOWN
    )
    np.testing.assert_allclose(chosen.contextual, plain, rtol=1e-3)


def test_what_is_compiled_ahead_is_what_the_search_runs(variables, targets):
    """With stages and chunks; what a thread has compiled is not compiled again."""
    search = dataclasses.replace(
        SEARCH, stages=((5, 2),), num_candidates=2, num_steps=4, chunk_steps=2
    )
    known = jnp.asarray(targets[:1]), MASK
    options = {"models": MODELS, "search": search}
    starts = draw_starts(variables, KEY, **options)
    projection.compile_project(variables, *known, **options)
    built = []

    def listen(name, *_, **__):
        if name.endswith("backend_compile_duration"):
            built.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    project(variables, *known, starts, **options)
    # What is small: the choice of starts, the choice of candidates, a block of latents,
    # who has stalled (with five candidates and with two).
    assert 1 <= len(built) <= 5


def test_a_mask_that_shows_nothing_is_refused(variables, targets):
    with pytest.raises(ValueError, match="the mask shows nothing"):
        run(variables, targets, mask=np.zeros((8, 16), np.float32))


def test_a_traced_mask_serves_as_well(variables, targets):
    few = dataclasses.replace(SEARCH, num_steps=1)
    starts = draw_starts(variables, KEY, models=MODELS, search=few)
    options = {"models": MODELS, "search": few}

    @jax.jit
    def find(mask):
        return project(variables, jnp.asarray(targets), mask, starts, **options)

    expected = run(variables, targets, search=few)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), find(MASK), expected
    )


def test_both_halves_known_in_part_weigh_as_asked(variables, true_z):
    joint = np.array(generated(variables, true_z))
    mask = (np.random.default_rng(6).random((8, 16)) < 0.4).astype(np.float32)
    search = dataclasses.replace(SEARCH, photo_distance="l2", photo_weight=10.0)
    found = run(variables, joint, mask=mask, search=search)
    start = run(
        variables, joint, mask=mask, search=dataclasses.replace(search, num_steps=0)
    )
    assert (found.contextual[:, 0] < 0.05 * start.contextual[:, 0]).all()
    total = start.sketch_loss + 10.0 * start.photo_loss
    np.testing.assert_allclose(start.contextual, total, rtol=1e-5)
    known = mask[:, 8:, None] > 0
    difference = np.where(known, start.joint[..., 8:, :] - joint[:, None, :, 8:], 0) / 2
    l2 = np.square(difference).sum((-3, -2)).mean(-1) / mask[:, 8:].sum()
    np.testing.assert_allclose(start.photo_loss, l2, rtol=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_candidates", 0, "num_candidates is 0: .* at least 1"),
        ("num_candidates", 65, "num_candidates is 65: .* at most num_starts, 64"),
        ("num_starts", 2, "num_candidates is 3: .* at most num_starts, 2"),
        ("num_starts", -1, "num_starts is -1, .* neither can be negative"),
        ("encoder_starts", -1, "encoder_starts -1: neither can be negative"),
        ("num_steps", -1, "num_steps is -1: it cannot be negative"),
        ("stages", ((65, 1),), "stage 1 is 65: .* at most num_starts, 64"),
        ("stages", ((8, 1), (9, 1)), "stage 2 is 9: .* the candidates of stage 1, 8"),
        ("stages", ((2, 1),), "num_candidates is 3: .* the candidates of stage 1, 2"),
        ("stages", ((8, -1),), "the steps of stage 1 is -1: it cannot be negative"),
        ("blur_widths", (0.0, -1.0), "blur_widths is .*: none can be negative"),
        ("chunk_steps", -1, "chunk_steps is -1: it cannot be negative"),
        ("chunk_steps", 7, "chunk_steps is 7: .* does not divide 60"),
        ("stall_tolerance", 1.0, "stall_tolerance is 1.0: .* below 1"),
    ],
)
def test_an_impossible_search_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SEARCH, **{field: value})


@pytest.mark.parametrize("field", ["noise", "blur_focus"])
def test_losses_that_cannot_be_compared_tell_nobody_who_stalled(field):
    chunked = dataclasses.replace(SEARCH, chunk_steps=4)
    with pytest.raises(ValueError, match="chunk_steps .* noise and blur_focus"):
        dataclasses.replace(chunked, **{field: 0.1})


class Oracle(Encoder):
    """Knows some sketches, and their latents, by heart."""

    def __call__(self, sketch):
        known, z = (self.get_variable("params", name) for name in ("sketch", "z"))
        distance = jnp.square(sketch[:, None] - known).sum((-1, -2))
        return z[jnp.argmin(distance, axis=1)]


class Centre(Encoder):
    """Answers with the centre of the ink, in [-1, 1]."""

    def __call__(self, sketch):
        line = jnp.linspace(-1, 1, 8)
        ink = (1 - sketch) / (1 - sketch).sum((1, 2), keepdims=True)
        z = [(ink.sum(2) * line).sum(1), (ink.sum(1) * line).sum(1)]
        return jnp.pad(jnp.stack(z, 1), ((0, 0), (0, 3)))


def own(count, **fields):
    """The search with so many starts of the encoder."""
    return dataclasses.replace(SEARCH, encoder_starts=count, **fields)


def run_with(encoder, variables, targets, search, mask=SKETCH_KNOWN):
    starts = draw_starts(variables, KEY, models=MODELS, search=search)
    known = jnp.asarray(targets), jnp.asarray(mask)
    options = {"models": MODELS, "search": search, "encoder": encoder}
    return jax.device_get(project(variables, *known, starts, **options))


@pytest.fixture(scope="module")
def oracle(variables, true_z):
    sketch = losses.comparable(generated(variables, true_z), "sketch")[:, 0]
    return TrainedEncoder(Oracle(4, 5, 8), {"sketch": sketch, "z": true_z})


@pytest.fixture(scope="module")
def random_encoder():
    module = Encoder(4, 5, 8)
    params = module.init(jax.random.key(0), jnp.zeros((1, 8, 8)))["params"]
    rng = np.random.default_rng(0)
    noisy = jax.tree.map(lambda x: x + rng.normal(0, 0.2, x.shape), params)
    return TrainedEncoder(module, jax.tree.map(jnp.float32, noisy))


def test_a_good_encoder_begins_where_the_search_should_end(
    variables, targets, true_z, oracle, found
):
    at_once = run_with(oracle, variables, targets, own(1, num_steps=0))
    np.testing.assert_allclose(at_once.z[:, 0], true_z, atol=1e-6)
    assert (at_once.contextual[:, 0] < found.contextual[:, 0]).all()
    alone = own(1, num_starts=0, num_candidates=1, num_steps=3, learning_rate=1e-3)
    assert run_with(oracle, variables, targets, alone).contextual.max() < 1e-4


def test_guesses_are_ranked_among_the_starts(variables, targets, oracle, ranked):
    """The oracle's is the best of each; the next best are those without it."""
    search = own(1, num_steps=0)
    beside = run_with(oracle, variables, targets, search)
    np.testing.assert_array_equal(beside.z[:, 1:], ranked.z[:, :2])
    away = oracle._replace(params=oracle.params | {"z": -oracle.params["z"]})
    wrong = run_with(away, variables, targets, search)
    assert (np.diff(wrong.contextual, axis=1) >= 0).all()
    assert (wrong.z[:, 0] == ranked.z[:, 0]).all(1).any()


def test_the_next_guesses_are_of_the_nearest_shifts(variables):
    sketch = np.ones((2, 8, 8), np.float32)
    sketch[0, 3, 4] = sketch[1, 5, 2] = 0
    known = jnp.asarray(images.target_from_sketch(sketch)), MASK
    options = {"models": MODELS, "search": own(6)}
    centre = TrainedEncoder(Centre(4, 5, 8), {})
    guesses = projection.guess(centre, variables, *known, **options)
    assert guesses.z.shape == (2, 6, 5)
    places = np.rint((np.asarray(guesses.z)[..., :2] + 1) * 3.5)
    for found, (row, column) in zip(places, [(3, 4), (5, 2)], strict=True):
        moves = [tuple(x) for x in found - [row, column]]
        assert moves[0] == (0, 0)
        assert {*moves[1:5]} == {(0, 1), (0, -1), (1, 0), (-1, 0)}
        assert np.abs(moves[5]).tolist() == [1, 1]
    joint = np.concatenate(guesses.joint)[:12]
    want = generated(variables, guesses.z.reshape(12, 5))
    np.testing.assert_allclose(joint, want, atol=1e-5)


def test_a_guess_depends_on_no_neighbour(variables, targets, random_encoder):
    """Trap 4: bit for bit, whatever else is in the batch, and in whatever order."""
    search = own(4, num_starts=0, num_steps=2)
    found = run_with(random_encoder, variables, targets, search)
    order = np.array([2, 0, 1])
    turned = run_with(random_encoder, variables, targets[order], search)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[order]), turned, found)
    assert np.abs(found.z[0] - found.z[1]).max() > 1e-3


def test_a_search_that_does_not_ask_the_encoder_is_as_without(
    variables, targets, random_encoder, found
):
    same = run_with(random_encoder, variables, targets, SEARCH)
    jax.tree.map(np.testing.assert_array_equal, same, found)


def test_the_first_step_gives_guesses_the_spread_that_the_search_keeps(
    variables, targets, random_encoder
):
    def spread(num_steps):
        search = own(3, num_starts=0, keep_spread=True, num_steps=num_steps)
        found = run_with(random_encoder, variables, targets, search)
        return np.square(found.z).mean(-1)

    assert np.abs(spread(0) - 1 / 3).max() > 0.1
    assert 0.2 < spread(1).min() <= spread(1).max() < 0.45


def test_an_encoder_that_is_missing_is_named(variables, targets):
    with pytest.raises(
        ValueError, match="encoder_starts is 2, .*no encoder.*cgan-encode"
    ):
        run_with(None, variables, targets, own(2))


@pytest.mark.parametrize("known", ["photo", "part", "both", "traced"])
def test_an_encoder_reads_whole_sketches_alone(
    variables, targets, random_encoder, known
):
    mask = np.array(PHOTO_KNOWN if known == "photo" else SKETCH_KNOWN)
    if known != "photo":
        mask[0, 0 if known == "part" else 9] = known == "both"
    find = functools.partial(run_with, random_encoder, variables, targets, own(2))
    with pytest.raises(ValueError, match="encoder_starts is 2, .*set encoder_starts"):
        jax.jit(lambda mask: find(mask=mask))(mask) if known == "traced" else find(
            mask=mask
        )


def test_a_search_is_not_begun_without_the_guesses_that_it_asks_for(variables, targets):
    starts = draw_starts(variables, KEY, models=MODELS, search=own(2))
    with pytest.raises(ValueError, match="encoder_starts is 2, but 0 guesses"):
        projection.begin(jnp.asarray(targets), MASK, starts, search=own(2))
