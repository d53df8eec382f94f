"""Pairs of photos and styles to judge by, as a text file lists them, and what others made of them."""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
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
    """The pairs of a file, each once: a line each, a photo's name and a style's, # before comments.

    Names have their suffixes or not; a tab or a comma separates them, or, in lines without, spaces do. Raises
    ValueError for a file without pairs, or, with their lines, for all names that no picture has, or several; OSError
    when the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file") from None
    pairs, faults = [], []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        names = re.split(r"\s*[\t,]\s*" if re.search(r"[\t,]", text) else r"\s+", text)
        if names == [""]:
            continue
        if len(names) != 2:
            faults.append(f"line {number} must name a photo and a style, not {len(names)} pictures")
            continue
        found = [_named(names[0], contents), _named(names[1], styles)]
        if all(len(pictures) == 1 for pictures in found):
            pairs.append(Pair(found[0][0], found[1][0]))
        for name, pictures, kind in zip(names, found, ("photo", "style"), strict=True):
            if not pictures:
                faults.append(f"line {number}: there is no {kind} called {name!r}")
            elif len(pictures) > 1:
                which = " or ".join(picture.name for picture in pictures)
                faults.append(f"line {number}: the {kind} {name!r} may be {which}")
    if faults:
        raise ValueError(f"{path}: " + "; ".join(faults))
    if not pairs:
        raise ValueError(f"{path} names no pairs")
    return list(dict.fromkeys(pairs))


def find_results(folder: Path, pairs: Iterable[Pair]) -> dict[Pair, Path]:
    """What somebody made of pairs: pictures CONTENT_STYLE with any suffix, directly in a folder.

    Raises ValueError, naming them all, for pairs without a picture, or with several; what `images.pictures_in` raises.
    """
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for path in images.pictures_in(folder):
        by_stem[path.stem].append(path)
    found = {pair: by_stem[pair.name] for pair in pairs}
    if missing := [pair.name for pair, paths in found.items() if not paths]:
        raise ValueError(f"the folder {folder} holds no picture {', '.join(missing)}")
    if several := [" and ".join(path.name for path in paths) for paths in found.values() if len(paths) > 1]:
        raise ValueError(f"the folder {folder} holds {', '.join(several)}, of one pair each")
    return {pair: path for pair, (path,) in found.items()}


def titles(folders: Sequence[Path], taken: Iterable[str]) -> dict[str, Path]:
    """Folders by their names, or by their paths where a name is not one folder's alone, or is taken already.

    Raises ValueError for a folder that is given twice.
    """
    whole = [folder.resolve() for folder in folders]
    counts = Counter([*taken, *(path.name for path in whole)])
    names = [path.name if counts[path.name] == 1 else str(path) for path in whole]
    for name, folder in zip(names, folders, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"the folder {folder} is given twice")
    return dict(zip(names, folders, strict=True))


def _named(name: str, pictures: Sequence[Path]) -> list[Path]:
    """The one of that name; where there is none, those that have the name but for their suffix."""
    return [path for path in pictures if path.name == name] or [path for path in pictures if path.stem == name]
