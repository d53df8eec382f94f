"""Compiling for a photo's size while its style is being encoded: one program alone leaves cores idle."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from uwct import images, strips
from uwct.model import Model
from uwct.presets import Preset
from uwct.statistics import Moments
from uwct.transfer import Style, stylize

# Beyond so many pixels, painting takes longer than compiling: a picture painted for nothing costs more than it saves.
MOST_PIXELS = 2**20


@contextmanager
def compiling(
    model: Model, content: Path, long_side: int, styles: int, look: Preset, how: dict[str, Any]
) -> Iterator[None]:
    """While the context lasts, paints a black picture of a photo's size, so that all that it needs is compiled."""
    shape = None
    if content != images.STANDARD:
        with suppress(ValueError, OSError):  # what is wrong with a photo is said when it is read
            shape = strips.shape(content)
    height, width = images.fitted(shape or (1, 1), long_side)
    if shape is None or height * width > MOST_PIXELS:
        yield
        return
    black, plain = jnp.zeros((height, width, 3)), [plain_style(model)] * styles
    with ThreadPoolExecutor(1) as pool:  # what may fail there will fail again when the photo is painted
        pool.submit(stylize, model, black, plain, look.levels, look.alpha, **how)
        yield


def plain_style(model: Model) -> Style:
    """A style of mean 0 and covariance I at every level."""
    widths = {level: model.config.encoder(level)[1][level - 1][0] for level in model.config.encoded_levels}
    return Style({lv: Moments(jnp.asarray(2.0), jnp.zeros(width), jnp.eye(width)) for lv, width in widths.items()})
