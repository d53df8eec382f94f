"""How faithfully a model gives pictures back that no style has touched: what networks are compared by.

Contract: pictures are float32 `[H, W, 3]`, RGB in [0, 1], of at least 64 x 64 pixels, as the judges need them.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from uwct.judge.evaluation import Judge, content_distance
from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE
from uwct.pipeline.padding import pad_to_stride
from uwct.training.losses import psnr


def runs(model: Model) -> list[tuple[int, ...]]:
    """The levels to compare models by: each that the model decodes alone, and those of 4 to 1 in turn."""
    chain = tuple(level for level in COARSE_TO_FINE if level in model.levels)
    return [(level,) for level in model.levels] + ([chain] if len(chain) > 1 else [])


def give_back(model: Model, picture: Array, levels: Sequence[int]) -> Array:
    """Encodes and decodes a picture at each of the levels in turn: what `stylize` gives for alpha 0, clipped."""
    height, width = picture.shape[:2]
    for level in levels:
        padded, _ = pad_to_stride(picture)
        picture = model.decode(model.encode(padded, level)[-1], level)[:height, :width].astype(jnp.float32)
    return jnp.clip(picture, 0, 1)


def fidelity(model: Model, judges: Sequence[Judge], picture: Array, levels: Sequence[int]) -> Array:
    """How near the picture is to what the levels in turn make of it: PSNR in dB, then LPIPS by each judge."""
    result = give_back(model, picture, levels)
    return jnp.stack([psnr(result, picture), *(content_distance(judge, picture, result) for judge in judges)])
