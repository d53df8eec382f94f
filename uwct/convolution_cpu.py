"""The 3x3 convolution and its transposes as matrix products, for XLA on the CPU.

Contract: that of convolution.py, whose primitives these functions implement; use those.

XLA's own CPU convolution reaches a fraction of the speed of its matrix products. So a convolution becomes products over
blocks of rows that stay in cache, as few of them as the mathematics allows:

* Winograd's F(2, 3) (Lavin and Gray, CVPR 2016) along the width: two neighbouring outputs of a row from four products
  instead of six;
* two neighbouring outputs in one product, at the price of a quarter of zeros in the kernel, where they are narrow;
* after up-sampling, whose pixels come in equal pairs: each of the four pixels of a square from 2x2 pixels of the source
  and a kernel whose taps are summed, which is 16 products instead of 36;
* all nine taps at once where the input has few channels, or the output.

Numbers of 16 bits are moved about as integers of their bits: XLA's CPU backend does nothing with bfloat16 but multiply
matrices; whatever else would go through float32, the whole picture for each block of rows that is put into it.
"""

from collections.abc import Iterable
from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

# Elements of the input that one block of rows may hold: with what is gathered from them, about a level-2 cache.
BLOCK_ELEMENTS = 2**18
# Up to so many channels, all nine taps are gathered (or projected) at once.
FEW_CHANNELS = 4
# Up to so many outputs, a product makes two pixels as they are, which costs less than Winograd's additions.
NARROW_OUTPUTS = 32
# From so many channels on, each of the nine taps is worth a product of its own.
WIDE_CHANNELS = 128


def conv(x: Array, kernel: Array) -> Array:
    """`y[N, H, W, D]` of `x[N, H + 2, W + 2, C]` and `kernel[3, 3, C, D]`."""
    dtype = x.dtype
    n, height, width = x.shape[0], x.shape[1] - 2, x.shape[2] - 2
    rows = _block_rows(x)
    source = _bits(x)

    def block(k: Array, y: Array) -> Array:
        # Slices that would run over the end are moved back inside, alike for x and y: the last block may overlap.
        part = _conv_block(_rows(source, k * rows, rows + 2), kernel).astype(dtype)
        return lax.dynamic_update_slice_in_dim(y, _bits(part), k * rows, axis=1)

    y = jnp.zeros((n, height, width, kernel.shape[3]), source.dtype)
    return _floats(lax.fori_loop(0, -(-height // rows), block, y), dtype)


def layer(x: Array, kernel: Array, bias: Array, *, relu: bool, upsampled: bool) -> Array:
    """A whole layer, `y[N, s H, s W, D]` of `x[N, H, W, C]`: up-sampling (s = 2), reflection, convolution, ReLU.

    Each block of rows goes through all of it while it is in cache. H and W are at least 2.
    """
    dtype = x.dtype
    x = _bits(x)
    n, height, width, channels = x.shape
    scale = 2 if upsampled else 1
    rows = min(height, max(1, BLOCK_ELEMENTS // max(1, scale**2 * n * width * channels)))
    # An up-sampled picture's reflection about its border pixel is that pixel's twin: the source's border pixel.
    edge = 0 if upsampled else 1

    def block(start: Array) -> Array:
        above = jnp.where(start == 0, edge, start - 1)
        below = jnp.where(start == height - rows, height - 1 - edge, start + rows)
        source = jnp.concatenate([_rows(x, above, 1), _rows(x, start, rows), _rows(x, below, 1)], axis=1)
        padded = _padded_columns(source, edge)
        y = _upsampled_block(padded, kernel) if upsampled else _conv_block(padded, kernel)
        y = y + bias.astype(y.dtype)
        return _bits((jnp.maximum(y, 0) if relu else y).astype(dtype))

    def step(k: Array, y: Array) -> Array:
        start = jnp.minimum(k * rows, height - rows)  # the last block may lie over the one before
        return lax.dynamic_update_slice_in_dim(y, block(start), start * scale, axis=1)

    y = jnp.zeros((n, scale * height, scale * width, kernel.shape[3]), x.dtype)
    return _floats(lax.fori_loop(0, -(-height // rows), step, y), dtype)


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
    height, rows = y.shape[1], _block_rows(x)
    full = height // rows

    def block(k: Array, total: Array) -> Array:
        return total + _kernel_block(_rows(x, k * rows, rows + 2), _rows(y, k * rows, rows))

    rest = _kernel_block(x[:, full * rows :], y[:, full * rows :]) if height % rows else 0.0
    total = lax.fori_loop(0, full, block, jnp.zeros((3, 3, x.shape[3], y.shape[3]), _wide(dtype)))
    return (total + rest).astype(dtype)


def _conv_block(x: Array, kernel: Array) -> Array:
    _, height, width, channels = x.shape
    height, width, outputs = height - 2, width - 2, kernel.shape[3]
    if channels <= FEW_CHANNELS:
        return _dot(_taps(x), kernel.reshape(9 * channels, outputs), ((3,), (0,)))
    if outputs <= FEW_CHANNELS:  # project every pixel on the nine taps, then shift and add
        p = _dot(x, kernel.transpose(2, 0, 1, 3).reshape(channels, 9 * outputs), ((3,), (0,)))
        p = p.reshape(*p.shape[:3], 3, 3, outputs)
        return _sum(p[:, i : i + height, j : j + width, i, j] for i in range(3) for j in range(3))
    if width % 2 == 0 and outputs > NARROW_OUTPUTS:
        return _winograd_block(x, kernel)
    if width % 2 == 0:
        columns, kernel = _column_pairs(x), _kernel_pairs(kernel)
    else:
        columns, kernel = _columns(x), kernel.reshape(3, 3 * channels, outputs)
    y = _sum(_dot(columns[:, i : i + height], kernel[i], ((3,), (0,))) for i in range(3))
    return y.reshape(x.shape[0], height, width, outputs)


def _winograd_block(x: Array, kernel: Array) -> Array:
    """`_conv_block` of an even width: outputs 2 j and 2 j + 1 from the pixels 2 j to 2 j + 3 of three rows."""
    n, height, width, channels = x.shape
    height, width = height - 2, width - 2
    wide = _wide(kernel.dtype)
    g = kernel.astype(wide)
    pairs = _floats(x, kernel.dtype).astype(wide).reshape(n, height + 2, width // 2 + 1, 2, channels)
    d0, d1, d2, d3 = pairs[:, :, :-1, 0], pairs[:, :, :-1, 1], pairs[:, :, 1:, 0], pairs[:, :, 1:, 1]
    inputs = (d0 - d2, d1 + d2, d2 - d1, d1 - d3)
    kernels = (g[:, 0], (g[:, 0] + g[:, 1] + g[:, 2]) / 2, (g[:, 0] - g[:, 1] + g[:, 2]) / 2, g[:, 2])

    def product(v: Array, u: Array) -> Array:
        v, u = _bits(v.astype(kernel.dtype)), u.astype(kernel.dtype)
        return _sum(_dot(v[:, i : i + height], u[i], ((3,), (0,))) for i in range(3))

    m0, m1, m2, m3 = map(product, inputs, kernels)
    return jnp.stack([m0 + m1 + m2, m1 - m2 - m3], axis=3).reshape(n, height, width, -1)


# Which of a kernel's three taps fall on which of two pixels of the source: [the output's parity, pixel, tap].
PHASES = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))


def _upsampled_block(x: Array, kernel: Array) -> Array:
    """The convolution of an up-sampled picture, `[N, 2 H, 2 W, D]`, from `x[N, H + 2, W + 2, C]` before up-sampling."""
    n, height, width, channels = x.shape
    height, width, outputs = height - 2, width - 2, kernel.shape[3]
    taps = jnp.asarray(PHASES, _wide(kernel.dtype))
    summed = jnp.einsum("ati,buj,ijcd->abtucd", taps, taps, kernel, precision=lax.Precision.HIGHEST)
    kernels = summed.reshape(2, 2, 4 * channels, outputs).astype(kernel.dtype)
    squares = jnp.concatenate([x[:, i : i + height + 1, j : j + width + 1] for i in (0, 1) for j in (0, 1)], axis=-1)
    y = [[_dot(squares[:, a : a + height, b : b + width], kernels[a, b], ((3,), (0,))) for b in (0, 1)] for a in (0, 1)]
    return jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2).reshape(n, 2 * height, 2 * width, outputs)


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


def _padded_columns(x: Array, edge: int) -> Array:
    """One more column on either side, a copy of the one that is `edge` from the border."""
    width = x.shape[2]
    return jnp.concatenate([x[:, :, edge : edge + 1], x, x[:, :, width - 1 - edge : width - edge]], axis=2)


def _columns(x: Array) -> Array:
    """The three horizontal neighbours side by side: `[N, H, W + 2, C] -> [N, H, W, 3 C]`."""
    width = x.shape[2] - 2
    return jnp.concatenate([x[:, :, j : j + width] for j in range(3)], axis=-1)


def _taps(x: Array) -> Array:
    """All nine neighbours side by side: `[N, H + 2, W + 2, C] -> [N, H, W, 9 C]`."""
    x, height = _columns(x), x.shape[1] - 2
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


def _bits(x: Array) -> Array:
    """Floats of 16 bits as integers; others as they are."""
    return lax.bitcast_convert_type(x, jnp.uint16) if x.dtype.itemsize == 2 else x


def _floats(x: Array, dtype: jnp.dtype[Any]) -> Array:
    """What `_bits` was made of."""
    return lax.bitcast_convert_type(x, dtype) if x.dtype == jnp.uint16 else x


def _wide(dtype: jnp.dtype[Any]) -> jnp.dtype[Any]:
    """What products accumulate in: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def _dot(a: Array, b: Array, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    a = _floats(a, b.dtype)
    return lax.dot_general(a, b, (axes, ((), ())), preferred_element_type=_wide(b.dtype))


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(jnp.add, terms)


def _block_rows(x: Array) -> int:
    n, height, width, channels = x.shape
    return max(1, min(height - 2, BLOCK_ELEMENTS // max(1, n * width * channels)))


def _rows(x: Array, start: Array | int, size: int) -> Array:
    return lax.dynamic_slice_in_dim(x, start, size, axis=1)
