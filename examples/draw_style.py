"""Draws examples/style.jpg: brush strokes along a swirling flow field. Run: python examples/draw_style.py

The picture is ours, made for trying style transfer: saturated complementary colours, strokes of several sizes.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 512
SCALE = 2  # drawn larger and reduced, for smooth edges
# Night blues, teal, gold, orange and cream, from the darkest to the lightest.
PALETTE = np.array(
    [
        [16, 24, 66],
        [24, 54, 120],
        [34, 98, 158],
        [54, 148, 160],
        [206, 142, 38],
        [240, 178, 52],
        [232, 106, 44],
        [250, 228, 168],
    ]
)


def smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Noise [SIZE, SIZE] that varies over a grid of cells x cells, scaled to [0, 1]."""
    grid = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    values = np.asarray(grid.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return (values - values.min()) / (values.max() - values.min())


def flow(rng: np.random.Generator) -> np.ndarray:
    """The direction of the strokes [SIZE, SIZE, 2]: around a few vortices, disturbed by noise."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    field = np.stack([0.6 + 0 * x, 0.2 * np.sin(x / 60)], axis=-1)
    for _ in range(7):
        cx, cy = rng.uniform(0, SIZE, 2)
        radius, sign = rng.uniform(50, 120), rng.choice([-1, 1])
        pull = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))[..., None]
        field += sign * 3 * pull * np.stack([-(y - cy), x - cx], axis=-1) / radius
    angle = 0.8 * (smooth_noise(rng, 16) - 0.5)
    (dx, dy), cos, sin = np.moveaxis(field, -1, 0), np.cos(angle), np.sin(angle)
    turned = np.stack([dx * cos - dy * sin, dx * sin + dy * cos], axis=-1)
    return turned / np.linalg.norm(turned, axis=-1, keepdims=True)


def draw(seed: int = 3) -> Image.Image:
    """Strokes from broad to fine; each follows the flow and carries a colour near that of its place."""
    rng = np.random.default_rng(seed)
    directions, tone = flow(rng), smooth_noise(rng, 7)
    tone = np.argsort(np.argsort(tone.ravel())).reshape(tone.shape) / tone.size  # every colour gets its area
    canvas = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), tuple(PALETTE[0]))
    pen = ImageDraw.Draw(canvas)
    for width, length, count in ((16, 60, 1500), (9, 45, 4500), (5, 36, 7000), (2.5, 24, 4000)):
        for _ in range(count):
            x, y = rng.uniform(-length / 2, SIZE + length / 2, 2)
            row, column = np.clip([int(y), int(x)], 0, SIZE - 1)
            place = tone[row, column] + rng.normal(0, 0.08)
            color = PALETTE[int(np.clip(place, 0, 0.999) * len(PALETTE))] * rng.uniform(0.8, 1.2) + rng.normal(0, 8, 3)
            points = []
            for _ in range(int(length / 3)):
                points.append((x * SCALE, y * SCALE))
                dx, dy = directions[row, column]
                x, y = x + 3 * dx, y + 3 * dy
                row, column = np.clip([int(y), int(x)], 0, SIZE - 1)
            fill = tuple(int(value) for value in np.clip(color, 0, 255))
            pen.line(points, fill=fill, width=round(width * SCALE), joint="curve")
            for end in (points[0], points[-1]):
                r = width * SCALE / 2 - 0.5
                pen.ellipse([end[0] - r, end[1] - r, end[0] + r, end[1] + r], fill=fill)
    return canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw().save(Path(__file__).parent / "style.jpg", quality=92)
