"""`uwct evaluate`: how good stylized pictures are, in numbers and on a contact sheet, and beside others'."""

import dataclasses
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.look import NUMBERS, Look
from uwct.cli.networks import Networks
from uwct.cli.plan import check_outputs
from uwct.cli.sizes import MEGAPIXELS, MaxMegapixels, check_size, pixel_limit, read, sized
from uwct.cli.styles import encode_file
from uwct.judge.curve import Curve
from uwct.judge.evaluation import SMALLEST, Judge, content_distance, load_judge, statistics, style_distance
from uwct.judge.pairs import Pair, all_pairs, find_result, read_pairs
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.contact_sheet import contact_sheet, sheet_shape
from uwct.pictures.images import Picture
from uwct.pipeline.presets import TRANSFORMS, Preset
from uwct.pipeline.whole import stylize
from uwct.transforms.statistics import Moments

HELP = """Stylize photos in the manner of style pictures, and measure the results.

Two numbers a picture, smaller is nearer, as each of two pretrained networks sees it: the style distance (how far the
statistics of the result's features are from the style's, as a fraction) and the content distance (LPIPS, how different
people would find the result from the photo). VGG-16 is also the network that stylizes; AlexNet is independent. No
setting is best at both; compare settings, or models, that are equal in one. Also the seconds that each picture took;
the first of every size includes compilation. The contact sheet shows all results, with the photos to their left and
the styles above; with --pairs or --beside, a row a pair: photo, style, result, others' results.

Examples:
  uwct evaluate --contents examples/photos --styles examples/styles --size 128 --output sheet.jpg
  uwct evaluate --contents examples/photos --styles examples/styles --size 128 --curve 0.5 1"""

JUDGES = {"vgg16": "VGG-16", "alexnet": "AlexNet"}
KINDS = ("style distance", "LPIPS")
MEASURES = [f"{kind} ({judge})" for judge in JUDGES.values() for kind in KINDS]
CELL = 256  # pixels a side of a picture on the sheet
OURS = "uwct"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    contents: Path
    """A folder of photos."""
    styles: Path
    """A folder of style pictures."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A text file with a pair a line, the names of a photo and of a style; by default every photo with every style."""
    beside: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER [FOLDER ...]")] = ()
    """Folders of what others made of the same pairs (CONTENT_STYLE.jpg and the like), to measure and show beside."""
    curve: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """Factors, of 0 or more, by which all strengths are multiplied (up to 1): prints the means at each, and, with
    --beside, which style distance ours has at the others' LPIPS, instead of single pictures and the sheet."""
    size: int = 512
    """Long side in pixels of the results, and of the styles as the judging networks see them."""
    output: Path = Path("evaluation.jpg")
    """The contact sheet to write: a .png, .jpg, .webp or .tif file."""
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
    """Prints tables, and writes the contact sheet; returns what failed."""
    look = arguments.look.resolve()
    model = arguments.networks.load(look.levels)
    check_size("--size", arguments.size)
    for factor in arguments.curve:
        if not 0 <= factor < np.inf:
            raise ValueError(f"--curve must hold numbers of 0 or more, not {factor:g}")
    contents, styles = (images.pictures_in(folder) for folder in (arguments.contents, arguments.styles))
    pairs = read_pairs(arguments.pairs, contents, styles) if arguments.pairs else all_pairs(contents, styles)
    others = {folder.name: {pair: find_result(folder, pair) for pair in pairs} for folder in arguments.beside}
    bench = Bench(arguments, model, [load_judge(name) for name in JUDGES])
    if arguments.curve:
        return print_curve(bench, pairs, look, arguments.curve, others)
    in_rows = arguments.pairs is not None or bool(others)
    check_outputs([arguments.output], [*contents, *styles])
    images.check_folder(arguments.output.parent)
    rows, columns = (len(pairs), 3 + len(others)) if in_rows else (1 + len(contents), 1 + len(styles))
    images.check_shape(arguments.output, sheet_shape(rows, columns, CELL))
    results = bench.run(pairs, look, others, tell=True)
    for name in (OURS, *others):
        numbers = [result.numbers[name] for result in results if name in result.numbers]
        if numbers:
            print(row("**mean**", "", name if others else "", list(np.mean(numbers, axis=0))))
    images.write(arguments.output, sheet_of_pairs(results, others) if in_rows else sheet_of_all(results))
    return bench.failures


@dataclasses.dataclass
class Result:
    """A pair, and what was made of it by whom: measures (and the seconds of ours), and pictures as the sheet shows."""

    pair: Pair
    numbers: dict[str, list[float]]
    shown: dict[str, Picture]


class Bench:
    """What pairs are tried on: a model and judges. Photos and styles are read and encoded once."""

    def __init__(self, arguments: Arguments, model: Model, judges: list[Judge]) -> None:
        self._arguments, self._model, self._judges = arguments, model, judges
        self.failures: list[str] = []

    def run(
        self, pairs: list[Pair], look: Preset, others: dict[str, dict[Pair, Path]], *, tell: bool = False
    ) -> list[Result]:
        """The results, in the order of the pairs; with `tell`, a table of them is printed on the way."""
        if tell:
            print(head(bool(others)))
        results: dict[Pair, Result] = {}
        by_style = sorted(pairs, key=lambda pair: pair.style)
        for path, group in groupby(by_style, key=lambda pair: pair.style):
            painting = self._judged(path)
            references = [statistics(judge, jnp.asarray(painting.rgb)) for judge in self._judges]
            style = encode_file(path, self._model, look.style_size)
            for pair in group:
                photo = self._judged(pair.content)
                results[pair] = result = Result(pair, {}, {"": reduced(photo), "style": reduced(painting)})
                try:
                    start = time.perf_counter()
                    rgb = stylize(
                        self._model, jnp.asarray(photo.rgb), style, look.levels, look.alpha,
                        transform=TRANSFORMS[look.transform], shrinkage=look.shrinkage,
                    )  # fmt: skip
                    pictures = {OURS: Picture(np.clip(np.asarray(rgb), 0, 1))}
                    seconds = time.perf_counter() - start
                except FAULTS as fault:
                    self.failures.append(f"{pair.content} in the manner of {path}: {sentence(fault)}")
                    pictures, seconds = {}, 0.0
                for name, found in others.items():
                    pictures[name] = images.resize(read(found[pair]), (photo.rgb.shape[0], photo.rgb.shape[1]))
                for name, picture in pictures.items():
                    numbers = self._measure(references, photo, picture) + ([seconds] if name == OURS else [])
                    result.numbers[name], result.shown[name] = numbers, reduced(picture)
                    if tell:
                        print(row(pair.content.stem, path.stem, name if others else "", numbers), flush=True)
        return [results[pair] for pair in pairs]

    def _judged(self, path: Path) -> Picture:
        """A picture at the size of results; raises ValueError when it is too small to be judged."""
        _, picture = sized(path, "--size", self._arguments.size, self._model.config)
        if min(picture.rgb.shape[:2]) < SMALLEST:
            raise ValueError(f"{path} at {picture.size} pixels is too small to be judged: {SMALLEST} are needed a side")
        return picture

    def _measure(self, references: list[list[Moments]], photo: Picture, picture: Picture) -> list[float]:
        """Style and content distance by each judge, in the order of MEASURES."""
        numbers, (a, b) = [], (jnp.asarray(photo.rgb), jnp.asarray(picture.rgb))
        for judge, reference in zip(self._judges, references, strict=True):
            numbers.append(float(style_distance(statistics(judge, b), reference)))
            numbers.append(float(content_distance(judge, a, b)))
        return numbers


def print_curve(
    bench: Bench, pairs: list[Pair], look: Preset, factors: Sequence[float], others: dict[str, dict[Pair, Path]]
) -> list[str]:
    """Prints the means at every factor of the strengths, and where the others lie; returns what failed."""
    print(f"| strengths times | {' | '.join(MEASURES)} |\n" + "| --- " * (1 + len(MEASURES)) + "|")
    points, theirs = [], {}
    for number, factor in enumerate(sorted(factors)):
        scaled = dataclasses.replace(look, alpha=tuple(min(1.0, factor * alpha) for alpha in look.alpha))
        measured = {} if number else others  # what others made is measured once
        results = bench.run(pairs, scaled, measured)
        ours = [result.numbers[OURS][: len(MEASURES)] for result in results if OURS in result.numbers]
        if not ours:
            raise ValueError(f"nothing could be measured: {bench.failures[0]}")
        points.append(np.mean(ours, axis=0))
        for name in measured:
            theirs[name] = np.mean([result.numbers[name] for result in results], axis=0)
        print(f"| {factor:g} | {' | '.join(f'{x:.3f}' for x in points[-1])} |", flush=True)
    for name, numbers in theirs.items():
        print(f"| {name} | {' | '.join(f'{x:.3f}' for x in numbers)} |")
    for i, judge in enumerate(JUDGES.values()):
        curve = Curve(np.array(points)[:, 2 * i + 1], np.array(points)[:, 2 * i])
        for name, numbers in theirs.items():
            print(f"by {judge}: {curve.beside(name, lpips=numbers[2 * i + 1], style=numbers[2 * i])}")
    return bench.failures


def sheet_of_all(results: list[Result]) -> Picture:
    """Photos in the first column, styles in the first row, results where they meet."""
    contents = list(dict.fromkeys(result.pair.content for result in results))
    styles = list(dict.fromkeys(result.pair.style for result in results))
    by_pair = {result.pair: result.shown for result in results}
    cells: list[list[Picture | None]] = [[None, *(by_pair[Pair(contents[0], style)]["style"] for style in styles)]]
    for content in contents:
        made = [by_pair[Pair(content, style)].get(OURS) for style in styles]
        cells.append([by_pair[Pair(content, styles[0])][""], *made])
    return contact_sheet(cells, ["", *(p.stem for p in contents)], ["", *(p.stem for p in styles)], CELL)


def sheet_of_pairs(results: list[Result], others: dict[str, dict[Pair, Path]]) -> Picture:
    """A row a pair: photo, style, ours, the others'."""
    columns = ["", "style", OURS, *others]
    cells = [[result.shown.get(name) for name in columns] for result in results]
    labels = [f"{result.pair.content.stem} in the manner of {result.pair.style.stem}" for result in results]
    return contact_sheet(cells, labels, ["photo", *columns[1:]], CELL)


def reduced(picture: Picture) -> Picture:
    """As small as the sheet shows it, so that thousands fit in memory."""
    return images.resize(picture, images.fitted(picture.rgb.shape[:2], min(CELL, max(picture.rgb.shape[:2]))))


def head(compared: bool) -> str:
    """The first lines of the table."""
    columns = ["content", "style", *(["by"] if compared else []), *MEASURES, "seconds"]
    return f"| {' | '.join(columns)} |\n" + "| --- " * len(columns) + "|"


def row(content: str, style: str, name: str, numbers: list[float]) -> str:
    """A line of the table; others' pictures have no seconds."""
    cells = [content, style, *([name] if name else []), *(f"{x:.3f}" for x in numbers[: len(MEASURES)])]
    seconds = "".join(f"{x:.1f}" for x in numbers[len(MEASURES) :])
    return f"| {' | '.join(cells)} | {seconds or '-'} |"
