"""Element-wise losses and picture metrics; the caller reduces what is element-wise.

Contract: arrays are float; both arguments of a function have one shape, and shapes that would broadcast are refused.
"""

import jax.numpy as jnp
from jax import Array


def _same_shape(a: Array, b: Array) -> None:
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(f"both arrays must have one shape, not {jnp.shape(a)} and {jnp.shape(b)}")


def squared_error(prediction: Array, target: Array) -> Array:
    """(prediction - target)^2 of every element, in float32 (float64 for float64 inputs)."""
    _same_shape(prediction, target)
    dtype = jnp.promote_types(jnp.result_type(prediction, target), jnp.float32)
    return jnp.square(prediction.astype(dtype) - target.astype(dtype))


def color_loss(prediction: Array, target: Array, *, block: int = 8) -> Array:
    """How far the colors of pictures `[N, H, W, 3]` are off: a scalar, some 1 where the prediction is grey.

    The squared error of what RGB is beside its mean, averaged over blocks of pixels, over that of grey. Colors vary so
    little beside light and shade that the squared error of pixels hardly asks for them.
    """
    _same_shape(prediction, target)

    def colors(pictures: Array) -> Array:
        n, height, width, channels = pictures.shape
        blocks = pictures.astype(jnp.float32).reshape(n, height // block, block, width // block, block, channels)
        blocks = blocks.mean((2, 4))
        return blocks - blocks.mean(-1, keepdims=True)

    wanted = colors(target)
    return squared_error(colors(prediction), wanted).mean() / (jnp.square(wanted).mean() + 1e-4)


def psnr(prediction: Array, target: Array) -> Array:
    """Peak signal-to-noise ratio in dB of pictures `[..., H, W, C]` in [0, 1], clipped first: `[...]`."""
    mse = squared_error(jnp.clip(prediction, 0, 1), target).mean((-3, -2, -1))
    return -10 * jnp.log10(jnp.maximum(mse, jnp.finfo(mse.dtype).tiny))
