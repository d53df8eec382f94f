"""Style swap: every patch of a content's features gives way to the most similar patch of the style's.

Statistics carry how a style looks on the whole; patches carry its shapes. Both pictures' features are whitened first,
so that no direction outweighs the others in the comparison, and what was swapped takes on the style's statistics (the
"style decorator" of Avatar-Net: Sheng et al., CVPR 2018, over the style swap of Chen and Schmidt, 2016). A feature's
patch is compared with all of the style's, and patches overlap: this needs a picture whole.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from uwct.networks.model import Model
from uwct.pipeline.level import Settings
from uwct.pipeline.padding import pad_to_stride, pool
from uwct.pipeline.parts import Part
from uwct.transforms.matching import color, whiten
from uwct.transforms.programs import quick_jit
from uwct.transforms.statistics import Moments, moments, shrink

SIDE = 3  # of a patch, in features


@jax.jit
def swap(content: Array, style: Array) -> Array:
    """Features `[H, W, C]` of the patches of `style[h, w, C]` that are most similar to those of `content[H, W, C]`.

    Similar means a large cosine between patches of 3x3 features; where the chosen patches overlap, they are averaged
    (Chen and Schmidt 2016, section 3.1). Raises ValueError for features of fewer than 3 rows or columns.
    """
    if min(*content.shape[:2], *style.shape[:2]) < SIDE:
        raise ValueError(f"patches are {SIDE} features wide and high; {content.shape} and {style.shape} hold none")
    candidates = _patches(style)
    norms = jnp.linalg.norm(candidates, axis=-1, keepdims=True)
    directions = candidates / jnp.where(norms > 0, norms, 1)

    def best(rows: Array) -> Array:  # a row of patches at a time: all comparisons at once would fill the memory
        scores = jnp.matmul(_patches(rows), directions.T, precision=lax.Precision.HIGHEST)
        return candidates[scores.argmax(-1)]

    height, width = content.shape[0] - SIDE + 1, content.shape[1] - SIDE + 1
    chosen = lax.map(lambda top: best(lax.dynamic_slice_in_dim(content, top, SIDE)), jnp.arange(height))
    total = _overlaid(chosen.reshape(height, width, SIDE, SIDE, -1))
    return total / _overlaid(jnp.ones((height, width, SIDE, SIDE, 1)))


def _patches(x: Array) -> Array:
    """All patches of `[H, W, C]`, row by row: `[(H - 2) (W - 2), 9 C]`."""
    height, width = x.shape[0] - SIDE + 1, x.shape[1] - SIDE + 1
    shifts = [x[i : i + height, j : j + width] for i in range(SIDE) for j in range(SIDE)]
    return jnp.concatenate(shifts, axis=-1).reshape(height * width, -1)


def _overlaid(patches: Array) -> Array:
    """The sum of patches `[H - 2, W - 2, 3, 3, C]`, each where it lies: `[H, W, C]`."""
    spare = SIDE - 1
    terms = [
        jnp.pad(patches[:, :, i, j], ((i, spare - i), (j, spare - j), (0, 0))) for i in range(SIDE) for j in range(SIDE)
    ]
    return sum(terms[1:], terms[0])


def swapped(model: Model, part: Part, content: Moments, settings: Settings, features: Array) -> Array:
    """Features `[h, w, C]` at the first level, of which the part's alpha gives way to patches of its pattern.

    `content` are the moments of the part, by which they are whitened. Raises ValueError for a batch, or for pictures of
    fewer than 3 features a side.
    """
    if features.ndim > 3:
        raise ValueError(f"patches are swapped in one picture [H, W, 3], not in a batch of features {features.shape}")
    level, alpha = settings.levels[0], part.alphas[0]
    assert part.pattern is not None
    padded, weights = pad_to_stride(part.pattern)
    pattern = model.encode(padded, level)[-1]
    return _swapped(features, pattern, weights, content, settings.shrinkage, alpha, level)


@quick_jit("level")
def _swapped(
    features: Array,
    pattern: Array,
    weights: Array | None,
    content: Moments,
    shrinkage: float | Array,
    alpha: Array,
    level: int,
) -> Array:
    """`swapped` by the features of the pattern, under weights `[H, W]` of its pixels."""
    features, pattern = features.astype(jnp.float32), pattern.astype(jnp.float32)
    own, style = (shrink(m, shrinkage) for m in (content, moments(pattern, pool(weights, level))))
    chosen = swap(whiten(own).apply(features), whiten(style).apply(pattern))
    return alpha * color(style).apply(chosen) + (1 - alpha) * features
