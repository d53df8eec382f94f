"""What a model is, as frozen and validated data; stored as JSON in every weight file."""

import dataclasses
import json
import math
from typing import Any

LEVELS = (1, 2, 3, 4, 5)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of one model: its encoder's channels and its decoders' width.

    Attributes:
      backbone: the name of the network family, for people ("vgg16").
      blocks: channels of every convolution, block by block; relu_X_1 is the first convolution of block X.
      decoder_width: the decoders' hidden channels as a fraction of the encoder's.
      normalised: whether each encoder channel is scaled to mean activation 1 over natural photographs.
      variances: of the pixels and of relu1_1 to relu5_1 over natural photographs, the unit of the training losses.
    """

    backbone: str
    blocks: tuple[tuple[int, ...], ...]
    decoder_width: float = 1.0
    normalised: bool = True
    variances: tuple[float, ...] = (1.0,) * (1 + len(LEVELS))

    def __post_init__(self) -> None:
        blocks = tuple(tuple(int(width) for width in block) for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)
        if len(blocks) != len(LEVELS) or not all(block and min(block) > 0 for block in blocks):
            raise ValueError(f"blocks must be five non-empty tuples of positive channel counts, not {self.blocks}")
        if not 0 < self.decoder_width <= 1:
            raise ValueError(f"decoder_width must lie in (0, 1], not {self.decoder_width}")
        object.__setattr__(self, "variances", tuple(float(value) for value in self.variances))
        if len(self.variances) != 1 + len(LEVELS) or not min(self.variances) > 0:
            raise ValueError(f"variances must be six positive numbers, not {self.variances}")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """Reads what `to_json` wrote; raises ValueError for anything else."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**fields)
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"not the config of a uwct model: {error}") from None


def vgg16(decoder_width: float = 1.0) -> ModelConfig:
    """VGG-16 (Simonyan and Zisserman, ICLR 2015) up to relu5_1."""
    return ModelConfig("vgg16", ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,)), decoder_width)


def vgg19(decoder_width: float = 1.0) -> ModelConfig:
    """VGG-19, the paper's network, up to relu5_1."""
    return ModelConfig("vgg19", ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,)), decoder_width)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a decoder is trained: the recipe of the paper by default, at the sizes of one GPU.

    Attributes:
      data: photographs to train on, `folder:PATH` (searched with its subfolders).
      steps: optimiser steps a level; for "least-squares", batches to fit.
      batch: photographs a step, over all devices.
      crop: height and width of the random crops in pixels.
      short_side: photographs are first resized to this short side in pixels; 0 keeps them as they are.
      optimizer: "adam"; "muon" (Jordan et al. 2024), which learns decoders much faster; or "least-squares", the
        closed solution for level 1, whose decoder is linear.
      learning_rate: its peak; it rises linearly over `warmup` steps and falls to 0 along a cosine.
      warmup: steps of linear rise.
      bridge_steps: steps of learning relu_X_1 -> relu_(X-1)_1 before all others, so that decoder X starts from decoder
        X-1 (see bridge.py); 0 starts from what layers the two share.
      feature_weight: the paper's lambda, the weight of the feature loss beside the pixel loss.
      dtype: what convolutions, and Muon's orthogonalisation, compute in, "float32" or "bfloat16"; parameters and losses
        are float32.
      seed: of the initial weights, the order of photographs, crops and flips.
    """

    data: str
    steps: int = 31250
    batch: int = 128
    crop: int = 256
    short_side: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    warmup: int = 100
    bridge_steps: int = 0
    feature_weight: float = 1.0
    dtype: str = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {"steps": 1, "batch": 1, "crop": 16, "short_side": 0, "warmup": 0, "bridge_steps": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.crop % 16:
            raise ValueError(f"crop must be a multiple of 16, not {self.crop}")
        if self.optimizer not in ("adam", "muon", "least-squares"):
            raise ValueError(f'optimizer must be "adam", "muon" or "least-squares", not {self.optimizer!r}')
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f'dtype must be "float32" or "bfloat16", not {self.dtype!r}')
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if not 0 <= self.feature_weight < math.inf:
            raise ValueError(f"feature_weight must not be negative, not {self.feature_weight}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie between 0 and 2^32, not {self.seed}")
