"""Mean and covariance of features, weighted by pixel, mergeable exactly over tiles, pictures and devices.

Contract: features are `x[..., H, W, C]`; H and W are reduced, other leading axes are a batch. Statistics are float32,
or float64 for float64 features (which needs x64).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

# Elements of the features that one block of rows may hold, so that it stays in a CPU's cache.
BLOCK_ELEMENTS = 2**17
EXACTLY: Any = {"precision": lax.Precision.HIGHEST}


class Moments(struct.PyTreeNode):
    """First and second moments of a set of feature vectors.

    Attributes:
      weight: `[...]`, the sum of the pixels' weights.
      mean: `[..., C]`, the weighted mean; 0 where the weight is 0.
      scatter: `[..., C, C]`, the weighted sum of outer products of deviations from the mean.
    """

    weight: Array
    mean: Array
    scatter: Array

    @property
    def cov(self) -> Array:
        """The covariance `[..., C, C]`, `scatter / max(weight - 1, 1)`.

        Channels that vary by no more than rounding, `max(C, 4) eps` of the largest mean (which the sums that made the
        others had terms of), are constant: their covariances are exactly 0. Otherwise whitening would blow that
        rounding up to unit variance and paint flat pictures.
        """
        cov = self.scatter / jnp.maximum(self.weight - 1, 1)[..., None, None]
        rounding = max(cov.shape[-1], 4) * jnp.finfo(cov.dtype).eps * jnp.abs(self.mean).max(-1, keepdims=True)
        constant = jnp.diagonal(cov, axis1=-2, axis2=-1) <= rounding**2
        return jnp.where(constant[..., :, None] | constant[..., None, :], 0, cov)


@jax.jit
def moments(features: Array, weights: Array | None = None) -> Moments:
    """The moments of `features[..., H, W, C]` under `weights[..., H, W]` in [0, 1] (default: all 1).

    The mean first, so that no digits cancel. Raises ValueError when the weights' axes do not fit the features'.
    """
    return _moments(features, weights, lambda w, x: jnp.einsum("...pc,...pd->...cd", w[..., None] * x, x, **EXACTLY))


def _moments(features: Array, weights: Array | None, squared: Callable[[Array, Array], Array]) -> Moments:
    """`moments`; `squared(w[..., P], x[..., P, C])` is the weighted sum of outer products."""
    x = jnp.asarray(features)
    if x.ndim < 3:
        raise ValueError(f"features must have the axes [..., H, W, C], not the shape {x.shape}")
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    x = x.astype(dtype).reshape(*x.shape[:-3], -1, x.shape[-1])  # [..., H W, C]
    if weights is None:
        w = jnp.ones(x.shape[:-1], dtype)
    elif jnp.shape(weights) == jnp.shape(features)[:-1]:
        w = jnp.asarray(weights, dtype).reshape(x.shape[:-1])
    else:
        raise ValueError(f"weights must have the shape {jnp.shape(features)[:-1]}, not {jnp.shape(weights)}")
    weight = w.sum(-1)
    # From a center nearby, the mean of some pixels, sums over many round off what is small already.
    center = x[..., ::61, :].mean(-2)
    shift = jnp.einsum("...p,...pc->...c", w, x - center[..., None, :], **EXACTLY)
    mean = jnp.where(weight[..., None] > 0, center + shift / _divisor(weight)[..., None], 0)
    return Moments(weight, mean, squared(w, x - mean[..., None, :]))


@jax.jit
def moments_in_blocks(features: Array, weights: Array, rows: Array | int) -> Moments:
    """`moments` of the first `rows` rows, merged block by block: faster on a CPU, where other rows take no time."""
    *batch, height, width, channels = features.shape
    size = min(height, max(1, BLOCK_ELEMENTS // max(1, width * channels)))

    def squared(w: Array, x: Array) -> Array:  # a product with itself, though it has no derivative where w is 0
        x = jnp.sqrt(w)[..., None] * x
        return jnp.einsum("...pc,...pd->...cd", x, x, **EXACTLY)

    def block(k: Array, sofar: Moments) -> Moments:
        start = jnp.minimum(k * size, height - size)  # the last block may lie over the one before
        x, w = (lax.dynamic_slice_in_dim(a, start, size, len(batch)) for a in (features, weights))
        row = start + jnp.arange(size)
        new = (row >= k * size) & (row < rows)
        return merge(sofar, _moments(x, jnp.where(new[:, None], w, 0), squared))

    none = jax.eval_shape(moments, features, weights)
    return lax.fori_loop(0, (rows + size - 1) // size, block, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), none))


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of the union of two disjoint sets (Chan, Golub and LeVeque, 1979)."""
    weight = a.weight + b.weight
    share = b.weight / _divisor(weight)
    delta = b.mean - a.mean
    between = (a.weight * share)[..., None, None] * delta[..., :, None] * delta[..., None, :]
    return Moments(weight, a.mean + share[..., None] * delta, a.scatter + b.scatter + between)


def shrink(m: Moments, amount: float | Array) -> Moments:
    """The moments with their covariance drawn towards a multiple of I: (1 - amount) cov + amount tr(cov) / C I.

    The form of Ledoit and Wolf (2004) for a covariance of many channels from few pixels, with a given amount in [0, 1].
    Between shrunken moments of content and style, a transform no longer blows faint noise of the content up to the
    style's full strength.
    """
    cov = m.cov
    average = jnp.trace(cov, axis1=-2, axis2=-1)[..., None, None] / cov.shape[-1]
    cov = (1 - amount) * cov + amount * average * jnp.eye(cov.shape[-1], dtype=cov.dtype)
    return m.replace(scatter=cov * jnp.maximum(m.weight - 1, 1)[..., None, None])


def psum(m: Moments, axis_name: str) -> Moments:
    """The moments of the union over a mapped axis (`pmap`, `vmap` or `shard_map` with that `axis_name`)."""
    weight = lax.psum(m.weight, axis_name)
    share = m.weight / _divisor(weight)
    mean = lax.psum(share[..., None] * m.mean, axis_name)
    delta = m.mean - mean
    between = m.weight[..., None, None] * delta[..., :, None] * delta[..., None, :]
    return Moments(weight, mean, lax.psum(m.scatter + between, axis_name))


def _divisor(weight: Array) -> Array:
    """The weight, or 1 where it is 0, so that quotients and their gradients stay finite."""
    return jnp.where(weight > 0, weight, 1)
