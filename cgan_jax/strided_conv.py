"""Stride-2 convolutions and their transposes, lowered for the platform.

A stride-2 convolution, its transpose and its weight gradient are three bilinear maps
of one trilinear form,

    <y, conv(x, w)> = <x, conv_transpose(y, w)> = <w, weight_gradient(x, y)>,

so that the gradient of each is made of the other two, to any order. XLA's CPU backend
runs the plain forms of the last two (and, at many channels, of the first) several times
slower than a matrix product of the same size; here each map has a CPU form, equal to the
plain one up to rounding: Winograd's (`winograd`) at many channels, else a matrix product
over patches. Every other platform gets the plain form.

Arrays are NHWC, kernels HWIO of the *convolution*: `(k, k, wide, narrow)`, where the
"wide" side has twice the height and width of the "narrow" side: `wide` channels of
`(2h, 2w)` pixels there, `narrow` channels of `(h, w)` pixels here. A transposed
convolution therefore has its output channels third and its input channels last, as in
TensorFlow. Padding is TensorFlow's SAME: for kernel 5, one before and two after.
Reverse mode only (`jax.custom_vjp`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from cgan_jax import winograd

Wide = Float[Array, "n h2 w2 wide"]
Narrow = Float[Array, "n h w narrow"]
Kernel = Float[Array, "k k wide narrow"]

# What a few pictures are turned into stays in the cache; the whole batch does not.
# Measured on server CPUs: flat from 2 to 8 MB.
_CHUNK_BYTES = 4 * 2**20
# Below this many channels on the wide side the products of Winograd's form are starved:
# memory bounds every form, and one matrix product reads the least.
_FEW_CHANNELS = 8


def _padding(k: int) -> tuple[int, int]:
    """TensorFlow's SAME padding for stride 2 and an even size: (before, after)."""
    return (k - 2) // 2, (k - 2) - (k - 2) // 2


# ---------------------------------------------------------------- plain forms


def plain_conv(x: Wide, w: Kernel) -> Narrow:
    """`conv` as XLA's own convolution, on every platform: it compiles at once.

    On CPUs its gradients are slow. Arguments and result as in `conv`.
    """
    return lax.conv_general_dilated(
        x,
        w,
        (2, 2),
        (_padding(w.shape[0]),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def plain_conv_transpose(y: Narrow, w: Kernel) -> Wide:
    """`conv_transpose` as XLA's own convolution: slow on CPUs."""
    n, h, width, _ = y.shape
    x = jax.ShapeDtypeStruct((n, 2 * h, 2 * width, w.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: plain_conv(x, w), x)(y)[0]


def phase_conv_transpose(y: Narrow, w: Kernel) -> Wide:
    """`conv_transpose` as one convolution of stride 1, for a pass without gradients.

    Four times the output channels, one for each parity of the output pixel. On CPUs it
    compiles at once and runs slower than the forms below: for few pictures.
    """
    kernel, padding = _phase_kernel(w)
    phases = lax.conv_general_dilated(
        y, kernel, (1, 1), (padding,) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return _interleaved(phases)


def _phase_kernel(
    w: Kernel,
) -> tuple[Float[Array, "p p narrow phases"], tuple[int, int]]:
    """Kernels of all parities beside each other, zero where one has no tap; the padding."""
    parities = [_phase_taps(w.shape[0], parity) for parity in range(2)]
    low, high = (max(side) for side in zip(*(pads for _, pads in parities)))

    def kernel(row: int, column: int) -> Array:
        (a, rows), (b, columns) = parities[row], parities[column]
        missing = [(low - pads[0], high - pads[1]) for pads in (rows, columns)]
        taps = w[a::2, b::2][::-1, ::-1].swapaxes(2, 3)
        return jnp.pad(taps, (*missing, (0, 0), (0, 0)))

    kernels = [kernel(row, column) for row in range(2) for column in range(2)]
    return jnp.concatenate(kernels, axis=-1), (low, high)


def _interleaved(phases: Float[Array, "n h w phases"]) -> Wide:
    """Output pixels of the four parities, in their places."""
    n, h, width, channels = phases.shape
    out = phases.reshape(n, h, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return out.reshape(n, 2 * h, 2 * width, channels // 4)


def plain_weight_gradient(x: Wide, y: Narrow, k: int) -> Kernel:
    """`weight_gradient` as XLA's own convolution: slow on CPUs."""
    w = jax.ShapeDtypeStruct((k, k, x.shape[3], y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda w: plain_conv(x, w), w)(y)[0]


# ------------------------------------------------------------------ CPU forms


def _takes_winograd(k: int, wide: int, height: int, width: int) -> bool:
    """For kernel k, channels of the wide side, height and width of the narrow side."""
    return wide >= _FEW_CHANNELS and winograd.fits(k, height, width)


def _chunk(n: int, bytes_each: int, kernel_bytes: int) -> int:
    """The largest divisor of n for which a chunk fits the cache, or 1.

    Each chunk reads the whole kernel: it is at least as large as twice the kernel.
    """
    fitting = max(1, max(_CHUNK_BYTES, 2 * kernel_bytes) // bytes_each)
    return max(d for d in range(1, n + 1) if n % d == 0 and d <= fitting)


def _chunked(x: Array, chunk: int) -> Array:
    return x.reshape(x.shape[0] // chunk, chunk, *x.shape[1:])


def _map_chunks(
    fn: Callable[[Array], Array], x: Array, bytes_each: int, kernel_bytes: int
) -> Array:
    """`fn` over the batch of x, a few pictures at a time."""
    chunk = _chunk(x.shape[0], bytes_each, kernel_bytes)
    if chunk == x.shape[0]:
        return fn(x)
    out = lax.map(fn, _chunked(x, chunk))
    return out.reshape(-1, *out.shape[2:])


def _sum_chunks(
    fn: Callable[[Array, Array], Any],
    x: Array,
    y: Array,
    bytes_each: int,
    kernel_bytes: int,
) -> Any:
    """The sum of `fn` over chunks of the batches of x and y; arrays or trees of them.

    A sum over a batch is no place for bfloat16, whose 8 bits stop growing with it: chunk by
    chunk `fn` is given float32, or what is wider.
    """
    chunk = _chunk(x.shape[0], bytes_each, kernel_bytes)
    wider = jnp.promote_types(x.dtype, jnp.float32)

    def sums(x: Array, y: Array) -> Any:
        return fn(x.astype(wider), y.astype(wider))

    if chunk == x.shape[0]:
        return sums(x, y)
    chunks = _chunked(x, chunk), _chunked(y, chunk)
    shapes = jax.eval_shape(sums, chunks[0][0], chunks[1][0])
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total: Any, xy: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, sums(*xy)), None

    return lax.scan(add, zeros, chunks)[0]


def _cpu_conv(x: Wide, w: Kernel) -> Narrow:
    _, height, width, wide = x.shape
    if _takes_winograd(w.shape[0], wide, height // 2, width // 2):
        return _winograd_conv(x, w)
    return _patch_conv(x, w)


def _cpu_conv_transpose(y: Narrow, w: Kernel) -> Wide:
    if _takes_winograd(w.shape[0], w.shape[2], *y.shape[1:3]):
        return _winograd_conv_transpose(y, w)
    return _patch_conv_transpose(y, w)


def _cpu_weight_gradient(x: Wide, y: Narrow, k: int) -> Kernel:
    if _takes_winograd(k, x.shape[3], *y.shape[1:3]):
        return _winograd_weight_gradient(x, y, k).astype(x.dtype)
    return _patch_weight_gradient(x, y, k).astype(x.dtype)


def _winograd_bytes(wide_size: int, w_size: int, k: int, dtype: Any) -> tuple[int, int]:
    """Bytes of one picture's data and of the kernel, both at their points."""
    return (
        wide_size * winograd.PRODUCTS // 16 * dtype.itemsize,
        w_size * winograd.PRODUCTS // k**2 * dtype.itemsize,
    )


def _winograd_conv(x: Wide, w: Kernel) -> Narrow:
    kernel = winograd.kernel_blocks(w, winograd.CONV)
    sizes = _winograd_bytes(x[0].size, w.size, w.shape[0], x.dtype)
    return _map_chunks(lambda x: winograd.conv(x, kernel), x, *sizes)


def _winograd_conv_transpose(y: Narrow, w: Kernel) -> Wide:
    kernel = winograd.kernel_blocks(w, winograd.TRANSPOSE)
    wide_size = 4 * y.shape[1] * y.shape[2] * w.shape[2]
    sizes = _winograd_bytes(wide_size, w.size, w.shape[0], y.dtype)
    return _map_chunks(lambda y: winograd.conv_transpose(y, kernel), y, *sizes)


def _winograd_weight_gradient(x: Wide, y: Narrow, k: int) -> Kernel:
    w_size = k * k * x.shape[3] * y.shape[3]
    sizes = _winograd_bytes(x[0].size, w_size, k, x.dtype)
    blocks = _sum_chunks(winograd.weight_gradient, x, y, *sizes)
    return winograd.kernel_from_blocks(blocks, k)


def _patch_bytes(x: Wide, k: int) -> int:
    """Bytes of one picture's patches, for a picture of the wide side."""
    return x[0].size // 4 * k * k * x.dtype.itemsize


def _patch_conv(x: Wide, w: Kernel) -> Narrow:
    """im2col, then one matrix product."""
    k = w.shape[0]
    matrix = w.reshape(-1, w.shape[3])
    sizes = _patch_bytes(x, k), w.nbytes
    return _map_chunks(lambda x: _patches(x, k) @ matrix, x, *sizes)


def _patch_conv_transpose(y: Narrow, w: Kernel) -> Wide:
    """One matrix product, then a sum of shifted pictures (col2im)."""
    k, _, wide, narrow = w.shape
    matrix = w.reshape(-1, narrow).T

    def fold(y: Narrow) -> Wide:
        return _sum_columns((y @ matrix).reshape(*y.shape[:3], k, k, wide))

    bytes_each = y.shape[1] * y.shape[2] * k * k * wide * y.dtype.itemsize
    return _map_chunks(fold, y, bytes_each, w.nbytes)


def _patch_weight_gradient(x: Wide, y: Narrow, k: int) -> Kernel:
    wide, narrow = x.shape[3], y.shape[3]

    def correlate(x: Wide, y: Narrow) -> Array:
        return _patches(x, k).reshape(-1, k * k * wide).T @ y.reshape(-1, narrow)

    sizes = _patch_bytes(x, k), k * k * wide * narrow * x.dtype.itemsize
    return _sum_chunks(correlate, x, y, *sizes).reshape(k, k, wide, narrow)


def _patches(x: Wide, k: int) -> Float[Array, "n h w patch"]:
    """The k*k*wide inputs of each output pixel, side by side (im2col).

    First along rows, then along columns: two short concatenations compile in half the
    time of one of k*k pieces.
    """
    _, h2, w2, _ = x.shape
    x = jnp.pad(x, ((0, 0), _padding(k), _padding(k), (0, 0)))
    x = jnp.concatenate([x[:, :, b : b + w2 : 2] for b in range(k)], axis=-1)
    return jnp.concatenate([x[:, a : a + h2 : 2] for a in range(k)], axis=-1)


def _phase_taps(k: int, parity: int) -> tuple[int, tuple[int, int]]:
    """First kernel tap of an output parity, and the padding of its convolution.

    Output pixel 2q + parity meets tap a at input pixel q + (parity + before - a) / 2.
    """
    before, _ = _padding(k)
    first = (parity + before) % 2
    last = range(first, k, 2)[-1]
    return first, ((last - parity - before) // 2, (parity + before - first) // 2)


def _sum_columns(columns: Float[Array, "n h w k k wide"]) -> Wide:
    _, h, width, k, _, _ = columns.shape
    rows = []
    for row in range(2):
        a, pad_a = _phase_taps(k, row)
        for column in range(2):
            b, pad_b = _phase_taps(k, column)
            taps = columns[:, :, :, a::2, b::2]
            taps = jnp.pad(taps, ((0, 0), pad_a, pad_b, (0, 0), (0, 0), (0, 0)))
            rows.append(_sum_shifted(taps, h, width))
    return _interleaved(jnp.concatenate(rows, axis=-1))


def _sum_shifted(
    taps: Float[Array, "n hp wp a b wide"], h: int, width: int
) -> Float[Array, "n h w wide"]:
    """Tap number i of a phase comes from the pixel (last - i) further on."""
    last_a, last_b = taps.shape[3] - 1, taps.shape[4] - 1
    shifted = (
        taps[:, last_a - i : last_a - i + h, last_b - j : last_b - j + width, i, j]
        for i in range(last_a + 1)
        for j in range(last_b + 1)
    )
    return functools.reduce(operator.add, shifted)


# ------------------------------------------------- platform, batching, gradients


def _by_platform(
    plain: Callable[..., Array], cpu: Callable[..., Array], *, batched: int
) -> Callable[..., Array]:
    """Chooses the form when it is lowered; `vmap` joins the batch, as XLA would.

    The first `batched` arguments hold a batch. A map over them alone becomes a larger
    batch; any other map runs one element after the other.
    """

    @custom_vmap
    def op(*args: Array) -> Array:
        return lax.platform_dependent(*args, cpu=cpu, default=plain)

    @op.def_vmap
    def _(size: int, in_batched: list[bool], *args: Array) -> tuple[Array, bool]:
        if batched == 1 and in_batched == [True, False]:
            x, w = args
            out = op(x.reshape(-1, *x.shape[2:]), w)
            return out.reshape(size, -1, *out.shape[1:]), True
        args = tuple(
            a if b else jnp.broadcast_to(a, (size, *a.shape))
            for a, b in zip(args, in_batched, strict=True)
        )
        return lax.map(lambda args: op(*args), args), True

    return op


_conv = _by_platform(plain_conv, _cpu_conv, batched=1)
_conv_transpose = _by_platform(plain_conv_transpose, _cpu_conv_transpose, batched=1)


@functools.cache
def _weight_gradient_of_size(k: int) -> Callable[..., Array]:
    plain = functools.partial(plain_weight_gradient, k=k)
    cpu = functools.partial(_cpu_weight_gradient, k=k)
    return _by_platform(plain, cpu, batched=2)


@jax.custom_vjp
def conv(x: Wide, w: Kernel) -> Narrow:
    """Stride-2 convolution, SAME padding as TensorFlow pads.

    Args:
      x: pictures `(n, 2h, 2w, wide)`.
      w: kernel `(k, k, wide, narrow)`, k at least 2.

    Returns:
      `(n, h, w, narrow)`.

    Raises:
      ValueError: a height or width is odd.
    """
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(f"stride 2 needs an even height and width, got {x.shape}")
    return _conv(x, w)


@jax.custom_vjp
def conv_transpose(y: Narrow, w: Kernel) -> Wide:
    """Transposed stride-2 convolution: the input gradient of `conv`.

    Args:
      y: pictures `(n, h, w, narrow)`.
      w: kernel `(k, k, wide, narrow)`: output channels third, input channels last.

    Returns:
      `(n, 2h, 2w, wide)`.
    """
    return _conv_transpose(y, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def weight_gradient(x: Wide, y: Narrow, k: int) -> Kernel:
    """The kernel gradient of `conv` at x for the output gradient y.

    Args:
      x: pictures `(n, 2h, 2w, wide)`.
      y: pictures `(n, h, w, narrow)`.
      k: kernel size.

    Returns:
      `(k, k, wide, narrow)`.
    """
    return _weight_gradient_of_size(k)(x, y)


def _conv_bwd(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, w = saved
    return conv_transpose(dy, w), weight_gradient(x, dy, w.shape[0])


def _conv_transpose_bwd(saved: tuple[Array, Array], dx: Array) -> tuple[Array, Array]:
    y, w = saved
    return conv(dx, w), weight_gradient(dx, y, w.shape[0])


def _weight_gradient_bwd(
    k: int, saved: tuple[Array, Array], dw: Array
) -> tuple[Array, Array]:
    del k
    x, y = saved
    return conv_transpose(y, dw), conv(x, dw)


conv.defvjp(lambda x, w: (conv(x, w), (x, w)), _conv_bwd)
conv_transpose.defvjp(lambda y, w: (conv_transpose(y, w), (y, w)), _conv_transpose_bwd)
weight_gradient.defvjp(
    lambda x, y, k: (weight_gradient(x, y, k), (x, y)), _weight_gradient_bwd
)
