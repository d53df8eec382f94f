"""Square root and inverse square root of symmetric positive semi-definite matrices, with rank and derivative.

Contract: matrices are `a[..., C, C]`, float32 or float64; only their symmetric part counts. An eigenvalue counts when
it exceeds `C eps` times the largest; the others are taken for exactly 0, and their inverse root is 0 too (the
pseudo-inverse). They are masked, never sliced off, so that shapes stay static. A NaN or an infinity in a matrix, or an
eigendecomposition that did not converge, makes its whole result NaN: it is never masked away.

The derivative is the divided-difference formula (Daleckii and Krein, 1965), which is finite where eigenvalues meet,
unlike the derivative of `eigh`; it holds for first derivatives in forward and reverse mode.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


@jax.custom_jvp
def sqrtm(a: Array) -> Array:
    """a^(1/2), symmetric positive semi-definite: `[..., C, C]`."""
    roots, _, vectors = _roots(a)
    return _compose(vectors, roots)


@jax.custom_jvp
def inv_sqrtm(a: Array) -> Array:
    """a^(-1/2) on the kept subspace, 0 on its complement: `[..., C, C]`."""
    _, inverse_roots, vectors = _roots(a)
    return _compose(vectors, inverse_roots)


@sqrtm.defjvp
def _sqrtm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    roots, _, vectors = _roots(primals[0])
    # (sqrt x - sqrt y) / (x - y) = 1 / (sqrt x + sqrt y); 0 where both are masked.
    sums = roots[..., :, None] + roots[..., None, :]
    slope = jnp.where(sums == 0, 0, 1 / jnp.where(sums == 0, 1, sums))
    return _compose(vectors, roots), _directional(vectors, slope, tangents[0])


@inv_sqrtm.defjvp
def _inv_sqrtm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    roots, inverse_roots, vectors = _roots(primals[0])
    # (1 / sqrt x - 1 / sqrt y) / (x - y) = -1 / (sqrt x sqrt y (sqrt x + sqrt y)) where both are kept;
    # (1 / sqrt x - 0) / (x - 0) where one is masked, so counts as 0 with the function value 0.
    r, s = inverse_roots[..., :, None], inverse_roots[..., None, :]
    sums = roots[..., :, None] + roots[..., None, :]
    both = -r * s / jnp.where(sums == 0, 1, sums)
    slope = jnp.where((r == 0) | (s == 0), (r + s) ** 3, both)
    return _compose(vectors, inverse_roots), _directional(vectors, slope, tangents[0])


def kept(eigenvalues: Array) -> Array:
    """Which eigenvalues `[..., C]` count: those above C eps times the largest. NaN counts, so that it shows.

    Those below `tiny^0.6` (1e-23 in float32) never count: the power -3/2 in the derivative would overflow.
    """
    size, info = eigenvalues.shape[-1], jnp.finfo(eigenvalues.dtype)
    floor = size * info.eps * eigenvalues.max(-1, keepdims=True)
    return ~(eigenvalues <= jnp.maximum(floor, float(info.tiny) ** 0.6))


def _roots(a: Array) -> tuple[Array, Array, Array]:
    """(sqrt(lambda), 1 / sqrt(lambda), eigenvectors); both roots exactly 0 where lambda is masked."""
    eigenvalues, vectors = jnp.linalg.eigh(a)
    keep = kept(eigenvalues)
    roots = jnp.sqrt(jnp.where(keep, eigenvalues, 1))
    return jnp.where(keep, roots, 0), jnp.where(keep, 1 / roots, 0), vectors


def _compose(vectors: Array, values: Array) -> Array:
    """V diag(values) V^T."""
    return jnp.matmul(vectors * values[..., None, :], vectors.mT, precision=lax.Precision.HIGHEST)


def _directional(vectors: Array, slope: Array, tangent: Array) -> Array:
    """V (slope o (V^T da V)) V^T for the symmetric part of da."""

    def product(a: Array, b: Array) -> Array:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

    symmetric = (tangent + tangent.mT) / 2
    return product(product(vectors, slope * product(product(vectors.mT, symmetric), vectors)), vectors.mT)
