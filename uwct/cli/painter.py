"""What happens behind the page of `uwct web`: a photo, styles and strengths go in, a picture comes out."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from uwct.cli.masks import resized
from uwct.cli.sizes import check_memory
from uwct.cli.styles import encode_file
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pipeline import colors
from uwct.pipeline.parts import Region
from uwct.pipeline.presets import TRANSFORMS, Preset
from uwct.pipeline.styles import Style
from uwct.pipeline.whole import stylize
from uwct.transforms.statistics import Moments, moments

KeepColors = Literal["luminance", "matched"]
REST = Preset((), ())  # what the page leaves as all presets have it


@dataclasses.dataclass(frozen=True)
class Wish:
    """What somebody asks of the page.

    Attributes:
      photo: a file.
      styles: files of pictures, and the share of each in the mixture.
      strengths: the alpha of levels, in [0, 1]; 0 leaves a level out.
      keep_colors: as --keep-colors of `uwct stylize`.
      painted: `[H, W]` in [0, 1] of any size, 1 where a part of the photo was painted over; None, or 0 everywhere, for
        the whole photo.
      keep_painted: whether the painted part is left as it is; otherwise all but that is.
    """

    photo: Path
    styles: dict[Path, float]
    strengths: dict[int, float]
    keep_colors: KeepColors | None = None
    painted: np.ndarray | None = None
    keep_painted: bool = True


class Painter:
    """A model, and the styles that it has encoded, so that each is encoded once.

    `size` is the largest long side of a result in pixels, 0 for that of the photo.
    """

    def __init__(self, model: Model, size: int) -> None:
        self.model, self.size = model, size
        self._encoded = functools.lru_cache(maxsize=256)(self._encode)

    def paint(self, wish: Wish) -> images.Picture:
        """The picture, with the photo's alpha and colour profile; raises ValueError or OSError for a wish without."""
        check(wish)
        picture = self.fitted(wish.photo)
        photo = jnp.asarray(picture.rgb)
        matched = moments(photo) if wish.keep_colors == "matched" else None
        styles = [self._encoded(path) if matched is None else self._encode(path, matched) for path in wish.styles]
        weights = list(wish.styles.values())
        strengths = {level: alpha for level, alpha in sorted(wish.strengths.items(), reverse=True) if alpha}
        levels, alpha = tuple(strengths), tuple(strengths.values())
        region = Region(None, styles, weights)
        if wish.painted is not None and wish.painted.any():
            painted = jnp.asarray(resized(wish.painted, (photo.shape[0], photo.shape[1])))
            region = region.replace(mask=1 - painted if wish.keep_painted else painted)
        how: dict[str, Any] = {"transform": TRANSFORMS[REST.transform], "shrinkage": REST.shrinkage}
        rgb = stylize(self.model, photo, [region], levels, alpha, **how)
        if wish.keep_colors == "luminance":
            rgb = colors.keep_chroma(rgb, photo)
        return dataclasses.replace(picture, rgb=np.asarray(rgb))

    def fitted(self, path: Path) -> images.Picture:
        """The photo, made smaller where it is larger than results are to be."""
        picture = images.decode(path.read_bytes(), path.name)
        height, width = picture.rgb.shape[:2]
        shape = images.fitted((height, width), min(self.size, max(height, width)))
        check_memory(path.name, "--size", *shape, self.model.config)
        return images.resize(picture, shape)

    def _encode(self, path: Path, matched: Moments | None = None) -> Style:
        return encode_file(path, self.model, REST.style_size, colors=matched)


def check(wish: Wish) -> None:
    """Raises ValueError for numbers out of their range, or that leave nothing to do."""
    if not wish.styles:
        raise ValueError("Choose a style first: click a picture of the gallery, or add one.")
    for path, share in wish.styles.items():
        if not 0 <= share <= 1:
            raise ValueError(f"The share of {path.stem} must lie between 0 and 1, not {share:g}.")
    if not any(wish.styles.values()):
        raise ValueError("The shares of the styles must not all be 0.")
    for level, alpha in wish.strengths.items():
        if not 0 <= alpha <= 1:
            raise ValueError(f"The strength of level {level} must lie between 0 and 1, not {alpha:g}.")
    if not any(wish.strengths.values()):
        raise ValueError("All strengths are 0, which changes nothing; give one of them more.")
