"""Styles: what is kept of a painting is its moments at some levels or all, and nothing else."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from uwct.networks.layers import Extent, Pooling
from uwct.networks.model import Model
from uwct.pipeline.manner import Manner, mix_manners
from uwct.pipeline.padding import pad_to_stride, place_of, pool, reflected, within
from uwct.transforms.affine import mix
from uwct.transforms.matching import color
from uwct.transforms.programs import expecting, quick_jit
from uwct.transforms.statistics import Moments, moments, moments_in_blocks

Precision = Literal["float32", "float64"]


class Style(struct.PyTreeNode):
    """All that is kept of a style picture.

    Attributes:
      moments: at every level that it was encoded at, `{1: Moments, ..., 5: Moments}`.
      manners: `{0: Manner, 1: Manner}`, what VGG-16 sees of the picture, halved so often; empty unless it is to be
        refined towards (see refine.py).
    """

    moments: dict[int, Moments]
    manners: dict[int, Manner] = struct.field(default_factory=dict)


def encode_style(
    model: Model,
    picture: Array,
    mask: Array | None = None,
    *,
    precision: Precision = "float32",
    pooling: Pooling | None = None,
    levels: Sequence[int] | None = None,
) -> Style:
    """The style of `picture[H, W, 3]`: the moments of relu1_1 to relu5_1, or of the `levels` given.

    With a mask `[H, W]` in [0, 1], only where it is 1. A picture of NumPy goes through the programs of its bucket (see
    padding.py), which few sizes share. `pooling` says what becomes of odd rows and columns, instead of
    padding them (see compat.py). Raises ValueError for a mask of another shape, or beside `pooling`.
    """
    check_picture(picture)
    if jnp.ndim(picture) != 3:
        raise ValueError(f"a style is one picture [H, W, 3], not an array of shape {jnp.shape(picture)}")
    shape = jnp.shape(picture)[:2]
    if mask is not None:
        check_mask(jnp.shape(mask), shape)
        if pooling:
            raise ValueError("a style has a mask, or a pooling of its own, not both")
    with computing_in(precision):
        if pooling:
            features = model.encode_all(jnp.asarray(picture, jnp.float32), pooling=pooling, levels=levels)
            return Style({level: moments_of(x, None, level, precision) for level, x in features.items()})
        if place := place_of(picture):
            extent, model = place.extent, place.seen_by(model)

            def encoded(bucket: Any, masked: Any = None) -> Style:
                padded, weights = reflected(bucket, extent)
                return _style(model, padded, weights if masked is None else masked, extent, precision, levels)

            with expecting(lambda: encoded(place.like(picture))):  # a mask is of the shape of weights
                masked = None if mask is None else jnp.asarray(place.laid(mask, -2))
                return encoded(jax.device_put(place.laid(picture, -3)), masked)
        padded, weights = pad_to_stride(jnp.asarray(picture, jnp.float32))
        if mask is not None:
            border = [(0, padded.shape[axis] - shape[axis]) for axis in (0, 1)]
            weights = jnp.pad(jnp.asarray(mask, jnp.float32), border)
        return _style(model, padded, weights, None, precision, levels)


def _style(
    model: Model,
    padded: Array,
    weights: Array | None,
    extent: Extent,
    precision: Precision,
    levels: Sequence[int] | None,
) -> Style:
    features = model.encode_all(padded, levels=levels, extent=within(extent, 1))
    return Style(
        {level: moments_of(x, weights, level, precision, within(extent, level)) for level, x in features.items()}
    )


def encode_styles(
    model: Model,
    style: Style | Array | Sequence[Style | Array],
    *,
    precision: Precision = "float32",
    pooling: Pooling | None = None,
    levels: Sequence[int] | None = None,
) -> list[Style]:
    """One or several styles or style pictures as a list of styles, which have the `levels` given.

    Raises ValueError for none, or for a style that lacks one of them.
    """
    given = style if isinstance(style, Sequence) else [style]
    if not given:
        raise ValueError("at least one style is needed")
    how: dict[str, Any] = {"precision": precision, "pooling": pooling, "levels": levels}
    styles = [s if isinstance(s, Style) else encode_style(model, s, **how) for s in given]
    for style in styles:
        if missing := set(levels or ()) - set(style.moments):
            raise ValueError(f"a style was encoded without level {max(missing)} (it has: {sorted(style.moments)})")
    return styles


def mix_styles(styles: Sequence[Style], weights: Sequence[float] | Array | None = None) -> Style:
    """One style between several of the same model; weights, one a style, are normalised to sum 1 (default: equal).

    It has the levels that all of them have.
    Its mean is the mean of theirs, and the root of its covariance the mean of their roots, so that by `transforms.wct`
    it paints as the mixture of them all; so are its manners, if they all have some. Raises ValueError for no styles, or
    weights that do not fit.
    """
    if not styles:
        raise ValueError("at least one style is needed")
    shares = jnp.ones(len(styles)) if weights is None else jnp.asarray(weights, jnp.float32)
    if shares.shape != (len(styles),):
        raise ValueError(f"{len(styles)} styles need as many weights, not weights of shape {shares.shape}")
    levels = sorted(set.intersection(*(set(style.moments) for style in styles)))
    moments = {level: _mixed_moments([style.moments[level] for style in styles], shares) for level in levels}
    manners = {
        halvings: mix_manners(
            [style.manners[halvings] for style in styles],
            dict.fromkeys(manner.features, shares / shares.sum()),
        )
        for halvings, manner in styles[0].manners.items()
        if all(halvings in style.manners for style in styles)
    }
    return Style(moments, manners)


def _mixed_moments(parts: list[Moments], weights: Array) -> Moments:
    """Of covariance R R, R being the mean of the parts' roots; as if of as many pixels as the parts have on average."""
    coloring = mix([color(part) for part in parts], weights)
    weight = (weights / weights.sum() * jnp.stack([part.weight for part in parts])).sum()
    cov = jnp.matmul(coloring.matrix, coloring.matrix, precision=lax.Precision.HIGHEST)
    return Moments(weight, coloring.bias, cov * jnp.maximum(weight - 1, 1))


def stack_styles(styles: Sequence[Style]) -> Style:
    """Styles of one model as one, whose moments have a leading axis of styles, without manners.

    Raises ValueError for none.
    """
    if not styles:
        raise ValueError("at least one style is needed")
    stack: Style = jax.tree.map(lambda *parts: jnp.stack(parts), *(style.replace(manners={}) for style in styles))
    return stack


def check_picture(picture: Array) -> None:
    """Raises ValueError for what is not a picture or a batch of pictures."""
    shape, dtype = jnp.shape(picture), jnp.result_type(picture)
    if len(shape) < 3 or shape[-1] != 3 or 0 in shape or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"a picture must be a float array [..., H, W, 3] in [0, 1], not {dtype}{list(shape)}")


def check_mask(found: Sequence[int], picture: Sequence[int]) -> None:
    """Raises ValueError unless a mask's shape is its picture's `(H, W)`."""
    if tuple(found) != tuple(picture):
        raise ValueError(f"a mask must have the picture's shape {tuple(picture)}, not {tuple(found)}")


def computing_in(precision: Precision) -> AbstractContextManager[Any]:
    """A context in which arrays of that precision can be made; raises ValueError for another.

    Also for float64 under `jit` where x64 is off: what is traced already is of float32.
    """
    if precision not in ("float32", "float64"):
        raise ValueError(f'precision must be "float32" or "float64", not {precision!r}')
    if precision == "float32":
        return nullcontext()
    probe = jnp.zeros(())
    if isinstance(probe, jax.core.Tracer) and probe.dtype != jnp.float64:
        raise ValueError('under jit, precision="float64" needs jax.config.update("jax_enable_x64", True)')
    return jax.enable_x64(True)


@quick_jit("level", "precision")
def moments_of(
    features: Array, pixels: Array | None, level: int, precision: Precision = "float32", extent: Extent = None
) -> Moments:
    """The moments of a level's features `[..., h, w, C]` under weights `[..., H, W]` of pixels; None: all 1.

    The extent, where there is one, is that of the features; its weights are 0 beyond.
    """
    x = features.astype(jnp.float64) if precision == "float64" else features  # float32 statistics take any
    weights = pool(pixels, level)
    weights = None if weights is None else jnp.broadcast_to(weights, x.shape[:-1])
    if extent is None or weights is None or jax.default_backend() != "cpu":
        return moments(x, weights)
    return moments_in_blocks(x, weights, extent[0])
