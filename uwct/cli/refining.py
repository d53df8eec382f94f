"""The options of refinement, shared by the commands that stylize, and the bar that shows how it gets on."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from uwct.networks.model import Model, backbone
from uwct.pipeline.refine import STEPS, Step, check_loss

EVERY = 10  # steps between the pictures that --steps writes


@dataclasses.dataclass(frozen=True)
class Refining:
    """Whether stylized pictures are refined; the words under each field are its help."""

    refine: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Then move the picture itself, step by step, until a larger network (VGG-16) sees the style in it: brushwork where
    there were blobs. It takes most of a minute for 512 pixels on two CPU cores. Ctrl-C keeps what is done so far."""
    refine_steps: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=f"(default: {STEPS})")] = None
    """How many steps; more come nearer to the style. It includes --refine."""

    @property
    def steps(self) -> int:
        """How many; 0 without refinement."""
        return self.refine_steps if self.refine_steps is not None else STEPS if self.refine else 0

    def check(self) -> None:
        """Raises ValueError for a number of steps that cannot be."""
        if self.refine_steps is not None and self.refine_steps < 1:
            raise ValueError(f"--refine-steps must be at least 1, not {self.refine_steps}")

    def load(self, dtype: str) -> Model | None:
        """The encoder that refinement looks with, computing in `dtype`; None if there is none to be."""
        return backbone("vgg16").replace(dtype=dtype) if self.steps else None


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


def shown_after(steps: int) -> list[int]:
    """The numbers of steps at which `watched` calls `after`."""
    return list(range(EVERY, steps, EVERY))
