"""Data sets in random styles: pictures a second, against the script that people use.

python benchmarks/augment.py --pictures 64

Prints a Markdown table. The baseline does what stylize-datasets (Geirhos et al.) does: AdaIN in PyTorch, VGG-19 up to
relu4_1 and a decoder that mirrors it, one picture at a time, the style encoded anew for each. Its weights are random,
since only speed counts. All sides read the same JPEG files, and write JPEG files; what each needs to start (imports,
compilation, styles) is left out by a first run over a few pictures where its processes live on, and told where not.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from torch import nn

from uwct import Stylizer
from uwct.datasets.folders import Folder
from uwct.datasets.work import Work

OURS: dict[str, dict[str, Any]] = {
    "uwct, levels 4 to 1": {},
    "uwct, AdaIN at level 4": {"levels": (4,), "transform": "adain"},
}
Side = Literal["one", "core", "two", "beam", "ray", "baseline"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    pictures: int = 64
    size: int = 224
    sides: tuple[Side, ...] = ("baseline", "one", "core", "two", "beam", "ray")
    """One process, one on one core, two on a core each, Beam's two, Ray's two; and the baseline."""
    model: str = "small"
    styles: Path = Path("examples/styles")
    photos: Path = Path("examples/photos")
    """Pictures are cut out of these."""


def vgg() -> nn.Sequential:
    """VGG-19 up to relu4_1, as the authors of AdaIN have it."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    for block, (inputs, width, count) in enumerate(((3, 64, 2), (64, 128, 2), (128, 256, 4), (256, 512, 1))):
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if block else []
        for i in range(count):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(width if i else inputs, width, 3), nn.ReLU()]
    return nn.Sequential(*layers)


def decoder() -> nn.Sequential:
    """Its mirror."""
    layers: list[nn.Module] = []
    for inputs, width, count in ((512, 256, 1), (256, 128, 4), (128, 64, 2)):
        for i in range(count):
            last = i == count - 1
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(inputs, width if last else inputs, 3), nn.ReLU()]
        layers.append(nn.Upsample(scale_factor=2))
    layers += [nn.ReflectionPad2d(1), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(64, 3, 3)]
    return nn.Sequential(*layers)


def baseline(arguments: Arguments, paths: list[Path], output: Path) -> Callable[[], None]:
    """What stylizes all pictures one by one."""
    encoder, back, rng = vgg().eval(), decoder().eval(), np.random.default_rng(0)
    styles = sorted(arguments.styles.iterdir())

    def tensor(path: Path, size: int) -> torch.Tensor:
        pixels = np.asarray(Image.open(path).convert("RGB").resize((size, size)), np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]

    def run() -> None:
        with torch.inference_mode():
            for path in paths:
                content = encoder(tensor(path, arguments.size))
                style = encoder(tensor(styles[rng.integers(len(styles))], 512))
                normal = (content - content.mean((2, 3), True)) / (content.std((2, 3), keepdim=True) + 1e-5)
                found = back(normal * style.std((2, 3), keepdim=True) + style.mean((2, 3), True))
                pixels = (255 * found[0].permute(1, 2, 0).clamp(0, 1).numpy()).astype(np.uint8)
                Image.fromarray(pixels).save(output / path.name)

    return run


def cut(arguments: Arguments, folder: Path) -> list[Path]:
    """Pictures to stylize, as files."""
    folder.mkdir()
    photos = [Image.open(path).convert("RGB") for path in sorted(arguments.photos.iterdir())]
    rng, side = np.random.default_rng(0), arguments.size
    for i in range(arguments.pictures):
        photo = photos[i % len(photos)]
        left, top = (int(rng.integers(max(1, length - side))) for length in photo.size)
        photo.crop((left, top, left + side, top + side)).save(folder / f"{i}.jpg", quality=95)
    return sorted(folder.iterdir())


def work_of(arguments: Arguments, photos: Path, output: Path, workers: int, how: dict[str, Any]) -> Work:
    """Our side's: a folder into another, with styles kept from the first run on."""
    output.mkdir(exist_ok=True)
    stylizer = Stylizer(arguments.styles, photos.parent / "kept", arguments.model, workers=workers, **how)
    return Work(Folder(photos, output), stylizer)


def some(work: Work, shards: list[str]) -> None:
    """Does pictures in this process."""
    for shard in shards:
        report = work(shard, work.data.output / "manifest-0-of-1.jsonl")
        assert not report.failures, report.failures


def by_processes(work: Work, shards: list[str], count: int = 2) -> None:
    """Does pictures in new processes, two on a core each or one on one."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(count) as pool:
        pool.starmap(some, [(work, shards[part::count]) for part in range(count)])


def by_beam(work: Work, shards: list[str]) -> None:
    """The same, which Beam starts."""
    from uwct import beam

    assert not beam.run(work, shards, ["--direct_num_workers=2", "--direct_running_mode=multi_processing"])


def by_ray(work: Work, shards: list[str]) -> None:
    """The same, which Ray starts."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    task = ray.remote(some)
    ray.get([task.remote(work, shards[part::2]) for part in range(2)])


RUNNERS: dict[str, Callable[[Work, list[str]], None]] = {
    "one": some,
    "core": partial(by_processes, count=1),
    "two": by_processes,
    "beam": by_beam,
    "ray": by_ray,
}


def seconds(run: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main(arguments: Arguments) -> None:
    """Measures, and prints the table."""
    print(f"| {arguments.pictures} pictures of {arguments.size} pixels | pictures/s |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = cut(arguments, folder / "photos")
        if "baseline" in arguments.sides:
            (folder / "baseline").mkdir()
            baseline(arguments, paths[:2], folder / "baseline")()
            took = seconds(baseline(arguments, paths, folder / "baseline"))
            print(f"| AdaIN in PyTorch, one by one | {len(paths) / took:.2f} |", flush=True)
        for label, how in OURS.items():
            for side in [side for side in arguments.sides if side != "baseline"]:
                workers = 1 if side == "one" else 2
                work = work_of(arguments, folder / "photos", folder / f"{side}{len(how)}", workers, how)
                shards = work.data.shards()
                if side == "one":
                    some(work, shards[:2])
                    shards = shards[2:]
                took = seconds(lambda run=RUNNERS[side], work=work, shards=shards: run(work, shards))  # type: ignore[misc]
                note = "" if side == "one" else ", starting included"
                print(f"| {label}, {side}{note} | {len(shards) / took:.2f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
