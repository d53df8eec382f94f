"""From the moments of a content and of a style to the affine map that gives the one the statistics of the other.

Contract: each transform takes `(content, style)`, two `Moments` of the same channels, and returns an `Affine` that
moves the content's mean to the style's. Where the content has full rank, `wct` and `monge` give it the style's
covariance; where it has not, they give 0 in the directions that the content lacks. `method` says how roots are taken
(see linalg.py).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from uwct.transforms.affine import Affine, compose
from uwct.transforms.linalg import Method, gram_sqrtm, inv_sqrtm, sqrtm
from uwct.transforms.statistics import Moments

Transform = Callable[[Moments, Moments], Affine]


def whiten(content: Moments, *, method: Method = "auto") -> Affine:
    """To mean 0 and covariance I on the content's subspace (ZCA): cov^(-1/2) (x - mean). Li et al. 2017, eq. 3."""
    return _centered(inv_sqrtm(content.cov, method=method), content.mean, jnp.zeros_like(content.mean))


def color(style: Moments, *, method: Method = "auto") -> Affine:
    """From mean 0 and covariance I to the style's: cov^(1/2) x + mean. Li et al. 2017, eq. 4."""
    return Affine(sqrtm(style.cov, method=method), style.mean)


def wct(content: Moments, style: Moments, *, method: Method = "auto") -> Affine:
    """The whitening and coloring transform of Li et al. (NIPS 2017)."""
    return compose(color(style, method=method), whiten(content, method=method))


def whitened(content: Moments, style: Moments) -> Affine:
    """`whiten`, whatever the style: what is left of a content without its own statistics (Li et al. 2017, figure 2)."""
    return whiten(content)


def adain(content: Moments, style: Moments) -> Affine:
    """Adaptive instance normalisation (Huang and Belongie, ICCV 2017): each channel's mean and deviation."""
    variances = [jnp.diagonal(m.cov, axis1=-2, axis2=-1) for m in (content, style)]
    constant = [v <= 0 for v in variances]  # exactly 0, by the rule of Moments.cov
    content_std, style_std = (jnp.sqrt(jnp.where(c, 1, v)) for c, v in zip(constant, variances, strict=True))
    scale = jnp.where(constant[0] | constant[1], 0, style_std / content_std)
    return _centered(scale[..., None] * jnp.eye(scale.shape[-1], dtype=scale.dtype), content.mean, style.mean)


def monge(content: Moments, style: Moments, *, method: Method = "auto") -> Affine:
    """The optimal transport between Gaussians, which moves features the least (Lu et al., ICCV 2019).

    With content and style covariances C and S: C^(-1/2) (C^(1/2) S C^(1/2))^(1/2) C^(-1/2). The eigenvalues of the
    middle spread as far as those of both together, so its root is taken from S^(1/2) C^(1/2) (see `gram_sqrtm`).
    """
    cov = content.cov
    root, inverse = sqrtm(cov, method=method), inv_sqrtm(cov, method=method)
    of_both = jnp.matmul(sqrtm(style.cov, method=method), root, precision=lax.Precision.HIGHEST)
    middle = gram_sqrtm(of_both, method=method)
    return _centered(_product(inverse, middle, inverse), content.mean, style.mean)


# By the names that people give them.
TRANSFORMS: dict[str, Transform] = {"wct": wct, "adain": adain, "monge": monge, "whiten": whitened}


def _centered(matrix: Array, source: Array, target: Array) -> Affine:
    """y = matrix (x - source) + target."""
    shift = jnp.einsum("...dc,...c->...d", matrix, source, precision=lax.Precision.HIGHEST)
    return Affine(matrix, target - shift)


def _product(a: Array, b: Array, c: Array) -> Array:
    return jnp.matmul(jnp.matmul(a, b, precision=lax.Precision.HIGHEST), c, precision=lax.Precision.HIGHEST)
