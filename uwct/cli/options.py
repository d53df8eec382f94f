"""The options of `uwct stylize`, and which of them go together."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from uwct.cli import regions
from uwct.cli.look import NUMBERS, Look
from uwct.cli.sizes import LARGEST, MEGAPIXELS, MaxMegapixels, check_size
from uwct.styles import is_style

Files = Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE [FILE ...]")]
Regions = Annotated[
    tuple[tuple[str, ...], ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="MASK[:RRGGBB] [STYLE[:WEIGHT] ...]"),
]
MOST_FRAMES = 1000  # so that their numbers have three digits
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    look: Annotated[Look, tyro.conf.arg(name="")]
    style: Files = ()
    """The style: any picture, or a style file (.safetensors; see uwct style). Several (--style a.jpg b.jpg, or
    --style a.jpg --style b.jpg) are mixed. A folder: each picture in it, and in its subfolders, is used in turn."""
    content: File = None
    """The photo, or a folder of photos that are all treated alike: JPEG, PNG, WebP, TIFF, GIF or BMP; - reads a photo
    from standard input."""
    output: File = None
    """The picture to write, a .png, .jpg, .webp or .tif file, or an existing folder to write it into; by default it is
    named after content and style. A folder as --content or --style needs a folder here; - writes PNG to standard
    output."""
    style_weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """Each style's share in the mixture, one number a style, normalised to sum 1; equal by default. As many numbers for
    each level, from the deepest to the shallowest, mix each level in its own way: strokes of the one style, colors of
    the other."""
    style_mask: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]")] = ()
    """One grey picture a style picture: only where it is white does the style count."""
    region: Regions = ()
    """A part of the photo that takes on styles of its own; may be given several times. MASK is a grey picture, white
    where the part is (soft edges are fine), or a picture of which MASK:RRGGBB takes one color; it is resized to the
    photo. Its styles are pictures or style files, mixed with WEIGHTs; without any, the part keeps its pixels. What no
    mask covers takes --style, or keeps its pixels if there is none. Masks that overlap are divided by their sum."""
    region_alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """One number a --region, from 0 to 1, by which the strength of all levels is multiplied there; 1 by default."""
    keep_colors: Annotated[Literal["luminance", "matched"] | None, tyro.conf.arg(metavar="{luminance,matched}")] = None
    """Keep the photo's colors, in one of the two ways of Gatys et al. (2016): "luminance" takes only light and dark
    from the stylized picture; "matched" gives the style the photo's colors first, so that strokes stay colored."""
    patches: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """At the deepest level, take patches of the style picture itself, each the most similar one, instead of its
    statistics: its shapes come along (style swap; Chen and Schmidt 2016)."""
    size: int = 0
    """Long side of the output in pixels; 0 keeps the photo's size. With --texture, both sides (0: 512)."""
    shape: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="WIDTH HEIGHT")] = None
    """Width and height in pixels of a --texture that is no square."""
    texture: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make a texture of the style out of random noise, without any photo."""
    seed: int = 0
    """The seed of that noise: the same seed gives the same texture."""
    seamless: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make a texture whose copies fit together without seams, above and beside each other; its sides must be multiples
    of 16 (with level 5; of 8 with level 4, and so on)."""
    gradient: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make a texture that changes from the one of two styles at its left to the other at its right, or between four
    styles in its corners."""
    frames: int = 0
    """Make so many textures out of the same noise, from the first style over those between to the last, as numbered
    files: name.000.png and so on."""
    model: str = "vgg16"
    """The networks: vgg16 or small (faster), which come with this program, or a model file that train.py wrote."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the networks compute in; 16 bits are faster on GPUs, TPUs and some CPUs, at a small loss of accuracy: "auto"
    takes bfloat16 where this device is fast with it, else float32."""
    tile: Annotated[str, tyro.conf.arg(metavar="{auto,off}|PIXELS")] = "auto"
    """Pictures that do not fit in memory are done in overlapping windows of this many pixels a side, with the same
    result; "auto" does so when it must, a number always, "off" never."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With a folder of photos or styles: leave out what an earlier run, of the same files, options and versions, has
    finished, as manifest.jsonl in the folder of outputs says."""
    steps: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write what each level made, beside the output: name.level4.png and so on."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a line of JSON for each picture instead of a sentence."""
    compat: Annotated[Literal["floor", "ceil"] | None, tyro.conf.arg(metavar="{floor,ceil}")] = None
    """Compute as the projects do whose weights `uwct convert` takes, to compare with their pictures: WCT without
    shrinkage, one alpha for all levels, statistics in float64, and pooling that drops odd rows and columns ("floor", as
    Collaborative Distillation does) or keeps them ("ceil", as the authors do), so that the size may change a little.
    The style keeps its size unless --style-size is given."""
    compat_divisor: Literal["n-1", "n"] = "n-1"
    """What --compat divides covariances by, n being the number of pixels."""


def check(arguments: Arguments) -> None:
    """Raises ValueError for options that do not go together."""
    arguments.look.resolve()
    styles, weights = style_paths(arguments), arguments.style_weights
    if not styles and not arguments.region and arguments.look.transform != "whiten":
        raise ValueError("--style needs at least one picture")
    if weights:
        levels = len(arguments.look.resolve().levels)
        if len(weights) not in (len(styles), levels * len(styles)):
            many = f", or {levels * len(styles)} for {levels} levels" if levels > 1 else ""
            raise ValueError(f"{len(styles)} styles need as many --style-weights{many}, not {len(weights)}")
        for share in mixtures(arguments):
            if min(share) < 0 or not 0 < sum(share) < np.inf:
                raise ValueError(f"--style-weights must not be negative, nor all 0, not {list(share)}")
    check_size("--size", arguments.size)
    if not 0 <= arguments.seed < 2**32:
        raise ValueError(f"--seed must lie between 0 and 2^32, not {arguments.seed}")
    if arguments.texture == (arguments.content is not None):
        raise ValueError("give either --content or --texture")
    check_texture(arguments)
    if arguments.resume and not takes_folders(arguments):
        raise ValueError("--resume needs a folder as --content or --style")
    if arguments.style_mask and (len(arguments.style_mask) != len(styles) or any(path.is_dir() for path in styles)):
        raise ValueError(f"--style-mask needs one mask for each of {len(styles)} style pictures")
    if arguments.region:
        check_regions(arguments)
    check_whole(arguments)
    if arguments.compat:
        check_compat(arguments)


def check_texture(arguments: Arguments) -> None:
    """Raises ValueError for options of textures that do not make sense, or without one."""
    options = {
        "--shape": arguments.shape,
        "--seamless": arguments.seamless,
        "--gradient": arguments.gradient,
        "--frames": arguments.frames,
    }
    for option, given in options.items():
        if given and not arguments.texture:
            raise ValueError(f"{option} needs --texture")
    for side in arguments.shape or (1,):
        if not 1 <= side <= LARGEST:
            raise ValueError(f"--shape must be two numbers from 1 to 2^31, not {side}")
    styles = style_paths(arguments)
    pictures = len(styles) if not any(path.is_dir() for path in styles) else 0
    if arguments.gradient and (pictures not in (2, 4) or arguments.seamless or arguments.style_weights):
        raise ValueError("--gradient takes two or four styles, without --style-weights and --seamless")
    if arguments.frames and not 2 <= arguments.frames <= MOST_FRAMES:
        raise ValueError(f"--frames must lie between 2 and {MOST_FRAMES}, not {arguments.frames}")
    if arguments.frames and (pictures < 2 or arguments.style_weights or arguments.gradient):
        raise ValueError("--frames takes two styles or more, without --style-weights and --gradient")
    if arguments.frames and str(arguments.output) == "-":
        raise ValueError("--frames writes several files; name one as --output")


def check_regions(arguments: Arguments) -> None:
    """Raises ValueError for regions that are misspelt, or of no photo."""
    if arguments.content is None:
        raise ValueError("--region needs a --content")
    parts = [regions.parse(words) for words in arguments.region]
    if not style_paths(arguments) and not any(part.styles for part in parts):
        raise ValueError("no --region has a style, nor is there a --style")
    regions.check_factors(arguments.region_alpha, len(parts))


def check_whole(arguments: Arguments) -> None:
    """Raises ValueError for options that need the picture whole beside those that cut it or have no photo."""
    whole = {
        "--region": arguments.region,
        "--keep-colors": arguments.keep_colors,
        "--steps": arguments.steps,
        "--patches": arguments.patches,
    }
    for option, given in whole.items():
        if given and arguments.tile.isdecimal():
            raise ValueError(f"{option} needs the picture whole; leave --tile out")
        if given and (arguments.compat or arguments.texture):
            raise ValueError(f"{option} goes with neither --texture nor --compat")
    if sum(map(bool, (arguments.steps, arguments.region, arguments.patches))) > 1:
        raise ValueError("--steps, --region and --patches do not go together")
    if arguments.patches:
        styles = style_paths(arguments)
        if len(styles) != 1 or is_style(styles[0]) or arguments.style_mask:
            raise ValueError("--patches takes one style picture, without --style-mask")
    if arguments.region_alpha and not arguments.region:
        raise ValueError("--region-alpha needs a --region")
    if arguments.steps and str(arguments.output) == "-":
        raise ValueError("--steps writes further files beside the output; name a file as --output")
    if arguments.json and str(arguments.output) == "-":
        raise ValueError("--json would be mixed with the picture on standard output; name a file as --output")


def needs_whole(arguments: Arguments) -> bool:
    """Whether an option was given that works on whole pictures only."""
    return bool(arguments.region or arguments.keep_colors or arguments.steps or arguments.patches)


def check_compat(arguments: Arguments) -> None:
    """Raises ValueError for what other projects do not do."""
    look = arguments.look
    if arguments.texture or len(style_paths(arguments)) > 1:
        raise ValueError("--compat takes one content and one style")
    if look.transform not in (None, "wct") or look.shrinkage or arguments.dtype not in ("auto", "float32"):
        raise ValueError("--compat computes WCT without shrinkage in float32; leave those options out")
    if len(set(look.resolve().alpha)) > 1:
        raise ValueError("--compat takes one --alpha for all levels")


def takes_folders(arguments: Arguments) -> bool:
    """Whether the photos or the styles are those of a folder."""
    return any(path.is_dir() for path in (arguments.content, *style_paths(arguments)) if path is not None)


def style_paths(arguments: Arguments) -> list[Path]:
    """The style pictures or the folder in the order given, whether behind one --style or several."""
    return [path for paths in arguments.style for path in paths]


def mixtures(arguments: Arguments) -> list[tuple[float, ...]]:
    """The --style-weights, one a style, of all levels or of each."""
    weights, styles = arguments.style_weights, len(style_paths(arguments))
    return [weights[i : i + styles] for i in range(0, len(weights), styles)] if styles else []


def region_files(arguments: Arguments) -> list[regions.RegionFiles]:
    """What every --region names."""
    return [regions.parse(words) for words in arguments.region]
