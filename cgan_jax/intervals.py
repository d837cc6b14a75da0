"""How sure a score is: intervals of 95 %, every draw from a stated seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

LEVEL = 0.95
NUM_RESAMPLES = 4000  # of the examples, for a mean
NUM_SUBSETS = 200  # of two sets, for a distance
# Of parts of two sets: of the sets, and which of their vectors belong to each part.
_Distances = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Estimate(NamedTuple):
    """A score and its interval.

    Attributes:
      value: the score.
      low: lower end of its interval.
      high: upper end.
      num_examples: examples behind it.
    """

    value: float
    low: float
    high: float
    num_examples: int


def mean_interval(values: Float[np.ndarray, " n"], *, seed: int) -> Estimate:
    """The mean and its bootstrap percentile interval (Efron and Tibshirani 1993, ch. 13).

    The examples are drawn anew, with replacement, 4000 times. Equal seeds draw the same
    examples for every score of as many values.

    Args:
      values: a score of each example, or a paired difference; NaN, a score that is not
        defined for its example, is left out. May be infinite.
      seed: of the draws.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(0, len(values), len(values))].mean()
        for _ in range(NUM_RESAMPLES)
    ]
    low, high = _percentiles(np.array(means))
    return Estimate(float(values.mean()), low, high, len(values))


def rank_correlation(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], *, seed: int
) -> Estimate:
    """Spearman's correlation of two numbers over examples, and its bootstrap interval.

    The examples are drawn anew as for `mean_interval`. NaN where one of the numbers is the
    same for all examples, or fewer than three have both.

    Args:
      x: a number of each example; NaN, one that is not defined, leaves the example out.
      y: as x.
      seed: of the draws.
    """
    known = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[known], y[known]
    count = len(x)
    if count < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(np.nan, np.nan, np.nan, count)
    drawn = np.random.default_rng(seed).integers(0, count, (NUM_RESAMPLES, count))
    draws = _correlate_ranks(x[drawn], y[drawn])
    low, high = _percentiles(draws[~np.isnan(draws)])
    return Estimate(float(_correlate_ranks(x[None], y[None])[0]), low, high, count)


def _correlate_ranks(
    x: Float[np.ndarray, "r n"], y: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, " r"]:
    """Of each row; NaN where all are equal."""
    a, b = (stats.rankdata(values, axis=1) for values in (x, y))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (a * b).sum(axis=1) / np.where(scale > 0, scale, np.nan)


class SetDistance(NamedTuple):
    """A distance of two sets, and the same of random halves of both.

    Attributes:
      value: the distance of the whole sets.
      halves: 200 distances of halves; the n-th is of the same examples for equal seeds.
      num_examples: examples of the first set that were described.
    """

    value: float
    halves: Float[np.ndarray, " r"]
    num_examples: int


def set_distance(
    distances: _Distances,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    *,
    seed: int,
) -> SetDistance:
    """A distance of two sets, with halves of both for its interval.

    Args:
      distances: of parts of two sets, such as `scores.kernel_distances`.
      x: feature vectors, at least four; a NaN row (no face was found) is left out.
      y: as x; independent of it.
      seed: of the halves. Rows are drawn before any is left out, so that sets of equal
        length are halved alike.
    """
    rng = np.random.default_rng(seed)
    halves = [(_half(rng, len(x)), _half(rng, len(y))) for _ in range(NUM_SUBSETS)]
    whole = np.ones(len(x), bool), np.ones(len(y), bool)
    parts_x, parts_y = map(np.stack, zip(whole, *halves, strict=True))
    known_x, known_y = (~np.isnan(vectors).any(axis=1) for vectors in (x, y))
    value, *others = distances(
        x[known_x], y[known_y], parts_x[:, known_x], parts_y[:, known_y]
    )
    return SetDistance(float(value), np.array(others), int(known_x.sum()))


def distance_interval(found: SetDistance) -> Estimate:
    """A distance and its interval from halves without replacement.

    A bootstrap would repeat examples, and a set with repeated examples looks too narrow.
    Halves without replacement vary about as much as the whole does (Shao and Wu, "A
    general theory for jackknife variance estimation", 1989); as they may be biased, their
    percentiles are shifted to lie around the distance of the whole.
    """
    low, high = _percentiles(found.halves - found.halves.mean())
    return Estimate(
        found.value, found.value + low, found.value + high, found.num_examples
    )


def distance_difference(found: SetDistance, reference: SetDistance) -> Estimate:
    """The difference of two distances from one set, paired by halves of equal examples."""
    return distance_interval(
        SetDistance(
            found.value - reference.value,
            found.halves - reference.halves,
            min(found.num_examples, reference.num_examples),
        )
    )


def _half(rng: np.random.Generator, count: int) -> Bool[np.ndarray, " n"]:
    """A random half of so many, as a mask."""
    mask = np.zeros(count, bool)
    mask[rng.choice(count, count // 2, replace=False)] = True
    return mask


def _percentiles(draws: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The smallest interval of draws that leaves out at most 2.5 % on either side."""
    tail = (1 - LEVEL) / 2
    ordered = np.sort(draws)
    left_out = int(np.floor(tail * len(ordered) + 1e-9))
    return float(ordered[left_out]), float(ordered[-1 - left_out])
