"""Checkpoints of a training run: the only module that knows Orbax.

A checkpoint holds the training state (parameters, the optimiser's state, the step), the position in the data, and what
it belongs to: the config, with the seed that all random keys come from, and the photographs.
"""

import dataclasses
import json
import os
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from uwct.training.config import TrainConfig
from uwct.training.optimizer import learning_rate
from uwct.training.parallel import Devices, to_global, to_local
from uwct.training.stepping import TrainState

END = {"steps", "epochs"}  # what says when a run ends


class OtherEndError(ValueError):
    """A run was to end at another step, and cannot.

    Attributes:
      steps: where it was to end.
      finished: whether it has ended there, and was to go on.
    """

    def __init__(self, reason: str, steps: int, finished: bool) -> None:
        super().__init__(reason)
        self.steps, self.finished = steps, finished


class Checkpoints:
    """The checkpoints in one folder, the last two and the best by its test kept, saved in the background."""

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, Any], *, further: bool = True) -> None:
        """`identity` is what a run must share with its checkpoints to go on from them, as JSON can hold it.

        `further` is whether the run may end at another step than its checkpoints were to.
        """
        self._identity, self._further = json.loads(json.dumps(identity)), further
        best = BestN(get_metric_fn=_distance, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(n=2), best]),
            best_fn=_distance,
            best_mode="min",
            enable_async_checkpointing=True,
        )
        self._manager = ocp.CheckpointManager(os.path.abspath(folder), options=options)

    @property
    def latest_step(self) -> int | None:
        """The step of the last checkpoint, or None when there is none."""
        step: int | None = self._manager.latest_step()
        return step

    def test_metrics(self, step: int) -> dict[str, float] | None:
        """The metrics that a checkpoint was saved with."""
        metrics: dict[str, float] | None = self._manager.metrics(step)
        return metrics

    def save(self, state: TrainState, data: grain.DatasetIterator, test: dict[str, float] | None = None) -> None:
        """Saves a state under its step, with the data iterator's position and its test metrics beside it.

        A checkpoint of that step that was saved without metrics is replaced.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            self._manager.delete(step)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(to_global(state)),
            data=grain.checkpoint.CheckpointSave(data),
            identity=ocp.args.JsonSave(self._identity),
        )
        self._manager.save(step, args=args, metrics=test)

    def restore(self, state: TrainState, data: grain.DatasetIterator, devices: Devices) -> TrainState:
        """The latest state, or the given one when there is none, on the devices; sets `data` to its position.

        A run may end later than its checkpoints were to, or earlier, where all steps so far are those that it would
        have taken; raises OtherEndError where not, and ValueError naming the differences when the checkpoint belongs to
        another config or other photographs.
        """
        state = devices.replicate(state)
        step = self.latest_step
        if step is None:
            return state
        saved = self._manager.restore(step, args=ocp.args.Composite(identity=ocp.args.JsonRestore()))["identity"]
        now = self._identity
        different = sorted(name for name in saved.keys() | now.keys() if saved.get(name) != now.get(name))
        if different and END.issuperset(different):
            self._check_end(saved, step)
        elif different:
            raise ValueError(
                "the checkpoint in the output folder was made otherwise: "
                + "; ".join(f"{name} was {saved.get(name)} and is {now.get(name)}" for name in different)
                + " (go on with the same arguments, or choose another output folder)"
            )
        restored = self._restore(step, state)
        self._manager.restore(step, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(data)))
        return restored

    def _check_end(self, saved: dict[str, Any], step: int) -> None:
        """Raises OtherEndError unless the steps so far are those of a run that ends where this one is to end."""
        was, now = saved["steps"], self._identity["steps"]
        reason = ""
        if now < step:
            reason = f"{step} steps are taken already, more than {now}"
        elif not self._further:
            reason = f"what followed its last step, {was}, began there, and {now} are asked for"
        elif not np.array_equal(_rates(saved, step), _rates(self._identity, step)):
            reason = f"its learning rate falls until the last step, which was {was} and is {now}"
        if reason:
            raise OtherEndError(f"this run cannot end elsewhere: {reason}", was, finished=step == was and now > was)

    def best(self, state: TrainState) -> TrainState:
        """The state of the best test, or the given last state where nothing was tested."""
        self._manager.wait_until_finished()
        step = self._manager.best_step()
        if step is None or self.test_metrics(step) is None or step == int(state.step):
            return state
        return self._restore(step, state)

    def _restore(self, step: int, like: TrainState) -> TrainState:
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, to_global(like))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        restored: TrainState = to_local(self._manager.restore(step, args=args)["state"])
        return restored

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for what is still being written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _rates(identity: dict[str, Any], steps: int) -> np.ndarray:
    """The learning rates of a run's first steps."""
    config = TrainConfig(**{field.name: identity[field.name] for field in dataclasses.fields(TrainConfig)})
    return np.asarray(jax.vmap(learning_rate(config))(np.arange(steps)))


def _distance(metrics: dict[str, float]) -> float:
    """What the best checkpoint has least of: LPIPS where the test has it, which sees blur, else the loss."""
    return metrics.get("lpips", metrics["loss"])
