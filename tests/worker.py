"""One of several processes that train together; test_loop.py starts them.

python worker.py HOST:PORT PROCESSES PROCESS FOLDER: ten steps on the same pictures, then a checkpoint and, by the first
process, the parameters as a file.
"""

import itertools
import sys
from pathlib import Path

import jax
import numpy as np

from uwct.networks.model import load
from uwct.training import parallel, stepping
from uwct.training.checkpoints import Checkpoints
from uwct.training.data import Reader, on_device, train_batches
from uwct.training.parallel import Devices
from uwct.training.photographs import PhotographFolder

if __name__ == "__main__":
    coordinator, processes, process, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    parallel.initialize(coordinator, processes, process)
    from test_training import CONFIG, PICTURES, fresh_state, loss_of

    model, devices = load(folder / "tiny.safetensors"), Devices.all()
    assert devices.count == 4
    share = devices.share(len(PICTURES))
    mine = PICTURES[process * share : (process + 1) * share].reshape(len(devices.local), -1, *PICTURES.shape[1:])
    steps = stepping.run(
        devices.replicate(fresh_state(model, 2)),
        model,
        itertools.repeat(jax.device_put(mine, devices.split)),
        loss=loss_of(2),
        config=CONFIG,
        devices=devices,
    )
    *_, (state, metrics) = steps
    batches = on_device(
        train_batches(Reader(PhotographFolder(folder / "photographs")), batch=2, crop=16), devices.split
    )
    with Checkpoints(folder / "together", {"seed": 0}) as checkpoints:
        checkpoints.save(state, batches)
    with Checkpoints(folder / "together", {"seed": 0}) as checkpoints:
        restored = checkpoints.restore(fresh_state(model, 2), batches, devices)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    if parallel.is_first():
        arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state.params))}
        np.savez(folder / "together.npz", loss=float(metrics["loss"]), **arrays)
