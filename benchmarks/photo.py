"""Photographs in the look of others: how much of them stays, how near they come, and what it costs.

python benchmarks/photo.py --pairs examples/photos/coffee.jpg examples/photos/rocket.jpg

Of every pair of a photo and the photo whose look it takes on, at --size: `--photo`; the same with the preset "gentle";
that preset without it, which paints; and one affine map of colors for the whole picture. "edges" is the
SSIM of the gradients of luminance (Sobel), "SSIM" that of colors, LPIPS the distance to the photo by AlexNet, "style"
that to the other photo by VGG-16 and AlexNet. Then the command at --megapixels, two pictures of one size in one
process, the first of which compiles, and the memory that it took at most. Prints two Markdown tables.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import tyro

import uwct
from uwct.cli.cache import start_quickly
from uwct.cli.dtypes import dtype_for
from uwct.judge.evaluation import Judge, content_distance, load_judge, statistics, style_distance
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pipeline.colors import LUMA
from uwct.pipeline.photo import regression
from uwct.pipeline.presets import PRESETS, Preset
from uwct.transforms.matching import TRANSFORMS
from uwct.transforms.statistics import moments

PAINT = PRESETS["paint"]
Pairs = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PHOTO LOOK [PHOTO LOOK ...]")]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    pairs: Pairs = (Path("examples/photos/coffee.jpg"), Path("examples/photos/rocket.jpg"))
    size: int = 512
    """Long side of photos in pixels."""
    megapixels: tuple[float, ...] = (1, 12, 48)


def main(arguments: Arguments) -> None:
    """Prints the tables."""
    start_quickly()
    model, judges = uwct.load(dtype=dtype_for("auto")), [load_judge(name) for name in ("vgg16", "alexnet")]
    pairs = [[read(path, arguments.size) for path in pair] for pair in zip(*[iter(arguments.pairs)] * 2, strict=True)]
    print("| | edges | SSIM | LPIPS | style VGG | style Alex |\n| --- | --- | --- | --- | --- | --- |")
    for name, way in WAYS.items():
        numbers = [judged(photo, look, way(model, photo, look), judges) for photo, look in pairs]
        print(f"| {name} | " + " | ".join(f"{x:.3f}" for x in np.mean(numbers, 0)) + " |", flush=True)
    print("\n| megapixels | first (s) | next (s) | memory (GiB) |\n| --- | --- | --- | --- |")
    for megapixels in arguments.megapixels:
        print(f"| {megapixels:g} | " + " | ".join(f"{x:.2f}" for x in cost(arguments.pairs, megapixels)) + " |")


def read(path: Path, long_side: int) -> jax.Array:
    """A picture at a long side in pixels."""
    picture = images.read(path)
    return jnp.asarray(images.resize(picture, images.fitted(picture.rgb.shape[:2], long_side)).rgb)


def painted(model: Model, photo: jax.Array, look: jax.Array, preset: Preset) -> jax.Array:
    """By the networks, with all their strokes."""
    transform = TRANSFORMS[preset.transform]
    result = uwct.stylize(
        model, photo, look, preset.levels, preset.alpha, transform=transform, shrinkage=preset.shrinkage
    )
    return jnp.clip(result, 0, 1)


def photographic(model: Model, photo: jax.Array, look: jax.Array, preset: Preset = PAINT) -> jax.Array:
    """What --photo does, by the colors that a preset paints."""
    return jnp.clip(uwct.stylize_photo(model, photo, look, preset.levels, preset.alpha), 0, 1)


def by_one_map(model: Model, photo: jax.Array, look: jax.Array) -> jax.Array:
    """The affine map of the colors of the whole picture that comes nearest to what --photo paints."""
    both = jnp.concatenate([photo, painted(model, photo, look, PAINT)], -1)
    return jnp.clip(regression(moments(both), jnp.eye(3)).apply(photo), 0, 1)


WAYS: dict[str, Callable[[Model, jax.Array, jax.Array], jax.Array]] = {
    "`--photo`": photographic,
    "`--photo --preset gentle`": lambda model, photo, look: photographic(model, photo, look, PRESETS["gentle"]),
    "`--preset gentle`": lambda model, photo, look: painted(model, photo, look, PRESETS["gentle"]),
    "one map of colors": by_one_map,
    "the photo itself": lambda model, photo, look: photo,
}


def judged(photo: jax.Array, look: jax.Array, result: jax.Array, judges: list[Judge]) -> list[float]:
    """SSIM of edges and of colors, LPIPS by the last judge, and the style distance by each."""
    similar = [dm_pix.ssim(edges(photo), edges(result)), dm_pix.ssim(photo, result)]
    styles = [style_distance(statistics(judge, result), statistics(judge, look)) for judge in judges]
    return [float(x) for x in (*similar, content_distance(judges[-1], photo, result), *styles)]


def edges(picture: jax.Array) -> jax.Array:
    """The length of the gradient of luminance, `[H, W, 1]`, by Sobel's operators."""
    light = jnp.pad(picture @ jnp.asarray(LUMA), 1, mode="edge")
    down = light[2:] - light[:-2]
    across = light[:, 2:] - light[:, :-2]
    y = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    x = (across[:-2] + 2 * across[1:-1] + across[2:]) / 4
    return jnp.sqrt(x**2 + y**2)[..., None]


def cost(pair: tuple[Path, ...], megapixels: float) -> tuple[float, float, float]:
    """Seconds for the first and the second picture of a process, and its memory in GiB."""
    with tempfile.TemporaryDirectory() as name:
        folder, results = Path(name, "photos"), Path(name, "results")
        folder.mkdir()
        results.mkdir()
        picture = images.read(pair[0])
        height, width = picture.rgb.shape[:2]
        scale = (megapixels * 1e6 / (height * width)) ** 0.5
        picture = images.resize(picture, (round(scale * height), round(scale * width)))
        for i in range(2):
            images.write(folder / f"{i}.jpg", picture)
        words = ["--content", str(folder), "--style", str(pair[1]), "--output", str(results), "--photo", "--json"]
        program = "import sys; from uwct.cli.stylize import main; main(sys.argv[1:]);"
        # Not ru_maxrss, which a process inherits: here that of the large picture above.
        program += "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
        run = subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True)
        *lines, memory = run.stdout.splitlines()
        first, second = (json.loads(line)["seconds"] for line in lines)
        return first, second, int(memory) / 2**20


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
