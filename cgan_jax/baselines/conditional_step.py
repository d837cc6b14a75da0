"""One update of a conditional GAN's D, then one of its G: pure."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cgan_jax.baselines.conditional import sketches_of, with_photo
from cgan_jax.joint import PHOTO, Joint
from cgan_jax.losses import generator_loss
from cgan_jax.models import GanPair
from cgan_jax.train_state import GanState
from cgan_jax.train_step import (
    Metrics,
    Recipe,
    as_seen,
    judge,
    local_rows,
    mean_over_devices,
    update_discriminator,
    update_ema,
    update_generator,
)


def train_step(
    state: GanState,
    joint: Float[Array, "n s s c"],
    key: Array,
    *,
    models: GanPair,
    tx: GanPair,
    recipe: Recipe,
    l1_weight: float,
    axis_name: str | None = None,
) -> tuple[GanState, Metrics]:
    """Updates D on true and drawn photographs beside their sketches, then G against it.

    As `train_step.train_step`, with two differences. G's input is the sketch, and dropout
    the only noise. `batch_stats.gen` are the running averages of what is published, the
    moving average of G without dropout: in training G needs none, and those of other
    weights, under dropout, would not fit. pix2pix halves D's loss, which Adam would undo.

    Args:
      state: before the update.
      joint: this device's pairs, in [-1, 1].
      key: key of the run; the step's own key is folded in here.
      models: G and D.
      tx: optimizers of G and D.
      recipe: what is done to keep the training stable; G is updated once for D.
      l1_weight: lambda of `pair_loss`.
      axis_name: mapped axis of the devices, if any; gradients are averaged over it.

    Returns:
      The state after the update, and scalar metrics of the global batch.
    """
    drop_key, *seen_keys = jax.random.split(jax.random.fold_in(key, state.step), 4)
    see = functools.partial(
        as_seen, joint=models.gen.joint, recipe=recipe, axis_name=axis_name
    )
    real_seen, fake_seen, gen_seen = (
        functools.partial(see, key=seen_key) for seen_key in seen_keys
    )
    fake, gen_vjp = _forward_generator(state, joint, drop_key, models, axis_name)
    disc_params, disc_opt, disc_stats, disc_metrics = update_discriminator(
        state, real_seen(joint), fake_seen(fake), models, tx, recipe, axis_name
    )

    def loss_fn(fake: Array) -> Array:
        logits, _ = judge(disc_params, disc_stats, gen_seen(fake), models)
        return pair_loss(logits, l1_distance(fake, joint, models.gen.joint), l1_weight)

    gen_params, gen_opt, gen_metrics = update_generator(
        state.params.gen, state.opt_state.gen, fake, gen_vjp, loss_fn, tx, axis_name
    )
    ema_params = update_ema(state.ema_params, gen_params, recipe.ema_decay, state.step)
    new_state = GanState(
        step=state.step + 1,
        params=GanPair(gen_params, disc_params),
        batch_stats=GanPair(_stats(state, ema_params, joint, models), disc_stats),
        opt_state=GanPair(gen_opt, disc_opt),
        ema_params=ema_params,
    )
    l1 = {"gen_l1": l1_distance(fake, joint, models.gen.joint)}
    return new_state, mean_over_devices(gen_metrics | disc_metrics | l1, axis_name)


def pair_loss(
    fake_logits: Float[Array, "*n"], l1: Float[Array, ""], l1_weight: float
) -> Float[Array, ""]:
    """G* of pix2pix, equation 4: adversarial loss + lambda L1, for G alone.

    Args:
      fake_logits: D of the patches of drawn pairs, before the sigmoid.
      l1: `l1_distance` of the drawn pairs.
      l1_weight: lambda; 100 in section 4.2.

    Returns:
      Scalar, at least 0; the adversarial part in its non-saturating form, -log D.
    """
    return generator_loss(fake_logits) + l1_weight * l1


def l1_distance(
    fake: Float[Array, "n s s c"], true: Float[Array, "n s s c"], joint: Joint
) -> Float[Array, ""]:
    """Mean absolute difference of the photographs; pix2pix, equation 3."""
    return jnp.abs(joint.part(fake, PHOTO) - joint.part(true, PHOTO)).mean()


def _forward_generator(
    state: GanState,
    joint: Array,
    drop_key: Array,
    models: GanPair,
    axis_name: str | None,
) -> tuple[Array, Any]:
    """Drawn pairs, and the map from their gradient to the parameters'."""
    sketch = sketches_of(models.gen, joint)

    def draw_keys(n: int) -> Array:
        return jax.random.split(drop_key, n)

    keys = local_rows(draw_keys, len(joint), axis_name)

    def forward(params: Any) -> Array:
        variables = {"params": params, "batch_stats": state.batch_stats.gen}
        photo, _ = models.gen.apply(
            variables, sketch, train=True, dropout_keys=keys, mutable=["batch_stats"]
        )
        return with_photo(models.gen, joint, photo)

    return jax.vjp(forward, state.params.gen)


def _stats(state: GanState, ema_params: Any, joint: Array, models: GanPair) -> Any:
    """The running averages of averaged G, without dropout, after one more batch."""
    variables = {"params": ema_params, "batch_stats": state.batch_stats.gen}
    _, updated = models.gen.apply(
        variables, sketches_of(models.gen, joint), train=True, mutable=["batch_stats"]
    )
    return updated["batch_stats"]
