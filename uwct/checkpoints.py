"""Checkpoints of a training run: the only module that knows Orbax.

A checkpoint holds the training state, the position in the data, and the config that they belong to.
"""

import json
import os
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from uwct.training import TrainState


class Checkpoints:
    """The checkpoints of one level's training in one folder, the last two kept, saved in the background."""

    def __init__(self, folder: str | os.PathLike[str], config: dict[str, Any]) -> None:
        """`config` is what a run must share with its checkpoints to go on from them, as JSON can hold it."""
        self._config = json.loads(json.dumps(config))
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(os.path.abspath(folder), options=options)

    @property
    def latest_step(self) -> int | None:
        """The step of the last checkpoint, or None when there is none."""
        step: int | None = self._manager.latest_step()
        return step

    def save(self, state: TrainState, data: grain.DatasetIterator) -> None:
        """Saves a state under its step, and the data iterator's position beside it."""
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=grain.checkpoint.CheckpointSave(data),
            config=ocp.args.JsonSave(self._config),
        )
        self._manager.save(int(state.step), args=args)

    def restore(self, state: TrainState, data: grain.DatasetIterator) -> TrainState:
        """The latest state, or the given one when there is none; sets `data` to its position.

        Raises ValueError naming the differences when the checkpoint was made with another config.
        """
        step = self.latest_step
        if step is None:
            return state
        saved = self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
        different = [
            f"{name} was {saved.get(name)} and is {self._config.get(name)}"
            for name in sorted(saved.keys() | self._config.keys())
            if saved.get(name) != self._config.get(name)
        ]
        if different:
            raise ValueError("the checkpoint was made with another config: " + "; ".join(different))
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target), data=grain.checkpoint.CheckpointRestore(data))
        restored: TrainState = self._manager.restore(step, args=args)["state"]
        return restored

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for what is still being written."""
        self._manager.wait_until_finished()
        self._manager.close()
