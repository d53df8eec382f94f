"""The options that say which styles are taken, shared by the commands that stylize; and styles from files."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro

from uwct.cli.look import NUMBERS
from uwct.cli.masks import read_style_mask
from uwct.cli.sizes import sized
from uwct.networks.model import Model
from uwct.pictures.images import Picture
from uwct.pictures.spaces import in_space, own_space
from uwct.pipeline.style_files import is_style, load_style
from uwct.pipeline.style_pool import style_of_picture
from uwct.pipeline.styles import Style
from uwct.transforms.statistics import Moments

Files = Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE [FILE ...]")]


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
        found = [[weight / sum(row) for weight in row] for row in rows]
        return found if len(found) > 1 else found[0] if found else None

    def check(self, levels: int) -> None:
        """Raises ValueError for weights and masks that do not fit the styles."""
        count, weights = len(self.paths), self.style_weights
        if weights and len(weights) not in (count, levels * count):
            many = f", or {levels * count} for {levels} levels" if levels > 1 else ""
            raise ValueError(f"{count} styles need as many --style-weights{many}, not {len(weights)}")
        for row in np.reshape(weights, (-1, count)) if weights else ():
            if row.min() < 0 or not 0 < row.sum() < np.inf:
                raise ValueError(f"--style-weights must not be negative, nor all 0, not {[float(x) for x in row]}")
        if self.style_mask and (len(self.style_mask) != count or any(path.is_dir() for path in self.paths)):
            raise ValueError(f"--style-mask needs one mask for each of {count} style pictures")

    def encode(
        self,
        paths: Sequence[Path],
        model: Model,
        long_side: int,
        vgg: Model | None = None,
        colors: Moments | None = None,
        profile: bytes | None = None,
    ) -> list[Style]:
        """The styles of files, which `paths` are of this mixture; the rest is as for `encode_file`."""
        masks = self.style_mask or [None] * len(paths)
        return [
            encode_file(path, model, long_side, mask, vgg, colors, profile)
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
) -> Style:
    """The style in a style file, or of a picture at a long side in pixels (0: its own).

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
    weights = jnp.asarray(read_style_mask(mask, (picture.rgb.shape[0], picture.rgb.shape[1]))) if mask else None
    return style_of_picture(picture, path, model, vgg=vgg, weights=weights, colors=colors)


def read_style(path: Path, model: Model, long_side: int, profile: bytes | None = None) -> Picture:
    """A style picture at a long side in pixels (0: its own), in the color space of a photo's profile."""
    _, picture = sized(path, "--style-size", long_side, model.config)
    return in_space(picture, profile)


def plain_style(model: Model) -> Style:
    """A style of mean 0 and covariance I at every level."""
    widths = {level: model.config.encoder(level)[1][level - 1][0] for level in model.config.encoded_levels}
    return Style({lv: Moments(jnp.asarray(2.0), jnp.zeros(width), jnp.eye(width)) for lv, width in widths.items()})
