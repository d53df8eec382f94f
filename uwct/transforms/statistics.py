"""Mean and covariance of features, weighted by pixel, mergeable exactly over tiles, pictures and devices.

Contract: features are `x[..., H, W, C]`; H and W are reduced, other leading axes are a batch. Statistics are float32,
or float64 for float64 features (which needs x64).
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax


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

        Channels that vary by no more than the rounding of their mean, `max(C, 4) eps |mean|`, are constant: their
        covariances are exactly 0. Otherwise whitening would blow that rounding up to unit variance and paint flat
        pictures.
        """
        cov = self.scatter / jnp.maximum(self.weight - 1, 1)[..., None, None]
        rounding = max(cov.shape[-1], 4) * jnp.finfo(cov.dtype).eps * self.mean
        constant = jnp.diagonal(cov, axis1=-2, axis2=-1) <= rounding**2
        return jnp.where(constant[..., :, None] | constant[..., None, :], 0, cov)


@jax.jit
def moments(features: Array, weights: Array | None = None) -> Moments:
    """The moments of `features[..., H, W, C]` under `weights[..., H, W]` in [0, 1] (default: all 1).

    The mean first, so that no digits cancel. Raises ValueError when the weights' axes do not fit the features'.
    """
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
    # From a center nearby, sums over many pixels round off what is small already.
    center = x.mean(-2)
    shift = jnp.einsum("...p,...pc->...c", w, x - center[..., None, :], precision=lax.Precision.HIGHEST)
    mean = jnp.where(weight[..., None] > 0, center + shift / _divisor(weight)[..., None], 0)
    deviations = x - mean[..., None, :]
    scatter = jnp.einsum("...pc,...pd->...cd", w[..., None] * deviations, deviations, precision=lax.Precision.HIGHEST)
    return Moments(weight, mean, scatter)


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
