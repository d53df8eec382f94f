"""What is asked of a picture: the parts of it, by soft masks, that each take on styles of their own, or none.

Contract: a mask is float `[H, W]` in [0, 1], of the content's height and width, 1 where the part is. Shares are masks
that sum to 1 in every pixel: where masks overlap they are divided by their sum; what they leave is one more part.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from uwct.networks.layers import Pooling
from uwct.networks.model import Model
from uwct.pipeline.styles import Precision, Style, check_picture, encode_styles
from uwct.transforms.programs import quick_jit

# Shares of styles in a mixture: one a style, or one a style for each level.
Weights = Sequence[float] | Sequence[Sequence[float]] | Array
Strength = float | Array | Sequence[float]


class Region(struct.PyTreeNode):
    """A part of the content and what it takes on.

    Attributes:
      mask: `[H, W]` in [0, 1]; None for all that no other region's mask covers.
      style: a style, a style picture `[H, W, 3]`, or several, which are mixed; none leaves the region as it is.
      weights: one a style, or a row of them for each level, normalised to sum 1; equal if None.
      alpha: strength in [0, 1], one for all levels or one a level; None takes that of the whole picture.
      patches: whether the first level takes patches of the one style picture instead of its statistics (see swap.py).
    """

    mask: Any
    style: Style | Array | Sequence[Style | Array] = ()
    weights: Weights | None = None
    alpha: Strength | None = None
    patches: bool = struct.field(pytree_node=False, default=False)


class Part(struct.PyTreeNode):
    """A region, resolved.

    Attributes:
      styles: what is mixed; none leaves the part as it is.
      weights: `[levels, styles]`, or `[levels, N, styles]` for a batch of N pictures that differ in them.
      alphas: `[levels]`, or `[levels, N]`.
      pattern: a style picture whose patches are taken at the first level (see swap.py), or None.
    """

    styles: list[Style]
    weights: Array
    alphas: Array
    pattern: Array | None = None


class Parts(struct.PyTreeNode):
    """All that is asked of a picture: the parts with a mask, each with its mask, and what is left for.

    Attributes:
      masks: one for each part of `masked`, in whatever form the walker holds pictures.
      visible: how far each pixel counts in statistics, in [0, 1] and in the same form: its alpha; None for all alike.
    """

    masks: list[Any]
    masked: list[Part]
    rest: Part
    visible: Any = None

    @property
    def all(self) -> list[Part]:
        """Every part, in the order of `shares`."""
        return [*self.masked, self.rest]

    @property
    def keeps(self) -> list[bool]:
        """Which of them stay as they are."""
        return [not part.styles for part in self.all]


# What `stylize` takes as a style: one, several to mix, or regions that each have their own.
Wanted = Style | Array | Sequence[Style | Array] | Sequence[Region]


def resolve(
    model: Model,
    wanted: Wanted,
    levels: Sequence[int],
    alpha: Strength,
    weights: Weights | None = None,
    *,
    patches: bool = False,
    precision: Precision = "float32",
    pooling: Pooling | None = None,
) -> Parts:
    """What is asked, with every style encoded; `weights` and `patches` belong to a style that is no list of regions.

    Raises ValueError for no levels, or some that the model lacks, no style at all, numbers that do not fit, two regions
    without a mask, or patches of several styles.
    """
    if not len(levels):
        raise ValueError("at least one level is needed")
    model.check_levels(tuple(levels))
    if isinstance(wanted, Sequence) and any(isinstance(one, Region) for one in wanted):
        if weights is not None or patches:
            raise ValueError("with regions, weights and patches belong to each of them")
        regions = [one for one in wanted if isinstance(one, Region)]
        if len(regions) != len(wanted):
            raise ValueError("give regions or styles, not both in one list")
    else:
        regions = [Region(None, wanted, weights, patches=patches)]  # type: ignore[arg-type]
    masked = [region for region in regions if region.mask is not None]
    rest = [region for region in regions if region.mask is None] or [Region(None)]
    if len(rest) > 1:
        raise ValueError("only one region can be without a mask")

    def part(region: Region) -> Part:
        none = isinstance(region.style, Sequence) and not region.style
        styles = [] if none else encode_styles(model, region.style, precision=precision, pooling=pooling, levels=levels)
        strength = alpha if region.alpha is None else region.alpha
        pattern = _pattern(region.style) if region.patches else None
        return Part(styles, *check_strengths(len(styles), region.weights, levels, strength), pattern)

    parts = Parts([region.mask for region in masked], [part(region) for region in masked], part(rest[0]))
    if all(parts.keeps):
        raise ValueError("at least one region needs a style" if masked else "at least one style is needed")
    return parts


def _pattern(style: Any) -> Array:
    """The one picture that patches are taken of; raises ValueError for anything else."""
    pictures = list(style) if isinstance(style, Sequence) else [style]
    if len(pictures) != 1 or isinstance(pictures[0], Style):
        raise ValueError("patches are taken of one style picture, not of several, nor of a style's statistics")
    check_picture(pictures[0])
    return jnp.asarray(pictures[0], jnp.float32)


def check_strengths(
    styles: int, weights: Weights | None, levels: Sequence[int], alpha: Strength
) -> tuple[Array, Array]:
    """The weights `[levels, styles]` and the alphas `[levels]`; raises ValueError when their numbers do not fit."""
    shares = _numbers([1.0] * styles if weights is None else weights)
    if shares.shape not in ((styles,), (len(levels), styles)):
        raise ValueError(
            f"{styles} styles need as many weights, or as many for each of {len(levels)} levels, "
            f"not an array of shape {list(shares.shape)}"
        )
    alphas = _numbers(alpha)
    if alphas.shape not in ((), (len(levels),)):
        raise ValueError(f"alpha must be one number or one for each of {len(levels)} levels, not {alphas.shape}")
    return _numbers(shares, len(levels), styles), _numbers(alphas, len(levels))


def _numbers(values: Any, *shape: int) -> Array:
    """As float32, repeated to a shape if one is given; by NumPy, which compiles nothing, where nothing is of JAX."""
    numpy: Any = jnp if any(isinstance(value, Array) for value in jax.tree.leaves(values)) else np
    array = numpy.asarray(values, np.float32)
    return numpy.broadcast_to(array, shape or array.shape)


def shares_of(masks: Sequence[Array]) -> list[Array | None]:
    """Masks `[H, W]` as shares that sum to 1 in every pixel, the last of what no mask covers; [None] without masks."""
    known = (Array, jax.ShapeDtypeStruct)  # others, a list or a tensor of PyTorch's, are no programs' arguments
    arrays = [mask if isinstance(mask, known) else np.asarray(mask, np.float32) for mask in masks]
    return [*_shares(arrays)] if arrays else [None]


@quick_jit()
def _shares(masks: list[Array]) -> list[Array]:
    stacked = jnp.clip(jnp.stack([mask.astype(jnp.float32) for mask in masks]), 0, 1)
    shares = stacked / jnp.maximum(stacked.sum(0), 1)
    return [*shares, jnp.clip(1 - shares.sum(0), 0, 1)]


def kept(parts: Parts, masks: Sequence[Array]) -> Array | None:
    """The share `[H, W]` of every pixel that stays as it is; None where no part does."""
    found = [share for share, keeps in zip(shares_of(masks), parts.keeps, strict=True) if keeps and share is not None]
    return sum(found[1:], found[0]) if found else None


def between(styles: Sequence[Style | Array], rows: int, columns: int) -> list[Region]:
    """Regions of a picture that changes from one of two styles at its left to the other at its right.

    Four styles are those of its corners: upper left, upper right, lower left, lower right. Raises ValueError for
    another number.
    """
    shares = corner_shares(len(styles), rows, columns)
    return [Region(jnp.asarray(share), style) for share, style in zip(shares, styles, strict=True)]


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
