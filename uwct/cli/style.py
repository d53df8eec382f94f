"""`uwct style`: styles as small files."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.dtypes import dtype_for
from uwct.cli.encoding import encode_file
from uwct.cli.errors import one_sentence, printable
from uwct.cli.limits import MEGAPIXELS, MaxMegapixels, check_size, pixel_limit
from uwct.cli.look import NUMBERS, Look
from uwct.cli.networks import Networks
from uwct.cli.parsing import parsed
from uwct.cli.plan import check_output
from uwct.cli.sizes import sized
from uwct.cli.styles import shares
from uwct.files import is_style, write_bytes
from uwct.networks.config import DEFAULT_MODEL, LEVELS
from uwct.networks.model import backbone, load
from uwct.networks.tensors import read_file
from uwct.pictures.spaces import in_space
from uwct.pipeline.level import Settings
from uwct.pipeline.look_tables import NODES, cube, look_table
from uwct.pipeline.parts import resolve
from uwct.pipeline.photo import SIDE
from uwct.pipeline.style_files import load_style, save_style
from uwct.pipeline.styles import mix_styles
from uwct.pipeline.whole import painted
from uwct.transforms.matching import TRANSFORMS

HELP = """Keep styles as small files, to use as --style, to mix, and to share without the painting.

A style file (.safetensors) holds the mean and the covariance of what the network sees in a painting, at each of the
five levels. It fits the model that made it, and no other. For --refine it holds what VGG-16 sees of the painting, too.

The look that one photo takes on from another can be kept, too: as a table of colors (.cube), which programs that grade
photos and films read.

Examples:
  uwct style save examples/styles/strokes.jpg --output strokes.safetensors
  uwct style save examples/styles/waves.jpg --output waves.safetensors
  uwct style mix strokes.safetensors waves.safetensors --weights 0.7 0.3 --output both.safetensors
  uwct style info both.safetensors
  uwct style export-lut examples/photos/coffee.jpg examples/photos/rocket.jpg --output evening.cube"""

Output = Annotated[Path, tyro.conf.arg(metavar="PATH")]


@dataclasses.dataclass(frozen=True)
class Save:
    """Make a style file of a picture."""

    picture: Annotated[Path, tyro.conf.Positional]
    """The picture: JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF, JPEG 2000 or PPM; HEIC where pillow-heif is installed."""
    output: Output
    """The style file to write; it must end in .safetensors."""
    style_size: int = 512
    """Long side in pixels to which the picture is resized; larger makes its patterns larger; 0 keeps it as it is."""
    style_mask: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A grey picture: only where it is white does the style count."""
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = DEFAULT_MODEL
    """The networks that the style is for: small or vgg16, which come with this program, or a model file."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


@dataclasses.dataclass(frozen=True)
class Mix:
    """Make one style file of several, between them."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Style files of one model."""
    output: Output
    """The style file to write; it must end in .safetensors."""
    weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """Each file's share, one number a file, normalised to sum 1; equal by default."""
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = DEFAULT_MODEL
    """The networks that the styles are for."""


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a style file holds."""

    file: Annotated[Path, tyro.conf.Positional]
    """A style file."""


@dataclasses.dataclass(frozen=True)
class ExportLut:
    """Make a table of colors (3D LUT, .cube) of the look that a photo takes on from another picture.

    It holds what happens to colors wherever they stand, and fits photos and films of the same light. DaVinci Resolve,
    Premiere, Photoshop, OBS and FFmpeg (lut3d) read it. --photo changes nothing here: it is always so.
    """

    photo: Annotated[Path, tyro.conf.Positional]
    """A photo, like those that are to take the look on."""
    style: Annotated[Path, tyro.conf.Positional]
    """The picture of that look, or a style file."""
    output: Output
    """The table to write; it must end in .cube."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct style") -> None:
    """Saves, mixes or describes, as the help says."""
    commands = (
        Annotated[Save, tyro.conf.subcommand("save")]
        | Annotated[Mix, tyro.conf.subcommand("mix")]
        | Annotated[Info, tyro.conf.subcommand("info")]
        | Annotated[ExportLut, tyro.conf.subcommand("export-lut")]
    )
    asked: Save | Mix | Info | ExportLut = parsed(commands, argv, prog, HELP)
    with one_sentence():
        if isinstance(asked, Save):
            start_quickly()
            with pixel_limit(asked.max_megapixels):
                save_picture(asked)
        elif isinstance(asked, ExportLut):
            start_quickly()
            with pixel_limit(asked.max_megapixels):
                export_lut(asked)
        elif isinstance(asked, Mix):
            mix_files(asked)
        else:
            print("\n".join(description(asked.file)))


def check_style_file(output: Path, inputs: tuple[Path, ...]) -> None:
    """Raises ValueError or OSError for an output that cannot be a style file."""
    if not is_style(output):
        raise ValueError(f"{output} must end in .safetensors")
    check_output(output, inputs)


def save_picture(asked: Save) -> None:
    """Writes the style of a picture."""
    check_size("--style-size", asked.style_size)
    check_style_file(asked.output, (asked.picture, *((asked.style_mask,) if asked.style_mask else ())))
    model = load(asked.model, dtype=dtype_for("auto"))
    vgg = backbone("vgg16").replace(dtype=model.dtype)
    style = encode_file(asked.picture, model, asked.style_size, asked.style_mask, vgg=vgg)
    save_style(style, asked.output, model)
    print(f"{asked.picture} -> {asked.output}: {size(asked.output)}")


def mix_files(asked: Mix) -> None:
    """Writes the mixture of style files."""
    if not asked.files:
        raise ValueError("name style files to mix")
    weights = asked.weights or (1.0,) * len(asked.files)
    if len(weights) != len(asked.files):
        raise ValueError(f"{len(asked.files)} styles need as many --weights, not {len(weights)}")
    if not all(0 <= weight < np.inf for weight in weights) or not any(weights):
        raise ValueError(f"--weights must not be negative, nor all 0, not {list(weights)}")
    check_style_file(asked.output, asked.files)
    model = load(asked.model)
    save_style(mix_styles([load_style(path, model) for path in asked.files], shares(weights)), asked.output, model)
    print(f"{' + '.join(map(str, asked.files))} -> {asked.output}: {size(asked.output)}")


def export_lut(asked: ExportLut) -> None:
    """Writes the table of a look."""
    if asked.output.suffix.lower() != ".cube":
        raise ValueError(f"{asked.output} must end in .cube")
    check_output(asked.output, [asked.photo, asked.style])
    look = dataclasses.replace(asked.look, photo=True).resolve()
    model = asked.networks.load(look.levels)
    _, picture = sized(asked.photo, "--max-megapixels", SIDE, model.config)
    picture = in_space(picture)
    photo, visible = jnp.asarray(picture.rgb), None if picture.alpha is None else jnp.asarray(picture.alpha)
    style = encode_file(asked.style, model, look.style_size)
    parts = resolve(model, style, look.levels, look.alpha).replace(visible=visible)
    settings = Settings(look.levels, look.shrinkage, TRANSFORMS[look.transform])
    table = look_table(photo, painted(model, photo, parts, settings), visible)
    write_bytes(asked.output, cube(np.asarray(table), f"{asked.photo.stem} as {asked.style.stem}").encode())
    print(f"{asked.photo} in the light of {asked.style} -> {asked.output}: {NODES}^3 colors")


def description(path: Path) -> list[str]:
    """What a style file holds, in lines; raises ValueError for another file, FileNotFoundError for none."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no style file {path}")
    tensors, metadata = read_file(path)
    try:
        made = json.loads(metadata["style"])
        lines = [f"a style for {made['backbone']}, encoder {made['encoder']}; {size(path)}"]
        lines += [level_line(tensors, level) for level in LEVELS if f"level{level}/scatter" in tensors]
    except (KeyError, TypeError, IndexError, ValueError, RecursionError):
        raise ValueError(f"{path} is not a style file") from None
    return [printable(line) for line in lines]


def level_line(tensors: dict[str, np.ndarray], level: int) -> str:
    """What a style file holds of a level; raises all kinds of errors for tensors of another form."""
    weight, scatter = (tensors[f"level{level}/{part}"] for part in ("weight", "scatter"))
    channels, pixels = max(1, len(scatter)), float(weight)
    deviation = (max(0.0, float(np.trace(scatter))) / max(pixels - 1, 1) / channels) ** 0.5
    return f"level {level}: {channels} channels, {pixels:.0f} pixels, deviation {deviation:.2f}"


def size(path: Path) -> str:
    """Of a file, for people."""
    return f"{path.stat().st_size / 2**20:.1f} MiB"
