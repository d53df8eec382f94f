"""Photographs rendered as paintings of all kinds, to train networks that paint without a single painting.

    python examples/paintings.py photos paintings --count 4000
    python train.py --task painters --styles folder:paintings --data folder:photos --init small ...

Each is painted over its own palette: in layers of strokes, from coarse to fine (after Hertzmann, SIGGRAPH 1998), with
ink, in a few flat colors, or not at all. What of all that, is drawn at random; the same seed draws the same.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

SIDE = 288  # pixels of the short side


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to render; the words under each field are its help."""

    photos: Annotated[Path, tyro.conf.Positional]
    """A folder of photographs."""
    output: Annotated[Path, tyro.conf.Positional]
    """The folder for the paintings."""
    count: int = 1000
    """How many."""
    seed: int = 7
    """Of all that is drawn at random."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    photos = sorted(path for path in arguments.photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    arguments.output.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.count):
        rng = np.random.default_rng([arguments.seed, number])
        photo = Image.open(photos[rng.integers(len(photos))]).convert("RGB")
        scale = SIDE / min(photo.size)
        photo = photo.resize([round(side * scale) for side in photo.size], Image.Resampling.BICUBIC)
        painting = np.uint8(255 * np.clip(paint(np.asarray(photo, np.float32) / 255, rng), 0, 1) + 0.5)
        Image.fromarray(painting).save(arguments.output / f"{number:05d}.jpg", quality=92)


def paint(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A painting of a photo `[H, W, 3]` in [0, 1], in a manner drawn at random."""
    manner = rng.choice([as_it_is, strokes, flat, ink], p=[0.15, 0.6, 0.12, 0.13])
    return manner(palette(photo, rng), rng)


def palette(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photo in other colors: its hues turned, saturation, contrast and brightness changed."""
    photo = photo ** np.exp(rng.normal(0, 0.35))
    grey = photo.mean(-1, keepdims=True)
    turned = (photo - grey) @ hue_rotation(rng).T * np.exp(rng.uniform(-1.2, 1.1))
    middle = grey.mean()
    light = (grey - middle) * np.exp(rng.normal(0, 0.4)) + np.clip(middle + rng.normal(0, 0.2), 0.08, 0.92)
    tint = rng.normal(0, 0.06, 3)
    return np.clip(light + turned + tint - tint.mean(), 0, 1)


def hue_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation of RGB about the axis of greys: by any angle half of the time, else by a small one."""
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.normal(0, 0.3)
    axis = np.sqrt(1 / 3) * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.eye(3) + np.sin(angle) * axis + (1 - np.cos(angle)) * axis @ axis


def as_it_is(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return photo


def flat(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A few flat colors."""
    picture = Image.fromarray(np.uint8(255 * photo)).filter(ImageFilter.MedianFilter(int(rng.choice([3, 5, 7]))))
    picture = picture.quantize(int(rng.integers(4, 20))).convert("RGB")
    return np.asarray(picture.filter(ImageFilter.ModeFilter(5)), np.float32) / 255


def ink(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lines where the photo is darker than what is around; half of the time washed with flat colors."""
    grey = ndimage.gaussian_filter(photo.mean(-1), rng.uniform(0.5, 1.5))
    edges = grey - 1.02 * ndimage.gaussian_filter(grey, rng.uniform(1.5, 4))
    paper = 1 / (1 + np.exp(-rng.uniform(40, 200) * (edges + 0.01)))[..., None]
    colors = rng.uniform(0.6, 1, 3), rng.uniform(0, 0.4, 3)
    light, dark = colors[::-1] if rng.random() < 0.3 else colors
    drawing = paper * light + (1 - paper) * dark
    if rng.random() < 0.5:
        drawing *= 0.4 + 0.6 * flat(photo, rng)
    return drawing + rng.normal(0, 0.02, drawing.shape)


def strokes(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Layers of straight strokes along edges, each layer finer, and only where the one before is wrong."""
    height, width, _ = photo.shape
    ground = photo.mean((0, 1)) if rng.random() < 0.5 else rng.uniform(0, 1, 3)
    canvas = Image.new("RGB", (width, height), tuple(np.uint8(255 * ground).tolist()))
    relief = Image.new("L", (width, height), 128)
    angles = directions(photo, rng)
    angle_spread, light_spread, color_spread = rng.uniform(0, 0.5), rng.uniform(0, 0.12), rng.uniform(0, 0.1)
    radius, length, tolerance = rng.uniform(5, 18), rng.uniform(1.5, 7), rng.uniform(0.02, 0.15)
    finest, share = rng.choice([2, 2, 3, 4, 6]), 2.2
    while radius >= finest or share == 2.2:
        blurred = ndimage.gaussian_filter(photo, (radius / 2.5, radius / 2.5, 0))
        wrong = np.abs(blurred - np.asarray(canvas, np.float32) / 255).mean(-1) >= tolerance
        for _ in range(int(share * height * width / (0.7 * radius**2 * length))):
            y, x = rng.integers(height), rng.integers(width)
            if share == 2.2 or wrong[y, x]:
                color = blurred[y, x] + rng.normal(0, light_spread) + rng.normal(0, color_spread, 3)
                angle, reach = angles[y, x] + rng.normal(0, angle_spread), radius * length * rng.uniform(0.25, 0.5)
                dx, dy = np.cos(angle) * reach, np.sin(angle) * reach
                line, broad = [(x - dx, y - dy), (x + dx, y + dy)], max(1, int(radius * rng.uniform(0.6, 1)))
                ImageDraw.Draw(canvas).line(line, tuple(np.uint8(255 * np.clip(color, 0, 1)).tolist()), broad)
                ImageDraw.Draw(relief).line(line, int(rng.integers(60, 200)), broad)
        radius, share = radius / rng.uniform(1.7, 2.4), 1.6
    return lit(np.asarray(canvas, np.float32) / 255, np.asarray(relief, np.float32) / 255, rng)


def directions(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The angle of edges in every pixel; sometimes, where there are hardly any, of a flow of its own."""
    grey = photo.mean(-1)
    across, down = (ndimage.gaussian_filter(grey, 2, order=order) for order in ((0, 1), (1, 0)))
    width = rng.uniform(2, 8)
    xx, yy, xy = (ndimage.gaussian_filter(v, width) for v in (across**2, down**2, across * down))
    angles = np.arctan2(2 * xy, xx - yy) / 2 + np.pi / 2
    if rng.random() < 0.4:
        strength = np.hypot(xx - yy, 2 * xy)
        flow = ndimage.gaussian_filter(rng.normal(size=grey.shape), rng.uniform(15, 60))
        flow *= rng.uniform(1, 6) / flow.std()
        angles = np.where(strength > np.quantile(strength, 0.7), angles, flow)
    return angles


def lit(canvas: np.ndarray, relief: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from above left on thick paint and its bristles, more often than not."""
    amount = rng.uniform(0, 0.5) if rng.random() < 0.6 else 0
    relief = ndimage.gaussian_filter(relief + 0.3 * amount * rng.normal(size=relief.shape), rng.uniform(0.5, 1.1))
    slope = ndimage.sobel(relief, 0) + ndimage.sobel(relief, 1)
    return ndimage.gaussian_filter(canvas + 0.25 * amount * slope[..., None], (0.5, 0.5, 0))


if __name__ == "__main__":
    main()
