"""Testing while training: the photographs to test on, and the metrics of parameters on them."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from uwct import data, training
from uwct.cli.train import Arguments
from uwct.loop import Stop
from uwct.model import Model
from uwct.photographs import open_source

BATCH = 8
# (parameters, model, uint8 pictures) -> metrics
MetricsOf = Callable[[Any, Model, np.ndarray], training.Metrics]


def open_test(arguments: Arguments) -> data.Reader | None:
    """The photographs to test on."""
    where = arguments.test
    if where is None and not arguments.config.data.startswith("folder:"):
        where = arguments.config.data
    if where is None:
        return None
    return data.Reader(open_source(where, arguments.test_split, arguments.data_dir), arguments.test_count)


def test_of(
    metrics_of: MetricsOf, model: Model, reader: data.Reader, arguments: Arguments
) -> Callable[[Any, Stop], dict[str, float]]:
    """The test of parameters by metrics that are functions of (parameters, model, uint8 pictures), in float32."""
    compiled, exact = jax.jit(metrics_of), model.replace(dtype="float32")

    def test(params: Any, stop: Stop) -> dict[str, float]:
        batches = data.evaluation_batches(reader, batch=BATCH, crop=arguments.test_crop)
        return training.evaluate(lambda pictures: compiled(params, exact, pictures), stop.between(batches))

    return test
