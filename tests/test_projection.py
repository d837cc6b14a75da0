"""The search finds what fits, and an answer depends on nothing that it should not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cgan_jax import images, losses, projection
from cgan_jax.models import (
    GanPair,
    generate,
    make_models,
    recompute_batch_stats,
    sample_z,
)
from cgan_jax.projection import Search, draw_starts, project

MODELS = make_models(base_filters=4, z_dim=5, height=8)
SKETCH_KNOWN = images.half_mask(8, "sketch")
PHOTO_KNOWN = images.half_mask(8, "photo")
KEY = jax.random.key(2)
SEARCH = Search(
    num_starts=64,
    num_candidates=3,
    num_steps=60,
    learning_rate=0.05,
    keep_spread=False,
    perceptual_weight=0.0,
    perceptual_form="log(1-D)",
    direction="y||G",
    mass="ink",
    epsilon=1e-3,
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


@pytest.mark.parametrize(("asked", "drawn"), [(5, 64), (64, 64), (65, 128)])
def test_the_number_of_starts_is_rounded_up_to_64s(variables, asked, drawn):
    search = dataclasses.replace(RANKING, num_starts=asked)
    starts = draw_starts(variables, KEY, models=MODELS, search=search)
    np.testing.assert_array_equal(starts.z, sample_z(KEY, drawn, 5))
    assert [len(joint) for joint in starts.joint] == [64] * (drawn // 64)
    joint = np.concatenate(starts.joint)
    np.testing.assert_allclose(joint, generated(variables, starts.z), atol=1e-5)


def test_more_answers_than_a_block_of_images(variables, targets):
    wide = dataclasses.replace(SEARCH, num_candidates=25, num_steps=1)
    found = run(variables, targets, search=wide)
    joint = generated(variables, found.z.reshape(75, 5)).reshape(found.joint.shape)
    np.testing.assert_allclose(found.joint, joint, atol=1e-5)


@pytest.mark.parametrize("search", [SEARCH, CONVINCING], ids=["without_d", "with_d"])
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


def test_latents_stay_in_the_box_that_the_search_pushes_against(variables, targets):
    hasty = dataclasses.replace(SEARCH, num_steps=3, learning_rate=5.0)
    z, _ = projection._refine(
        variables, targets, SKETCH_KNOWN, sample_z(KEY, 3, 5)[:, None], MODELS, hasty
    )
    assert np.abs(z).max() == 1.0 and (np.abs(z) == 1.0).mean() > 0.5


def test_latents_keep_the_spread_of_the_training_where_it_is_asked_for(
    variables, targets
):
    def spread(search):
        starts = 0.1 * sample_z(KEY, 3, 5)[:, None]
        arrays = variables, targets, SKETCH_KNOWN, starts
        z, _ = projection._refine(*arrays, MODELS, search)
        return np.mean(np.square(z), axis=-1)

    kept = dataclasses.replace(SEARCH, num_steps=1, keep_spread=True)
    free = dataclasses.replace(SEARCH, num_steps=1)
    assert 0.2 < spread(kept).min() <= spread(kept).max() < 1 / 3 + 1e-6
    assert spread(free).max() < 0.1


def test_the_scale_of_the_loss_does_not_matter_to_the_search(
    variables, targets, monkeypatch
):
    """Trap 6: lambda 0.5 beside 1 is lambda 50 beside 100 because the search is Adam's."""
    scale = None
    for name in ("contextual_loss", "perceptual_loss"):
        loss = getattr(losses, name)
        monkeypatch.setattr(
            projection, name, lambda *a, loss=loss, **k: scale * loss(*a, **k)
        )

    def searches():
        @jax.jit
        def search(factor, *arrays):
            nonlocal scale
            scale = factor
            few = dataclasses.replace(CONVINCING, num_steps=3)
            refine = projection._refine.__wrapped__  # traced anew, with the patches
            return refine(*arrays, MODELS, few)[0]

        starts = sample_z(KEY, 3, 5)[:, None]
        return [search(s, variables, targets, SKETCH_KNOWN, starts) for s in (1, 100)]

    np.testing.assert_allclose(*searches(), atol=1e-3)
    monkeypatch.setattr(optax, "adam", lambda rate: optax.sgd(rate, momentum=0.9))
    once, hundredfold = searches()
    assert np.abs(once - hundredfold).max() > 0.05


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_candidates", 0, "num_candidates is 0: .* at least 1"),
        ("num_candidates", 65, "num_candidates is 65: .* at most num_starts, 64"),
        ("num_starts", 2, "num_candidates is 3: .* at most num_starts, 2"),
        ("num_steps", -1, "num_steps is -1: it cannot be negative"),
    ],
)
def test_an_impossible_search_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SEARCH, **{field: value})
