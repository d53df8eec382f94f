"""Walks over pictures of any size by windows, in bounded memory, with the result of `whole`.

At each level a first pass over windows of the picture merges the moments of their features; a second applies the maps
and decodes. Windows overlap by what the networks see around a pixel, and only their inner part, the tile, counts. They
are moved inside the picture where they would leave it, so that each layer's reflection happens at the true border only.
All windows have one shape, so that one compilation a level serves pictures of every size, and they are spread over all
local devices.

Contract: pictures are canvases `[H, W, 3]` of floats in [0, 1], masks canvases `[H, W, 1]`. What needs a pixel's
neighbours, such as style swap, needs `whole`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.config import stride
from uwct.networks.model import Model
from uwct.networks.vgg import encoder_layers
from uwct.pictures.canvas import Canvas
from uwct.pipeline.level import COARSE_TO_FINE, Settings, apply, check_health, gather, maps_of
from uwct.pipeline.padding import STRIDE
from uwct.pipeline.parts import Parts, Strength, Wanted, Weights, kept, resolve, shares_of
from uwct.pipeline.styles import Precision, check_mask, computing_in
from uwct.transforms.affine import Affine
from uwct.transforms.matching import Transform, wct
from uwct.transforms.statistics import Moments, merge

# Calls progress(windows done, windows in all).
Progress = Callable[[int, int], None]
ROWS = 256  # of what is computed at once, where every pixel is by itself


@dataclasses.dataclass(frozen=True)
class Span:
    """A window along one axis, from `start` to before `stop`, of which the tile is from `first` to before `last`."""

    start: int
    stop: int
    first: int
    last: int


Tile = tuple[Span, Span]


def stylize(
    model: Model,
    content: Canvas,
    style: Wanted,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: Strength = 0.6,
    *,
    folder: Path,
    window: int = 1024,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float = 0.0,
    precision: Precision = "float32",
    progress: Progress = lambda done, total: None,
) -> Canvas:
    """What `whole.stylize` gives, for a content on a canvas of three channels, as a canvas in `folder`.

    The masks of regions are canvases of one channel. `folder`, `window` and `progress` are those of `stages`, the other
    arguments and errors those of `whole.stylize`.
    """
    parts = resolve(model, style, levels, alpha, weights, precision=precision)
    settings, picture = Settings(tuple(levels), shrinkage, transform, precision), content
    for _, painted in stages(model, content, parts, settings, folder=folder, window=window, progress=progress):
        picture = painted
    return finished(picture, content, parts, folder / "finished.raw")


def stages(
    model: Model,
    content: Canvas,
    parts: Parts,
    settings: Settings,
    *,
    folder: Path,
    window: int = 1024,
    progress: Progress = lambda done, total: None,
) -> Iterator[tuple[int, Canvas]]:
    """After each level: (level, the picture as a canvas in `folder`), which the level after next writes over.

    What `whole.stages` gives; the masks of the parts are canvases. `window` is the height and width in pixels of what
    is computed at once; smaller takes less memory and more time. Raises ValueError for a window that leaves no tile, a
    mask of another size, and patches; FloatingPointError as `whole.stylize` does.
    """
    if any(part.pattern is not None for part in parts.all):
        raise ValueError("patches are compared over the whole picture, which windows never see")
    for mask in parts.masks:
        check_mask(mask.shape[:2], content.shape[:2])
    models = [jax.device_put(model, device) for device in jax.local_devices()]
    plans = [[tiles(content.shape, level, window, halo) for halo in halos(model, level)] for level in settings.levels]
    total, done = sum(len(plan) for plan_pair in plans for plan in plan_pair), 0
    beside = [*parts.masks, *([parts.visible] if parts.visible else [])]
    layers = [content, *beside]
    for number, (level, (to_analyse, to_paint)) in enumerate(zip(settings.levels, plans, strict=True)):
        painted = Canvas.create(folder / f"{number % 2}.raw", content.shape)
        found: list[Moments] = []
        with computing_in(settings.precision):
            analyse = partial(_analyse, level=level, masks=len(parts.masks), settings=settings)
            for _, gathered in each(models, layers, to_analyse, analyse):
                found = [_merge(a, b) for a, b in zip(found, gathered, strict=True)] if found else gathered
                progress(done := done + 1, total)
            merged = jax.tree.map(jnp.asarray, found)
            maps, healthy = maps_of(merged, parts.all, number, settings)
            for (rows, columns), output in each(
                models, layers, to_paint, partial(_paint, level=level, masks=len(parts.masks)), maps
            ):
                check_health(level, (*healthy, np.isfinite(output).all()))
                inner = output[_inside(rows, content.shape[0]), _inside(columns, content.shape[1])]
                painted.write(rows.first, columns.first, inner)
                progress(done := done + 1, total)
        layers = [painted, *beside]
        yield level, painted


def finished(picture: Canvas, content: Canvas, parts: Parts, path: Path) -> Canvas:
    """What `whole.finished` gives, as a canvas at a path: the picture itself where no part keeps its pixels."""
    if not any(parts.keeps):
        return picture

    def composited(picture: np.ndarray, content: np.ndarray, *masks: np.ndarray) -> np.ndarray:
        share = kept(parts, [jnp.asarray(mask[..., 0]) for mask in masks])
        assert share is not None
        return picture + np.asarray(share)[..., None] * (content - picture)

    return pointwise(composited, path, picture, content, *parts.masks)


def pointwise(function: Callable[..., np.ndarray], path: Path, *canvases: Canvas) -> Canvas:
    """A canvas at a path of what a function makes of all pixels `[h, w, C]` of canvases of one size, each by itself."""
    result = Canvas.create(path, canvases[0].shape)
    for top in range(0, result.shape[0], ROWS):
        result.write(top, 0, function(*(canvas.read(slice(top, top + ROWS)) for canvas in canvases)))
    return result


def _analyse(
    model: Model, layers: list[Array], rows: Array, columns: Array, *, level: int, masks: int, settings: Settings
) -> list[Moments]:
    """The moments of a window's parts, under pixel weights that are outer products of `rows` and `columns`.

    Its layers are the picture, as many masks, and, where not all pixels count alike, how far they do.
    """
    picture, *beside = layers
    pixels = rows[:, None] * columns
    for visible in beside[masks:]:
        pixels = pixels * visible[..., 0]
    features = model.encode(picture, level)[-1]
    shares = shares_of([mask[..., 0] for mask in beside[:masks]])
    return gather(features, shares, pixels, level, settings.precision)


def _paint(
    model: Model,
    layers: list[Array],
    rows: Array,
    columns: Array,
    maps: list[Affine | None],
    *,
    level: int,
    masks: int,
) -> Array:
    """A window through encoder, maps and decoder."""
    picture, *beside = layers
    shares = shares_of([mask[..., 0] for mask in beside[:masks]])
    return apply(model, model.encode(picture, level)[-1], maps, shares, level).astype(jnp.float32)


def _merge(a: Moments, b: Moments) -> Moments:
    """In float64, since float32 does not count pixels beyond 16 million."""
    with jax.enable_x64(True):
        both = (jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), m) for m in (a, b))
        return jax.tree.map(np.asarray, merge(*both))


def each(
    models: list[Model], layers: list[Canvas], plan: list[Tile], function: Callable[..., Any], *rest: Any
) -> Iterator[tuple[Tile, Any]]:
    """Every tile of a plan and the function of its window, as NumPy arrays; as many at once as there are devices."""
    spread = [jax.device_put(rest, next(iter(jax.tree.leaves(model.params)[0].devices()))) for model in models]
    for i in range(0, len(plan), len(models)):
        group = plan[i : i + len(models)]
        running = [
            function(model, *_window(layers, tile), *more)
            for model, more, tile in zip(models, spread, group, strict=False)
        ]
        for tile, result in zip(group, running, strict=True):
            yield tile, jax.tree.map(np.asarray, result)


def _window(layers: list[Canvas], tile: Tile) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The pixels of a window of all layers, and the weights of its rows and columns: 1 in the tile and the picture."""
    indices, weights = [], []
    for span, size in zip(tile, layers[0].shape[:2], strict=True):
        # As pad_to_stride does: reflection below and to the right, of weight 0.
        padded = np.pad(np.arange(size), (0, -size % STRIDE), mode="reflect")
        pixels = np.arange(span.start, span.stop)
        indices.append(padded[span.start : span.stop])
        weights.append(((span.first <= pixels) & (pixels < min(span.last, size))).astype(np.float32))
    return [layer.read(*indices) for layer in layers], weights[0], weights[1]


def _inside(span: Span, size: int) -> slice:
    """Where in a window its tile lies, without what is padding."""
    return slice(span.first - span.start, min(span.last, size) - span.start)


def tiles(shape: tuple[int, ...], level: int, window: int, halo: int) -> list[Tile]:
    """The tiles that cover a picture `(height, width, ...)` at a level; raises ValueError when the halo leaves none."""
    rows, columns = (_spans(size + -size % STRIDE, level, window, halo) for size in shape[:2])
    return [(row, column) for row in rows for column in columns]


def _spans(size: int, level: int, window: int, halo: int) -> list[Span]:
    """Tiles of one axis whose size is a multiple of the stride."""
    window -= window % stride(level)
    if size <= window:
        return [Span(0, size, 0, size)]
    step = window - 2 * halo
    if step <= 0:
        raise ValueError(f"a window of {window} pixels is too small at level {level}: it must exceed {2 * halo}")
    spans = []
    for first in range(0, size, step):
        start = min(max(first - halo, 0), size - window)
        spans.append(Span(start, start + window, first, min(first + step, size)))
    return spans


def halos(model: Model, level: int) -> tuple[int, int]:
    """Pixels that the encoder, and that encoder and decoder together, see beyond a tile; multiples of the stride."""
    _, blocks = model.config.encoder(level)
    layers = [stride(block) for block, *_ in encoder_layers(blocks, level)]
    decoder = 0
    for step in layers:  # from the picture on; up-sampling takes whole squares
        decoder = -(-decoder // step) * step + step
    encoder = -(-sum(layers) // stride(level)) * stride(level)
    return encoder, encoder + decoder
