"""How networks are trained, as frozen and validated data; stored in every checkpoint."""

import dataclasses
import math
from typing import Literal, get_args

Optimizer = Literal["adam", "muon", "least-squares"]
Schedule = Literal["constant", "cosine"]
Loss = Literal["variances", "sums"]
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How networks are trained. The defaults are the recipe of the paper; `RECIPES` has another.

    Attributes:
      data: photographs to train on: `folder:PATH` (searched with its subfolders), or the name of a data set of
        tensorflow-datasets, such as `coco/2017`.
      split: the part of a data set of tensorflow-datasets, in its own syntax; folders are used whole.
      epochs: how often every photograph is shown, a level, where `steps` is 0.
      steps: optimiser steps a level; for "least-squares", batches to fit; 0 goes by `epochs`.
      batch: photographs a step, over all devices of all processes.
      crop: height and width of the random crops in pixels.
      short_side: photographs are first resized to this short side in pixels; 0 keeps them as they are.
      optimizer: "adam"; "muon" (Jordan et al. 2024), which learns decoders much faster; or "least-squares", the
        closed solution for level 1, whose decoder is linear.
      learning_rate: its peak, reached by a linear rise over `warmup` steps.
      schedule: what follows the rise: "constant", or "cosine", which falls to 0 at the last step.
      warmup: steps of linear rise.
      bridge_steps: steps of learning relu_X_1 -> relu_(X-1)_1 before all others, so that decoder X starts from decoder
        X-1 (see bridge.py); 0 starts from what layers the two share.
      feature_weight: the paper's lambda, the weight of the feature loss beside the pixel loss.
      perceptual_weight: the weight of the critic's features (see perceptual.py) beside the pixel loss, which keep
        pictures sharp where pixels alone give the mean of all that is possible; 0 goes without.
      lpips_weight: the weight of LPIPS by VGG-16 (see lpips.py) beside them, which deep levels need; 0 goes without.
      teacher_weight: where encoders learn too, the weight of the share of the critic's features that no linear map of
        theirs predicts.
      content_weight: where networks learn to paint, the weight of LPIPS to the photograph beside the style distance.
      reconstruction_weight: the same, of photographs' reconstructions.
      average: the decay of an exponential moving average of the weights, which becomes the result in their place; it
        starts short and reaches this after some 10 / (1 - average) steps; 0 keeps none.
      loss: "variances" divides the mean squared error of pixels and of features by their variance over natural
        photographs, so that lambda means the same at every level; "sums" are the plain sums of squares a photograph
        of the literature, ||Io - Ii||^2 + lambda ||Phi(Io) - Phi(Ii)||^2, where it does not.
      dtype: what convolutions compute in, "float32", "bfloat16" or "float16" (with dynamic loss scaling); parameters,
        losses and metrics are float32.
      seed: of the initial weights, the order of photographs, crops and flips.
    """

    data: str = ""
    split: str = "train[:8000]"
    epochs: int = 500
    steps: int = 0
    batch: int = 128
    crop: int = 256
    short_side: int = 0
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-4
    schedule: Schedule = "constant"
    warmup: int = 0
    bridge_steps: int = 0
    feature_weight: float = 1.0
    perceptual_weight: float = 0.0
    lpips_weight: float = 0.0
    teacher_weight: float = 0.3
    content_weight: float = 1.0
    reconstruction_weight: float = 0.2
    average: float = 0.0
    loss: Loss = "variances"
    dtype: Dtype = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = {"epochs": 1, "steps": 0, "batch": 1, "crop": 16, "short_side": 0, "warmup": 0, "bridge_steps": 0}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.crop % 16:
            raise ValueError(f"crop must be a multiple of 16, not {self.crop}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, not {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        for name in (field.name for field in dataclasses.fields(self) if field.name.endswith("_weight")):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be at least 0 and less than 1, not {self.average}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie between 0 and 2^32, not {self.seed}")

    def with_steps(self, photographs: int) -> "TrainConfig":
        """The same with `steps` counted out: `epochs` times that many photographs, a batch a step."""
        steps = self.steps or -(-self.epochs * photographs // self.batch)
        return dataclasses.replace(self, steps=steps)


_CHOICES = {"optimizer": Optimizer, "schedule": Schedule, "loss": Loss, "dtype": Dtype}
RECIPES = {
    "paper": TrainConfig(),
    "fast": TrainConfig(
        steps=12000, batch=32, crop=128, optimizer="muon", learning_rate=0.003, schedule="cosine", warmup=100
    ),
    "sharp": TrainConfig(
        steps=12000,
        batch=32,
        crop=128,
        optimizer="muon",
        learning_rate=0.0015,
        schedule="cosine",
        warmup=50,
        perceptual_weight=2,
        average=0.995,
    ),
    "paint": TrainConfig(
        steps=3000,
        batch=2,
        crop=192,
        short_side=256,
        optimizer="muon",
        learning_rate=5e-4,
        schedule="cosine",
        warmup=50,
        average=0.99,
    ),
}
