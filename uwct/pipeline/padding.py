"""Pictures of any size for networks that halve it: padded to multiples of the stride, with weights that say so.

Contract: pictures are `[..., H, W, C]`, weights `[..., H, W]`; a pixel in the padding has weight 0.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from uwct.networks.config import LEVELS, stride

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


def pool(weights: Array | None, level: int) -> Array | None:
    """Averages pixel weights `[..., H, W]` over each feature of a level: `[..., H / stride, W / stride]`."""
    return None if weights is None else _averaged(weights, stride(level))


@partial(jax.jit, static_argnames="s")
def _averaged(weights: Array, s: int) -> Array:
    *batch, h, w = weights.shape
    return weights.reshape(*batch, h // s, s, w // s, s).mean((-3, -1))
