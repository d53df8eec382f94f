"""The conventions of other WCT projects, to get their pictures out of their weights.

uwct pads pictures so that no pixel is lost in pooling, keeps eigenvalues by their size relative to the largest, and
computes in float32. The projects whose weights `uwct convert` takes pool odd sizes away or up, keep eigenvalues above
1e-5, and compute statistics in float64; their convolutions are float32, and nothing is clipped between levels. This
module does as they do; it is made for comparison, not for speed.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from uwct.networks.layers import Pooling
from uwct.networks.model import Model
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import resolve
from uwct.pipeline.styles import check_picture
from uwct.pipeline.whole import painted
from uwct.transforms.affine import Affine
from uwct.transforms.matching import wct
from uwct.transforms.statistics import Moments


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a project computes; called with the moments of content and style, the transform that it makes of them.

    Attributes:
      pooling: whether an odd last row or column is dropped ("floor") or pooled by itself ("ceil").
      divisor: of the covariance, "n-1" or "n", with n the number of pixels.
      tolerance: eigenvalues of a covariance at or below it count as 0.
    """

    pooling: Pooling = "floor"
    divisor: str = "n-1"
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.pooling not in ("floor", "ceil") or self.divisor not in ("n-1", "n") or not self.tolerance >= 0:
            raise ValueError(f'pooling is "floor" or "ceil", divisor "n-1" or "n", tolerance not negative, not {self}')

    def __call__(self, content: Moments, style: Moments) -> Affine:
        return wct(truncate(content, self), truncate(style, self))


def stylize(
    model: Model,
    content: Array,
    style: Array,
    levels: Sequence[int] = (5, 4, 3, 2, 1),
    alpha: float = 0.6,
    *,
    convention: Convention = Convention(),
) -> Array:
    """A content picture `[H, W, 3]` in the manner of a style picture `[H', W', 3]` (Li et al. 2017).

    The result has the size that the levels' pooling and up-sampling leave: smaller than the content by up to 15 pixels
    a side with "floor", larger with "ceil". Raises ValueError for a level that the model cannot decode, or for a
    picture that pooling leaves nothing of.
    """
    model.check_levels(tuple(levels))
    for picture in (content, style):
        check_picture(picture)
        if jnp.ndim(picture) != 3 or min(jnp.shape(picture)[:2]) < 2 ** (max(levels) - 1):
            raise ValueError(f"level {max(levels)} pools a picture of shape {jnp.shape(picture)} away")
    pooling = convention.pooling
    settings = Settings(tuple(levels), transform=convention, precision="float64", pooling=pooling)
    with jax.default_matmul_precision("highest"):
        parts = resolve(model, jnp.asarray(style), levels, alpha, precision="float64", pooling=pooling)
        return painted(model, jnp.asarray(content, jnp.float32), parts, settings)


def truncate(m: Moments, convention: Convention) -> Moments:
    """The moments with the convention's covariance, its eigenvalues at or below the tolerance exactly 0."""
    n = m.weight
    cov = m.scatter / (jnp.maximum(n - 1, 1) if convention.divisor == "n-1" else n)[..., None, None]
    eigenvalues, vectors = jnp.linalg.eigh(cov)
    kept = jnp.where(eigenvalues > convention.tolerance, eigenvalues, 0)
    cov = jnp.matmul(vectors * kept[..., None, :], vectors.mT, precision=lax.Precision.HIGHEST)
    return m.replace(scatter=cov * jnp.maximum(n - 1, 1)[..., None, None])
