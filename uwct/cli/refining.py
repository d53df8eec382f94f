"""The options of refinement, shared by the commands that stylize."""

import dataclasses
from typing import Annotated

import tyro

from uwct.pipeline.presets import REFINE_STEPS

EVERY = 10  # steps between the pictures that --steps writes


@dataclasses.dataclass(frozen=True)
class Refining:
    """Whether stylized pictures are refined; the words under each field are its help."""

    refine: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Then move the picture itself, step by step, until a larger network (VGG-16) sees the style in it: brushwork where
    there were blobs. It takes 20 to 30 seconds for 512 x 512 pixels on two recent CPU cores, more the first time, and
    longer on older ones. Ctrl-C keeps what is done so far."""
    refine_steps: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=f"(default: {REFINE_STEPS})")
    ] = None
    """How many steps; more come nearer to the style. It includes --refine."""

    @property
    def steps(self) -> int:
        """How many; 0 without refinement."""
        return self.refine_steps if self.refine_steps is not None else REFINE_STEPS if self.refine else 0

    def check(self, transform: str) -> None:
        """Raises ValueError for a number of steps that cannot be, and where `transform` takes on no style."""
        if self.refine_steps is not None and self.refine_steps < 1:
            raise ValueError(f"--refine-steps must be at least 1, not {self.refine_steps}")
        if self.steps and transform == "whiten":
            raise ValueError("--refine goes towards a style, and --transform whiten has none")


def shown_after(steps: int) -> list[int]:
    """The numbers of steps at which `watching.watched` calls `after`."""
    return list(range(EVERY, steps, EVERY))
