"""What the layers of published VGG encoders and WCT decoders are called, project by project.

A layout says, for one kind of network, which foreign layer is which of ours. Layers of ours are `(block, index)`: VGG's
conv4_2 is (4, 2), and so is the decoder's layer that mirrors it. Sequential containers number their layers, those
without parameters included, so that the numbers follow from the architecture.
"""

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Literal

from uwct.networks.config import LEVELS

Layer = tuple[int, int]
# What an encoder takes that was trained to classify: RGB, less a mean, by a deviation; or BGR in [0, 255] less a mean.
Trained = Literal["torchvision", "caffe"]
# Published networks are known, whatever their file is called, by weights [0, :, 0, 0] of their first layer, for the
# colors in the order in which it takes them: RGB, or Caffe's BGR.
CORNERS: dict[tuple[str, Trained], tuple[float, float, float]] = {
    ("vgg19", "torchvision"): (-0.05347, 0.01702, -0.04489),
    ("vgg16", "torchvision"): (-0.55373, 0.17548, 0.31303),
    ("vgg19", "caffe"): (0.34120, 0.46418, 0.39417),
    ("vgg16", "caffe"): (0.42947, 0.55038, 0.48002),
}
# Convolutions in each block, to the end of the network.
DEPTHS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}


@dataclasses.dataclass(frozen=True)
class Layout:
    """One kind of network.

    Attributes:
      source: what it is, for people.
      licence: what is known about the licence of the published files.
      family: "vgg19" or "vgg16".
      kind: whether it turns pictures into features or back.
      level: an encoder's last, a decoder's own.
      layers: foreign name -> layer of ours, in the order in which pictures pass.
      preprocessing: what an encoder does first: "1x1", a convolution of its own, called `preprocess`; or the constants
        of "torchvision" or "caffe".
      preprocess: the name of that convolution.
      required: further layers that a file must have.
      unused: groups of further layers that a file has, each wholly or not at all.
      final_relu: whether a decoder ends with a ReLU.
      assumed: whether the names leave it open that the preprocessing is this one, so that weights must tell.
    """

    source: str
    licence: str
    family: str
    kind: Literal["encoder", "decoder"]
    level: int
    layers: dict[str, Layer]
    preprocessing: Literal["", "1x1"] | Trained = ""
    preprocess: str = ""
    required: frozenset[str] = frozenset()
    unused: tuple[frozenset[str], ...] = ()
    final_relu: bool = False
    assumed: bool = False

    def taking(self, trained: Trained | None) -> "Layout":
        """The same, where it is known what the encoder was trained on; those with a 1x1 convolution say it themselves.

        None is not known.
        """
        if trained is None or self.preprocessing not in ORIGINS:
            return self
        source = self.source if trained == self.preprocessing else f"{ORIGINS[trained]} {family_name(self.family)}"
        return dataclasses.replace(self, source=source, preprocessing=trained, assumed=False)

    @property
    def backbone(self) -> str:
        """A name for an encoder of this layout, or that this decoder belongs to."""
        return f"{self.preprocessing if self.preprocessing in ORIGINS else 'converted'}-{self.family}"


ORIGINS: dict[str, str] = {"torchvision": "torchvision's", "caffe": "Caffe's"}
VGG = "Simonyan and Zisserman's weights, CC BY 4.0, trained on ImageNet"
AUTHORS = "MIT (Yijun Li); the encoder is Simonyan and Zisserman's, CC BY 4.0, trained on ImageNet"
NAMED = "that of the project that it comes from (PytorchWCT: MIT); trained on ImageNet or MS-COCO"
DISTILLED = "MIT (Huan Wang); derived from VGG-19, trained on ImageNet and MS-COCO"


def family_name(family: str) -> str:
    """As people write it."""
    return family.replace("vgg", "VGG-")


def vgg_layers(family: str, level: int | None = None) -> list[Layer]:
    """The convolutions up to relu_X_1, or all."""
    layers = [(block, i) for block, depth in enumerate(DEPTHS[family], 1) for i in range(1, depth + 1)]
    return layers if level is None else layers[: layers.index((level, 1)) + 1]


def torchvision_indices(family: str) -> dict[str, Layer]:
    """The places of convolutions among torchvision's `features`: convolution, ReLU, ..., pooling."""
    layers = vgg_layers(family)
    return {str(2 * i + block - 1): (block, index) for i, (block, index) in enumerate(layers)}


def sequential_encoder(family: str) -> dict[str, Layer]:
    """Places where the 1x1 convolution is followed by padding, convolution, ReLU, ..., and pooling between blocks."""
    return {str(2 + 3 * i + block - 1): (block, index) for i, (block, index) in enumerate(vgg_layers(family))}


def sequential_decoder(family: str, level: int) -> dict[str, Layer]:
    """Places in padding, convolution, ReLU, with up-sampling after the first convolution of a block."""
    layers = reversed(vgg_layers(family, level))
    return {str(1 + 3 * i + level - block): (block, index) for i, (block, index) in enumerate(layers)}


@cache
def layouts() -> tuple[Layout, ...]:
    """All that are known."""
    return tuple(layout for family in DEPTHS for layout in (*_encoders(family), *_decoders(family)))


def _pretrained(
    origin: str, family: str, trained: Trained, names: dict[str, Layer], *dense: set[str], assumed: bool = False
) -> Layout:
    """VGG as it was trained to classify, of which we use what leads to relu5_1."""
    used = {foreign: layer for foreign, layer in names.items() if layer in vgg_layers(family, LEVELS[-1])}
    unused = (frozenset(names.keys() - used.keys()), *map(frozenset, dense))
    source = f"{origin} {family_name(family)}"
    return Layout(source, VGG, family, "encoder", LEVELS[-1], used, trained, unused=unused, assumed=assumed)


def _classifiers(family: str) -> Iterator[Layout]:
    """VGG as PyTorch's and Keras's projects have it; where names do not decide, weights must, or people (`assumed`)."""
    places, underscored = torchvision_indices(family), {f"conv{b}_{i}": (b, i) for b, i in vgg_layers(family)}
    named = {f"block{b}_conv{i}": (b, i) for b, i in vgg_layers(family)}
    numbered = {f"conv2d_{i}" if i else "conv2d": layer for i, layer in enumerate(vgg_layers(family))}
    first, second = ({f"classifier.{i}" for i in numbers} for numbers in ((0, 3, 6), (1, 4, 6)))
    yield _pretrained("torchvision's", family, "torchvision", places, first, assumed=True)
    yield _pretrained("Caffe's", family, "caffe", places, second, assumed=True)
    yield _pretrained("timm's", family, "torchvision", places, {"pre_logits.fc1", "pre_logits.fc2"}, {"head.fc"})
    yield _pretrained("Keras's", family, "caffe", named, {"fc1", "fc2", "predictions"})
    # Numbers alone do not tell VGG-16 from the beginning of VGG-19, nor these names an encoder from a decoder: here the
    # whole network is needed.
    caffe = _pretrained("Caffe's", family, "caffe", underscored, {"fc6", "fc7", "fc8"}, assumed=True)
    keras = _pretrained("Keras's", family, "caffe", numbered, {"dense", "dense_1", "dense_2"})
    for layout in (caffe, keras):
        yield dataclasses.replace(layout, required=layout.unused[0], unused=layout.unused[1:])


def _encoders(family: str) -> Iterator[Layout]:
    name = family_name(family)
    yield from _classifiers(family)
    for level in LEVELS:
        layers = vgg_layers(family, level)
        places = {foreign: layer for foreign, layer in sequential_encoder(family).items() if layer in layers}
        beyond = frozenset(sequential_encoder(family).keys() - places.keys()) if level == LEVELS[-1] else frozenset()
        normalised = f"normalised {name} of the WCT and AdaIN projects"

        def own(source: str, licence: str, names: dict[str, Layer], first: str, *, level: int = level) -> Layout:
            return Layout(source, licence, family, "encoder", level, names, "1x1", first)

        yield dataclasses.replace(own(normalised, AUTHORS, places, "0"), unused=(beyond,))
        yield own(normalised, NAMED, {f"conv{i}": layer for i, layer in enumerate(layers, start=2)}, "conv1")
        for first in ("conv0", "preprocess"):
            yield own(normalised, NAMED, {f"conv{b}_{i}": (b, i) for b, i in layers}, first)
        auxiliary = frozenset(f"conv{b}1_aux" for b in range(1, level + 1))
        distilled = own(f"Collaborative-Distillation {name} encoder", DISTILLED, _short(layers), "conv0")
        yield dataclasses.replace(distilled, unused=(auxiliary,))


def _decoders(family: str) -> Iterator[Layout]:
    name = family_name(family)
    for level in LEVELS:
        layers = vgg_layers(family, level)[::-1]

        def mirror(source: str, licence: str, names: dict[str, Layer], *, level: int = level) -> Layout:
            return Layout(source, licence, family, "decoder", level, names)

        authors, named = f"{name} decoder of the WCT and AdaIN projects", f"{name} decoder with named layers"
        yield mirror(authors, AUTHORS, sequential_decoder(family, level))
        yield mirror(named, NAMED, {f"conv{b}_{i}": (b, i) for b, i in layers})
        yield mirror(named, NAMED, {f"conv{i}": layer for i, layer in enumerate(layers, start=len(layers) + 2)})
        distilled = mirror(f"Collaborative-Distillation {name} decoder", DISTILLED, _short(layers))
        yield dataclasses.replace(distilled, final_relu=True)


def _short(layers: list[Layer]) -> dict[str, Layer]:
    return {f"conv{block}{index}": (block, index) for block, index in layers}
