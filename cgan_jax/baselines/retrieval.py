"""Answers out of the training photographs: the nearest by sketch, random ones, their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from cgan_jax.losses import log_distribution
from cgan_jax.scores import KL_EPSILON

Distance = Literal["kl", "l2"]
_BLOCK = 1024  # training sketches that are compared at once


def nearest(
    sketches: UInt8[np.ndarray, "n s s"],
    training: UInt8[np.ndarray, "m s s"],
    distance: Distance,
    count: int,
) -> Int[np.ndarray, "n k"]:
    """Indices of the training sketches that are nearest to each sketch, nearest first.

    Photographs in grey may take the place of sketches, on both sides.

    Args:
      sketches: y; 255 is paper.
      training: t, at least `count`.
      distance: `kl`, D_KL(y || t) of ink as in `losses.kl_divergence`, or `l2`, the
        Euclidean distance of the grey values.
      count: k.
    """
    compare = {"kl": _cross_entropies, "l2": _square_distances}[distance]
    blocks = range(0, len(training), _BLOCK)
    distances = [_compare(compare, sketches, training[i : i + _BLOCK]) for i in blocks]
    return np.argsort(np.concatenate(distances, axis=1), axis=1, kind="stable")[
        :, :count
    ]


def random(
    num_sketches: int, num_training: int, count: int, *, seed: int
) -> Int[np.ndarray, "n k"]:
    """Indices of random training photographs for each sketch, no two alike for one."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(num_training, count, replace=False) for _ in range(num_sketches)
    ]
    return np.array(drawn).reshape(num_sketches, count)


def mean_picture(
    pictures: Iterable[UInt8[np.ndarray, "s s 3"]],
) -> UInt8[np.ndarray, "s s 3"]:
    """The mean of pictures, pixel by pixel, rounded; they are read one at a time."""
    total, count = np.zeros(()), 0
    for picture in pictures:
        total, count = total + picture, count + 1
    return np.rint(total / count).astype(np.uint8)


def _compare(
    compare: Callable[[Array, Array], Array],
    sketches: UInt8[np.ndarray, "n s s"],
    training: UInt8[np.ndarray, "b s s"],
) -> Float[np.ndarray, "n b"]:
    to_grey = (jnp.asarray(x, jnp.float32) / 255 for x in (sketches, training))
    return np.asarray(compare(*to_grey))


@jax.jit
def _cross_entropies(
    sketches: Float[Array, "n s s"], training: Float[Array, "b s s"]
) -> Float[Array, "n b"]:
    """D_KL(y || t) without the entropy of y, which is the same for all t."""
    mask = jnp.ones(sketches.shape[-2:])
    p = jnp.exp(log_distribution(sketches, mask, "ink", KL_EPSILON))
    log_q = log_distribution(training, mask, "ink", KL_EPSILON)
    return -_products(p, log_q)


@jax.jit
def _square_distances(
    sketches: Float[Array, "n s s"], training: Float[Array, "b s s"]
) -> Float[Array, "n b"]:
    """|y - t|^2 without |y|^2, which is the same for all t."""
    return jnp.sum(training**2, axis=(1, 2)) - 2 * _products(sketches, training)


def _products(
    x: Float[Array, "n s s"], y: Float[Array, "b s s"]
) -> Float[Array, "n b"]:
    return jnp.einsum("nij,bij->nb", x, y, precision=jax.lax.Precision.HIGHEST)
