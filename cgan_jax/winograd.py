"""Stride-2 convolutions by Winograd's minimal filtering: the CPU forms at many channels.

Seen from the pixels of the narrow side, a stride-2 convolution of kernel 5 is a stride-1
convolution of kernel 3 from four groups of channels, the pixels of even and of odd rows
and columns of the wide side; its transpose is one to four such groups. For one of the two
parities the third tap lies outside the kernel and is zero. Along one axis F(2, 3) of
Lavin and Gray 2016 ("Fast algorithms for convolutional neural networks", section 4.1)
makes two outputs y from four inputs d and three taps g by four products:

    point    data       kernel                 outputs
    0        d0 - d2    g0                     y0 = m(0) + m(1) + m(-1)
    1        d1 + d2    (g0 + g1 + g2) / 2     y1 = m(1) - m(-1) + m(inf)
    -1       d2 - d1    (g0 - g1 + g2) / 2
    inf      d3 - d1    g2

Where g2 is zero, so is the point at infinity: 4 + 3 products take the place of 10, in two
dimensions 49 of 100, and the data at all points take half the memory of patches (im2col).
The coefficients are 0, 1, -1 and 1/2: rounding stays near that of the direct form. The
weight gradient is the convolution with the maps of the kernel and the outputs transposed.

Names and shapes are those of `strided_conv`; `fits` says which of them these forms take.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

# Products of a tile of 2x2 outputs, for each pair of channels; the direct form has 100.
PRODUCTS = 49

_FINITE, _INFINITY = (0, 1, 2), (3,)  # the points 0, 1, -1 and infinity
_POINTS = _FINITE + _INFINITY
# Pairs of points (of the rows, of the columns) with equal channels: one batched product
# each. Of three pairs at most, since XLA does not fuse the stacking of more.
_GROUPS = (
    *(((point,), _FINITE) for point in _FINITE),
    (_FINITE, _INFINITY),
    (_INFINITY, _FINITE),
    (_INFINITY, _INFINITY),
)
# The two inputs whose sum or difference is the data of each point.
_DATA = ((0, 2, -1), (1, 2, 1), (2, 1, -1), (3, 1, -1))
# The kernel at each point from three taps.
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])

# The taps of the kernel that even and odd pixels of the wide side meet, by position.
Taps = tuple[tuple[int | None, ...], ...]
CONV: Taps = ((0, 2, 4), (1, 3, None))
TRANSPOSE: Taps = ((3, 1, None), (4, 2, 0))

# For each group, one matrix for each of its pairs.
Group = tuple[tuple[int, ...], tuple[int, ...]]
Blocks = list[Array]


def fits(k: int, height: int, width: int) -> bool:
    """Whether these forms take kernel k and the narrow side's height and width."""
    return k in (4, 5) and height % 2 == 0 and width % 2 == 0


def conv(
    x: Float[Array, "n h2 w2 wide"], kernel: Blocks
) -> Float[Array, "n h w narrow"]:
    """`strided_conv.conv` with `kernel_blocks(w, CONV)`."""
    n, height, width, _ = x.shape
    products = _multiply(_data_blocks(x, 2), kernel, (2, 1))
    tiles = n, height // 4, width // 4
    sums = [block.reshape(len(block), *tiles, -1) for block in products]
    rows = [jnp.stack(row, axis=3) for row in _at_outputs(sums)]
    return jnp.stack(rows, axis=2).reshape(n, height // 2, width // 2, -1)


def conv_transpose(
    y: Float[Array, "n h w narrow"], kernel: Blocks
) -> Float[Array, "n h2 w2 wide"]:
    """`strided_conv.conv_transpose` with `kernel_blocks(w, TRANSPOSE)`."""
    n, height, width, _ = y.shape
    products = _multiply(_data_blocks(y, 1), kernel, (2, 2))
    wide = kernel[0].shape[1] // 4
    tiles = n, height // 2, width // 2
    sums = [
        _with_all_parities(
            block, (len(block), *tiles, *_counts(TRANSPOSE, group), wide)
        )
        for group, block in zip(_GROUPS, products, strict=True)
    ]
    # (n, down, row parity, across, output column, column parity, wide) for each row
    rows = [
        jnp.stack(row, axis=3).transpose(0, 1, 4, 2, 3, 5, 6)
        for row in _at_outputs(sums)
    ]
    return jnp.stack(rows, axis=2).reshape(n, 2 * height, 2 * width, wide)


def weight_gradient(
    x: Float[Array, "n h2 w2 wide"], y: Float[Array, "n h w narrow"]
) -> Blocks:
    """`strided_conv.weight_gradient` before `kernel_from_blocks`: sums over pictures."""
    n, height, width, narrow = y.shape
    y = y.reshape(n, height // 2, 2, width // 2, 2, narrow)
    rows = _from_outputs(y[:, :, 0], y[:, :, 1])
    points = [_from_outputs(row[..., 0, :], row[..., 1, :]) for row in rows]
    gradients = _stack_groups(lambda p, q: points[p][q].reshape(-1, narrow))
    return _multiply(_data_blocks(x, 2), gradients, (1, 1))


def kernel_blocks(w: Float[Array, "k k wide narrow"], taps: Taps) -> Blocks:
    """The kernel at each pair of points: `(pairs, parities * wide, narrow)`."""
    k, _, _, narrow = w.shape
    blocks = []
    for matrix in _kernel_matrices(k, taps):
        rows = jnp.asarray(matrix, w.dtype).reshape(-1, k * k) @ w.reshape(k * k, -1)
        blocks.append(rows.reshape(len(matrix), -1, narrow))
    return blocks


def kernel_from_blocks(blocks: Blocks, k: int) -> Float[Array, "k k wide narrow"]:
    """`kernel_blocks(w, CONV)` transposed."""
    _, rows, narrow = blocks[0].shape
    taps = jnp.zeros((k * k, rows // 4 * narrow), blocks[0].dtype)
    for matrix, block in zip(_kernel_matrices(k, CONV), blocks, strict=True):
        columns = jnp.asarray(matrix, block.dtype).reshape(-1, k * k).T
        taps += columns @ block.reshape(-1, taps.shape[1])
    return taps.reshape(k, k, -1, narrow)


def _stack_groups(block: Callable[[int, int], Array]) -> Blocks:
    return [
        jnp.stack([block(p, q) for p, q in itertools.product(*group)])
        for group in _GROUPS
    ]


def _parities(taps: Taps, points: tuple[int, ...]) -> list[int]:
    """The parities that have products at these points."""
    return [i for i in range(2) if points != _INFINITY or taps[i][2] is not None]


def _counts(taps: Taps, group: Group) -> tuple[int, int]:
    return len(_parities(taps, group[0])), len(_parities(taps, group[1]))


def _kernel_matrices(k: int, taps: Taps) -> list[np.ndarray]:
    """`(pairs, parities, k * k)`: the kernel at the points of a group, from its taps."""
    along = np.zeros((4, 2, 6))  # point, parity, tap
    for point, parity, position in np.ndindex(4, 2, 3):
        tap = taps[parity][position]
        if tap is not None:
            along[point, parity, tap] = _KERNEL[point, position]
    matrices = []
    for rows, columns in _GROUPS:
        a = along[list(rows)][:, _parities(taps, rows), :k]
        b = along[list(columns)][:, _parities(taps, columns), :k]
        pairs = np.einsum("pia,qjb->pqijab", a, b)
        matrices.append(pairs.reshape(len(a) * len(b), -1, k * k))
    return matrices


def _data_blocks(x: Float[Array, "n h w c"], stride: int) -> Blocks:
    """The data of every tile: `(n * tiles, parities * c)` for each pair of points."""
    n, height, width, channels = x.shape
    side = 2 * stride  # from tile to tile
    down, across = height // side, width // side
    x = jnp.pad(x, ((0, 0), (1, side - 1), (1, side - 1), (0, 0)))
    x = x.reshape(n, down + 1, side, across + 1, side, channels)

    def inputs(i: int, j: int, rows: int, columns: int) -> Array:
        """Input (i, j) of all tiles; inputs 2 and 3 are 0 and 1 of the next tile."""
        t, i = i // 2, i % 2 * stride
        s, j = j // 2, j % 2 * stride
        return x[:, t : t + down, i : i + rows, s : s + across, j : j + columns]

    def block(p: int, q: int) -> Array:
        rows = 1 if stride == 1 or p in _INFINITY else 2
        columns = 1 if stride == 1 or q in _INFINITY else 2
        i0, i1, row_sign = _DATA[p]
        j0, j1, column_sign = _DATA[q]
        first, second = (
            _add(
                inputs(i, j0, rows, columns), inputs(i, j1, rows, columns), column_sign
            )
            for i in (i0, i1)
        )
        data = _add(first, second, row_sign).transpose(0, 1, 3, 2, 4, 5)
        return data.reshape(n * down * across, -1)

    return _stack_groups(block)


def _add(a: Array, b: Array, sign: int) -> Array:
    return a + b if sign > 0 else a - b


def _multiply(a: Blocks, b: Blocks, contract: tuple[int, int]) -> Blocks:
    """The matrix product of each pair of blocks over the axes named."""
    dims = (((contract[0],), (contract[1],)), ((0,), (0,)))
    return [lax.dot_general(x, y, dims) for x, y in zip(a, b, strict=True)]


def _with_all_parities(block: Array, shape: tuple[int, ...]) -> Array:
    """Zeros for the even pixels, which the transpose's points at infinity lack."""
    missing = [(2 - count, 0) for count in shape[4:6]]
    return jnp.pad(block.reshape(shape), [(0, 0)] * 4 + missing + [(0, 0)])


def _at_outputs(sums: Blocks) -> list[list[Array]]:
    """Rows of the 2x2 outputs of a tile from the sums at each pair of points."""
    m = {
        pair: block[i]
        for group, block in zip(_GROUPS, sums, strict=True)
        for i, pair in enumerate(itertools.product(*group))
    }
    columns = [_outputs([m[p, q] for q in _POINTS]) for p in _POINTS]
    tiles = [_outputs([columns[p][j] for p in _POINTS]) for j in range(2)]
    return [[tiles[j][i] for j in range(2)] for i in range(2)]


def _outputs(m: Sequence[Array]) -> list[Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] + m[3]]


def _from_outputs(y0: Array, y1: Array) -> list[Array]:
    """`_outputs` transposed."""
    return [y0, y0 + y1, y0 - y1, y1]
