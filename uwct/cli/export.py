"""`uwct export`: models as programs for elsewhere."""

import dataclasses
import importlib.util
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.encoding import encode_file
from uwct.cli.errors import one_sentence
from uwct.cli.limits import MEGAPIXELS, MaxMegapixels, pixel_limit
from uwct.cli.look import Look
from uwct.cli.parsing import parsed
from uwct.cli.plan import check_output
from uwct.export.look import check
from uwct.files import hidden_prefix, write_bytes
from uwct.networks.config import DEFAULT_MODEL
from uwct.networks.model import Model, load
from uwct.pictures import images
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style

HELP = """Make a program of a model that paints without uwct: in one file, or a page in a folder.

  onnx        a file, a graph for ONNX Runtime and others: on phones, on servers, in C++, C#, Java, JavaScript; pictures
              have any sides from 32 pixels on
  stablehlo   a file, a program for JAX without uwct, on CPUs, GPUs and TPUs, and for other compilers; sides are
              multiples of 16 pixels from 32 on
  web         a folder with a page that paints in the browser, for any server of files

The program takes a photo, a style picture (unless --style names one, which is then part of it) and the strengths.
--transform adain and whiten and --photo are refused, and a --shrinkage below 0.05, with which the roots of covariances
would not be exact. The page has the photos of --content, the styles of --style and the strengths of --alpha to begin
with; people add their own, and nothing is uploaded.

Examples:
  uwct export --output painter.onnx
  uwct export --style examples/styles/strokes.jpg --output strokes.onnx
  uwct export --format stablehlo --output painter.stablehlo
  uwct export --format web --content examples/photos --style examples/styles --output page"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    look: Annotated[Look, tyro.conf.arg(name="")]
    output: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """The .onnx or .stablehlo file to write; with --format web, a folder that is not there yet."""
    format: Literal["onnx", "stablehlo", "web"] = "onnx"
    """What to write: see above."""
    style: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """A picture or a style file: the program paints in this style only, and takes no other. Of a page, a picture or a
    folder of pictures to choose from."""
    content: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Of a page: a photo, or a folder of photos to choose from."""
    runtime: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Of a page: the folder dist of the npm package onnxruntime-web; by default npm fetches it."""
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = DEFAULT_MODEL
    """The networks: small or vgg16, which come with this program, or a model file."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct export") -> None:
    """Exports, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        export(arguments)


def export(arguments: Arguments) -> None:
    """Writes the program, or the page."""
    look, output = arguments.look.resolve(), arguments.output
    if arguments.look.photo:
        raise ValueError("--photo cannot be exported")
    if arguments.format != "stablehlo" and importlib.util.find_spec("onnx") is None:
        raise ImportError('this needs the package onnx: python -m pip install ".[export]"')
    if arguments.format != "web":
        check_program(arguments)
    elif output.exists():
        raise FileExistsError(f"{output} exists; name a folder that is not there yet")
    images.check_folder(output.parent)
    model = load(arguments.model)
    check(model, look)
    if arguments.format == "web":
        page(arguments, model, look)
        return
    style = encode_file(arguments.style, model, look.style_size) if arguments.style else None
    write_bytes(output, program(arguments.format, model, look, style))
    given = f"in the style of {arguments.style}" if arguments.style else "in any style"
    strengths = ", ".join(f"{level}: {alpha:g}" for level, alpha in zip(look.levels, look.alpha, strict=True))
    print(f"{arguments.model} {given} -> {output}: {output.stat().st_size / 1e6:.1f} MB; alphas by level {strengths}")


def check_program(arguments: Arguments) -> None:
    """Raises ValueError or OSError for what does not belong to a program, or where it cannot be written."""
    if arguments.content or arguments.runtime:
        raise ValueError("--content and --runtime belong to --format web")
    if arguments.look.style_size is not None and not arguments.style:
        raise ValueError("--style-size is that of --style; without it the program takes styles as they are")
    if arguments.output.suffix.lower() != f".{arguments.format}":
        raise ValueError(f"{arguments.output} must end in .{arguments.format}")
    check_output(arguments.output, [arguments.style] if arguments.style else [])


def page(arguments: Arguments, model: Model, look: Preset) -> None:
    """Writes the page, whole or not at all."""
    from uwct.export.page import build, fetched_runtime

    output = arguments.output
    photos, styles = (listed(path) for path in (arguments.content, arguments.style))
    runtime = nullcontext(arguments.runtime) if arguments.runtime else fetched_runtime()
    with runtime as found, tempfile.TemporaryDirectory(dir=output.parent, prefix=hidden_prefix(output)) as temporary:
        folder = Path(temporary) / "page"
        folder.mkdir()
        build(model, look, folder, found, photos, styles)
        folder.rename(output)
    print(f"{arguments.model} -> {output}; to look at it: python -m http.server --directory {output}")


def listed(path: Path | None) -> list[Path]:
    """A picture, or those of a folder."""
    return [] if path is None else images.pictures_in(path) if path.is_dir() else [path]


def program(form: str, model: Model, look: Preset, style: Style | None) -> bytes:
    """The bytes of the file."""
    if form == "stablehlo":
        from uwct.export import stablehlo

        return bytes(stablehlo.painter(model, look, style).serialize())
    from uwct.export import painting

    return painting.painter(model, look, style).SerializeToString()
