"""Refinement in a command: the network that looks, and the bar that shows how it gets on."""

from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from uwct.cli.refining import EVERY, Refining
from uwct.networks.model import Model, backbone
from uwct.pipeline.refine import Step, check_loss


def observer(refining: Refining, dtype: str) -> Model | None:
    """The encoder that refinement looks with, computing in `dtype`; None if there is none to be."""
    return backbone("vgg16").replace(dtype=dtype) if refining.steps else None


def watched(
    steps: Iterator[Step], name: str, after: Callable[[int, Any], None] | None = None
) -> tuple[Callable[[], Any], bool]:
    """Goes through all steps behind a bar: what makes the last picture, and whether none was left out by Ctrl-C.

    `after` is called with a number of steps and the picture after them, every so often. Raises KeyboardInterrupt when
    not even the first step was done.
    """
    last = None
    with tqdm(desc=name, unit="step", leave=False) as bar:
        try:
            for step in steps:
                bar.total = step.total
                bar.update()
                bar.set_postfix(loss=f"{float(step.loss):.3f}")
                check_loss(step)
                last = step
                if after and step.number % EVERY == 0 and step.number < step.total:
                    after(step.number, step.picture())
        except KeyboardInterrupt:
            if last is None:
                raise
            return last.picture, False
    assert last is not None
    return last.picture, True
