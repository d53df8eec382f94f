"""`uwct grid`: many settings side by side in one picture."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from tqdm import tqdm

from uwct.cli.cache import start_quickly
from uwct.cli.encoding import encode_file
from uwct.cli.errors import one_sentence
from uwct.cli.limits import MEGAPIXELS, MaxMegapixels, check_size, pixel_limit
from uwct.cli.look import Look
from uwct.cli.networks import Networks
from uwct.cli.parsing import parsed
from uwct.cli.photo_painter import Painter
from uwct.cli.plan import check_output, text_stream
from uwct.cli.refining import Refining
from uwct.cli.sizes import sized
from uwct.cli.watching import observer
from uwct.pictures import images
from uwct.pictures.contact_sheet import contact_sheet, sheet_shape
from uwct.pictures.images import Picture
from uwct.pictures.spaces import in_space
from uwct.pipeline.parts import corner_shares
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style

HELP = """Lay results of many settings out in one picture, with labels.

Examples:
  uwct grid --contents cat.jpg coffee.jpg --styles waves.jpg mosaic.jpg strokes.jpg
  uwct grid --of strengths --contents cat.jpg --styles waves.jpg --levels 5 4 3 2 1 --output strengths.png
  uwct grid --of mixtures --contents cat.jpg --styles waves.jpg mosaic.jpg --output mixtures.png"""

Files = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]")]
Numbers = Sequence[float]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    contents: Files
    """The photos."""
    styles: Files
    """The styles: pictures or style files."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    refining: Annotated[Refining, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    of: Literal["styles", "strengths", "mixtures"] = "styles"
    """What differs. "styles": a row for each photo, a column for each style. "strengths": a row for each level alone, a
    column for each alpha from 0 to 1, of one photo and one style. "mixtures": from the one of two styles to the other,
    or between four in the corners, of one photo."""
    steps: int = 5
    """How many strengths or mixtures there are in a row, 2 to 20."""
    size: int = 256
    """Long side of every result in pixels."""
    output: Annotated[Path, tyro.conf.arg(metavar="PATH")] = Path("grid.png")
    """The picture to write: a .png, .jpg, .webp or .tif file; - writes PNG to standard output."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct grid") -> None:
    """Draws the grid, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        check(arguments)
        draw(arguments)


def check(arguments: Arguments) -> None:
    """Raises ValueError or OSError for what cannot be drawn."""
    contents, styles = len(arguments.contents), len(arguments.styles)
    if not contents or not styles:
        raise ValueError("--contents and --styles need at least one picture each")
    if arguments.of == "strengths" and (contents, styles) != (1, 1):
        raise ValueError(f"--of strengths takes one photo and one style, not {contents} and {styles}")
    if arguments.of == "strengths" and arguments.look.alpha is not None:
        raise ValueError("--of strengths shows every strength from 0 to 1, so does not go with --alpha")
    if arguments.of == "mixtures" and (contents != 1 or styles not in (2, 4)):
        raise ValueError(f"--of mixtures takes one photo and two or four styles, not {contents} and {styles}")
    if not 2 <= arguments.steps <= 20:
        raise ValueError(f"--steps must lie between 2 and 20, not {arguments.steps}")
    check_size("--size", arguments.size)
    arguments.refining.check(arguments.look.resolve().transform)
    if not arguments.size:
        raise ValueError("--size must be at least 1")
    check_output(arguments.output, [*arguments.contents, *arguments.styles])
    rows = 1 + contents if arguments.of == "styles" else arguments.steps
    images.check_shape(arguments.output, sheet_shape(rows, max(1 + styles, arguments.steps), arguments.size))


def draw(arguments: Arguments) -> None:
    """Writes the grid."""
    look = arguments.look.resolve()
    model = arguments.networks.load(look.levels)
    photos = [in_space(sized(path, "--size", arguments.size, model.config)[1]) for path in arguments.contents]
    vgg = observer(arguments.refining, model.dtype)
    styles = [encode_file(path, model, look.style_size, vgg=vgg, levels=look.levels) for path in arguments.styles]
    painter = Painter(model, vgg, arguments.refining.steps, arguments.look.photo)
    with tqdm(unit="picture", leave=False) as bar:

        def paint(photo: Picture, styles: list[Style], look: Preset, weights: Numbers | None = None) -> Picture:
            result = painter.paint(photo, styles, look, weights)
            bar.update()
            return result

        if arguments.of == "styles":
            rows = [[photo, *(paint(photo, [style], look) for style in styles)] for photo in photos]
            names = [path.stem for path in arguments.contents]
            labels = ["", *(path.stem for path in arguments.styles)]
        elif arguments.of == "strengths":
            strengths = np.linspace(0, 1, arguments.steps)
            rows = [
                [paint(photos[0], styles, dataclasses.replace(look, levels=(level,), alpha=(a,))) for a in strengths]
                for level in look.levels
            ]
            names = [f"level {level}" for level in look.levels]
            labels = [f"alpha {a:.2g}" for a in strengths]
        else:
            shares = corner_shares(len(styles), 1 if len(styles) == 2 else arguments.steps, arguments.steps)
            rows = [[paint(photos[0], styles, look, cell) for cell in row] for row in np.moveaxis(shares, 0, -1)]
            names = [""] * len(rows)
            names[0] = " to ".join(path.stem for path in arguments.styles[:2])
            names[-1] = " to ".join(path.stem for path in arguments.styles[-2:])
            labels = [f"{share:.2g}" for share in np.linspace(0, 1, arguments.steps)]
    sheet = contact_sheet(rows, names, labels, arguments.size)
    images.write(arguments.output, sheet)
    made = f"{sum(map(len, rows))} pictures -> {arguments.output} ({sheet.size})"
    print(made, file=text_stream(arguments.output))
