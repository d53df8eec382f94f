"""Data augmentation: pictures in random styles, so that what is trained on them looks at shapes rather than textures.

As in Geirhos et al., "ImageNet-trained CNNs are biased towards texture" (ICLR 2019), and Jackson et al., "Style
Augmentation" (2018), with styles that were encoded once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE, Settings, Transform
from uwct.pipeline.parts import Part, Parts
from uwct.pipeline.styles import Style, check_picture, stack_styles
from uwct.pipeline.whole import painted
from uwct.transforms.matching import wct


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
      ValueError: no batch of pictures, no styles, or a level that the model cannot decode.
      FloatingPointError: a level whose features or eigendecomposition are not finite (not checked under `jit`).
    """
    check_picture(pictures)
    model.check_levels(tuple(levels))
    if jnp.ndim(pictures) != 4:
        raise ValueError(f"a batch of pictures is [N, H, W, 3], not an array of shape {jnp.shape(pictures)}")
    if mixed < 1:
        raise ValueError(f"mixed must be at least 1, not {mixed}")
    stack = styles if isinstance(styles, Style) else stack_styles(styles)
    drawn = draw(key, len(pictures), len(jax.tree.leaves(stack)[0]), alpha, mixed)
    chosen = [jax.tree.map(lambda part, i=i: part[drawn.styles[:, i]], stack) for i in range(mixed)]
    return as_drawn(model, pictures, chosen, drawn, Settings(tuple(levels), shrinkage, transform))


def as_drawn(model: Model, pictures: Array, chosen: list[Style], drawn: Draw, settings: Settings) -> Array:
    """Pictures `[N, H, W, 3]` in the styles that were drawn: for each number of the mixture, a stack of N of them."""
    every = (jnp.broadcast_to(x, (len(settings.levels), *x.shape)) for x in (drawn.weights, drawn.strengths))
    parts = Parts([], [], Part(chosen, *every))
    return jnp.clip(painted(model, jnp.asarray(pictures, jnp.float32), parts, settings), 0, 1)


def draw(key: Array, pictures: int, styles: int, alpha: tuple[float, float], mixed: int = 1) -> Draw:
    """What `augment` draws of a number of styles for a number of pictures."""
    for_styles, for_strengths = jax.random.split(key)
    drawn = jax.random.randint(for_styles, (pictures, mixed), 0, styles)
    weights = jax.random.dirichlet(jax.random.fold_in(for_styles, 1), jnp.ones(mixed), (pictures,))
    strengths = jax.random.uniform(for_strengths, (pictures,), minval=alpha[0], maxval=alpha[1])
    return Draw(drawn, weights, strengths)
