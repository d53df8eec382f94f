"""Refinement of clips: each frame goes on from the brushwork of the last, so that it does not boil.

Contract: that of `frames.py`.
"""

from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from uwct.networks.model import Model
from uwct.pipeline.frames import colors_of, is_cut, visible
from uwct.pipeline.parts import Parts
from uwct.pipeline.presets import REFINE_STEPS
from uwct.pipeline.refine import refined
from uwct.pipeline.whole import finished

FOLLOWING = 0.25  # of the steps of a scene's first frame, for each that follows
SAME = 0.03  # by how much colors of two frames may differ for what is painted there to be kept, for the most part


class Stroke(struct.PyTreeNode):
    """What of the frame before is still needed.

    Attributes:
      frame: `[H, W, 3]`, as it was seen: the colors of what is transparent by their alpha.
      change: `[H, W, 3]`, what refining did to it.
    """

    frame: Array
    change: Array


def refine_frames(
    vgg: Model,
    pairs: Iterable[tuple[Array, Array]],
    parts: Parts,
    levels: Sequence[int],
    steps: int = REFINE_STEPS,
) -> Iterator[Array]:
    """Each frame `[H, W, 3]` of a clip, stylized and refined, of pairs of the frame and the frame stylized.

    Where a frame shows what the last one did, it takes along what refining changed there. A scene's first frame takes
    `steps`, the others a quarter of them. Raises what `refine.refined` raises.
    """
    for picture, _ in follow_refined(vgg, pairs, parts, levels, steps):
        yield picture


def follow_refined(
    vgg: Model,
    pairs: Iterable[tuple[Array, Array]],
    parts: Parts,
    levels: Sequence[int],
    steps: int = REFINE_STEPS,
    last: Stroke | None = None,
) -> Iterator[tuple[Array, Stroke]]:
    """What `refine_frames` does after the frame before; with each picture what the next one takes along."""
    for frame, stylized in pairs:
        colors, seen = visible(frame, parts)
        shown = colors if seen.visible is None else colors * seen.visible[..., None]
        start, count = stylized, steps
        if last is not None and not is_cut(colors_of(last.frame), colors_of(shown)):
            start, count = carried(stylized, shown, last.frame, last.change), max(1, round(FOLLOWING * steps))
        picture = refined(vgg, start, colors, seen, levels, count)
        last = Stroke(shown, picture - stylized)
        yield finished(picture, colors, seen), last


@jax.jit
def carried(stylized: Array, frame: Array, before: Array, change: Array) -> Array:
    """A stylized frame with what refining changed in the frame before, where both frames are the same."""
    apart = jnp.square(frame - before).mean(-1, keepdims=True)
    return stylized + jnp.exp(-apart / SAME**2) * change
