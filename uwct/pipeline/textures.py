"""Textures: what a style makes of noise (Li et al. 2017, section 4.2)."""

from collections.abc import Sequence

import jax
from jax import Array

from uwct.networks.border import Padding
from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE, Settings
from uwct.pipeline.parts import Strength, Wanted, Weights, resolve
from uwct.pipeline.whole import finished, painted
from uwct.transforms.matching import Transform, wct


def synthesize(
    model: Model,
    style: Wanted,
    shape: tuple[int, int],
    key: Array,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: Strength = 1.0,
    *,
    passes: int = 3,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
    padding: Padding = "reflect",
) -> Array:
    """A texture `[H, W, 3]` of a style: uniform noise, stylized `passes` times.

    `shape` is (H, W) in pixels and `key` a JAX random key; the other arguments and errors are those of
    `whole.stylize`: `padding="wrap"` makes a texture that can be laid out as tiles without seams, `parts.between` one
    that changes from style to style. Raises ValueError for less than one pass.
    """
    if passes < 1:
        raise ValueError(f"a texture takes at least 1 pass, not {passes}")
    parts = resolve(model, style, levels, alpha, weights)
    settings = Settings(tuple(levels), shrinkage, transform, padding=padding)
    picture = noise = jax.random.uniform(key, (*shape, 3))
    for _ in range(passes):
        picture = painted(model, picture, parts, settings)
    return finished(picture, noise, parts)
