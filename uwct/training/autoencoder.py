"""An encoder and its decoder that learn together, so that features keep what the decoder needs.

A fixed encoder has thrown away much of what its decoder is asked for. Here the encoder of level X learns too, each
level one of its own (as in Collaborative Distillation; Wang et al., CVPR 2020), to give the photograph Ii back as Io:

    MSE(Io, Ii) / Var(I) + mu P(Io, Ii) + nu LPIPS(Io, Ii) + tau MSE(M Phi(Ii), relu_X_1(Ii)) / Var(relu_X_1)

P and LPIPS are the losses of perceptual.py and lpips.py. The last term keeps it an encoder that sees as the critic:
a linear map M, which learns along, must predict the critic's relu_X_1 from its own features Phi. Since M is linear,
means and covariances of Phi, on which style transfer works, determine those of what is predicted.

Contract: as in reconstruction.py; the critic of `Fixed` is there.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.model import Model
from uwct.networks.normalisation import normalise_tap, variances
from uwct.networks.vgg import decoder_layers, encoder_layers
from uwct.training.least_squares import fit
from uwct.training.losses import psnr, squared_error
from uwct.training.lpips import lpips_loss
from uwct.training.perceptual import DEPTH, perceptual_loss
from uwct.training.reconstruction import Fixed, likeness, warm_start
from uwct.training.stepping import Metrics

MAP_BATCHES = 16  # that the linear map is fitted to before the first step


def with_own_encoders(model: Model) -> Model:
    """The same model with an encoder for every level, where it has one trunk for all."""
    if model.config.encoders:
        return model
    blocks = model.config.blocks
    encoders = tuple((*blocks[: level - 1], blocks[level - 1][:1]) for level in model.config.encoded_levels)
    params = {name: value for name, value in model.params.items() if name != "encoder"}
    for level, own in enumerate(encoders, start=1):
        layers = (f"conv{block}_{index}" for block, index, _, _ in encoder_layers(own, level))
        params[f"encoder{level}"] = {name: model.params["encoder"][name] for name in layers}
    return model.replace(params=params, config=dataclasses.replace(model.config, encoders=encoders))


def deepened(model: Model, level: int) -> Model:
    """The model with a level's encoder and decoder begun anew: those of the level before, with layers between.

    These pass on features as they are, so that the new level starts from what the other has learned, less what pooling
    loses. The model has an encoder a level; raises ValueError for level 1.
    """
    if level == 1:
        raise ValueError("level 1 has no level before it to start from")
    _, blocks = model.config.encoder(level)
    mirror = decoder_layers(blocks, level, model.config.decoder_width)
    params = dict(model.params)
    for part, layers in (("encoder", encoder_layers(blocks, level)), ("decoder", mirror)):
        fresh = {f"conv{block}_{index}": passing(*channels) for block, index, *channels in layers}
        params[f"{part}{level}"] = warm_start(fresh, params[f"{part}{level - 1}"])
    return model.replace(params=params)


def passing(channels: int, features: int) -> Any:
    """A convolution's parameters that pass on the first channels as they are."""
    kernel = jnp.zeros((3, 3, channels, features)).at[1, 1].set(jnp.eye(channels, features))
    return {"kernel": kernel, "bias": jnp.zeros(features)}


def init(fixed: Fixed, level: int, batches: Iterator[np.ndarray]) -> Any:
    """`{"encoder": ..., "decoder": ..., "map": ...}`: the model's own of that level, and M fitted to photographs.

    The model has an encoder a level; `batches` are `uint8[N, H, W, 3]`.
    """

    assert fixed.critic is not None
    sides = fixed.model, fixed.critic

    def problem(pictures: Array) -> tuple[Array, Array]:
        own, target = (model.encode(pictures, level)[-1] for model in sides)
        return own.reshape(-1, own.shape[-1]).astype(jnp.float32), target.reshape(-1, target.shape[-1])

    kernel, bias = fit(problem, batches, MAP_BATCHES)
    params = {part: fixed.model.params[f"{part}{level}"] for part in ("encoder", "decoder")}
    return {**params, "map": {"kernel": kernel[None, None], "bias": bias}}


def autoencoder_loss(
    params: Any,
    fixed: Fixed,
    pictures: Array,
    *,
    level: int,
    perceptual_weight: float,
    teacher_weight: float,
    lpips_weight: float = 0.0,
) -> tuple[Array, Metrics]:
    """The loss above; its parts `pixel_loss`, `perceptual_loss`, `teacher_loss`, `lpips_loss` (with VGG-16); `psnr`."""
    model, critic, linear = fixed.model, fixed.critic, params["map"]
    assert critic is not None
    features, output = reconstruct(params, model, pictures, level)
    wanted = critic.encode(pictures, max(level, DEPTH))
    guess = features.astype(jnp.float32) @ linear["kernel"][0, 0] + linear["bias"]
    missed = squared_error(guess, jax.lax.stop_gradient(wanted[level - 1]))
    metrics = {
        "pixel_loss": squared_error(output, pictures).mean() / model.config.variances[0],
        "perceptual_loss": perceptual_loss(critic, output, wanted),
        "teacher_loss": missed.mean() / critic.config.variances[level],
        "psnr": psnr(output, pictures).mean(),
    }
    loss = metrics["pixel_loss"] + perceptual_weight * metrics["perceptual_loss"]
    loss += teacher_weight * metrics["teacher_loss"]
    if fixed.vgg:
        metrics["lpips_loss"] = lpips_loss(fixed.vgg, output, pictures, dtype=model.dtype)
        loss += lpips_weight * metrics["lpips_loss"]
    return loss, {"loss": loss, **metrics}


def reconstruct(params: Any, model: Model, pictures: Array, level: int) -> tuple[Array, Array]:
    """Encodes and decodes `[N, H, W, 3]` with the given parameters: (features, reconstruction)."""
    own = model.replace(params={f"{part}{level}": params[part] for part in ("encoder", "decoder")})
    features = own.encode(pictures, level)[-1]
    return features, own.decode(features, level)


def autoencoder_metrics(params: Any, fixed: Fixed, pictures: Array, *, level: int) -> Metrics:
    """How well pictures come back: the pixel loss as `loss`, and `psnr`, `ssim` and, by the judge, `lpips`."""
    _, output = reconstruct(params, fixed.model, pictures, level)
    loss = squared_error(output, pictures).mean() / fixed.model.config.variances[0]
    return {"loss": loss, "psnr": psnr(output, pictures).mean(), **likeness(fixed, output, pictures)}


def finish(params: Any, model: Model, level: int, batches: Callable[[], Iterable[np.ndarray]]) -> Model:
    """The model with the level's encoder, normalised over pictures `[N, H, W, 3]` in [0, 1], and its decoder.

    `batches` gives the same pictures at each call. The map has done its work and is left behind.
    """
    _, blocks = model.config.encoder(level)
    encoder, decoder = normalise_tap(blocks, params["encoder"], params["decoder"], level, batches())
    units = list(model.config.variances)
    units[level] = variances(blocks, encoder, batches())[level]
    return model.replace(
        params={**model.params, f"encoder{level}": encoder, f"decoder{level}": decoder},
        config=dataclasses.replace(model.config, variances=tuple(units)),
    )
