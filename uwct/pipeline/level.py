"""One level: gather the moments of each part of a picture, then apply the maps that follow from them.

Contract: features are `[..., h, w, C]`; shares are `[H, W]` or `[..., H, W]` in pixels, None for all of every pixel,
and sum to 1 over the parts. The moments of a part merge exactly over windows, frames and devices, so whoever walks over
a picture in pieces merges what `gather` gives before `maps_of`, and calls `apply` on every piece.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from uwct.networks.border import Padding
from uwct.networks.layers import Extent, Pooling
from uwct.networks.model import Model
from uwct.pipeline.padding import pool
from uwct.pipeline.parts import Part
from uwct.pipeline.styles import Precision, moments_of
from uwct.transforms.affine import Affine, fold, mix
from uwct.transforms.matching import Transform, wct
from uwct.transforms.programs import UNOPTIMISED, quick_jit
from uwct.transforms.statistics import Moments, shrink

# The default levels, coarse to fine. The paper adds level 5 before them, which dissolves the photo's shapes.
COARSE_TO_FINE = (4, 3, 2, 1)
# What a part's features go through: a function of them all where it needs a pixel's neighbours; None keeps them.
Map = Affine | Callable[[Array], Array] | None
# Whether the styles, the content's moments, the maps and the picture are finite.
Health = tuple[Array, ...]


class Settings(struct.PyTreeNode):
    """How all parts are treated alike.

    Attributes:
      levels: to run, in this order.
      shrinkage: how far all covariances are drawn towards a multiple of I first, in [0, 1] (see `statistics.shrink`).
      transform: a function from two `Moments` to an `Affine`.
      precision: of statistics, decompositions and map.
      padding: what the networks see beyond the border.
      pooling: what becomes of odd rows and columns; None pads pictures, so that there are none.
    """

    levels: tuple[int, ...] = struct.field(pytree_node=False, default=COARSE_TO_FINE)
    shrinkage: float | Array = 0.0
    transform: Transform = struct.field(pytree_node=False, default=wct)
    precision: Precision = struct.field(pytree_node=False, default="float32")
    padding: Padding = struct.field(pytree_node=False, default="reflect")
    pooling: Pooling | None = struct.field(pytree_node=False, default=None)


def gather(
    features: Array,
    shares: Sequence[Array | None],
    pixels: Array | None,
    level: int,
    precision: Precision,
    extent: Extent = None,
) -> list[Moments]:
    """The moments of each part; `pixels` are weights `[..., H, W]` of all pixels (0 in padding), or None."""
    weights = [pixels] if shares[0] is None else _weights(list(shares), pixels)
    return [moments_of(features, each, level, precision, extent) for each in weights]


@quick_jit()
def _weights(shares: list[Any], pixels: Array | None) -> list[Any]:
    """How much each pixel counts in each part."""
    return [share if pixels is None else share * pixels for share in shares]


def maps_of(
    gathered: Sequence[Moments], parts: Sequence[Part], number: int, settings: Settings
) -> tuple[list[Affine | None], Health]:
    """What each part's features go through at the `number`th level: a map, or None for what stays as it is."""
    level = settings.levels[number]
    maps: list[Affine | None] = []
    seen: list[Health] = []
    for content, part in zip(gathered, parts, strict=True):
        targets = [style.moments[level] for style in part.styles]
        if not targets:
            maps.append(None)
            continue
        affine, health = _map(
            content, targets, part.weights, part.alphas, number, settings.shrinkage, transform=settings.transform
        )
        maps.append(affine)
        seen.append(health)
    return maps, seen[0] if len(seen) == 1 else _all(seen)


@quick_jit()
def _all(seen: list[Health]) -> Health:
    """The health of all parts."""
    return tuple(jnp.stack(flags).all() for flags in zip(*seen, strict=True))


@quick_jit("transform", options=UNOPTIMISED)
def _map(
    content: Moments,
    styles: Sequence[Moments],
    weights: Array,
    alphas: Array,
    number: int,
    shrinkage: float | Array,
    *,
    transform: Transform,
) -> tuple[Affine, Health]:
    """The mixture of the transforms to each style, blended with the identity; the strengths are the `number`th."""
    narrow = shrink(content, shrinkage)
    each = [transform(narrow, shrink(style, shrinkage)) for style in styles]
    affine = mix(each, weights[number]).blend(alphas[number])
    return affine, (finite(styles), finite(content), finite(affine))


def apply(
    model: Model,
    features: Array,
    maps: Sequence[Map],
    shares: Sequence[Array | None],
    level: int,
    padding: Padding = "reflect",
    extent: Extent = None,
) -> Array:
    """Features, of an extent, through their parts' maps and the decoder: `[..., H, W, 3]`, in its dtype or float32."""
    (only, *more), (share, *_) = maps, shares
    if not more and share is None and isinstance(only, Affine):
        return decode_mapped(model, only, features, level, padding, extent)
    mapped = [each if each is None or isinstance(each, Affine) else each(features) for each in maps]
    return model.decode(_mixed(features, mapped, list(shares), level), level, padding=padding, extent=extent)


@quick_jit("level")
def _mixed(features: Array, maps: list[Affine | Array | None], shares: list[Array | None], level: int) -> Array:
    """What parts become, each in its share: by a map, as an array says, or, of None, as they are."""
    mixed = jnp.zeros(features.shape, jnp.float32)
    for each, share in zip(maps, shares, strict=True):
        mapped = features if each is None else each.apply(features) if isinstance(each, Affine) else each
        pooled = pool(share, level)
        mixed += mapped if pooled is None else pooled[..., None] * mapped
    return mixed.astype(features.dtype)


def decode_mapped(
    model: Model,
    affine: Affine,
    features: Array,
    level: int,
    padding: Padding = "reflect",
    extent: Extent = None,
) -> Array:
    """Decodes mapped features; the map is part of the first convolution where that is exact and saves work.

    At level 1, whose decoder is one convolution to three channels, that saves more than 16 bits do.
    """
    model.check_levels((level,))
    decoder, first = f"decoder{level}", f"conv{level}_1"
    layer = model.params[decoder][first]
    pixels, outputs = features.shape[-3] * features.shape[-2], layer["bias"].shape[0]
    exactly = affine.matrix.dtype == "float32" and (model.dtype == "float32" or level == 1)
    if not exactly or features.ndim > 3 or pixels < 9 * outputs:
        return model.decode(affine.apply(features), level, padding=padding, extent=extent)
    kernel, bias = fold(layer["kernel"], layer["bias"], affine)
    folded = {**model.params[decoder], first: {"kernel": kernel, "bias": bias}}
    in_float32 = model.replace(params={**model.params, decoder: folded}, dtype="float32")
    return in_float32.decode(features, level, padding=padding, extent=extent)


def finite(tree: Any) -> Array:
    """Whether all numbers are."""
    return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()


@quick_jit("height", "width")
def cropped(picture: Array, height: int, width: int) -> tuple[Array, Array]:
    """The upper left of `[..., H, W, 3]`, in float32, and whether it is finite."""
    picture = picture[..., :height, :width, :].astype(jnp.float32)
    return picture, finite(picture)


def check_health(level: int, health: Health) -> None:
    """Raises FloatingPointError naming a level that is not finite; does nothing while tracing."""
    faults = (
        "a style's moments are not finite",
        "the content's features are not finite",
        "the decomposition of a covariance, or the weights, gave values that are not finite",
        "the decoded picture is not finite",
    )
    for flag, fault in zip(health, faults, strict=True):
        if isinstance(flag, jax.core.Tracer):
            return
        if not np.asarray(flag):
            raise FloatingPointError(f"level {level}: {fault}")
