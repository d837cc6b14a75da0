"""Everything that a training step changes."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array

from cgan_jax.models import GanPair


class GanState(struct.PyTreeNode):
    """State of training; a pytree, the same on every device.

    Attributes:
      step: updates done, int32 scalar.
      params: parameters of G and D.
      batch_stats: running averages of G and D, or what D's norm keeps in their place.
      opt_state: optimizer states of G and D.
      ema_params: exponential moving average of G's parameters.
    """

    step: Any  # while JAX or orbax maps over the state, a leaf may be anything
    params: GanPair
    batch_stats: GanPair
    opt_state: GanPair
    ema_params: Any


def make_tx(learning_rate: float, beta1: float) -> GanPair:
    """Adam for G and for D; DCGAN's beta1 of 0.5 is usual."""
    tx = optax.adam(learning_rate, b1=beta1)
    return GanPair(tx, tx)


@functools.partial(jax.jit, static_argnums=(0, 1))
def create_state(models: GanPair, tx: GanPair, key: Array) -> GanState:
    """Initial parameters, statistics and optimizer states; the EMA starts at G."""
    key_gen, key_disc, _ = jax.random.split(key, 3)
    gen, disc = (
        model.init(key, jnp.zeros((2, *model.input_shape)), train=False)
        for model, key in zip(models, (key_gen, key_disc), strict=True)
    )
    return state_from_variables(gen, disc, tx)


def state_from_variables(gen: Any, disc: Any, tx: GanPair) -> GanState:
    """A state at step 0 that starts from the given variables of G and D."""
    return GanState(
        step=jnp.zeros((), jnp.int32),
        params=GanPair(gen["params"], disc["params"]),
        # A D without a norm has no statistics.
        batch_stats=GanPair(gen["batch_stats"], disc.get("batch_stats", {})),
        opt_state=GanPair(tx.gen.init(gen["params"]), tx.disc.init(disc["params"])),
        # A copy: a donated state may not hold one buffer twice.
        ema_params=jax.tree.map(jnp.copy, gen["params"]),
    )
