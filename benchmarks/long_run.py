"""Memory and compilations over a long run: many pictures of mixed shapes in one process.

    python benchmarks/long_run.py --pictures 1000

What the command does with a folder, without the files: photographs of as many shapes as asked for, in random order,
each in one of two styles. Programs are compiled for buckets, of which there are few (see uwct/pipeline/padding.py).
Prints how much memory the process has after a tenth of the pictures and at the end, and how many programs were compiled
for how many shapes; writes the course of both.
"""

import dataclasses
import gc
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import tyro

import uwct
from uwct.cli.dtypes import dtype_for
from uwct.pictures import images
from uwct.pipeline.padding import bucket


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to run; the words under each field are its help."""

    pictures: int = 1000
    """How many pictures."""
    shapes: int = 12
    """How many shapes they have."""
    size: int = 128
    """The largest side in pixels."""
    levels: tuple[int, ...] = (4, 3, 2, 1)
    """The levels to use."""
    model: str = "small"
    """The networks."""
    photos: Path = Path("examples/photos")
    """A folder of photographs."""
    styles: Path = Path("examples/styles")
    """A folder of styles."""
    output: Path = Path("runs/long_run")
    """Folder for results.json and results.png."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model, r = uwct.load(arguments.model, dtype=dtype_for("auto")), np.random.default_rng(0)
    photos = [images.read(path) for path in images.pictures_in(arguments.photos)]
    paintings = images.pictures_in(arguments.styles)[:2]
    styles = [uwct.encode_style(model, jnp.asarray(images.resize(images.read(p), (96, 96)).rgb)) for p in paintings]
    least = max(1, arguments.size // 2)
    shapes = [(int(h), int(w)) for h, w in r.integers(least, arguments.size + 1, (arguments.shapes, 2))]
    process, course, compiled = psutil.Process(), [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    for number in range(arguments.pictures):
        shape = shapes[int(r.integers(len(shapes)))]
        photo: Any = images.resize(photos[number % len(photos)], shape).rgb
        result = uwct.stylize(model, photo, styles[number % 2], arguments.levels, 0.6)
        if result.shape != photo.shape or not np.isfinite(result).all():
            raise ValueError(f"picture {number} is not a finite picture of the content's shape")
        gc.collect(0)
        course.append((process.memory_info().rss / 2**20, len(compiled)))
    report(arguments, shapes, course)


def report(arguments: Arguments, shapes: list[tuple[int, int]], course: list[tuple[float, int]]) -> None:
    """Prints the table, and writes the figures and the plot."""
    memory, programs = zip(*course, strict=True)
    tenth = max(1, len(course) // 10)
    buckets = {bucket(*sorted(shape)) for shape in shapes}
    row: dict[str, Any] = {
        "pictures": len(course),
        "shapes": len(set(shapes)),
        "buckets": len(buckets),
        "programs after a tenth": programs[tenth - 1],
        "programs": programs[-1],
        "MiB after a tenth": round(memory[tenth - 1]),
        "MiB at the end": round(memory[-1]),
        "MiB at most": round(max(memory)),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps({**row, "jax": jax.__version__, "course": course}))
    plot(memory, programs, arguments.output / "results.png")
    print("\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in row.items())]))


def plot(memory: tuple[float, ...], programs: tuple[int, ...], path: Path) -> None:
    """Memory and programs against pictures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(memory, color="C0")
    axes.set(xlabel="pictures", ylabel="resident memory in MiB", ylim=(0, None))
    other = axes.twinx()
    other.plot(programs, color="C1", linestyle="--")
    other.set(ylabel="programs (dashed)", ylim=(0, None))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
