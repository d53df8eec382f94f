"""`uwct video`: a clip in the manner of any picture."""

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from tqdm import tqdm

from uwct.cli.cache import start_quickly
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.frame_folder import FrameFolder, Numbered
from uwct.cli.frame_painter import Painter, State
from uwct.cli.parsing import parsed
from uwct.cli.plan import Job, check_outputs
from uwct.cli.sizes import read
from uwct.cli.starting import interrupt
from uwct.cli.video_options import Arguments
from uwct.pictures import images
from uwct.pictures.animations import Animation, is_animation
from uwct.pictures.clip_writer import Writer
from uwct.pictures.clips import Clip

HELP = """Paint a video in the manner of any picture.

IN is a video file of any kind that FFmpeg reads, an animated GIF, PNG or WebP, or a folder of frames. Frame rate, time
stamps, size, sound and transparency stay as they are. OUT is a video file, .mp4, .m4v, .mkv, .mov (H.264; ProRes 4444
if transparent) or .webm (VP9), an animated .gif or .webp, or a folder, a name without a suffix: of a folder of frames
they keep their names, of others they are numbered, 000001.png and so on. What OUT cannot hold is named.

Colors and strokes are steadied over time (--temporal), so that they do not jump when something comes into view; each
scene starts anew. Video files need PyAV: python -m pip install ".[video]". A folder as --style, whose pictures uwct
stylize takes in turn, is refused here.

Interrupted (Ctrl-C), the command finishes the file with the frames that are done; interrupted again, it leaves none. A
folder keeps them, and --resume goes on.

Examples:
  uwct video clip.mp4 painted.mp4 --style examples/styles/waves.jpg --size 480
  uwct video frames painted --style examples/styles/waves.jpg"""


def main(argv: list[str] | None = None, prog: str = "uwct video") -> None:
    """Stylizes a video, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    start_quickly()
    with one_sentence():
        arguments.check()
        with stopping() as stop:
            done, faults = paint_folder(arguments, stop) if arguments.source.is_dir() else paint_clip(arguments, stop)
    if stop.is_set():
        further = "; --resume goes on" if arguments.into_folder else ""
        print(f"interrupted: {arguments.output} holds the first {done} frames{further}", file=sys.stderr)
        sys.exit(130)
    fail_partly(faults)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Within it SIGINT and SIGTERM set the Event that it gives; the second of them raises KeyboardInterrupt."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            interrupt(number, frame)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def paint_clip(arguments: Arguments, stop: threading.Event) -> tuple[int, list[str]]:
    """Stylizes a video or an animated picture, until it ends or is stopped: the number of frames, what was wrong."""
    source = arguments.source
    with Animation(source) if source.is_file() and is_animation(source) else Clip(source) as clip:
        shape = images.fitted(clip.shape, arguments.size)
        if clip.hdr:
            print(f"{source} is HDR: its light is mapped to that of a screen", file=sys.stderr)
        painter = Painter.of(arguments, shape, None, clip.count)
        into = frames_into_folder if arguments.into_folder else frames_into_file
        return into(arguments, clip, painter, shape, stop), clip.faults


def frames_into_file(
    arguments: Arguments, clip: Clip | Animation, painter: Painter, shape: tuple[int, int], stop: threading.Event
) -> int:
    """Writes a video file; returns the number of its frames."""
    output = arguments.output
    with Writer(output, clip, shape) as writer:
        if writer.shape != shape:
            size = "{1}x{0}".format(*writer.shape)
            print(f"{output} is {size} pixels: its codec takes even sides only", file=sys.stderr)
        if clip.transparent and not writer.transparent:
            what = f"{arguments.source} is transparent in part, which {output} cannot be: it is laid on white"
            print(what, file=sys.stderr)
        if writer.silent:
            print(f"{output} has no sound: {output.suffix} holds none", file=sys.stderr)
        painted = painter.paint(clip.frames(shape, writer.hear), State())
        done = write_all(painted, lambda pixels, time, _: writer.write(pixels, time), clip.count, stop)
    if writer.left_out:
        print(f"{output} lacks {writer.left_out} frames, too short for {output.suffix}", file=sys.stderr)
    return done


def frames_into_folder(
    arguments: Arguments, clip: Clip | Animation, painter: Painter, shape: tuple[int, int], stop: threading.Event
) -> int:
    """Writes a clip's frames as pictures; returns their number."""
    if clip.sound:
        print(f"{arguments.output} has no sound: a folder of frames holds none", file=sys.stderr)
    folder, styles = FrameFolder(arguments, painter), tuple(arguments.styles.paths)

    def job(number: int) -> Job:
        return Job(arguments.source, styles, arguments.output / f"{number:06}.png")

    done, state = folder.finished(map(job, count(1)), None)

    def frames() -> Iterator[tuple[np.ndarray, Numbered]]:
        for number, (pixels, _) in enumerate(clip.frames(shape, lambda packet: None), 1):
            if number > done:
                yield pixels, Numbered(number, job(number), images.Picture(pixels[..., :3], alpha_of(pixels)))

    return write_all(painter.paint(frames(), state), folder.write, clip.count, stop, done if arguments.resume else None)


def alpha_of(pixels: np.ndarray) -> np.ndarray | None:
    """Of a frame `[H, W, 3]` or `[H, W, 4]`."""
    return pixels[..., 3] if pixels.shape[-1] == 4 else None


def paint_folder(arguments: Arguments, stop: threading.Event) -> tuple[int, list[str]]:
    """Writes the frames of a folder, until they end or are stopped: their number, and what was wrong."""
    paths = sorted(images.pictures_in(arguments.source), key=in_order)
    names = [path.name if path.suffix.lower() in images.SUFFIXES else f"{path.name}.png" for path in paths]
    styles = tuple(arguments.styles.paths)
    jobs = [Job(path, styles, arguments.output / name) for path, name in zip(paths, names, strict=True)]
    check_outputs([job.output for job in jobs], [*paths, *styles, *arguments.others], "OUT")
    first_path, first = next_frame(iter(paths))
    faults: list[str] = []
    shape = images.fitted(first.rgb.shape[:2], arguments.size)
    painter = Painter.of(arguments, shape, first.icc_profile, len(paths))
    folder = FrameFolder(arguments, painter)
    done, state = folder.finished(jobs, faults)

    def frames() -> Iterator[tuple[np.ndarray, Numbered]]:
        for number, job in list(enumerate(jobs, 1))[done:]:
            assert job.content is not None
            try:
                picture = read(job.content)
            except FAULTS as fault:
                faults.append(sentence(fault))
                continue
            if picture.rgb.shape != first.rgb.shape:
                sizes = f"{job.content} is {picture.size} pixels, but {first_path} {first.size}"
                raise ValueError(f"{sizes}; frames have one size")
            picture = images.resize(picture, shape)
            pixels = picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])
            yield pixels, Numbered(number, job, picture)

    painted = painter.paint(frames(), state)
    return write_all(painted, folder.write, len(paths), stop, done if arguments.resume else None), faults


def next_frame(paths: Iterator[Path]) -> tuple[Path, images.Picture]:
    """The first picture that can be read, and its path; raises what is wrong with the first of all if none can."""
    path = next(paths)
    try:
        return path, read(path)
    except FAULTS:
        for other in paths:
            with suppress(ValueError, OSError, MemoryError):
                return other, read(other)
        raise


def in_order(path: Path) -> list[tuple[int, str]]:
    """The key by which files are sorted as people number them: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def write_all(
    painted: Iterator[tuple[Any, ...]], write: Any, total: int | None, stop: threading.Event, done: int | None = None
) -> int:
    """Writes frame after frame until there are no more, or it is stopped; returns their number.

    `done` says how many an earlier run has finished; None stands for a run that is not resumed.
    """
    if done is not None:
        print(f"{done} of {total or 'the'} frames are finished already", file=sys.stderr)
    done = done or 0
    with tqdm(total=total, initial=done, unit="frame") as bar:
        for frame in painted:
            write(*frame)
            done += 1
            bar.update()
            if stop.is_set():
                break
    return done
