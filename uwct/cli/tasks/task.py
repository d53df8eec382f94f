"""What the tasks of `python train.py` have in common."""

import datetime
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

import uwct.networks.model as models
from uwct.cli.tasks.arguments import Arguments
from uwct.cli.tasks.trial import BATCH, MetricsOf, judged, open_test, test_of
from uwct.files import write_bytes
from uwct.training import data, recorder, report, stepping
from uwct.training.config import TrainConfig
from uwct.training.loop import Run, Stop, Test
from uwct.training.lpips import Vgg, load_vgg
from uwct.training.parallel import Devices, is_first
from uwct.training.photographs import open_source
from uwct.training.reconstruction import reconstruction_metrics

SHOWN = 6  # photographs in reconstructions.png
History = dict[str, Any]


class Task(ABC):
    """A training: the photographs, the runs, the files, and what is said about them."""

    @abstractmethod
    def train(self) -> None:
        """Trains all that was asked for; the model file holds what is ready."""

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
            "critic": arguments.critic if self.needs_critic() else None,
        }

    def critic(self) -> models.Model | None:
        """The encoder whose features are part of the loss, if they are."""
        if not self.needs_critic():
            return None
        critic = models.backbone(self.arguments.critic)
        if critic.config.encoders:
            raise ValueError(f"--critic must have one encoder for all levels, which {self.arguments.critic} has not")
        return critic.replace(dtype=self.config.dtype)

    def needs_critic(self) -> bool:
        """Whether the loss asks for one."""
        return self.config.perceptual_weight > 0

    def vgg(self) -> Vgg | None:
        """What LPIPS as a part of the loss looks with, if it is one."""
        return load_vgg() if self.config.lpips_weight > 0 else None

    def sample(self, count: int) -> Iterator[np.ndarray]:
        """The first photographs, in batches `[N, H, W, 3]` in [0, 1], by which an encoder is normalised."""
        reader = data.Reader(self.source, count)
        for pictures in data.evaluation_batches(reader, batch=BATCH, crop=self.arguments.test_crop):
            yield pictures.astype(np.float32) / 255

    def run(
        self,
        name: str,
        loss: stepping.Loss,
        config: TrainConfig,
        params: Any,
        fixed: Any,
        test: Test | None = None,
        styles: data.Reader | None = None,
        *,
        further: bool = True,
    ) -> Any:
        """One run to its end, in a folder of its own; `fixed` is what the loss is given beside parameters."""
        folder, save_every = self.arguments.folder / name, self.arguments.save_every
        run = Run(name, folder, loss, config, self.identity, save_every, test, styles, further)
        return run.finish(params, fixed, self.reader, self.stop)

    def test_by(self, metrics_of: MetricsOf, model: models.Model) -> Test | None:
        """The test of parameters by metrics of what can be reconstructed, if there are photographs to test on."""
        return test_of(metrics_of, judged(model), self.test, self.arguments) if self.test else None

    def tested(self, model: models.Model, level: int) -> History:
        """How well a level of a model does on the test photographs, if there are any."""
        test = self.test_by(partial(reconstruction_metrics, level=level), model)
        return {"test": test(model.params[f"decoder{level}"], self.stop)} if test else {}

    def record(self) -> History:
        """How something was made."""
        date = datetime.date.today().isoformat()
        return {"command": self.command, "date": date, "data": self.identity["photographs"]}

    def save(self, model: models.Model, history: History) -> None:
        """Writes the model in float16, without its encoder where that comes with uwct."""
        if is_first():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            own_encoder = bool(model.config.encoders) or model.config.backbone not in models.BACKBONES
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


def same(params: Any, others: Any) -> bool:
    """Whether parameters are the same, as precisely as a model file holds them."""
    return others is not None and all(
        np.array_equal(np.float16(a), np.float16(b))
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(others), strict=True)
    )
