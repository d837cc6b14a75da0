"""Intervals: as wide as theory says, paired, and the same for the same seed."""

import numpy as np
import pytest
from scipy import stats

from cgan_jax import scores
from cgan_jax.intervals import (
    distance_difference,
    distance_interval,
    mean_interval,
    rank_correlation,
    set_distance,
)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = mean_interval(values, seed=0)
    error = values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert found.num_examples == 400


def test_a_seed_gives_the_same_interval_each_time_and_another_one_another():
    values = np.random.default_rng(0).normal(size=30)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1).low != mean_interval(values, seed=2).low


def test_undefined_scores_are_left_out_and_counted():
    found = mean_interval(np.array([1.0, np.nan, 3.0]), seed=0)
    assert (found.value, found.low, found.high, found.num_examples) == (2, 1, 3, 2)


def test_nothing_defined_has_no_mean():
    found = mean_interval(np.array([np.nan]), seed=0)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.num_examples == 0


def test_infinite_scores_have_an_infinite_mean():
    found = mean_interval(np.full(4, np.inf), seed=0)
    assert (found.value, found.low, found.high) == (np.inf, np.inf, np.inf)


def test_paired_differences_are_narrower_than_the_scores():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=200)
    one, other = hard, hard + 0.1 + 0.01 * rng.normal(size=200)
    difference = mean_interval(other - one, seed=0)
    assert difference.low > 0.09
    assert mean_interval(one, seed=0).high > mean_interval(other, seed=0).low


def test_the_interval_of_a_distance_is_as_wide_as_it_varies():
    rng = np.random.default_rng(0)
    distances, widths = [], []
    for seed in range(16):
        x, y = rng.normal(0.5, 1, (40, 3)), rng.normal(0, 1, (40, 3))
        found = distance_interval(
            set_distance(scores.kernel_distances, x, y, seed=seed)
        )
        distances.append(found.value)
        widths.append(found.high - found.low)
        assert found.low < found.value < found.high
    assert np.mean(widths) == pytest.approx(4 * np.std(distances), rel=0.5)


def test_vectors_without_a_face_are_left_out():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20, 3))
    x[3] = np.nan
    found = set_distance(scores.kernel_distances, x, y, seed=0)
    assert found.num_examples == 19
    assert found.value == pytest.approx(scores.kernel_distance(np.delete(x, 3, 0), y))
    assert np.isfinite(found.halves).all()


@pytest.mark.parametrize("kind", ["kernel", "frechet"])
def test_distances_of_halves_are_those_of_the_halves_alone(kind):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.normal(0.3, 1, (24, 3))
    x[[3, 9]] = np.nan
    many = {"kernel": scores.kernel_distances, "frechet": scores.frechet_distances}
    found = set_distance(many[kind], x, y, seed=5)
    one = {"kernel": by_definition, "frechet": scores.frechet_distance}[kind]
    drawn = np.random.default_rng(5)
    for half in found.halves:
        parts = (z[drawn.choice(len(z), len(z) // 2, replace=False)] for z in (x, y))
        described = (part[~np.isnan(part).any(1)] for part in parts)
        assert half == pytest.approx(one(*described), rel=1e-10, abs=1e-12)


def by_definition(x, y):
    """Kernel by kernel, as in Binkowski et al. 2018, section 4."""

    def mean(a, b):
        kernels = [
            (p @ q / len(p) + 1) ** 3
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if a is not b or i != j
        ]
        return np.mean(kernels)

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_the_difference_of_distances_is_paired():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 3))
    near = set_distance(scores.kernel_distances, x, y, seed=0)
    same = set_distance(scores.kernel_distances, x, y, seed=0)
    far = set_distance(scores.kernel_distances, x + 0.5, y, seed=0)
    nothing = distance_difference(same, near)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    assert distance_difference(far, near).value == pytest.approx(far.value - near.value)


def test_a_rank_correlation_is_spearmans_and_leaves_out_what_is_not_defined():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = np.round(x + rng.normal(size=60))  # with ties
    expected = stats.spearmanr(x, y).statistic
    found = rank_correlation(x, y, seed=0)
    assert found.value == pytest.approx(expected)
    assert -1 <= found.low < expected < found.high <= 1
    assert 0.1 < found.high - found.low < 0.6
    more = np.append(x, [5.0, np.nan]), np.append(y, [np.nan, 5.0])
    assert rank_correlation(*more, seed=0) == found


def test_a_rank_correlation_with_a_constant_is_not_defined():
    found = rank_correlation(np.arange(9.0), np.ones(9), seed=0)
    assert np.isnan(found.value) and found.num_examples == 9
