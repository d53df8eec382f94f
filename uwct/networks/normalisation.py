"""Activation-normalised encoders (Gatys, Ecker and Bethge, CVPR 2016).

A ReLU network is positively homogeneous: dividing a layer's output channels by positive constants and multiplying the
next layer's input channels by them changes nothing but the scale of what is seen in between. With each channel scaled
to mean activation 1 over natural photographs, one tolerance, one learning rate and bfloat16 serve all five levels.
"""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from uwct.networks.config import LEVELS, Blocks
from uwct.networks.vgg import Conv3x3, Encoder

# Channels whose mean is below this share of their layer's hardly ever fire; they keep their scale, so none explodes.
LEAST_SHARE = 0.03


def mean_activations(blocks: Blocks, params: Any, batches: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """The mean of every channel after ReLU, by layer (`conv1_1` -> `[64]`), over batches `[N, H, W, 3]` of pictures."""
    encoder = Encoder(blocks)

    @jax.jit
    def activations(pictures: jax.Array) -> Any:
        _, state = encoder.apply(
            {"params": params}, pictures, capture_intermediates=lambda module, _: isinstance(module, Conv3x3)
        )
        layers = state["intermediates"].items()
        return {name: nn.relu(layer["__call__"][0]).mean((0, 1, 2)) for name, layer in layers}

    total: dict[str, np.ndarray] = {}
    count = 0
    for pictures in batches:
        for name, mean in activations(jnp.asarray(pictures)).items():
            total[name] = total.get(name, 0.0) + len(pictures) * np.asarray(mean, np.float64)
        count += len(pictures)
    return {name: (value / count).astype(np.float32) for name, value in total.items()}


def normalise(params: Any, means: dict[str, np.ndarray]) -> Any:
    """Rescales an encoder so that `means`, its channels' mean activations, become 1; channels of mean 0 keep 1.

    Raises ValueError when the layers of `means` are not those of `params`.
    """
    if set(means) != set(params):
        raise ValueError(f"means are given for {sorted(means)}, but the encoder's layers are {sorted(params)}")
    scaled, before = {}, np.ones(3, np.float32)
    for name in sorted(params, key=_place):
        scale = np.where(means[name] > 0, means[name], 1.0).astype(np.float32)
        kernel, bias = (np.asarray(params[name][key]) for key in ("kernel", "bias"))
        scaled[name] = {"kernel": kernel * before[:, None] / scale, "bias": bias / scale}
        before = scale
    return scaled


def _place(layer: str) -> tuple[int, int]:
    """The block of a layer, and its number in that."""
    block, number = layer.removeprefix("conv").split("_")
    return int(block), int(number)


def normalise_with(
    blocks: Blocks, encoder: Any, decoders: dict[int, Any], batches: Iterable[np.ndarray]
) -> tuple[Any, dict[int, Any]]:
    """An encoder of our own making, normalised over batches `[N, H, W, 3]`, with its decoders by level fitted to it.

    Together they give the pictures that they gave before.
    """
    means = mean_activations(blocks, encoder, batches)
    means = {name: np.where(mean < LEAST_SHARE * mean.mean(), 0, mean) for name, mean in means.items()}
    fitted = {}
    for level, decoder in decoders.items():
        first = f"conv{level}_1"
        scale = np.where(means[first] > 0, means[first], 1)
        kernel = np.asarray(decoder[first]["kernel"]) * scale[:, None]
        fitted[level] = {**decoder, first: {**decoder[first], "kernel": kernel}}
    return normalise(encoder, means), fitted


def normalise_tap(
    blocks: Blocks, encoder: Any, decoder: Any, level: int, batches: Iterable[np.ndarray]
) -> tuple[Any, Any]:
    """A level's own encoder with each channel of relu_X_1 scaled to variance 1, and its decoder fitted to it.

    Nothing else of it is ever looked at, so within, layers keep the scale that they learned at, which further training
    needs. Variance, not the mean, since the covariances that `shrink` and `monge` weigh channels by are then alike.
    """
    last = f"conv{level}_1"
    deviation = np.sqrt(channel_variances(blocks, encoder, batches)[level])
    scale = np.where(deviation < LEAST_SHARE * deviation.mean(), 1, deviation).astype(np.float32)
    kernel, bias = (np.asarray(encoder[last][key]) for key in ("kernel", "bias"))
    fitted = np.asarray(decoder[last]["kernel"]) * scale[:, None]
    scaled = {**encoder, last: {"kernel": kernel / scale, "bias": bias / scale}}
    return scaled, {**decoder, last: {**decoder[last], "kernel": fitted}}


def variances(blocks: Blocks, params: Any, batches: Iterable[np.ndarray]) -> tuple[float, ...]:
    """(pixels, relu1_1, ..., relu5_1): the variance about each channel's mean, averaged over channels.

    Levels that the encoder does not reach have 1.
    """
    found = [float(each.mean()) for each in channel_variances(blocks, params, batches)]
    return (*found, *[1.0] * (len(LEVELS) - len(blocks)))


def channel_variances(blocks: Blocks, params: Any, batches: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Of pixels `[3]` and of each level's features `[C]`, as far as the encoder reaches: the variance of channels."""
    encoder = Encoder(blocks)

    @jax.jit
    def sums(pictures: jax.Array) -> Any:
        maps = (pictures, *encoder.apply({"params": params}, pictures, LEVELS[-1]))
        return [(x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))) for x in maps]

    total: list[Any] = [(0.0, 0.0)] * (1 + len(blocks))
    count = 0
    for pictures in batches:
        new = sums(jnp.asarray(pictures))
        total = [
            tuple(t + len(pictures) * np.asarray(n, np.float64) for t, n in zip(ts, ns, strict=True))
            for ts, ns in zip(total, new, strict=True)
        ]
        count += len(pictures)
    return [np.maximum(square / count - (mean / count) ** 2, 0) for mean, square in total]
