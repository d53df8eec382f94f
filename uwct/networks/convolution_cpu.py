"""The 3x3 convolution and its transposes as matrix products, for XLA on the CPU.

Contract: that of convolution.py, whose primitives these functions implement; use those.

XLA's own CPU convolution reaches a fraction of the speed of its matrix products. So a convolution becomes products over
blocks of rows that stay in cache, as few of them as the mathematics allows:

* Winograd's F(2, 3) along the width, two neighbouring outputs of a row from four products instead of six, or in
  float32 (16 bits are too few for its sums) F(4, 3), four from six instead of twelve;
* F(2, 3) of rows by F(4, 3) of columns, eight outputs from 24 products instead of 72, where these are many;
* two neighbouring outputs in one product, at the price of zeros in the kernel, where they are narrow;
* after up-sampling, whose pixels come in equal pairs: each of the four pixels of a square from 2x2 pixels of the source
  and a kernel whose taps are summed, which is 16 products instead of 36;
* all taps of two outputs at once where the input has few channels, all nine of one where the output has.

What surrounds the products is laid out for XLA's CPU backend. Its loops are fast along a long last axis only: narrow
pixels are handled as whole rows, and pixels that come apart (even and odd columns, say) are put in their places part by
part. And it does nothing with bfloat16 but multiply matrices: 16 bits are moved about as integers, since whatever else
would go through float32, the whole picture for each block of rows that is put into it.
"""

import math
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from uwct.networks.winograd import Parts, Tile, correlate

# Elements of the input that one block of rows may hold: with what is gathered from them, about a level-2 cache.
BLOCK_ELEMENTS = 2**18
# Up to so many channels, all taps are gathered (or projected) at once.
FEW_CHANNELS = 4
# Up to so many channels or outputs, a product makes two pixels as they are: cheaper than parts and additions.
NARROW_PIXELS = 16
# From so many channels and outputs on, and so many multiplications a tap, large tiles are worth their additions and
# their compilation; a block, which they share out to many products, then holds more.
LARGE_TILE, TILED_CHANNELS, TILED_WORK, TILED_BLOCKS = (2, 4), 64, 2**29, 4
# From so many channels on, each of the nine taps is worth a product of its own.
WIDE_CHANNELS = 128


def conv(x: Array, kernel: Array) -> Array:
    """`y[N, H, W, D]` of `x[N, H + 2, W + 2, C]` and `kernel[3, 3, C, D]`."""
    shape = (x.shape[0], x.shape[1] - 2, x.shape[2] - 2, kernel.shape[3])
    tile, rows = _plan(jax.ShapeDtypeStruct((*shape[:3], x.shape[3]), x.dtype), kernel)
    source = bits(x)

    def block(start: Array) -> Parts:
        if tile == LARGE_TILE:  # a slice would be part of each of the many sums; what is gathered is made once
            at = start + jnp.arange(rows + 2)
            return _conv_block(_at_rows(source, at), wide, tile, x.dtype)
        return _conv_block(_rows(source, start, rows + 2), wide, tile, x.dtype)

    wide = kernel.astype(_wide(x.dtype))
    return _in_blocks(block, shape, rows, 1, tile, x.dtype)


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
    scale, (tile, rows) = 2 if upsampled else 1, _plan(x, kernel, upsampled)
    around = border_of((height, width), upsampled) if border is None else border
    around = jax.tree.map(lambda number: jnp.asarray(number, int), around)  # 64 bits where those are on
    (above, below), columns = around.beyond
    source = bits(x).reshape(n, height, width * channels)

    def block(start: Array) -> Parts:
        at = start - 1 + jnp.arange(rows + 2)
        at = jnp.where(at < 0, above, jnp.where(at < around.size[0], at, below))
        edge = None if border is None else around.edge
        padded = _padded_columns(_at_rows(source, at).reshape(n, rows + 2, width, channels), columns, edge)
        return (_upsampled_block if upsampled else _conv_block)(padded, wide, tile, x.dtype)

    wide, until = kernel.astype(_wide(x.dtype)), None if border is None else around.size[0]
    shape = (n, scale * height, scale * width, kernel.shape[3])
    return _in_blocks(block, shape, rows, scale, tile, x.dtype, bias, relu, until)


def tile_of(x: Any, kernel: Any, upsampled: bool = False) -> Tile:
    """The rows and columns of outputs that are computed together from features `x[..., H, W, C]`."""
    height, width, _ = x.shape[-3:]
    narrowest = min(kernel.shape[2:])
    if upsampled:
        return 2, 1 if narrowest <= NARROW_PIXELS else 2
    if narrowest <= NARROW_PIXELS or width % 2:
        return 1, 1
    if x.dtype.itemsize == 2 or width % 4:
        return 1, 2
    heavy = narrowest >= TILED_CHANNELS and math.prod(x.shape) * kernel.shape[3] >= TILED_WORK
    return LARGE_TILE if heavy and height % 2 == 0 else (1, 4)


def _plan(x: Any, kernel: Any, upsampled: bool = False) -> tuple[Tile, int]:
    """The tile of outputs, and how many rows of features `x[..., H, W, C]` a block holds."""
    *batch, height, width, channels = x.shape
    tile = tile_of(x, kernel, upsampled)
    elements = BLOCK_ELEMENTS * (TILED_BLOCKS if tile == LARGE_TILE else 1)
    return tile, _rows_in_cache((*batch, height, (4 if upsampled else 1) * width, channels), elements)


def _in_blocks(
    block: Callable[[Array], Parts],
    shape: tuple[int, int, int, int],
    rows: int,
    scale: int,
    tile: Tile,
    dtype: Any,
    bias: Array | None = None,
    relu: bool = False,
    until: Any = None,
) -> Array:
    """The whole `y[N, H, W, D]` of that shape; `block(k)` gives the parts that come of `rows` rows from the k-th on.

    The source, which the rows are of, has H / scale of them. Blocks that begin at the row `until` or after it are left
    out, and 0.
    """
    n, height, width, outputs = shape
    high, apart = tile
    each, last = high // scale, height // scale - rows  # the source's rows to a tile's, and where the last block begins
    until = height // scale if until is None else until
    whole = apart == 1 and outputs > FEW_CHANNELS  # narrow pixels go as one long row
    columns, channels = (1, width * outputs) if whole else (width // apart, outputs)
    biases = None if bias is None else jnp.tile(bias.astype(_wide(dtype)), channels // outputs)

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
    if kernel.shape[3] < WIDE_CHANNELS or y.size > 2 * BLOCK_ELEMENTS:
        flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
        return conv(jnp.pad(y, ((0, 0), (2, 2), (2, 2), (0, 0))), flipped)
    # The border of a small y would be most of the work, so none is added: nine products are laid over each other.
    taps = [(i, j, _dot(y, kernel[i, j], ((3,), (1,)))) for i in range(3) for j in range(3)]
    return _sum(jnp.pad(tap, ((0, 0), (i, 2 - i), (j, 2 - j), (0, 0))) for i, j, tap in taps).astype(y.dtype)


def conv_kernel(x: Array, y: Array) -> Array:
    """`kernel[3, 3, C, D]` of `x[N, H + 2, W + 2, C]` and `y[N, H, W, D]`."""
    dtype = x.dtype
    height, rows = y.shape[1], _rows_in_cache((*y.shape[:3], x.shape[3]), BLOCK_ELEMENTS)
    full = height // rows

    def block(k: Array, total: Array) -> Array:
        return total + _kernel_block(_rows(x, k * rows, rows + 2), _rows(y, k * rows, rows))

    rest = _kernel_block(x[:, full * rows :], y[:, full * rows :]) if height % rows else 0.0
    total = lax.fori_loop(0, full, block, jnp.zeros((3, 3, x.shape[3], y.shape[3]), _wide(dtype)))
    return (total + rest).astype(dtype)


def _conv_block(x: Array, kernel: Array, tile: Tile, dtype: Any) -> Parts:
    """The parts of `[N, H, W, D]` from `x[N, H + 2, W + 2, C]`, bits of `dtype`, and a kernel not yet rounded to it."""
    _, height, width, channels = x.shape
    height, width, outputs = height - 2, width - 2, kernel.shape[3]
    if outputs <= FEW_CHANNELS:  # project every pixel on the nine taps, then shift and add
        p = _product(x, kernel.transpose(2, 0, 1, 3).reshape(channels, 9 * outputs), dtype)
        p = p.reshape(*p.shape[:3], 3, 3, outputs)
        return [[_sum(p[:, i : i + height, j : j + width, i, j] for i in range(3) for j in range(3))]]
    if tile[1] > 1:
        return _winograd_block(x, kernel, tile, dtype)
    if width % 2 == 0:
        columns, rows = _column_pairs(x), _kernel_pairs(kernel)
    else:
        columns, rows = _columns(x), kernel.reshape(3, 3 * channels, outputs)
    if channels <= FEW_CHANNELS:
        return [[_product(_three_rows(columns), rows.reshape(-1, rows.shape[-1]), dtype)]]
    rows = rows.astype(dtype)
    return [[_sum(_product(columns[:, i : i + height], rows[i], dtype) for i in range(3))]]


def _winograd_block(x: Array, kernel: Array, tile: Tile, dtype: Any) -> Parts:
    """`_conv_block` by Winograd's algorithm; with tiles of one row, the taps of a column are summed by the products."""
    if tile[0] == 1:
        x, taps = _three_rows(x), [[kernel[:, j] for j in range(3)]]
    else:
        taps = [[kernel[i, j] for j in range(3)] for i in range(3)]

    def product(v: Array, u: Array) -> Array:
        return _product(v.astype(dtype), u.reshape(v.shape[-1], -1), dtype)

    return correlate(floats(x, dtype).astype(kernel.dtype), taps, tile, product)


def _upsampled_block(x: Array, kernel: Array, tile: Tile, dtype: Any) -> Parts:
    """`_conv_block` of an up-sampled picture, `[N, 2 H, 2 W, D]`, from `x[N, H + 2, W + 2, C]` before up-sampling."""
    _, height, width, channels = x.shape
    height, width, outputs = height - 2, width - 2, kernel.shape[3]
    kernels = [_summed_taps(rows, 1) for rows in _summed_taps(kernel, 0)]
    if tile[1] == 1:  # both columns in one product, of two rows and three columns
        columns = _columns(x)
        two = jnp.concatenate([columns[:, :-1], columns[:, 1:]], axis=-1)

        def both(a: int) -> Array:
            pair = [jnp.pad(kernels[a][b], ((0, 0), (b, 1 - b), (0, 0), (0, 0))) for b in (0, 1)]
            return jnp.concatenate(pair, axis=-1).reshape(6 * channels, 2 * outputs)

        return [[_product(two[:, a : a + height], both(a), dtype)] for a in (0, 1)]
    squares = jnp.concatenate([x[:, i : i + height + 1, j : j + width + 1] for i in (0, 1) for j in (0, 1)], axis=-1)

    def one(a: int, b: int) -> Array:
        return _product(squares[:, a : a + height, b : b + width], kernels[a][b].reshape(4 * channels, outputs), dtype)

    return [[one(a, b) for b in (0, 1)] for a in (0, 1)]


def _summed_taps(kernel: Array, axis: int) -> tuple[Array, Array]:
    """What a kernel's three taps along an axis add up to on two pixels of the source, for its even and odd outputs."""
    k0, k1, k2 = jnp.split(kernel, 3, axis)
    return jnp.concatenate([k0, k1 + k2], axis), jnp.concatenate([k0 + k1, k2], axis)


def _kernel_block(x: Array, y: Array) -> Array:
    channels, outputs = x.shape[3], y.shape[3]
    pixels = (0, 1, 2)
    if channels <= FEW_CHANNELS:
        return _dot(_taps(x), y, (pixels, pixels)).reshape(3, 3, channels, outputs)
    if outputs <= FEW_CHANNELS:  # correlate x with y's nine shifts, which run backwards
        shifts = _taps(jnp.pad(y, ((0, 0), (2, 2), (2, 2), (0, 0))))
        taps = _dot(x, shifts, (pixels, pixels)).reshape(channels, 3, 3, outputs)
        return jnp.flip(taps, (1, 2)).transpose(1, 2, 0, 3)
    columns, height = _columns(x), y.shape[1]
    rows = [_dot(columns[:, i : i + height], y, (pixels, pixels)) for i in range(3)]
    return jnp.stack(rows).reshape(3, 3, channels, outputs)


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


def _at_rows(x: Array, rows: Array) -> Array:
    """Those rows of `x[N, H, ...]`, all of which there are."""
    return x.at[:, rows].get(mode="promise_in_bounds", wrap_negative_indices=False)


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


def _wide(dtype: jnp.dtype[Any]) -> jnp.dtype[Any]:
    """What products accumulate in: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def _product(pixels: Array, matrix: Array, dtype: Any) -> Array:
    """`[..., D]` of `[..., C]`, which may be bits, and `[C, D]`, in `dtype`."""
    return _dot(floats(pixels, dtype), matrix.astype(dtype), ((pixels.ndim - 1,), (0,)))


def _dot(a: Array, b: Array, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    return lax.dot_general(a, b, (axes, ((), ())), preferred_element_type=_wide(b.dtype))


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(jnp.add, terms)


def _rows_in_cache(shape: tuple[int, ...], elements: int) -> int:
    """The rows of features `[..., H, W, C]` that a block holds; of few channels, many more are gathered or come out."""
    *batch, height, width, channels = shape
    rows = elements // max(1, math.prod(batch) * width * max(channels, NARROW_PIXELS))
    return min(height, max(2, rows // 2 * 2))  # an even number, for tiles of two rows


def _rows(x: Array, start: Array | int, size: int) -> Array:
    return lax.dynamic_slice_in_dim(x, start, size, axis=1)
