"""LPIPS by VGG-16 as a loss: how different two pictures look (Zhang et al., CVPR 2018).

It weighs the directions of features down to relu5_3. Where much is left open, as by the features of levels 4 and 5,
that asks for some texture of the right kind, where squared errors ask for the mean of all kinds.

Contract: pictures are float `[..., H, W, 3]`, RGB in [0, 1].
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from uwct.networks import lpips_jax
from uwct.networks.config import LEVELS
from uwct.networks.layers import conv_layer, max_pool
from uwct.pipeline.refine import direction
from uwct.training.losses import squared_error


class Vgg(NamedTuple):
    """What looks at pictures.

    Attributes:
      layers: those of VGG-16 up to relu5_3, as parameters of `networks.vgg.Encoder`.
      weights: LPIPS's, of the channels of each block's last layer.
    """

    layers: Any
    weights: list[Array]


def load_vgg() -> Vgg:
    """VGG-16 and LPIPS, with the weights that lpips-jax ships."""
    weights = [jnp.asarray(of_layer) for of_layer in lpips_jax.feature_weights()]
    return Vgg(jax.tree.map(jnp.asarray, lpips_jax.encoder_params(last=3)), weights)


def lpips_loss(vgg: Vgg, output: Array, wanted: Array, *, dtype: Any) -> Array:
    """The mean distance of `[N, H, W, 3]` outputs from the pictures that they should be: a scalar."""
    found, right = (features(vgg, pictures, dtype=dtype)[1] for pictures in (output, wanted))
    return distance(found, right, vgg.weights)


def features(vgg: Vgg, pictures: Array, *, dtype: Any) -> tuple[list[Array], list[Array]]:
    """Of pictures `[..., H, W, 3]` each block's first layer, relu1_1 to relu5_1, and its last, relu1_2 to relu5_3."""
    first, last = [], []
    x = pictures
    for block in LEVELS:
        x = x if block == 1 else max_pool(x)
        of_block = [vgg.layers[name] for name in sorted(vgg.layers) if name.startswith(f"conv{block}_")]
        outputs = [x := conv_layer(x, layer["kernel"], layer["bias"], relu=True, dtype=dtype) for layer in of_block]
        first.append(outputs[0])
        last.append(outputs[-1])
    return first, last


def distance(found: Sequence[Array], wanted: Sequence[Array], weights: Sequence[Array]) -> Array:
    """LPIPS of two pictures' `features`, the last of each block: a scalar. `wanted` has no gradient.

    It differs from that of `judge.evaluation` at the border, which is reflected here and zero there.
    """
    pairs = [(direction(a), jax.lax.stop_gradient(direction(b))) for a, b in zip(found, wanted, strict=True)]
    return jnp.stack([(squared_error(a, b) @ w).mean() for (a, b), w in zip(pairs, weights, strict=True)]).sum()
