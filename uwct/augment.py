"""Data augmentation: pictures in random styles, so that what is trained on them looks at shapes rather than textures.

As in Geirhos et al., "ImageNet-trained CNNs are biased towards texture" (ICLR 2019), and Jackson et al., "Style
Augmentation" (2018), with styles that were encoded once.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from uwct.model import Model
from uwct.transfer import COARSE_TO_FINE, Style, Transform, check_health, check_picture, stylize_level
from uwct.transforms import wct


def augment(
    key: Array,
    model: Model,
    pictures: Array,
    styles: Sequence[Style] | Style,
    alpha: tuple[float, float] = (0.6, 1.0),
    levels: Sequence[int] = COARSE_TO_FINE,
    *,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
) -> Array:
    """A batch `[N, H, W, 3]` of pictures, each in one style and of one strength drawn at random; clipped to [0, 1].

    `key` is a JAX random key: what it draws, `draw` tells. `styles` is a list of styles, or the stack of one
    (`stack_styles`), which saves time where there are many. Pure, and under `jit` one program for all keys, strengths
    and styles of one number.

    Raises:
      ValueError: no batch of pictures, no styles, or a level that the model cannot decode.
      FloatingPointError: a level whose features or eigendecomposition are not finite (not checked under `jit`).
    """
    check_picture(pictures)
    model.check_levels(tuple(levels))
    if jnp.ndim(pictures) != 4:
        raise ValueError(f"a batch of pictures is [N, H, W, 3], not an array of shape {jnp.shape(pictures)}")
    stack = styles if isinstance(styles, Style) else stack_styles(styles)
    drawn, strengths = draw(key, len(pictures), len(jax.tree.leaves(stack)[0]), alpha)
    picture, health = jnp.asarray(pictures), []
    for level in levels:
        target = jax.tree.map(lambda part: part[drawn], stack.moments[level])
        picture, healthy = stylize_level(
            model, picture, [target], jnp.ones(1), strengths, shrinkage, level=level, transform=transform
        )
        health.append((level, healthy))
    check_health(health)
    return jnp.clip(picture, 0, 1)


def draw(key: Array, pictures: int, styles: int, alpha: tuple[float, float]) -> tuple[Array, Array]:
    """What `augment` draws: each picture's style, an index drawn evenly, and strength, evenly between the two."""
    for_styles, for_strengths = jax.random.split(key)
    drawn = jax.random.randint(for_styles, (pictures,), 0, styles)
    return drawn, jax.random.uniform(for_strengths, (pictures,), minval=alpha[0], maxval=alpha[1])


def stack_styles(styles: Sequence[Style]) -> Style:
    """Styles of one model as one, whose moments have a leading axis of styles; raises ValueError for none."""
    if not styles:
        raise ValueError("at least one style is needed")
    stack: Style = jax.tree.map(lambda *parts: jnp.stack(parts), *styles)
    return stack
