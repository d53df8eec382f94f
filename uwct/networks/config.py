"""What a model is, as frozen and validated data; stored as JSON in every weight file."""

import dataclasses
import json
import math
from typing import Any

LEVELS = (1, 2, 3, 4, 5)
MOST_LAYERS, MOST_CHANNELS = 16, 4096  # a block; VGG-19 has 4 and 512. A file must not claim what nobody can hold.
Blocks = tuple[tuple[int, ...], ...]
DEFAULT_MODEL = "small"  # of the models that come with the package, the one whose pictures look best


def check_level(level: int) -> None:
    """Raises ValueError unless the level is one of 1 to 5."""
    if level not in LEVELS:
        raise ValueError(f"level must be one of 1, 2, 3, 4, 5, not {level}")


def stride(level: int) -> int:
    """Pixels of the picture that one pixel of relu_X_1 covers along an axis: 2^(X-1)."""
    return 2 ** (level - 1)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of one model: its encoder's channels and its decoders' width.

    Attributes:
      backbone: the name of the network family, for people ("vgg16").
      blocks: channels of every convolution, block by block; relu_X_1 is the first convolution of block X. Fewer than
        five blocks are an encoder that ends earlier.
      decoder_width: the decoders' hidden channels as a fraction of the encoder's.
      normalised: whether encoder channels are scaled to mean activation 1 over natural photographs or, of an encoder
        that a level has for its own, to variance 1.
      variances: of the pixels and of relu1_1 to relu5_1 over natural photographs, the unit of the training losses.
      encoders: where every level has an encoder of its own, the blocks of each, () for a level without one; else ().
      final_relu: whether decoders end with a ReLU (Collaborative Distillation's) or linearly.
    """

    backbone: str
    blocks: tuple[tuple[int, ...], ...]
    decoder_width: float = 1.0
    normalised: bool = True
    variances: tuple[float, ...] = (1.0,) * (1 + len(LEVELS))
    encoders: tuple[Blocks, ...] = ()
    final_relu: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", _blocks(self.blocks))
        if not self.blocks:
            raise ValueError("blocks must not be empty")
        kinds = {"backbone": str, "normalised": bool, "final_relu": bool}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {getattr(self, name)!r}")
        object.__setattr__(self, "encoders", tuple(_blocks(blocks) for blocks in self.encoders))
        own = [len(blocks) in (0, level) for level, blocks in enumerate(self.encoders, start=1)]
        if len(own) > len(LEVELS) or not all(own):
            raise ValueError(f"the encoder of level X must have X blocks, or none, not {self.encoders}")
        if not 0 < self.decoder_width <= 1:
            raise ValueError(f"decoder_width must lie in (0, 1], not {self.decoder_width}")
        object.__setattr__(self, "variances", tuple(float(value) for value in self.variances))
        if len(self.variances) != 1 + len(LEVELS) or not all(0 < value < math.inf for value in self.variances):
            raise ValueError(f"variances must be six positive numbers, not {self.variances}")

    @property
    def encoded_levels(self) -> tuple[int, ...]:
        """The levels that there is an encoder for."""
        if self.encoders:
            return tuple(level for level, blocks in enumerate(self.encoders, start=1) if blocks)
        return LEVELS[: len(self.blocks)]

    def encoder(self, level: int) -> tuple[str, Blocks]:
        """The name of a level's encoder among the parameters, and its blocks; raises ValueError for none."""
        if level not in self.encoded_levels:
            has = ", ".join(map(str, self.encoded_levels))
            raise ValueError(f"the model has no encoder for level {level} (it has: {has})")
        return (f"encoder{level}", self.encoders[level - 1]) if self.encoders else ("encoder", self.blocks)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """Reads what `to_json` wrote; raises ValueError for anything else."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**fields)
        except (json.JSONDecodeError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not the config of a uwct model: {error}") from None


def _blocks(blocks: Any) -> Blocks:
    """Blocks as JSON may hold them, as tuples; raises ValueError unless they are channel counts in bounds."""
    result = tuple(tuple(int(width) for width in block) for block in blocks)
    if len(result) > len(LEVELS) or not all(block and min(block) > 0 for block in result):
        raise ValueError(f"blocks must be up to five non-empty tuples of positive channel counts, not {blocks}")
    if max(map(len, result), default=0) > MOST_LAYERS or max(map(max, result), default=0) > MOST_CHANNELS:
        raise ValueError(f"blocks must have up to {MOST_LAYERS} layers of up to {MOST_CHANNELS} channels, not {blocks}")
    return result


def vgg16(decoder_width: float = 1.0) -> ModelConfig:
    """VGG-16 (Simonyan and Zisserman, ICLR 2015) up to relu5_1."""
    return ModelConfig("vgg16", ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,)), decoder_width)


def small() -> ModelConfig:
    """VGG-16 made narrow: a quarter of the channels where layers see many pixels, three eighths where they see few."""
    return ModelConfig("small", ((16,) * 2, (32,) * 2, (96,) * 3, (192,) * 3, (192,)))


def vgg19(decoder_width: float = 1.0) -> ModelConfig:
    """VGG-19, the paper's network, up to relu5_1."""
    return ModelConfig("vgg19", ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,)), decoder_width)
