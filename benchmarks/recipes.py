"""What the recipe "fast" gains over the paper's in the same time, on one level's decoder.

python benchmarks/recipes.py --data folder:photos/train --test folder:photos/test
python benchmarks/recipes.py --data folder:photos/train --test folder:photos/test --batch-scale 0.25 --crop 64

Trains by each recipe in turn for the same time of pure training, from the same random start, and tests ten times on the
way. Prints a Markdown table and draws the PSNR against the time into recipes.png. --batch-scale and --crop make both
recipes fit a small device in the same manner.
"""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure

from uwct.judge.evaluation import load_judge
from uwct.networks import model as models
from uwct.training import data, stepping
from uwct.training.config import RECIPES, TrainConfig
from uwct.training.parallel import Devices
from uwct.training.photographs import open_source
from uwct.training.reconstruction import Fixed, reconstruction_loss, reconstruction_metrics

TESTS = 10  # a run


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to compare."""

    data: str
    test: str
    minutes: float = 30
    """Of training, a recipe."""
    level: int = 3
    decoder_width: float = 1.0
    batch_scale: float = 1.0
    """What both recipes' batches are multiplied by."""
    crop: int | None = None
    """Crops of both recipes, instead of their own."""
    test_count: int = 64
    test_crop: int = 224
    output: Path = Path("recipes.png")


def seconds_a_step(config: TrainConfig, arguments: Arguments, model: models.Model) -> float:
    """The time of a step, after the compilation."""
    begin, count = 0.0, 12
    for number, _ in enumerate(steps(dataclasses.replace(config, steps=count), arguments, model), 1):
        begin = time.perf_counter() if number == 2 else begin
    return (time.perf_counter() - begin) / (count - 2)


def steps(config: TrainConfig, arguments: Arguments, model: models.Model) -> Any:
    """A run from its random start: (state, metrics) of every step."""
    devices = Devices.all()
    reader = data.Reader(open_source(arguments.data))
    sizes: dict[str, Any] = {"batch": config.batch, "crop": config.crop, "seed": config.seed}
    batches = data.on_device(data.train_batches(reader, **sizes), devices.split)
    decoder = models.init_decoder(jax.random.key(config.seed), model.config, arguments.level)
    state = devices.replicate(stepping.init_state(decoder, config))
    loss = partial(reconstruction_loss, level=arguments.level)
    fixed = Fixed(model.replace(dtype=config.dtype))
    return stepping.run(state, fixed, batches, loss=loss, config=config, devices=devices)


def curve(config: TrainConfig, arguments: Arguments, model: models.Model) -> list[tuple[float, dict[str, float]]]:
    """(seconds of training, test metrics), ten times in the given minutes."""
    count = max(TESTS, round(60 * arguments.minutes / seconds_a_step(config, arguments, model)))
    metrics_of = jax.jit(partial(reconstruction_metrics, level=arguments.level))
    fixed = Fixed(model, judge=load_judge("alexnet"))

    def test_of(decoder: Any, pictures: np.ndarray) -> stepping.Metrics:
        return metrics_of(decoder, fixed, stepping.to_float(pictures))

    reader = data.Reader(open_source(arguments.test), arguments.test_count)
    points: list[tuple[float, dict[str, float]]] = []
    trained, begin = 0.0, time.perf_counter()
    for number, (state, _) in enumerate(steps(dataclasses.replace(config, steps=count), arguments, model), 1):
        if number * TESTS // count > len(points):
            jax.block_until_ready(state)
            trained += time.perf_counter() - begin
            batches = data.evaluation_batches(reader, batch=8, crop=arguments.test_crop)
            test = stepping.evaluate(partial(test_of, state.result), batches)
            points.append((trained, {"steps": number, **test}))
            begin = time.perf_counter()
    return points


def main(arguments: Arguments) -> None:
    """Prints the table and draws the curves."""
    model = models.backbone("vgg16", decoder_width=arguments.decoder_width)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    print("| recipe | steps | seconds | test loss | PSNR (dB) |\n| --- | --- | --- | --- | --- |")
    for name in ("paper", "fast"):
        recipe = RECIPES[name]
        batch = max(1, round(recipe.batch * arguments.batch_scale))
        config = dataclasses.replace(recipe, batch=batch, crop=arguments.crop or recipe.crop)
        points = curve(config, arguments, model)
        seconds, last = points[-1]
        print(f"| {name} | {last['steps']:.0f} | {seconds:.0f} | {last['loss']:.4f} | {last['psnr']:.2f} |", flush=True)
        axis.plot([x for x, _ in points], [test["psnr"] for _, test in points], "o-", label=name)
    axis.set(xlabel="seconds of training", ylabel="PSNR of the test photographs (dB)", title=f"level {arguments.level}")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(arguments.output, dpi=120)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
