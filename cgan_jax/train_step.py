"""One update of D, then one of G: pure, without I/O or configuration."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from cgan_jax.augment import AUGMENTATIONS, augment
from cgan_jax.joint import Joint
from cgan_jax.losses import discriminator_loss, generator_loss, r1_penalty
from cgan_jax.models import GanPair, Generator, sample_z
from cgan_jax.train_state import GanState

Metrics = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How G and D are trained; `configs/default.py` has the sources and the defaults.

    Of a field that older configs lack the default is what was done then.

    Attributes:
      ema_decay: decay of G's moving average a step, in [0, 1).
      gen_updates: updates of G for one of D; each has latents of its own.
      real_label: what D should say of real images, above 0 and at most 1.
      r1_gamma: weight of R1, twice that of the mean squared slope; 0 is off.
      r1_every_steps: R1 is taken in one step of so many, times this number.
      diffaugment: names of `augment.AUGMENTATIONS`, separated by commas; "" is off.
      stroke_blur: blur of all sketches that D sees, standard deviation in pixels.
      stroke_noise: noise on all sketches that D sees, standard deviation on [-1, 1].
      inner_noise: standard deviation of random offsets of G's inner layers, in units of
        each channel's; see `models.Generator`. They are drawn for every generated image, so
        that what a search inside G moves was moved in training, too.
      inner_layers: how many inner layers have them, the coarsest first.
    """

    ema_decay: float
    gen_updates: int
    real_label: float
    r1_gamma: float
    r1_every_steps: int
    diffaugment: str
    stroke_blur: float
    stroke_noise: float
    inner_noise: float = 0.0
    inner_layers: int = 3

    @classmethod
    def of(cls, fields: Any) -> Recipe:
        """The recipe among the fields of `config.train`, a ConfigDict or a dict.

        Raises:
          ValueError: a value is out of its range; the field is named.
        """
        names = {f.name for f in dataclasses.fields(cls)}
        recipe = cls(**{name: fields[name] for name in fields if name in names})
        recipe._check()
        return recipe

    @property
    def policy(self) -> tuple[str, ...]:
        """The names in `diffaugment`."""
        return tuple(name for name in self.diffaugment.split(",") if name)

    def _check(self) -> None:
        for field, right, range_ in (
            ("ema_decay", 0 <= self.ema_decay < 1, "from 0 to below 1"),
            ("gen_updates", self.gen_updates >= 1, "at least 1"),
            ("real_label", 0 < self.real_label <= 1, "above 0 and at most 1"),
            ("r1_gamma", self.r1_gamma >= 0, "at least 0"),
            ("r1_every_steps", self.r1_every_steps >= 1, "at least 1"),
            (
                "diffaugment",
                set(self.policy) <= set(AUGMENTATIONS),
                f"of {','.join(AUGMENTATIONS)}",
            ),
            ("stroke_blur", self.stroke_blur >= 0, "at least 0"),
            ("stroke_noise", self.stroke_noise >= 0, "at least 0"),
            ("inner_noise", self.inner_noise >= 0, "at least 0"),
            ("inner_layers", self.inner_layers >= 1, "at least 1"),
        ):
            if not right:
                value = getattr(self, field)
                raise ValueError(
                    f"config.train.{field} is {value!r}: it must be {range_}"
                )


def train_step(
    state: GanState,
    joint: Float[Array, "n s s c"],
    key: Array,
    *,
    models: GanPair,
    tx: GanPair,
    recipe: Recipe,
    axis_name: str | None = None,
) -> tuple[GanState, Metrics]:
    """Updates D on real and generated images, then G against the new D.

    D's update and G's first see the same latents: G has not changed between them, so that
    its forward pass is made once. D's running averages follow the real batch, then the
    fake batch, in D's update only; G's follow each of its forward passes.

    Args:
      state: before the update.
      joint: this device's real joint images, in [-1, 1].
      key: key of the run; the step's own key is folded in here.
      models: G and D.
      tx: optimizers of G and D.
      recipe: what is done to keep the training stable.
      axis_name: mapped axis of the devices, if any; gradients are averaged over it.

    Returns:
      The state after the update, and scalar metrics of the global batch; those of G are of
      its last update.
    """
    key = jax.random.fold_in(key, state.step)
    real_key, fake_key, *gen_keys = jax.random.split(
        jax.random.fold_in(key, 0), 2 + recipe.gen_updates
    )
    see = functools.partial(
        as_seen, joint=models.gen.joint, recipe=recipe, axis_name=axis_name
    )
    local_batch = joint.shape[0]

    gen_params, gen_opt = state.params.gen, state.opt_state.gen
    draw = functools.partial(
        _local_latents,
        local_batch=local_batch,
        gen=models.gen,
        recipe=recipe,
        axis_name=axis_name,
    )
    fake, gen_vjp, gen_stats = _forward_generator(
        gen_params, state.batch_stats.gen, draw(key), models
    )
    disc_params, disc_opt, disc_stats, disc_metrics = update_discriminator(
        state,
        see(joint, real_key),
        see(fake, fake_key),
        models,
        tx,
        recipe,
        axis_name,
    )
    for i, gen_key in enumerate(gen_keys):
        z_key, seen_key = jax.random.split(gen_key)
        if i > 0:
            fake, gen_vjp, gen_stats = _forward_generator(
                gen_params, gen_stats, draw(z_key), models
            )

        def loss_fn(fake: Array, seen_key: Array = seen_key) -> Array:
            seen = see(fake, seen_key)
            return generator_loss(judge(disc_params, disc_stats, seen, models)[0])

        gen_params, gen_opt, gen_metrics = update_generator(
            gen_params, gen_opt, fake, gen_vjp, loss_fn, tx, axis_name
        )
    new_state = GanState(
        step=state.step + 1,
        params=GanPair(gen_params, disc_params),
        batch_stats=GanPair(gen_stats, disc_stats),
        opt_state=GanPair(gen_opt, disc_opt),
        ema_params=update_ema(
            state.ema_params, gen_params, recipe.ema_decay, state.step
        ),
    )
    return new_state, mean_over_devices(gen_metrics | disc_metrics, axis_name)


def _local_latents(
    key: Array,
    *,
    local_batch: int,
    gen: Generator,
    recipe: Recipe,
    axis_name: str | None,
) -> tuple[Float[Array, "n z"], list[Float[Array, "n _ _ _"]]]:
    """This device's part of the latents and offsets drawn for the global batch."""

    def draw_z(n: int) -> Array:
        return sample_z(key, n, gen.z_dim)

    z = local_rows(draw_z, local_batch, axis_name)
    if not recipe.inner_noise:
        return z, []
    noise_key = jax.random.fold_in(key, 1)
    keys = local_rows(lambda n: jax.random.split(noise_key, n), local_batch, axis_name)

    def noise(key: Array, i: int) -> Array:
        shape = gen.inner_shapes[i]
        return recipe.inner_noise * jax.random.normal(jax.random.fold_in(key, i), shape)

    layers = range(min(recipe.inner_layers, len(gen.inner_shapes)))
    return z, [jax.vmap(noise, (0, None))(keys, i) for i in layers]


def local_rows(
    draw: Callable[[int], Array], local_batch: int, axis_name: str | None
) -> Array:
    """This device's rows of what `draw` gives for the global batch."""
    if axis_name is None:
        return draw(local_batch)
    rows = draw(local_batch * lax.axis_size(axis_name))
    start = lax.axis_index(axis_name) * local_batch
    return lax.dynamic_slice_in_dim(rows, start, local_batch)


def as_seen(
    planes: Float[Array, "n s s c"],
    key: Array,
    *,
    joint: Joint,
    recipe: Recipe,
    axis_name: str | None,
) -> Float[Array, "n s s c"]:
    """Joint images as D sees them, each by the key of its row in the global batch."""
    keys = local_rows(lambda n: jax.random.split(key, n), len(planes), axis_name)
    return augment(
        planes,
        keys,
        joint=joint,
        policy=recipe.policy,
        stroke_blur=recipe.stroke_blur,
        stroke_noise=recipe.stroke_noise,
    )


def _forward_generator(
    params: Any, stats: Any, latents: tuple[Array, Sequence[Array]], models: GanPair
) -> tuple[Array, Any, Any]:
    """Generated images, the map from their gradient to the parameters', statistics."""

    z, offsets = latents

    def forward(params: Any) -> tuple[Array, Any]:
        variables = {"params": params, "batch_stats": stats}
        fake, updated = models.gen.apply(
            variables, z, True, offsets, mutable=["batch_stats"]
        )
        return fake, updated["batch_stats"]

    return jax.vjp(forward, params, has_aux=True)


def update_discriminator(
    state: GanState,
    real: Array,
    fake: Array,
    models: GanPair,
    tx: GanPair,
    recipe: Recipe,
    axis_name: str | None,
) -> tuple[Any, Any, Any, Metrics]:
    """One update of D on real and generated images as it sees them.

    Returns:
      Its parameters, optimizer state and statistics, and metrics of this device.
    """

    def loss_fn(params: Any) -> tuple[Array, Any]:
        stats = state.batch_stats.disc
        real_logits, stats = judge(params, stats, real, models)
        fake_logits, stats = judge(params, stats, fake, models)
        loss = discriminator_loss(
            real_logits, fake_logits, real_label=recipe.real_label
        )
        metrics = {
            "disc_loss": loss,
            "disc_accuracy_real": jnp.mean(real_logits > 0),
            "disc_accuracy_fake": jnp.mean(fake_logits < 0),
        }
        if recipe.r1_gamma:
            loss += _r1(params, state, real, models, recipe)
        return loss, (stats, metrics)

    params = state.params.disc
    grads, (stats, metrics) = jax.grad(loss_fn, has_aux=True)(params)
    grads = mean_over_devices(grads, axis_name)
    updates, opt_state = tx.disc.update(grads, state.opt_state.disc, params)
    metrics["disc_grad_norm"] = optax.tree.norm(grads)
    return optax.apply_updates(params, updates), opt_state, stats, metrics


def _r1(
    params: Any, state: GanState, real: Array, models: GanPair, recipe: Recipe
) -> Array:
    """R1, now and then (Karras et al. 2020, section 3.1) and then the stronger."""

    def penalty() -> Array:
        def logits_fn(x: Array) -> Array:
            return judge(params, state.batch_stats.disc, x, models)[0]

        weight = recipe.r1_gamma / 2 * recipe.r1_every_steps
        return weight * r1_penalty(logits_fn, real)

    if recipe.r1_every_steps == 1:
        return penalty()
    is_due = state.step % recipe.r1_every_steps == 0
    return lax.cond(is_due, penalty, lambda: jnp.zeros(()))


def judge(params: Any, stats: Any, joint: Array, models: GanPair) -> tuple[Array, Any]:
    """D's logits of a batch of joint images, and its statistics after it."""
    logits, updated = models.disc.apply(
        {"params": params, "batch_stats": stats},
        joint,
        train=True,
        mutable=["batch_stats"],
    )
    return logits, updated.get("batch_stats", {})


def update_generator(
    params: Any,
    opt_state: Any,
    fake: Array,
    gen_vjp: Any,
    loss_fn: Callable[[Array], Array],
    tx: GanPair,
    axis_name: str | None,
) -> tuple[Any, Any, Metrics]:
    """One update of G by a loss of its images, whose gradient `gen_vjp` takes further.

    Returns:
      Its parameters and optimizer state, and metrics of this device.
    """
    loss, fake_grads = jax.value_and_grad(loss_fn)(fake)
    (grads,) = gen_vjp(fake_grads)
    grads = mean_over_devices(grads, axis_name)
    updates, opt_state = tx.gen.update(grads, opt_state, params)
    metrics = {"gen_loss": loss, "gen_grad_norm": optax.tree.norm(grads)}
    return optax.apply_updates(params, updates), opt_state, metrics


def update_ema(ema: Any, params: Any, decay: float, step: Array) -> Any:
    """Moving average; early on the window is a tenth of the steps done."""
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return optax.incremental_update(params, ema, 1.0 - kept)


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """The mean over the mapped axis, if there is one."""
    return tree if axis_name is None else lax.pmean(tree, axis_name)
