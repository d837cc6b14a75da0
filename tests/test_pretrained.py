"""The models that come with the package: small, sound, described, and good for a search."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from cgan_jax import model_files
from cgan_jax.configs import default, presets
from cgan_jax.joint import PHOTO
from cgan_jax.models import generate, sample_z
from cgan_jax.projection import Search, Starts, begin, draw_starts, project

NAMES = model_files.bundled_names()
FOLDER = model_files._PRETRAINED


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return model_files.load(request.param)


def draw(model, key, count):
    """Latents, and their joint images in [-1, 1]."""
    gen = model.models.gen
    z = sample_z(jax.random.key(key), count, gen.z_dim)
    return z, jax.jit(lambda z: generate(gen, model.variables.gen, z))(z)


def losses(model, z, planes, targets, mask, search):
    """Contextual losses of each target: of all these joint images."""
    count = {"num_starts": len(z), "num_candidates": len(z), "encoder_starts": 0}
    every = dataclasses.replace(search, **count)
    starts = Starts(z, (planes,))
    return begin(targets, mask, starts, models=model.models, search=every).contextual


@pytest.fixture(scope="module")
def samples(model):
    """64 joint images in [-1, 1]."""
    return np.asarray(draw(model, 1, 64)[1])


def test_faces_is_bundled():
    assert "faces" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_small_and_their_kernels_have_16_bits(name):
    path = FOLDER / name / "weights.safetensors"
    assert path.stat().st_size < 16_000_000
    with safe_open(path, "numpy") as file:
        kinds = {
            key: file.get_slice(key).get_dtype()
            for key in sorted(file.keys())
            if key.endswith("kernel")
        }
    assert kinds
    assert set(kinds.values()) == {"F16"}


@pytest.mark.parametrize("name", NAMES)
def test_a_card_describes_the_model(name):
    card = (FOLDER / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert len(card.split()) > 100


def test_all_numbers_are_finite(model):
    leaves = jax.tree.leaves(model.variables)
    assert leaves
    assert all(np.isfinite(x).all() for x in leaves)


def test_batch_norm_has_positive_variances(model):
    for half in model.variables:
        for stats in half["batch_stats"].values():
            assert (stats["var"] > 0).all()


def test_samples_are_varied(model, samples):
    """One picture over and over is what a GAN that collapsed draws."""
    for name in model.joint.names:
        least = 0.2 if name == PHOTO else 0.15
        assert model.joint.part(samples, name).std(axis=0).mean() > least
    photo = model.joint.part(samples, PHOTO)
    flat = photo.reshape(len(photo), -1)
    distances = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(-1))
    np.fill_diagonal(distances, np.inf)
    assert np.median(distances.min(axis=1)) > 0.1


def test_sketches_are_nearly_grey_and_photographs_are_not(model, samples):
    joint = model.joint
    colours = {x: np.ptp(samples[..., joint.where(x)], -1).mean() for x in joint.names}
    assert max(colours[x] for x in joint.sketches) < 0.06
    assert colours[PHOTO] > 3 * max(colours[x] for x in joint.sketches)
    assert colours[PHOTO] > 0.1


def test_sketches_are_paper_with_ink(model, samples):
    for name in model.joint.sketches:
        ink = (1 - model.joint.part(samples, name)) / 2
        assert 0.03 < ink.mean() < 0.3
        assert (ink < 0.1).mean() > (0.4 if name == "photocopy" else 0.5)


def test_the_search_finds_a_sketch_that_the_model_drew(model):
    """y = G(z0): the search comes far closer to it than a random start is."""
    mask = jnp.asarray(model.joint.mask(model.joint.sketches[:1]))
    z, planes = draw(model, 7, 64)
    target = planes[:1]
    budget = {"num_starts": 128, "num_candidates": 2, "num_steps": 40, "inner_steps": 0}
    search = Search(**dict(default.get_config().projection) | budget)
    random = losses(model, z[1:], planes[1:], target, mask, search)
    start_key = jax.random.key(8)
    starts = draw_starts(model.variables, start_key, models=model.models, search=search)
    found = project(
        model.variables,
        target,
        mask,
        starts,
        models=model.models,
        search=search,
    )
    assert found.contextual[0, 0] < np.median(random) / 3


def test_the_encoder_begins_nearer_than_the_best_of_many_starts(model):
    """At each of eight sketches that the model drew, of which it sees the sketch alone."""
    z, planes = draw(model, 7, 72)
    targets = planes[:8]
    mask = jnp.asarray(model.joint.mask(model.joint.sketches[:1]))
    alone = {"num_steps": 0, "inner_steps": 0}
    search = Search(**dict(presets.get_projection("fast")) | alone)
    starts = Starts(z[:0], ())
    known = jnp.asarray(model.joint.per_plane(np.asarray(mask)))
    found = project(
        model.variables,
        jnp.where(known > 0, targets, 0.0),
        mask,
        starts,
        models=model.models,
        search=search,
        encoder=model.encoder,
    )
    best = losses(model, z[8:], planes[8:], targets, mask, search).min(axis=1)
    assert (found.contextual[:, 0] < best).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("known", ["sketch", "photo"])
def test_what_the_model_drew_is_found_again_in_both_directions(model, known):
    """y = G(z0), but one part lost: of ten, nine end below 5 % of a median random start.

    By the search for z that fits best; the default ends earlier, for the photograph's
    sake.
    """
    name = PHOTO if known == "photo" else model.joint.sketches[0]
    mask = model.joint.mask([name])
    z, planes = draw(model, 7, 74)
    targets = np.array(planes[:10])
    targets[:, model.joint.per_plane(mask) == 0] = np.nan
    search = Search(**dict(presets.get_projection("thorough")) | {"inner_steps": 0})
    options = {"models": model.models, "search": search}
    starts = draw_starts(model.variables, jax.random.key(8), **options)
    ends, medians = [], []
    for target in targets:
        known = jnp.asarray(target[None]), jnp.asarray(mask)
        found = project(model.variables, *known, starts, **options)
        ends.append(float(found.contextual[0, 0]))
        random = losses(model, z[10:], planes[10:], *known, search)
        medians.append(float(np.median(random)))
    assert (
        sum(end < 0.05 * median for end, median in zip(ends, medians, strict=True)) >= 9
    )
