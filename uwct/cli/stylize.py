"""`python stylize.py`, also installed as `uwct stylize`."""

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import tyro
from tqdm import tqdm

from uwct import images
from uwct.cli.cache import use_compilation_cache
from uwct.cli.errors import one_sentence
from uwct.model import Model, load
from uwct.transfer import Style, encode_style, stylize, synthesize

# What the widest layers of VGG need on the CPU, measured at 2 megapixels in float32 (1,280), and some to spare.
BYTES_PER_PIXEL = 1400


HELP = """Paint a photo in the manner of any picture.

The method, WCT (whitening and coloring transform), looks at both pictures through a pretrained image network. It
removes from the photo's features the mean and the correlations that make up its look (whitening), puts those of the
style picture in their place (coloring), and turns the features back into a picture. It can do so at five levels of the
network, from coarse (5: strokes and composition) to fine (1: colors). Nothing is trained per style.

Examples:
  python stylize.py --content examples/photo.jpg --style examples/style.jpg --output out.png
  python stylize.py --content examples/photo.jpg --style examples/style.jpg --levels 4 --alpha 0.8 --size 256
  python stylize.py --texture --style examples/style.jpg --size 256 --seed 1"""

Files = Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE [FILE ...]")]
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
Numbers = Annotated[tuple[float, ...], tyro.conf.arg(metavar="NUMBER [NUMBER ...]")]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    style: Files
    """The style: any picture. Several (--style a.jpg b.jpg, or --style a.jpg --style b.jpg) are mixed."""
    content: File = None
    """The photo, or a folder of photos that are all treated alike: JPEG, PNG, WebP, TIFF, GIF or BMP."""
    output: File = None
    """The picture to write, a .png, .jpg, .webp or .tif file, or an existing folder to write it into; by default it is
    named after content and style. A folder as --content needs a folder here."""
    style_weights: Numbers = ()
    """Each style's share in the mixture, one number a style, normalised to sum 1; equal by default."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = (4, 3, 2, 1)
    """Which of the five levels to use, in any order; they always run from the deepest (5) to the shallowest (1). Deep
    levels bring the style's strokes and larger patterns, shallow ones its colors and fine texture. Level 5 dissolves
    the photo's shapes, so it has to be asked for."""
    alpha: Numbers = (0.6,)
    """Strength from 0 (the photo's own look) to 1 (all style): one number, or one a level in the order of --levels."""
    size: int = 0
    """Long side of the output in pixels; 0 keeps the photo's size. With --texture, both sides (0: 512)."""
    style_size: int = 512
    """Long side in pixels to which the style is resized; larger makes its patterns larger; 0 keeps it as it is."""
    texture: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make a texture of the style out of random noise, without any photo."""
    seed: int = 0
    """The seed of that noise: the same seed gives the same texture."""
    model: str = "vgg16"
    """The networks: vgg16, which comes with this program, or a model file that train.py wrote."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the networks compute in; 16 bits are faster on GPUs, TPUs and some CPUs, at a small loss of accuracy."""


def main(argv: list[str] | None = None, prog: str = "stylize.py") -> None:
    """Stylizes, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    use_compilation_cache()
    with one_sentence():
        jobs = plan(arguments)
        failures = run(arguments, jobs)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if failures:
        sys.exit(1)


def plan(arguments: Arguments) -> list[tuple[Path | None, Path]]:
    """Checks the arguments; pairs every content (None for a texture) with its output. Raises ValueError or OSError."""
    styles = style_paths(arguments)
    if not styles:
        raise ValueError("--style needs at least one picture")
    if arguments.style_weights:
        if len(arguments.style_weights) != len(styles):
            raise ValueError(f"{len(styles)} styles need as many --style-weights, not {len(arguments.style_weights)}")
        if min(arguments.style_weights) < 0 or not 0 < sum(arguments.style_weights) < np.inf:
            raise ValueError(f"--style-weights must not be negative, nor all 0, not {list(arguments.style_weights)}")
    if not arguments.levels or len(set(arguments.levels)) != len(arguments.levels):
        raise ValueError(f"--levels must name levels, each once, not {list(arguments.levels)}")
    if len(arguments.alpha) not in (1, len(arguments.levels)):
        raise ValueError(
            f"--alpha must be one number or {len(arguments.levels)}, one a level, not {len(arguments.alpha)}"
        )
    for alpha in arguments.alpha:
        if not 0 <= alpha <= 1:
            raise ValueError(f"--alpha must lie between 0 and 1, not {alpha:g}")
    for name in ("size", "style_size", "seed"):
        if not 0 <= getattr(arguments, name) < 2**32:
            raise ValueError(f"--{name.replace('_', '-')} must lie between 0 and 2^32, not {getattr(arguments, name)}")
    if arguments.texture == (arguments.content is not None):
        raise ValueError("give either --content or --texture")
    if arguments.content is not None and arguments.content.is_dir():
        return plan_folder(arguments.content, arguments.output)
    stem = "texture" if arguments.content is None else arguments.content.stem
    default = Path(f"{stem}_{'_'.join(path.stem for path in styles)}.png")
    output = arguments.output or default
    output = output / default if output.is_dir() else output
    images.file_format(output)
    images.check_folder(output.parent)
    for given in (*styles, *([arguments.content] if arguments.content else [])):
        if output.resolve() == given.resolve():
            raise ValueError(f"--output would overwrite {given}; give another name")
    return [(arguments.content, output)]


def plan_folder(content: Path, output: Path | None) -> list[tuple[Path | None, Path]]:
    """Every picture of the content folder keeps its name in the output folder, with .png added where it must be."""
    if output is None:
        raise ValueError("a folder as --content needs a folder as --output")
    images.check_folder(output)
    if output.resolve() == content.resolve():
        raise ValueError(f"--output must be another folder than --content, not {output}")
    photos = sorted(path for path in content.iterdir() if path.suffix.lower() in images.READABLE and path.is_file())
    if not photos:
        raise ValueError(f"the folder {content} holds no pictures")
    outputs = [output / (p.name if p.suffix.lower() in images.SUFFIXES else f"{p.name}.png") for p in photos]
    if len(set(outputs)) < len(outputs):
        raise ValueError(f"two pictures in {content} would have one output: {sorted(map(str, outputs))}")
    return list(zip(photos, outputs, strict=True))


def style_paths(arguments: Arguments) -> list[Path]:
    """The style pictures in the order given, whether behind one --style or several."""
    return [path for paths in arguments.style for path in paths]


def run(arguments: Arguments, jobs: list[tuple[Path | None, Path]]) -> list[str]:
    """Does every job; a bad picture among several is passed over and named in the list returned."""
    model = load(arguments.model, dtype=arguments.dtype)
    model.check_levels(arguments.levels)
    styles = list(encode_styles(arguments, model))
    failures = []
    for content, output in tqdm(jobs, unit="picture", disable=len(jobs) == 1):
        start = time.perf_counter()
        try:
            picture, before = paint(arguments, model, styles, content)
            images.write(output, picture)
        except (ValueError, OSError, FloatingPointError) as error:
            if len(jobs) == 1:
                raise
            failures.append(str(error))
            continue
        levels = " ".join(map(str, sorted(arguments.levels, reverse=True)))
        seconds = time.perf_counter() - start
        tqdm.write(
            f"{content or 'noise'} ({before}) -> {output} ({picture.size}): "
            f"model {arguments.model}, levels {levels}, {seconds:.1f} s"
        )
    return failures


def encode_styles(arguments: Arguments, model: Model) -> Iterator[Style]:
    """The moments of every style picture."""
    for path in style_paths(arguments):
        picture = images.read(path)
        shape = images.fitted(picture, arguments.style_size)
        check_memory(str(path), "--style-size", *shape)
        yield encode_style(model, jnp.asarray(images.resize(picture, shape).rgb))


def paint(arguments: Arguments, model: Model, styles: list[Style], content: Path | None) -> tuple[images.Picture, str]:
    """The stylized picture, with the content's alpha and colour profile, and the size of what it was made from."""
    alphas = arguments.alpha * (len(arguments.levels) // len(arguments.alpha))
    strengths = dict(sorted(zip(arguments.levels, alphas, strict=True), reverse=True))
    levels, alpha = tuple(strengths), tuple(strengths.values())
    total = sum(arguments.style_weights)
    weights = [weight / total for weight in arguments.style_weights] or None
    if content is None:
        side = arguments.size or 512
        check_memory("a texture", "--size", side, side)
        key = jax.random.key(arguments.seed)
        texture = synthesize(model, styles, (side, side), key, levels, alpha, weights=weights)
        return images.Picture(np.asarray(texture)), f"{side}x{side}"
    picture = images.read(content)
    shape = images.fitted(picture, arguments.size)
    check_memory(str(content), "--size", *shape)
    resized = images.resize(picture, shape)
    rgb = stylize(model, jnp.asarray(resized.rgb), styles, levels, alpha, weights=weights)
    return dataclasses.replace(resized, rgb=np.asarray(rgb)), picture.size


def check_memory(name: str, option: str, height: int, width: int) -> None:
    """Raises ValueError for a picture that would not fit in this computer's free memory (on a GPU, JAX says so)."""
    needed, free = BYTES_PER_PIXEL * height * width, psutil.virtual_memory().available
    if jax.default_backend() == "cpu" and needed > free:
        side = int(max(height, width) * (free / needed) ** 0.5 * 0.9)
        raise ValueError(
            f"{name} at {width}x{height} pixels needs about {needed / 2**30:.1f} GiB of memory, "
            f"of which {free / 2**30:.1f} are free; make it smaller with {option} {side}"
        )
