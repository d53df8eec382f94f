"""`uwct evaluate`: how good stylized pictures are, in numbers and on a contact sheet, and beside others'."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from uwct.cli.bench import JUDGES, MEASURES, Bench, Result, check_judged, judged
from uwct.cli.cache import start_quickly
from uwct.cli.contact_sheets import sheet_of_all, sheet_of_pairs
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.limits import MEGAPIXELS, MaxMegapixels, check_size, pixel_limit
from uwct.cli.look import NUMBERS, Look
from uwct.cli.networks import Networks
from uwct.cli.parsing import parsed
from uwct.cli.plan import check_output, text_stream
from uwct.cli.refining import Refining
from uwct.cli.tables import distances, head, row, seconds
from uwct.judge.curve import Curve
from uwct.judge.evaluation import load_judge
from uwct.judge.pairs import Pair, all_pairs, find_results, read_pairs, titles
from uwct.pictures import images
from uwct.pictures.contact_sheet import sheet_shape
from uwct.pipeline.presets import Preset
from uwct.training.fidelity import fidelity, runs

HELP = """Stylize photos in the manner of style pictures, and measure the results.

Two numbers a picture, smaller is nearer, as each of two pretrained networks sees it: the style distance (how far the
statistics of the result's features are from the style's, as a fraction) and the content distance (LPIPS, how different
people would find the result from the photo). VGG-16 is also the network that stylizes; AlexNet is independent. No
setting is best at both; compare settings, or models, that are equal in one. Also the seconds that each picture took;
the first of every size includes compilation. The contact sheet shows all results, with the photos to their left and
the styles above; with --pairs or --beside, a row a pair: photo, style, result, others' results.

Examples:
  uwct evaluate --contents examples/photos --styles examples/styles --size 128 --output sheet.jpg
  uwct evaluate --contents examples/photos --styles examples/styles --size 128 --curve 0.5 1
  uwct evaluate --reconstruction examples/photos --size 128"""

OURS = "uwct"
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Folders = Annotated[
    tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FOLDER [FOLDER ...]")
]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    look: Annotated[Look, tyro.conf.arg(name="")]
    refining: Annotated[Refining, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    contents: Folder = None
    """A folder of photos."""
    styles: Folder = None
    """A folder of style pictures."""
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A text file with a pair a line, the names of a photo and of a style; by default every photo with every style."""
    beside: Folders = ()
    """Folders of what others made of the same pairs (CONTENT_STYLE.jpg and the like), to measure and show beside: each
    under its name."""
    curve: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """Factors, of 0 or more, by which all strengths are multiplied (up to 1): prints the means at each, and, with
    --beside, whether the others lie above or below that curve, instead of single pictures and the sheet."""
    reconstruction: Folder = None
    """A folder of photographs: prints how well the networks give them back that no style has touched, at each level
    and at levels 4 to 1 in turn, instead of everything else: PSNR, more is better, and LPIPS, less is."""
    size: int = 512
    """Long side in pixels of the results, and of the styles as the judging networks see them."""
    output: Path = Path("evaluation.jpg")
    """The contact sheet to write: a .png, .jpg, .webp or .tif file; - writes PNG to standard output."""
    cell: int = 256
    """Pixels a side of a picture on the sheet."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct evaluate") -> None:
    """Evaluates, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        failures = evaluate(arguments)
    fail_partly(failures)


def evaluate(arguments: Arguments) -> list[str]:
    """Prints tables, and writes the contact sheet; returns what failed."""
    check(arguments)
    if arguments.reconstruction:
        return print_fidelity(arguments, arguments.reconstruction)
    assert arguments.contents
    assert arguments.styles
    look = arguments.look.resolve()
    contents, styles = (images.pictures_in(folder) for folder in (arguments.contents, arguments.styles))
    pairs = read_pairs(arguments.pairs, contents, styles) if arguments.pairs else all_pairs(contents, styles)
    unread = faults_of({path for pair in pairs for path in (pair.content, pair.style)}, arguments.size)
    pairs = [pair for pair in pairs if not unread.keys() & {pair.content, pair.style}]
    if not pairs:
        raise ValueError(f"nothing could be measured: {min(unread.values())}")
    looks = scaled(look, arguments.curve) or {OURS: look}
    folders = titles([folder for group in arguments.beside for folder in group], looks)
    others = {name: find_results(folder, pairs) for name, folder in folders.items()}
    if not arguments.curve:
        taken = [path for found in others.values() for path in found.values()]
        check_sheet(arguments, [*contents, *styles, *taken], pairs, len(others))
    model = arguments.networks.load(look.levels)
    bench = Bench(model, arguments.size, arguments.cell, arguments.refining, arguments.look.photo)
    if arguments.curve:
        return [*unread.values(), *print_curve(bench, pairs, looks, others)]
    return [*unread.values(), *print_pairs(arguments, bench, pairs, look, others)]


def faults_of(paths: Iterable[Path], size: int) -> dict[Path, str]:
    """A sentence about each picture that cannot be read, or not be judged at a long side in pixels."""
    faults = {}
    for path in sorted(paths):
        try:
            height, width, _ = images.read(path).rgb.shape
            check_judged(path, images.fitted((height, width), size))
        except FAULTS as fault:
            faults[path] = sentence(fault)
    return faults


def check(arguments: Arguments) -> None:
    """Raises ValueError for options that do not go together, and numbers out of range."""
    check_size("--size", arguments.size)
    arguments.refining.check(arguments.look.resolve().transform)
    for factor in arguments.curve:
        if not 0 <= factor < np.inf:
            raise ValueError(f"--curve must hold numbers of 0 or more, not {factor:g}")
    if not 32 <= arguments.cell <= 4096:
        raise ValueError(f"--cell must lie between 32 and 4096, not {arguments.cell}")
    if arguments.reconstruction:
        given = [name for name in ("contents", "styles", "pairs", "beside", "curve") if getattr(arguments, name)]
        given += [field.name for group in (arguments.look, arguments.refining) for field in dataclasses.fields(group)
                  if getattr(group, field.name) != field.default]  # fmt: skip
        if given:
            option = given[0].replace("_", "-")
            raise ValueError(f"--reconstruction looks at networks without styles, so does not go with --{option}")
    elif not arguments.contents or not arguments.styles:
        raise ValueError("give folders as --contents and --styles, or one as --reconstruction")


def check_sheet(arguments: Arguments, inputs: Sequence[Path], pairs: Sequence[Pair], others: int) -> None:
    """Raises ValueError or OSError unless the contact sheet can be written."""
    check_output(arguments.output, inputs)
    contents, styles = ({getattr(pair, kind) for pair in pairs} for kind in ("content", "style"))
    in_rows = arguments.pairs or others
    rows, columns = (len(pairs), 3 + others) if in_rows else (1 + len(contents), 1 + len(styles))
    images.check_shape(arguments.output, sheet_shape(rows, columns, arguments.cell))


def scaled(look: Preset, factors: Sequence[float]) -> dict[str, Preset]:
    """The look with its strengths multiplied, up to 1, by each of the factors, from small to large."""
    return {
        f"{factor:.12g}": dataclasses.replace(look, alpha=tuple(min(1.0, factor * alpha) for alpha in look.alpha))
        for factor in sorted(factors)
    }


def print_pairs(
    arguments: Arguments, bench: Bench, pairs: Sequence[Pair], look: Preset, others: Mapping[str, Mapping[Pair, Path]]
) -> list[str]:
    """Prints a row a picture, and the means, and writes the contact sheet; returns what failed."""
    names, to = (OURS, *others), text_stream(arguments.output)
    results: list[Result] = []
    for result in bench.run(pairs, {OURS: look}, others):
        if not results:  # the photos could be read
            print(head("content", "style", *(["by"] if others else []), *MEASURES, "seconds"), file=to)
        for name, made in result.made.items():
            shown = [result.pair.content.stem, result.pair.style.stem, *([name] if others else [])]
            print(row(*shown, *distances(made.distances), seconds([made])), file=to, flush=True)
        results.append(result)
    whole = [result for result in results if not result.faults]  # means are of the same pairs for all
    for name in names if whole else ():
        of_name = [result.made[name] for result in whole]
        means = np.mean([made.distances for made in of_name], axis=0)
        print(row("**mean**", "", *([name] if others else []), *distances(means), seconds(of_name)), file=to)
    if arguments.pairs or others:
        by_pair = {result.pair: result for result in results}
        sheet = sheet_of_pairs([by_pair[pair] for pair in pairs], names, arguments.cell)
    else:
        sheet = sheet_of_all(results, OURS, arguments.cell)
    images.write(arguments.output, sheet)
    return [fault for result in results for fault in result.faults]


def print_curve(
    bench: Bench, pairs: Sequence[Pair], looks: Mapping[str, Preset], others: Mapping[str, Mapping[Pair, Path]]
) -> list[str]:
    """Prints the means in every look, and where the others lie beside that curve; returns what failed."""
    table: list[list[list[float]]] = []
    failures: list[str] = []
    with tqdm(bench.run(pairs, looks, others), total=len(pairs), unit="pair", leave=False) as results:
        for result in results:
            failures += result.faults
            if not result.faults:  # means are of the same pairs for all
                table.append([result.made[name].distances for name in (*looks, *others)])
    if not table:
        raise ValueError(f"nothing could be measured: {failures[0]}")
    means = np.mean(table, axis=0)
    print(head("strengths times", *MEASURES))
    for name, numbers in zip((*looks, *others), means, strict=True):
        print(row(name, *distances(numbers)))
    if others:
        print("\nOurs is a curve, style distance over LPIPS, linear between its points; compared at equal LPIPS:\n")
    points = means[: len(looks)]
    for i, judge in enumerate(JUDGES.values()):
        curve = Curve(points[:, 2 * i + 1], points[:, 2 * i])
        for name, numbers in zip(others, means[len(looks) :], strict=True):
            print(f"- by {judge}, {curve.place(name, lpips=numbers[2 * i + 1], style=numbers[2 * i])}")
    return failures


def print_fidelity(arguments: Arguments, folder: Path) -> list[str]:
    """Prints how well the networks give the photographs of a folder back: a row for levels, means over pictures.

    Returns what failed.
    """
    model, judges = arguments.networks.load(), [load_judge(name) for name in JUDGES]
    chains = runs(model)
    if not chains:
        raise ValueError(f"the model {arguments.networks.model} has no decoders")
    total = np.zeros((len(chains), 1 + len(judges)))
    paths = images.pictures_in(folder)
    unread = faults_of(paths, arguments.size)
    paths = [path for path in paths if path not in unread]
    if not paths:
        raise ValueError(f"nothing could be measured: {min(unread.values())}")
    for path in tqdm(paths, unit="picture", leave=False):
        picture = jnp.asarray(judged(path, arguments.size, model).rgb)
        total += np.stack([fidelity(model, judges, picture, levels) for levels in chains])
    print(head("levels", "PSNR (dB)", *(f"LPIPS ({judge})" for judge in JUDGES.values())))
    for levels, (psnr, *numbers) in zip(chains, total / len(paths), strict=True):
        print(row(" ".join(map(str, levels)), f"{psnr:.2f}", *distances(numbers)))
    return list(unread.values())
