"""Small networks of other projects' forms, in PyTorch, and a writer of Torch7's files."""

import struct

import numpy as np
import torch
from torch import nn

WIDTHS = {
    "vgg19": [[4, 5], [6, 7], [8, 9, 8, 9], [10, 11, 10, 11], [12, 13, 12, 13]],
    "vgg16": [[4, 5], [6, 7], [8, 9, 8], [10, 11, 10], [12, 13, 12]],
}
# Weights [0, :, 0, 0] of the published networks' first layer, as people print them; Caffe's are of B, G and R.
CORNERS = {
    ("vgg19", "torchvision"): (-5.3474e-02, 1.7015e-02, -4.4885e-02),
    ("vgg16", "torchvision"): (-0.5537306, 0.17548391, 0.31302562),
    ("vgg19", "caffe"): (0.34119523, 0.46418372, 0.39416704),
    ("vgg16", "caffe"): (4.29470569e-01, 5.50379455e-01, 4.80015397e-01),
}


def encoder(
    family="vgg19", level=5, *, whole=False, first=True, padding=True, seed=0, ceil=False, trained="torchvision"
):
    """[1x1 convolution], then (padding, convolution, ReLU) with pooling between blocks; all blocks whole if `whole`.

    Where there is no 1x1 convolution, the first weights tell what it was trained on, unless `trained` is None.
    """
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 3, 1)] if first else []
    channels = 3
    for block, widths in enumerate(WIDTHS[family][:level]):
        layers += [nn.MaxPool2d(2, ceil_mode=ceil)] if block else []
        for width in widths if whole or block < level - 1 else widths[:1]:
            layers += [nn.ReflectionPad2d(1)] if padding else []
            conv = nn.Conv2d(
                channels, width, 3, padding=0 if padding else 1, padding_mode="reflect" if not padding else "zeros"
            )
            layers += [conv, nn.ReLU()]
            channels = width
    net = tamed(nn.Sequential(*layers))
    if not first and trained:
        with torch.no_grad():
            convolutions(net)[0].weight[0, :, 0, 0] = torch.tensor(CORNERS[family, trained])
    return net


def decoder(family="vgg19", level=5, *, seed=1):
    torch.manual_seed(seed)
    inputs = [3]
    order = []  # (block, channels of the layer's output in the encoder, channels of its input)
    for block, widths in enumerate(WIDTHS[family][:level]):
        for width in widths if block < level - 1 else widths[:1]:
            order.append((block, width, inputs[-1]))
            inputs.append(width)
    layers = []
    for i, (block, wide, narrow) in enumerate(reversed(order)):
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(wide, narrow, 3)]
        last = i == len(order) - 1
        layers += [] if last else [nn.ReLU()]
        if not last and list(reversed(order))[i + 1][0] < block:
            layers += [nn.UpsamplingNearest2d(scale_factor=2)]
    return tamed(nn.Sequential(*layers))


def tamed(net):
    """Weights that neither shut channels nor blow them up."""
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.uniform_(layer.bias, 0, 0.3)
    return net.eval()


def convolutions(net):
    return [layer for layer in net if isinstance(layer, nn.Conv2d)]


def named(net, names):
    """A state dict in which the convolutions have these names."""
    state = {}
    for name, layer in zip(names, convolutions(net), strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = layer.weight.detach(), layer.bias.detach()
    return state


def run(net, x):
    """`[H, W, C]` through a net, as float32 NumPy."""
    with torch.no_grad():
        return net(torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()


def vgg_names(family, level=None):
    """ "1_1", "1_2", ..., up to relu_X_1 or all."""
    names = [f"{b}_{i}" for b, widths in enumerate(WIDTHS[family], 1) for i in range(1, len(widths) + 1)]
    return names if level is None else names[: names.index(f"{level}_1") + 1]


class T7:
    """Writes objects as Torch7 does."""

    def __init__(self, text=False):
        self.text, self.data, self.count = text, b"", 0

    def integer(self, value, kind="i"):
        self.data += f"{value}\n".encode() if self.text else struct.pack("<" + kind, value)

    def numbers(self, values, kind):
        if self.text:
            self.data += " ".join(repr(float(v)) if kind in "fd" else str(v) for v in values).encode() + b"\n"
        else:
            self.data += struct.pack(f"<{len(values)}{kind}", *values)

    def string(self, value):
        self.integer(len(value))
        self.data += value.encode() + (b"\n" if self.text else b"")

    def number_of(self):
        self.count += 1
        self.integer(self.count)

    def write(self, value):
        if value is None:
            self.integer(0)
        elif isinstance(value, bool):
            self.integer(5)
            self.integer(int(value))
        elif isinstance(value, (int, float)):
            self.integer(1)
            self.numbers([value], "d")
        elif isinstance(value, str):
            self.integer(2)
            self.string(value)
        elif isinstance(value, dict):
            self.integer(3)
            self.number_of()
            self.integer(len(value))
            for key, item in value.items():
                self.write(key)
                self.write(item)
        elif isinstance(value, np.ndarray):
            self.tensor(value)
        else:
            name, fields = value
            self.torch(name)
            self.write(fields)

    def torch(self, name):
        self.integer(4)
        self.number_of()
        self.string("V 1")
        self.string(name)

    def tensor(self, array):
        kind, letter = {"f4": ("Float", "f"), "f8": ("Double", "d")}[array.dtype.str[1:]]
        self.torch(f"torch.{kind}Tensor")
        self.integer(array.ndim)
        self.numbers(array.shape, "q")
        self.numbers([s // array.itemsize for s in np.empty(array.shape, array.dtype).strides], "q")
        self.integer(1, "q")
        self.torch(f"torch.{kind}Storage")
        self.integer(array.size, "q")
        self.numbers(array.ravel().tolist(), letter)


def t7(net, *, text=False, dtype=np.float32, flat=False, change=lambda modules: modules):
    """A Sequential of PyTorch as the bytes of a .t7 file."""
    modules = []
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            weight, bias = layer.weight.detach().numpy().astype(dtype), layer.bias.detach().numpy().astype(dtype)
            out, channels, high, wide = weight.shape
            fields = {"weight": weight.reshape(out, -1) if flat else weight, "bias": bias, "kW": wide, "kH": high}
            fields |= {"dW": 1, "dH": 1, "padW": 0, "padH": 0, "nInputPlane": channels, "nOutputPlane": out}
            modules.append(("nn.SpatialConvolutionMM" if flat else "nn.SpatialConvolution", fields))
        else:
            kind = {"MaxPool2d": "SpatialMaxPooling", "ReflectionPad2d": "SpatialReflectionPadding", "ReLU": "ReLU",
                    "UpsamplingNearest2d": "SpatialUpSamplingNearest"}[type(layer).__name__]  # fmt: skip
            modules.append((f"nn.{kind}", {"train": False, "_type": "torch.FloatTensor", "output": np.zeros(0, dtype)}))
    stream = T7(text)
    modules = dict(enumerate(change(modules), start=1))
    stream.write(("nn.Sequential", {"modules": modules, "train": False, "gradInput": None}))
    return stream.data
