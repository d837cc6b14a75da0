"""Stride-2 convolutions by Winograd's minimal filtering: the CPU forms at many channels.

Space to depth turns a stride-2 convolution of kernel 4 or 5 into a stride-1 convolution
of kernel 3 over four times the channels: those of the even and the odd rows and columns.
The third tap on an odd row or column lies outside the kernel and is zero. For one axis,
F(2, 3) of Lavin and Gray 2016 ("Fast algorithms for convolutional neural networks",
section 4.1) makes two outputs y from four inputs d and three taps g by four products:

    point    data       kernel                 outputs
    0        d0 - d2    g0                     y0 = m(0) + m(1) + m(-1)
    1        d1 + d2    (g0 + g1 + g2) / 2     y1 = m(1) - m(-1) - m(inf)
    -1       d2 - d1    (g0 - g1 + g2) / 2
    inf      d1 - d3    g2

On odd pixels g2 is zero, and with it the point at infinity: 4 + 3 products take the place
of 10, in two dimensions 49 of 100, and the transformed data take half the memory of
patches (im2col). The coefficients are 0, 1, -1 and 1/2: rounding stays near that of the
direct form. The transposed convolution and the weight gradient are the same three maps
(of the data, the kernel and the outputs), transposed.

Shapes are those of `strided_conv`; `fits` says which ones these forms take.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Products of a tile of 2x2 outputs, for each pair of channels; the direct form has 100.
PRODUCTS = 49

_POINTS = range(4)  # 0, 1, -1, infinity
_ODD_POINTS = 3  # the point at infinity has even pixels only
# The two inputs whose sum or difference is the data of each point.
_DATA = ((0, 2, -1), (1, 2, 1), (2, 1, -1), (1, 3, -1))

# One matrix for each pair of points, of the rows and of the columns.
Blocks = dict[tuple[int, int], Float[Array, "_ _"]]


def fits(k: int, height: int, width: int) -> bool:
    """Whether these forms take kernel k and the narrow side's height and width."""
    return k in (4, 5) and height % 2 == 0 and width % 2 == 0


def data_blocks(x: Float[Array, "n h2 w2 wide"], before: int) -> Blocks:
    """The data of every tile: `(n * tiles, parities * wide)` for each pair of points.

    Args:
      x: pictures of the wide side.
      before: zeros that the convolution sees before the first row and column.
    """
    n, height, width, wide = x.shape
    down, across = height // 4, width // 4
    pad = (before, 4 - before)
    x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
    x = x.reshape(n, down + 1, 4, across + 1, 4, wide)

    def inputs(i: int, j: int, row_parities: int, column_parities: int) -> Array:
        """Input (i, j) of all tiles; inputs 2 and 3 are 0 and 1 of the next tile."""
        t, i = divmod(i, 2)
        s, j = divmod(j, 2)
        rows, columns = slice(t, t + down), slice(s, s + across)
        i, j = 2 * i, 2 * j
        return x[:, rows, i : i + row_parities, columns, j : j + column_parities]

    def block(p: int, q: int) -> Array:
        i0, i1, row_sign = _DATA[p]
        j0, j1, column_sign = _DATA[q]
        parities = _parities(p), _parities(q)
        top = _add(inputs(i0, j0, *parities), inputs(i0, j1, *parities), column_sign)
        low = _add(inputs(i1, j0, *parities), inputs(i1, j1, *parities), column_sign)
        data = _add(top, low, row_sign).transpose(0, 1, 3, 2, 4, 5)
        return data.reshape(n * down * across, -1)

    return {(p, q): block(p, q) for p, q in _pairs()}


def kernel_blocks(w: Float[Array, "k k wide narrow"]) -> Blocks:
    """The kernel at each pair of points: `(parities * wide, narrow)`."""
    k, _, wide, narrow = w.shape
    w = jnp.pad(w, ((0, 6 - k), (0, 6 - k), (0, 0), (0, 0)))
    w = w.reshape(3, 2, 3, 2, wide, narrow)
    rows = _kernel_at_points([w[i] for i in range(3)])
    points = [_kernel_at_points([row[:, i] for i in range(3)]) for row in rows]
    return {
        (p, q): points[p][q][: _parities(p), : _parities(q)].reshape(-1, narrow)
        for p, q in _pairs()
    }


def kernel_from_blocks(blocks: Blocks, k: int) -> Float[Array, "k k wide narrow"]:
    """`kernel_blocks` transposed."""
    wide = blocks[0, 0].shape[0] // 4
    points = [
        [_split_parities(blocks[p, q], p, q, wide) for q in _POINTS] for p in _POINTS
    ]
    columns = [_kernel_from_points(row) for row in points]
    rows = [_kernel_from_points([columns[p][j] for p in _POINTS]) for j in range(3)]
    taps = jnp.stack([jnp.stack([rows[j][i] for j in range(3)], 1) for i in range(3)])
    return taps.reshape(6, 6, wide, -1)[:k, :k]


def pictures_from_output_blocks(
    blocks: Blocks, n: int, height: int, width: int
) -> Float[Array, "n h w narrow"]:
    """The outputs of all tiles, side by side."""
    shape = (n, height // 2, width // 2, -1)
    m = {pair: block.reshape(shape) for pair, block in blocks.items()}
    columns = [_outputs([m[p, q] for q in _POINTS]) for p in _POINTS]
    tiles = [_outputs([columns[p][j] for p in _POINTS]) for j in range(2)]
    rows = [jnp.stack([tiles[0][i], tiles[1][i]], axis=3) for i in range(2)]
    return jnp.stack(rows, axis=2).reshape(n, height, width, -1)


def output_blocks(y: Float[Array, "n h w narrow"]) -> Blocks:
    """`pictures_from_output_blocks` transposed: `(n * tiles, narrow)` for each pair."""
    n, height, width, narrow = y.shape
    y = y.reshape(n, height // 2, 2, width // 2, 2, narrow)
    rows = _outputs_transposed(y[:, :, 0], y[:, :, 1])
    points = [_outputs_transposed(row[..., 0, :], row[..., 1, :]) for row in rows]
    return {(p, q): points[p][q].reshape(-1, narrow) for p, q in _pairs()}


def pictures_from_data_blocks(
    blocks: Blocks, n: int, height: int, width: int, before: int
) -> Float[Array, "n h2 w2 wide"]:
    """`data_blocks` transposed: overlapping tiles are summed.

    Args:
      blocks: as `data_blocks` makes them.
      n: number of pictures.
      height: of the wide side.
      width: of the wide side.
      before: as in `data_blocks`.
    """
    down, across = height // 4, width // 4
    wide = blocks[0, 0].shape[1] // 4
    # (n, down, across, row parity, column parity, wide)
    d = {
        (p, q): block.reshape(n, down, across, _parities(p), _parities(q), wide)
        for (p, q), block in blocks.items()
    }
    columns = [_overlap([d[p, q] for q in _POINTS], 2, 4) for p in _POINTS]
    halves = [_overlap([columns[p][j] for p in _POINTS], 1, 3) for j in range(2)]
    rows = [
        jnp.stack([halves[0][i], halves[1][i]], axis=4).transpose(0, 1, 3, 2, 4, 5, 6)
        for i in range(2)
    ]
    x = jnp.stack(rows, axis=2).reshape(n, height + 4, width + 4, wide)
    return x[:, before : before + height, before : before + width]


def multiply(a: Blocks, b: Blocks, contract_a: int, contract_b: int) -> Blocks:
    """The matrix product of each pair of blocks over the axes named."""
    dims = (((contract_a,), (contract_b,)), ((), ()))
    return {pair: lax.dot_general(a[pair], b[pair], dims) for pair in a}


def _pairs() -> itertools.product:
    return itertools.product(_POINTS, _POINTS)


def _parities(point: int) -> int:
    return 2 if point < _ODD_POINTS else 1


def _add(a: Array, b: Array, sign: int) -> Array:
    return a + b if sign > 0 else a - b


def _kernel_at_points(g: Sequence[Array]) -> list[Array]:
    ends, middle = (g[0] + g[2]) / 2, g[1] / 2
    return [g[0], ends + middle, ends - middle, g[2]]


def _kernel_from_points(v: Sequence[Array]) -> list[Array]:
    ends = (v[1] + v[2]) / 2
    return [v[0] + ends, (v[1] - v[2]) / 2, ends + v[3]]


def _outputs(m: Sequence[Array]) -> list[Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _outputs_transposed(y0: Array, y1: Array) -> list[Array]:
    return [y0, y0 + y1, y0 - y1, -y1]


def _split_parities(block: Array, p: int, q: int, wide: int) -> Array:
    """`(2, 2, wide, narrow)`, zero where the point has no odd pixels."""
    parities = _parities(p), _parities(q)
    missing = [(0, 2 - count) for count in parities]
    return jnp.pad(block.reshape(*parities, wide, -1), [*missing, (0, 0), (0, 0)])


def _overlap(d: Sequence[Array], axis: int, parity_axis: int) -> list[Array]:
    """Sums the four inputs of tiles that follow each other by two, along one axis.

    The axis grows by one tile; the two results are its first and second inputs.
    """
    infinity = _pad(d[3], parity_axis, 0, 1)
    here, next_tile = (0, 1), (1, 0)
    first = _pad(d[0], axis, *here) + _pad(d[1] + d[2] - d[0], axis, *next_tile)
    second = _pad(d[1] - d[2] + infinity, axis, *here) - _pad(
        infinity, axis, *next_tile
    )
    return [first, second]


def _pad(x: Array, axis: int, before: int, after: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)
