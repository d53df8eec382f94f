"""Seconds and memory of large pictures: in windows, whole, and with PyTorch.

    python benchmarks/tiling.py --megapixels 1 4 16 100

Every row is a process of its own, measured from outside: the command `stylize` with --tile in windows and whole (up to
the size that fits in memory), and the PyTorch pipeline of benchmarks/stylize.py with the same weights, whole. The
content is a photograph, repeated as often as it takes. Times include the command's start, compilation and files.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tyro

WINDOWS, WHOLE, TORCH = "uwct, in windows", "uwct, whole", "PyTorch, whole"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure; the words under each field are its help."""

    megapixels: tuple[float, ...] = (1, 4, 16, 100)
    """Sizes of the pictures."""
    whole_up_to: float = 16
    """The largest that is tried whole, in megapixels."""
    model: str = "small"
    """vgg16 or small."""
    levels: tuple[int, ...] = (4, 3, 2, 1)
    """The levels to run."""
    tile: int = 1536
    """Height and width of the windows in pixels."""
    photo: Path = Path("examples/photos/coffee.jpg")
    """The content."""
    style: Path = Path("examples/styles/strokes.jpg")
    """The style."""
    output: Path = Path("runs/tiling")
    """Folder for results.json and results.md."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for megapixels in arguments.megapixels:
            picture = repeated(arguments.photo, megapixels, Path(name))
            for side in (WINDOWS, WHOLE, TORCH):
                if side == WINDOWS or megapixels <= arguments.whole_up_to:
                    row = {"megapixels": megapixels, "side": side, **run(arguments, side, picture, Path(name))}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps(rows, indent=1))
    (arguments.output / "results.md").write_text(table(rows))
    print(table(rows))


def repeated(photo: Path, megapixels: float, folder: Path) -> Path:
    """A JPEG file of a photograph laid side by side with its mirror images, about 3 to 2."""
    import pyvips

    image = pyvips.Image.new_from_file(str(photo))
    image = image.join(image.fliphor(), "horizontal")
    image = image.join(image.flipver(), "vertical")
    height = max(16, round((megapixels * 1e6 / 1.5) ** 0.5))
    width = round(1.5 * height)
    path = folder / f"{megapixels:g}.jpg"
    image.replicate(-(-width // image.width), -(-height // image.height)).crop(0, 0, width, height).jpegsave(str(path))
    return path


def run(arguments: Arguments, side: str, picture: Path, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of one process."""
    levels = [str(level) for level in arguments.levels]
    if side == TORCH:
        words = [arguments.model, str(picture), str(arguments.style), list(arguments.levels)]
        command = [sys.executable, "-c", f"from benchmarks.tiling import torch_whole; torch_whole(*{words!r})"]
    else:
        tile = str(arguments.tile) if side == WINDOWS else "off"
        command = [
            sys.executable, "stylize.py", "--content", str(picture), "--style", str(arguments.style),
            "--model", arguments.model, "--levels", *levels, "--alpha", "0.6", "--tile", tile,
            "--output", str(folder / "out.jpg"),
        ]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = watch(process.pid)
    error = process.communicate()[1]
    seconds = time.perf_counter() - start
    if process.returncode:
        return {"failed": (error.strip().splitlines() or ["killed"])[-1][:200]}
    return {"seconds": seconds, "mebibytes": peak() / 2**20}


def watch(pid: int) -> Callable[[], int]:
    """A function that gives the largest resident memory of a process in bytes, mapped pages included, once it ended."""
    sizes = [0]

    def look() -> None:
        try:
            process = psutil.Process(pid)
            while True:
                sizes.append(process.memory_info().rss)
                time.sleep(0.05)
        except psutil.Error:
            return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()

    def peak() -> int:
        thread.join(1)
        return max(sizes)

    return peak


def torch_whole(model: str, picture: str, style: str, levels: list[int]) -> None:
    """One picture through the PyTorch pipeline, from file to file."""
    from benchmarks.stylize import load, torch_pipeline
    from uwct.pictures import images

    stylize, _ = torch_pipeline(load(model, "float32"), compiled=False, levels=levels)
    content = images.read(picture).rgb
    height, width = (side - side % 16 for side in content.shape[:2])
    painting = images.read(style)
    painting = images.resize(painting, images.fitted(painting.rgb.shape[:2], 512))
    result = stylize(content[:height, :width], painting.rgb[: painting.rgb.shape[0] // 16 * 16])
    images.write(Path(picture).with_name("torch.jpg"), images.Picture(np.clip(result, 0, 1)))


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table, a row a picture and side."""
    lines = ["| megapixels | | seconds | peak memory |", "| --- | --- | --- | --- |"]
    for row in rows:
        result = row.get("failed") or f"{row['seconds']:.0f} | {row['mebibytes'] / 1024:.2f} GiB"
        lines.append(f"| {row['megapixels']:g} | {row['side']} | {result} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
