"""The search for latents whose joint image fits what is known of one.

A pure core: arrays in, arrays out; files are `complete`'s business. G and D run on
running averages and the same starts serve every target, so that an answer depends on the
target, the model and the key alone.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from cgan_jax.losses import (
    Direction,
    Mass,
    PerceptualForm,
    contextual_loss,
    perceptual_loss,
)
from cgan_jax.models import GanPair, generate, sample_z

# Starts are generated this many at a time: the memory of the ranking does not grow.
_RANKING_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Search:
    """What is minimized, and how; defaults and their sources in `configs/default.py`.

    Attributes:
      num_starts: latents that are drawn and ranked by their contextual loss; at least
        `num_candidates`. Rounded up to a multiple of 64.
      num_candidates: best starts, optimized side by side.
      num_steps: Adam steps.
      learning_rate: of Adam; z lies in [-1, 1].
      keep_spread: rescale z after each step to mean(z^2) = 1/3, the spread of the
        latents that G was trained on; the loss alone draws z towards 0, where photographs
        wash out.
      perceptual_weight: lambda, the weight of the perceptual loss.
      perceptual_form: see `losses.perceptual_loss`.
      direction: see `losses.contextual_loss`.
      mass: see `losses.kl_divergence`.
      epsilon: see `losses.kl_divergence`.
    """

    num_starts: int
    num_candidates: int
    num_steps: int
    learning_rate: float
    keep_spread: bool
    perceptual_weight: float
    perceptual_form: PerceptualForm
    direction: Direction
    mass: Mass
    epsilon: float

    def __post_init__(self) -> None:
        if not 1 <= self.num_candidates <= self.num_starts:
            raise ValueError(
                f"num_candidates is {self.num_candidates}: it must be at least 1 and at "
                f"most num_starts, {self.num_starts}"
            )
        if self.num_steps < 0:
            raise ValueError(f"num_steps is {self.num_steps}: it cannot be negative")


class Candidates(NamedTuple):
    """Answers to each target, best contextual loss first.

    Attributes:
      z: latents in [-1, 1].
      joint: G(z), joint images in [-1, 1].
      contextual: contextual loss, nats.
      perceptual: perceptual loss, unweighted.
    """

    z: Float[Array, "b k z"]
    joint: Float[Array, "b k h w 3"]
    contextual: Float[Array, "b k"]
    perceptual: Float[Array, "b k"]


@functools.partial(jax.jit, static_argnames=("models", "search"))
def project(
    variables: GanPair,
    target: Float[Array, "b h w 3"],
    mask: Float[Array, "h w"],
    key: Array,
    *,
    models: GanPair,
    search: Search,
) -> Candidates:
    """z^ = argmin L_contextual(z) + lambda L_perceptual(z), from the best of many starts.

    Args:
      variables: parameters and running averages of G and D.
      target: joint images y in [-1, 1]; only what the mask shows is read.
      mask: M, 1 on the known pixels of the joint image, 0 elsewhere.
      key: draws the starts, the same for every target.
      models: G and D.
      search: the loss and the budget.

    Returns:
      `search.num_candidates` answers to each target.
    """
    starts = _best_starts(variables, target, mask, key, models, search)
    z = _refine(variables, target, mask, starts, models, search)
    return _sorted(_score(variables, target, mask, z, models, search))


def _best_starts(
    variables: GanPair,
    target: Array,
    mask: Array,
    key: Array,
    models: GanPair,
    search: Search,
) -> Float[Array, "b k z"]:
    """The starts of lowest contextual loss; forward passes only."""
    blocks = -(-search.num_starts // _RANKING_BLOCK)
    z = sample_z(key, blocks * _RANKING_BLOCK, models.gen.z_dim)

    def rank(z: Array) -> Float[Array, "n b"]:
        joint = generate(models.gen, variables.gen, z)
        return jax.vmap(lambda g: _contextual(g, target, mask, search))(joint)

    losses = lax.map(rank, z.reshape(blocks, _RANKING_BLOCK, -1))
    _, best = lax.top_k(-losses.reshape(len(z), -1).T, search.num_candidates)
    return z[best]


def _contextual(joint: Array, target: Array, mask: Array, search: Search) -> Array:
    return contextual_loss(
        jnp.broadcast_to(joint, target.shape),
        target,
        mask,
        direction=search.direction,
        mass=search.mass,
        epsilon=search.epsilon,
    )


def _perceptual(
    variables: GanPair, joint: Array, models: GanPair, search: Search
) -> Array:
    logits = models.disc.apply(variables.disc, joint[None], train=False)
    return perceptual_loss(logits[0], search.perceptual_form)


def _refine(
    variables: GanPair,
    target: Array,
    mask: Array,
    starts: Float[Array, "b k z"],
    models: GanPair,
    search: Search,
) -> Float[Array, "b k z"]:
    """Adam on every candidate of every target at once; z stays in [-1, 1]."""
    tx = optax.adam(search.learning_rate)

    def loss(z: Array, target: Array) -> Array:
        joint = generate(models.gen, variables.gen, z[None])[0]
        total = _contextual(joint, target, mask, search)
        if search.perceptual_weight != 0:  # at 0, D is not run at all
            perceptual = _perceptual(variables, joint, models, search)
            total = total + search.perceptual_weight * perceptual
        return total

    gradient = jax.vmap(jax.vmap(jax.grad(loss), (0, None)))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        z, opt_state = carry
        updates, opt_state = tx.update(gradient(z, target), opt_state)
        z = z + updates
        if search.keep_spread:
            mean_square = jnp.mean(jnp.square(z), axis=-1, keepdims=True)
            z = z * lax.rsqrt(3.0 * jnp.maximum(mean_square, 1e-12))
        return (jnp.clip(z, -1.0, 1.0), opt_state), None

    carry = (starts, tx.init(starts))
    (z, _), _ = lax.scan(step, carry, length=search.num_steps)
    return z


def _score(
    variables: GanPair,
    target: Array,
    mask: Array,
    z: Array,
    models: GanPair,
    search: Search,
) -> Candidates:
    def one(z: Array, target: Array) -> tuple[Array, Array, Array]:
        joint = generate(models.gen, variables.gen, z[None])[0]
        contextual = _contextual(joint, target, mask, search)
        return joint, contextual, _perceptual(variables, joint, models, search)

    return Candidates(z, *jax.vmap(jax.vmap(one, (0, None)))(z, target))


def _sorted(found: Candidates) -> Candidates:
    order = jnp.argsort(found.contextual, axis=1)
    return jax.tree.map(jax.vmap(lambda x, i: x[i]), found, Candidates(*[order] * 4))
