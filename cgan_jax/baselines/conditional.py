"""A conditional GAN of sketches and photographs, in the manner of pix2pix.

Isola, Zhu, Zhou, Efros, *Image-to-Image Translation with Conditional Adversarial
Networks* (CVPR 2017, arXiv 1611.07004): G draws the photograph of a sketch in one pass, so
that every stroke is a hard condition; nothing is searched for. Joint images hold one sketch
and its photograph. Networks and losses are those of sections 3.1, 3.2 and 6.1, with these differences:

- Strided convolutions have kernel 5, as everywhere in this package, where pix2pix has 4:
  `strided_conv` makes them fast on CPUs.
- A picture of 64 pixels has six levels, not eight, and is trained in larger batches than 1.
- Between the two innermost levels a picture is 2x2 pixels, then 1: there the layers are
  linear ones, which is what a convolution is whose other taps see padding alone.
- D's patch is 29 pixels wide (pix2pix: 70 of 256), with a logit for every 8th pixel.
- Answers are those of G's moving average, without dropout, by running averages in batch
  norm, so that an answer depends on its sketch alone; pix2pix keeps dropout, and the
  statistics of the test batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from cgan_jax import strided_conv
from cgan_jax.joint import PHOTO, Joint
from cgan_jax.models import (
    LEAK,
    GanPair,
    StridedConv,
    StridedConvTranspose,
    batch_norm,
    kernel_init,
    num_layers,
)
from cgan_jax.networks.layouts import make_layout
from cgan_jax.train_state import GanState

_DROPOUT = 0.5
_DROPPED_LAYERS = 3  # of the decoder, the innermost: up to 8x8 pixels, as in pix2pix
_MOST_WIDENED = 8  # times the base filters
_DISC_LAYERS = 3

ConvFn = Callable[[Array, Array], Array]


class UNet(nn.Module):
    """Sketches -> photographs; each level of the decoder also sees the encoder's.

    Convolution, batch norm and leaky ReLU down to one pixel; transposed convolution, batch
    norm and ReLU up again; no batch norm at the first and the innermost level; tanh last.

    Attributes:
      base_filters: channels at half of the image's size, doubled by each level up to 8
        times as many; 64 in pix2pix.
      joint: what pairs hold: one sketch and the photograph.
      dtype: type of the computation; parameters and the photograph stay float32.
      bn_decay: decay of the running averages of batch norm: of few steps, since those are
        of the moving average of G, which is quick while it is young.
      axis_name: mapped axis over which batch norm takes its statistics, if any.
      conv_fn: `strided_conv.conv`, or `strided_conv.plain_conv` for a single pass.
      conv_transpose_fn: as in `models.Generator`.
    """

    base_filters: int
    joint: Joint
    dtype: Any = jnp.float32
    bn_decay: float = 0.8
    axis_name: str | None = None
    conv_fn: ConvFn = strided_conv.conv
    conv_transpose_fn: ConvFn = strided_conv.conv_transpose

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sketch."""
        (sketch,) = self.joint.sketches
        where = self.joint.where(sketch)
        return self.joint.size, self.joint.size, where.stop - where.start

    @nn.compact
    def __call__(
        self,
        sketch: Float[Array, "n s s k"],
        train: bool,
        dropout_keys: Array | None = None,
    ) -> Float[Array, "n s s 3"]:
        """Maps the planes of sketches in [-1, 1] to photographs in [-1, 1].

        Args:
          sketch: grey, as joint images hold it; 1 is paper.
          train: batch norm uses the batch's statistics and updates the running averages
            in `batch_stats`; without, it uses these and pictures are independent.
          dropout_keys: one for each sketch; without them nothing is dropped.

        Raises:
          ValueError: the sketch has another shape.
        """
        if sketch.shape[1:] != self.input_shape:
            raise ValueError(
                f"expected sketches of {self.input_shape}, got {sketch.shape[1:]}"
            )
        widths = self._widths()
        inner, skips = self._down(sketch, widths, train)
        x = self._linear(4 * widths[-2], False, "linear_up")(nn.relu(inner))
        x = x.reshape(-1, 2, 2, widths[-2])
        for depth, level in enumerate(reversed(range(len(skips)))):
            x = batch_norm(self, train, f"up_bn_{level}")(x)
            if dropout_keys is not None and depth < _DROPPED_LAYERS:
                x = dropout(
                    x, jax.vmap(jax.random.fold_in, (0, None))(dropout_keys, depth)
                )
            x = nn.relu(jnp.concatenate([x, skips[level]], axis=-1))
            x = StridedConvTranspose(
                widths[level - 1] if level else 3,
                level == 0,
                self.dtype,
                self.conv_transpose_fn,
                name=f"up_{level}",
            )(x)
        return jnp.tanh(x.astype(jnp.float32))

    def _widths(self) -> list[int]:
        """Channels at half, a quarter, ... of the image's size, down to one pixel."""
        levels = num_layers(self.joint.size) + 2  # which stops at 4 pixels
        return [
            self.base_filters * min(1 << level, _MOST_WIDENED)
            for level in range(levels)
        ]

    def _down(
        self, sketch: Array, widths: list[int], train: bool
    ) -> tuple[Array, list[Array]]:
        """The innermost level, and the others, which the decoder joins, outermost first."""
        x, skips = sketch, []
        for level, width in enumerate(widths[:-1]):
            x = StridedConv(
                width, level == 0, self.dtype, self.conv_fn, name=f"down_{level}"
            )(x if level == 0 else nn.leaky_relu(x, LEAK))
            if level > 0:
                x = batch_norm(self, train, f"down_bn_{level}")(x)
            skips.append(x)
        x = nn.leaky_relu(x, LEAK).reshape(len(x), -1)
        return self._linear(widths[-1], True, "linear_down")(x), skips

    def _linear(self, width: int, use_bias: bool, name: str) -> nn.Dense:
        return nn.Dense(
            width, use_bias, dtype=self.dtype, kernel_init=kernel_init, name=name
        )


def dropout(x: Float[Array, "n h w c"], keys: Array) -> Float[Array, "n h w c"]:
    """Each picture by its own key: half of its numbers doubled, the others 0."""

    def drop(x: Array, key: Array) -> Array:
        kept = jax.random.bernoulli(key, 1.0 - _DROPOUT, x.shape)
        return jnp.where(kept, x / (1.0 - _DROPOUT), 0.0)

    return jax.vmap(drop)(x, keys)


class PatchDiscriminator(nn.Module):
    """Pairs -> logits of being real, one for each patch: the PatchGAN.

    Sketch and photograph are channels of one picture, so that a logit is of a photograph
    in the place of its sketch. Three strided convolutions and a linear unit at
    each pixel of what they leave: a patch is 29 pixels wide, one for every 8th pixel.

    Attributes:
      base_filters: channels after the first convolution, doubled by each; 64 in pix2pix.
      joint: what pairs hold.

    The others are as in `models.Discriminator`.
    """

    base_filters: int
    joint: Joint
    dtype: Any = jnp.float32
    bn_decay: float = 0.9
    axis_name: str | None = None
    conv_fn: ConvFn = strided_conv.conv

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one joint image."""
        return self.joint.shape

    @nn.compact
    def __call__(
        self, planes: Float[Array, "n s s c"], train: bool
    ) -> Float[Array, "n p p"]:
        """Maps joint images in [-1, 1] to logits of patches.

        Raises:
          ValueError: the image has another size.
        """
        if planes.shape[1:] != self.input_shape:
            raise ValueError(
                f"expected {self.input_shape}, got image {planes.shape[1:]}"
            )
        x = planes
        for i in range(_DISC_LAYERS):
            x = StridedConv(
                self.base_filters << i,
                i == 0,
                self.dtype,
                self.conv_fn,
                name=f"conv_{i}",
            )(x)
            if i > 0:
                x = batch_norm(self, train, f"bn_{i}")(x)
            x = nn.leaky_relu(x, LEAK)
        logit = nn.Dense(1, kernel_init=kernel_init, name="linear")
        return logit(x.astype(jnp.float32))[..., 0]


def make_models(
    *,
    base_filters: int,
    height: int,
    dtype: Any = jnp.float32,
    layout: str = "halves",
    styles: Sequence[str] = ("sketch",),
    axis_name: str | None = None,
) -> GanPair:
    """The generator and discriminator of one model.

    Args:
      height: side of sketches and photographs, in pixels.
      layout: with `halves` a sketch has three equal planes, with `planes` one.
      styles: of the sketches; of several, a pair has one, called `sketch`.

    The others are as in `UNet`.

    Raises:
      ValueError: there is no such layout, or no style.
    """
    sketch = styles if len(styles) == 1 else ("sketch",) * bool(styles)
    joint = make_layout(layout, height, sketch).joint
    dtype = jnp.dtype(dtype)
    return GanPair(
        UNet(base_filters, joint, dtype, axis_name=axis_name),
        PatchDiscriminator(base_filters, joint, dtype, axis_name=axis_name),
    )


def arguments(config: Any) -> dict[str, Any]:
    """The arguments of `make_models` for a config, a ConfigDict or a dict."""
    names = ("base_filters", "height", "dtype", "layout")
    model = {name: config["model"][name] for name in names}
    return model | {"styles": config["data"]["style"].split(",")}


def sketches_of(gen: UNet, planes: Float[Any, "n s s c"]) -> Float[Any, "n s s k"]:
    """What G takes of joint images: the planes of their sketches."""
    (sketch,) = gen.joint.sketches
    return planes[..., gen.joint.where(sketch)]


def with_photo(
    gen: UNet, planes: Float[Array, "n s s c"], photo: Float[Array, "n s s 3"]
) -> Float[Array, "n s s c"]:
    """Joint images with other photographs."""
    return planes.at[..., gen.joint.where(PHOTO)].set(photo)


def averaged_variables(state: GanState) -> GanPair:
    """What is published: averaged G with its statistics, raw D."""
    gen = {"params": state.ema_params, "batch_stats": state.batch_stats.gen}
    disc = {"params": state.params.disc, "batch_stats": state.batch_stats.disc}
    return GanPair(gen, disc)


@functools.partial(jax.jit, static_argnums=0)
def draw_each(
    gen: UNet, variables: Any, sketch: Float[Array, "n s s k"]
) -> Float[Array, "n s s 3"]:
    """Photographs of sketches in [-1, 1]; each depends on its own sketch to the bit.

    Without dropout, by running averages, in a form that compiles at once.
    """
    once = gen.clone(
        conv_fn=strided_conv.plain_conv,
        conv_transpose_fn=strided_conv.phase_conv_transpose,
    )
    # One after the other: in one batch, rounding would depend on the place in it.
    return lax.map(lambda x: once.apply(variables, x[None], train=False)[0], sketch)
