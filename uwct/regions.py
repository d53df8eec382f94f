"""Regions: parts of a picture, by soft masks, that each take on a style of their own, or none.

Contract: a mask is float `[H, W]` in [0, 1], of the content's height and width, 1 where the region is. At each level it
is averaged over what a feature covers, where it weighs the features in the region's moments, and then the regions'
maps: y = sum_r m_r (A_r x + b_r), with masks that sum to 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from uwct.model import Model
from uwct.statistics import moments
from uwct.transfer import (
    COARSE_TO_FINE,
    Precision,
    Style,
    Transform,
    Weights,
    check_health,
    check_picture,
    check_strengths,
    computing_in,
    encode_styles,
    exact,
    finite,
    level_map,
    pad_to_stride,
    pool,
)
from uwct.transforms import wct


class Region(struct.PyTreeNode):
    """A part of the content and what it takes on.

    Attributes:
      mask: `[H, W]` in [0, 1]; None for all that no other region's mask covers.
      style: a style, a style picture `[H, W, 3]`, or several, which are mixed; none leaves the region as it is.
      weights: one a style, or a row of them for each level, normalised to sum 1; equal if None.
      alpha: strength in [0, 1], one for all levels or one a level.
    """

    mask: Array | None
    style: Style | Array | Sequence[Style | Array] = ()
    weights: Weights | None = None
    alpha: float | Array | Sequence[float] = 0.6


class _Part(NamedTuple):
    """A region, resolved: its share `[H, W]` of every pixel, its styles, their weights and its alpha at each level."""

    share: Array
    styles: list[Style]
    weights: Array
    alphas: Array


def stylize_regions(
    model: Model,
    content: Array,
    regions: Sequence[Region],
    levels: Sequence[int] = COARSE_TO_FINE,
    *,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
    precision: Precision = "float32",
) -> Array:
    """`transfer.stylize` of one content `[H, W, 3]` with a style a region; returns `[H, W, 3]`, not clipped.

    Where masks overlap they are divided by their sum. What they leave is the region without a mask; if there is none,
    it is left as it is. What is left as it is keeps the content's own pixels, which no network has decoded. A region of
    too few pixels for a covariance takes on its style's mean only; an empty one changes nothing.

    Raises:
      ValueError: a level that the model cannot decode, a mask of another size, two regions without a mask, no region
        with a style, or arguments that `transfer.stylize` refuses.
      FloatingPointError: a level whose features or eigendecomposition are not finite (not checked under `jit`).
    """
    check_picture(content)
    model.check_levels(tuple(levels))
    content = jnp.asarray(content, jnp.float32)
    parts = _resolve(model, content, regions, levels, precision)
    picture, health = content, []
    with computing_in(precision):
        for number, level in enumerate(levels):
            picture, healthy = _stylize_level(
                model, picture, parts, number, level, transform=transform, shrinkage=shrinkage, precision=precision
            )
            health.append((level, healthy))
    check_health(health)
    kept = sum((part.share for part in parts if not part.styles), jnp.zeros(content.shape[:2]))
    return picture + kept[..., None] * (content - picture)


def synthesize_between(
    model: Model,
    styles: Sequence[Style | Array],
    shape: tuple[int, int],
    key: Array,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: float | Array | Sequence[float] = 1.0,
    *,
    passes: int = 3,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
) -> Array:
    """A texture `[H, W, 3]` that changes from one style at its left to another at its right, or between four corners.

    It is `transfer.synthesize` with a region a style, whose masks are gradients. `shape` is (H, W) in pixels, `key` a
    JAX random key; the other arguments and errors are those of `stylize_regions`. Raises ValueError unless there are
    two styles, or four: at the upper left, upper right, lower left and lower right.
    """
    shares = corner_shares(len(styles), *shape)
    encoded = [encode_styles(model, style) for style in styles]
    regions = [Region(jnp.asarray(share), found, alpha=alpha) for share, found in zip(shares, encoded, strict=True)]
    picture = jax.random.uniform(key, (*shape, 3))
    for _ in range(passes):
        picture = stylize_regions(model, picture, regions, levels, transform=transform, shrinkage=shrinkage)
    return picture


def corner_shares(corners: int, rows: int, columns: int) -> np.ndarray:
    """Shares `[corners, rows, columns]`, which sum to 1, of two ends of all rows, or of four corners; 1 at their own.

    Raises ValueError for another number of corners.
    """
    if corners not in (2, 4):
        raise ValueError(f"a gradient goes between two or four styles, not {corners}")
    down, along = (np.linspace(0, 1, steps, dtype=np.float32) for steps in (rows, columns))
    if corners == 2:
        down = np.zeros(rows, np.float32)
    shares = [np.outer(y, x) for y in (1 - down, down) for x in (1 - along, along)]
    return np.stack(shares[:corners])


def normalise(masks: Array) -> Array:
    """Masks `[R, H, W]` as shares `[R + 1, H, W]` that sum to 1 in every pixel, the last of what no mask covers."""
    masks = jnp.clip(masks, 0, 1)
    shares = masks / jnp.maximum(masks.sum(0), 1)
    return jnp.concatenate([shares, jnp.clip(1 - shares.sum(0, keepdims=True), 0, 1)])


def _resolve(
    model: Model, content: Array, regions: Sequence[Region], levels: Sequence[int], precision: Precision
) -> list[_Part]:
    """The regions, and what is left for them all, with their shares of every pixel."""
    masked = [region for region in regions if region.mask is not None]
    rest = [region for region in regions if region.mask is None] or [Region(None)]
    if len(rest) > 1:
        raise ValueError("only one region can be without a mask")
    if content.ndim != 3:
        raise ValueError(f"a content with regions is one picture [H, W, 3], not an array of shape {content.shape}")
    masks = [jnp.asarray(region.mask, jnp.float32) for region in masked]
    for mask in masks:
        if mask.shape != content.shape[:2]:
            raise ValueError(f"a mask must have the content's shape {content.shape[:2]}, not {mask.shape}")
    shares = normalise(jnp.stack(masks) if masks else jnp.zeros((0, *content.shape[:2])))
    parts = []
    for share, region in zip(shares, masked + rest, strict=True):
        empty = isinstance(region.style, Sequence) and not region.style
        styles = [] if empty else encode_styles(model, region.style, precision=precision)
        weights, alphas = check_strengths(len(styles), region.weights, levels, region.alpha)
        parts.append(_Part(share, styles, weights, alphas))
    if not any(part.styles for part in parts):
        raise ValueError("at least one region needs a style")
    return parts


def _stylize_level(
    model: Model,
    picture: Array,
    parts: list[_Part],
    number: int,
    level: int,
    *,
    transform: Transform,
    shrinkage: float | Array,
    precision: Precision,
) -> tuple[Array, tuple[Array, ...]]:
    """One level, the `number`th: (picture, what `transfer.stylize_level` says of its health)."""
    height, width = picture.shape[:2]
    padded, pixels = pad_to_stride(picture)
    features = model.encode(padded, level)[-1]
    mixed, seen = jnp.zeros(features.shape), []
    for share, styles, weights, alphas in parts:
        mask, mapped = pad_to_stride(share[..., None])[0][..., 0], features
        if styles:
            targets = [style.moments[level] for style in styles]
            content = moments(exact(features, precision), pool(mask if pixels is None else mask * pixels, level))
            affine = level_map(content, targets, weights[number], alphas[number], shrinkage, transform=transform)
            mapped = affine.apply(features)
            seen.append((targets, content, affine))
        mixed += pool(mask, level)[..., None] * mapped
    output = model.decode(mixed.astype(features.dtype), level)[:height, :width].astype(jnp.float32)
    return output, (*finite(*zip(*seen, strict=True)), *finite(output))
