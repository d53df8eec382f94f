"""The 3x3 convolution and its transposes as matrix products, for XLA on the CPU.

Contract: that of convolution.py, whose primitives these functions implement; use those.

XLA's own CPU convolution reaches a fraction of the speed of its matrix products. So a convolution becomes products over
blocks of rows that stay in cache, as few of them as the mathematics allows:

* Winograd's F(4, 3) of rows, four outputs of a column from six products instead of twelve, in float32, which narrow
  features of 16 bits become; for wide ones, F(2, 3) of columns, two outputs of a row from four products instead of six;
* F(2, 3) of rows by F(4, 3) of columns, eight outputs from 24 products instead of 72, where these are many;
* two neighbouring outputs in one product, at the price of zeros in the kernel, where these or the channels are few;
* after up-sampling, whose pixels come in equal pairs: each of the four pixels of a square from 2x2 pixels of the source
  and a kernel whose taps are summed, which is 16 products instead of 36, or by F(4, 2) of rows besides, which is ten;
* all taps of two outputs at once where the input has few channels, all nine of one where the output has.

What surrounds the products is laid out for XLA's CPU backend. Its loops are fast along a long last axis only: narrow
pixels are handled as whole rows, and pixels that come apart (even and odd columns, say) are put in their places part by
part. And it does nothing with bfloat16 but multiply matrices: 16 bits are moved about as integers, since whatever else
would go through float32, the whole picture for each block of rows that is put into it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from uwct.networks import block_plan
from uwct.networks.block_plan import LARGE_TILE, WIDE_CHANNELS, Plan, plan_of, rows_in_cache
from uwct.networks.block_products import (
    FEW_CHANNELS,
    added,
    bits,
    conv_block,
    dot,
    floats,
    kernel_block,
    row_matrices,
    row_tiles,
    tile_rows,
    upsampled_block,
    wide,
)
from uwct.networks.winograd import Parts


def conv(x: Array, kernel: Array) -> Array:
    """`y[N, H, W, D]` of `x[N, H + 2, W + 2, C]` and `kernel[3, 3, C, D]`."""
    shape = (x.shape[0], x.shape[1] - 2, x.shape[2] - 2, kernel.shape[3])
    plan = plan_of(jax.ShapeDtypeStruct((*shape[:3], x.shape[3]), x.dtype), kernel)
    source, (reach, products) = bits(x), _products_of(kernel, plan, False, x.dtype)

    def block(start: Array) -> Parts:
        if plan.by_rows:
            return products(_widened(_at_rows(source, start + reach), x.dtype))
        if plan.tile == LARGE_TILE:  # a slice would be part of each of many sums; what is gathered is made once
            return products(_at_rows(source, start + reach))
        return products(_rows(source, start, plan.rows + 2))

    return _in_blocks(block, shape, plan, x.dtype)


class Border(NamedTuple):
    """An extent, the upper left that counts, and what a layer needs to know of its border.

    Numbers, since each that a program worked out itself took it 5 ms more to compile.

    Attributes:
      size: its rows and columns.
      beyond: the rows, then the columns, that reflection puts before the first and after the last.
      edge: the column after the last, counted with the one before the first.
    """

    size: tuple[Any, Any]
    beyond: tuple[tuple[Any, Any], tuple[Any, Any]]
    edge: Any


def border_of(extent: tuple[Any, Any], upsampled: bool) -> Border:
    """The border of an extent, numbers that may be traced, for `layer`."""
    traced = not all(isinstance(side, int) for side in extent)
    minimum, maximum = (jnp.minimum, jnp.maximum) if traced else (min, max)
    # An up-sampled picture's reflection about its border pixel is that pixel's twin: the source's border pixel.
    step = 0 if upsampled else 1
    beyond = [(minimum(step, side - 1), maximum(side - 1 - step, 0)) for side in extent]
    number = jnp.int32 if traced else np.int32
    return jax.tree.map(number, Border(extent, (beyond[0], beyond[1]), extent[1] + 1))


def layer(x: Array, kernel: Array, bias: Array, border: Border | None, *, relu: bool, upsampled: bool) -> Array:
    """A whole layer, `y[N, s H, s W, D]` of `x[N, H, W, C]`: up-sampling (s = 2), reflection, convolution, ReLU.

    Each block of rows goes through all of it while it is in cache. Blocks beyond an extent's border are left out, and
    what lies beyond comes out as anything finite. H and W are at least 2.
    """
    n, height, width, channels = x.shape
    plan = plan_of(x, kernel, upsampled)
    around = border_of((height, width), upsampled) if border is None else border
    around = jax.tree.map(lambda number: jnp.asarray(number, int), around)  # 64 bits where those are on
    (above, below), columns = around.beyond
    edge, until = (None, None) if border is None else (around.edge, around.size[0])
    source = bits(x).reshape(n, height, width * channels)

    def padded(x: Array) -> Array:
        return _padded_columns(x.reshape(-1, x.shape[-2], width, channels), columns, edge)

    reach, products = _products_of(kernel, plan, upsampled, x.dtype, padded)

    def taken(at: Array) -> Array:
        rows = _at_rows(source, at)
        return _widened(rows, x.dtype) if plan.by_rows else rows

    def reflected(at: Array) -> Array:
        return taken(jnp.where(at < 0, above, jnp.where(at < around.size[0], at, below)))

    def block(start: Array) -> Parts:
        at = start - 1 + reach
        if not plan.by_rows:
            return products(reflected(at))
        # What a branch gives is not fused with its reshaping to a matrix, which would look up the row of each number.
        inside = (start > 0) & (start + plan.rows < around.size[0])
        return products(lax.cond(inside, taken, reflected, at))

    scale = 2 if upsampled else 1
    shape = (n, scale * height, scale * width, kernel.shape[3])
    return _in_blocks(block, shape, plan, x.dtype, bias, relu, until, scale)


def _products_of(
    kernel: Array, plan: Plan, upsampled: bool, dtype: Any, padded: Callable[[Array], Array] = lambda x: x
) -> tuple[Array, Callable[[Array], Parts]]:
    """The rows that a block comes of, counted from its first output's first, and what makes the parts of those rows."""
    kernel = kernel.astype(wide(dtype))
    if plan.by_rows:
        return tile_rows(plan.rows), partial(row_tiles, matrices=row_matrices(kernel, upsampled), padded=padded)
    block = upsampled_block if upsampled else conv_block
    return jnp.arange(plan.rows + 2), lambda x: block(padded(x), kernel, plan.tile, dtype)


def _in_blocks(
    block: Callable[[Array], Parts],
    shape: tuple[int, int, int, int],
    plan: Plan,
    dtype: Any,
    bias: Array | None = None,
    relu: bool = False,
    until: Any = None,
    scale: int = 1,
) -> Array:
    """The whole `y[N, H, W, D]` of that shape; `block(k)` gives the parts that come of a block's rows from the k-th on.

    The source, which the rows are of, has H / scale of them. Blocks that begin at the row `until` or after it are left
    out, and 0.
    """
    n, height, width, outputs = shape
    (high, apart), rows = plan.apart, plan.rows
    each, last = high // scale, height // scale - rows  # the source's rows to a tile's, and where the last block begins
    until = height // scale if until is None else until
    whole = apart == 1 and outputs > FEW_CHANNELS  # narrow pixels go as one long row
    columns, channels = (1, width * outputs) if whole else (width // apart, outputs)
    # As one long row: of a bias for each pixel, every number would be looked up.
    biases = None if bias is None else lax.optimization_barrier(jnp.tile(bias.astype(wide(dtype)), channels // outputs))

    def finished(sums: Array) -> Array:
        y = sums.reshape(n, scale * rows // high, columns, channels)
        y = y if biases is None else y + biases
        return bits((jnp.maximum(y, 0) if relu else y).astype(dtype))

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        top, y = state  # a row of tiles
        for i, row in enumerate(block(jnp.minimum(each * top, last))):
            for j, part in enumerate(row):
                at = (0, top, i * columns, j * channels)  # XLA moves it, too, where the last block would reach too far
                y = lax.dynamic_update_slice(y, finished(part), at, allow_negative_indices=False)
        return top + rows // each, y

    y = bits(jnp.zeros((n, height // high, high * columns, apart * channels), dtype))
    _, y = lax.while_loop(lambda state: each * state[0] < until, step, (jnp.asarray(0), y))
    return floats(y, dtype).reshape(shape)


def conv_input(y: Array, kernel: Array) -> Array:
    """`x[N, H + 2, W + 2, C]` of `y[N, H, W, D]` and `kernel[3, 3, C, D]`."""
    if kernel.shape[3] < WIDE_CHANNELS or y.size > 2 * block_plan.BLOCK_ELEMENTS:
        flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
        return conv(jnp.pad(y, ((0, 0), (2, 2), (2, 2), (0, 0))), flipped)
    # The border of a small y would be most of the work, so none is added: nine products are laid over each other.
    taps = [(i, j, dot(y, kernel[i, j], ((3,), (1,)))) for i in range(3) for j in range(3)]
    return added(jnp.pad(tap, ((0, 0), (i, 2 - i), (j, 2 - j), (0, 0))) for i, j, tap in taps).astype(y.dtype)


def conv_kernel(x: Array, y: Array) -> Array:
    """`kernel[3, 3, C, D]` of `x[N, H + 2, W + 2, C]` and `y[N, H, W, D]`."""
    dtype = x.dtype
    height, rows = y.shape[1], rows_in_cache((*y.shape[:3], x.shape[3]), block_plan.BLOCK_ELEMENTS)
    full = height // rows

    def block(k: Array, total: Array) -> Array:
        return total + kernel_block(_rows(x, k * rows, rows + 2), _rows(y, k * rows, rows))

    rest = kernel_block(x[:, full * rows :], y[:, full * rows :]) if height % rows else 0.0
    total = lax.fori_loop(0, full, block, jnp.zeros((3, 3, x.shape[3], y.shape[3]), wide(dtype)))
    return (total + rest).astype(dtype)


def _padded_columns(x: Array, beyond: tuple[Any, Any], edge: Any) -> Array:
    """`[N, H, W + 2, C]` of `x[N, H, W, C]`: copies of two of its columns before and after, or at an `edge` within."""
    n, height, width, channels = x.shape

    def column(at: Any) -> Array:
        return lax.dynamic_slice(x, (0, 0, at, 0), (n, height, 1, channels), allow_negative_indices=False)

    parts = [column(beyond[0]), x, column(beyond[1])]
    if edge is None:  # as whole rows, which are copied faster than pixels
        rows = [part.reshape(n, height, -1) for part in parts]
        return jnp.concatenate(rows, axis=2).reshape(n, height, width + 2, channels)
    padded = jnp.concatenate(parts, axis=2)
    return lax.dynamic_update_slice(padded, column(beyond[1]), (0, 0, edge, 0), allow_negative_indices=False)


def _widened(x: Array, dtype: Any) -> Array:
    """Floats of 16 bits, as integers, in what products accumulate in; others as they are."""
    return floats(x, dtype).astype(wide(dtype))


def _at_rows(x: Array, rows: Array) -> Array:
    """Those rows of `x[N, H, ...]`, all of which there are."""
    return x.at[:, rows].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _rows(x: Array, start: Array | int, size: int) -> Array:
    return lax.dynamic_slice_in_dim(x, start, size, axis=1)
