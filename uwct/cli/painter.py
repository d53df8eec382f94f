"""What happens behind the page of `uwct web`: a photo, styles and strengths go in, a picture comes out."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from uwct.cli.encoding import encode_file
from uwct.cli.masks import resized
from uwct.cli.sizes import check_memory
from uwct.networks.model import Model, backbone
from uwct.pictures import images
from uwct.pictures.spaces import own_space
from uwct.pipeline import colors
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import Region, resolve
from uwct.pipeline.photo import color_maps, mapped, small_shape
from uwct.pipeline.presets import REFINE_STEPS, Preset
from uwct.pipeline.refine import check_loss, refinements
from uwct.pipeline.styles import Style
from uwct.pipeline.whole import finished
from uwct.pipeline.whole import painted as painted_whole
from uwct.transforms.matching import TRANSFORMS
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
      refine: whether the picture is then refined (see pipeline/refine.py).
      photographic: whether it stays a photograph (see pipeline/photo.py).
    """

    photo: Path
    styles: dict[Path, float]
    strengths: dict[int, float]
    keep_colors: KeepColors | None = None
    painted: np.ndarray | None = None
    keep_painted: bool = True
    refine: bool = False
    photographic: bool = False


@dataclasses.dataclass(frozen=True)
class Stage:
    """How far a picture is: how many steps of how many are done, and what makes it as it is then."""

    done: int
    total: int
    picture: Callable[[], images.Picture]


class Painter:
    """A model, and the styles that it has encoded, so that each is encoded once.

    `size` is the largest long side of a result in pixels, 0 for that of the photo.
    """

    def __init__(self, model: Model, size: int) -> None:
        self.model, self.size = model, size
        self._encoded = functools.lru_cache(maxsize=256)(self._encode)
        self._vgg = functools.cache(lambda: backbone("vgg16").replace(dtype=model.dtype))

    def paint(self, wish: Wish) -> images.Picture:
        """The picture, with the photo's alpha and colour profile; raises ValueError or OSError for a wish without."""
        for stage in self.stages(wish):
            last = stage
        return last.picture()

    def stages(self, wish: Wish) -> Iterator[Stage]:
        """The picture when it is painted, and then after every step of refinement, if any is wished for."""
        check(wish)
        picture = self.fitted(wish.photo)
        small = images.resize(picture, small_shape(picture.rgb.shape)) if wish.photographic else picture
        photo: Any = small.rgb  # of NumPy, so that it is painted in its bucket
        visible: Any = small.alpha
        vgg = self._vgg() if wish.refine else None
        matched = moments(photo, visible) if wish.keep_colors == "matched" else None
        encode = self._encoded if matched is None else self._encode
        space = own_space(picture.icc_profile)
        styles = [encode(path, vgg is not None, matched, space) for path in wish.styles]
        strengths = {level: alpha for level, alpha in sorted(wish.strengths.items(), reverse=True) if alpha}
        region = Region(None, styles, list(wish.styles.values()))
        if wish.painted is not None and wish.painted.any():
            painted = jnp.asarray(resized(wish.painted, (photo.shape[0], photo.shape[1])))
            region = region.replace(mask=1 - painted if wish.keep_painted else painted)
        levels = tuple(strengths)
        parts = resolve(self.model, [region], levels, tuple(strengths.values())).replace(visible=visible)

        def done(rgb: Any) -> images.Picture:
            rgb = finished(rgb, photo, parts)
            rgb = colors.keep_chroma(rgb, photo) if wish.keep_colors == "luminance" else rgb
            if wish.photographic:
                rgb = mapped(jnp.asarray(picture.rgb), color_maps(photo, rgb, visible))
            return dataclasses.replace(picture, rgb=np.asarray(rgb))

        rgb = painted_whole(self.model, photo, parts, Settings(levels, REST.shrinkage, TRANSFORMS[REST.transform]))
        yield Stage(0, REFINE_STEPS if vgg else 0, lambda: done(rgb))
        for step in refinements(vgg, rgb, photo, parts, levels, REFINE_STEPS) if vgg else ():
            check_loss(step)
            yield Stage(step.number, step.total, lambda step=step: done(step.picture()))  # type: ignore[misc]

    def fitted(self, path: Path) -> images.Picture:
        """The photo, made smaller where it is larger than results are to be."""
        picture = images.decode(path.read_bytes(), path.name)
        height, width = picture.rgb.shape[:2]
        shape = images.fitted((height, width), min(self.size, max(height, width)))
        check_memory(path.name, "--size", *shape, self.model.config)
        return images.resize(picture, shape)

    def _encode(self, path: Path, refine: bool, matched: Moments | None, space: bytes | None) -> Style:
        vgg = self._vgg() if refine else None
        return encode_file(path, self.model, REST.style_size, vgg=vgg, colors=matched, profile=space)


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
