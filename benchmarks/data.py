"""The input pipeline: alone, and beside the training step, which must not wait for it.

python benchmarks/data.py --data folder:photos
python benchmarks/data.py --data coco/2017 --batch 128 --crop 256 --level 5

Prints two Markdown tables: pictures a second that the pipeline gives for several numbers of reading threads, and
pictures a second that training takes from it, against the same step fed with one batch that lies on the device.
"""

import dataclasses
import itertools
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import tyro

from uwct.networks import model as models
from uwct.training import data, stepping
from uwct.training.config import TrainConfig
from uwct.training.parallel import Devices
from uwct.training.photographs import open_source
from uwct.training.reconstruction import Fixed, reconstruction_loss


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    data: str
    split: str = "train[:8000]"
    data_dir: str | None = None
    batch: int = 8
    crop: int = 128
    short_side: int = 0
    threads: tuple[int, ...] = (1, 2, 4, 8, 16)
    level: int = 3
    """The decoder whose step is measured."""
    decoder_width: float = 1.0
    batches: int = 40
    """Batches a measurement."""
    rounds: int = 3
    """How often the step with data and the step without take turns."""


def speed(batches: Iterator[Any], arguments: Arguments) -> float:
    """Pictures a second, after a first batch."""
    next(batches)
    begin = time.perf_counter()
    for _ in range(arguments.batches):
        next(batches)
    return arguments.batch * arguments.batches / (time.perf_counter() - begin)


def pipeline(arguments: Arguments, threads: int) -> Any:
    """The pipeline of training, in host memory."""
    reader = data.Reader(open_source(arguments.data, arguments.split, arguments.data_dir))
    sizes: dict[str, Any] = {"batch": arguments.batch, "crop": arguments.crop, "short_side": arguments.short_side}
    return data.train_batches(reader, threads=threads, **sizes)


def alone(arguments: Arguments) -> None:
    """The first table."""
    print(f"{os.cpu_count()} CPU cores, batches of {arguments.batch}, crops of {arguments.crop} pixels")
    print("| threads | pictures/s |\n| --- | --- |")
    for threads in arguments.threads:
        print(f"| {threads} | {speed(iter(pipeline(arguments, threads)), arguments):.0f} |", flush=True)


def beside(arguments: Arguments) -> None:
    """The second table."""
    devices = Devices.all()
    config = TrainConfig(steps=10**6, batch=arguments.batch, crop=arguments.crop)
    model = models.backbone("vgg16", decoder_width=arguments.decoder_width).replace(dtype=config.dtype)
    decoder = models.init_decoder(jax.random.key(0), model.config, arguments.level)
    loss = partial(reconstruction_loss, level=arguments.level)

    def steps(batches: Iterator[jax.Array]) -> Iterator[Any]:
        state = devices.replicate(stepping.init_state(decoder, config))
        run = stepping.run(state, Fixed(model), batches, loss=loss, config=config, devices=devices)
        return (jax.block_until_ready(metrics) for _, metrics in run)

    fed = data.on_device(pipeline(arguments, threads=4), devices.split)
    turns = {"from the pipeline": steps(fed), "from one batch on the device": steps(itertools.repeat(next(fed)))}
    speeds = [[speed(turn, arguments) for turn in turns.values()] for _ in range(arguments.rounds)]
    print(f"\n| level {arguments.level} trains | pictures/s |\n| --- | --- |")
    for name, value in zip(turns, np.median(speeds, axis=0), strict=True):
        print(f"| {name} | {value:.1f} |", flush=True)


if __name__ == "__main__":
    chosen = tyro.cli(Arguments, description=__doc__)
    alone(chosen)
    beside(chosen)
