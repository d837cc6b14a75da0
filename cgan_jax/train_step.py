"""One update of D, then one of G: pure, without I/O or configuration."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from cgan_jax.losses import discriminator_loss, generator_loss
from cgan_jax.models import GanPair, sample_z
from cgan_jax.train_state import GanState

Metrics = dict[str, Array]


def train_step(
    state: GanState,
    joint: Float[Array, "n h w 3"],
    key: Array,
    *,
    models: GanPair,
    tx: GanPair,
    ema_decay: float,
    axis_name: str | None = None,
) -> tuple[GanState, Metrics]:
    """Updates D on real and generated images, then G against the new D.

    Both updates see the same latents: G has not changed between them, so that its forward
    pass is made once. D's running averages follow the real batch, then the fake batch,
    in D's update only; G's follow its only forward pass.

    Args:
      state: before the update.
      joint: this device's real joint images, in [-1, 1].
      key: key of the run; the step's own key is folded in here.
      models: G and D.
      tx: optimizers of G and D.
      ema_decay: decay of G's moving average, in [0, 1).
      axis_name: mapped axis of the devices, if any; gradients are averaged over it.

    Returns:
      The state after the update, and scalar metrics of the global batch.
    """
    z = _local_z(jax.random.fold_in(key, state.step), joint.shape[0], models, axis_name)
    fake, gen_vjp, gen_stats = _forward_generator(state, z, models)
    disc_params, disc_opt, disc_stats, disc_metrics = _update_discriminator(
        state, joint, fake, models, tx, axis_name
    )
    gen_params, gen_opt, gen_metrics = _update_generator(
        state, disc_params, disc_stats, fake, gen_vjp, models, tx, axis_name
    )
    new_state = GanState(
        step=state.step + 1,
        params=GanPair(gen_params, disc_params),
        batch_stats=GanPair(gen_stats, disc_stats),
        opt_state=GanPair(gen_opt, disc_opt),
        ema_params=_update_ema(state.ema_params, gen_params, ema_decay, state.step),
    )
    return new_state, _mean_over_devices(gen_metrics | disc_metrics, axis_name)


def _local_z(
    key: Array, local_batch: int, models: GanPair, axis_name: str | None
) -> Float[Array, "n z"]:
    """This device's part of the latents drawn for the global batch."""
    if axis_name is None:
        return sample_z(key, local_batch, models.gen.z_dim)
    z = sample_z(key, local_batch * lax.axis_size(axis_name), models.gen.z_dim)
    start = lax.axis_index(axis_name) * local_batch
    return lax.dynamic_slice_in_dim(z, start, local_batch)


def _forward_generator(
    state: GanState, z: Array, models: GanPair
) -> tuple[Array, Any, Any]:
    """Generated images, the map from their gradient to the parameters', statistics."""

    def forward(params: Any) -> tuple[Array, Any]:
        variables = {"params": params, "batch_stats": state.batch_stats.gen}
        fake, updated = models.gen.apply(
            variables, z, train=True, mutable=["batch_stats"]
        )
        return fake, updated["batch_stats"]

    return jax.vjp(forward, state.params.gen, has_aux=True)


def _update_discriminator(
    state: GanState,
    real: Array,
    fake: Array,
    models: GanPair,
    tx: GanPair,
    axis_name: str | None,
) -> tuple[Any, Any, Any, Metrics]:
    def loss_fn(params: Any) -> tuple[Array, Any]:
        stats = state.batch_stats.disc
        real_logits, stats = _judge(params, stats, real, models)
        fake_logits, stats = _judge(params, stats, fake, models)
        loss = discriminator_loss(real_logits, fake_logits)
        metrics = {
            "disc_loss": loss,
            "disc_accuracy_real": jnp.mean(real_logits > 0),
            "disc_accuracy_fake": jnp.mean(fake_logits < 0),
        }
        return loss, (stats, metrics)

    params = state.params.disc
    grads, (stats, metrics) = jax.grad(loss_fn, has_aux=True)(params)
    grads = _mean_over_devices(grads, axis_name)
    updates, opt_state = tx.disc.update(grads, state.opt_state.disc, params)
    metrics["disc_grad_norm"] = optax.tree.norm(grads)
    return optax.apply_updates(params, updates), opt_state, stats, metrics


def _judge(params: Any, stats: Any, joint: Array, models: GanPair) -> tuple[Array, Any]:
    logits, updated = models.disc.apply(
        {"params": params, "batch_stats": stats},
        joint,
        train=True,
        mutable=["batch_stats"],
    )
    return logits, updated["batch_stats"]


def _update_generator(
    state: GanState,
    disc_params: Any,
    disc_stats: Any,
    fake: Array,
    gen_vjp: Any,
    models: GanPair,
    tx: GanPair,
    axis_name: str | None,
) -> tuple[Any, Any, Metrics]:
    def loss_fn(fake: Array) -> Array:
        return generator_loss(_judge(disc_params, disc_stats, fake, models)[0])

    loss, fake_grads = jax.value_and_grad(loss_fn)(fake)
    (grads,) = gen_vjp(fake_grads)
    grads = _mean_over_devices(grads, axis_name)
    params = state.params.gen
    updates, opt_state = tx.gen.update(grads, state.opt_state.gen, params)
    metrics = {"gen_loss": loss, "gen_grad_norm": optax.tree.norm(grads)}
    return optax.apply_updates(params, updates), opt_state, metrics


def _update_ema(ema: Any, params: Any, decay: float, step: Array) -> Any:
    """Moving average; early on the window is a tenth of the steps done."""
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return optax.incremental_update(params, ema, 1.0 - kept)


def _mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.pmean(tree, axis_name)
