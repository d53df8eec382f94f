"""`uwct video`: a clip in the manner of any picture."""

import dataclasses
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from uwct.cli.cache import start_quickly
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.look import Look
from uwct.cli.masks import Regions, read_mask
from uwct.cli.networks import Networks
from uwct.cli.refining import Refining
from uwct.cli.sizes import bytes_per_pixel, check_memory, check_size, free_memory, read
from uwct.cli.styles import Styles, encode_file, plain_style
from uwct.networks.model import Model
from uwct.pictures import clips, images
from uwct.pipeline.colors import keep_chroma
from uwct.pipeline.frames import stylize_frames
from uwct.pipeline.parts import Region, resolve
from uwct.pipeline.presets import TRANSFORMS, Preset
from uwct.pipeline.refine_frames import refine_frames

HELP = """Paint a video in the manner of any picture.

IN is a video file of any kind that FFmpeg reads, or a folder of frames. Frame rate, time stamps, size and sound stay as
they are. OUT is a video file, .mp4, .mov, .m4v or .mkv (H.264) or .webm (VP9); of a folder of frames, a folder, where
frames keep their names.

Colors and strokes are steadied over time (--temporal), so that they do not jump when something comes into view; each
scene starts anew. Video files need PyAV: python -m pip install ".[video]".

Interrupted (Ctrl-C), the command finishes the file with the frames that are done; interrupted again, it leaves none.

Examples:
  uwct video clip.mp4 painted.mp4 --style examples/styles/waves.jpg --size 480
  uwct video frames painted --style examples/styles/waves.jpg"""

Place = Annotated[Path, tyro.conf.Positional]
Ticket = TypeVar("Ticket")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    source: Annotated[Place, tyro.conf.arg(name="in", metavar="IN")]
    """The video, or a folder of frames: pictures of one size, in the order of the numbers in their names."""
    output: Annotated[Place, tyro.conf.arg(name="out", metavar="OUT")]
    """The video to write: .mp4, .mov, .m4v, .mkv or .webm; for a folder of frames a folder, made if need be."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    styles: Annotated[Styles, tyro.conf.arg(name="")]
    regions: Annotated[Regions, tyro.conf.arg(name="")]
    refining: Annotated[Refining, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    keep_colors: Annotated[Literal["luminance"] | None, tyro.conf.arg(metavar="{luminance}")] = None
    """Keep the video's colors: take only light and dark from the stylized frames."""
    temporal: float = 0.9
    """How steady the look is, from 0 (each frame on its own) to less than 1: how much the frames before count."""
    size: int = 0
    """Long side of the result in pixels; 0 keeps the video's size."""
    batch: int = 0
    """How many frames to compute at once at most, which changes the speed, not the result; 0 stands for 1 on a CPU, 8
    elsewhere."""


def main(argv: list[str] | None = None, prog: str = "uwct video") -> None:
    """Stylizes a video, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    start_quickly()
    with one_sentence():
        check(arguments)
        work = paint_folder if arguments.source.is_dir() else paint_file
        with stopping() as stop:
            done, faults = work(arguments, stop)
    if stop.is_set():
        print(f"interrupted: {arguments.output} holds the first {done} frames", file=sys.stderr)
        sys.exit(130)
    fail_partly(faults)


def check(arguments: Arguments) -> None:
    """Raises ValueError or OSError for arguments that do not make sense."""
    source, output, paths = arguments.source, arguments.output, arguments.styles.paths
    look = arguments.look.resolve()
    if not paths and not arguments.regions.region and look.transform != "whiten":
        raise ValueError("--style needs at least one picture")
    for path in paths:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; a video takes style pictures and style files")
    arguments.styles.check(len(look.levels))
    arguments.regions.check(bool(paths))
    arguments.refining.check()
    if arguments.refining.steps and look.transform == "whiten":
        raise ValueError("--refine goes towards a style, and --transform whiten has none")
    if not 0 <= arguments.temporal < 1:
        raise ValueError(f"--temporal must be at least 0 and less than 1, not {arguments.temporal:g}")
    if arguments.batch < 0:
        raise ValueError(f"--batch must be at least 0, not {arguments.batch}")
    check_size("--size", arguments.size)
    if not source.exists():
        raise FileNotFoundError(f"there is no video {source}")
    if source.resolve() == output.resolve():
        raise ValueError(f"OUT would overwrite {source}; give another name")
    if source.is_dir():
        if output.suffix.lower() in clips.SUFFIXES or output.is_file():
            raise ValueError(f"{source} is a folder of frames, so the output must be a folder too, not {output}")
    else:
        clips.check_suffix(output)
        images.check_folder(output.parent)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Within it SIGINT and SIGTERM set the Event that it gives; the second of them raises KeyboardInterrupt."""
    stop = threading.Event()

    def handle(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def paint_file(arguments: Arguments, stop: threading.Event) -> tuple[int, list[str]]:
    """Writes the video in the style, until it ends or is stopped; returns the number of frames, and what was wrong."""
    with clips.Clip(arguments.source) as clip:
        shape = images.fitted(clip.shape, arguments.size)
        if clip.hdr:
            print(f"{arguments.source} is HDR: its light is mapped to that of a screen", file=sys.stderr)
        if clip.transparent:
            print(f"{arguments.source} is transparent in part, which {arguments.output} will not be", file=sys.stderr)
        painter = Painter.of(arguments, shape, None)
        with clips.Writer(arguments.output, clip, shape) as writer:
            if writer.shape != shape:
                size = "{1}x{0}".format(*writer.shape)
                print(f"{arguments.output} is {size} pixels: its codec takes even sides only", file=sys.stderr)
            painted = painter.paint(clip.frames(shape, writer.hear))
            return write_all(painted, writer.write, clip.count, stop), clip.faults


def paint_folder(arguments: Arguments, stop: threading.Event) -> tuple[int, list[str]]:
    """Writes the frames in the style, until they end or are stopped; returns their number, and what was wrong."""
    paths = sorted(images.pictures_in(arguments.source), key=in_order)
    outputs = [path.name if path.suffix.lower() in images.SUFFIXES else f"{path.name}.png" for path in paths]
    (first_path, first), faults = next_frame(iter(paths)), []
    shape = images.fitted(first.rgb.shape[:2], arguments.size)
    painter = Painter.of(arguments, shape, first.icc_profile)
    arguments.output.mkdir(parents=True, exist_ok=True)
    images.check_folder(arguments.output)

    def frames() -> Iterator[tuple[np.ndarray, tuple[Path, images.Picture]]]:
        for path, name in zip(paths, outputs, strict=True):
            try:
                picture = read(path)
            except FAULTS as fault:
                faults.append(sentence(fault))
                continue
            if picture.rgb.shape != first.rgb.shape:
                sizes = f"{path} is {picture.size} pixels, but {first_path} {first.size}"
                raise ValueError(f"{sizes}; frames have one size")
            picture = images.resize(picture, shape)
            yield picture.rgb, (arguments.output / name, picture)

    def write(rgb: np.ndarray, ticket: tuple[Path, images.Picture]) -> None:
        path, picture = ticket
        images.write(path, dataclasses.replace(picture, rgb=rgb))

    return write_all(painter.paint(frames()), write, len(paths), stop), faults


def next_frame(paths: Iterator[Path]) -> tuple[Path, images.Picture]:
    """The first picture that can be read, and its path; raises what is wrong with the first of all if none can."""
    path = next(paths)
    try:
        return path, read(path)
    except FAULTS:
        for other in paths:
            with suppress(*FAULTS):
                return other, read(other)
        raise


def in_order(path: Path) -> list[tuple[int, str]]:
    """The key by which files are sorted as people number them: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def write_all(painted: Iterator[tuple[np.ndarray, Any]], write: Any, count: int | None, stop: threading.Event) -> int:
    """Writes frame after frame until there are no more, or it is stopped; returns their number."""
    done = 0
    with tqdm(total=count, unit="frame") as bar:
        for rgb, ticket in painted:
            write(rgb, ticket)
            done += 1
            bar.update()
            if stop.is_set():
                break
    return done


@dataclasses.dataclass(frozen=True)
class Painter:
    """All that frames are stylized with."""

    model: Model
    vgg: Model | None  # that refines them
    steps: int
    wanted: list[Region]
    chroma: bool
    options: dict[str, Any]

    @classmethod
    def of(cls, arguments: Arguments, shape: tuple[int, int], profile: bytes | None) -> "Painter":
        """Of the arguments, for frames of (height, width) in the color space of a profile.

        Raises ValueError or OSError for what does not fit.
        """
        look = arguments.look.resolve()
        model = arguments.networks.load(look.levels)
        check_memory(str(arguments.source), "--size", *shape, model.config)
        batch = arguments.batch or (1 if jax.default_backend() == "cpu" else 8)
        fitting = int(free_memory() / (shape[0] * shape[1] * bytes_per_pixel(model.config)))
        options = {
            "levels": look.levels,
            "alpha": look.alpha,
            "temporal": arguments.temporal,
            "batch": max(1, min(batch, fitting)),
            "transform": TRANSFORMS[look.transform],
            "shrinkage": look.shrinkage,
        }
        vgg = arguments.refining.load(model.dtype)
        regions = regions_of(arguments, look, model, vgg, shape, profile)
        return cls(model, vgg, arguments.refining.steps, regions, arguments.keep_colors is not None, options)

    def paint(self, frames: Iterable[tuple[np.ndarray, Ticket]]) -> Iterator[tuple[np.ndarray, Ticket]]:
        """Each frame stylized, with what came beside it."""
        waiting: deque[tuple[np.ndarray, Ticket]] = deque()

        def alone() -> Iterator[np.ndarray]:
            for frame, ticket in frames:
                waiting.append((frame, ticket))
                yield frame

        painted: Iterable[Any] = stylize_frames(self.model, alone(), self.wanted, **self.options)
        if self.vgg:
            levels = self.options["levels"]
            pairs = ((jnp.asarray(waiting[0][0]), jnp.asarray(rgb)) for rgb in painted)  # one is waited for at a time
            parts = resolve(self.model, self.wanted, levels, self.options["alpha"])
            painted = (np.asarray(rgb) for rgb in refine_frames(self.vgg, pairs, parts, levels, self.steps))
        for rgb in painted:
            frame, ticket = waiting.popleft()
            yield np.asarray(keep_chroma(jnp.asarray(rgb), jnp.asarray(frame))) if self.chroma else rgb, ticket


def regions_of(
    arguments: Arguments, look: Preset, model: Model, vgg: Model | None, shape: tuple[int, int], profile: bytes | None
) -> list[Region]:
    """What is asked of which part of frames of (height, width), in a color space: masks lie over all of them."""
    regions = []
    for files, factor in zip(arguments.regions.files, arguments.regions.factors, strict=True):
        styles = [encode_file(path, model, look.style_size, vgg=vgg, profile=profile) for path in files.styles]
        mask = jnp.asarray(read_mask(files.mask, shape, files.color))
        alpha = [factor * alpha for alpha in look.alpha]
        regions.append(Region(mask, styles, files.weights if styles else None, alpha))
    styles = arguments.styles.encode(arguments.styles.paths, model, look.style_size, vgg, profile=profile)
    if look.transform == "whiten" and not styles:
        styles = [plain_style(model)]
    return [*regions, Region(None, styles, arguments.styles.mixtures())]
