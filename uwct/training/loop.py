"""One training run from its first step, or its last checkpoint, to its end: the loop that the command calls.

Contract: killed at any moment and called again with the same arguments, a run ends with the same parameters, bit for
bit, on the same devices; called with more steps it goes on, if its learning rate does not depend on their number. (On a
GPU this needs XLA_FLAGS=--xla_gpu_deterministic_ops=true, since kernels are free to add in another order otherwise.)
"""

import dataclasses
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from uwct.training import data, stepping
from uwct.training.checkpoints import Checkpoints
from uwct.training.config import TrainConfig
from uwct.training.parallel import Devices, is_first
from uwct.training.recorder import Recorder

# (parameters, the Stop to ask between batches) -> test metrics, one of which is called "loss"
Test = Callable[[Any, "Stop"], dict[str, float]]

T = TypeVar("T")


class Stopped(Exception):
    """The run was asked to stop, and has saved its state."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What is trained, by which loss, and where its files go.

    Attributes:
      name: what the progress bar shows.
      folder: for checkpoints, metrics.jsonl and TensorBoard's events.
      loss: of the parameters, as `stepping.Loss` says.
      config: how; its `steps` count.
      identity: what else must be the same for a run to be resumed.
      save_every: steps between checkpoints, each tested first.
      test: the test, or None for none.
      styles: pictures of which each photograph comes with one, where the loss takes pairs (see `data.train_batches`).
      further: whether it may be called with another number of steps, since nothing began from its last.
    """

    name: str
    folder: Path
    loss: stepping.Loss
    config: TrainConfig
    identity: dict[str, Any]
    save_every: int
    test: Test | None = None
    styles: data.Reader | None = None
    further: bool = True

    def finish(self, params: Any, fixed: Any, reader: data.Reader, stop: "Stop") -> Any:
        """Trains to the end and gives the parameters of the best test or, untested, the last.

        `params` are where a fresh run starts, `fixed` what the loss is given beside them. Raises Stopped, after saving,
        when `stop` asks for it; FloatingPointError at a loss that is not finite; ValueError when the checkpoints belong
        to another run.
        """
        config, devices = self.config, Devices.all()
        batches = data.on_device(
            data.train_batches(
                reader,
                batch=devices.share(config.batch),
                crop=config.crop,
                short_side=config.short_side,
                seed=config.seed,
                styles=self.styles,
            ),
            devices.split,
        )
        identity = dataclasses.asdict(config) | self.identity | {"processes": jax.process_count()}
        with Checkpoints(self.folder, identity, further=self.further) as checkpoints:
            state = checkpoints.restore(stepping.init_state(params, config), batches, devices)
            start = int(state.step)
            shown = Recorder(
                self.folder, self.name, start=start, steps=config.steps, batch=config.batch, quiet=not is_first()
            )
            with shown:
                if self._due(start) and checkpoints.test_metrics(start) is None:
                    self._save(state, batches, checkpoints, shown, stop)  # it was stopped before its test
                steps = stepping.run(state, fixed, batches, loss=self.loss, config=config, devices=devices)
                for number, (state, metrics) in enumerate(steps, start + 1):
                    shown.step(number, metrics)
                    if stop.requested(number):
                        self._save_and_stop(state, batches, checkpoints)
                    if number == config.steps or number % self.save_every == 0:
                        stepping.check_finite(state, number)
                        self._save(state, batches, checkpoints, shown, stop)
            return jax.tree.map(np.asarray, checkpoints.best(state).result)

    def _due(self, number: int) -> bool:
        """Whether a step is tested and saved."""
        return self.test is not None and number > 0 and (number == self.config.steps or number % self.save_every == 0)

    def _save(
        self, state: stepping.TrainState, batches: Any, checkpoints: Checkpoints, shown: Recorder, stop: "Stop"
    ) -> None:
        test = None
        if self.test:
            try:
                with shown.paused():
                    test = self.test(state.result, stop)
            except Stopped:
                self._save_and_stop(state, batches, checkpoints)
            shown.test(int(state.step), test)
        checkpoints.save(state, batches, test)

    def _save_and_stop(self, state: stepping.TrainState, batches: Any, checkpoints: Checkpoints) -> NoReturn:
        step = int(state.step)
        stepping.check_finite(state, step)
        checkpoints.save(state, batches)
        raise Stopped(f"{self.name}: stopped after step {step} of {self.config.steps}, which is saved")


class Stop:
    """Whether SIGTERM asked to stop: of this process, or, where there are several, of any, at one step for all."""

    def __init__(self) -> None:
        self._signalled = False

    def requested(self, step: int) -> bool:
        """To be asked once after every step, by all processes alike."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._signalled

    def between(self, items: Iterable[T]) -> Iterator[T]:
        """The items; raises Stopped as soon as this process is to stop, unless others work on the same."""
        for item in items:
            if self._signalled and jax.process_count() == 1:
                raise Stopped
            yield item

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._signalled = True


@contextmanager
def stop_at_sigterm() -> Iterator[Stop]:
    """Within it SIGTERM ends no process; the Stop that it gives says that there was one."""
    stop = Stop()
    if jax.process_count() > 1:  # JAX's own handler tells all processes
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop._handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
