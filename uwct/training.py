"""Training one decoder: the state, the step, its parallel form, and the loop.

A decoder is trained to invert its encoder, which stays fixed (Li et al. 2017, section 3.1), by

    MSE(Io, Ii) / Var(I) + lambda MSE(Phi(Io), Phi(Ii)) / Var(Phi)

with Ii the photograph, Io its reconstruction and Phi the features that the decoder inverts. The variances over natural
photographs (`ModelConfig.variances`) put both terms in one unit, so that lambda means the same at every level.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array

from uwct.config import TrainConfig
from uwct.losses import psnr, squared_error
from uwct.model import Model

AXIS = "devices"
Metrics = dict[str, Array]
# (params, model, float pictures) -> (loss, metrics, of which one is called "loss")
Loss = Callable[[Any, Model, Array], tuple[Array, Metrics]]


class TrainState(struct.PyTreeNode):
    """What changes from step to step: the step count, the decoder's parameters, the optimiser's state."""

    step: Array
    params: Any
    opt_state: Any


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam or Muon with linear warm-up and cosine decay to 0.

    Muon (Jordan et al. 2024) orthogonalises matrices, so a kernel `[3, 3, C, D]` is shown to it as one `[9 C, D]`
    matrix (left to itself, optax hands every array that is not a matrix to Adam); biases are Adam's. Momentum is kept
    in float32; the orthogonalisation runs in the dtype of the training, as its author runs it in bfloat16.
    """
    warmup = min(config.warmup, config.steps - 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    if config.optimizer == "adam":
        return optax.adam(rate)
    matrices = optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)
    muon = optax.chain(
        optax.trace(0.95, nesterov=True),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u: u.astype(config.dtype), updates)),
        optax.contrib.muon(
            rate,
            beta=0.0,
            nesterov=False,
            mu_dtype=config.dtype,
            muon_weight_dimension_numbers=lambda kernels: jax.tree.map(lambda _: matrices, kernels),
        ),
    )
    return optax.partition(
        {"kernel": muon, "bias": optax.adam(rate)},
        lambda params: jax.tree.map(lambda p: "kernel" if p.ndim == 4 else "bias", params),
    )


def init_state(params: Any, config: TrainConfig) -> TrainState:
    """The state before the first step. It owns a copy of the parameters, since steps donate their state."""
    params = jax.tree.map(jnp.array, params)
    return TrainState(jnp.zeros((), jnp.int32), params, make_optimizer(config).init(params))


def reconstruct(model: Model, decoder: Any, pictures: Array, level: int) -> tuple[Array, Array]:
    """Encodes `[N, H, W, 3]` and decodes with other parameters: (features, reconstruction)."""
    features = model.encode(pictures, level)[-1]
    return features, model.replace(params={f"decoder{level}": decoder}).decode(features, level)


def reconstruction_loss(
    decoder: Any, model: Model, pictures: Array, *, level: int, feature_weight: float
) -> tuple[Array, Metrics]:
    """The loss above, and its parts `pixel_loss`, `feature_loss` and `psnr`, all float32 scalars."""
    features, output = reconstruct(model, decoder, pictures, level)
    variances = model.config.variances
    pixel_loss = squared_error(output, pictures).mean() / variances[0]
    again = model.encode(output, level)[-1]
    feature_loss = squared_error(again, jax.lax.stop_gradient(features)).mean() / variances[level]
    loss = pixel_loss + feature_weight * feature_loss
    parts = {
        "loss": loss,
        "pixel_loss": pixel_loss,
        "feature_loss": feature_loss,
        "psnr": psnr(output, pictures).mean(),
    }
    return loss, parts


def train_step(
    state: TrainState, model: Model, pictures: Array, *, loss: Loss, config: TrainConfig, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One optimiser step on `uint8[N, H, W, 3]`; with `axis`, gradients and metrics are averaged over that axis."""
    grads, metrics = jax.grad(loss, has_aux=True)(state.params, model, to_float(pictures))
    if axis is not None:
        grads, metrics = jax.lax.pmean((grads, metrics), axis)
    updates, opt_state = make_optimizer(config).update(grads, state.opt_state, state.params)
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), metrics


def to_float(pictures: Array | np.ndarray) -> Array:
    """`uint8` in [0, 255] -> float32 in [0, 1]."""
    return jnp.asarray(pictures, jnp.float32) / 255


def parallel_step(loss: Loss, config: TrainConfig, devices: int) -> Callable[..., tuple[TrainState, Metrics]]:
    """`step(state, model, pictures)` over the local devices; the state is donated, pictures are split between them.

    Raises ValueError when the batch cannot be split evenly.
    """
    step = partial(train_step, loss=loss, config=config)
    if devices == 1:
        return jax.jit(step, donate_argnums=0)
    if config.batch % devices:
        raise ValueError(f"batch {config.batch} cannot be split over {devices} devices")
    mapped = jax.pmap(partial(step, axis=AXIS), AXIS, in_axes=(None, None, 0), out_axes=(None, None), donate_argnums=0)

    def split(state: TrainState, model: Model, pictures: np.ndarray) -> tuple[TrainState, Metrics]:
        return mapped(state, model, pictures.reshape(devices, -1, *pictures.shape[1:]))

    return split


def run(
    state: TrainState, model: Model, batches: Iterator[np.ndarray], *, loss: Loss, config: TrainConfig
) -> Iterator[tuple[TrainState, Metrics]]:
    """Steps from `state.step` to `config.steps`, yielding the new state and its metrics (still on the device).

    The yielded state is only good until the next one is asked for. Raises FloatingPointError, naming the step, when
    a loss is not finite; it looks one step late, so that the device never waits for the host.
    """
    step = parallel_step(loss, config, jax.local_device_count())
    previous: Metrics | None = None
    for number in range(int(state.step), config.steps):
        state, metrics = step(state, model, next(batches))
        if previous is not None:
            _check_loss(previous, number)
        previous = metrics
        yield state, metrics
    if previous is not None:
        _check_loss(previous, config.steps)


def _check_loss(metrics: Metrics, step: int) -> None:
    loss = float(metrics["loss"])
    if not np.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step}")


def check_finite(state: TrainState, step: int) -> None:
    """Raises FloatingPointError when a parameter is not finite, so that no such state is ever saved."""
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
        raise FloatingPointError(f"the parameters are not finite after step {step}")


def evaluate(decoder: Any, model: Model, batches: Iterable[np.ndarray], *, level: int) -> dict[str, float]:
    """The mean of every metric of `reconstruction_loss` (feature weight 1) over the pictures of all batches."""
    metrics_of = jax.jit(partial(reconstruction_loss, level=level, feature_weight=1.0))
    total: dict[str, float] = {}
    count = 0
    for pictures in batches:
        _, metrics = metrics_of(decoder, model, to_float(pictures))
        for name, value in metrics.items():
            total[name] = total.get(name, 0.0) + len(pictures) * float(value)
        count += len(pictures)
    return {name: value / count for name, value in total.items()}


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
