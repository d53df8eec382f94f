"""What one photo becomes in a look, in memory: how the commands paint that lay many results out."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.images import Picture
from uwct.pipeline import photo, refine, whole
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import resolve
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style
from uwct.transforms.matching import TRANSFORMS


@dataclasses.dataclass(frozen=True)
class Painter:
    """What photos are painted with.

    Attributes:
      model: encoder and decoders.
      vgg: what refines a result in so many `steps`, or None.
      photographic: whether it stays a photograph (see pipeline/photo.py).
    """

    model: Model
    vgg: Model | None
    steps: int
    photographic: bool

    def paint(
        self, picture: Picture, styles: Sequence[Style], look: Preset, weights: Sequence[float] | None = None
    ) -> Picture:
        """The photo in the manner of styles, mixed by `weights`, not clipped; what is transparent does not count."""
        small = images.resize(picture, photo.small_shape(picture.rgb.shape)) if self.photographic else picture
        content, visible = jnp.asarray(small.rgb), None if small.alpha is None else jnp.asarray(small.alpha)
        parts = resolve(self.model, styles, look.levels, look.alpha, weights).replace(visible=visible)
        settings = Settings(look.levels, look.shrinkage, TRANSFORMS[look.transform])
        rgb = whole.painted(self.model, content, parts, settings)
        if self.vgg:
            rgb = refine.refined(self.vgg, rgb, content, parts, look.levels, self.steps)
        if self.photographic:
            rgb = photo.mapped(jnp.asarray(picture.rgb), photo.color_maps(content, rgb, visible))
        return dataclasses.replace(picture, rgb=np.asarray(rgb))
