"""Training one network: the state, the step in one or several devices, the loss of a decoder, and its evaluation.

A decoder is trained to invert its encoder, which stays fixed (Li et al. 2017, section 3.1), by

    MSE(Io, Ii) / Var(I) + lambda MSE(Phi(Io), Phi(Ii)) / Var(Phi)

with Ii the photograph, Io its reconstruction and Phi the features that the decoder inverts. The variances over natural
photographs (`ModelConfig.variances`) put both terms in one unit, so that lambda means the same at every level.

Contract: pictures arrive as `uint8[N, H, W, 3]`; parameters, losses and metrics are float32 whatever convolutions
compute in.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.training.dynamic_scale import DynamicScale
from jax import Array

from uwct.config import TrainConfig
from uwct.losses import psnr, squared_error
from uwct.model import Model
from uwct.optimizer import make_optimizer
from uwct.parallel import AXIS, Devices, total

Metrics = dict[str, Array]
# (params, model, float pictures) -> (loss, metrics, of which one is called "loss")
Loss = Callable[[Any, Model, Array], tuple[Array, Metrics]]
MOST_SKIPPED = 100  # float16 steps in a row


class TrainState(struct.PyTreeNode):
    """What changes from step to step.

    Attributes:
      step: how many steps were taken, those skipped included.
      params: the parameters that are trained.
      opt_state: the optimiser's state.
      scale: in float16, what the loss is multiplied by so that small gradients do not vanish; it halves when one
        overflows and doubles after 2000 steps without (Micikevicius et al., ICLR 2018). None in other dtypes.
      skipped: how many steps were skipped since a gradient overflowed.
    """

    step: Array
    params: Any
    opt_state: Any
    scale: DynamicScale | None
    skipped: Array


def init_state(params: Any, config: TrainConfig) -> TrainState:
    """The state before the first step. It owns a copy of the parameters, since steps donate their state."""
    params = jax.tree.map(jnp.array, params)
    scale = DynamicScale(scale=jnp.float32(2**15)) if config.dtype == "float16" else None
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, make_optimizer(config).init(params), scale, jnp.copy(zero))


def reconstruct(model: Model, decoder: Any, pictures: Array, level: int) -> tuple[Array, Array]:
    """Encodes `[N, H, W, 3]` and decodes with other parameters: (features, reconstruction)."""
    features = model.encode(pictures, level)[-1]
    return features, model.replace(params={f"decoder{level}": decoder}).decode(features, level)


def reconstruction_loss(
    decoder: Any, model: Model, pictures: Array, *, level: int, feature_weight: float = 1.0, sums: bool = False
) -> tuple[Array, Metrics]:
    """The loss above, and its parts `pixel_loss`, `feature_loss` and `psnr`, all float32 scalars.

    With `sums` the terms are the literature's: the sums of squares of a photograph, averaged over the batch.
    """
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
    return loss, {
        "loss": loss,
        "pixel_loss": pixel_loss,
        "feature_loss": feature_loss,
        "psnr": psnr(output, pictures).mean(),
    }


def train_step(
    state: TrainState, model: Model, pictures: Array, *, loss: Loss, config: TrainConfig, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One optimiser step on `uint8[N, H, W, 3]`; with `axis`, gradients and metrics are averaged over that axis.

    In float16 a step whose gradient is not finite changes nothing but the scale and the count of skipped steps.
    """
    x, scale = to_float(pictures), state.scale
    if scale is None:
        grads, metrics = jax.grad(loss, has_aux=True)(state.params, model, x)
        grads = grads if axis is None else jax.lax.pmean(grads, axis)
    else:
        scale, finite, (_, metrics), grads = scale.value_and_grad(loss, has_aux=True, axis_name=axis)(
            state.params, model, x
        )
    metrics = metrics if axis is None else jax.lax.pmean(metrics, axis)
    updates, opt_state = make_optimizer(config).update(grads, state.opt_state, state.params)
    params, skipped = optax.apply_updates(state.params, updates), state.skipped
    if scale is not None:
        old = state.params, state.opt_state
        params, opt_state = jax.tree.map(partial(jnp.where, finite), (params, opt_state), old)
        skipped = skipped + ~finite
    return TrainState(state.step + 1, params, opt_state, scale, skipped), {**metrics, "skipped": skipped}


def to_float(pictures: Array | np.ndarray) -> Array:
    """`uint8` in [0, 255] -> float32 in [0, 1]."""
    return jnp.asarray(pictures, jnp.float32) / 255


def parallel_step(loss: Loss, config: TrainConfig, devices: Devices) -> Callable[..., tuple[TrainState, Metrics]]:
    """`step(state, model, uint8[devices, N, H, W, 3])`, the same on one device and on many; the state is donated."""
    step = partial(train_step, loss=loss, config=config)
    if devices.single:
        return jax.jit(lambda state, model, pictures: step(state, model, pictures[0]), donate_argnums=0)
    return devices.pmap(partial(step, axis=AXIS), donate_argnums=0)


def run(
    state: TrainState, model: Model, batches: Iterator[Array], *, loss: Loss, config: TrainConfig, devices: Devices
) -> Iterator[tuple[TrainState, Metrics]]:
    """Steps from `state.step` to `config.steps`, yielding the new state and its metrics (still on the device).

    The yielded state is only good until the next one is asked for. Raises FloatingPointError, naming the step, when
    a loss is not finite; it looks one step late, so that the device never waits for the host.
    """
    step = parallel_step(loss, config, devices)
    model, watch = devices.replicate(model), Watch(int(state.skipped))
    previous: Metrics | None = None
    for number in range(int(state.step), config.steps):
        state, metrics = step(state, model, next(batches))
        if previous is not None:
            watch.check(previous, number)
        previous = metrics
        yield state, metrics
    if previous is not None:
        watch.check(previous, config.steps)


class Watch:
    """Raises FloatingPointError when a loss is not finite, unless its step was skipped, or too many steps are."""

    def __init__(self, skipped: int) -> None:
        self._skipped, self._in_a_row = skipped, 0

    def check(self, metrics: Metrics, step: int) -> None:
        """Looks at the metrics of a step, to be called for every step in turn."""
        loss, skipped = float(metrics["loss"]), int(metrics["skipped"])
        was_skipped = skipped > self._skipped
        self._skipped, self._in_a_row = skipped, (self._in_a_row + 1 if was_skipped else 0)
        if self._in_a_row == MOST_SKIPPED:
            raise FloatingPointError(
                f"float16 overflowed in {MOST_SKIPPED} steps in a row, the last of them step {step}"
            )
        if not np.isfinite(loss) and not was_skipped:
            raise FloatingPointError(f"the loss is {loss} at step {step}")


def check_finite(state: TrainState, step: int) -> None:
    """Raises FloatingPointError when a parameter is not finite, so that no such state is ever saved."""
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
        raise FloatingPointError(f"the parameters are not finite after step {step}")


def reconstruction_metrics(decoder: Any, model: Model, pictures: Array, *, level: int) -> Metrics:
    """The metrics of `reconstruction_loss` (lambda 1, terms over their variances), and `ssim` (Wang et al. 2004)."""
    x = to_float(pictures)
    _, metrics = reconstruction_loss(decoder, model, x, level=level)
    _, output = reconstruct(model, decoder, x, level)
    return {**metrics, "ssim": dm_pix.ssim(jnp.clip(output, 0, 1), x).mean()}


def evaluate(metrics_of: Callable[[np.ndarray], Metrics], batches: Iterable[np.ndarray]) -> dict[str, float]:
    """The mean of every metric over the pictures of all batches, of all processes; raises ValueError without any."""
    sums: dict[str, float] = {}
    count = 0
    for pictures in batches:
        for name, value in metrics_of(pictures).items():
            sums[name] = sums.get(name, 0.0) + len(pictures) * float(value)
        count += len(pictures)
    if not count:
        raise ValueError("there are no pictures to evaluate on")
    sums = total({"count": count, **sums})
    return {name: value / sums["count"] for name, value in sums.items() if name != "count"}


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
