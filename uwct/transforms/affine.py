"""Affine maps of features, y = A x + b: all that style transfer by statistics does to them.

Contract: `matrix[..., C, C]` and `bias[..., C]`, float32 or float64, with the leading axes of the features' batch, or
none. Every function is differentiable, and strengths and weights are traced values.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from uwct.transforms.programs import UNOPTIMISED, quick_jit


class Affine(struct.PyTreeNode):
    """The map y = matrix x + bias on feature vectors."""

    matrix: Array
    bias: Array

    def apply(self, features: Array) -> Array:
        """Maps `features[..., H, W, C]` of floats; computes in the map's dtype, returns the features' dtype.

        Raises ValueError for integers.
        """
        return _applied(self, features)

    def blend(self, alpha: Array | float) -> "Affine":
        """`alpha A + (1 - alpha) I`: strength `alpha[...]` in [0, 1]; 0 is the identity (Li et al. 2017, eq. 5)."""
        strength = jnp.asarray(alpha, self.matrix.dtype)[..., None]
        identity = jnp.eye(self.matrix.shape[-1], dtype=self.matrix.dtype)
        matrix = strength[..., None] * self.matrix + (1 - strength[..., None]) * identity
        return Affine(matrix, strength * self.bias)


@quick_jit()
def _applied(affine: Affine, features: Array) -> Array:
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(f"features must be floats, not {features.dtype}")
    dtype = jnp.promote_types(affine.matrix.dtype, features.dtype)
    y = jnp.einsum("...dc,...hwc->...hwd", affine.matrix, features.astype(dtype), precision=lax.Precision.HIGHEST)
    return (y + affine.bias[..., None, None, :]).astype(features.dtype)


@quick_jit(options=UNOPTIMISED)
def fold(kernel: Array, bias: Array, affine: Affine) -> tuple[Array, Array]:
    """The kernel `[3, 3, C, D]` and bias `[D]` of a convolution that first maps every pixel by an affine map.

    Exact, since a border that repeats pixels repeats mapped ones, but for rounding: with a kernel in 16 bits the mean
    that the map takes away would leave its rounding behind.
    """
    folded = jnp.einsum("ijdo,dc->ijco", kernel, affine.matrix, precision=lax.Precision.HIGHEST)
    return folded, bias + jnp.einsum("ijdo,d->o", kernel, affine.bias, precision=lax.Precision.HIGHEST)


def compose(second: Affine, first: Affine) -> Affine:
    """The map that applies `first`, then `second`."""
    matrix = jnp.matmul(second.matrix, first.matrix, precision=lax.Precision.HIGHEST)
    bias = jnp.einsum("...dc,...c->...d", second.matrix, first.bias, precision=lax.Precision.HIGHEST)
    return Affine(matrix, bias + second.bias)


def mix(affines: Sequence[Affine], weights: Array | Sequence[float]) -> Affine:
    """The weighted mean of maps; weights `[..., len(affines)]`, of the maps' batch or of all, are normalised to sum 1.

    Raises ValueError when the numbers of maps and weights differ. Weights of sum 0 give NaN.
    """
    weights = jnp.asarray(weights)
    if weights.ndim == 0 or weights.shape[-1] != len(affines):
        raise ValueError(f"{len(affines)} maps need as many weights, not weights of shape {weights.shape}")
    shares = weights / weights.sum(-1, keepdims=True)
    return Affine(
        _weighted_sum(shares[..., None, None], [a.matrix for a in affines], axis=-3),
        _weighted_sum(shares[..., None], [a.bias for a in affines], axis=-2),
    )


def _weighted_sum(weights: Array, terms: Sequence[Array], axis: int) -> Array:
    weights = jnp.moveaxis(weights, axis, 0)
    total = weights[0].astype(terms[0].dtype) * terms[0]
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total = total + weight.astype(term.dtype) * term
    return total
