"""The 3x3 convolution as a JAX primitive: `lax.conv` on accelerators, matrix products on the CPU.

Contract: `x[N, H + 2, W + 2, C]` is already padded, `kernel[3, 3, C, D]`, the result is `[N, H, W, D]`, all of one
dtype; products accumulate in float32 (float64 for float64 inputs).

XLA's own CPU convolution reaches a fraction of the speed of its matrix products, so on the CPU the convolution is
written as products over blocks of rows that stay in cache. A convolution is bilinear, and the transpose of a
convolution is again one of two bilinear maps, `conv3x3_valid` and `conv3x3_kernel`; declared as primitives they are
closed under JAX's transformations, forward and reverse mode of any order, `vmap`, `jit` and `pmap`, always at the speed
of matrix products. (An ordinary function would be transposed product by product into slow scattered additions;
`custom_vjp` would lose forward mode, and `linear_call` has no `vmap`.)
"""

from collections.abc import Iterable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# Elements of the input that one block of rows may hold: 512 KiB in bfloat16, about half of a core's level-2 cache.
BLOCK_ELEMENTS = 2**18
# Up to so many channels, all nine taps are gathered (or projected) at once, for products of a useful size.
FEW_CHANNELS = 4


def conv3x3_valid(x: Array, kernel: Array) -> Array:
    """Correlates `x[N, H + 2, W + 2, C]` with `kernel[3, 3, C, D]`: `[N, H, W, D]`."""
    return conv_p.bind(x, kernel)


def conv3x3_kernel(x: Array, y: Array) -> Array:
    """Correlates `x[N, H + 2, W + 2, C]` with `y[N, H, W, D]`: `[3, 3, C, D]`, the gradient of a kernel."""
    return kernel_p.bind(x, y)


def _conv3x3_input(y: Array, kernel: Array) -> Array:
    """The transpose in x: spreads `y[N, H, W, D]` with `kernel[3, 3, C, D]`: `[N, H + 2, W + 2, C]`."""
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return conv3x3_valid(jnp.pad(y, ((0, 0), (2, 2), (2, 2), (0, 0))), flipped)


conv_p = Primitive("conv3x3")
kernel_p = Primitive("conv3x3_kernel")
ad.defbilinear(conv_p, lambda ct, x, k: _conv3x3_input(ct, k), lambda ct, x, k: conv3x3_kernel(x, ct))
ad.defbilinear(kernel_p, lambda ct, x, y: _conv3x3_input(y, ct), lambda ct, x, y: conv3x3_valid(x, ct))


# --- shapes -------------------------------------------------------------------------------------------------------


@conv_p.def_abstract_eval
def _conv_shape(x: Any, kernel: Any) -> Any:
    if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[:3] != (3, 3, x.shape[3]) or min(x.shape[1:3]) < 3:
        raise ValueError(
            f"conv3x3 takes x[N, H + 2, W + 2, C] and kernel[3, 3, C, D], not {x.shape} and {kernel.shape}"
        )
    _check_dtypes(x, kernel)
    n, h, w, _ = x.shape
    return x.update(shape=(n, h - 2, w - 2, kernel.shape[3]), weak_type=False)


@kernel_p.def_abstract_eval
def _kernel_shape(x: Any, y: Any) -> Any:
    if x.ndim != 4 or y.ndim != 4 or (x.shape[0], x.shape[1] - 2, x.shape[2] - 2) != y.shape[:3]:
        raise ValueError(f"conv3x3_kernel takes x[N, H + 2, W + 2, C] and y[N, H, W, D], not {x.shape} and {y.shape}")
    _check_dtypes(x, y)
    return x.update(shape=(3, 3, x.shape[3], y.shape[3]), weak_type=False)


def _check_dtypes(a: Any, b: Any) -> None:
    if a.dtype != b.dtype:
        raise TypeError(f"both arrays must have one dtype, not {a.dtype} and {b.dtype}")


# --- vmap ---------------------------------------------------------------------------------------------------------


def _batch_conv(args: Any, axes: Any) -> tuple[Array, int]:
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:  # the batch joins the pictures
        x = jnp.moveaxis(x, x_axis, 0)
        y = conv3x3_valid(x.reshape(-1, *x.shape[2:]), kernel)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    return _map_batch(conv3x3_valid, args, axes)


def _map_batch(function: Any, args: Any, axes: Any) -> tuple[Array, int]:
    mapped = [jnp.moveaxis(a, axis, 0) for a, axis in zip(args, axes, strict=True) if axis is not None]

    def one(slices: list[Array]) -> Array:
        rest = iter(slices)
        return function(*(a if axis is None else next(rest) for a, axis in zip(args, axes, strict=True)))

    return lax.map(one, mapped), 0


batching.primitive_batchers[conv_p] = _batch_conv
batching.primitive_batchers[kernel_p] = partial(_map_batch, conv3x3_kernel)


# --- accelerators -------------------------------------------------------------------------------------------------


def _conv_native(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _kernel_native(x: Array, y: Array) -> Array:
    return lax.conv_general_dilated(x, y, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC"))


# --- the CPU ------------------------------------------------------------------------------------------------------


def _dot(a: Array, b: Array, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    wide = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    return lax.dot_general(a, b, (axes, ((), ())), preferred_element_type=wide)


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(jnp.add, terms)


def _columns(x: Array) -> Array:
    """The three horizontal neighbours side by side: `[N, H, W + 2, C] -> [N, H, W, 3 C]`."""
    width = x.shape[2] - 2
    return jnp.concatenate([x[:, :, j : j + width] for j in range(3)], axis=-1)


def _taps(x: Array) -> Array:
    """All nine neighbours side by side: `[N, H + 2, W + 2, C] -> [N, H, W, 9 C]`."""
    x, height = _columns(x), x.shape[1] - 2
    return jnp.concatenate([x[:, i : i + height] for i in range(3)], axis=-1)


def _conv_block(x: Array, kernel: Array) -> Array:
    _, height, width, channels = x.shape
    outputs = kernel.shape[3]
    if channels <= FEW_CHANNELS:
        return _dot(_taps(x), kernel.reshape(9 * channels, outputs), ((3,), (0,)))
    if outputs <= FEW_CHANNELS:  # project every pixel on the nine taps, then shift and add
        p = _dot(x, kernel.transpose(2, 0, 1, 3).reshape(channels, 9 * outputs), ((3,), (0,)))
        p = p.reshape(*p.shape[:3], 3, 3, outputs)
        return _sum(p[:, i : i + height - 2, j : j + width - 2, i, j] for i in range(3) for j in range(3))
    columns, kernel = _columns(x), kernel.reshape(3, 3 * channels, outputs)
    return _sum(_dot(columns[:, i : i + height - 2], kernel[i], ((3,), (0,))) for i in range(3))


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


def _block_rows(x: Array) -> int:
    n, height, width, channels = x.shape
    return max(1, min(height - 2, BLOCK_ELEMENTS // max(1, n * width * channels)))


def _rows(x: Array, start: Array | int, size: int) -> Array:
    return lax.dynamic_slice_in_dim(x, start, size, axis=1)


def _conv_products(x: Array, kernel: Array) -> Array:
    dtype = x.dtype
    n, height, width = x.shape[0], x.shape[1] - 2, x.shape[2] - 2
    rows = _block_rows(x)
    if rows == height:
        return _conv_block(x, kernel).astype(dtype)

    def block(k: Array, y: Array) -> Array:
        # Slices that would run over the end are moved back inside, alike for x and y: the last block may overlap.
        part = _conv_block(_rows(x, k * rows, rows + 2), kernel).astype(dtype)
        return lax.dynamic_update_slice_in_dim(y, part, k * rows, axis=1)

    return lax.fori_loop(0, -(-height // rows), block, jnp.zeros((n, height, width, kernel.shape[3]), dtype))


def _kernel_products(x: Array, y: Array) -> Array:
    dtype = x.dtype
    height, rows = y.shape[1], _block_rows(x)
    full = height // rows

    def block(k: Array, total: Array) -> Array:
        return total + _kernel_block(_rows(x, k * rows, rows + 2), _rows(y, k * rows, rows))

    rest = _kernel_block(x[:, full * rows :], y[:, full * rows :]) if height % rows else 0.0
    wide = jnp.promote_types(dtype, jnp.float32)
    total = lax.fori_loop(0, full, block, jnp.zeros((3, 3, x.shape[3], y.shape[3]), wide))
    return (total + rest).astype(dtype)


def _lower(primitive: Primitive, native: Any, products: Any) -> None:
    compiled = jax.jit(lambda *args: primitive.bind(*args))
    config: Any = jax.config  # whose flags type checkers do not see
    primitive.def_impl(lambda *args: products(*args) if config.jax_disable_jit else compiled(*args))
    mlir.register_lowering(primitive, mlir.lower_fun(native, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(products, multiple_results=False), platform="cpu")


_lower(conv_p, _conv_native, _conv_products)
_lower(kernel_p, _kernel_native, _kernel_products)
