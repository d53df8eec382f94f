"""The pipeline of transfer.py for pictures of any size, in bounded memory, with the same result.

At each level a first pass over windows of the picture merges the moments of their features; a second applies the one
affine map and decodes. Windows overlap by what the networks see around a pixel, and only their inner part, the tile,
counts. They are moved inside the picture where they would leave it, so that each layer's reflection happens at the true
border only. All windows have one shape, so that one compilation a level serves pictures of every size, and they are
spread over all local devices.
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

from uwct.affine import Affine
from uwct.canvas import Canvas
from uwct.model import Model
from uwct.statistics import Moments, merge, moments
from uwct.transfer import (
    COARSE_TO_FINE,
    STRIDE,
    Precision,
    Style,
    Transform,
    Weights,
    check_health,
    check_strengths,
    computing_in,
    decode_mapped,
    encode_styles,
    exact,
    finite,
    level_map,
    pool,
)
from uwct.transforms import wct
from uwct.vgg import encoder_layers, stride

# Calls progress(windows done, windows in all).
Progress = Callable[[int, int], None]


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
    style: Style | Array | Sequence[Style | Array],
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: float | Array | Sequence[float] = 0.6,
    *,
    folder: Path,
    window: int = 1024,
    weights: Weights | None = None,
    transform: Transform = wct,
    shrinkage: float = 0.0,
    precision: Precision = "float32",
    progress: Progress = lambda done, total: None,
) -> Canvas:
    """What `transfer.stylize` gives, for a content on a canvas of three channels, as a canvas in `folder`.

    `window` is the height and width in pixels of what is computed at once; smaller takes less memory and more time. The
    other arguments and errors are those of `transfer.stylize`; ValueError also for a window that leaves no tile.
    """
    model.check_levels(tuple(levels))
    styles = encode_styles(model, style, precision=precision)
    shares, alphas = check_strengths(len(styles), weights, levels, alpha)
    models = [jax.device_put(model, device) for device in jax.local_devices()]
    plans = [[tiles(content.shape, level, window, halo) for halo in halos(model, level)] for level in levels]
    total, done = sum(len(plan) for plan_pair in plans for plan in plan_pair), 0
    picture = content
    steps = zip(levels, shares, alphas, plans, strict=True)
    for number, (level, share, strength, (to_analyse, to_paint)) in enumerate(steps):
        painted = Canvas.create(folder / f"{number % 2}.raw", content.shape)
        targets, found = [s.moments[level] for s in styles], None
        with computing_in(precision):
            analyse = partial(_analyse, level=level, precision=precision)
            for _, part in _each(models, picture, to_analyse, analyse):
                found = part if found is None else _merge(found, part)
                progress(done := done + 1, total)
            merged = jax.tree.map(jnp.asarray, found)
            affine = level_map(merged, targets, share, strength, shrinkage, transform=transform)
            healthy = finite(targets, merged, affine)
            paint = partial(_paint, level=level)
            for (rows, columns), output in _each(models, picture, to_paint, paint, affine):
                check_health([(level, (*healthy, np.isfinite(output).all()))])
                inner = output[_inside(rows, content.shape[0]), _inside(columns, content.shape[1])]
                painted.write(rows.first, columns.first, inner)
                progress(done := done + 1, total)
        picture = painted
    return picture


def _analyse(model: Model, picture: Array, rows: Array, columns: Array, *, level: int, precision: Precision) -> Moments:
    """The moments of a window's features, under pixel weights that are outer products of `rows` and `columns`."""
    weights = pool(rows[:, None] * columns, level)
    return moments(exact(model.encode(picture, level)[-1], precision), weights)


def _paint(model: Model, picture: Array, rows: Array, columns: Array, affine: Affine, *, level: int) -> Array:
    """A window through encoder, map and decoder."""
    return decode_mapped(model, affine, model.encode(picture, level)[-1], level).astype(jnp.float32)


def _merge(a: Moments, b: Moments) -> Moments:
    """In float64, since float32 does not count pixels beyond 16 million."""
    with jax.enable_x64(True):
        both = (jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), m) for m in (a, b))
        return jax.tree.map(np.asarray, merge(*both))


def _each(
    models: list[Model], picture: Canvas, plan: list[Tile], function: Callable[..., Any], *rest: Any
) -> Iterator[tuple[Tile, Any]]:
    """Every tile of a plan and the function of its window, as NumPy arrays; as many at once as there are devices."""
    spread = [jax.device_put(rest, next(iter(jax.tree.leaves(model.params)[0].devices()))) for model in models]
    for i in range(0, len(plan), len(models)):
        group = plan[i : i + len(models)]
        running = [
            function(model, *_window(picture, tile), *more)
            for model, more, tile in zip(models, spread, group, strict=False)
        ]
        for tile, result in zip(group, running, strict=True):
            yield tile, jax.tree.map(np.asarray, result)


def _window(picture: Canvas, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels of a window, and the weights of its rows and columns: 1 in the tile and the picture, else 0."""
    indices, weights = [], []
    for span, size in zip(tile, picture.shape[:2], strict=True):
        # As transfer.pad_to_stride does: reflection below and to the right, of weight 0.
        padded = np.pad(np.arange(size), (0, -size % STRIDE), mode="reflect")
        pixels = np.arange(span.start, span.stop)
        indices.append(padded[span.start : span.stop])
        weights.append(((span.first <= pixels) & (pixels < min(span.last, size))).astype(np.float32))
    return picture.read(*indices), weights[0], weights[1]


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
