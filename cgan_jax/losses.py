"""Losses of training and of the search; equation numbers are the paper's order.

The names of the released code: its `lam1` (weight of the contextual loss) over `lam2`
(weight of the perceptual loss, 100 : 1) is `1 / perceptual_weight` here, its `zhats` are
our latent candidates `z`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

Direction = Literal["y||G", "G||y"]
Mass = Literal["ink", "intensity"]
Distance = Literal["kl", "js", "l1", "l2", "cross-entropy"]
Number = float | np.floating | Float[Array, ""]  # traced in a search
PerceptualForm = Literal["log(1-D)", "-log(D)"]


def discriminator_loss(
    real_logits: Float[Array, "*n"],
    fake_logits: Float[Array, "*n"],
    *,
    real_label: float = 1.0,
) -> Float[Array, ""]:
    """Sigmoid cross-entropy of real against its label plus of fake against 0, batch means.

    Args:
      real_logits: D of real joint images, or of patches of them, before the sigmoid.
      fake_logits: D of generated joint images, before the sigmoid.
      real_label: what D should say of real images; below 1 it is one-sided label
        smoothing, Salimans et al. 2016, section 3.4.

    Returns:
      Scalar, at least 0; 2 log 2 where D knows nothing. Goodfellow et al. 2014, eq. 1.
    """
    labels = jnp.full_like(real_logits, real_label)
    real = optax.sigmoid_binary_cross_entropy(real_logits, labels)
    fake = optax.sigmoid_binary_cross_entropy(fake_logits, jnp.zeros_like(fake_logits))
    return real.mean() + fake.mean()


def generator_loss(fake_logits: Float[Array, "*n"]) -> Float[Array, ""]:
    """Non-saturating loss -log D(G(z)), batch mean; Goodfellow et al. 2014, section 3."""
    return perceptual_loss(fake_logits, "-log(D)").mean()


def r1_penalty(
    logits_fn: Callable[[Array], Array], real: Float[Array, "n s s c"]
) -> Float[Array, ""]:
    """Mean squared slope of D at real images: Mescheder et al. 2018, R1 without gamma / 2.

    Args:
      logits_fn: D, `(n, s, s, c)` -> `(n,)` logits.
      real: real joint images as D sees them, in [-1, 1].

    Returns:
      Batch mean of each picture's squared gradient norm, at least 0. Where batch norm ties
      the pictures together, the gradient is that of the sum of all logits.
    """
    slopes = jax.grad(lambda x: logits_fn(x).sum())(real)
    return jnp.sum(slopes**2, axis=(1, 2, 3)).mean()


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
    epsilon: Number = 1e-3,
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
    mask = _mask_or_all(mask, p)
    log_p = log_distribution(p, mask, mass, epsilon)
    log_q = log_distribution(q, mask, mass, epsilon)
    return _kl(log_p, log_q, mask)


def js_divergence(
    p: Float[Array, "*b h w"],
    q: Float[Array, "*b h w"],
    mask: Float[Array, "h w"] | None = None,
    *,
    mass: Mass = "ink",
    epsilon: Number = 1e-3,
) -> Float[Array, "*b"]:
    """Jensen-Shannon divergence of two grey pictures; arguments as in `kl_divergence`.

    Half of D_KL(p || m) + D_KL(q || m), where m is the mean of both distributions.

    Returns:
      Divergence in nats of each pair, in [0, log 2].

    Raises:
      ValueError: another mass.
    """
    mask = _mask_or_all(mask, p)
    log_p = log_distribution(p, mask, mass, epsilon)
    log_q = log_distribution(q, mask, mass, epsilon)
    log_m = jnp.logaddexp(log_p, log_q) - np.log(2.0).astype(np.float32)
    return (_kl(log_p, log_m, mask) + _kl(log_q, log_m, mask)) / 2


def pixel_cross_entropy(
    p: Float[Array, "*b h w"],
    q: Float[Array, "*b h w"],
    mask: Float[Array, "h w"] | None = None,
    *,
    epsilon: Number = 1e-3,
) -> Float[Array, "*b"]:
    """Cross-entropy H(p, q) of each pixel as a coin, less its least value H(p).

    A pixel's grey value is the probability of white, (value + epsilon) / (1 + 2 epsilon).

    Args:
      p: grey values in [0, 1].
      q: as p.
      mask: 1 where a pixel counts, 0 elsewhere; all pixels if None.
      epsilon: keeps the logarithms finite.

    Returns:
      Mean over the known pixels in nats, at least 0; 0 under an empty mask.
    """
    mask = _mask_or_all(mask, p)
    p, q = ((_known(x, mask) + epsilon) / (1.0 + 2.0 * epsilon) for x in (p, q))
    white, black = p * jnp.log(p / q), (1.0 - p) * jnp.log((1.0 - p) / (1.0 - q))
    return _mean(white + black, mask)


def _kl(log_p: Array, log_q: Array, mask: Array) -> Array:
    return jnp.sum(mask * jnp.exp(log_p) * (log_p - log_q), axis=(-2, -1))


def log_distribution(
    grey: Float[Array, "*b h w"], mask: Float[Array, "h w"], mass: Mass, epsilon: Number
) -> Float[Array, "*b h w"]:
    """Logarithms of the distributions that `kl_divergence` compares; arguments as there."""
    if mass not in ("ink", "intensity"):
        raise ValueError(f"mass must be 'ink' or 'intensity', got {mass!r}")
    grey = _known(grey, mask)
    weight = (1.0 - grey if mass == "ink" else grey) + epsilon
    total = jnp.sum(mask * weight, axis=(-2, -1), keepdims=True)
    return jnp.log(weight) - jnp.log(jnp.where(total > 0, total, 1.0))


def _mask_or_all(mask: Array | None, image: Array) -> Array:
    return jnp.ones(image.shape[-2:], image.dtype) if mask is None else mask


def _known(image: Array, mask: Array) -> Array:
    """The image, 0 where it is unknown: there it may be anything, even NaN."""
    return jnp.where(mask > 0, image, 0.0)


def _mean(x: Array, mask: Array) -> Array:
    known = jnp.maximum(jnp.sum(mask), 1.0)
    return jnp.sum(mask * x, axis=(-2, -1)) / known


def blur(
    image: Float[Array, "*b h w"],
    mask: Float[Array, "h w"],
    widths: Sequence[float],
) -> Float[Array, "n *b h w"]:
    """Gaussian blurs of what is known of an image; the unknown has no weight.

    Args:
      image: what the mask leaves out is never read.
      mask: 1 on the known pixels, 0 elsewhere.
      widths: standard deviations in pixels; 0 leaves the image as it is.

    Returns:
      A picture for each width. At a known pixel it is the mean of the known pixels,
      weighted by the Gaussian of their distance.
    """
    known = _known(image, mask)
    return jnp.stack([_blur(known, mask, width) for width in widths])


def _blur(known: Array, mask: Array, width: float) -> Array:
    if width == 0:
        return known
    rows, columns = (_gaussian(size, width) for size in mask.shape)
    weight = rows @ mask @ columns
    return (rows @ known @ columns) / jnp.where(weight > 0, weight, 1.0)


def _gaussian(size: int, width: float) -> Float[np.ndarray, "size size"]:
    """The weight of each pixel of a line for each other."""
    distance = np.subtract.outer(np.arange(size), np.arange(size)) / width
    return np.exp(-np.square(distance) / 2).astype(np.float32)


def image_distance(
    generated: Float[Array, "*b h w"],
    target: Float[Array, "*b h w"],
    mask: Float[Array, "h w"],
    distance: Distance,
    *,
    direction: Direction = "y||G",
    mass: Mass = "ink",
    epsilon: Number = 1e-3,
) -> Float[Array, "*b"]:
    """How far generated grey pictures, or channels, are from known ones.

    Args:
      generated: G, in [0, 1].
      target: y, in [0, 1]; its unknown part is never read.
      mask: 1 on the known pixels, 0 elsewhere.
      distance: `kl`, `js`, `cross-entropy` (the three functions above), `l1` or `l2`
        (mean absolute and mean squared difference of the known pixels).
      direction: of `kl` and `cross-entropy`.
      mass: of `kl` and `js`.
      epsilon: of `kl`, `js` and `cross-entropy`.

    Returns:
      At least 0, for each pair; 0 under an empty mask.

    Raises:
      ValueError: another distance, direction or mass.
    """
    p, q = _in_direction(generated, target, direction)
    if distance == "kl":
        return kl_divergence(p, q, mask, mass=mass, epsilon=epsilon)
    if distance == "js":
        return js_divergence(p, q, mask, mass=mass, epsilon=epsilon)
    if distance == "cross-entropy":
        return pixel_cross_entropy(p, q, mask, epsilon=epsilon)
    difference = _known(p, mask) - _known(q, mask)
    if distance == "l1":
        return _mean(jnp.abs(difference), mask)
    if distance == "l2":
        return _mean(jnp.square(difference), mask)
    raise ValueError(
        f"distance must be 'kl', 'js', 'l1', 'l2' or 'cross-entropy', got {distance!r}"
    )


def _in_direction(generated: Array, target: Array, direction: Direction) -> Any:
    if direction == "y||G":
        return target, generated
    if direction == "G||y":
        return generated, target
    raise ValueError(f"direction must be 'y||G' or 'G||y', got {direction!r}")
