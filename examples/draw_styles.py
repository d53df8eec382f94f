"""Draws the pictures in examples/styles, all of them ours. Run: python examples/draw_styles.py

Five manners of painting to try style transfer with; each function returns RGB in [0, 1], `[SIZE, SIZE, 3]`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 512
SCALE = 2  # strokes are drawn larger and reduced, for smooth edges
Rng = np.random.Generator


def colors(*hexes: str) -> np.ndarray:
    """RGB in [0, 1], `[N, 3]`."""
    return np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in hexes]) / 255


def noise(rng: Rng, cells: int, size: int = SIZE) -> np.ndarray:
    """Smooth noise `[size, size]` that varies over a grid of cells x cells, scaled to [0, 1]."""
    grid = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    values = np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
    return (values - values.min()) / (values.max() - values.min())


def equalised(values: np.ndarray) -> np.ndarray:
    """Values replaced by their ranks in [0, 1), so that each fills as much area."""
    return np.argsort(np.argsort(values.ravel())).reshape(values.shape) / values.size


def fractal(rng: Rng, cells: int) -> np.ndarray:
    """Equalised noise with details of every size."""
    return equalised(sum(noise(rng, cells * 2**k) / 2**k for k in range(5)))


def ramp(values: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to colors between those of a palette."""
    at = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(values, at, palette[:, c]) for c in range(3)], axis=-1)


def nearest(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every pixel: the index of the nearest point (y, x), the distance to it and to the second nearest."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    index = np.zeros((SIZE, SIZE), int)
    first, second = np.full((SIZE, SIZE), np.inf), np.full((SIZE, SIZE), np.inf)
    for i, (py, px) in enumerate(points):
        distance = np.hypot(y - py, x - px)
        nearer = distance < first
        second = np.where(nearer, first, np.minimum(second, distance))
        index[nearer] = i
        first = np.where(nearer, distance, first)
    return index, first, second


def strokes(rng: Rng) -> np.ndarray:
    """Brush strokes along a swirling flow, from broad to fine, in night blues and golds."""
    palette = colors("101842", "183678", "22629e", "3694a0", "ce8e26", "f0b234", "e86a2c", "fae4a8")
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    field = np.stack([0.6 + 0 * x, 0.2 * np.sin(x / 60)], axis=-1)
    for _ in range(7):
        cx, cy = rng.uniform(0, SIZE, 2)
        radius, sign = rng.uniform(50, 120), rng.choice([-1, 1])
        pull = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))[..., None]
        field += sign * 3 * pull * np.stack([-(y - cy), x - cx], axis=-1) / radius
    angle = np.arctan2(field[..., 1], field[..., 0]) + 0.8 * (noise(rng, 16) - 0.5)
    tone = equalised(noise(rng, 7))
    canvas = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), tuple(np.uint8(255 * palette[0])))
    pen = ImageDraw.Draw(canvas)
    for width, length, count in ((16, 60, 1500), (9, 45, 4500), (5, 36, 7000), (2.5, 24, 4000)):
        for _ in range(count):
            px, py = rng.uniform(-length / 2, SIZE + length / 2, 2)
            row, column = np.clip([int(py), int(px)], 0, SIZE - 1)
            place = np.clip(tone[row, column] + rng.normal(0, 0.08), 0, 0.999)
            color = palette[int(place * len(palette))] * rng.uniform(0.8, 1.2) + rng.normal(0, 0.03, 3)
            path = []
            for _ in range(int(length / 3)):
                path.append((px * SCALE, py * SCALE))
                row, column = np.clip([int(py), int(px)], 0, SIZE - 1)
                px, py = px + 3 * np.cos(angle[row, column]), py + 3 * np.sin(angle[row, column])
            fill = tuple(np.uint8(255 * np.clip(color, 0, 1)))
            pen.line(path, fill=fill, width=round(width * SCALE), joint="curve")
            for end in (path[0], path[-1]):
                r = width * SCALE / 2 - 0.5
                pen.ellipse([end[0] - r, end[1] - r, end[0] + r, end[1] + r], fill=fill)
    return np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS)) / 255


def stained_glass(rng: Rng) -> np.ndarray:
    """Panes of colored glass, each with its own streaks, between dark leads."""
    palette = colors("7a0f1c", "c8102e", "e8531f", "f4a81d", "f7dc6f", "2e8b57", "0b5d3b", "1c4e9c", "0d2a66", "5e2a84")
    points = rng.uniform(-20, SIZE + 20, (170, 2))
    for _ in range(2):  # Lloyd: move every point to the middle of its cell
        index, _, _ = nearest(points)
        for i in range(len(points)):
            cell = np.argwhere(index == i)
            points[i] = cell.mean(0) if len(cell) else points[i]
    index, first, second = nearest(points)
    theme = noise(rng, 4)[tuple(np.clip(points.astype(int), 0, SIZE - 1).T)]
    place = np.clip(theme + rng.normal(0, 0.12, len(points)), 0, 0.999)
    panes = palette[(place * len(palette)).astype(int)] * rng.uniform(0.8, 1.25, (len(points), 1))
    streaks = 0.65 + 0.5 * fractal(rng, 6) + 0.25 * (noise(rng, 90) - 0.5)
    glow = 1.15 - 0.35 * first / first.max()
    picture = panes[index] * (streaks * glow)[..., None]
    edge = second - first  # twice the distance to the border
    lead = np.clip((edge - 5) / 3, 0, 1)[..., None]
    shine = np.exp(-((edge - 2) ** 2) / 2)[..., None] * 0.22
    return picture * lead + (1 - lead) * colors("15130f") + shine * (1 - lead)


def mosaic(rng: Rng) -> np.ndarray:
    """Small stones laid in rings around a few centres, in the colors of a sea and its shore."""
    palette = colors("0b3954", "087e8b", "3fb8af", "bfd7ea", "fff4d6", "f2c14e", "f78154", "b4436c", "5b1e3f")
    tile, gap = 11, 1.6
    centres = np.array([[110, 120], [400, 90], [270, 330], [90, 440], [470, 440]]) + rng.normal(0, 15, (5, 2))
    which, radius, _ = nearest(centres)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    angle = np.arctan2(y - centres[which, 0], x - centres[which, 1]) + np.pi
    ring = np.floor(radius / tile)
    stones = np.maximum(np.round(2 * np.pi * (ring + 0.5)), 1)  # in this ring
    along = angle / (2 * np.pi) * stones + 0.37 * ring
    stone = np.floor(along)
    inside_across = np.minimum(radius % tile, tile - radius % tile)
    inside_along = np.minimum(along % 1, 1 - along % 1) * 2 * np.pi * (ring + 0.5) / stones * tile
    key = (which * 7919 + ring * 104729 + stone % stones * 1299709).astype(np.int64) % 65536
    chance = rng.random((65536, 4))[key]  # the same for all pixels of a stone
    bands = 0.5 + 0.5 * np.sin(ring / 2.6 + 2 * which) + 0.25 * (chance[..., 0] - 0.5)
    stones_rgb = ramp(np.clip(bands, 0, 1), palette) * (0.78 + 0.4 * chance[..., 1:2]) + 0.06 * (chance[..., 1:] - 0.5)
    bevel = 0.85 + 0.2 * np.clip(np.minimum(inside_across, inside_along) / 4, 0, 1)
    solid = np.clip((np.minimum(inside_across, inside_along) - gap / 2) / 1.2, 0, 1)[..., None]
    grout = colors("cfc6b4") * (0.8 + 0.3 * noise(rng, 120))[..., None]
    return stones_rgb * bevel[..., None] * solid + grout * (1 - solid)


def waves(rng: Rng) -> np.ndarray:
    """Inked lines that swell and thin over washes of indigo, foam and a red sun, like a woodblock print."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    height = y + 0.10 * np.sin(7 * x + 5 * noise(rng, 4)) + 0.16 * noise(rng, 5)
    wash = ramp(
        np.clip(height / 1.2, 0, 1), colors("f3e3c3", "efd2a0", "e8f0ea", "7fb3c8", "2d6a9f", "17406f", "0c2347")
    )
    sun = np.clip((0.13 - np.hypot(x - 0.7, y - 0.2)) * 90, 0, 1)[..., None]
    wash = wash * (1 - sun) + sun * colors("c8342b")
    phase = 2 * np.pi * (24 * height + 3 * noise(rng, 9))
    thickness = 0.25 + 0.55 * noise(rng, 11)
    ink = np.clip((np.cos(phase) - 1 + thickness) * 5, 0, 1)[..., None]
    foam = np.clip((np.cos(phase + 1.9) - 0.86) * 12, 0, 1)[..., None] * np.clip((height - 0.5) * 6, 0, 1)[..., None]
    grain = 0.93 + 0.14 * noise(rng, 170)[..., None]
    picture = wash * (1 - foam) + colors("f8f6ea") * foam
    return (picture * (1 - ink) + colors("14213d") * ink) * grain


def watercolour(rng: Rng) -> np.ndarray:
    """Washes of transparent color with dark rims, laid over one another on rough paper."""
    palette = colors("f26b8a", "f7a072", "ffd166", "7bc8a4", "4aa3c7", "5b6bbf", "9b5fb5", "e4572e")
    picture = np.ones((SIZE, SIZE, 3)) * colors("fbf8f0")
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    for i in range(46):
        cy, cx = rng.uniform(0, SIZE, 2)
        size = rng.uniform(25, 130) if i < 30 else rng.uniform(6, 22)
        distance = np.hypot(y - cy, x - cx) / size + 0.9 * (fractal(rng, 5) - 0.5)
        shape = np.clip((1 - distance) * 14, 0, 1)
        rim = np.exp(-((np.abs(1 - distance) * 16 - 1) ** 2))
        density = shape * (0.35 + 0.4 * fractal(rng, 7)) + 0.45 * rim * shape
        pigment = 1 - palette[rng.integers(len(palette))]
        picture = picture * (1 - pigment) ** (density * 1.15)[..., None]
    paper = noise(rng, 200) + 0.5 * noise(rng, 100)
    return picture * (0.93 + 0.07 * paper / paper.max())[..., None]


STYLES: dict[str, tuple[Callable[[Rng], np.ndarray], int]] = {
    "strokes": (strokes, 3),
    "stained_glass": (stained_glass, 1),
    "mosaic": (mosaic, 2),
    "waves": (waves, 5),
    "watercolour": (watercolour, 4),
}


def main() -> None:
    """Writes every style, drawn from its own seed."""
    folder = Path(__file__).parent / "styles"
    folder.mkdir(exist_ok=True)
    for name, (draw, seed) in STYLES.items():
        picture = np.clip(draw(np.random.default_rng(seed)), 0, 1)
        Image.fromarray(np.round(255 * picture).astype(np.uint8)).save(folder / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    main()
