"""From a state dict, whoever wrote it, to encoders and decoders of ours.

Contract: a state dict maps names to float arrays as PyTorch has them: `LAYER.weight` is `[out, in, h, w]`, `LAYER.bias`
`[out]`. What it holds is recognised by its names and shapes, and all must fit: whatever is missing, unknown, misshapen
or not finite is listed in one ValueError.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from uwct.convert.layouts import CORNERS, Layout, Trained, family_name, layouts, vgg_layers
from uwct.networks.config import Blocks

State = Mapping[str, np.ndarray]
# Layer -> "weight" or "bias" -> the tensor's name in the state dict.
Layers = dict[str, dict[str, str]]

# (matrix, shift) that turn RGB in [0, 1] into what the network was trained on.
TORCHVISION = np.diag([1 / 0.229, 1 / 0.224, 1 / 0.225]), np.array([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
CAFFE = 255 * np.eye(3)[::-1], np.array([-103.939, -116.779, -123.68])  # BGR in [0, 255]


@dataclasses.dataclass(frozen=True)
class Network:
    """One encoder or decoder: its layout, the channels of the encoder that it is or mirrors, and our parameters."""

    layout: Layout
    blocks: Blocks
    params: dict[str, Any]


def recognise(state: State, trained: Trained | None = None) -> list[Network]:
    """All networks in a state dict; raises ValueError unless every tensor belongs to one and all fit.

    `trained` is what encoders were trained on that have no 1x1 convolution; where it is not given (None), the published
    ones' first weights decide, or names. What neither tells stays `assumed` in its layout.
    """
    groups = _grouped(state)
    _refuse_unpooling(groups)
    matches = [(layers, layout) for layers in groups.values() if (layout := _best(set(layers)))]
    if not state or len(matches) < len(groups):
        matches = [_by_order(state)]
    faults = [f"{name} holds {value.dtype}" for name, value in state.items() if value.dtype.kind != "f"]
    faults += [f"{name} is not finite" for name, value in state.items() if not np.isfinite(value).all()]
    networks = []
    for layers, layout in matches:
        wrong = _name_faults(layers, layout) or _shape_faults(layers, layout, state)
        faults += wrong
        if not wrong:
            networks.append(_network(layers, layout.taking(trained or _published(layers, layout, state)), state))
    if faults:
        sources = " and ".join(dict.fromkeys(layout.source for _, layout in matches))
        raise ValueError(f"it looks like {sources}, but: " + "; ".join(sorted(faults)))
    return networks


def _grouped(state: State) -> dict[str, Layers]:
    """The layers by what stands before their names; containers of layers, and of modules, are looked through."""
    groups: dict[str, Layers] = {}
    for name in state:
        path, _, part = re.sub(r"preprocess_(weight|bias)$", r"preprocess.\1", name).rpartition(".")
        group, _, layer = re.sub(r"(^|\.)module(?=\.)", "", path).removeprefix(".").rpartition(".")
        dense = re.search(r"(^|\.)(classifier|pre_logits|head)$", group)
        layer = f"{dense[2]}.{layer}" if dense else layer
        group = re.sub(r"(^|\.)(features|seq|classifier|pre_logits|head)$", "", group)
        groups.setdefault(group, {}).setdefault(layer, {})[part] = name
    return groups


def _refuse_unpooling(groups: dict[str, Layers]) -> None:
    """PhotoWCT's decoders have the shapes of ours, but undo the pooling where it was."""
    encoders = [group for group, layers in groups.items() if re.fullmatch(r"e\d", group) and "conv0" in layers]
    if encoders and any(re.fullmatch(r"d\d", group) for group in groups):
        raise ValueError("these are PhotoWCT's networks, whose decoders need to know where the encoder pooled")


def _best(names: set[str]) -> Layout | None:
    """The layout that these layers' names fit best; None when more is wrong than right."""

    def fit(layout: Layout) -> int:
        wanted = _wanted(layout, names)
        return 2 * len(names & wanted) - len(names ^ wanted)

    best = max(layouts(), key=fit)
    return best if fit(best) > 0 else None


def _wanted(layout: Layout, names: set[str]) -> set[str]:
    """The layers that there must be: those that are used, and each further group of which there is any."""
    first = {layout.preprocess} if layout.preprocess else set()
    return first.union(layout.layers, layout.required, *(group for group in layout.unused if group & names))


def _by_order(state: State) -> tuple[Layers, Layout]:
    """A decoder whose layers have names of their own: their number and order say which they are."""
    layers: Layers = {}
    for name in state:
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = name
    for layout in layouts():
        if layout.kind == "decoder" and len(layout.layers) == len(layers):
            for order in (list(layers), sorted(layers, key=_natural)):
                found = dataclasses.replace(
                    layout,
                    source=f"{family_name(layout.family)} decoder with layers of its own names",
                    licence="unknown: that of the project that it comes from",
                    layers=dict(zip(order, layout.layers.values(), strict=True)),
                    final_relu=False,
                )
                if not _name_faults(layers, found) and not _shape_faults(layers, found, state):
                    return layers, found
    names = list(state)
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    raise ValueError(f"it holds no VGG encoder or WCT decoder of a known format; its tensors: {shown or 'none'}")


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders "conv2" before "conv10"."""
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _name_faults(layers: Layers, layout: Layout) -> list[str]:
    wanted = _wanted(layout, set(layers))
    faults = [f"{name}.{part} is missing" for name in wanted for part in ("weight", "bias") if name not in layers]
    for layer, parts in layers.items():
        known = {"weight", "bias"} if layer in wanted else set()
        faults += [f"{parts[part]} is unknown" for part in parts.keys() - known]
        faults += [f"{layer}.{part} is missing" for part in known - parts.keys()]
    return faults


def _shape_faults(layers: Layers, layout: Layout, state: State) -> list[str]:
    """Every layer must take the channels that the one before it gives; pictures have 3."""
    faults = []

    def check(layer: str, part: str, wanted: tuple[int, ...]) -> None:
        name = layers[layer][part]
        if state[name].shape != wanted:
            faults.append(f"{name} has shape {list(state[name].shape)}, not {list(wanted)}")

    def width(layer: str, axis: int) -> int:
        shape = state[layers[layer]["weight"]].shape
        return shape[axis] if len(shape) == 4 else 0

    names = list(layout.layers)
    if layout.preprocess:
        check(layout.preprocess, "weight", (3, 3, 1, 1))
        check(layout.preprocess, "bias", (3,))
    channels = 3 if layout.kind == "encoder" else width(names[0], 1)
    for name in names:
        out = 3 if layout.kind == "decoder" and name == names[-1] else width(name, 0)
        check(name, "weight", (out, channels, 3, 3))
        check(name, "bias", (out,))
        channels = out
    return faults


def _network(layers: Layers, layout: Layout, state: State) -> Network:
    params: dict[str, Any] = {}
    widths: dict[tuple[int, int], int] = {}
    for foreign, layer in layout.layers.items():
        weight, bias = (state[layers[foreign][part]] for part in ("weight", "bias"))
        params[f"conv{layer[0]}_{layer[1]}"] = {
            "kernel": np.float32(weight.transpose(2, 3, 1, 0)),
            "bias": np.float32(bias),
        }
        widths[layer] = weight.shape[0 if layout.kind == "encoder" else 1]
    if layout.kind == "encoder":
        params["conv1_1"] = fold(params["conv1_1"], *_preprocessing(layers, layout, state))
    order = vgg_layers(layout.family, layout.level)
    blocks = tuple(tuple(widths[b, i] for b, i in order if b == block) for block in range(1, layout.level + 1))
    return Network(layout, blocks, params)


def _published(layers: Layers, layout: Layout, state: State) -> Trained | None:
    """What a network of names that leave it open was trained on, if its first weights are the published ones."""
    if not layout.assumed:
        return None
    corner = state[layers[next(iter(layout.layers))]["weight"]][0, :, 0, 0]
    found = (
        trained
        for (family, trained), numbers in CORNERS.items()
        if family == layout.family and np.allclose(corner, numbers, rtol=0, atol=0.002)
    )
    return next(found, None)


def _preprocessing(layers: Layers, layout: Layout, state: State) -> tuple[np.ndarray, np.ndarray]:
    if layout.preprocess:
        weight, bias = (state[layers[layout.preprocess][part]].astype(np.float64) for part in ("weight", "bias"))
        return weight[:, :, 0, 0], bias
    return TORCHVISION if layout.preprocessing == "torchvision" else CAFFE


def fold(layer: dict[str, np.ndarray], matrix: np.ndarray, shift: np.ndarray) -> dict[str, np.ndarray]:
    """The layer after x -> matrix x + shift, as one layer; exact where padding reflects."""
    kernel = layer["kernel"].astype(np.float64)
    bias = layer["bias"] + np.einsum("hwed,e->d", kernel, shift)
    return {"kernel": np.einsum("hwed,ec->hwcd", kernel, matrix).astype(np.float32), "bias": bias.astype(np.float32)}
