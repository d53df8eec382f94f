"""`--task autoencoders`: each level's encoder together with its decoder, from those of a model on."""

from functools import partial
from typing import Any

import uwct.networks.model as models
from uwct.cli.tasks.task import History, Task, same
from uwct.training import autoencoder, data, recorder
from uwct.training.reconstruction import Fixed

SAMPLE = 400  # photographs by which an encoder is normalised


class Autoencoders(Task):
    """Trains one level after the other, each with an encoder of its own."""

    def needs_critic(self) -> bool:
        return True  # it is the encoders' teacher

    def train(self) -> None:
        """After each level, the model file holds all that is trained so far, and the rest as it was."""
        name = str(self.path if self.path.exists() else self.arguments.init)
        model = autoencoder.with_own_encoders(models.load(name, dtype=self.config.dtype))
        model.check_levels(self.arguments.levels)
        history: History = models.training_history(name)
        self.arguments.folder.mkdir(parents=True, exist_ok=True)
        for level in self.arguments.levels:
            start = autoencoder.deepened(model, level) if self.arguments.deepen else model
            params = self.train_level(start, level)
            trained = autoencoder.finish(params, model, level, partial(self.sample, SAMPLE))
            if not same(trained.params, model.params):  # else it was finished by an earlier command
                model = trained
                record = self.record() | self.tested(model, level)
                record["train"] = recorder.last_line(self.arguments.folder / f"level{level}", "train")
                if f"decoder{level}" in history:
                    record["before"] = history[f"decoder{level}"]
                history[f"decoder{level}"] = record
                history[f"encoder{level}"] = {name: record[name] for name in ("command", "date", "data")}
            self.save(model, history)
            self.say(f"level {level}: written to {self.path}")
        self.leave_report(model, history)

    def train_level(self, model: models.Model, level: int) -> Any:
        """The trained parameters of a level, with the map to the critic's features."""
        config, fixed = self.config, Fixed(model, self.critic(), self.vgg())
        batches = data.train_batches(self.reader, batch=config.batch, crop=config.crop, seed=config.seed)
        params = autoencoder.init(fixed, level, iter(batches))
        loss = partial(
            autoencoder.autoencoder_loss,
            level=level,
            perceptual_weight=config.perceptual_weight,
            lpips_weight=config.lpips_weight,
            teacher_weight=config.teacher_weight,
        )
        test = self.test_by(partial(autoencoder.autoencoder_metrics, level=level), model)
        return self.run(f"level{level}", loss, config, params, fixed, test)
