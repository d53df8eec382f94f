"""Textures: what a style makes of noise (Li et al. 2017, section 4.2)."""

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array

from uwct.networks.layers import Padding
from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE, Transform
from uwct.pipeline.parts import Region, Strength, Wanted, Weights
from uwct.pipeline.styles import encode_styles
from uwct.pipeline.whole import stylize
from uwct.transforms.matching import wct


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
    that changes from style to style.
    """
    picture = jax.random.uniform(key, (*shape, 3))
    how: dict[str, Any] = {"transform": transform, "shrinkage": shrinkage, "padding": padding, "weights": weights}
    wanted = encoded(model, style)
    for _ in range(passes):
        picture = stylize(model, picture, wanted, levels, alpha, **how)
    return picture


def encoded(model: Model, style: Wanted) -> Any:
    """The same with every style picture encoded, once for all passes."""
    if isinstance(style, Sequence) and any(isinstance(one, Region) for one in style):
        return [region.replace(style=encode_styles(model, region.style)) for region in style]  # type: ignore[union-attr]
    return encode_styles(model, style)  # type: ignore[arg-type]
