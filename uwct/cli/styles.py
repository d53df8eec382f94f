"""The options that say which styles are taken, shared by the commands that stylize."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from uwct.cli.look import NUMBERS

Files = Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE [FILE ...]")]


def shares(weights: Sequence[float]) -> list[float]:
    """Weights, finite and not all 0, as shares that sum to 1; however large they are, as float32 holds them."""
    relative = [weight / max(weights) for weight in weights]
    return [weight / sum(relative) for weight in relative]


@dataclasses.dataclass(frozen=True)
class Styles:
    """Style pictures and style files, and how they are mixed; the words under each field are its help."""

    style: Files = ()
    """The style: any picture, or a style file (.safetensors; see uwct style). Several (--style a.jpg b.jpg, or
    --style a.jpg --style b.jpg) are mixed. A folder: each picture in it, and in its subfolders, is used in turn."""
    style_weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """Each style's share in the mixture, one number a style, normalised to sum 1; equal by default. As many numbers for
    each level, from the deepest to the shallowest, mix each level in its own way: strokes of the one style, colors of
    the other."""
    style_mask: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]")] = ()
    """One grey picture a style picture: only where it is white does the style count."""

    @property
    def paths(self) -> list[Path]:
        """The pictures, or the folder, in the order given, whether behind one --style or several."""
        return [path for paths in self.style for path in paths]

    def mixtures(self) -> list[list[float]] | list[float] | None:
        """The weights, one a style, of all levels or a row of each; they sum to 1. None for equal ones."""
        count = len(self.paths)
        rows = [self.style_weights[i : i + count] for i in range(0, len(self.style_weights), count)] if count else []
        found = [shares(row) for row in rows]
        return found if len(found) > 1 else found[0] if found else None

    def check(self, levels: int) -> None:
        """Raises ValueError for weights and masks that do not fit the styles."""
        count, weights = len(self.paths), self.style_weights
        if weights and len(weights) not in (count, levels * count):
            many = f", or {levels * count} for {levels} levels" if levels > 1 else ""
            raise ValueError(f"{count} styles need as many --style-weights{many}, not {len(weights)}")
        for row in (weights[i : i + count] for i in range(0, len(weights), count)) if weights else ():
            if not all(0 <= weight < math.inf for weight in row) or not any(row):
                raise ValueError(f"--style-weights must not be negative, nor all 0, not {list(row)}")
        if self.style_mask and (len(self.style_mask) != count or any(path.is_dir() for path in self.paths)):
            raise ValueError(f"--style-mask needs one mask for each of {count} style pictures")
