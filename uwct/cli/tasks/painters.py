"""`--task painters`: the networks of all levels that the preset "paint" runs, together."""

from functools import partial
from typing import Any

import jax

import uwct.networks.model as models
from uwct.cli.tasks.task import History, Task
from uwct.cli.tasks.trial import test_of
from uwct.pipeline.presets import PRESETS
from uwct.training import data, painting, recorder, stepping
from uwct.training.autoencoder import with_own_encoders
from uwct.training.lpips import load_vgg
from uwct.training.photographs import open_source

PRESET = PRESETS["paint"]


class Painters(Task):
    """Trains all levels of the preset at once, by what it paints with them."""

    def needs_critic(self) -> bool:
        return True  # of reconstructions

    def train(self) -> None:
        """Writes the model, its other levels as they were."""
        name = str(self.arguments.init)
        model = with_own_encoders(models.load(name, dtype=self.config.dtype))
        model.check_levels(PRESET.levels)
        model = model.replace(params={**model.params, **self.learned(model)})
        history: History = models.training_history(name)
        for level in sorted(PRESET.levels):
            record = self.record() | self.tested(model, level)
            record["train"] = recorder.last_line(self.arguments.folder / "painters", "train")
            record["before"] = history.get(f"decoder{level}")
            history[f"decoder{level}"] = record
            history[f"encoder{level}"] = {name: record[name] for name in ("command", "date", "data")}
        self.save(model, history)
        self.say(f"written to {self.path}")
        self.leave_report(model, history)

    def learned(self, model: models.Model) -> Any:
        """The trained parameters of all levels."""
        vgg, critic = load_vgg(), self.critic()
        assert critic is not None
        fixed = painting.Fixed(model, vgg, critic)
        loss = partial(
            painting.painting_loss,
            preset=PRESET,
            content_weight=self.config.content_weight,
            reconstruction_weight=self.config.reconstruction_weight,
        )
        test = None
        if self.test:
            exact = painting.Fixed(model.replace(dtype="float32"), vgg, critic.replace(dtype="float32"))
            test = test_of(partial(tested_pairs, loss), exact, self.test, self.arguments)
        source = open_source(str(self.arguments.styles), self.config.split, self.arguments.data_dir)
        self.identity["styles"] = source.identity
        params = painting.init(model, PRESET.levels)
        return self.run("painters", loss, self.config, params, fixed, test, data.Reader(source))


def tested_pairs(loss: stepping.Loss, params: Any, fixed: Any, pictures: jax.Array) -> stepping.Metrics:
    """The metrics of test photographs, each in the manner of the next: paintings that no training has seen are few."""
    pairs = jax.numpy.stack([pictures, jax.numpy.roll(pictures, 1, 0)], 1)
    return loss(params, fixed, pairs)[1]
