"""Pictures of any size for networks that halve it: padded to multiples of the stride, with weights that say so.

Programs are compiled for shapes. So that not every size of picture compiles its own, one can lie in the upper left of
an array of one of few sizes, its bucket, and its own height and width, the extent, be numbers that programs are given.
What it becomes is the same to rounding: the networks reflect at the extent, and statistics count nothing beyond.

Contract: pictures are `[..., H, W, C]`, weights `[..., H, W]`; a pixel in the padding has weight 0.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.config import LEVELS, stride
from uwct.transforms.programs import quick_jit, tracing

# Pictures are padded to multiples of what one pixel of relu5_1 covers, at every level, so that levels, and pictures of
# nearly one size, share what is compiled.
STRIDE = stride(LEVELS[-1])


def pad_to_stride(picture: Array) -> tuple[Array, Array | None]:
    """`pad_to` multiples of `STRIDE`."""
    return pad_to(picture, STRIDE)


def pad_to(picture: Array, unit: int) -> tuple[Array, Array | None]:
    """Pads `[..., H, W, C]` by reflection, below and to the right, to multiples of `unit` pixels.

    Also gives the weights `[..., H', W']` of the padded picture's pixels, 1 inside and 0 in the padding; None if none
    was needed.
    """
    height, width = picture.shape[-3:-1]
    bottom, right = -height % unit, -width % unit
    if not bottom and not right:
        return picture, None
    return _padded(picture, bottom, right)


@partial(jax.jit, static_argnames=("bottom", "right"))
def _padded(picture: Array, bottom: int, right: int) -> tuple[Array, Array]:
    border = [(0, 0)] * (picture.ndim - 3) + [(0, bottom), (0, right)]
    return (
        jnp.pad(picture, [*border, (0, 0)], mode="reflect"),
        jnp.pad(jnp.ones(picture.shape[:-1], jnp.float32), border),
    )


def bucket(side: int) -> int:
    """The length of the array for a side: a multiple of 64, above 1,024 of a sixteenth of the next power of 2."""
    unit = max(64, 2 ** (side - 1).bit_length() // 16)
    return -(-side // unit) * unit


def bucket_extent(picture: Any) -> tuple[int, int] | None:
    """(height, width) of a picture `[..., H, W, 3]` that is to lie in its bucket; None for one that is not.

    Those are pictures of NumPy, which lie on no device yet, outside of programs, unless they fill their bucket.
    """
    height, width = jnp.shape(picture)[-3:-1]
    if not isinstance(picture, np.ndarray) or tracing() or (bucket(height), bucket(width)) == (height, width):
        return None
    return height, width


def laid_in_bucket(values: Any, extent: tuple[int, int], axis: int) -> np.ndarray:
    """Values of pixels in the upper left of their bucket, the rest 0; `axis` is that of rows, the next of columns."""
    array = np.asarray(values, np.float32)
    border = [(0, 0)] * array.ndim
    for each, side in zip((axis, axis + 1), extent, strict=True):
        border[each] = (0, bucket(side) - side)
    return np.pad(array, border)


def within(extent: tuple[int, int] | None, level: int) -> tuple[int, int] | None:
    """The rows and columns of a level's features that come of an extent, up to multiples of `STRIDE`; None of None."""
    if extent is None:
        return None
    rows, columns = (-(-side // STRIDE) * STRIDE // stride(level) for side in extent)
    return rows, columns


@quick_jit()
def reflected(picture: Array, extent: tuple[int, int]) -> tuple[Array, Array]:
    """What `pad_to_stride` gives of a picture of that extent in `[..., H, W, C]`; the reflection goes on to H and W."""
    inside = []
    for axis, side in zip((-3, -2), extent, strict=True):
        along = jnp.arange(picture.shape[axis])
        period = jnp.maximum(2 * (side - 1), 1)
        picture = jnp.take(picture, jnp.minimum(along % period, period - along % period), axis)
        inside.append(along < side)
    weights = (inside[0][:, None] & inside[1]).astype(jnp.float32)
    return picture, jnp.broadcast_to(weights, picture.shape[:-1])


def pool(weights: Array | None, level: int) -> Array | None:
    """Averages pixel weights `[..., H, W]` over each feature of a level: `[..., H / stride, W / stride]`."""
    return None if weights is None else _averaged(weights, stride(level))


@partial(jax.jit, static_argnames="s")
def _averaged(weights: Array, s: int) -> Array:
    *batch, h, w = weights.shape
    return weights.reshape(*batch, h // s, s, w // s, s).mean((-3, -1))
