"""The 3x3 convolution as JAX primitives: `lax.conv` on accelerators, matrix products on the CPU.

Contract: `x[N, H + 2, W + 2, C]` is already padded, `kernel[3, 3, C, D]`, the result is `y[N, H, W, D]`, all of one
dtype; products accumulate in float32 (float64 for float64 inputs).

A convolution is bilinear, and its two transposes are bilinear again: x, kernel and y each come from the other two. The
three maps, declared as primitives, are closed under JAX's transformations, forward and reverse mode of any order,
`vmap`, `jit` and `pmap`, always at the speed of the form that suits the platform. (On the CPU that is
convolution_cpu.py; an ordinary function in that form would be transposed product by product into slow scattered
additions, `custom_vjp` would lose forward mode, and `linear_call` has no `vmap`.)
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.export import is_symbolic_dim
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from uwct.networks import convolution_cpu


def conv3x3_valid(x: Array, kernel: Array) -> Array:
    """Correlates `x[N, H + 2, W + 2, C]` with `kernel[3, 3, C, D]`: `y[N, H, W, D]`."""
    return conv_p.bind(x, kernel)


def conv3x3_input(y: Array, kernel: Array) -> Array:
    """Spreads `y[N, H, W, D]` with `kernel[3, 3, C, D]`: `x[N, H + 2, W + 2, C]`, the gradient of an input."""
    return input_p.bind(y, kernel)


def conv3x3_kernel(x: Array, y: Array) -> Array:
    """Correlates `x[N, H + 2, W + 2, C]` with `y[N, H, W, D]`: `[3, 3, C, D]`, the gradient of a kernel."""
    return kernel_p.bind(x, y)


conv_p, input_p, kernel_p = (Primitive(f"conv3x3_{name}") for name in ("valid", "input", "kernel"))
ad.defbilinear(conv_p, lambda ct, x, k: conv3x3_input(ct, k), lambda ct, x, k: conv3x3_kernel(x, ct))
ad.defbilinear(input_p, lambda ct, y, k: conv3x3_valid(ct, k), lambda ct, y, k: conv3x3_kernel(ct, y))
ad.defbilinear(kernel_p, lambda ct, x, y: conv3x3_input(y, ct), lambda ct, x, y: conv3x3_valid(x, ct))


# --- shapes -------------------------------------------------------------------------------------------------------


@conv_p.def_abstract_eval
def _conv_shape(x: Any, kernel: Any) -> Any:
    fits = x.ndim == kernel.ndim == 4 and kernel.shape[:3] == (3, 3, x.shape[3])
    if not fits or x.shape[1] < 3 or x.shape[2] < 3:
        raise ValueError(
            f"conv3x3 takes x[N, H + 2, W + 2, C] and kernel[3, 3, C, D], not {x.shape} and {kernel.shape}"
        )
    _check_dtypes(x, kernel)
    n, h, w, _ = x.shape
    return x.update(shape=(n, h - 2, w - 2, kernel.shape[3]), weak_type=False)


@input_p.def_abstract_eval
def _input_shape(y: Any, kernel: Any) -> Any:
    if y.ndim != 4 or kernel.ndim != 4 or kernel.shape[:2] != (3, 3) or kernel.shape[3] != y.shape[3]:
        raise ValueError(f"conv3x3_input takes y[N, H, W, D] and kernel[3, 3, C, D], not {y.shape} and {kernel.shape}")
    _check_dtypes(y, kernel)
    n, h, w, _ = y.shape
    return y.update(shape=(n, h + 2, w + 2, kernel.shape[2]), weak_type=False)


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


def _batch_pictures(function: Any, args: Any, axes: Any) -> tuple[Array, int]:
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:  # the batch joins the pictures
        x = jnp.moveaxis(x, x_axis, 0)
        y = function(x.reshape(-1, *x.shape[2:]), kernel)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    return _map_batch(function, args, axes)


def _map_batch(function: Any, args: Any, axes: Any) -> tuple[Array, int]:
    mapped = [jnp.moveaxis(a, axis, 0) for a, axis in zip(args, axes, strict=True) if axis is not None]

    def one(slices: list[Array]) -> Array:
        rest = iter(slices)
        return function(*(a if axis is None else next(rest) for a, axis in zip(args, axes, strict=True)))

    return lax.map(one, mapped), 0


batching.primitive_batchers[conv_p] = partial(_batch_pictures, conv3x3_valid)
batching.primitive_batchers[input_p] = partial(_batch_pictures, conv3x3_input)
batching.primitive_batchers[kernel_p] = partial(_map_batch, conv3x3_kernel)


# --- accelerators -------------------------------------------------------------------------------------------------


def _conv_native(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _input_native(y: Array, kernel: Array) -> Array:
    flipped, border = jnp.flip(kernel, (0, 1)), [(2, 2), (2, 2)]
    return lax.conv_general_dilated(y, flipped, (1, 1), border, dimension_numbers=("NHWC", "HWOI", "NHWC"))


def _kernel_native(x: Array, y: Array) -> Array:
    return lax.conv_general_dilated(x, y, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC"))


def _lower(primitive: Primitive, native: Any, products: Any) -> None:
    compiled = jax.jit(lambda *args: primitive.bind(*args))
    config: Any = jax.config  # whose flags type checkers do not see
    primitive.def_impl(lambda *args: products(*args) if config.jax_disable_jit else compiled(*args))
    mlir.register_lowering(primitive, mlir.lower_fun(native, multiple_results=False))

    def on_cpu(*args: Array) -> Array:  # products go by blocks of rows, whose number must be known
        symbolic = any(is_symbolic_dim(side) for each in args for side in each.shape)
        return native(*args) if symbolic else products(*args)

    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu, multiple_results=False), platform="cpu")


_lower(conv_p, _conv_native, convolution_cpu.conv)
_lower(input_p, _input_native, convolution_cpu.conv_input)
_lower(kernel_p, _kernel_native, convolution_cpu.conv_kernel)
