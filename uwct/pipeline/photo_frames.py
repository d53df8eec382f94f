"""Clips that stay films: color maps (see photo.py) that change no faster than smoothed moments do.

Contract: that of `frames.py`.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from uwct.pipeline.frames import colors_of, is_cut, smooth
from uwct.pipeline.photo import maps_of, windowed
from uwct.transforms.affine import Affine
from uwct.transforms.statistics import Moments


class Glance(struct.PyTreeNode):
    """What of the frames before is still needed.

    Attributes:
      colors: `[1024, 3]`, those of the last frame (see `frames.colors_of`).
      windows: of its scene so far, photo and stylized picture together (see `photo.windowed`).
    """

    colors: Array
    windows: Moments


@jax.jit
def follow_maps(frame: Array, stylized: Array, before: Glance | None, temporal: float | Array) -> tuple[Affine, Glance]:
    """The color maps of the small copy `[h, w, 3]` or `[h, w, 4]` of a frame, and what the next one needs.

    In each window the moments of the frames of its scene so far are united, each counting `temporal` times as much as
    the one after it.
    """
    weights = frame[..., 3] if frame.shape[-1] == 4 else None
    colors = colors_of(frame[..., :3] if weights is None else frame[..., :3] * weights[..., None])
    windows = windowed(frame[..., :3], stylized, weights)
    if before is not None:
        keep = jnp.where(is_cut(before.colors, colors), 0.0, temporal)
        windows = jax.tree.map(
            lambda x: x[0], smooth(before.windows, jax.tree.map(lambda x: x[None], windows), keep[None])
        )
    return maps_of(windows), Glance(colors, windows)
