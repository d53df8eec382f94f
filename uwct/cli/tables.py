"""The tables of `uwct evaluate`, in Markdown, a line at a time."""

from collections.abc import Iterable, Sequence

import numpy as np

from uwct.cli.bench import Made


def head(*columns: str) -> str:
    """The first two lines of a Markdown table."""
    return f"{row(*columns)}\n" + "| --- " * len(columns) + "|"


def row(*cells: str) -> str:
    """A line."""
    return f"| {' | '.join(cells)} |"


def distances(numbers: Iterable[float]) -> list[str]:
    """Cells of numbers that people compare."""
    return [f"{number:.3f}" for number in numbers]


def seconds(made: Sequence[Made]) -> str:
    """The mean of the seconds that pictures took; others' have none."""
    known = [each.seconds for each in made if each.seconds is not None]
    return f"{np.mean(known):.1f}" if known else "-"
