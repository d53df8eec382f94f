"""Keeping the photo's colors: by its chroma after stylizing, or by giving the style its colors before.

Contract: pictures are float `[..., H, W, 3]`, RGB in [0, 1]. Both methods are those of Gatys et al., "Preserving Color
in Neural Artistic Style Transfer" (2016, arXiv:1606.05897).
"""

import jax
import jax.numpy as jnp
from jax import Array

from uwct.pipeline.styles import check_picture
from uwct.transforms.matching import wct
from uwct.transforms.statistics import Moments, moments

LUMA = (0.299, 0.587, 0.114)  # of RGB, by ITU-R BT.601: the Y of YIQ


@jax.jit
def keep_chroma(stylized: Array, content: Array) -> Array:
    """The luminance of `stylized` with the chroma of `content`, of the same shape; not clipped (luminance transfer).

    In YIQ, where chroma is linear in RGB, that is the content with the difference of luminances added to each channel.
    Raises ValueError for what is no picture.
    """
    check_picture(stylized)
    check_picture(content)
    difference = jnp.einsum("...c,c->...", stylized - content, jnp.asarray(LUMA, jnp.float32))
    return content + difference[..., None]


@jax.jit
def match_colors(style: Array, content: Array | Moments, weights: Array | None = None) -> Array:
    """`style` with the mean and covariance of the colors of `content`, a picture or their moments; clipped to [0, 1].

    `weights[..., H, W]` say how far the style's pixels count.

    The linear map of Gatys et al., section 3.1, by symmetric roots ("image analogies"): it is whitening and coloring,
    of pixels instead of features. Raises ValueError for what is no picture.
    """
    check_picture(style)
    if not isinstance(content, Moments):
        check_picture(content)
    target = content if isinstance(content, Moments) else moments(content)
    return jnp.clip(wct(moments(style, weights), target).apply(style), 0, 1)
