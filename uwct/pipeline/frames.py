"""Walks over clips, frame after frame, with statistics smoothed over time.

A frame's own moments change with whatever comes into view; a map made of them alone changes all colors of the frame
with it, which is seen as flicker. Here the map of a frame is made of the moments of all frames of its scene so far,
each counting `temporal` times as much as the one after it; so is that of every part. What the networks themselves make
of noise and of fine motion flickers as before (docs/video.md measures both).

Contract: that of `whole`. Frames are float `[H, W, 3]` in [0, 1], or `[H, W, 4]` with alpha last, by which pixels count
in statistics; results are float32 `[H, W, 3]` and not clipped.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, lax

from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE, Settings, apply, check_health, cropped, gather, maps_of
from uwct.pipeline.padding import pad_to_stride
from uwct.pipeline.parts import Parts, Strength, Wanted, Weights, resolve, shares_of
from uwct.pipeline.styles import check_mask, check_picture
from uwct.pipeline.whole import finished
from uwct.transforms.matching import Transform, wct
from uwct.transforms.statistics import Moments, merge

THUMBNAIL = 32  # pixels a side of the frame whose colors are compared
# Measured between successive frames: pans and noise stay below, cuts to other photographs lie above (see `is_cut`).
CUT = 0.05


class Past(struct.PyTreeNode):
    """What of the frames before is still needed.

    Attributes:
      colors: `[1024, 3]`, those of the last frame (see `colors_of`).
      moments: one a part, for each level in the order of the levels, of the content of the scene so far.
    """

    colors: Array
    moments: tuple[list[Moments], ...]


def stylize_frames(
    model: Model,
    frames: Iterable[np.ndarray],
    style: Wanted,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: Strength = 0.6,
    *,
    temporal: float = 0.9,
    batch: int = 1,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float | Array = 0.0,
) -> Iterator[np.ndarray]:
    """Gives the frames of a clip a style, one after the other; no more than a batch of them is held at a time.

    Args:
      frames: `[H, W, 3]` or `[H, W, 4]` each, all of one size, in their order.
      style: as in `whole.stylize`; the masks of regions lie over every frame.
      temporal: in [0, 1), how much the frame before counts beside each frame; 0 treats every frame on its own.
      batch: how many frames are computed at once, which changes nothing but the speed.
    The other arguments, and what is raised, are those of `whole.stylize`; a frame of another size than the first is a
    ValueError too.
    """
    if not 0 <= temporal < 1:
        raise ValueError(f"temporal must be at least 0 and less than 1, not {temporal:g}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    parts = resolve(model, style, levels, alpha, weights)
    settings = Settings(tuple(levels), shrinkage, transform)
    for picture, _ in follow(model, frames, parts, settings, temporal=temporal, batch=batch):
        yield picture


def follow(
    model: Model,
    frames: Iterable[np.ndarray],
    parts: Parts,
    settings: Settings,
    past: Past | None = None,
    *,
    temporal: float = 0.9,
    batch: int = 1,
) -> Iterator[tuple[np.ndarray, Past | None]]:
    """What `stylize_frames` does after a past: pictures, and with the last of each batch the past of what follows.

    So a walk can be broken off there, and taken up again with the same result.
    """
    source, first = iter(frames), None
    while group := list(islice(source, batch)):
        for frame in group:
            first = first or frame.shape
            if frame.ndim != 3 or frame.shape[2] not in (3, 4) or frame.shape[:2] != first[:2]:
                raise ValueError(
                    f"frames [H, W, 3] or [H, W, 4] must all have the first one's shape {first}, not {frame.shape}"
                )
        if any(frame.shape[2] == 4 for frame in group):
            group = [with_alpha(frame) for frame in group]
        # The last batch is filled up, so that nothing is compiled for another number of frames.
        whole, seen = visible(jnp.asarray(np.stack(group + [group[-1]] * (batch - len(group)))), parts)
        check_picture(whole)
        pictures, past = stylize_batch(model, whole, seen, past, settings, temporal=temporal)
        *others, last = np.asarray(pictures)[: len(group)]
        yield from ((picture, None) for picture in others)
        yield last, past


def with_alpha(frame: np.ndarray) -> np.ndarray:
    """A frame `[H, W, 3]` or `[H, W, 4]` as `[H, W, 4]`."""
    return frame if frame.shape[2] == 4 else np.dstack([frame, np.ones_like(frame[..., :1])])


def visible(frames: Array, parts: Parts) -> tuple[Array, Parts]:
    """The colors of frames `[..., 3]` or `[..., 4]`, and parts whose pixels count by their alpha."""
    return (frames, parts) if frames.shape[-1] == 3 else (frames[..., :3], parts.replace(visible=frames[..., 3]))


def stylize_batch(
    model: Model, frames: Array, parts: Parts, past: Past | None, settings: Settings, *, temporal: float | Array
) -> tuple[Array, Past]:
    """Successive frames `[N, H, W, 3]` of a clip after its past (None: these are its first): (pictures, new past).

    Pure; `parts.visible` is None or `[N, H, W]`. Raises ValueError for a mask of another size, FloatingPointError as
    `whole.stylize` does.
    """
    height, width = frames.shape[-3:-1]
    for mask in parts.masks:
        check_mask(jnp.shape(mask), (height, width))
    colors = colors_of(frames if parts.visible is None else frames * parts.visible[..., None])
    before = jnp.concatenate([past.colors[None] if past else colors[:1], colors[:-1]])
    keep = jnp.where(is_cut(before, colors), 0.0, temporal)
    shares = shares_of([pad_to_stride(jnp.asarray(mask)[..., None])[0][..., 0] for mask in parts.masks])
    seen = None if parts.visible is None else pad_to_stride(parts.visible[..., None])[0][..., 0]
    pictures, scene, health = frames, [], []
    for number, level in enumerate(settings.levels):
        padded, pixels = pad_to_stride(pictures)
        pixels = pixels if seen is None else seen if pixels is None else seen * pixels
        features = model.encode(padded, level)[-1]
        own = gather(features, shares, pixels, level, settings.precision)
        start = past.moments[number] if past else jax.tree.map(lambda x: x[0], own)
        smoothed = [smooth(a, b, keep) for a, b in zip(start, own, strict=True)]
        maps, healthy = maps_of(smoothed, parts.all, number, settings)
        pictures, sound = cropped(apply(model, features, maps, shares, level), height, width)
        scene.append(jax.tree.map(lambda x: x[-1], smoothed))
        health.append((level, (*healthy, sound)))
    for level, healthy in health:
        check_health(level, healthy)
    return finished(pictures, frames, parts), Past(colors[-1], tuple(scene))


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
