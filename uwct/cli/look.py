"""The options that say how a result shall look, shared by the commands that stylize."""

import dataclasses
from typing import Annotated, Literal

import tyro

from uwct.cli.limits import check_size
from uwct.networks.config import check_level
from uwct.pipeline.presets import PRESETS, Preset

NUMBERS = "NUMBER [NUMBER ...]"
Name = Literal["paint", "gentle", "texture", "shallow", "deep", "colors"]
PRESETS_OWN = "(default: the preset's)"


@dataclasses.dataclass(frozen=True)
class Look:
    """A preset, and what replaces its settings; the words under each field are its help."""

    photo: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Give the photo the style's light and colors, but no strokes: it stays a photograph, with all its details. Best
    with another photo as the style. A small copy is painted, and the photo's own pixels take its colors on."""
    preset: Annotated[Name, tyro.conf.arg(metavar="{paint,gentle,texture,shallow,deep,colors}")] = "paint"
    """Settings that go well together: "paint" for strokes and colors; "gentle" keeps more of the photo's details;
    "texture" lets the style take over; "shallow" changes colors and fine texture only; "colors" colors only; "deep"
    large patterns only. Each of the following options replaces one setting of the preset."""
    levels: Annotated[
        tuple[int, ...] | None, tyro.conf.arg(metavar="LEVEL [LEVEL ...]", help_behavior_hint=PRESETS_OWN)
    ] = None
    """Which of the five levels to use, in any order; they always run from the deepest (5) to the shallowest (1). Deep
    levels bring the style's strokes and larger patterns, shallow ones its colors and fine texture."""
    alpha: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar=NUMBERS, help_behavior_hint=PRESETS_OWN)] = None
    """Strength from 0 (the photo's own look) to 1 (all style): one number, or one a level in the order of --levels.
    A level that the preset does not use takes the strength of its deepest."""
    style_size: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=PRESETS_OWN)] = None
    """Long side in pixels to which the style is resized; larger makes its patterns larger; 0 keeps it as it is."""
    transform: Annotated[
        Literal["wct", "monge", "adain", "whiten"] | None,
        tyro.conf.arg(metavar="{wct,monge,adain,whiten}", help_behavior_hint=PRESETS_OWN),
    ] = None
    """How features take on the style's statistics: wct as in the paper; monge changes the photo's colors and shapes
    least; adain ignores how features vary together, so is weaker; whiten takes the photo's own statistics away and puts
    nothing in their place, so needs no style: best seen at one level (--levels 4 --alpha 1 --shrinkage 0)."""

    shrinkage: Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint=PRESETS_OWN)] = None
    """From 0 to 1: how much faint variation in the photo is kept from being blown up to the style's full strength;
    0 is the paper's method, more keeps skies and skin plain."""

    def resolve(self) -> Preset:
        """The preset with the replacements, its levels from deep to shallow; raises ValueError for bad ones."""
        preset = PRESETS[self.preset]
        levels = preset.levels if self.levels is None else self.levels
        if not levels or len(set(levels)) != len(levels):
            raise ValueError(f"--levels must name levels, each once, not {list(levels)}")
        for level in levels:
            check_level(level)
        style_size = preset.style_size if self.style_size is None else self.style_size
        check_size("--style-size", style_size)
        shrinkage = preset.shrinkage if self.shrinkage is None else self.shrinkage
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"--shrinkage must lie between 0 and 1, not {shrinkage:g}")
        strengths = dict(sorted(zip(levels, self._alphas(levels), strict=True), reverse=True))
        transform = self.transform or preset.transform
        return Preset(tuple(strengths), tuple(strengths.values()), style_size, transform, shrinkage)

    def _alphas(self, levels: tuple[int, ...]) -> tuple[float, ...]:
        """One alpha a level: as given, or the preset's; levels that it lacks take that of its deepest."""
        preset = PRESETS[self.preset]
        if self.alpha is None:
            strengths = dict(zip(preset.levels, preset.alpha, strict=True))
            return tuple(strengths.get(level, preset.alpha[0]) for level in levels)
        for alpha in self.alpha:
            if not 0 <= alpha <= 1:
                raise ValueError(f"--alpha must lie between 0 and 1, not {alpha:g}")
        if len(self.alpha) not in (1, len(levels)):
            raise ValueError(f"--alpha must be one number or {len(levels)}, one a level, not {len(self.alpha)}")
        return self.alpha * (len(levels) // len(self.alpha))
