"""`--task distill`: a narrow encoder, with decoders of its own."""

import dataclasses
from functools import partial
from typing import Any

import jax

import uwct.networks.model as models
from uwct.cli.tasks.task import Task
from uwct.cli.tasks.trial import test_of
from uwct.networks.config import small
from uwct.training import distillation, stepping

SAMPLE = 1600  # photographs by which the encoder is normalised


class Distill(Task):
    """Trains the student in two stages."""

    def train(self) -> None:
        """Trains a narrow encoder in two stages, and writes it with the decoders that it learned along."""
        teacher = models.load(str(self.arguments.init), dtype=self.config.dtype)
        student = small()
        loss = partial(distillation.distillation_loss, config=student)

        def metrics_of(params: Any, teacher: models.Model, pictures: jax.Array) -> stepping.Metrics:
            return loss(params, teacher, pictures)[1]

        exact = teacher.replace(dtype="float32")
        test = test_of(metrics_of, exact, self.test, self.arguments) if self.test else None
        params = distillation.init_student(teacher, student)
        params = self.run("predict", loss, self.config, params, teacher, test, further=False)
        params = {**params, **distillation.init_decoders(jax.random.key(self.config.seed), student)}
        config = dataclasses.replace(self.config, steps=self.arguments.judge_steps)
        params = self.run("judge", loss, config, params, teacher, test, further=False)
        model = distillation.finish(params, student, partial(self.sample, SAMPLE))
        history = {"encoder": self.record()}
        for level in model.levels:
            history[f"decoder{level}"] = self.record() | self.tested(model, level)
        self.save(model, history)
        self.say(f"written to {self.path}")
        self.leave_report(model, history)
