"""`uwct export`: models as programs for elsewhere."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.errors import one_sentence
from uwct.cli.look import Look
from uwct.cli.plan import check_outputs
from uwct.cli.sizes import MEGAPIXELS, MaxMegapixels, pixel_limit
from uwct.cli.styles import encode_file
from uwct.export.look import check
from uwct.files import write_bytes
from uwct.networks.model import DEFAULT, Model, load
from uwct.pictures import images
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style

HELP = """Make a program of a model that paints without uwct, and without Python: in one file, of pictures of any size.

  onnx        a graph for ONNX Runtime and others: on phones, on servers, in C++, C#, Java, JavaScript
  stablehlo   a program for JAX without uwct, on CPUs, GPUs and TPUs, and for other compilers

The program takes a photo, a style picture (unless --style names one, which is then part of it) and the strengths.

Examples:
  uwct export --output painter.onnx
  uwct export --style examples/styles/strokes.jpg --output strokes.onnx
  uwct export --format stablehlo --output painter.stablehlo"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    look: Annotated[Look, tyro.conf.arg(name="")]
    output: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """The file to write."""
    format: Literal["onnx", "stablehlo"] = "onnx"
    """What to write."""
    style: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A picture or a style file: the program paints in this style only, and takes no other."""
    model: str = DEFAULT
    """The networks: small or vgg16, which come with this program, or a model file."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct export") -> None:
    """Exports, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        export(arguments)


def export(arguments: Arguments) -> None:
    """Writes the program."""
    look, output = arguments.look.resolve(), arguments.output
    if arguments.look.photo:
        raise ValueError("--photo cannot be exported; a program paints, of the small copy too")
    images.check_folder(output.parent)
    check_outputs([output], [arguments.style] if arguments.style else [])
    model = load(arguments.model)
    check(model, look)
    style = encode_file(arguments.style, model, look.style_size) if arguments.style else None
    write_bytes(output, program(arguments.format, model, look, style))
    given = f"in the style of {arguments.style}" if arguments.style else "in any style"
    strengths = ", ".join(f"{level}: {alpha:g}" for level, alpha in zip(look.levels, look.alpha, strict=True))
    print(f"{arguments.model} {given} -> {output}: {output.stat().st_size / 1e6:.1f} MB; alphas by level {strengths}")


def program(form: str, model: Model, look: Preset, style: Style | None) -> bytes:
    """The bytes of the file."""
    if form == "stablehlo":
        from uwct.export import stablehlo

        return bytes(stablehlo.painter(model, look, style).serialize())
    check_onnx()
    from uwct.export import painting

    return painting.painter(model, look, style).SerializeToString()


def check_onnx() -> None:
    """Raises ImportError without the package onnx."""
    if importlib.util.find_spec("onnx") is None:
        raise ImportError('uwct export needs onnx: python -m pip install ".[export]"')
