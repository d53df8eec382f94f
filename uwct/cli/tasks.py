"""The tasks of `python train.py`: to train decoders, to distil a narrow encoder, to evaluate a model."""

import dataclasses
import datetime
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import uwct.model as models
from uwct import data, distillation, recorder, report, training
from uwct.bridge import bridge_loss, init_bridge, join
from uwct.cli.train import Arguments
from uwct.cli.trial import BATCH, MetricsOf, open_test, test_of
from uwct.config import TrainConfig, small
from uwct.files import write_bytes
from uwct.least_squares import solve_linear_decoder
from uwct.loop import Run, Stop
from uwct.parallel import Devices, is_first
from uwct.photographs import open_source

SHOWN = 6  # photographs in reconstructions.png
SAMPLE = 1600  # photographs by which an encoder is normalised
History = dict[str, Any]


def perform(arguments: Arguments, stop: Stop, command: str) -> None:
    """Does what the arguments ask for; raises loop.Stopped when `stop` ends it early."""
    if arguments.evaluate:
        evaluate_model(arguments, stop)
        return
    task = Task(arguments, stop, command)
    if arguments.task == "distill":
        task.distill()
    else:
        task.train_decoders()
    task.name_faults()


def evaluate_model(arguments: Arguments, stop: Stop) -> None:
    """Prints the table of a model."""
    name = str(arguments.evaluate)
    model, history = models.load(name), models.training_history(name)
    model.check_levels(model.levels)
    test = data.Reader(open_source(str(arguments.test), arguments.test_split, arguments.data_dir), arguments.test_count)
    records = {}
    for level in model.levels:
        metrics = test_of(partial(training.reconstruction_metrics, level=level), model, test, arguments)
        decoder = model.params[f"decoder{level}"]
        records[level] = history.get(f"decoder{level}", {}) | {"test": metrics(decoder, stop)}
    if is_first():
        print(report.table(records), end="")


class Task:
    """What all training has in common: the photographs, and what is said about them."""

    def __init__(self, arguments: Arguments, stop: Stop, command: str) -> None:
        self.arguments, self.stop, self.command = arguments, stop, command
        self.source = open_source(arguments.config.data, arguments.config.split, arguments.data_dir)
        self.config = arguments.config.with_steps(len(self.source))
        if self.config.optimizer != "least-squares":
            Devices.all().share(self.config.batch)  # or fail before anything is written
        self.reader = data.Reader(self.source)
        self.test = open_test(arguments)
        self.path = arguments.folder / "model.safetensors"
        self.identity = {
            "photographs": self.source.identity,
            "test photographs": self.test and f"{self.test.identity}, crop {arguments.test_crop}",
            "backbone": arguments.backbone,
            "decoder width": arguments.decoder_width,
            "init": arguments.init,
        }

    def train_decoders(self) -> None:
        """Trains one level after the other; after each, the model file holds all that is trained so far."""
        model, history = start(self.arguments, self.path)
        self.arguments.folder.mkdir(parents=True, exist_ok=True)
        for level in self.arguments.levels:
            name = f"decoder{level}"
            decoder = self.train_level(model, level)
            if not _same(decoder, model.params.get(name)):  # else it was finished by an earlier command
                model = model.replace(params={**model.params, name: decoder})
                record = self.record() | self.tested(level, decoder, model)
                record["train"] = recorder.last_line(self.arguments.folder / f"level{level}", "train")
                if name in history and not self.config.bridge_steps and self.config.optimizer != "least-squares":
                    record["before"] = history[name]
                history[name] = record
            self.save(model, history)
            self.say(f"level {level}: written to {self.path}")
        self.leave_report(model, history)

    def train_level(self, model: models.Model, level: int) -> Any:
        """The trained parameters of one level's decoder."""
        config = self.config
        if config.optimizer == "least-squares":
            batches = data.train_batches(self.reader, batch=config.batch, crop=config.crop, seed=config.seed)
            return solve_linear_decoder(model.replace(dtype="float32"), iter(batches), config.steps)
        params = models.init_decoder(jax.random.key(config.seed), model.config, level)
        if config.bridge_steps:
            params = self.cross_bridge(params, model, level)
        else:
            donors = [model.params[name] for name in (f"decoder{level}", f"decoder{level - 1}") if name in model.params]
            params = training.warm_start(params, *donors)
        loss = partial(
            training.reconstruction_loss,
            level=level,
            feature_weight=config.feature_weight,
            sums=config.loss == "sums",
        )
        metrics_of = partial(training.reconstruction_metrics, level=level)
        return self.run(f"level{level}", loss, config, params, model, metrics_of)

    def cross_bridge(self, decoder: Any, model: models.Model, level: int) -> Any:
        """A decoder to start from: the trained bridge to the next shallower level, joined to the decoder there."""
        model.check_levels((level - 1,))
        bridge = init_bridge(decoder, model, level, jax.random.key(self.config.seed))
        config = dataclasses.replace(self.config, steps=self.config.bridge_steps)
        bridge = self.run(f"bridge{level}-{level - 1}", partial(bridge_loss, level=level), config, bridge, model)
        return join(bridge, model.params[f"decoder{level - 1}"], level)

    def distill(self) -> None:
        """Trains a narrow encoder in two stages, and writes it with the decoders that it learned along."""
        teacher = models.load(str(self.arguments.init), dtype=self.config.dtype)
        student = small()
        loss = partial(distillation.distillation_loss, config=student)

        def metrics_of(params: Any, teacher: models.Model, pictures: np.ndarray) -> training.Metrics:
            return loss(params, teacher, training.to_float(pictures))[1]

        params = distillation.init_student(teacher, student)
        params = self.run("predict", loss, self.config, params, teacher, metrics_of)
        params = {**params, **distillation.init_decoders(jax.random.key(self.config.seed), student)}
        config = dataclasses.replace(self.config, steps=self.arguments.judge_steps)
        params = self.run("judge", loss, config, params, teacher, metrics_of)
        model = distillation.finish(params, student, self.sample)
        history = {"encoder": self.record()}
        for level in model.levels:
            history[f"decoder{level}"] = self.record() | self.tested(level, model.params[f"decoder{level}"], model)
        self.save(model, history)
        self.say(f"written to {self.path}")
        self.leave_report(model, history)

    def sample(self) -> Iterator[np.ndarray]:
        """The photographs by which an encoder is normalised."""
        reader = data.Reader(self.source, SAMPLE)
        for pictures in data.evaluation_batches(reader, batch=BATCH, crop=self.arguments.test_crop):
            yield pictures.astype(np.float32) / 255

    def run(
        self,
        name: str,
        loss: training.Loss,
        config: TrainConfig,
        params: Any,
        model: models.Model,
        metrics_of: MetricsOf | None = None,
    ) -> Any:
        """One run to its end, in a folder of its own."""
        test = test_of(metrics_of, model, self.test, self.arguments) if metrics_of and self.test else None
        folder, save_every = self.arguments.folder / name, self.arguments.save_every
        run = Run(name, folder, loss, config, self.identity, save_every, test)
        return run.finish(params, model, self.reader, self.stop)

    def record(self) -> History:
        """How something was made."""
        date = datetime.date.today().isoformat()
        return {"command": self.command, "date": date, "data": self.identity["photographs"]}

    def tested(self, level: int, decoder: Any, model: models.Model) -> History:
        """How well a decoder does on the test photographs, if there are any."""
        if not self.test:
            return {}
        metrics_of = partial(training.reconstruction_metrics, level=level)
        return {"test": test_of(metrics_of, model, self.test, self.arguments)(decoder, self.stop)}

    def save(self, model: models.Model, history: History) -> None:
        """Writes the model in float16, without its encoder where that comes with uwct."""
        if is_first():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            own_encoder = model.config.backbone not in models.BACKBONES
            _, _, encoders = models.read_model(self.arguments.backbone)
            metadata = {"training": json.dumps(history)}
            metadata |= {key: value for key, value in encoders.items() if key == "provenance"}
            models.save(model, self.path, dtype="float16", encoder=own_encoder, metadata=metadata)

    def leave_report(self, model: models.Model, history: History) -> None:
        """The table, the curves, and some test photographs beside their reconstructions."""
        folder = self.arguments.folder
        if not is_first():
            return
        records = {level: history.get(f"decoder{level}", {}) for level in model.levels}
        table = report.table(records)
        write_bytes(folder / "table.md", table.encode())
        names = [f"level{level}" for level in model.levels if (folder / f"level{level}" / recorder.FILE).exists()]
        if names:
            report.curves({name: folder / name for name in names}, folder / "curves.png")
        shown = data.evaluation_batches(self.test or self.reader, batch=SHOWN, crop=self.arguments.test_crop)
        report.reconstructions(model, model.levels, next(iter(shown)), folder / "reconstructions.png")
        self.say(table.rstrip())

    def name_faults(self) -> None:
        """Names the photographs that could not be read, of this process's share."""
        for kind, reader in (("training", self.reader), ("test", self.test)):
            if reader and reader.faults:
                print(f"passed over {len(reader.faults)} {kind} photographs that cannot be read:", file=sys.stderr)
                for _, fault in sorted(reader.faults.items()):
                    print(f"  {fault}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Prints, once for all processes."""
        if is_first():
            print(text, flush=True)


def _same(decoder: Any, other: Any) -> bool:
    """Whether two decoders are the same, as precisely as a model file holds them."""
    return other is not None and all(
        np.array_equal(np.float16(a), np.float16(b))
        for a, b in zip(jax.tree.leaves(decoder), jax.tree.leaves(other), strict=True)
    )


def start(arguments: Arguments, path: Path) -> tuple[models.Model, History]:
    """The encoder with the decoders of --init and of the model file in the output folder, and how they were made."""
    model = models.backbone(arguments.backbone, decoder_width=arguments.decoder_width)
    params = dict(model.params)
    history: History = {}
    if arguments.backbone not in models.BACKBONES:
        history = {k: v for k, v in models.training_history(arguments.backbone).items() if k == "encoder"}
    for name in (arguments.init, path if path.exists() else None):
        if name is not None:
            donor = models.load(name)
            if donor.config != model.config:
                raise ValueError(f"{name} is another network: {donor.config}, not {model.config}")
            params |= {key: value for key, value in donor.params.items() if not key.startswith("encoder")}
            history |= models.training_history(name)
    return model.replace(params=params, dtype=arguments.config.dtype), history
