"""`--task decoders`: decoders for an encoder that stays as it is."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax

import uwct.networks.model as models
from uwct.cli.tasks.arguments import Arguments
from uwct.cli.tasks.task import History, Task, same
from uwct.training import data, recorder
from uwct.training.bridge import bridge_loss, init_bridge, join
from uwct.training.least_squares import solve_linear_decoder
from uwct.training.reconstruction import Fixed, reconstruction_loss, reconstruction_metrics, warm_start


class Decoders(Task):
    """Trains one level's decoder after the other."""

    def train(self) -> None:
        """Trains one level after the other; after each, the model file holds all that is trained so far."""
        model, history = start(self.arguments, self.path)
        self.arguments.folder.mkdir(parents=True, exist_ok=True)
        for level in self.arguments.levels:
            name = f"decoder{level}"
            decoder = self.train_level(model, level)
            if not same(decoder, model.params.get(name)):  # else it was finished by an earlier command
                model = model.replace(params={**model.params, name: decoder})
                record = self.record() | self.tested(model, level)
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
            params = warm_start(params, *donors)
        loss = partial(
            reconstruction_loss,
            level=level,
            feature_weight=config.feature_weight,
            perceptual_weight=config.perceptual_weight,
            lpips_weight=config.lpips_weight,
            sums=config.loss == "sums",
        )
        test = self.test_by(partial(reconstruction_metrics, level=level), model)
        return self.run(f"level{level}", loss, config, params, Fixed(model, self.critic(), self.vgg()), test)

    def cross_bridge(self, decoder: Any, model: models.Model, level: int) -> Any:
        """A decoder to start from: the trained bridge to the next shallower level, joined to the decoder there."""
        model.check_levels((level - 1,))
        bridge = init_bridge(decoder, model, level, jax.random.key(self.config.seed))
        config = dataclasses.replace(self.config, steps=self.config.bridge_steps)
        bridge = self.run(f"bridge{level}-{level - 1}", partial(bridge_loss, level=level), config, bridge, model)
        return join(bridge, model.params[f"decoder{level - 1}"], level)


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
