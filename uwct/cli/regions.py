"""The options that give parts of a picture styles of their own, shared by the commands that stylize."""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from uwct.cli.look import NUMBERS
from uwct.cli.styles import shares


@dataclasses.dataclass(frozen=True)
class RegionFiles:
    """What one --region names: a mask, or one color of a label picture, and its styles with their weights."""

    mask: Path
    color: str
    styles: tuple[Path, ...]
    weights: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Regions:
    """Parts of a picture; the words under each field are its help."""

    region: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="MASK[:COLOR] [STYLE[:WEIGHT] ...]"),
    ] = ()
    """A part of the photo that takes on styles of its own; may be given several times. MASK is a grey picture, white
    where the part is (soft edges are fine; transparent is not the part), or a picture of which MASK:RRGGBB takes one
    color, or MASK:#3 number 3 of its palette; it is resized to the photo. Its styles are pictures or style files, mixed
    with WEIGHTs; without any, the part keeps its pixels. What no mask covers takes --style, or keeps its pixels if
    there is none. Masks that overlap are divided by their sum."""
    region_alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """One number a --region, from 0 to 1, by which the strength of all levels is multiplied there; 1 by default."""

    @property
    def files(self) -> list[RegionFiles]:
        """What every --region names."""
        return [parse(words) for words in self.region]

    @property
    def factors(self) -> tuple[float, ...]:
        """What the strengths of each are multiplied by."""
        return self.region_alpha or (1.0,) * len(self.region)

    def check(self, has_style: bool) -> None:
        """Raises ValueError for regions that are misspelt, or of which nothing follows."""
        if self.region_alpha and not self.region:
            raise ValueError("--region-alpha needs a --region")
        if self.region and not has_style and not any(files.styles for files in self.files):
            raise ValueError("no --region has a style, nor is there a --style")
        if self.region_alpha and len(self.region_alpha) != len(self.region):
            raise ValueError(
                f"{len(self.region)} --region need as many numbers of --region-alpha, not {len(self.region_alpha)}"
            )
        for factor in self.region_alpha:
            if not 0 <= factor <= 1:
                raise ValueError(f"--region-alpha must lie between 0 and 1, not {factor:g}")


def parse(words: Sequence[str]) -> RegionFiles:
    """The words of one --region: MASK[:COLOR] [STYLE[:WEIGHT] ...]. Raises ValueError for others."""
    if not words:
        raise ValueError("--region needs a mask")
    mask, color = _split(words[0], r"[0-9a-fA-F]{6}|#\d{1,3}")
    if color and str(mask) == "-":  # of which nothing says whether its format keeps colors exactly
        raise ValueError("a color of a mask cannot be taken from standard input: save the mask to a file")
    styles = [_split(word, r"\d+\.?\d*|\.\d+") for word in words[1:]]
    weights = tuple(float(weight or 1) for _, weight in styles)
    if styles and not 0 < max(weights) < math.inf:
        raise ValueError(f"the weights of {' '.join(words)} must not all be 0")
    return RegionFiles(mask, color, tuple(path for path, _ in styles), tuple(shares(weights)))


def _split(word: str, ending: str) -> tuple[Path, str]:
    """A path, and what follows its last colon if that is of the pattern `ending`."""
    found = re.fullmatch(rf"(.+):({ending})", word)
    return (Path(found[1]), found[2]) if found and not Path(word).exists() else (Path(word), "")
