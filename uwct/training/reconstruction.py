"""The training of a decoder: to invert its encoder, which stays as it is (Li et al. 2017, section 3.1).

The loss of level X, with Ii the photograph, Io its reconstruction and Phi the features relu_X_1 that are inverted, is

    MSE(Io, Ii) / Var(I) + lambda MSE(Phi(Io), Phi(Ii)) / Var(Phi) + mu P(Io, Ii) + nu LPIPS(Io, Ii)

The variances over natural photographs (`ModelConfig.variances`) put all terms in one unit, so that weights mean the
same at every level. The paper has not the last two terms, those of perceptual.py and lpips.py (mu 0, nu 0).

Contract: pictures are float `[N, H, W, 3]` in [0, 1]; losses and metrics are float32 whatever convolutions compute in.
"""

from typing import Any, NamedTuple

import dm_pix
import jax
import jax.numpy as jnp
from jax import Array

from uwct.judge.evaluation import Judge, content_distance
from uwct.networks.model import Model
from uwct.training.losses import psnr, squared_error
from uwct.training.lpips import Vgg, lpips_loss
from uwct.training.perceptual import DEPTH, perceptual_loss
from uwct.training.stepping import Metrics


class Fixed(NamedTuple):
    """What stays as it is while networks train.

    Attributes:
      model: the encoder, at least.
      critic: the encoder whose features are part of the loss, if any.
      vgg: what LPIPS as a part of the loss looks with, if it is one.
      judge: AlexNet's, where reconstructions are tested: by a network that no loss knows.
    """

    model: Model
    critic: Model | None = None
    vgg: Vgg | None = None
    judge: Judge | None = None


def reconstruct(model: Model, decoder: Any, pictures: Array, level: int) -> tuple[Array, Array]:
    """Encodes `[N, H, W, 3]` and decodes with other parameters: (features, reconstruction)."""
    features = model.encode(pictures, level)[-1]
    return features, model.replace(params={f"decoder{level}": decoder}).decode(features, level)


def reconstruction_loss(
    decoder: Any,
    fixed: Fixed,
    pictures: Array,
    *,
    level: int,
    feature_weight: float = 1.0,
    perceptual_weight: float = 0.0,
    lpips_weight: float = 0.0,
    sums: bool = False,
) -> tuple[Array, Metrics]:
    """The loss above, and its parts.

    They are `pixel_loss`, `feature_loss`, `perceptual_loss` (with a critic), `lpips_loss` (with VGG-16) and `psnr`.

    With `sums` the first two terms are the literature's: the sums of squares of a photograph, averaged over the batch.
    """
    model = fixed.model
    features, output = reconstruct(model, decoder, pictures, level)
    again = model.encode(output, level)[-1]
    pixel_errors = squared_error(output, pictures)
    feature_errors = squared_error(again, jax.lax.stop_gradient(features))
    if sums:
        pixel_loss, feature_loss = (errors.sum() / len(pictures) for errors in (pixel_errors, feature_errors))
    else:
        variances = model.config.variances
        pixel_loss, feature_loss = pixel_errors.mean() / variances[0], feature_errors.mean() / variances[level]
    loss = pixel_loss + feature_weight * feature_loss
    metrics = {"pixel_loss": pixel_loss, "feature_loss": feature_loss, "psnr": psnr(output, pictures).mean()}
    if fixed.critic:
        wanted = fixed.critic.encode(pictures, DEPTH)
        metrics["perceptual_loss"] = perceptual_loss(fixed.critic, output, wanted)
        loss += perceptual_weight * metrics["perceptual_loss"]
    if fixed.vgg:
        metrics["lpips_loss"] = lpips_loss(fixed.vgg, output, pictures, dtype=model.dtype)
        loss += lpips_weight * metrics["lpips_loss"]
    return loss, {"loss": loss, **metrics}


def reconstruction_metrics(decoder: Any, fixed: Fixed, pictures: Array, *, level: int) -> Metrics:
    """How well pictures `[N, H, W, 3]` come back.

    The metrics of `reconstruction_loss` (lambda 1, no critic); `ssim` (Wang et al. 2004); and `lpips` by the judge.
    """
    _, metrics = reconstruction_loss(decoder, fixed, pictures, level=level)
    _, output = reconstruct(fixed.model, decoder, pictures, level)
    return {**metrics, **likeness(fixed, output, pictures)}


def likeness(fixed: Fixed, output: Array, pictures: Array) -> Metrics:
    """`ssim` and `lpips` of outputs, clipped, and the pictures that they should be."""
    output = jnp.clip(output, 0, 1)
    distances = jax.vmap(content_distance, (None, 0, 0))(fixed.judge, output, pictures)
    return {"ssim": dm_pix.ssim(output, pictures).mean(), "lpips": distances.mean()}


def warm_start(fresh: Any, *donors: Any) -> Any:
    """Fresh parameters of a decoder with every layer replaced by the first donor's layer of its name and shapes.

    Decoders of neighbouring levels share most of their layers, so a deep one learns faster from a shallow one.
    """

    def same_shapes(a: Any, b: Any) -> bool:
        return bool(jax.tree.map(jnp.shape, a) == jax.tree.map(jnp.shape, b))

    result = dict(fresh)
    for donor in reversed(donors):
        result |= {name: layer for name, layer in donor.items() if name in fresh and same_shapes(layer, fresh[name])}
    return result
