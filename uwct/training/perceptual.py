"""A loss for sharp pictures: how different two are to a network, at several depths (Johnson et al., ECCV 2016).

The squared error of pixels alone is smallest for the mean of all pictures that features may stand for, which is a blur.
Features of the critic, a network that stays as it is, tell strokes and grain from it. Any encoder serves: VGG-16, or,
several times cheaper and nearly as good, a narrow one that learned to see as VGG-16 does.

Contract: pictures are float `[N, H, W, 3]`, RGB in [0, 1].
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from uwct.networks.model import Model
from uwct.training.losses import squared_error

DEPTH = 3  # relu1_1 to relu3_1: deeper features say less of how sharp a picture is


def perceptual_loss(critic: Model, output: Array, wanted: Sequence[Array]) -> Array:
    """The mean over levels of the squared error of features, each over its variance: a scalar.

    `wanted` is what the critic sees of the right pictures, `critic.encode(pictures, level)` with a level from `DEPTH`
    on; it has no gradient.
    """
    found = critic.encode(output, DEPTH)
    units = critic.config.variances[1:]
    errors = [
        squared_error(x, jax.lax.stop_gradient(y)).mean() / unit
        for x, y, unit in zip(found, wanted[:DEPTH], units[:DEPTH], strict=True)
    ]
    return jnp.stack(errors).mean()
