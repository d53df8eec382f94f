"""Styles from the files that a command was given."""

from pathlib import Path

import jax.numpy as jnp
from jax import Array

from uwct.cli.regions import read_style_mask
from uwct.cli.sizes import sized
from uwct.colors import match_colors
from uwct.model import Model
from uwct.statistics import Moments
from uwct.styles import is_style, load_style
from uwct.transfer import Style, encode_style


def encode_file(
    path: Path, model: Model, long_side: int, mask: Path | None = None, photo: Array | None = None
) -> Style:
    """The style in a style file, or of a picture at a long side in pixels (0: its own).

    A picture may count only where a mask is white, and be given the colors of a photo first; raises ValueError where a
    style file is to.
    """
    if is_style(path):
        if mask or photo is not None:
            raise ValueError(f"{path} is a style file; --style-mask and --keep-colors matched need style pictures")
        return load_style(path, model)
    _, picture = sized(path, "--style-size", long_side, model.config)
    rgb = jnp.asarray(picture.rgb)
    if photo is not None:
        rgb = match_colors(rgb, photo)
    where = jnp.asarray(read_style_mask(mask, (rgb.shape[0], rgb.shape[1]))) if mask else None
    return encode_style(model, rgb, where)


def plain_style(model: Model) -> Style:
    """A style of mean 0 and covariance I at every level."""
    widths = {level: model.config.encoder(level)[1][level - 1][0] for level in model.config.encoded_levels}
    return Style({lv: Moments(jnp.asarray(2.0), jnp.zeros(width), jnp.eye(width)) for lv, width in widths.items()})
