"""The contact sheets of `uwct evaluate`."""

from collections.abc import Sequence

from uwct.cli.bench import Result
from uwct.judge.pairs import Pair
from uwct.pictures.contact_sheet import contact_sheet
from uwct.pictures.images import Picture


def sheet_of_all(results: Sequence[Result], name: str, cell: int) -> Picture:
    """Photos in the first column, styles in the first row, and where they meet what one maker made of every pair."""
    by_pair = {result.pair: result for result in results}
    contents, styles = ({getattr(pair, kind): None for pair in by_pair} for kind in ("content", "style"))
    first = next(iter(contents))
    rows: list[list[Picture | None]] = [[None, *(by_pair[Pair(first, style)].painting for style in styles)]]
    for content in contents:
        row = [by_pair[Pair(content, style)] for style in styles]
        rows.append([row[0].photo, *(_shown(result, name) for result in row)])
    return contact_sheet(rows, ["", *(p.stem for p in contents)], ["", *(p.stem for p in styles)], cell)


def sheet_of_pairs(results: Sequence[Result], names: Sequence[str], cell: int) -> Picture:
    """A row a pair: the photo, the style, and what each maker made of them."""
    rows: list[list[Picture | None]] = [
        [result.photo, result.painting, *(_shown(result, name) for name in names)] for result in results
    ]
    labels = [f"{result.pair.content.stem} in the manner of {result.pair.style.stem}" for result in results]
    return contact_sheet(rows, labels, ["photo", "style", *names], cell)


def _shown(result: Result, name: str) -> Picture | None:
    made = result.made.get(name)
    return made.shown if made else None
