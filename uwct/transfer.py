"""The pipeline: a content picture takes on the statistics of a style, level by level, coarse to fine.

Contract: pictures are float `[..., H, W, 3]`, RGB in [0, 1], of any height and width; leading axes are a batch.
Results have the content's shape and float32, and are not clipped: values may leave [0, 1] a little. All functions are
pure in `model.params` and work under `jit`, `vmap` and `grad`; what is compiled once serves all calls of a shape.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from uwct.affine import Affine, fold, mix
from uwct.config import LEVELS
from uwct.layers import Padding
from uwct.model import Model
from uwct.statistics import Moments, moments, shrink
from uwct.transforms import wct
from uwct.vgg import stride

# The default levels, coarse to fine. The paper adds level 5 before them, which dissolves the photo's shapes.
COARSE_TO_FINE = (4, 3, 2, 1)
# Pictures are padded to multiples of what one pixel of relu5_1 covers, at every level, so that levels, and pictures of
# nearly one size, share what is compiled.
STRIDE = stride(LEVELS[-1])
Transform = Callable[[Moments, Moments], Affine]
# Shares of styles in a mixture: one a style, or one a style for each level.
Weights = Sequence[float] | Sequence[Sequence[float]] | Array
Precision = Literal["float32", "float64"]


class Style(struct.PyTreeNode):
    """All that is kept of a style picture: its moments at every level, `{1: Moments, ..., 5: Moments}`."""

    moments: dict[int, Moments]


def encode_style(model: Model, picture: Array, mask: Array | None = None, *, precision: Precision = "float32") -> Style:
    """The style of `picture[H, W, 3]`: the moments of relu1_1 to relu5_1, from one pass of the encoder.

    With a mask `[H, W]` in [0, 1], only where it is 1. Raises ValueError for a mask of another shape.
    """
    check_picture(picture)
    if jnp.ndim(picture) != 3:
        raise ValueError(f"a style is one picture [H, W, 3], not an array of shape {jnp.shape(picture)}")
    with computing_in(precision):
        padded, weights = pad_to_stride(jnp.asarray(picture, jnp.float32))
        if mask is not None:
            shape = jnp.shape(picture)[:2]
            if jnp.shape(mask) != shape:
                raise ValueError(f"a mask must have the picture's shape {shape}, not {jnp.shape(mask)}")
            border = [(0, padded.shape[axis] - shape[axis]) for axis in (0, 1)]
            weights = jnp.pad(jnp.asarray(mask, jnp.float32), border)
        features = model.encode_all(padded)
        return Style({level: moments(exact(x, precision), pool(weights, level)) for level, x in features.items()})


def computing_in(precision: Precision) -> AbstractContextManager[Any]:
    """A context in which arrays of that precision can be made; raises ValueError for another."""
    if precision not in ("float32", "float64"):
        raise ValueError(f'precision must be "float32" or "float64", not {precision!r}')
    return jax.enable_x64(True) if precision == "float64" else nullcontext()


def exact(features: Array, precision: Precision) -> Array:
    """Features in float64 if that is asked for; float32 statistics take any."""
    return features.astype(jnp.float64) if precision == "float64" else features


def stylize(
    model: Model,
    content: Array,
    style: Style | Array | Sequence[Style | Array],
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: float | Array | Sequence[float] = 0.6,
    *,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
    precision: Precision = "float32",
    padding: Padding = "reflect",
) -> Array:
    """Gives a content the style of one or several pictures (Li et al. 2017, section 3.3).

    At each level in turn: encode, transform the features' statistics to the style's, blend with the features as they
    were, decode; the result is the next level's content.

    Args:
      model: encoder and decoders.
      content: `[..., H, W, 3]`; a batch's pictures are treated each on its own.
      style: a style, a style picture `[H, W, 3]`, or a list of them, which are mixed.
      levels: the levels to run, in this order.
      alpha: strength in [0, 1], one for all levels or one a level; 0 still encodes and decodes.
      weights: one a style, or a row of them for each level, normalised to sum 1; equal if not given.
      transform: `wct`, `adain`, `monge`, or any function from two `Moments` to an `Affine`.
      shrinkage: how far all covariances are drawn towards a multiple of I first, in [0, 1] (see `statistics.shrink`);
        0 is the paper, more keeps plain surfaces plain.
      precision: of statistics, eigendecomposition and map, "float32" or "float64"; networks compute in `model.dtype`.
      padding: what the networks see beyond the border, "reflect" or "wrap"; with "wrap" the result can be laid out as
        tiles without seams, and its sides must be multiples of 2^(level-1).

    Raises:
      ValueError: a level that the model cannot decode, or arguments whose numbers or shapes do not fit.
      FloatingPointError: a level whose features or eigendecomposition are not finite (not checked under `jit`).
    """
    check_picture(content)
    model.check_levels(tuple(levels))
    styles = encode_styles(model, style, precision=precision)
    shares, alphas = check_strengths(len(styles), weights, levels, alpha)
    picture, health = jnp.asarray(content), []
    with computing_in(precision):
        for level, share, strength in zip(levels, shares, alphas, strict=True):
            targets = [s.moments[level] for s in styles]
            picture, healthy = stylize_level(
                model, picture, targets, share, strength, shrinkage,
                level=level, transform=transform, precision=precision, padding=padding,
            )  # fmt: skip
            health.append((level, healthy))
    check_health(health)
    return picture


def check_strengths(
    styles: int, weights: Weights | None, levels: Sequence[int], alpha: float | Array | Sequence[float]
) -> tuple[Array, Array]:
    """The weights `[levels, styles]` and the alphas `[levels]`; raises ValueError when their numbers do not fit."""
    shares = jnp.ones(styles) if weights is None else jnp.asarray(weights, jnp.float32)
    if shares.shape not in ((styles,), (len(levels), styles)):
        raise ValueError(
            f"{styles} styles need as many weights, or as many for each of {len(levels)} levels, "
            f"not an array of shape {list(shares.shape)}"
        )
    alphas = jnp.asarray(alpha, jnp.float32)
    if alphas.shape not in ((), (len(levels),)):
        raise ValueError(f"alpha must be one number or one for each of {len(levels)} levels, not {alphas.shape}")
    return jnp.broadcast_to(shares, (len(levels), styles)), jnp.broadcast_to(alphas, (len(levels),))


def encode_styles(
    model: Model, style: Style | Array | Sequence[Style | Array], *, precision: Precision = "float32"
) -> list[Style]:
    """One or several styles or style pictures as a list of styles; raises ValueError for none."""
    given = style if isinstance(style, Sequence) else [style]
    if not given:
        raise ValueError("at least one style is needed")
    return [s if isinstance(s, Style) else encode_style(model, s, precision=precision) for s in given]


def stylize_level(
    model: Model,
    picture: Array,
    styles: Sequence[Moments],
    weights: Array,
    alpha: Array,
    shrinkage: float | Array = 0.0,
    *,
    level: int,
    transform: Transform = wct,
    precision: Precision = "float32",
    padding: Padding = "reflect",
) -> tuple[Array, tuple[Array, ...]]:
    """One level of `stylize`: (picture, whether the styles, the content's moments, the map and it are finite)."""
    height, width = picture.shape[-3:-1]
    if padding == "wrap" and (height % stride(level) or width % stride(level)):
        raise ValueError(f"without seams at level {level}, sides must be multiples of {stride(level)} pixels")
    padded, pixels = pad_to_stride(picture) if padding == "reflect" else (picture, None)
    features = model.encode(padded, level, padding=padding)[-1]
    content = moments(exact(features, precision), pool(pixels, level))
    affine = level_map(content, styles, weights, alpha, shrinkage, transform=transform)
    output = decode_mapped(model, affine, features, level, padding)[..., :height, :width, :].astype(jnp.float32)
    return output, (*finite(styles, content, affine), *finite(output))


@partial(jax.jit, static_argnames="transform")
def level_map(
    content: Moments,
    styles: Sequence[Moments],
    weights: Array,
    alpha: Array,
    shrinkage: float | Array,
    *,
    transform: Transform,
) -> Affine:
    """What one level does to its features: the mixture of the transforms to each style, blended with the identity."""
    narrow = shrink(content, shrinkage)
    return mix([transform(narrow, shrink(style, shrinkage)) for style in styles], weights).blend(alpha)


def decode_mapped(model: Model, affine: Affine, features: Array, level: int, padding: Padding = "reflect") -> Array:
    """Decodes mapped features; the map is part of the first convolution where that is exact and saves work.

    At level 1, whose decoder is one convolution to three channels, that saves more than 16 bits do.
    """
    model.check_levels((level,))
    decoder, first = f"decoder{level}", f"conv{level}_1"
    layer = model.params[decoder][first]
    pixels, outputs = features.shape[-3] * features.shape[-2], layer["bias"].shape[0]
    exactly = affine.matrix.dtype == "float32" and (model.dtype == "float32" or level == 1)
    if not exactly or features.ndim > 3 or pixels < 9 * outputs:
        return model.decode(affine.apply(features), level, padding=padding)
    kernel, bias = fold(layer["kernel"], layer["bias"], affine)
    folded = {**model.params[decoder], first: {"kernel": kernel, "bias": bias}}
    in_float32 = model.replace(params={**model.params, decoder: folded}, dtype="float32")
    return in_float32.decode(features, level, padding=padding)


@jax.jit
def finite(*trees: Any) -> tuple[Array, ...]:
    """Whether all numbers are, for each tree."""
    return tuple(jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all() for tree in trees)


def synthesize(
    model: Model,
    style: Style | Array | Sequence[Style | Array],
    shape: tuple[int, int],
    key: Array,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: float | Array | Sequence[float] = 1.0,
    *,
    passes: int = 3,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
    padding: Padding = "reflect",
) -> Array:
    """A texture `[H, W, 3]` of a style: uniform noise, stylized `passes` times (Li et al. 2017, section 4.2).

    `shape` is (H, W) in pixels and `key` a JAX random key; the other arguments and errors are those of `stylize`:
    `padding="wrap"` makes a texture that can be laid out as tiles without seams.
    """
    styles = encode_styles(model, style)
    picture = jax.random.uniform(key, (*shape, 3))
    how: dict[str, Any] = {"transform": transform, "shrinkage": shrinkage, "padding": padding}
    for _ in range(passes):
        picture = stylize(model, picture, styles, levels, alpha, weights=weights, **how)
    return picture


@jax.jit
def pad_to_stride(picture: Array) -> tuple[Array, Array | None]:
    """Pads `[..., H, W, C]` by reflection, below and to the right, to multiples of `STRIDE`.

    Also gives the weights `[..., H', W']` of the padded picture's pixels, 1 inside and 0 in the padding; None if none
    was needed.
    """
    height, width = picture.shape[-3:-1]
    bottom, right = -height % STRIDE, -width % STRIDE
    if not bottom and not right:
        return picture, None
    border = [(0, 0)] * (picture.ndim - 3) + [(0, bottom), (0, right)]
    return (
        jnp.pad(picture, [*border, (0, 0)], mode="reflect"),
        jnp.pad(jnp.ones(picture.shape[:-1], jnp.float32), border),
    )


@partial(jax.jit, static_argnames="level")
def pool(weights: Array | None, level: int) -> Array | None:
    """Averages pixel weights `[..., H, W]` over each feature of a level: `[..., H / stride, W / stride]`."""
    if weights is None:
        return None
    s = stride(level)
    *batch, h, w = weights.shape
    return weights.reshape(*batch, h // s, s, w // s, s).mean((-3, -1))


def check_picture(picture: Array) -> None:
    """Raises ValueError for what is not a picture or a batch of pictures."""
    shape, dtype = jnp.shape(picture), jnp.result_type(picture)
    if len(shape) < 3 or shape[-1] != 3 or 0 in shape or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"a picture must be a float array [..., H, W, 3] in [0, 1], not {dtype}{list(shape)}")


def check_health(health: list[tuple[int, tuple[Array, ...]]]) -> None:
    """Raises FloatingPointError naming the first level that is not finite; does nothing while tracing."""
    faults = (
        "a style's moments are not finite",
        "the content's features are not finite",
        "the eigendecomposition of a covariance, or the weights, gave values that are not finite",
        "the decoded picture is not finite",
    )
    for level, finite in health:
        for flag, fault in zip(finite, faults, strict=True):
            if isinstance(flag, jax.core.Tracer):
                return
            if not np.asarray(flag):
                raise FloatingPointError(f"level {level}: {fault}")
