"""Training networks by any loss: the state, the step on one device or several, and the means of a test.

Contract: pictures arrive as `uint8[N, H, W, 3]`; parameters, losses and metrics are float32 whatever convolutions
compute in.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.training.dynamic_scale import DynamicScale
from jax import Array

from uwct.training.config import TrainConfig
from uwct.training.optimizer import make_optimizer
from uwct.training.parallel import AXIS, Devices, total

Metrics = dict[str, Array]
# (params, what stays as it is, float pictures) -> (loss, metrics, of which one is called "loss")
Loss = Callable[[Any, Any, Array], tuple[Array, Metrics]]
MOST_SKIPPED = 100  # float16 steps in a row


class TrainState(struct.PyTreeNode):
    """What changes from step to step.

    Attributes:
      step: how many steps were taken, those skipped included.
      params: the parameters that are trained.
      opt_state: the optimiser's state.
      average: the exponential moving average of the parameters (Polyak and Juditsky, 1992); None if none is asked for.
      scale: in float16, what the loss is multiplied by so that small gradients do not vanish; it halves when one
        overflows and doubles after 2000 steps without (Micikevicius et al., ICLR 2018). None in other dtypes.
      skipped: how many steps were skipped since a gradient overflowed.
    """

    step: Array
    params: Any
    opt_state: Any
    average: Any
    scale: DynamicScale | None
    skipped: Array

    @property
    def result(self) -> Any:
        """The parameters to test and to keep: the average, where there is one."""
        return self.params if self.average is None else self.average


def init_state(params: Any, config: TrainConfig) -> TrainState:
    """The state before the first step. It owns a copy of the parameters, since steps donate their state."""
    params = jax.tree.map(jnp.array, params)
    scale = DynamicScale(scale=jnp.float32(2**15)) if config.dtype == "float16" else None
    average = jax.tree.map(jnp.copy, params) if config.average else None
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, params, make_optimizer(config).init(params), average, scale, jnp.copy(zero))


def train_step(
    state: TrainState, fixed: Any, pictures: Array, *, loss: Loss, config: TrainConfig, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One optimiser step on `uint8[N, H, W, 3]`; with `axis`, gradients and metrics are averaged over that axis.

    In float16 a step whose gradient is not finite changes nothing but the scale and the count of skipped steps.
    """
    x, scale = to_float(pictures), state.scale
    if scale is None:
        grads, metrics = jax.grad(loss, has_aux=True)(state.params, fixed, x)
        grads = grads if axis is None else jax.lax.pmean(grads, axis)
    else:
        scale, finite, (_, metrics), grads = scale.value_and_grad(loss, has_aux=True, axis_name=axis)(
            state.params, fixed, x
        )
    metrics = metrics if axis is None else jax.lax.pmean(metrics, axis)
    updates, opt_state = make_optimizer(config).update(grads, state.opt_state, state.params)
    params, skipped = optax.apply_updates(state.params, updates), state.skipped
    if scale is not None:
        old = state.params, state.opt_state
        params, opt_state = jax.tree.map(partial(jnp.where, finite), (params, opt_state), old)
        skipped = skipped + ~finite
    average = None if state.average is None else averaged(state.average, params, state.step, config.average)
    return TrainState(state.step + 1, params, opt_state, average, scale, skipped), {**metrics, "skipped": skipped}


def averaged(average: Any, params: Any, step: Array, decay: float) -> Any:
    """The moving average with the parameters after one more step; early, it forgets its start faster than `decay`."""
    keep = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, params)


def to_float(pictures: Array | np.ndarray) -> Array:
    """`uint8` in [0, 255] -> float32 in [0, 1]."""
    return jnp.asarray(pictures, jnp.float32) / 255


def parallel_step(loss: Loss, config: TrainConfig, devices: Devices) -> Callable[..., tuple[TrainState, Metrics]]:
    """`step(state, fixed, uint8[devices, N, H, W, 3])`, the same on one device and on many; the state is donated."""
    step = partial(train_step, loss=loss, config=config)
    if devices.single:
        return jax.jit(lambda state, fixed, pictures: step(state, fixed, pictures[0]), donate_argnums=0)
    return devices.pmap(partial(step, axis=AXIS), donate_argnums=0)


def run(
    state: TrainState, fixed: Any, batches: Iterator[Array], *, loss: Loss, config: TrainConfig, devices: Devices
) -> Iterator[tuple[TrainState, Metrics]]:
    """Steps from `state.step` to `config.steps`, yielding the new state and its metrics (still on the device).

    The yielded state is only good until the next one is asked for. Raises FloatingPointError, naming the step, when
    a loss is not finite; it looks one step late, so that the device never waits for the host.
    """
    step = parallel_step(loss, config, devices)
    fixed, watch = devices.replicate(fixed), Watch(int(state.skipped))
    previous: Metrics | None = None
    for number in range(int(state.step), config.steps):
        state, metrics = step(state, fixed, next(batches))
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
