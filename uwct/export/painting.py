"""What `pipeline.whole.stylize` does, as ONNX graphs: for a style given, or for any style.

Contract: pictures are float32 `[height, width, 3]`, RGB in [0, 1], with sides of at least `SMALLEST` pixels, which are
found out when they are there; results are not clipped. Strengths are an input too, `alphas`, one a level.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx

from uwct.export.graph import Graph, Value
from uwct.export.look import check
from uwct.export.roots import constants_masked, matrix
from uwct.networks.config import stride
from uwct.networks.model import Model
from uwct.networks.vgg import decoder_layers, encoder_layers
from uwct.pipeline.padding import STRIDE
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style

# Pixels a side, so that there is something to reflect.
SMALLEST = 2 * STRIDE
PICTURE = ("height", "width", 3)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Of features at one level: mean `[C, 1]` and covariance `[C, C]`."""

    mean: Value
    cov: Value


def painter(model: Model, look: Preset, style: Style | None = None) -> onnx.ModelProto:
    """The graph from `photo`, `style` (unless one is given, which is then part of it) and `alphas` to `picture`.

    Raises ValueError for levels that the model lacks, and for a look that matrix products alone do not reach.
    """
    check(model, look)
    graph = Graph()
    photo = _channels_first(graph.input("photo", PICTURE))
    shown = None if style else _channels_first(graph.input("style", ("style_height", "style_width", 3)))
    alphas = graph.input("alphas", (len(look.levels),))
    for number, level in enumerate(look.levels):
        target = _baked(graph, style, level) if style else observe(model, shown, level)[1]  # type: ignore[arg-type]
        photo = paint(model, photo, target, alphas.node("Gather", [number]), level, look)
    graph.output(_channels_last(photo), "picture", PICTURE)
    return _finished(graph, "A photo in the manner of a style", model, look)


def observer(model: Model, look: Preset) -> onnx.ModelProto:
    """The graph from `style` to `mean4`, `cov4` and so on: all that is kept of a style, for `level_painter`."""
    check(model, look)
    graph = Graph()
    style = _channels_first(graph.input("style", PICTURE))
    for level in look.levels:
        _, found = observe(model, style, level)
        channels = _channels(model, level)
        graph.output(found.mean, f"mean{level}", (channels, 1))
        graph.output(found.cov, f"cov{level}", (channels, channels))
    return _finished(graph, "The statistics of a style", model, look)


def level_painter(model: Model, look: Preset, level: int) -> onnx.ModelProto:
    """The graph of one level, from `photo`, a style's `mean` and `cov`, and `alphas` (one) to `picture`."""
    check(model, look)
    graph, channels = Graph(), _channels(model, level)
    photo = _channels_first(graph.input("photo", PICTURE))
    target = Statistics(graph.input("mean", (channels, 1)), graph.input("cov", (channels, channels)))
    alpha = graph.input("alphas", (1,))
    graph.output(_channels_last(paint(model, photo, target, alpha, level, look)), "picture", PICTURE)
    return _finished(graph, f"Level {level} of a photo in the manner of a style", model, look)


def paint(model: Model, photo: Value, target: Statistics, alpha: Value, level: int, look: Preset) -> Value:
    """One level of a picture `[1, 3, H, W]`, its strength `[1]`."""
    features, own = observe(model, photo, level)
    channels = _channels(model, level)
    whole = matrix(own.cov, target.cov, channels, look.transform, look.shrinkage)
    x = features.node("Flatten", axis=2)
    y = alpha * (whole @ (x - own.mean) + target.mean) + (1 - alpha) * x
    return _cropped(decode(model, y.node("Reshape", features.node("Shape")), level), photo)


def observe(model: Model, picture: Value, level: int) -> tuple[Value, Statistics]:
    """The features `[1, C, h, w]` of a picture `[1, 3, H, W]`, padded, and their statistics without the padding."""
    sides = picture.node("Shape", start=2)
    more = sides.node("Neg").node("Mod", STRIDE)
    border = picture.graph.node("Concat", [0] * 6, more, axis=0)
    features = encode(model, picture.node("Pad", border, mode="reflect"), level)
    ones = picture.graph.node("Expand", 1.0, picture.graph.node("Concat", [1, 1], sides, axis=0))
    size = [stride(level)] * 2
    shares = ones.node("Pad", border).node("AveragePool", kernel_shape=size, strides=size)
    return features, moments(features.node("Flatten", axis=2), shares.node("Flatten", axis=2), _channels(model, level))


def moments(x: Value, weights: Value, channels: int) -> Statistics:
    """Of features `[C, pixels]` under weights `[1, pixels]`, as `statistics.moments` takes them."""
    weight = weights.sum(0, 1)
    center = x.node("ReduceMean", [1])
    mean = center + (x - center) @ weights.mT / weight
    deviations = x - mean
    cov = (deviations * weights) @ deviations.mT / (weight - 1).node("Max", 1.0)
    return Statistics(mean, constants_masked(mean, cov, channels))


def encode(model: Model, x: Value, level: int) -> Value:
    """Pictures `[1, 3, H, W]` -> relu_level_1 `[1, C, h, w]`, as `vgg.Encoder`."""
    name, blocks = model.config.encoder(level)
    for block, index, _, _ in encoder_layers(blocks, level):
        if index == 1 and block > 1:
            x = x.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        x = _convolution(model, x, name, f"conv{block}_{index}").node("Relu")
    return x


def decode(model: Model, x: Value, level: int) -> Value:
    """The way back, as `vgg.Decoder`."""
    _, blocks = model.config.encoder(level)
    for block, index, _, _ in decoder_layers(blocks, level, model.config.decoder_width):
        x = _convolution(model, x, f"decoder{level}", f"conv{block}_{index}")
        if (block, index) != (1, 1) or model.config.final_relu:
            x = x.node("Relu")
        if index == 1 and block > 1:
            x = _doubled(x)
    return x


def _convolution(model: Model, x: Value, network: str, layer: str) -> Value:
    """A reflected 3x3 convolution."""
    params = model.params[network][layer]
    kernel = x.graph.weights(f"{network}/{layer}/kernel", np.asarray(params["kernel"]).transpose(3, 2, 0, 1))
    bias = x.graph.weights(f"{network}/{layer}/bias", params["bias"])
    return x.node("Pad", [0, 0, 1, 1, 0, 0, 1, 1], mode="reflect").node("Conv", kernel, bias)


def _doubled(x: Value) -> Value:
    """Every pixel as a 2x2 square."""
    no_region = np.zeros(0, np.float32)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return x.node("Resize", no_region, [1.0, 1.0, 2.0, 2.0], **how)


def _cropped(x: Value, photo: Value) -> Value:
    """Without the padding."""
    return x.node("Slice", [0, 0], photo.node("Shape", start=2), [2, 3])


def _baked(graph: Graph, style: Style, level: int) -> Statistics:
    """The statistics of a style that is known."""
    moments = style.moments[level]
    mean = graph.weights(f"style/mean{level}", np.asarray(moments.mean)[:, None])
    return Statistics(mean, graph.weights(f"style/cov{level}", moments.cov))


def _channels(model: Model, level: int) -> int:
    return model.config.encoder(level)[1][level - 1][0]


def _channels_first(picture: Value) -> Value:
    return picture.node("Transpose", perm=[2, 0, 1]).node("Unsqueeze", [0])


def _channels_last(picture: Value) -> Value:
    return picture.node("Squeeze", [0]).node("Transpose", perm=[1, 2, 0])


def _finished(graph: Graph, what: str, model: Model, look: Preset) -> onnx.ModelProto:
    settings: dict[str, str | Sequence[float]] = {
        "backbone": model.config.backbone,
        "levels": look.levels,
        "alphas": look.alpha,
        "style_size": str(look.style_size),
        "transform": look.transform,
        "shrinkage": str(look.shrinkage),
    }
    metadata = {
        name: value if isinstance(value, str) else " ".join(f"{x:g}" for x in value) for name, value in settings.items()
    }
    return graph.model(f"{what} (uwct)", metadata)
