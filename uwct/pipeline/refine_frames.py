"""Refinement of clips: each frame goes on from the brushwork of the last, so that it does not boil.

Contract: that of `frames.py`.
"""

from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from uwct.networks.model import Model
from uwct.pipeline.frames import colors_of, is_cut
from uwct.pipeline.parts import Parts
from uwct.pipeline.refine import STEPS, refined
from uwct.pipeline.whole import finished

FOLLOWING = 0.25  # of the steps of a scene's first frame, for each that follows
SAME = 0.03  # by how much colors of two frames may differ for what is painted there to be kept, for the most part


def refine_frames(
    vgg: Model, pairs: Iterable[tuple[Array, Array]], parts: Parts, levels: Sequence[int], steps: int = STEPS
) -> Iterator[Array]:
    """Each frame `[H, W, 3]` of a clip, stylized and refined, of pairs of the frame and the frame stylized.

    Where a frame shows what the last one did, it takes along what refining changed there. A scene's first frame takes
    `steps`, the others a quarter of them. Raises what `refine.refined` raises.
    """
    last = None
    for frame, stylized in pairs:
        start, count = stylized, steps
        if last is not None and not is_cut(colors_of(last[0]), colors_of(frame)):
            start, count = carried(stylized, frame, *last), max(1, round(FOLLOWING * steps))
        picture = refined(vgg, start, frame, parts, levels, count)
        last = (frame, picture - stylized)
        yield finished(picture, frame, parts)


@jax.jit
def carried(stylized: Array, frame: Array, before: Array, change: Array) -> Array:
    """A stylized frame with what refining changed in the frame before, where both frames are the same."""
    apart = jnp.square(frame - before).mean(-1, keepdims=True)
    return stylized + jnp.exp(-apart / SAME**2) * change
