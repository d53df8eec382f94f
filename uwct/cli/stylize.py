"""`python stylize.py`, also installed as `uwct stylize`."""

import dataclasses
import time
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from uwct import compat, images
from uwct.cli.cache import use_compilation_cache
from uwct.cli.dtypes import dtype_for
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.large import paint_in_windows
from uwct.cli.look import NUMBERS, Look
from uwct.cli.plan import Job, plan
from uwct.cli.sizes import check_memory, check_size, check_tile, sized, window_for
from uwct.model import Model, load
from uwct.presets import TRANSFORMS, Preset
from uwct.styles import is_style, load_style
from uwct.transfer import Style, encode_style, stylize, synthesize

HELP = """Paint a photo in the manner of any picture.

The method, WCT (whitening and coloring transform), looks at both pictures through a pretrained image network. It
removes from the photo's features the mean and the correlations that make up its look (whitening), puts those of the
style picture in their place (coloring), and turns the features back into a picture. It can do so at five levels of the
network, from coarse (5: strokes and composition) to fine (1: colors). Nothing is trained per style. The presets use a
gentler relative of it (--transform monge, --shrinkage); --transform wct --shrinkage 0 is the method itself.

Examples:
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --output out.png
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --preset photo --size 256
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --levels 4 --size 256
  python stylize.py --texture --style examples/styles/mosaic.jpg --size 256 --seed 1"""

Files = Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE [FILE ...]")]
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    style: Files
    """The style: any picture, or a style file (.safetensors; see uwct.save_style). Several (--style a.jpg b.jpg, or
    --style a.jpg --style b.jpg) are mixed. A folder: each picture in it, and in its subfolders, is used in turn."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    content: File = None
    """The photo, or a folder of photos that are all treated alike: JPEG, PNG, WebP, TIFF, GIF or BMP."""
    output: File = None
    """The picture to write, a .png, .jpg, .webp or .tif file, or an existing folder to write it into; by default it is
    named after content and style. A folder as --content or --style needs a folder here."""
    style_weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """Each style's share in the mixture, one number a style, normalised to sum 1; equal by default."""
    size: int = 0
    """Long side of the output in pixels; 0 keeps the photo's size. With --texture, both sides (0: 512)."""
    texture: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make a texture of the style out of random noise, without any photo."""
    seed: int = 0
    """The seed of that noise: the same seed gives the same texture."""
    model: str = "vgg16"
    """The networks: vgg16 or small (faster), which come with this program, or a model file that train.py wrote."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the networks compute in; 16 bits are faster on GPUs, TPUs and some CPUs, at a small loss of accuracy: "auto"
    takes bfloat16 where this device is fast with it, else float32."""
    tile: Annotated[str, tyro.conf.arg(metavar="{auto,off}|PIXELS")] = "auto"
    """Pictures that do not fit in memory are done in overlapping windows of this many pixels a side, with the same
    result; "auto" does so when it must, a number always, "off" never."""
    compat: Annotated[Literal["floor", "ceil"] | None, tyro.conf.arg(metavar="{floor,ceil}")] = None
    """Compute as the projects do whose weights `uwct convert` takes, to compare with their pictures: WCT without
    shrinkage, one alpha for all levels, statistics in float64, and pooling that drops odd rows and columns ("floor", as
    Collaborative Distillation does) or keeps them ("ceil", as the authors do), so that the size may change a little.
    The style keeps its size unless --style-size is given."""
    compat_divisor: Literal["n-1", "n"] = "n-1"
    """What --compat divides covariances by, n being the number of pixels."""


def main(argv: list[str] | None = None, prog: str = "stylize.py") -> None:
    """Stylizes, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    use_compilation_cache()
    with one_sentence():
        check(arguments)
        jobs = plan(arguments.content, style_paths(arguments), arguments.output)
        failures = run(arguments, jobs)
    fail_partly(failures)


def check(arguments: Arguments) -> None:
    """Raises ValueError for options that do not go together."""
    arguments.look.resolve()
    styles, weights = style_paths(arguments), arguments.style_weights
    if not styles:
        raise ValueError("--style needs at least one picture")
    if weights:
        if len(weights) != len(styles):
            raise ValueError(f"{len(styles)} styles need as many --style-weights, not {len(weights)}")
        if min(weights) < 0 or not 0 < sum(weights) < np.inf:
            raise ValueError(f"--style-weights must not be negative, nor all 0, not {list(weights)}")
    check_size("--size", arguments.size)
    if not 0 <= arguments.seed < 2**32:
        raise ValueError(f"--seed must lie between 0 and 2^32, not {arguments.seed}")
    if arguments.texture == (arguments.content is not None):
        raise ValueError("give either --content or --texture")
    if arguments.compat:
        check_compat(arguments)


def check_compat(arguments: Arguments) -> None:
    """Raises ValueError for what other projects do not do."""
    look = arguments.look
    if arguments.texture or len(style_paths(arguments)) > 1:
        raise ValueError("--compat takes one content and one style")
    if look.transform not in (None, "wct") or look.shrinkage or arguments.dtype not in ("auto", "float32"):
        raise ValueError("--compat computes WCT without shrinkage in float32; leave those options out")
    if len(set(look.resolve().alpha)) > 1:
        raise ValueError("--compat takes one --alpha for all levels")


def style_paths(arguments: Arguments) -> list[Path]:
    """The style pictures or the folder in the order given, whether behind one --style or several."""
    return [path for paths in arguments.style for path in paths]


def run(arguments: Arguments, jobs: list[Job]) -> list[str]:
    """Does every job; a bad picture among several is passed over, and what was wrong with it is returned."""
    look = arguments.look.resolve()
    if arguments.compat:
        look = dataclasses.replace(look, transform="wct", shrinkage=0)
    model = load(arguments.model, dtype="float32" if arguments.compat else dtype_for(arguments.dtype))
    model.check_levels(look.levels)
    check_tile(arguments.tile, model.config)
    failures: list[str] = []
    with tqdm(total=len(jobs), unit="picture", disable=len(jobs) == 1) as bar:
        for paths, group in groupby(jobs, key=lambda job: job.styles):
            of_style = list(group)
            try:
                styles = [] if arguments.compat else [encode(path, model, look) for path in paths]
            except FAULTS as fault:
                if len(jobs) == 1:
                    raise
                failures.append(sentence(fault))
                bar.update(len(of_style))
                continue
            for job in of_style:
                start = time.perf_counter()
                try:
                    before, after = do(arguments, look, model, styles, job)
                except FAULTS as fault:
                    if len(jobs) == 1:
                        raise
                    failures.append(f"{job.output}: {sentence(fault)}")
                else:
                    tqdm.write(report(arguments, look, job, before, after, time.perf_counter() - start))
                bar.update()
    return failures


def do(arguments: Arguments, look: Preset, model: Model, styles: list[Style], job: Job) -> tuple[str, str]:
    """Writes one picture, whole or in windows; returns the size of what it was made from, and its own."""
    if arguments.compat:
        picture, before = paint_compatibly(arguments, look, model, job)
    elif job.content and (window := window_for(job.content, arguments.size, arguments.tile, model.config)):
        how = options(arguments, look)
        return paint_in_windows(model, job.content, job.output, styles, look, how, arguments.size, window)
    else:
        picture, before = paint(arguments, look, model, styles, job.content)
    images.write(job.output, picture)
    return before, picture.size


def options(arguments: Arguments, look: Preset) -> dict[str, Any]:
    """The further arguments of `stylize` and its like."""
    total = sum(arguments.style_weights)
    weights = [weight / total for weight in arguments.style_weights] or None
    return {"weights": weights, "transform": TRANSFORMS[look.transform], "shrinkage": look.shrinkage}


def paint_compatibly(arguments: Arguments, look: Preset, model: Model, job: Job) -> tuple[images.Picture, str]:
    """The stylized picture as other projects make it, cut to the content's size where it is larger."""
    picture, resized = sized(job.content or Path(), "--size", arguments.size, model.config)
    _, painting = sized(job.styles[0], "--style-size", arguments.look.style_size or 0, model.config)
    convention = compat.Convention(arguments.compat or "floor", arguments.compat_divisor)
    rgb = compat.stylize(
        model, jnp.asarray(resized.rgb), jnp.asarray(painting.rgb), look.levels, look.alpha[0], convention=convention
    )
    height, width = (min(a, b) for a, b in zip(rgb.shape, resized.rgb.shape[:2], strict=False))
    alpha = None if resized.alpha is None else resized.alpha[:height, :width]
    return dataclasses.replace(resized, rgb=np.asarray(rgb)[:height, :width], alpha=alpha), picture.size


def report(arguments: Arguments, look: Preset, job: Job, before: str, after: str, seconds: float) -> str:
    """One line about a picture that is done."""
    source, styles = job.content or "noise", " + ".join(path.name for path in job.styles)
    levels = " ".join(f"{level}:{alpha:g}" for level, alpha in zip(look.levels, look.alpha, strict=True))
    return (
        f"{source} ({before}) in the manner of {styles} -> {job.output} ({after}): "
        f"model {arguments.model}, {look.transform} at levels {levels}, {seconds:.1f} s"
    )


def encode(path: Path, model: Model, look: Preset) -> Style:
    """The moments of a style picture, or those in a style file."""
    if is_style(path):
        return load_style(path, model)
    _, picture = sized(path, "--style-size", look.style_size, model.config)
    return encode_style(model, jnp.asarray(picture.rgb))


def paint(
    arguments: Arguments, look: Preset, model: Model, styles: list[Style], content: Path | None
) -> tuple[images.Picture, str]:
    """The stylized picture, with the content's alpha and colour profile, and the size of what it was made from."""
    how = options(arguments, look)
    if content is None:
        side = arguments.size or 512
        check_memory("a texture", "--size", side, side, model.config)
        key = jax.random.key(arguments.seed)
        texture = synthesize(model, styles, (side, side), key, look.levels, look.alpha, **how)
        return images.Picture(np.asarray(texture)), f"{side}x{side}"
    picture, resized = sized(content, "--size", arguments.size, model.config)
    rgb = stylize(model, jnp.asarray(resized.rgb), styles, look.levels, look.alpha, **how)
    return dataclasses.replace(resized, rgb=np.asarray(rgb)), picture.size
