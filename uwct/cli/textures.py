"""--texture: pictures out of noise, in one style, between styles, or on the way from one to another."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from uwct import images
from uwct.cli.options import Arguments
from uwct.cli.plan import beside
from uwct.cli.sizes import check_memory
from uwct.layers import Padding
from uwct.model import Model
from uwct.presets import Preset
from uwct.regions import synthesize_between
from uwct.transfer import Style, synthesize


def paint_textures(
    arguments: Arguments, look: Preset, model: Model, styles: list[Style], how: dict[str, Any], output: Path
) -> tuple[str, str]:
    """Writes a texture of the styles, or those of a way from style to style; returns their size, twice."""
    width, height = arguments.shape or (arguments.size or 512,) * 2
    check_memory("a texture", "--size", height, width, model.config)
    key = jax.random.key(arguments.seed)
    common = (model, styles, (height, width), key, look.levels, look.alpha)
    if arguments.gradient:
        del how["weights"]
        images.write(output, images.Picture(np.asarray(synthesize_between(*common, **how))))
        return (f"{width}x{height}",) * 2
    padding: Padding = "wrap" if arguments.seamless else "reflect"
    for number, weights in enumerate(way(len(styles), arguments.frames) if arguments.frames else [how["weights"]]):
        texture = synthesize(*common, **how | {"weights": weights, "padding": padding})
        name = beside(output, f"{number:03d}") if arguments.frames else output
        images.write(name, images.Picture(np.asarray(texture)))
    return (f"{width}x{height}",) * 2


def way(styles: int, frames: int) -> np.ndarray:
    """Weights `[frames, styles]` that go from the first style to the last, at an even pace."""
    at = np.linspace(0, styles - 1, frames)[:, None]
    return np.clip(1 - np.abs(at - np.arange(styles)), 0, 1)
