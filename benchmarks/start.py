"""From start to file: the first picture of all, sizes never seen, sizes seen, and a folder in which all sizes differ.

python benchmarks/start.py --photos 200

Prints a Markdown table. Every row but the last three is a command of its own, `uwct stylize`; they share a cache of
compiled programs, which is empty before the first.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

# Width and height of single photos, as shares of the long side.
SIDES = {
    "the first of all": (1, 0.666),
    "the same again": (1, 0.666),
    "a size that was not seen": (1, 0.736),
    "one that is taller than wide": (0.666, 1),
    "one with fewer rows": (1, 0.45),
    "the last again": (1, 0.45),
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    photos: int = 200
    """Photos in the folder, no two of one size."""
    size: int = 512
    """Long side in pixels of single photos, and at most of those in the folder."""
    content: Path = Path("examples/photos/cat.jpg")
    """They are made of this."""
    style: Path = Path("examples/styles/strokes.jpg")
    model: str = "small"


def paint(arguments: Arguments, content: Path, output: Path, cache: Path) -> float:
    """The seconds that a command takes."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "uwct", "stylize", "--content", content, "--style", arguments.style,
         "--output", output, "--model", arguments.model],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - begin


def folder_of(arguments: Arguments, photo: Image.Image, folder: Path) -> None:
    """Photos with sides between half the size and the size, no two of one size."""
    folder.mkdir()
    rng, sizes = np.random.default_rng(0), set[tuple[int, int]]()
    while len(sizes) < arguments.photos:
        width, height = (int(side) for side in rng.integers(arguments.size // 2, arguments.size + 1, 2))
        if (width, height) not in sizes:
            photo.resize((width, height)).save(folder / f"{len(sizes):04d}.jpg")
        sizes.add((width, height))


def main(arguments: Arguments) -> None:
    """Measures, and prints the table."""
    photo = Image.open(arguments.content).convert("RGB")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(f"| {arguments.model} | pixels | seconds |\n| --- | --- | --- |")
        for label, shares in SIDES.items():
            width, height = (round(share * arguments.size) for share in shares)
            photo.resize((width, height)).save(place / "photo.png")
            took = paint(arguments, place / "photo.png", place / "out.png", place / "cache")
            print(f"| {label} | {width} x {height} | {took:.1f} |", flush=True)
        folder_of(arguments, photo, place / "photos")
        (place / "out").mkdir()
        begin = time.time()
        paint(arguments, place / "photos", place / "out", place / "empty")
        done = sorted(path.stat().st_mtime - begin for path in (place / "out").glob("*.jpg"))
        quarter = len(done) // 4
        for label, first, last in (("first", 0, quarter), ("second", quarter, 2 * quarter), ("last", -quarter - 1, -1)):
            took = done[last] - (done[first] if first else 0)
            print(f"| {quarter} photos of as many sizes, the {label} quarter | up to {arguments.size} | {took:.1f} |")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
