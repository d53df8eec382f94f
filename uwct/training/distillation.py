"""A narrow encoder that sees as a wide one does: the student is taught to predict the teacher's features.

At every level one linear map takes the student's features to the teacher's, and their squared error is the loss. Since
the map is linear, the student's means and covariances determine those that the teacher would see: what style transfer
works on. Then the teacher's own decoders judge as well (collaborative distillation; Wang et al., CVPR 2020): they must
give the photograph back from the predicted features, and so must narrow decoders that learn along with the student.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.config import LEVELS, ModelConfig
from uwct.networks.model import Model, init_decoder
from uwct.networks.normalisation import normalise_with, variances
from uwct.networks.vgg import encoder_layers
from uwct.training.losses import squared_error


def init_student(teacher: Model, config: ModelConfig) -> Any:
    """`{"encoder": ..., "maps": {"map1": ..., ...}}`: of every layer the teacher's filters of largest L1 norm.

    A filter's inputs are those whose filters were chosen before it (Li et al., *Pruning Filters for Efficient
    ConvNets*, ICLR 2017). Each map at first takes every student's channel to the channel that it was chosen from.
    Raises ValueError when a layer of `config` is wider than the teacher's, or their layers are others.
    """
    if [len(block) for block in config.blocks] != [len(block) for block in teacher.config.blocks]:
        raise ValueError(
            f"the student's blocks {config.blocks} are not the teacher's {teacher.config.blocks} made narrow"
        )
    encoder, maps, chosen = {}, {}, np.arange(3)
    for block, index, _, width in encoder_layers(config.blocks, LEVELS[-1]):
        name = f"conv{block}_{index}"
        kernel, bias = (np.asarray(teacher.params["encoder"][name][part]) for part in ("kernel", "bias"))
        if width > len(bias):
            raise ValueError(f"the student's {name} has {width} channels, more than the teacher's {len(bias)}")
        before, chosen = chosen, np.sort(np.argsort(-np.abs(kernel).sum((0, 1, 2)), kind="stable")[:width])
        encoder[name] = {"kernel": kernel[:, :, before][..., chosen], "bias": bias[chosen]}
        if index == 1:
            identity = np.eye(len(bias), dtype=np.float32)[chosen]
            maps[f"map{block}"] = {"kernel": identity[None, None], "bias": np.zeros(len(bias), np.float32)}
    return {"encoder": encoder, "maps": maps}


def init_decoders(key: Array, config: ModelConfig) -> dict[str, Any]:
    """Random parameters for the student's own decoders of all levels."""
    return {f"decoder{level}": init_decoder(key, config, level) for level in LEVELS}


def distillation_loss(
    params: Any, teacher: Model, pictures: Array, *, config: ModelConfig
) -> tuple[Array, dict[str, Array]]:
    """The sum over levels of the student's errors on pictures `[N, H, W, 3]`, each over its variance.

    `params` holds what `init_student` gives, and, for the second stage, what `init_decoders` gives: then the teacher's
    decoders, which stay as they are, and the student's are judges too. The metrics, float32 scalars, are `loss` and the
    terms `features1`, `teacher1`, `own1` to `features5`, ...
    """
    student = Model(params, config, teacher.dtype)
    units, metrics = teacher.config.variances, {}
    for level, wanted, found in zip(LEVELS, teacher.encode(pictures), student.encode(pictures), strict=True):
        linear = params["maps"][f"map{level}"]
        guess = jnp.asarray(found, jnp.float32) @ linear["kernel"][0, 0] + linear["bias"]
        metrics[f"features{level}"] = squared_error(guess, jax.lax.stop_gradient(wanted)).mean() / units[level]
        if level in student.levels:
            judged = {"teacher": teacher.decode(guess, level), "own": student.decode(found, level)}
            for judge, picture in judged.items():
                metrics[f"{judge}{level}"] = squared_error(picture, pictures).mean() / units[0]
    loss = sum(metrics.values(), jnp.zeros(()))
    return loss, {"loss": loss, **metrics}


def finish(params: Any, config: ModelConfig, batches: Callable[[], Iterable[np.ndarray]]) -> Model:
    """The student as a model: its encoder normalised over pictures `[N, H, W, 3]` in [0, 1], its decoders fitted to it.

    `batches` gives the same pictures at each call. The maps have done their work and are left behind; the variances in
    the model's config are the student's own.
    """
    decoders = {level: params[f"decoder{level}"] for level in LEVELS if f"decoder{level}" in params}
    encoder, decoders = normalise_with(config.blocks, params["encoder"], decoders, batches())
    result = {"encoder": encoder} | {f"decoder{level}": decoder for level, decoder in decoders.items()}
    return Model(result, dataclasses.replace(config, variances=variances(config.blocks, encoder, batches())))
