"""What happens behind the page of `uwct web`: a photo, styles and strengths go in, a picture comes out."""

import dataclasses
import functools
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
from PIL import Image

from uwct import colors, images
from uwct.cli.encoding import encode_file
from uwct.cli.sizes import check_memory
from uwct.model import Model
from uwct.presets import TRANSFORMS, Preset
from uwct.regions import Region, stylize_regions
from uwct.transfer import Style, stylize

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
        matched = photo if wish.keep_colors == "matched" else None
        styles = [self._encoded(path) if matched is None else self._encode(path, matched) for path in wish.styles]
        weights = list(wish.styles.values())
        strengths = {level: alpha for level, alpha in sorted(wish.strengths.items(), reverse=True) if alpha}
        levels, alpha = tuple(strengths), tuple(strengths.values())
        transform, shrinkage = TRANSFORMS[REST.transform], REST.shrinkage
        if wish.painted is None or not wish.painted.any():
            rgb = stylize(
                self.model, photo, styles, levels, alpha, weights=weights, transform=transform, shrinkage=shrinkage
            )
        else:
            # Bilinear, since Lanczos would ring beside an edge.
            mask = Image.fromarray(wish.painted.astype(np.float32))
            mask = mask.resize((photo.shape[1], photo.shape[0]), Image.Resampling.BILINEAR)
            painted = jnp.clip(jnp.asarray(np.asarray(mask)), 0, 1)
            region = Region(1 - painted if wish.keep_painted else painted, styles, weights, alpha)
            rgb = stylize_regions(self.model, photo, [region], levels, transform=transform, shrinkage=shrinkage)
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

    def _encode(self, path: Path, photo: jnp.ndarray | None = None) -> Style:
        return encode_file(path, self.model, REST.style_size, photo=photo)


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
