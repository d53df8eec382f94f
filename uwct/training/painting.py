"""Networks that learn to paint: all levels together, by what becomes of photographs that take on styles.

A decoder that has only ever inverted its encoder never met features with another picture's statistics, and each level
gives its faults to the next. Here the whole way of `stylize`, through encoders, maps and decoders of all levels, is
differentiated. With Ic a photograph, Is a style, Ics what is painted, and Io_X Ic back from level X alone, the loss is

    style(Ics, Is) + nu content(Ics, Ic) + rho sum over X of R(Io_X, Ic)

The first two are distances of VGG-16's features: of second moments (`judge.evaluation.style_distance`), and LPIPS
(Zhang et al., CVPR 2018). R keeps the networks autoencoders, by pixels, colors and a critic's features.

Contract: pictures are float `[N, 2, H, W, 3]` in [0, 1], RGB: N pairs of a photograph and a style.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array

from uwct.judge.evaluation import style_distance
from uwct.networks.model import Model
from uwct.pipeline import whole
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import resolve
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import encode_style
from uwct.training.losses import color_loss, squared_error
from uwct.training.lpips import Vgg, distance, features
from uwct.training.perceptual import DEPTH, perceptual_loss
from uwct.training.stepping import Metrics
from uwct.transforms.matching import TRANSFORMS
from uwct.transforms.statistics import moments


class Fixed(NamedTuple):
    """What stays as it is while networks learn to paint.

    Attributes:
      model: the networks; parameters that learn replace those of the same names.
      vgg: what looks at paintings.
      critic: the encoder that looks at reconstructions (see perceptual.py).
    """

    model: Model
    vgg: Vgg
    critic: Model


def init(model: Model, levels: Sequence[int]) -> Any:
    """The parameters that learn: `{"encoder4": ..., "decoder4": ..., ...}` of a model with an encoder a level."""
    return {f"{part}{level}": model.params[f"{part}{level}"] for level in levels for part in ("encoder", "decoder")}


def painting_loss(
    params: Any, fixed: Fixed, pairs: Array, *, preset: Preset, content_weight: float, reconstruction_weight: float
) -> tuple[Array, Metrics]:
    """The loss above; `style_loss`, `content_loss`, and `reconstruction_loss`, the sum over the preset's levels.

    Of each batch, a quarter of the photographs are reconstructed, at least one.
    """
    model = fixed.model.replace(params={**fixed.model.params, **params})
    photographs, styles = pairs[:, 0], pairs[:, 1]
    see = partial(features, fixed.vgg, dtype=model.dtype)
    painted, shapes = see(paint(model, photographs, styles, preset))
    (taken, _), (_, kept), some = see(styles), see(photographs), photographs[: -(-len(photographs) // 4)]
    found, wanted = ([moments(tap) for tap in taps] for taps in (painted, jax.lax.stop_gradient(taken)))
    metrics = {
        "style_loss": jax.vmap(style_distance)(found, wanted).mean(),
        "content_loss": distance(shapes, kept, fixed.vgg.weights),
        "reconstruction_loss": sum(reconstruction_loss(model, fixed.critic, some, level) for level in preset.levels),
    }
    loss = metrics["style_loss"] + content_weight * metrics["content_loss"]
    loss += reconstruction_weight * metrics["reconstruction_loss"]
    return loss, {"loss": loss, **metrics}


def paint(model: Model, photographs: Array, styles: Array, preset: Preset) -> Array:
    """Each of `[N, H, W, 3]` photographs in the manner of the style `[N, H, W, 3]` of its number."""
    style = jax.vmap(partial(encode_style, model))(styles)
    parts = resolve(model, style, preset.levels, preset.alpha)
    settings = Settings(preset.levels, preset.shrinkage, TRANSFORMS[preset.transform])
    return whole.painted(model, photographs, parts, settings)


def reconstruction_loss(model: Model, critic: Model, pictures: Array, level: int) -> Array:
    """How far a level's reconstruction of `[N, H, W, 3]` is off, in pixels, colors and the critic's features."""
    output = model.decode(model.encode(pictures, level)[-1], level)
    pixels = squared_error(output, pictures).mean() / model.config.variances[0]
    perceived = perceptual_loss(critic, output, critic.encode(pictures, DEPTH))
    return pixels + 2 * perceived + 0.3 * color_loss(output, pictures)
