"""Moving pictures: frame after frame in the manner of a style, without flicker.

A frame's own moments change with whatever comes into view; a map made of them alone changes all colors of the frame
with it, which is seen as flicker. Here the map of a frame is made of the moments of all frames of its scene so far,
each counting `temporal` times as much as the one after it. The rest is `transfer`, whose contract holds: frames are
float `[H, W, 3]` in [0, 1], results are float32 and not clipped.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, lax

from uwct.model import Model
from uwct.statistics import Moments, merge, moments
from uwct.transfer import (
    COARSE_TO_FINE,
    Style,
    Transform,
    Weights,
    check_health,
    check_picture,
    check_strengths,
    decode_mapped,
    encode_styles,
    finite,
    level_map,
    pad_to_stride,
    pool,
)
from uwct.transforms import wct

THUMBNAIL = 32  # pixels a side of the frame whose colors are compared
# Measured between successive frames: pans and noise stay below, cuts to other photographs lie above (see `is_cut`).
CUT = 0.05


class Past(struct.PyTreeNode):
    """What of the frames before is still needed.

    Attributes:
      colors: `[1024, 3]`, those of the last frame (see `colors_of`).
      moments: one a level in the order of the levels, of the content of the scene so far.
    """

    colors: Array
    moments: tuple[Moments, ...]


def stylize_frames(
    model: Model,
    frames: Iterable[np.ndarray],
    style: Style | Array | Sequence[Style | Array],
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: float | Array | Sequence[float] = 0.6,
    *,
    temporal: float = 0.9,
    batch: int = 1,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
) -> Iterator[np.ndarray]:
    """Gives the frames of a clip a style, one after the other; no more than a batch of them is held at a time.

    Args:
      frames: `[H, W, 3]` each, all of one size, in their order.
      temporal: in [0, 1), how much the frame before counts beside each frame; 0 treats every frame on its own.
      batch: how many frames are computed at once, which changes nothing but the speed.
    The other arguments, and what is raised, are those of `transfer.stylize`; a frame of another size than the first is
    a ValueError too.
    """
    if not 0 <= temporal < 1:
        raise ValueError(f"temporal must be at least 0 and less than 1, not {temporal:g}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    model.check_levels(tuple(levels))
    styles = encode_styles(model, style)
    shares, alphas = check_strengths(len(styles), weights, levels, alpha)
    past, source, shape = None, iter(frames), None
    while group := list(islice(source, batch)):
        for frame in group:
            shape = shape or frame.shape
            if frame.ndim != 3 or frame.shape != shape:
                raise ValueError(f"frames [H, W, 3] must all have the first one's shape {shape}, not {frame.shape}")
        # The last batch is filled up, so that nothing is compiled for another number of frames.
        whole = jnp.asarray(np.stack(group + [group[-1]] * (batch - len(group))))
        check_picture(whole)
        pictures, past = stylize_batch(
            model, whole, styles, past, levels, alphas,
            weights=shares, transform=transform, shrinkage=shrinkage, temporal=temporal,
        )  # fmt: skip
        yield from np.asarray(pictures)[: len(group)]


def stylize_batch(
    model: Model,
    frames: Array,
    styles: Sequence[Style],
    past: Past | None,
    levels: Sequence[int],
    alphas: Array,
    *,
    weights: Array,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
    temporal: float | Array,
) -> tuple[Array, Past]:
    """Successive frames `[N, H, W, 3]` of a clip after its past (None: these are its first): (pictures, new past).

    Pure; `alphas` has one number a level, `weights` a row of them, one a style. Raises FloatingPointError as `stylize`
    does.
    """
    height, width = frames.shape[-3:-1]
    colors = colors_of(frames)
    before = jnp.concatenate([past.colors[None] if past else colors[:1], colors[:-1]])
    keep = jnp.where(is_cut(before, colors), 0.0, temporal)
    pictures, scene, health = frames, [], []
    for i, level in enumerate(levels):
        padded, pixels = pad_to_stride(pictures)
        features = model.encode(padded, level)[-1]
        own = moments(features, pool(pixels, level))
        smoothed = smooth(past.moments[i] if past else jax.tree.map(lambda x: x[0], own), own, keep)
        targets = [style.moments[level] for style in styles]
        affine = level_map(smoothed, targets, weights[i], alphas[i], shrinkage, transform=transform)
        pictures = decode_mapped(model, affine, features, level)[:, :height, :width, :].astype(jnp.float32)
        scene.append(jax.tree.map(lambda x: x[-1], smoothed))
        health.append((level, (*finite(targets, smoothed, affine), *finite(pictures))))
    check_health(health)
    return pictures, Past(colors[-1], tuple(scene))


@jax.jit
def smooth(past: Moments, frames: Moments, keep: Array) -> Moments:
    """Exponential smoothing of moments over time: for each of `[N]` frames, those of the frames up to it.

    They are the moments of the past, of which every pixel counts `keep[N]`, united with those of the frame, of which
    every pixel counts 1 - keep. So the means are averaged, and so are the second moments about one point; keep 0
    forgets the past.
    """

    def step(past: Moments, frame: tuple[Moments, Array]) -> tuple[Moments, Moments]:
        own, kept = frame
        united = merge(_counting(past, kept), _counting(own, 1 - kept))
        return united, united

    _, smoothed = lax.scan(step, past, (frames, keep.astype(frames.mean.dtype)))
    return smoothed


def _counting(m: Moments, share: Array) -> Moments:
    """The moments of the same pixels, each with its weight multiplied."""
    return Moments(share * m.weight, m.mean, share * m.scatter)


@jax.jit
def colors_of(frames: Array) -> Array:
    """The colors of frames `[..., H, W, 3]`, not their places: a thumbnail's channels, sorted, `[..., 1024, 3]`."""
    shape = frames.shape[:-3]
    small = jax.image.resize(frames, (*shape, THUMBNAIL, THUMBNAIL, 3), "linear")
    return jnp.sort(small.reshape(*shape, -1, 3), axis=-2)


def is_cut(before: Array, after: Array) -> Array:
    """Whether a new scene begins between frames of these colors `[..., 1024, 3]`.

    That is where colors move by more than 0.05 on average, in the least way that makes one frame's of the other's: the
    Wasserstein distance, channel by channel. Motion hardly changes it. A cut to a scene of the same colors is missed,
    and matters little: its moments are like those before.
    """
    return jnp.abs(after - before).mean((-2, -1)) > CUT
