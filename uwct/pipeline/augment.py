"""Data augmentation: pictures in random styles, so that what is trained on them looks at shapes rather than textures.

As in Geirhos et al., "ImageNet-trained CNNs are biased towards texture" (ICLR 2019), and Jackson et al., "Style
Augmentation" (2018), with styles that were encoded once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE, Settings
from uwct.pipeline.parts import Part, Parts
from uwct.pipeline.styles import Style, check_picture, stack_styles
from uwct.pipeline.whole import painted
from uwct.transforms.matching import Transform, wct


class Draw(NamedTuple):
    """What is drawn for a batch of N pictures.

    Attributes:
      styles: `[N, mixed]`, indices drawn evenly.
      weights: `[N, mixed]`, each style's share, drawn evenly from all shares that sum to 1.
      strengths: `[N]`, drawn evenly from a range.
    """

    styles: Array
    weights: Array
    strengths: Array


def augment(
    key: Array,
    model: Model,
    pictures: Array,
    styles: Sequence[Style] | Style,
    alpha: tuple[float, float] = (0.6, 1.0),
    levels: Sequence[int] = COARSE_TO_FINE,
    *,
    mixed: int = 1,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
) -> Array:
    """A batch `[N, H, W, 3]` of pictures, each in a style and of a strength drawn at random; clipped to [0, 1].

    `key` is a JAX random key: what it draws, `draw` tells. `styles` is a list of styles, or the stack of one
    (`stack_styles`), which saves time where there are many; `mixed` is how many of them are mixed for each picture.
    Pure, and under `jit` one program for all keys, strengths and styles of one number.

    Raises:
      ValueError: no batch of pictures, no styles, one that is neither in a list nor a stack, or a level that the model
        cannot decode.
      FloatingPointError: a level whose features or decompositions are not finite (not checked under `jit`).
    """
    check_picture(pictures)
    model.check_levels(tuple(levels))
    if jnp.ndim(pictures) != 4:
        raise ValueError(f"a batch of pictures is [N, H, W, 3], not an array of shape {jnp.shape(pictures)}")
    if isinstance(styles, Style) and any(jnp.ndim(m.weight) != 1 for m in styles.moments.values()):
        raise ValueError("styles are a list, or a stack of them: put one in a list")
    if mixed < 1:
        raise ValueError(f"mixed must be at least 1, not {mixed}")
    stack = styles if isinstance(styles, Style) else stack_styles(styles)
    drawn = draw(key, len(pictures), len(jax.tree.leaves(stack)[0]), alpha, mixed)
    chosen = [jax.tree.map(lambda part, i=i: part[drawn.styles[:, i]], stack) for i in range(mixed)]
    return as_drawn(model, pictures, chosen, drawn, Settings(tuple(levels), shrinkage, transform))


def as_drawn(
    model: Model, pictures: Array, chosen: list[Style], drawn: Draw, settings: Settings, shares: Sequence[float] = ()
) -> Array:
    """Pictures `[N, H, W, 3]` in the styles that were drawn: for each number of the mixture, a stack of N of them.

    `shares` of the strengths are those of levels, from the first to the last; all of them if there are none.
    """
    parts = parts_of(chosen, drawn, shares or [1.0] * len(settings.levels))
    return jnp.clip(painted(model, jnp.asarray(pictures, jnp.float32), parts, settings), 0, 1)


def as_drawn_on_canvas(
    model: Model,
    canvas: Array,
    sizes: np.ndarray,
    chosen: list[Style],
    drawn: Draw,
    settings: Settings,
    shares: Sequence[float],
) -> Array:
    """The same for pictures of different sizes: each lies in the upper left corner of a canvas `[N, H, W, 3]`.

    `sizes[N, 2]` are their heights and widths. What lies beyond is their reflection, anew at each level, and does not
    count, so that the result is that of each picture by itself. H and W must be multiples of `padding.STRIDE`.
    """
    every = parts_of(chosen, drawn, shares)
    picture, visible = jnp.asarray(canvas, jnp.float32), _visible(sizes, (canvas.shape[1], canvas.shape[2]))
    for number, level in enumerate(settings.levels):
        one = jax.tree.map(lambda x, number=number: x[number : number + 1], (every.rest.weights, every.rest.alphas))
        parts = Parts([], [], Part(chosen, *one), visible)
        whole = picture if visible is None else _reflected(picture, sizes)
        picture = painted(model, whole, parts, settings.replace(levels=(level,)))
    return jnp.clip(picture, 0, 1)


def _reflected(canvas: Array, sizes: np.ndarray) -> Array:
    """Pictures in the corners of canvases, with their own reflection around them."""
    for axis in (0, 1):
        places = np.stack([np.pad(np.arange(n), (0, canvas.shape[axis + 1] - n), "reflect") for n in sizes[:, axis]])
        wide = places[:, :, None, None] if axis == 0 else places[:, None, :, None]
        canvas = jnp.take_along_axis(canvas, jnp.asarray(wide), axis + 1)
    return canvas


def _visible(sizes: np.ndarray, shape: tuple[int, int]) -> Array | None:
    """Which pixels `[N, H, W]` of canvases are pictures; None where all are."""
    if (sizes == shape).all():
        return None
    rows, columns = (np.arange(side) < sizes[:, axis, None] for axis, side in enumerate(shape))
    return jnp.asarray(rows[:, :, None] & columns[:, None], jnp.float32)


def parts_of(chosen: list[Style], drawn: Draw, shares: Sequence[float]) -> Parts:
    """What is asked of pictures that take on what was drawn, by levels' shares of the strength."""
    strengths = jnp.stack([share * jnp.asarray(drawn.strengths) for share in shares])
    weights = jnp.broadcast_to(drawn.weights, (len(shares), *drawn.weights.shape))
    return Parts([], [], Part(chosen, weights, strengths))


def draw(key: Array, pictures: int, styles: int, alpha: tuple[float, float], mixed: int = 1) -> Draw:
    """What `augment` draws of a number of styles for a number of pictures."""
    for_styles, for_strengths = jax.random.split(key)
    drawn = jax.random.randint(for_styles, (pictures, mixed), 0, styles)
    weights = jax.random.dirichlet(jax.random.fold_in(for_styles, 1), jnp.ones(mixed), (pictures,))
    strengths = jax.random.uniform(for_strengths, (pictures,), minval=alpha[0], maxval=alpha[1])
    return Draw(drawn, weights, strengths)
