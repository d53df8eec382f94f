"""Pairs of photos and styles to judge by, as a text file lists them, and what others made of them."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from uwct.pictures import images


@dataclasses.dataclass(frozen=True)
class Pair:
    """A photo and a style picture."""

    content: Path
    style: Path

    @property
    def name(self) -> str:
        """As results are called: CONTENT_STYLE."""
        return f"{self.content.stem}_{self.style.stem}"


def all_pairs(contents: Sequence[Path], styles: Sequence[Path]) -> list[Pair]:
    """Every photo with every style."""
    return [Pair(content, style) for style in styles for content in contents]


def read_pairs(path: Path, contents: Sequence[Path], styles: Sequence[Path]) -> list[Pair]:
    """The pairs of a file: a line each, a photo's name and a style's, with suffixes or without, # before comments.

    The names are separated by a space, a tab or a comma. Raises ValueError, with its line, for a name that no picture
    has, or several, and for a file without pairs; OSError when it cannot be read.
    """
    pairs = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None
    for number, line in enumerate(lines, start=1):
        names = re.split(r"[\s,]+", line.partition("#")[0].strip())
        if names == [""]:
            continue
        if len(names) != 2:
            raise ValueError(f"line {number} of {path} must name a photo and a style, not {len(names)} pictures")
        where = f"line {number} of {path}"
        pairs.append(Pair(_named(names[0], contents, "photo", where), _named(names[1], styles, "style", where)))
    if not pairs:
        raise ValueError(f"{path} names no pairs")
    return pairs


def find_result(folder: Path, pair: Pair) -> Path:
    """What somebody made of a pair: CONTENT_STYLE with any suffix of a picture; raises FileNotFoundError for none."""
    found = [path for path in images.pictures_in(folder) if path.stem == pair.name]
    if not found:
        raise FileNotFoundError(f"the folder {folder} holds no picture {pair.name}")
    return found[0]


def _named(name: str, pictures: Sequence[Path], kind: str, where: str) -> Path:
    found = [path for path in pictures if name in (path.name, path.stem)]
    if len(found) != 1:
        many = "no" if not found else f"{len(found)} different"
        raise ValueError(f"{where}: there is {many} {kind} called {name}")
    return found[0]
