"""`uwct evaluate`: how good stylized pictures are, in numbers and on a contact sheet."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array

from uwct.cli.cache import start_quickly
from uwct.cli.dtypes import dtype_for
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.look import Look
from uwct.cli.plan import check_outputs
from uwct.cli.sizes import MEGAPIXELS, MaxMegapixels, check_size, pixel_limit, sized
from uwct.cli.styles import encode_file
from uwct.judge.evaluation import SMALLEST, Judge, content_distance, load_judge, statistics, style_distance
from uwct.networks.model import Model, load
from uwct.pictures import images
from uwct.pictures.contact_sheet import contact_sheet, sheet_shape
from uwct.pictures.images import Picture
from uwct.pipeline.presets import TRANSFORMS, Preset
from uwct.pipeline.styles import Style
from uwct.pipeline.whole import stylize
from uwct.transforms.statistics import Moments

HELP = """Stylize every photo of one folder in the manner of every picture of another, and measure the results.

Two numbers a picture, smaller is nearer, as each of two pretrained networks sees it: the style distance (how far the
statistics of the result's features are from the style's, as a fraction) and the content distance (LPIPS, how different
people would find the result from the photo). VGG-16 is also the network that stylizes; AlexNet is independent. No
setting is best at both; compare settings, or models, that are equal in one. Also the seconds that each picture took;
the first of every size includes compilation. The contact sheet shows all results, with the photos to their left and
the styles above.

Example:
  uwct evaluate --contents examples/photos --styles examples/styles --size 128 --output sheet.jpg"""

JUDGES = {"vgg16": "VGG-16", "alexnet": "AlexNet"}
KINDS = ("style distance", "LPIPS")
CELL = 256  # pixels a side of a picture on the sheet


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    contents: Path
    """A folder of photos."""
    styles: Path
    """A folder of style pictures."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    size: int = 512
    """Long side in pixels of the results, and of the styles as the judging networks see them."""
    output: Path = Path("evaluation.jpg")
    """The contact sheet to write: a .png, .jpg, .webp or .tif file."""
    model: str = "vgg16"
    """The networks: vgg16 or small (faster), which come with this program, or a model file that train.py wrote."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the networks that stylize compute in, "auto" being bfloat16 where this device is fast with it, else float32;
    the judges always compute in float32."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct evaluate") -> None:
    """Evaluates, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        failures = evaluate(arguments)
    fail_partly(failures)


def evaluate(arguments: Arguments) -> list[str]:
    """Prints a Markdown table, a row a picture and their mean, and writes the contact sheet; returns what failed."""
    look, model = arguments.look.resolve(), load(arguments.model, dtype=dtype_for(arguments.dtype))
    model.check_levels(look.levels)
    check_size("--size", arguments.size)
    contents, styles = (images.pictures_in(folder) for folder in (arguments.contents, arguments.styles))
    check_outputs([arguments.output], [*contents, *styles])
    images.check_folder(arguments.output.parent)
    images.check_shape(arguments.output, sheet_shape(1 + len(contents), 1 + len(styles), CELL))
    photos = [judged(path, arguments.size, model) for path in contents]
    judges = [load_judge(name) for name in JUDGES]
    print(row("content", "style", [f"{kind} ({judge})" for judge in JUDGES.values() for kind in KINDS], "seconds"))
    print("| --- " * (3 + len(JUDGES) * len(KINDS)) + "|")
    cells: list[list[Picture | None]] = [[None]]
    cells += [[reduced(photo)] for photo in photos]
    table, failures = [], []
    for path in styles:
        painting = judged(path, arguments.size, model)
        cells[0].append(reduced(painting))
        references = [statistics(judge, jnp.asarray(painting.rgb)) for judge in judges]
        style = encode_file(path, model, look.style_size)
        for content, photo, line in zip(contents, photos, cells[1:], strict=True):
            try:
                result, seconds = timed(model, jnp.asarray(photo.rgb), style, look)
            except FAULTS as fault:
                failures.append(f"{content} in the manner of {path}: {sentence(fault)}")
                line.append(None)
                continue
            numbers = [*measure(judges, references, jnp.asarray(photo.rgb), jnp.asarray(result.rgb)), seconds]
            print(numbered_row(content.stem, path.stem, numbers), flush=True)
            table.append(numbers)
            line.append(reduced(result))
    if table:
        print(numbered_row("**mean**", "", list(np.mean(table, axis=0))))
    labels = ["", *(path.stem for path in contents)]
    images.write(arguments.output, contact_sheet(cells, labels, ["", *(path.stem for path in styles)], CELL))
    return failures


def judged(path: Path, long_side: int, model: Model) -> Picture:
    """A picture at that long side; raises ValueError when it is too small to be judged."""
    _, picture = sized(path, "--size", long_side, model.config)
    if min(picture.rgb.shape[:2]) < SMALLEST:
        raise ValueError(f"{path} at {picture.size} pixels is too small to be judged: {SMALLEST} are needed a side")
    return picture


def reduced(picture: Picture) -> Picture:
    """As small as the sheet shows it, so that thousands fit in memory."""
    return images.resize(picture, images.fitted(picture.rgb.shape[:2], min(CELL, max(picture.rgb.shape[:2]))))


def timed(model: Model, photo: Array, style: Style, look: Preset) -> tuple[Picture, float]:
    """The stylized photo, clipped, and the seconds that it took."""
    start = time.perf_counter()
    transform = TRANSFORMS[look.transform]
    result = stylize(model, photo, style, look.levels, look.alpha, transform=transform, shrinkage=look.shrinkage)
    picture = Picture(np.clip(np.asarray(result), 0, 1))
    return picture, time.perf_counter() - start


def measure(judges: list[Judge], references: list[list[Moments]], photo: Array, picture: Array) -> list[float]:
    """Style and content distance by each judge, in the order of the table."""
    numbers = []
    for judge, reference in zip(judges, references, strict=True):
        numbers.append(float(style_distance(statistics(judge, picture), reference)))
        numbers.append(float(content_distance(judge, photo, picture)))
    return numbers


def row(content: str, style: str, cells: list[str], seconds: str) -> str:
    return f"| {content} | {style} | {' | '.join(cells)} | {seconds} |"


def numbered_row(content: str, style: str, numbers: list[float]) -> str:
    *distances, seconds = numbers
    return row(content, style, [f"{distance:.3f}" for distance in distances], f"{seconds:.1f}")
