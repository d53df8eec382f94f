"""Styles from files: pictures, which are encoded, and what was encoded before."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uwct.cli.masks import read_style_mask
from uwct.cli.sizes import sized
from uwct.cli.styles import Styles
from uwct.files import is_style
from uwct.networks.model import Model
from uwct.pictures.images import Picture
from uwct.pictures.spaces import in_space, own_space
from uwct.pipeline.style_files import load_style
from uwct.pipeline.style_pool import style_of_picture
from uwct.pipeline.styles import Style
from uwct.transforms.statistics import Moments


def encode_files(
    styles: Styles,
    paths: Sequence[Path],
    model: Model,
    long_side: int,
    vgg: Model | None = None,
    colors: Moments | None = None,
    profile: bytes | None = None,
    *,
    levels: Sequence[int] | None = None,
) -> list[Style]:
    """The styles of the files `paths`, with the masks that the options name; the rest is as for `encode_file`."""
    masks = styles.style_mask or [None] * len(paths)
    return [
        encode_file(path, model, long_side, mask, vgg, colors, profile, levels=levels)
        for path, mask in zip(paths, masks, strict=True)
    ]


def encode_file(
    path: Path,
    model: Model,
    long_side: int,
    mask: Path | None = None,
    vgg: Model | None = None,
    colors: Moments | None = None,
    profile: bytes | None = None,
    *,
    levels: Sequence[int] | None = None,
) -> Style:
    """The style in a style file, or of a picture at a long side in pixels (0: its own), at all levels or those given.

    With `vgg` it can be refined towards. What is transparent does not count. A picture may count only where a mask is
    white, and be given the colors of a photo first, by their moments; raises ValueError where a style file is to, and
    for a picture of which nothing counts. Colors are those of the space of a photo's `profile`; style files have
    sRGB's.
    """
    if is_style(path):
        if mask or colors is not None:
            raise ValueError(f"{path} is a style file; --style-mask and --keep-colors matched need style pictures")
        if own_space(profile):
            print(f"{path} is of sRGB, the photo not: give the style's picture for its true colors", file=sys.stderr)
        style = load_style(path, model)
        return style if vgg else style.replace(manners={})
    picture = read_style(path, model, long_side, profile)
    weights: Any = read_style_mask(mask, (picture.rgb.shape[0], picture.rgb.shape[1])) if mask else None
    return style_of_picture(picture, path, model, vgg=vgg, weights=weights, colors=colors, levels=levels)


def read_style(path: Path, model: Model, long_side: int, profile: bytes | None = None) -> Picture:
    """A style picture at a long side in pixels (0: its own), in the color space of a photo's profile."""
    _, picture = sized(path, "--style-size", long_side, model.config)
    return in_space(picture, profile)


def plain_style(model: Model) -> Style:
    """A style of mean 0 and covariance I at every level."""
    moments = {}
    for level in model.config.encoded_levels:
        width = model.config.encoder(level)[1][level - 1][0]
        # Of NumPy, which compiles nothing.
        numbers: Any = np.float32(2), np.zeros(width, np.float32), np.eye(width, dtype=np.float32)
        moments[level] = Moments(*numbers)
    return Style(moments)
