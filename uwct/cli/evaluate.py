"""`uwct evaluate`: how good stylized pictures are, in numbers and on a contact sheet."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array

from uwct import images
from uwct.cli.cache import use_compilation_cache
from uwct.cli.errors import one_sentence
from uwct.cli.look import Look
from uwct.contact_sheet import contact_sheet
from uwct.evaluation import SMALLEST, Judge, content_distance, load_judge, statistics, style_distance
from uwct.images import Picture
from uwct.model import load
from uwct.presets import TRANSFORMS
from uwct.transfer import encode_style, stylize

HELP = """Stylize every photo of one folder in the manner of every picture of another, and measure the results.

Two numbers a picture, each from two pretrained networks, VGG-16 and AlexNet, and smaller is nearer: the style distance
(how far the statistics of the result's features are from the style's, as a fraction) and the content distance (LPIPS,
how different people would find the result from the photo). No setting is best at both; compare settings, or models,
that are equal in one. Also the seconds that each picture took; the first of every size includes compilation. The
contact sheet shows all results, with the photos to their left and the styles above.

Example:
  uwct evaluate --contents examples/photos --styles examples/styles --size 128 --output sheet.jpg"""

JUDGES = {"vgg16": "VGG-16", "alexnet": "AlexNet"}


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
    """The networks: vgg16, which comes with this program, or a model file that train.py wrote."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the networks that stylize compute in; the judges always compute in float32."""


def main(argv: list[str] | None = None, prog: str = "uwct evaluate") -> None:
    """Evaluates, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    use_compilation_cache()
    with one_sentence():
        evaluate(arguments)


def evaluate(arguments: Arguments) -> None:
    """Prints a Markdown table, a row a picture and their mean, and writes the contact sheet."""
    look, model = arguments.look.resolve(), load(arguments.model, dtype=arguments.dtype)
    model.check_levels(look.levels)
    images.file_format(arguments.output)
    images.check_folder(arguments.output.parent)
    contents, styles = (images.pictures_in(folder) for folder in (arguments.contents, arguments.styles))
    photos = [sized(path, arguments.size) for path in contents]
    paintings = [sized(path, arguments.size) for path in styles]
    judges = [load_judge(name) for name in JUDGES]
    references = [[statistics(judge, painting.rgb) for judge in judges] for painting in paintings]
    encoded = [encode_style(model, jnp.asarray(resized(path, look.style_size).rgb)) for path in styles]
    names = [f"{kind} ({judge})" for judge in JUDGES.values() for kind in ("style distance", "LPIPS")]
    print(f"| content | style | {' | '.join(names)} | seconds |\n| --- | --- {'| --- ' * (len(names) + 1)}|")
    rows: list[list[Picture | None]] = [[None, *paintings]]
    table = []
    for path, photo in zip(contents, photos, strict=True):
        rows.append([photo])
        for style_path, style, reference in zip(styles, encoded, references, strict=True):
            start = time.perf_counter()
            content = jnp.asarray(photo.rgb)
            transform = TRANSFORMS[look.transform]
            result = stylize(
                model, content, style, look.levels, look.alpha, transform=transform, shrinkage=look.shrinkage
            )
            picture = Picture(np.clip(np.asarray(result), 0, 1))
            seconds = time.perf_counter() - start
            numbers = [*measure(judges, reference, content, jnp.asarray(picture.rgb)), seconds]
            print(row(path.stem, style_path.stem, numbers), flush=True)
            table.append(numbers)
            rows[-1].append(picture)
    print(row("**mean**", "", list(np.mean(table, axis=0))))
    labels = ["", *(path.stem for path in contents)]
    images.write(arguments.output, contact_sheet(rows, labels, ["", *(path.stem for path in styles)]))


def sized(path: Path, long_side: int) -> Picture:
    """A picture at that long side; raises ValueError when it is too small to be judged."""
    picture = resized(path, long_side)
    if min(picture.rgb.shape[:2]) < SMALLEST:
        raise ValueError(f"{path} at {picture.size} pixels is too small to be judged: {SMALLEST} are needed")
    return picture


def resized(path: Path, long_side: int) -> Picture:
    """A picture at that long side; 0 keeps its own."""
    picture = images.read(path)
    return images.resize(picture, images.fitted(picture, long_side))


def measure(judges: list[Judge], reference: list[list[object]], photo: Array, picture: Array) -> list[float]:
    """Style and content distance by each judge, in the order of the table."""
    numbers = []
    for judge, moments_of_style in zip(judges, reference, strict=True):
        numbers.append(float(style_distance(statistics(judge, picture), moments_of_style)))
        numbers.append(float(content_distance(judge, photo, picture)))
    return numbers


def row(content: str, style: str, numbers: list[float]) -> str:
    *distances, seconds = numbers
    return f"| {content} | {style} | {' | '.join(f'{d:.3f}' for d in distances)} | {seconds:.1f} |"
