"""Generator, discriminator and encoder of joint images, as pure linen modules.

The network is Figure 2 of the paper: with side-by-side halves of 64 pixels the generator
is linear -> 4x8x512, then four transposed convolutions; the discriminator mirrors it. Other
sizes keep the grid of 4x8 (of planes: 4x4) and change the number of layers: 32 has three,
128 has five.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from cgan_jax import strided_conv
from cgan_jax.joint import Joint
from cgan_jax.networks.layouts import Layout, make_layout

_GRID = 4  # height where the convolutions start
LEAK = 0.2
kernel_init = nn.initializers.normal(0.02)

# What keeps D's activations in bounds: batch norm from the second convolution on, or
# every kernel divided by its largest singular value, or nothing.
DiscNorm = Literal["batch", "spectral", "none"]


def _scale_init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
    """Batch norm scales: normal(1, 0.02)."""
    return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)


class GanPair(NamedTuple):
    """One value for the generator and one for the discriminator."""

    gen: Any
    disc: Any


class TrainedEncoder(NamedTuple):
    """An encoder that is ready for use.

    Attributes:
      module: the network.
      params: its parameters.
    """

    module: Encoder
    params: Any


def num_layers(height: int) -> int:
    """Number of stride-2 layers of a picture of this height.

    Raises:
      ValueError: height is not 8, 16, 32, ...
    """
    layers = (height // _GRID).bit_length() - 1
    if layers < 1 or _GRID << layers != height:
        raise ValueError(f"image height must be 8, 16, 32, 64, ...; got {height}")
    return layers


class StridedConv(nn.Module):
    """Stride-2 convolution: `(n, 2h, 2w, c)` -> `(n, h, w, features)`."""

    features: int
    use_bias: bool
    dtype: Any = jnp.float32
    conv_fn: Callable[[Array, Array], Array] = strided_conv.conv
    kernel_size: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init, shape).astype(self.dtype)
        y = self.conv_fn(x.astype(self.dtype), kernel)
        return _add_bias(self, y) if self.use_bias else y


class StridedConvTranspose(nn.Module):
    """Transposed convolution: `(n, h, w, c)` -> `(n, 2h, 2w, features)`."""

    features: int
    use_bias: bool
    dtype: Any = jnp.float32
    conv_fn: Callable[[Array, Array], Array] = strided_conv.conv_transpose
    kernel_size: int = 5

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        kernel = self.param("kernel", kernel_init, shape).astype(self.dtype)
        y = self.conv_fn(x.astype(self.dtype), kernel)
        return _add_bias(self, y) if self.use_bias else y


def _add_bias(module: nn.Module, y: Array) -> Array:
    """In float32, as its gradient, a sum over the batch, must be; back to the type of y."""
    bias = module.param("bias", nn.initializers.zeros, (y.shape[-1],))
    return (y.astype(jnp.float32) + bias).astype(y.dtype)


class Logit(nn.Module):
    """One linear unit, in float32: `(n, c)` -> `(n,)`.

    A sum for each row, since a matrix product with one column rounds a row differently
    at another place in the batch.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "n c"]) -> Float[Array, " n"]:
        kernel = self.param("kernel", kernel_init, (x.shape[-1], 1))
        products = x.astype(jnp.float32) * kernel[:, 0]
        return products.sum(-1) + self.param("bias", nn.initializers.zeros, (1,))


class Generator(nn.Module):
    """Latents -> joint images in [-1, 1]; batch norm and ReLU between, tanh last.

    The feature maps after each ReLU, the *inner layers*, can be moved by offsets, in units
    of the standard deviation of each channel over G's own samples: Daras et al. 2021,
    *Intermediate Layer Optimization* (arXiv 2102.07364), search there for what no z
    reaches. These deviations are the collection `spread`, which `recompute_statistics`
    fills.

    Attributes:
      base_filters: channels before the last layer; 64 in the paper.
      z_dim: size of the latent; 100 in the paper.
      layout: what its joint images hold, and how it folds them.
      dtype: type of the computation; parameters and the image stay float32.
      bn_decay: decay of the running averages of batch norm.
      axis_name: mapped axis over which batch norm takes its statistics, if any.
      conv_fn: `strided_conv.conv_transpose`, or `strided_conv.phase_conv_transpose` for
        passes of few images without gradients.
      kernel_size: of the transposed convolutions; 5 in the paper.
    """

    base_filters: int
    z_dim: int
    layout: Layout
    dtype: Any = jnp.float32
    bn_decay: float = 0.9
    axis_name: str | None = None
    conv_fn: Callable[[Array, Array], Array] = strided_conv.conv_transpose
    kernel_size: int = 5

    @property
    def joint(self) -> Joint:
        """What its joint images hold."""
        return self.layout.joint

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one latent."""
        return (self.z_dim,)

    @property
    def inner_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of the feature maps of one image: the inner layers, coarse to fine."""
        layers = num_layers(self.joint.size)
        (rows, columns), widest = self.layout.grid, self.base_filters << (layers - 1)
        return tuple((rows << i, columns << i, widest >> i) for i in range(layers))

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "n z"],
        train: bool,
        offsets: Sequence[Float[Array, "n _ _ _"]] = (),
    ) -> Float[Array, "n s s c"]:
        """Maps z in [-1, 1], shape `(n, z_dim)`, to joint images.

        With `train`, batch norm uses the batch's statistics and updates the running
        averages in `batch_stats`; without, it uses these and images are independent.

        Args:
          z: latents.
          train: see above; the units of the offsets then are those of the batch, too.
          offsets: of the first inner layers, as many as there are arrays.

        Raises:
          ValueError: z is not `z_dim` wide, or there are more offsets than inner layers.
        """
        if z.shape[-1] != self.z_dim:
            raise ValueError(f"z is {z.shape[-1]} wide, z_dim is {self.z_dim}")
        shapes = self.inner_shapes
        if len(offsets) > len(shapes):
            raise ValueError(f"{len(offsets)} offsets for {len(shapes)} inner layers")
        for i, (_, _, channels) in enumerate(shapes):
            if i == 0:
                x = self._linear(z, shapes[0])
            else:
                x = self._deconv(channels, False, i)(x)
            x = nn.relu(batch_norm(self, train, f"bn_{i}")(x))
            x = self._moved(x, i, train, offsets)
        x = self._deconv(self.layout.channels, True, len(shapes))(x)
        return self.layout.to_planes(jnp.tanh(x.astype(jnp.float32)))

    def _linear(self, z: Array, shape: tuple[int, int, int]) -> Array:
        linear = nn.Dense(
            math.prod(shape),
            use_bias=False,
            kernel_init=kernel_init,
            dtype=self.dtype,
            name="linear",
        )
        return linear(z).reshape(-1, *shape)

    def _deconv(self, features: int, use_bias: bool, i: int) -> StridedConvTranspose:
        return StridedConvTranspose(
            features,
            use_bias,
            self.dtype,
            self.conv_fn,
            self.kernel_size,
            name=f"deconv_{i}",
        )

    def _moved(
        self, x: Array, i: int, train: bool, offsets: Sequence[Array]
    ) -> Float[Array, "n h w c"]:
        """An inner layer with its offsets; where it may, it stores their unit."""
        name, is_moved = f"std_{i}", i < len(offsets)
        stores = train and self.is_mutable_collection("spread")
        if not (is_moved or stores):
            return x
        if train:
            std = lax.stop_gradient(_channel_std(x, self.axis_name))
        else:
            std = self.get_variable("spread", name)
        if stores:
            self.put_variable("spread", name, std)
        return x + (std * offsets[i]).astype(x.dtype) if is_moved else x


def _channel_std(x: Array, axis_name: str | None) -> Float[Array, " c"]:
    """Standard deviation of each channel, over the mapped axis too."""
    x = x.astype(jnp.float32)
    mean, square = x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))
    if axis_name is not None:
        mean, square = lax.pmean((mean, square), axis_name)
    return jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0.0))


class Discriminator(nn.Module):
    """Joint images -> logits of being real.

    Attributes:
      conv_fn: `strided_conv.conv`, or `strided_conv.plain_conv` for a single pass.
      norm: `batch`, as in the paper; `spectral`, Miyato et al. 2018, in its place: one
        power iteration a training pass, its vectors beside the statistics in
        `batch_stats`; or `none`.

    The others are as in `Generator`.
    """

    base_filters: int
    layout: Layout
    dtype: Any = jnp.float32
    bn_decay: float = 0.9
    axis_name: str | None = None
    conv_fn: Callable[[Array, Array], Array] = strided_conv.conv
    norm: str = "batch"
    kernel_size: int = 5

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one joint image."""
        return self.layout.joint.shape

    @nn.compact
    def __call__(self, x: Float[Array, "n s s c"], train: bool) -> Float[Array, " n"]:
        """Maps joint images in [-1, 1] to `(n,)` logits.

        Raises:
          ValueError: the image has another size.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"expected {self.input_shape}, got image {x.shape[1:]}")
        x = self.layout.to_image(x)
        for i in range(num_layers(self.layout.joint.size)):
            conv = StridedConv(
                self.base_filters << i,
                i == 0 or self.norm != "batch",
                self.dtype,
                self.conv_fn,
                self.kernel_size,
                name=f"conv_{i}",
            )
            x = self._layer(conv, x, train)
            if i > 0 and self.norm == "batch":
                x = batch_norm(self, train, f"bn_{i}")(x)
            x = nn.leaky_relu(x, LEAK)
        logit = Logit(name="linear")
        return self._layer(logit, x.reshape(x.shape[0], -1), train)

    def _layer(self, layer: nn.Module, x: Array, train: bool) -> Array:
        if self.norm != "spectral":
            return layer(x)  # type: ignore[operator]
        return nn.SpectralNorm(layer, name=_norm_name(layer.name))(
            x, update_stats=train
        )


class Encoder(nn.Module):
    """Sketches -> latents: a start of the search for z.

    Stride-2 convolutions, each followed by the normalization of the whole picture (Ba et
    al. 2016, layer normalization), which no neighbour in the batch has a part in.

    Attributes:
      base_filters: channels after the first convolution, doubled by each.
      z_dim: size of the latent.
      height: side of the sketches.
      conv_fn: see `Discriminator`.
    """

    base_filters: int = 32
    z_dim: int = 100
    height: int = 64
    conv_fn: Callable[[Array, Array], Array] = strided_conv.conv

    @nn.compact
    def __call__(self, sketch: Float[Array, "n s s"]) -> Float[Array, "n z"]:
        """Maps grey sketches in [0, 1], 1 is paper, to `(n, z_dim)` in (-1, 1).

        Raises:
          ValueError: the sketch has another size.
        """
        if sketch.shape[1:] != (self.height, self.height):
            raise ValueError(
                f"expected sketches of {self.height} pixels, got {sketch.shape[1:]}"
            )
        x = 1.0 - sketch[..., None]  # ink: paper, and what lies beyond the edge, is 0
        for i in range(num_layers(self.height)):
            x = StridedConv(
                self.base_filters << i, False, conv_fn=self.conv_fn, name=f"conv_{i}"
            )(x)
            x = nn.GroupNorm(1, name=f"norm_{i}")(x)
            x = nn.leaky_relu(x, LEAK)
        zeros = nn.initializers.zeros  # the first answer is the middle of all latents
        linear = nn.Dense(self.z_dim, kernel_init=zeros, name="linear")
        return jnp.tanh(linear(x.reshape(len(x), -1)))


def _norm_name(layer: str | None) -> str:
    return f"{layer}_norm"


def batch_norm(parent: Any, train: bool, name: str) -> Any:
    """Batch norm as DCGAN starts it, by its network's `bn_decay`, `dtype`, `axis_name`."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=parent.bn_decay,
        epsilon=1e-5,
        scale_init=_scale_init,
        dtype=parent.dtype,
        axis_name=parent.axis_name,
        name=name,
    )


def make_models(
    *,
    base_filters: int,
    z_dim: int,
    height: int,
    dtype: Any = jnp.float32,
    disc_norm: str = "batch",
    layout: str = "halves",
    styles: Sequence[str] = ("sketch",),
    kernel_size: int = 5,
    axis_name: str | None = None,
) -> GanPair:
    """The generator and discriminator of one model.

    Args:
      height: side of sketches and photographs, in pixels.
      disc_norm: `norm` of `Discriminator`.
      layout: see `layouts.make_layout`.
      styles: see `layouts.make_layout`.

    The others are as in `Generator`.

    Raises:
      ValueError: another norm or layout.
    """
    if disc_norm not in get_args(DiscNorm):
        raise ValueError(
            f"config.model.disc_norm must be one of {get_args(DiscNorm)}, got "
            f"{disc_norm!r}"
        )
    folded = make_layout(layout, height, tuple(styles))
    common: dict[str, Any] = {
        "base_filters": base_filters,
        "layout": folded,
        "dtype": jnp.dtype(dtype),
        "axis_name": axis_name,
        "kernel_size": kernel_size,
    }
    return GanPair(
        Generator(z_dim=z_dim, **common), Discriminator(norm=disc_norm, **common)
    )


def without_spectral_norm(
    disc: Discriminator, variables: dict[str, Any]
) -> tuple[Discriminator, dict[str, Any]]:
    """D with its spectral norm folded into the kernels; any other D as it is.

    Each kernel is divided by its norm as D's last training pass found it. The same
    logits, from a D that needs no statistics.
    """
    if disc.norm != "spectral":
        return disc, variables
    params = {
        name: layer
        | {
            "kernel": layer["kernel"]
            / variables["batch_stats"][_norm_name(name)][f"{name}/kernel/sigma"]
        }
        for name, layer in variables["params"].items()
    }
    return disc.clone(norm="none"), {"params": params, "batch_stats": {}}


def sample_z(key: Array, n: int, z_dim: int) -> Float[Array, "n z"]:
    """`n` latents, i.i.d. uniform on [-1, 1] (slides of the paper)."""
    return jax.random.uniform(key, (n, z_dim), minval=-1.0, maxval=1.0)


def generate(
    gen: Generator,
    variables: dict[str, Any],
    z: Float[Array, "n z"],
    offsets: Sequence[Float[Array, "n _ _ _"]] = (),
) -> Float[Array, "n s s c"]:
    """Joint images on running averages: each depends on its own z and offsets alone."""
    joint: Array = gen.apply(variables, z, False, offsets)  # type: ignore[assignment]
    return joint


def encode(
    encoder: Encoder, params: Any, sketch: Float[Array, "n s s"]
) -> Float[Array, "n z"]:
    """Latents of grey sketches in [0, 1]: each depends on its own sketch alone."""
    z: Array = encoder.apply({"params": params}, sketch)  # type: ignore[assignment]
    return z


def recompute_statistics(
    gen: Generator, params: Any, key: Array, num_samples: int = 512
) -> dict[str, Any]:
    """Statistics of `params` over `num_samples` latents, in one batch.

    Averaged parameters have other batch statistics than the averages that were running
    while they were trained; images made with those look far worse.

    Returns:
      The collections `batch_stats`, of batch norm, and `spread`, the standard deviation of
      each channel of the inner layers: see `Generator`.
    """
    z = sample_z(key, num_samples, gen.z_dim)
    once = gen.clone(bn_decay=0.0, axis_name=None)
    stats = once.init(key, z[:1], train=False)["batch_stats"]
    variables = {"params": params, "batch_stats": stats}
    _, updated = once.apply(variables, z, train=True, mutable=["batch_stats", "spread"])
    return dict(updated)
