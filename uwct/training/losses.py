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


def psnr(prediction: Array, target: Array) -> Array:
    """Peak signal-to-noise ratio in dB of pictures `[..., H, W, C]` in [0, 1], clipped first: `[...]`."""
    mse = squared_error(jnp.clip(prediction, 0, 1), target).mean((-3, -2, -1))
    return -10 * jnp.log10(jnp.maximum(mse, jnp.finfo(mse.dtype).tiny))
