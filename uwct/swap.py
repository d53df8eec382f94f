"""Style swap: every patch of a content's features gives way to the most similar patch of the style's.

Statistics carry how a style looks on the whole; patches carry its shapes. Both pictures' features are whitened first,
so that no direction outweighs the others in the comparison, and what was swapped takes on the style's statistics (the
"style decorator" of Avatar-Net: Sheng et al., CVPR 2018, over the style swap of Chen and Schmidt, 2016).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from uwct.model import Model
from uwct.statistics import moments, shrink
from uwct.transfer import COARSE_TO_FINE, Transform, check_picture, check_strengths, pad_to_stride, pool, stylize
from uwct.transforms import color, wct, whiten

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


def stylize_by_patches(
    model: Model,
    content: Array,
    style: Array,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: float | Array | Sequence[float] = 0.6,
    *,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
) -> Array:
    """`transfer.stylize` of a content `[H, W, 3]` by a style picture `[h, w, 3]`, with style swap at the first level.

    The other levels transform statistics alone, as `stylize` does. Returns `[H, W, 3]`, not clipped. Raises ValueError
    for pictures of fewer than 3 features a side at the first level, and what `stylize` raises.
    """
    check_picture(content)
    check_picture(style)
    model.check_levels(tuple(levels))
    _, alphas = check_strengths(1, None, levels, alpha)
    level, height, width = levels[0], content.shape[0], content.shape[1]
    white, maps, plain = [], [], []
    for picture in (content, style):
        padded, weights = pad_to_stride(jnp.asarray(picture, jnp.float32))
        features = model.encode(padded, level)[-1].astype(jnp.float32)
        found = shrink(moments(features, pool(weights, level)), shrinkage)
        white.append(whiten(found).apply(features))
        maps.append(color(found))
        plain.append(features)
    mixed = alphas[0] * maps[1].apply(swap(*white)) + (1 - alphas[0]) * plain[0]
    picture = model.decode(mixed, level)[:height, :width].astype(jnp.float32)
    if len(levels) == 1:
        return picture
    return stylize(model, picture, style, levels[1:], alphas[1:], transform=transform, shrinkage=shrinkage)
