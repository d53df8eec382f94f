"""How much a stylized clip flickers, smoothed over time and frame by frame.

python benchmarks/video.py
python benchmarks/video.py --temporal 0 0.5 0.9 0.95 --frames 48

Three clips are made of one photo, with a camera's noise in every frame: it stands still; the view pans over it; or it
stands still and a bright disc crosses it. The view moves by 8 pixels a frame, so that the networks, whose level 4 sees
squares of 8 pixels, see the same squares again: what is left is the change of the map. Flicker is the mean difference
of a pixel between successive frames, where white is 1, after the known motion is undone, so without any warping, and
outside the disc. Two figures: of pixels, and of means over 16 x 16 pixels, in which fine noise is gone and jumps of
color remain. The source's own stand beside them. With --refine-steps also of refined frames: each by itself, and as
`uwct video` does, from the frame before. Prints a Markdown table.
"""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

import uwct
from uwct.cli.dtypes import dtype_for
from uwct.pictures import images
from uwct.pipeline.frames import stylize_frames
from uwct.pipeline.parts import resolve
from uwct.pipeline.presets import PRESETS
from uwct.pipeline.refine import refined
from uwct.pipeline.refine_frames import refine_frames
from uwct.transforms.matching import TRANSFORMS

BLOCK = 16  # pixels a side of the means


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    photo: Path = Path("examples/photos/coffee.jpg")
    style: Path = Path("examples/styles/waves.jpg")
    temporal: tuple[float, ...] = (0.0, 0.5, 0.9)
    frames: int = 16
    size: int = 448
    """Width of the photo in pixels; the frames are as much narrower as the pan needs."""
    step: int = 8
    """Pixels by which the pan moves from one frame to the next."""
    noise: float = 0.005
    """Standard deviation of the noise."""
    model: str = "small"
    refine_steps: int = 0
    """How many steps the first frame is refined in."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """Frames `[N, H, W, 3]`, how many pixels the view moves to the right from one to the next, and where no disc is."""

    frames: np.ndarray
    step: int
    still: np.ndarray


def clips(arguments: Arguments) -> dict[str, Clip]:
    """The three clips by name."""
    picture = images.read(arguments.photo)
    photo = images.resize(picture, images.fitted(picture.rgb.shape[:2], arguments.size)).rgb
    height, wide = photo.shape[:2]
    step, count, r = arguments.step, arguments.frames, np.random.default_rng(0)
    width = wide - step * count
    y, x, i = np.mgrid[:height, :width, :count]
    disc = np.moveaxis(np.hypot(y - height / 2, x - width * (2 * i / count - 0.5)) < height / 4, -1, 0)[..., None]
    still = np.stack([photo[:, :width]] * count)
    pan = np.stack([photo[:, i * step : i * step + width] for i in range(count)])

    def noisy(frames: np.ndarray) -> np.ndarray:
        return np.clip(frames + arguments.noise * r.normal(size=frames.shape), 0, 1).astype(np.float32)

    everywhere = np.ones_like(disc)
    crossed = np.where(disc, (1, 0.9, 0.2), still)
    return {
        "still": Clip(noisy(still), 0, everywhere),
        "pan": Clip(noisy(pan), step, everywhere),
        "a disc crosses": Clip(noisy(crossed), 0, ~disc),
    }


def flicker(frames: np.ndarray, clip: Clip) -> tuple[float, float]:
    """The mean difference of successive frames, of pixels and of means over blocks."""
    width = frames.shape[2] - clip.step
    both = (clip.still[1:] & clip.still[:-1])[:, :, :width]
    change = np.where(both, frames[1:, :, :width] - frames[:-1, :, clip.step :], 0)
    height, width = (side // BLOCK * BLOCK for side in change.shape[1:3])
    blocks = change[:, :height, :width].reshape(-1, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
    share = both.mean()
    return float(np.abs(change).mean() / share), float(np.abs(blocks.mean((2, 4))).mean() / share)


def main(arguments: Arguments) -> None:
    """Prints the table."""
    model, look = uwct.load(arguments.model), PRESETS["paint"]
    painting = jnp.asarray(images.read(arguments.style).rgb)
    style, vgg = uwct.encode_style(model, painting), uwct.backbone("vgg16").replace(dtype=dtype_for("auto"))
    refinable = uwct.with_manners(style, vgg, painting)
    print("| clip | | pixels | 16 x 16 means |\n| --- | --- | --- | --- |")
    for name, clip in clips(arguments).items():
        rows = {"the source": clip.frames}
        for temporal in arguments.temporal:
            frames = stylize_frames(
                model, clip.frames, style, look.levels, look.alpha,
                temporal=temporal, batch=1, transform=TRANSFORMS[look.transform], shrinkage=look.shrinkage,
            )  # fmt: skip
            rows["frame by frame" if not temporal else f"temporal {temporal:g}"] = np.stack(list(frames))
        if arguments.refine_steps:
            painted = [(jnp.asarray(a), jnp.asarray(b)) for a, b in zip(clip.frames, [*rows.values()][-1], strict=True)]
            steps, parts = arguments.refine_steps, resolve(model, refinable, look.levels, look.alpha)
            rows["refined frame by frame"] = np.stack(
                [refined(vgg, rgb, frame, parts, look.levels, steps) for frame, rgb in painted]
            )
            rows["refined from the frame before"] = np.stack(
                list(refine_frames(vgg, painted, parts, look.levels, steps))
            )
        for what, frames_of in rows.items():
            pixels, means = flicker(frames_of, clip)
            print(f"| {name} | {what} | {pixels:.5f} | {means:.5f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
