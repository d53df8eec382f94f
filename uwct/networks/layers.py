"""The layers of VGG autoencoders: reflected 3x3 convolution, 2x2 max-pooling, nearest up-sampling.

Contract: features are `x[..., H, W, C]` with any leading axes (none, a batch, or more); every function keeps the
dtype of `x`. Padding is `"reflect"` (the network's own) or `"wrap"` (for seamless textures).

Layers are compiled one by one, so that levels, encoder and mirror share what they have in common: a new shape compiles
in a third of the time that whole networks take. Within a `jit` of yours they become part of it.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.export import is_symbolic_dim

from uwct.networks import block_plan, convolution_cpu
from uwct.networks.border import Padding, pad_border
from uwct.networks.convolution import conv3x3_valid
from uwct.networks.convolution_cpu import Border, border_of
from uwct.transforms.programs import by_platform, quick_jit

# Up to so many products a tap a layer is quickly done.
LIGHT = 2**28
# (rows, columns) of features that count, from the upper left on, as numbers that may be traced; None: all.
Extent = tuple[Any, Any] | None
Pooling = Literal["floor", "ceil"]
# The structure of a border, whose numbers are arguments one by one.
BORDER: Any = jax.tree.structure(Border((0, 0), ((0, 0), (0, 0)), 0))


def _in_float32(layer: Callable[..., Array]) -> Callable[..., Array]:
    """Moves 16-bit values about as float32: exact, and XLA's CPU backend adds up their gradients 10 times faster."""

    @wraps(layer)
    def wrapped(x: Array, *args: Any, **kwargs: Any) -> Array:
        return layer(x.astype(jnp.promote_types(x.dtype, jnp.float32)), *args, **kwargs).astype(x.dtype)

    return wrapped


def conv3x3(x: Array, kernel: Array, bias: Array, *, padding: Padding = "reflect") -> Array:
    """Convolves `x[..., H, W, C]` with `kernel[3, 3, C, D]` and adds `bias[D]`: `[..., H, W, D]`, same H and W."""
    return _correlate(x, kernel, padding) + bias.astype(x.dtype)


def _correlate(x: Array, kernel: Array, padding: Padding) -> Array:
    padded = pad_border(x, padding)
    y = conv3x3_valid(padded.reshape(-1, *padded.shape[-3:]), kernel.astype(x.dtype))
    return y.reshape(*x.shape[:-1], -1)


def conv_layer(
    x: Array,
    kernel: Array,
    bias: Array,
    *,
    relu: bool,
    upsampled: bool = False,
    padding: Padding = "reflect",
    dtype: Any = None,
    extent: Extent = None,
) -> Array:
    """`conv3x3` of `x[..., H, W, C]`, up-sampled before if `upsampled`, and with a ReLU after if `relu`.

    It computes in `dtype`, by default that of `x`. On the CPU it is one pass over the pixels. Of an `extent` it is that
    of the rows and columns within; what comes of those beyond is of no use, and the CPU leaves out most such rows.
    """
    if extent is not None and padding != "reflect":
        raise ValueError(f'only padding "reflect" has an extent, not {padding!r}')
    how: Any = {"relu": relu, "upsampled": upsampled, "padding": padding, "dtype": dtype}
    return _layer(x, kernel, bias, extent and border_of(extent, upsampled), **how)


def _light(x: Array, kernel: Array, bias: Array, border: Border | None, **how: Any) -> bool:
    """Whether quick compilation costs a layer little: it computes in some milliseconds, or mostly in products."""
    computed = jax.ShapeDtypeStruct(x.shape, how["dtype"] or x.dtype)
    products = block_plan.tile_of(computed, kernel, how["upsampled"]) in block_plan.OF_PRODUCTS
    return products or (min(kernel.shape[2:]) > 16 and x.size * kernel.shape[3] < LIGHT)


@quick_jit("relu", "upsampled", "padding", "dtype", small=_light)
def _layer(
    x: Array,
    kernel: Array,
    bias: Array,
    border: Border | None,
    *,
    relu: bool,
    upsampled: bool,
    padding: Padding,
    dtype: Any,
) -> Array:
    return _conv_layer(x if dtype is None else x.astype(dtype), kernel, bias, border, relu, upsampled, padding)


@partial(jax.custom_jvp, nondiff_argnums=(4, 5, 6))
def _conv_layer(
    x: Array, kernel: Array, bias: Array, border: Border | None, relu: bool, upsampled: bool, padding: Padding
) -> Array:
    symbolic = any(map(is_symbolic_dim, x.shape))  # sides that an exported program finds out later
    if padding != "reflect" or symbolic or min(x.shape[-3:-1]) < 2:
        return _plain(x, kernel, bias, border and border.size, relu, upsampled, padding)
    *batch, height, width, _ = x.shape
    scale = 2 if upsampled else 1
    like = jax.ShapeDtypeStruct((*batch, scale * height, scale * width, bias.shape[0]), x.dtype)
    args, static = (x, kernel, bias, *jax.tree.leaves(border)), (relu, upsampled)
    y: Array = by_platform(*args, cpu=_fused, default=_unfused, static=static, like=like)
    return y


def _with_copies(x: Array, extent: Extent, upsampled: bool) -> Array:
    """The same with the row and the column copied that reflection about an extent's border wants next to it.

    It is the one before the last within, or, of what is to be up-sampled, the last. Where the extent is all there is,
    the last is copied onto itself.
    """
    for axis, size in zip((x.ndim - 3, x.ndim - 2), extent or (), strict=False):
        length = x.shape[axis]
        source = jnp.where(size < length, jnp.maximum(size - (1 if upsampled else 2), 0), length - 1)
        copied = lax.dynamic_slice_in_dim(x, source, 1, axis)
        x = lax.dynamic_update_slice_in_dim(x, copied, jnp.minimum(size, length - 1), axis)
    return x


def _plain(
    x: Array, kernel: Array, bias: Array, extent: Extent, relu: bool, upsampled: bool, padding: Padding = "reflect"
) -> Array:
    x = _with_copies(x, extent, upsampled)
    y = conv3x3(upsample(x) if upsampled else x, kernel, bias, padding=padding)
    return jax.nn.relu(y) if relu else y


def _unfused(x: Array, kernel: Array, bias: Array, *rest: Any) -> Array:
    *numbers, relu, upsampled = rest
    border = _border(numbers)
    return _plain(x, kernel, bias, border and border.size, relu, upsampled)


def _fused(x: Array, kernel: Array, bias: Array, *rest: Any) -> Array:
    *numbers, relu, upsampled = rest
    pictures = x.reshape(-1, *x.shape[-3:])
    how = {"relu": relu, "upsampled": upsampled}
    y = convolution_cpu.layer(pictures, kernel, bias, _border(numbers), **how)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _border(numbers: Any) -> Border | None:
    return jax.tree.unflatten(BORDER, numbers) if numbers else None


def _conv_layer_jvp(relu: bool, upsampled: bool, padding: Padding, primals: Any, tangents: Any) -> Any:
    """Differentiates by what varies alone: by a fixed kernel it would be one more convolution, with zeros.

    The bias is added by a product, whose transpose XLA's CPU backend computes faster than a sum over all pixels.
    """
    x, kernel, bias, border = primals
    y = _conv_layer(x, kernel, bias, border, relu, upsampled, padding)
    ones = jnp.ones((*y.shape[:-1], 1), y.dtype)

    def resized(x: Array) -> Array:
        x = _with_copies(x, border and border.size, upsampled)
        return upsample(x) if upsampled else x

    terms = (
        lambda dx: _correlate(resized(dx), kernel, padding),
        lambda dkernel: _correlate(resized(x), dkernel, padding),
        lambda dbias: jnp.matmul(ones, dbias.astype(y.dtype)[None], precision=lax.Precision.HIGHEST),
    )
    varying = [(f, d) for f, d in zip(terms, tangents[:3], strict=True) if not isinstance(d, SymbolicZero)]
    dy = sum(f(d) for f, d in varying)
    return y, jnp.where(y > 0, dy, 0) if relu else dy


_conv_layer.defjvp(_conv_layer_jvp, symbolic_zeros=True)


@quick_jit("pooling")
@_in_float32
def max_pool(x: Array, pooling: Pooling = "floor") -> Array:
    """The maximum of each 2x2 square: `[..., H, W, C] -> [..., H / 2, W / 2, C]`.

    An odd last row or column is dropped with "floor", and pooled by itself with "ceil".
    """
    if pooling == "ceil":
        odd = [(0, 0)] * (x.ndim - 3) + [(0, x.shape[-3] % 2), (0, x.shape[-2] % 2), (0, 0)]
        x = jnp.pad(x, odd, mode="edge")  # its maximum is its own
    h, w = x.shape[-3] // 2, x.shape[-2] // 2
    x = x[..., : 2 * h, : 2 * w, :]
    rows = jnp.maximum(x[..., 0::2, :, :], x[..., 1::2, :, :])
    return jnp.maximum(rows[..., 0::2, :], rows[..., 1::2, :])


@jax.jit
@_in_float32
def upsample(x: Array) -> Array:
    """Repeats every pixel as a 2x2 square: `[..., H, W, C] -> [..., 2 H, 2 W, C]`."""
    *batch, h, w, c = x.shape
    x = jnp.broadcast_to(x[..., :, None, :, None, :], (*batch, h, 2, w, 2, c))
    return x.reshape(*batch, 2 * h, 2 * w, c)
