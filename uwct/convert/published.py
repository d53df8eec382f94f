"""Published weights of WCT projects: where each file lies, and how it is known (published.tsv)."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from uwct.convert.fetch import Expected, Progress, download

TABLE = Path(__file__).with_name("published.tsv")
PUBLIC = "https://raw.githubusercontent.com"


@dataclasses.dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
      table: its name in published.tsv.
      credit: who made it, and where that is described.
      licence: of the weights.
    """

    table: str
    credit: str
    licence: str


MODELS = {
    "authors": Published(
        "authors",
        "Yijun Li, Chen Fang, Jimei Yang, Zhaowen Wang, Xin Lu, Ming-Hsuan Yang: Universal Style Transfer via Feature "
        "Transforms, NIPS 2017; converted to PyTorch by the project deep-transfer",
        "MIT; the encoder's weights, VGG-19's, CC BY 4.0 (Simonyan and Zisserman)",
    ),
    "collaborative-distillation": Published(
        "collaborative-distillation-16x",
        "Huan Wang, Yijun Li, Yuehai Wang, Haoji Hu, Ming-Hsuan Yang: Collaborative Distillation for Ultra-Resolution "
        "Universal Style Transfer, CVPR 2020 (the 16 times smaller models)",
        "MIT",
    ),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One published file: what it is ("decoder3"), its place below a public address, how it is known."""

    part: str
    place: str
    expected: Expected

    @property
    def level(self) -> int:
        """Of the network in it."""
        return int(self.part[-1])


def entries(name: str, levels: Sequence[int]) -> list[Entry]:
    """The files of a published model, of some levels; raises ValueError for a level that it has not."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["model"] == MODELS[name].table]
    found = [
        Entry(
            row["part"],
            f"{row['github_repository']}/{row['commit']}/{row['path']}",
            Expected(row["sha256"].strip("-"), row["git_blob_sha1"]),
        )
        for row in rows
    ]
    missing = set(levels) - {entry.level for entry in found}
    if missing:
        raise ValueError(f"{name} has no level {min(missing)}")
    return [entry for entry in found if entry.level in levels]


def bring(wanted: Sequence[Entry], folder: Path, address: str, progress: Progress) -> list[Path]:
    """Downloads files into a folder, those that are there already excepted; raises as `fetch.download` does.

    `progress` is told the bytes of all of them together, and 0 for how many there will be.
    """
    paths, before = [], 0
    for entry in wanted:
        target = folder / f"{entry.part}.pth"

        def told(done: int, _: int, before: int = before) -> None:
            progress(before + done, 0)

        paths.append(download(f"{address.rstrip('/')}/{entry.place}", target, entry.expected, told))
        before += target.stat().st_size
    return paths


def find(wanted: Sequence[Entry], folder: Path) -> list[Path]:
    """The same files in a folder, whatever they are called there; raises ValueError naming those that are missing."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} of published files")
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    found = {entry.part: next((path for path in files if entry.expected.fits(path)), None) for entry in wanted}
    missing = [part for part, path in found.items() if path is None]
    if missing:
        raise ValueError(f"{folder} holds not all of the published files: {', '.join(missing)} are missing")
    return [path for path in found.values() if path is not None]
