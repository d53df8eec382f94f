"""What a block of rows becomes by matrix products: a 3x3 convolution's outputs, in parts, or its kernel's gradient.

Unless said otherwise, pixels `x[N, H + 2, W + 2, C]` have the border that outputs `[N, H, W, D]` need, and 16 bits come
as integers, see `bits`.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from uwct.networks import winograd
from uwct.networks.winograd import Matrices, Parts, Tile

# Up to so many channels, all taps are gathered (or projected) at once.
FEW_CHANNELS = 4
# Tiles of four rows stay in one piece, so that Winograd's additions, too, are matrix products.
ROW_TILE = (4, 1)


def conv_block(x: Array, kernel: Array, tile: Tile, dtype: Any) -> Parts:
    """The parts of `[N, H, W, D]` from `x[N, H + 2, W + 2, C]`, bits of `dtype`, and a kernel not yet rounded to it."""
    _, height, width, channels = x.shape
    height, width, outputs = height - 2, width - 2, kernel.shape[3]
    if outputs <= FEW_CHANNELS:  # project every pixel on the nine taps, then shift and add
        p = _product(x, kernel.transpose(2, 0, 1, 3).reshape(channels, 9 * outputs), dtype)
        p = p.reshape(*p.shape[:3], 3, 3, outputs)
        return [[added(p[:, i : i + height, j : j + width, i, j] for i in range(3) for j in range(3))]]
    if tile[1] > 1:
        return _winograd_block(x, kernel, tile, dtype)
    if width % 2 == 0:
        columns, rows = _column_pairs(x), _kernel_pairs(kernel)
    else:
        columns, rows = _columns(x), kernel.reshape(3, 3 * channels, outputs)
    if channels <= FEW_CHANNELS:
        return [[_product(_three_rows(columns), rows.reshape(-1, rows.shape[-1]), dtype)]]
    rows = rows.astype(dtype)
    return [[added(_product(columns[:, i : i + height], rows[i], dtype) for i in range(3))]]


def _winograd_block(x: Array, kernel: Array, tile: Tile, dtype: Any) -> Parts:
    """`conv_block` by Winograd's algorithm; with tiles of one row, the taps of a column are summed by the products."""
    if tile[0] == 1:
        x, taps = _three_rows(x), [[kernel[:, j] for j in range(3)]]
    else:
        taps = [[kernel[i, j] for j in range(3)] for i in range(3)]

    def product(v: Array, u: Array) -> Array:
        return _product(v.astype(dtype), u.reshape(v.shape[-1], -1), dtype)

    return winograd.correlate(floats(x, dtype).astype(kernel.dtype), taps, tile, product)


def row_tiles(x: Array, matrices: Matrices, padded: Callable[[Array], Array] = lambda x: x) -> Parts:
    """The parts of outputs from the rows of their tiles, `x[N, 6, H / 4, W + 2, C]`, in float32 or float64.

    Where `padded` gives rows their border and splits them into pixels, they are `x[N, 6, H / 4, W C]`, without.

    It is Winograd's `outputs @ ((kernels @ k) * (inputs @ x))` of rows, with a matrix product of three pixels for `*`.
    """
    n, _, tiles, *rest = x.shape
    inputs, kernels, outputs = matrices
    times, taps, depth = kernels.shape
    pixels = _columns(padded(dot(inputs, x, ((1,), (1,))).reshape(times * n, tiles, *rest)))
    products = jnp.matmul(pixels.reshape(times, n * tiles * pixels.shape[2], taps), kernels)
    y = dot(outputs, products.reshape(times, products[0].size), ((1,), (0,)))
    high, parts = ROW_TILE[0], outputs.shape[0] // ROW_TILE[0]
    y = y.reshape(parts, high, n, tiles, pixels.shape[2], depth).transpose(0, 2, 3, 1, 4, 5)
    return [[part.reshape(n, high * tiles, *part.shape[3:])] for part in y]


def tile_rows(rows: int) -> Array:
    """Those that each tile of so many rows comes of, counted from the first one's upper neighbour: `[6, rows / 4]`."""
    high = ROW_TILE[0]
    return jnp.arange(high + 2)[:, None] + high * jnp.arange(rows // high)


def row_matrices(kernel: Array, upsampled: bool = False) -> Matrices:
    """Winograd's matrices for `row_tiles`, and the kernels in place of those that make them: `[products, 3 C, D]`.

    After up-sampling, the even rows of outputs are by F(4, 2) of the rows from the first on, and the odd ones of those
    from the second on. Both columns of a pixel are in one product, `[products, 3 C, 2 D]`.
    """
    high = ROW_TILE[0]
    m = winograd.matrices(high, 2 if upsampled else 3)
    taps = _summed_taps(kernel, 0) if upsampled else (kernel,)
    kernels = jnp.concatenate([jnp.tensordot(jnp.asarray(m.kernels, kernel.dtype), rows, 1) for rows in taps])
    if upsampled:
        kernels = _both_columns(kernels)
        m = m._replace(
            inputs=np.vstack([np.pad(m.inputs, ((0, 0), (a, 1 - a))) for a in (0, 1)]),
            outputs=np.kron(np.eye(2), m.outputs),
        )
    inputs, outputs = (jnp.asarray(matrix, kernel.dtype) for matrix in (m.inputs, m.outputs))
    return Matrices(inputs, kernels.reshape(len(kernels), -1, kernels.shape[3]), outputs)


def upsampled_block(x: Array, kernel: Array, tile: Tile, dtype: Any) -> Parts:
    """`conv_block` of an up-sampled picture, `[N, 2 H, 2 W, D]`, from `x[N, H + 2, W + 2, C]` before up-sampling."""
    _, height, width, channels = x.shape
    height, width, outputs = height - 2, width - 2, kernel.shape[3]
    taps = _summed_taps(kernel, 0)
    if tile[1] == 1:  # both columns in one product, of two rows and three columns
        columns = _columns(x)
        two = jnp.concatenate([columns[:, :-1], columns[:, 1:]], axis=-1)
        both = [_both_columns(rows).reshape(6 * channels, 2 * outputs) for rows in taps]
        return [[_product(two[:, a : a + height], both[a], dtype)] for a in (0, 1)]
    kernels = [_summed_taps(rows, 1) for rows in taps]
    squares = jnp.concatenate([x[:, i : i + height + 1, j : j + width + 1] for i in (0, 1) for j in (0, 1)], axis=-1)

    def one(a: int, b: int) -> Array:
        return _product(squares[:, a : a + height, b : b + width], kernels[a][b].reshape(4 * channels, outputs), dtype)

    return [[one(a, b) for b in (0, 1)] for a in (0, 1)]


def kernel_block(x: Array, y: Array) -> Array:
    channels, outputs = x.shape[3], y.shape[3]
    pixels = (0, 1, 2)
    if channels <= FEW_CHANNELS:
        return dot(_taps(x), y, (pixels, pixels)).reshape(3, 3, channels, outputs)
    if outputs <= FEW_CHANNELS:  # correlate x with y's nine shifts, which run backwards
        shifts = _taps(jnp.pad(y, ((0, 0), (2, 2), (2, 2), (0, 0))))
        taps = dot(x, shifts, (pixels, pixels)).reshape(channels, 3, 3, outputs)
        return jnp.flip(taps, (1, 2)).transpose(1, 2, 0, 3)
    columns, height = _columns(x), y.shape[1]
    rows = [dot(columns[:, i : i + height], y, (pixels, pixels)) for i in range(3)]
    return jnp.stack(rows).reshape(3, 3, channels, outputs)


def _both_columns(kernel: Array) -> Array:
    """`[R, 3, C, 2 D]` of a kernel `[R, 3, C, D]`: of three pixels of the source, both that the middle one becomes."""
    even, odd = _summed_taps(kernel, 1)
    first, last = ((0, 0), (0, 1), (0, 0), (0, 0)), ((0, 0), (1, 0), (0, 0), (0, 0))
    return jnp.concatenate([jnp.pad(even, first), jnp.pad(odd, last)], axis=-1)


def _summed_taps(kernel: Array, axis: int) -> tuple[Array, Array]:
    """What a kernel's three taps along an axis add up to on two pixels of the source, for its even and odd outputs."""
    k0, k1, k2 = jnp.split(kernel, 3, axis)
    return jnp.concatenate([k0, k1 + k2], axis), jnp.concatenate([k0 + k1, k2], axis)


def _columns(x: Array) -> Array:
    """The three horizontal neighbours side by side: `[N, H, W + 2, C] -> [N, H, W, 3 C]`."""
    width = x.shape[2] - 2
    return jnp.concatenate([x[:, :, j : j + width] for j in range(3)], axis=-1)


def _taps(x: Array) -> Array:
    """All nine neighbours side by side: `[N, H + 2, W + 2, C] -> [N, H, W, 9 C]`."""
    return _three_rows(_columns(x))


def _three_rows(x: Array) -> Array:
    """The three vertical neighbours side by side: `[N, H + 2, W, C] -> [N, H, W, 3 C]`."""
    height = x.shape[1] - 2
    return jnp.concatenate([x[:, i : i + height] for i in range(3)], axis=-1)


def _column_pairs(x: Array) -> Array:
    """The four pixels that two neighbouring outputs need: `[N, H, W + 2, C] -> [N, H, W / 2, 4 C]`."""
    n, height, width, channels = x.shape
    halves = [x[:, :, j : width - 2 + j].reshape(n, height, width // 2 - 1, 2 * channels) for j in (0, 2)]
    return jnp.concatenate(halves, axis=-1)


def _kernel_pairs(kernel: Array) -> Array:
    """The kernel for `_column_pairs`: `[3, 3, C, D] -> [3, 4 C, 2 D]`; one of each output's four pixels counts 0."""
    _, _, channels, outputs = kernel.shape
    shifted = [jnp.pad(kernel, ((0, 0), (j, 1 - j), (0, 0), (0, 0))) for j in (0, 1)]
    return jnp.stack(shifted, axis=3).reshape(3, 4 * channels, 2 * outputs)


def bits(x: Array) -> Array:
    """Floats of 16 bits as integers; others as they are."""
    return lax.bitcast_convert_type(x, jnp.uint16) if x.dtype.itemsize == 2 else x


def floats(x: Array, dtype: jnp.dtype[Any]) -> Array:
    """What `bits` was made of."""
    return lax.bitcast_convert_type(x, dtype) if x.dtype == jnp.uint16 else x


def wide(dtype: jnp.dtype[Any]) -> jnp.dtype[Any]:
    """What products accumulate in: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def _product(pixels: Array, matrix: Array, dtype: Any) -> Array:
    """`[..., D]` of `[..., C]`, which may be bits, and `[C, D]`, in `dtype`."""
    return dot(floats(pixels, dtype), matrix.astype(dtype), ((pixels.ndim - 1,), (0,)))


def dot(a: Array, b: Array, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    return lax.dot_general(a, b, (axes, ((), ())), preferred_element_type=wide(b.dtype))


def added(terms: Iterable[Array]) -> Array:
    return reduce(jnp.add, terms)
