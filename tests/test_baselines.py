"""Retrieval: the nearest by the very distances that are named."""

import jax.numpy as jnp
import numpy as np
import pytest

from cgan_jax.baselines import retrieval
from cgan_jax.losses import kl_divergence

pytestmark = pytest.mark.usefixtures("quick_compilation")


def sketches(count, seed):
    strokes = np.random.default_rng(seed).uniform(0, 1, (count, 6, 6)) ** 0.3
    return np.rint(strokes * 255).astype(np.uint8)


def to_grey(x):
    return jnp.asarray(x, jnp.float32) / 255


def by_hand(y, training, distance):
    y, t = to_grey(y), to_grey(training)
    if distance == "l2":
        return np.array(jnp.sum((t - y) ** 2, axis=(1, 2)))
    return np.array(kl_divergence(jnp.broadcast_to(y, t.shape), t))


@pytest.mark.parametrize("distance", ["kl", "l2"])
@pytest.mark.parametrize("block", [7, 1024])
def test_the_nearest_are_those_of_the_plain_distance(distance, block, monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    asked, training = sketches(4, 0), sketches(30, 1)
    found = retrieval.nearest(asked, training, distance, 5)
    for i, y in enumerate(asked):
        expected = np.argsort(by_hand(y, training, distance))[:5]
        assert found[i].tolist() == expected.tolist()


def test_both_distances_do_not_always_agree():
    asked, training = sketches(20, 0), sketches(50, 1)
    found = [retrieval.nearest(asked, training, d, 1) for d in ("kl", "l2")]
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize("distance", ["kl", "l2"])
def test_a_training_sketch_finds_itself(distance):
    training = sketches(9, 0)
    found = retrieval.nearest(training[[4, 2]], training, distance, 1)
    assert found.tolist() == [[4], [2]]


def test_random_photographs_depend_on_the_seed_and_repeat_none():
    found = retrieval.random(5, 8, 8, seed=0)
    assert (np.sort(found, axis=1) == np.arange(8)).all()
    assert (retrieval.random(5, 8, 8, seed=0) == found).all()
    assert (retrieval.random(5, 8, 8, seed=1) != found).any()


def test_the_mean_picture_is_rounded():
    pictures = [np.full((2, 2, 3), level, np.uint8) for level in (10, 250, 255)]
    assert (retrieval.mean_picture(pictures) == 172).all()  # 171.67
