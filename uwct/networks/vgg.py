"""The networks: VGG up to relu_X_1 (encoder) and its mirror back to RGB (decoder), X = 1..5, as Linen modules.

Contract: pictures are `[..., H, W, 3]`, RGB in [0, 1]; level X's features are `[..., H / s, W / s, C]` with the stride
s = 2^(X-1), so H and W are multiples of s. Parameters are float32; `dtype` is what convolutions compute in. The
usual preprocessing (subtract a mean, divide by a deviation) is folded into `conv1_1`, which is exact under reflection
padding. Layers are named as in the literature, `conv{block}_{index}`; the decoder's carry the names that they mirror.
"""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from uwct.networks.border import Padding
from uwct.networks.config import LEVELS, Blocks, check_level
from uwct.networks.layers import Extent, Pooling, conv_layer, max_pool, upsample


def encoder_layers(blocks: Blocks, level: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields (block, index, input channels, output channels) of every convolution up to relu_X_1, both from 1."""
    channels = 3
    for block, widths in enumerate(blocks[:level], start=1):
        for index, width in enumerate(widths[:1] if block == level else widths, start=1):
            yield block, index, channels, width
            channels = width


def decoder_layers(blocks: Blocks, level: int, width: float) -> Iterator[tuple[int, int, int, int]]:
    """Yields the same of every convolution of the mirror, in the order of its layers; `width` as in `Decoder`."""
    channels = blocks[level - 1][0]
    for block, index, mirrored, _ in reversed(list(encoder_layers(blocks, level))):
        features = mirrored if (block, index) == (1, 1) else max(1, round(mirrored * width))
        yield block, index, channels, features
        channels = features


class Conv3x3(nn.Module):
    """A reflected 3x3 convolution, with ReLU if `relu`; parameters `kernel[3, 3, C, features]` and `bias[features]`."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()
    relu: bool = True

    @nn.compact
    def __call__(self, x: Array, padding: Padding = "reflect", upsampled: bool = False, extent: Extent = None) -> Array:
        if self.is_initializing():
            kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.features))
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        else:  # param would trace the initialisers once more, which takes longer than a small picture's layer
            kernel, bias = self.get_variable("params", "kernel"), self.get_variable("params", "bias")
        how: Any = {"padding": padding, "dtype": self.dtype, "extent": extent}
        return conv_layer(x, kernel, bias, relu=self.relu, upsampled=upsampled, **how)


class Encoder(nn.Module):
    """VGG. `apply(variables, picture, level)` gives the tuple (relu1_1, ..., relu_level_1) from one pass."""

    blocks: Blocks
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        level: int = LEVELS[-1],
        padding: Padding = "reflect",
        pooling: Pooling = "floor",
        extent: Extent = None,
    ) -> tuple[Array, ...]:
        check_level(level)
        taps = []
        for block, index, _, width in encoder_layers(self.blocks, level):
            if index == 1 and block > 1:
                x = max_pool(x, pooling)
                extent = extent and (extent[0] // 2, extent[1] // 2)
            x = Conv3x3(width, self.dtype, name=f"conv{block}_{index}")(x, padding, extent=extent)
            if index == 1:
                taps.append(x)
        return tuple(taps)


class Decoder(nn.Module):
    """The mirror of the encoder up to relu_X_1. `apply(variables, features)` gives the picture, not clipped.

    The layer that mirrors `conv4_2` is called `conv4_2` and turns that layer's output channels into its input
    channels. `width` scales the channels between the first input and the picture. The last layer is linear, unless
    `final_relu`.
    """

    blocks: Blocks
    level: int
    width: float = 1.0
    dtype: Any = jnp.float32
    final_relu: bool = False

    @nn.compact
    def __call__(self, x: Array, padding: Padding = "reflect", stop: str = "", extent: Extent = None) -> Array:
        check_level(self.level)
        upsampled = False  # whether x is to be up-sampled, which the next layer does
        for block, index, _, features in decoder_layers(self.blocks, self.level, self.width):
            if stop == f"conv{block}_{index}":
                break
            last = (block, index) == (1, 1)
            init = nn.initializers.zeros if last else nn.initializers.he_normal()
            layer = Conv3x3(features, self.dtype, init, not last or self.final_relu, name=f"conv{block}_{index}")
            x = layer(x, padding, upsampled, extent)
            extent = extent and (extent[0] * (1 + upsampled), extent[1] * (1 + upsampled))
            upsampled = index == 1 and block > 1
        return upsample(x) if upsampled else x
