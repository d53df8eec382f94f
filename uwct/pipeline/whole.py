"""Walks over pictures that fit in memory: one, or a batch, each on its own.

Contract: pictures are float `[..., H, W, 3]`, RGB in [0, 1], of any height and width; leading axes are a batch.
Results have the content's shape and float32, and are not clipped: values may leave [0, 1] a little. All functions are
pure in `model.params` and work under `jit`, `vmap` and `grad`, and under `shard_map` with `check_vma=False`. What is
compiled once serves all pictures of a shape, or, in NumPy's arrays, of a bucket (see padding.py); what becomes of these
lies on the default device.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.border import Padding
from uwct.networks.config import stride
from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE, Health, Map, Settings, apply, check_health, cropped, gather, maps_of
from uwct.pipeline.padding import STRIDE, Place, pad_to, padded_weights, place_of, reflected, reflected_weights, within
from uwct.pipeline.parts import Parts, Strength, Wanted, Weights, kept, resolve, shares_of
from uwct.pipeline.styles import Precision, check_mask, check_picture, computing_in
from uwct.pipeline.swap import swapped
from uwct.transforms.matching import Transform, wct
from uwct.transforms.programs import as_shapes, expecting, quick_jit


def stylize(
    model: Model,
    content: Array,
    style: Wanted,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: Strength = 0.6,
    *,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
    precision: Precision = "float32",
    padding: Padding = "reflect",
    patches: bool = False,
) -> Array:
    """Gives a content the style of one or several pictures (Li et al. 2017, section 3.3), or of one a part.

    At each level in turn: encode, transform the features' statistics to the style's, blend with the features as they
    were, decode; the result is the next level's content. Each part has statistics of its own; one of too few pixels for
    a covariance takes on its style's mean only. Parts without a style keep the content's own pixels, which no network
    has decoded.

    Args:
      model: encoder and decoders.
      content: `[..., H, W, 3]`; a batch's pictures are treated each on its own.
      style: a style, a style picture `[H, W, 3]`, a list of them, which are mixed, or a list of regions.
      levels: the levels to run, in this order.
      alpha: strength in [0, 1], one for all levels or one a level; 0 still encodes and decodes.
      weights: one a style, or a row of them for each level, normalised to sum 1; equal if not given.
      transform: `wct`, `adain`, `monge`, or any function from two `Moments` to an `Affine`.
      shrinkage: how far all covariances are drawn towards a multiple of I first, in [0, 1] (see `statistics.shrink`);
        0 is the paper, more keeps plain surfaces plain.
      precision: of statistics, eigendecomposition and map, "float32" or "float64"; networks compute in `model.dtype`.
      padding: what the networks see beyond the border, "reflect" or "wrap"; with "wrap" the result can be laid out as
        tiles without seams, and its sides must be multiples of 2^(level-1).
      patches: whether the first level takes patches of the one style picture instead of its statistics (see swap.py).

    Raises:
      ValueError: a level that the model cannot decode, or arguments whose numbers or shapes do not fit.
      FloatingPointError: a level whose features or decompositions are not finite (not checked under `jit`).
    """
    check_picture(content)
    parts = resolve(model, style, levels, alpha, weights, patches=patches, precision=precision)
    settings = Settings(tuple(levels), shrinkage, transform, precision, padding)
    numpy: Any = np if isinstance(content, np.ndarray) else jnp
    content = numpy.asarray(content, np.float32)
    return finished(painted(model, content, parts, settings), content, parts)


def painted(model: Model, content: Array, parts: Parts, settings: Settings) -> Array:
    """The picture after the last of `stages`; raises FloatingPointError for a level that is not finite."""
    picture, seen, place = content, [], _place(content, parts, settings)
    with expecting(partial(_foreseen, model, content, parts, settings, place)):
        for level, output, health in _stages(model, content, parts, settings, place):
            picture = output
            seen.append((level, health))
    for level, health in seen:  # all at the end, so that the device never waits for the host
        check_health(level, health)
    return place.cut_out(picture) if place else picture


def stages(model: Model, content: Array, parts: Parts, settings: Settings) -> Iterator[tuple[int, Array, Health]]:
    """After each level: (level, picture, its health), parts that keep their pixels decoded along (see `finished`).

    A picture in a NumPy array goes through programs of its bucket (see padding.py).
    """
    place = _place(content, parts, settings)
    for level, picture, health in _stages(model, content, parts, settings, place):
        yield level, place.cut_out(picture) if place else picture, health


def _place(content: Array, parts: Parts, settings: Settings) -> Place | None:
    """That of a content in its bucket; None for one that is painted as it is."""
    patches = any(part.pattern is not None for part in parts.all)
    return None if settings.padding != "reflect" or settings.pooling or patches else place_of(content)


def _stages(
    model: Model, content: Array, parts: Parts, settings: Settings, place: Place | None
) -> Iterator[tuple[int, Array, Health]]:
    """`stages`, of pictures in their bucket where they have a place there."""
    for mask in parts.masks:
        check_mask(jnp.shape(mask), content.shape[-3:-1])
    picture, extent, visible = content, None, parts.visible
    if visible is not None:
        numpy: Any = np if place else jnp
        visible = numpy.broadcast_to(numpy.asarray(visible), content.shape[:-1])
    if place:
        extent, model = place.extent, place.seen_by(model)
        picture = jax.device_put(place.laid(content, -3))
        visible = None if visible is None else place.laid(visible, -2)
    masks = [place.laid(mask, -2) if place else jnp.asarray(mask, jnp.float32) for mask in parts.masks]
    parts = parts.replace(masks=masks, visible=visible)
    for number, level in enumerate(settings.levels):
        with computing_in(settings.precision):
            picture, health = _level(model, picture, parts, number, settings, extent)
        yield level, picture, health


def _foreseen(model: Model, content: Array, parts: Parts, settings: Settings, place: Place | None) -> None:
    """Goes the way of `_stages` with shapes, for `expecting`."""
    picture: Any = place.like(content) if place else as_shapes(content)
    mask = jax.ShapeDtypeStruct(picture.shape[-3:-1], picture.dtype)
    visible = None if parts.visible is None else jax.ShapeDtypeStruct(picture.shape[:-1], picture.dtype)
    *masked, rest = (part.replace(pattern=as_shapes(part.pattern)) for part in parts.all)
    parts = parts.replace(masks=[mask] * len(parts.masks), masked=masked, rest=rest, visible=visible)
    extent = place.extent if place else None
    for number in range(len(settings.levels)):
        with computing_in(settings.precision):
            picture, _ = _level(model, picture, parts, number, settings, extent)


def _level(
    model: Model, picture: Array, parts: Parts, number: int, settings: Settings, extent: tuple[int, int] | None
) -> tuple[Array, Health]:
    level, padding, (height, width) = settings.levels[number], settings.padding, picture.shape[-3:-1]
    if padding == "wrap" and (height % stride(level) or width % stride(level)):
        raise ValueError(f"without seams at level {level}, sides must be multiples of {stride(level)} pixels")

    unit = 1 if padding == "wrap" or settings.pooling else STRIDE

    def pad_weights(weights: Any, pixels: Array | None = None) -> Array:
        return reflected_weights(weights, extent, pixels) if extent else padded_weights(weights, unit, pixels)

    padded, pixels = reflected(picture, extent) if extent else pad_to(picture, unit)
    if parts.visible is not None:
        pixels = pad_weights(parts.visible, pixels)
    features = model.encode(
        padded, level, padding=padding, pooling=settings.pooling or "floor", extent=within(extent, 1)
    )[-1]
    shares = shares_of([pad_weights(mask) for mask in parts.masks])
    gathered = gather(features, shares, pixels, level, settings.precision, within(extent, level))
    affines, health = maps_of(gathered, parts.all, number, settings)
    maps: list[Map] = [*affines]
    if number == 0:
        maps = [
            affine if part.pattern is None else partial(swapped, model, part, content, settings)
            for affine, part, content in zip(affines, parts.all, gathered, strict=True)
        ]
    output = apply(model, features, maps, shares, level, padding, within(extent, level))
    if settings.pooling:
        height, width = output.shape[-3:-1]
    output, healthy = cropped(output, height, width)
    return output, (*health, healthy)


def finished(picture: Array, content: Array, parts: Parts) -> Array:
    """A stylized picture with the content's own pixels where parts keep them."""
    share = kept(parts, parts.masks)
    return picture if share is None else _composited(picture, content, share)


@quick_jit()
def _composited(picture: Array, content: Array, share: Array) -> Array:
    """A picture `[..., H, W, 3]` with a share `[H, W]` of the content's pixels."""
    return picture + share[..., None] * (content - picture)
