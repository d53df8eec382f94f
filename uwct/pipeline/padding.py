"""Pictures of any size for networks that halve it: padded to multiples of the stride, with weights that say so.

Programs are compiled for shapes. So that not every size of picture compiles its own, one can lie in the upper left of
an array of one of few sizes, its bucket, and its own rows and columns, the extent, be numbers that programs are given.
One that is taller than wide lies there transposed, and the networks' kernels are transposed too. What it becomes is the
same to rounding: the networks reflect at the extent, and statistics count nothing beyond.

Contract: pictures are `[..., H, W, C]`, weights `[..., H, W]`; a pixel in the padding has weight 0.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.config import LEVELS, stride
from uwct.networks.model import Model
from uwct.transforms.programs import quick_jit, tracing

# Pictures are padded to multiples of what one pixel of relu5_1 covers, at every level, so that levels, and pictures of
# nearly one size, share what is compiled.
STRIDE = stride(LEVELS[-1])
# Up to so many columns, rows in memory that are not needed cost less than compiling for fewer.
ROOMY = 512


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


@quick_jit("bottom", "right")
def _padded(picture: Array, bottom: int, right: int) -> tuple[Array, Array]:
    border = [(0, 0)] * (picture.ndim - 3) + [(0, bottom), (0, right)]
    return (
        jnp.pad(picture, [*border, (0, 0)], mode="reflect"),
        jnp.pad(jnp.ones(picture.shape[:-1], jnp.float32), border),
    )


@quick_jit("unit")
def padded_weights(weights: Array, unit: int, pixels: Array | None = None) -> Array:
    """Weights `[..., H, W]` as `pad_to` does a picture, times those of pixels."""
    padded = pad_to(weights[..., None], unit)[0][..., 0]
    return padded if pixels is None else padded * pixels


class Place(NamedTuple):
    """Where a picture lies in its bucket.

    Attributes:
      extent: its rows and columns there, no more of the former than of the latter.
      transposed: whether those are the picture's columns and rows.
    """

    extent: tuple[int, int]
    transposed: bool

    def laid(self, values: Any, axis: int) -> np.ndarray:
        """The bucket with the values of pixels in it, else 0; `axis` is that of the picture's rows, before columns."""
        array = np.asarray(values, np.float32)
        border = [(0, 0)] * array.ndim
        for each, side, length in zip((axis, axis + 1), self.extent, bucket(*self.extent), strict=True):
            border[each] = (0, length - side)
        return np.pad(array.swapaxes(axis, axis + 1) if self.transposed else array, border)

    def like(self, picture: Any) -> jax.ShapeDtypeStruct:
        """The shape of the bucket of a picture `[..., H, W, C]`, as `laid` gives it."""
        *batch, _, _, channels = picture.shape
        return jax.ShapeDtypeStruct((*batch, *bucket(*self.extent), channels), np.dtype(np.float32))

    def cut_out(self, picture: Array) -> Array:
        """The picture `[..., H, W, C]` that lies in a bucket; without a program, which would have a shape."""
        rows, columns = self.extent
        inside = np.asarray(picture)[..., :rows, :columns, :]
        return jax.device_put(inside.swapaxes(-3, -2) if self.transposed else inside)

    def seen_by(self, model: Model) -> Model:
        """The model that makes of what lies in the bucket what `model` makes of the picture."""
        return model.transposed if self.transposed else model


def place_of(picture: Any) -> Place | None:
    """That of a picture `[..., H, W, 3]` of NumPy, which lies on no device yet; None for others, and in programs."""
    if not isinstance(picture, np.ndarray) or tracing():
        return None
    height, width = picture.shape[-3:-1]
    return Place((min(height, width), max(height, width)), height > width)


def bucket(rows: int, columns: int) -> tuple[int, int]:
    """The rows and columns of the array for a picture of so many, of which rows are the fewer.

    Columns are a multiple of 64, above 1,024 of a sixteenth of the next power of 2. So are rows, but on a CPU, where
    the networks leave out most of those beyond the extent, small pictures have as many as columns, or a quarter.
    """
    length = _rounded(columns)
    if length > ROOMY or jax.default_backend() != "cpu":
        return _rounded(rows), length
    return (length if rows > length // 4 else length // 4), length


def _rounded(side: int) -> int:
    unit = max(64, 2 ** (side - 1).bit_length() // 16)
    return -(-side // unit) * unit


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


@quick_jit()
def reflected_weights(weights: Array, extent: tuple[int, int], pixels: Array | None = None) -> Array:
    """Weights `[..., H, W]` as `reflected` does a picture, times those of pixels."""
    found = reflected(weights[..., None], extent)[0][..., 0]
    return found if pixels is None else found * pixels


def pool(weights: Array | None, level: int) -> Array | None:
    """Averages pixel weights `[..., H, W]` over each feature of a level: `[..., H / stride, W / stride]`."""
    return None if weights is None else _averaged(weights, stride(level))


@partial(jax.jit, static_argnames="s")
def _averaged(weights: Array, s: int) -> Array:
    *batch, h, w = weights.shape
    return weights.reshape(*batch, h // s, s, w // s, s).mean((-3, -1))
