"""Refinement of pictures of any size by windows, in bounded memory, with the result of `refine`.

What lies on disk: the picture, the photo, the share of each part, and what Adam remembers of each pixel. A step goes
over all windows twice (see refine.py), then once over all rows.

Contract: pictures and masks are canvases, as in windows.py. All files lie in `folder`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from uwct.networks.config import stride
from uwct.networks.model import Model
from uwct.pictures.canvas import Canvas
from uwct.pipeline.manner import OCTAVES, doubled
from uwct.pipeline.parts import Parts, shares_of
from uwct.pipeline.presets import REFINE_STEPS
from uwct.pipeline.refine import (
    SHAPES,
    Goal,
    Seen,
    Step,
    at,
    loss_of,
    moved,
    schedule,
    see,
    shapes_of,
    wanted,
)  # fmt: skip
from uwct.pipeline.windows import ROWS, Progress, each, halos, tiles
from uwct.transforms.programs import quick_jit


def refinements(
    vgg: Model,
    picture: Canvas,
    content: Canvas | None,
    parts: Parts,
    levels: Sequence[int],
    steps: int = REFINE_STEPS,
    *,
    folder: Path,
    window: int = 512,
    progress: Progress = lambda done, total: None,
) -> Iterator[Step]:
    """What `refine.refinements` gives, its pictures as canvases; `progress` counts the windows of a step.

    A step's picture can be had until the next step is asked for.

    Raises ValueError also for a window that leaves no tile.
    """
    height, width, _ = picture.shape
    plan = schedule(steps, (height, width), "reflect")
    unit = stride(5) << max(plan)
    sides = (height + -height % unit, width + -width % unit)
    now = padded(picture, sides, folder / "refined.raw")
    layers = [shares_canvas(parts, (height, width), sides, folder)]
    layers += [padded(content, sides, folder / "photo.raw")] if content else []
    number = 0
    for halvings, count in plan.items():
        goal = Goal(*wanted(vgg, parts, levels, halvings), [], None)
        start, *others = (coarser(x, halvings, folder / f"scale{i}.raw") for i, x in enumerate((now, *layers)))
        for loss, last in descend(vgg, start, others, goal, count, folder, window, progress):
            number += 1

            def result(last: Canvas = last, halvings: int = halvings, start: Canvas = start) -> Canvas:
                whole = added(now, start, last, halvings, folder / "result.raw")
                return cut(whole, (height, width), folder / "cut.raw")

            yield Step(number, steps, loss, result)
        if number < steps:
            added(now, start, last, halvings, now.path)


def padded(canvas: Canvas, sides: tuple[int, int], path: Path) -> Canvas:
    """A canvas continued by reflection below and to the right."""
    rows, columns = (
        np.pad(np.arange(n), (0, side - n), mode="reflect") for n, side in zip(canvas.shape[:2], sides, strict=True)
    )
    result = Canvas.create(path, (*sides, canvas.shape[2]))
    for top in range(0, sides[0], ROWS):
        result.write(top, 0, canvas.read(rows[top : top + ROWS])[:, columns])
    return result


def cut(canvas: Canvas, sides: tuple[int, int], path: Path) -> Canvas:
    """The upper left of a canvas."""
    result = Canvas.create(path, (*sides, canvas.shape[2]))
    for top in range(0, sides[0], ROWS):
        result.write(top, 0, canvas.read(slice(top, min(top + ROWS, sides[0])))[:, : sides[1]])
    return result


def shares_canvas(parts: Parts, shape: tuple[int, int], sides: tuple[int, int], folder: Path) -> Canvas:
    """How far every pixel counts for each part, a channel each; 0 in the padding."""
    result = Canvas.create(folder / "shares.raw", (*sides, len(parts.all)))
    for top in range(0, shape[0], ROWS):
        rows = slice(top, min(top + ROWS, shape[0]))
        masks = [jnp.asarray(mask.read(rows)[..., 0]) for mask in parts.masks]
        shares = [np.ones((rows.stop - top, shape[1])) if s is None else np.asarray(s) for s in shares_of(masks)]
        visible = parts.visible.read(rows) if parts.visible else 1
        result.write(top, 0, np.stack(shares, -1) * visible)
    return result


def coarser(canvas: Canvas, halvings: int, path: Path) -> Canvas:
    """A canvas, or a copy of it, halved so often."""
    height, width, channels = canvas.shape
    result = Canvas.create(path, (height >> halvings, width >> halvings, channels))
    for top in range(0, height, ROWS):
        result.write(top >> halvings, 0, np.asarray(at(halvings, jnp.asarray(canvas.read(slice(top, top + ROWS))))))
    return result


def added(now: Canvas, start: Canvas, last: Canvas, halvings: int, path: Path) -> Canvas:
    """A picture with what changed from `start` to `last`, at a coarser scale: a new canvas, or the picture's own."""
    result = now if path == now.path else Canvas.create(path, now.shape)
    for top in range(0, now.shape[0], ROWS):
        bottom, more = min(top + ROWS, now.shape[0]), 1 if halvings else 0
        # One row more on either side, of which rows are interpolated; at the border there is none.
        first, stop = max(0, (top >> halvings) - more), (bottom >> halvings) + more
        change = jnp.asarray(last.read(slice(first, stop)) - start.read(slice(first, stop)))
        for _ in range(halvings):
            change = doubled(change)
        skip = top - (first << halvings)
        rows = slice(top, bottom)
        result.write(top, 0, now.read(rows) + np.asarray(change)[skip : skip + bottom - top])
    return result


def descend(
    vgg: Model,
    start: Canvas,
    layers: list[Canvas],
    goal: Goal,
    steps: int,
    folder: Path,
    window: int,
    progress: Progress,
) -> Iterator[tuple[Array, Canvas]]:
    """What `refine.descend` gives, of layers of shares and, if there is one, the photo."""
    picture = coarser(start, 0, folder / "picture.raw")
    average = coarser(start, 0, folder / "average.raw")
    first, second = (Canvas.create(folder / f"adam{i}.raw", start.shape) for i in (1, 2))
    level = max([*goal.alphas[0], *(SHAPES if len(layers) > 1 else ())])
    halo = max(halos(vgg, level)[0], 2 << OCTAVES)
    plan = tiles(start.shape, 5, window, halo)
    models = [jax.device_put(vgg, device) for device in jax.local_devices()]
    pixels = start.shape[0] * start.shape[1]
    for number in range(steps):
        done, total = 0, 2 * len(plan)
        found: Seen | None = None
        for _, seen in each(models, [picture, *layers], plan, _see, goal):
            found = seen if found is None else _sum(found, seen)
            progress(done := done + 1, total)
        assert found is not None
        loss, along = _loss_and_slope(jax.tree.map(np.float32, found), goal, float(pixels))
        gradient = Canvas.create(folder / "gradient.raw", start.shape)
        for (rows, columns), slope in each(models, [picture, *layers], plan, _slope, goal, along):
            there = gradient.read(slice(rows.start, rows.stop), slice(columns.start, columns.stop))
            gradient.write(rows.start, columns.start, there + slope)
            progress(done := done + 1, total)
        _move(picture, average, first, second, gradient, number)
        yield loss, average


def _sum(a: Seen, b: Seen) -> Seen:
    """In float64: float32 does not count pixels beyond 16 million."""
    total: Seen = jax.tree.map(lambda x, y: np.float64(x) + np.float64(y), a, b)
    return total


@quick_jit()
def _loss_and_slope(seen: Seen, goal: Goal, pixels: float) -> tuple[Array, Seen]:
    found: tuple[Array, Seen] = jax.value_and_grad(loss_of)(seen, goal, pixels)
    return found


@quick_jit()
def _see(vgg: Model, layers: list[Array], rows: Array, columns: Array, goal: Goal) -> Seen:
    picture, shares, *photo = layers
    tile = rows[:, None] * columns
    goal = goal.replace(shares=[tile * shares[..., part] for part in range(shares.shape[-1])])
    return see(vgg, picture, goal, shapes_of(vgg, photo[0]) if photo else None)


@quick_jit()
def _slope(vgg: Model, layers: list[Array], rows: Array, columns: Array, goal: Goal, along: Seen) -> Array:
    """The gradient with respect to a window of what its sums add to the loss."""

    def added(picture: Array) -> Array:
        seen = _see(vgg, [picture, *layers[1:]], rows, columns, goal)
        return jnp.stack(jax.tree.leaves(jax.tree.map(jnp.vdot, along, seen))).sum()

    return jax.grad(added)(layers[0])


def _move(picture: Canvas, average: Canvas, first: Canvas, second: Canvas, gradient: Canvas, number: int) -> None:
    """One step of Adam, in place."""
    count = jnp.asarray(number, jnp.int32)
    for top in range(0, picture.shape[0], ROWS):
        rows = slice(top, top + ROWS)
        now, mean, mu, nu, slope = (jnp.asarray(x.read(rows)) for x in (picture, average, first, second, gradient))
        slope = slope * (picture.shape[0] * picture.shape[1])
        now, mean, state = moved(now, mean, optax.ScaleByAdamState(count, mu, nu), slope, number)
        for canvas, values in zip((picture, average, first, second), (now, mean, state.mu, state.nu), strict=True):
            canvas.write(top, 0, np.asarray(values))
