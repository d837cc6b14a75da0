"""Losses of training and of the search; equation numbers are the paper's order.

The names of the released code: its `lam1` (weight of the contextual loss) over `lam2`
(weight of the perceptual loss, 100 : 1) is `1 / perceptual_weight` here, its `zhats` are
our latent candidates `z`.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cgan_jax import images

Direction = Literal["y||G", "G||y"]
Mass = Literal["ink", "intensity"]
PerceptualForm = Literal["log(1-D)", "-log(D)"]


def discriminator_loss(
    real_logits: Float[Array, " n"], fake_logits: Float[Array, " n"]
) -> Float[Array, ""]:
    """Sigmoid cross-entropy of real against 1 plus of fake against 0, batch means.

    Args:
      real_logits: D of real joint images, before the sigmoid.
      fake_logits: D of generated joint images, before the sigmoid.

    Returns:
      Scalar, at least 0; 2 log 2 where D knows nothing. Goodfellow et al. 2014, eq. 1.
    """
    real = optax.sigmoid_binary_cross_entropy(real_logits, jnp.ones_like(real_logits))
    fake = optax.sigmoid_binary_cross_entropy(fake_logits, jnp.zeros_like(fake_logits))
    return real.mean() + fake.mean()


def generator_loss(fake_logits: Float[Array, " n"]) -> Float[Array, ""]:
    """Non-saturating loss -log D(G(z)), batch mean; Goodfellow et al. 2014, section 3."""
    return perceptual_loss(fake_logits, "-log(D)").mean()


def perceptual_loss(
    logits: Float[Array, ...], form: PerceptualForm = "log(1-D)"
) -> Float[Array, ...]:
    """How little D takes an image for a real one.

    Args:
      logits: D of generated joint images, before the sigmoid, any shape.
      form: `log(1-D)`, the paper's L_perceptual (at most 0, falls without bound as D is
        convinced), or `-log(D)`, the released code's (at least 0).

    Returns:
      Loss of each logit.

    Raises:
      ValueError: another form.
    """
    if form == "log(1-D)":
        return -jax.nn.softplus(logits)
    if form == "-log(D)":
        return jax.nn.softplus(-logits)
    raise ValueError(f"perceptual form must be 'log(1-D)' or '-log(D)', got {form!r}")


def kl_divergence(
    p: Float[Array, "*b h w"],
    q: Float[Array, "*b h w"],
    mask: Float[Array, "h w"] | None = None,
    *,
    mass: Mass = "ink",
    epsilon: float = 1e-3,
) -> Float[Array, "*b"]:
    """D_KL(p || q) of two grey pictures read as distributions over their pixels.

    Args:
      p: grey values in [0, 1], 1 is white.
      q: as p.
      mask: 1 where a pixel counts, 0 elsewhere; all pixels if None.
      mass: what a pixel weighs: `ink`, 1 - grey value, or `intensity`, the grey value.
      epsilon: added to every weight BEFORE they are normalised to sum 1, so that value
        and gradient are finite on exact black, exact white and empty pictures.

    Returns:
      Divergence in nats of each pair, at least 0; 0 under an empty mask.

    Raises:
      ValueError: another mass.
    """
    mask = jnp.ones(p.shape[-2:], p.dtype) if mask is None else mask
    log_p = _log_distribution(p, mask, mass, epsilon)
    log_q = _log_distribution(q, mask, mass, epsilon)
    return jnp.sum(mask * jnp.exp(log_p) * (log_p - log_q), axis=(-2, -1))


def _log_distribution(
    grey: Float[Array, "*b h w"], mask: Float[Array, "h w"], mass: Mass, epsilon: float
) -> Float[Array, "*b h w"]:
    if mass not in ("ink", "intensity"):
        raise ValueError(f"mass must be 'ink' or 'intensity', got {mass!r}")
    grey = jnp.where(mask > 0, grey, 0.0)  # what is unknown may be anything, even NaN
    weight = (1.0 - grey if mass == "ink" else grey) + epsilon
    total = jnp.sum(mask * weight, axis=(-2, -1), keepdims=True)
    return jnp.log(weight) - jnp.log(jnp.where(total > 0, total, 1.0))


def contextual_loss(
    generated: Float[Array, "*b h w 3"],
    target: Float[Array, "*b h w 3"],
    mask: Float[Array, "h w"],
    *,
    direction: Direction = "y||G",
    mass: Mass = "ink",
    epsilon: float = 1e-3,
) -> Float[Array, "*b"]:
    """L_contextual = D_KL(M*y, M*G(z)) between joint images.

    The sketch half is compared by its grey value, the photo half by its three channels,
    averaged.

    Args:
      generated: G(z), in [-1, 1].
      target: the known image y, in [-1, 1]; its unknown part is never read.
      mask: M, 1 on the known pixels, 0 elsewhere.
      direction: `y||G` (the released code's ranking of starts) or `G||y` (its search).
      mass: see `kl_divergence`.
      epsilon: see `kl_divergence`.

    Returns:
      Divergence in nats of each pair.

    Raises:
      ValueError: another direction or mass.
    """
    y = _comparable_channels(target)
    g = _comparable_channels(generated)
    if direction == "y||G":
        p, q = y, g
    elif direction == "G||y":
        p, q = g, y
    else:
        raise ValueError(f"direction must be 'y||G' or 'G||y', got {direction!r}")
    return kl_divergence(p, q, mask, mass=mass, epsilon=epsilon).mean(-1)


def _comparable_channels(joint: Float[Array, "*b h w 3"]) -> Float[Array, "*b 3 h w"]:
    """Values in [0, 1], channels first, the sketch half grey in all three."""
    sketch, photo = images.split(joint)
    grey = jnp.broadcast_to(images.luma(sketch)[..., None], sketch.shape)
    both = (images.join(grey, photo) + 1.0) / 2.0
    return jnp.moveaxis(both, -1, -3)
