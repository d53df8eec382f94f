"""Testing, while training and of what is there: the photographs, the metrics of parameters on them, the table."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

import uwct.networks.model as models
from uwct.cli.tasks.arguments import Arguments
from uwct.judge.evaluation import load_judge
from uwct.training import data, report, stepping
from uwct.training.loop import Stop, Test
from uwct.training.parallel import is_first
from uwct.training.photographs import open_source
from uwct.training.reconstruction import Fixed, reconstruction_metrics

BATCH = 8
# (parameters, what stays as it is, float pictures) -> metrics
MetricsOf = Callable[[Any, Any, jax.Array], stepping.Metrics]


def open_test(arguments: Arguments) -> data.Reader | None:
    """The photographs to test on."""
    where = arguments.test
    if where is None and not arguments.config.data.startswith("folder:"):
        where = arguments.config.data
    if where is None:
        return None
    return data.Reader(open_source(where, arguments.test_split, arguments.data_dir), arguments.test_count)


def judged(model: models.Model) -> Fixed:
    """What metrics of reconstructions need: the networks in float32, and the judge."""
    return Fixed(model.replace(dtype="float32"), judge=load_judge("alexnet"))


def test_of(metrics_of: MetricsOf, fixed: Any, reader: data.Reader, arguments: Arguments) -> Test:
    """The test of parameters by metrics that are functions of (parameters, fixed, float pictures)."""
    compiled = jax.jit(metrics_of)

    def metrics(params: Any, pictures: np.ndarray) -> stepping.Metrics:
        return compiled(params, fixed, stepping.to_float(pictures))

    def test(params: Any, stop: Stop) -> dict[str, float]:
        batches = data.evaluation_batches(reader, batch=BATCH, crop=arguments.test_crop)
        return stepping.evaluate(partial(metrics, params), stop.between(batches))

    return test


def evaluate_model(arguments: Arguments, stop: Stop) -> None:
    """Prints the table of a model."""
    name = str(arguments.evaluate)
    model, history = models.load(name), models.training_history(name)
    model.check_levels(model.levels)
    test = data.Reader(open_source(str(arguments.test), arguments.test_split, arguments.data_dir), arguments.test_count)
    records = {}
    for level in model.levels:
        metrics = test_of(partial(reconstruction_metrics, level=level), judged(model), test, arguments)
        decoder = model.params[f"decoder{level}"]
        records[level] = history.get(f"decoder{level}", {}) | {"test": metrics(decoder, stop)}
    if is_first():
        print(report.table(records), end="")
