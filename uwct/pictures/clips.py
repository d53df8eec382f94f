"""Video files, read: their frames, each at its time, and their sound; through PyAV (extra `video`).

Contract: frames are float32 in [0, 1], upright: `[H, W, 3]`, or `[H, W, 4]` with alpha last in clips that are
transparent in part.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from uwct.pictures.conversion import Conversion, Time, as_floats

# FFmpeg's formats that say how long their last frame is shown; of others it guesses the length, by their bytes.
_SAYS_LENGTH = {"mp4", "matroska"}
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave it out


class Clip:
    """The picture and the sound of a video file, which is open until `close`, or within `with`.

    Attributes:
      path: the file.
      shape: (height, width) of its frames in pixels, upright.
      count: how many frames it says that it has, about; None if it does not.
      time_base: the unit of its times, in seconds.
      plays: how often it is to be shown, 0 for ever.
      sound: its streams of sound.
      hdr: that of `Conversion`.
      transparent: whether any pixel is.
      faults: sentences about what of it could not be read, complete when all frames have come.
    """

    plays = 0

    def __init__(self, path: Path) -> None:
        """Opens a file; raises FileNotFoundError, ImportError without PyAV, or ValueError when it is not a video."""
        av = pyav()
        if not path.exists():
            raise FileNotFoundError(f"there is no video {path}")
        self.path = path
        with plain_faults(f"{path} cannot be read as a video"):
            with av.open(f"file:{path}") as container:
                decoded = _decoded(container, _picture(path, container))
                first = next(decoded, None)
                self.transparent = first is not None and _is_transparent(first, decoded)
            self._container = av.open(f"file:{path}")
        if first is None:
            raise ValueError(f"{path} holds no frame that can be decoded")
        self._first = first
        self._picture = _picture(path, self._container)
        self._picture.thread_type = "AUTO"
        as_it_is = Conversion(self._picture, first)
        self._lying, self.shape, self.hdr = as_it_is.lying, as_it_is.shape, as_it_is.hdr
        self.time_base: Fraction = self._picture.time_base
        self.sound = [stream for stream in self._container.streams.audio if stream.codec_context]
        self.faults: list[str] = []
        seconds = float((self._picture.duration or 0) * self.time_base) or (self._container.duration or 0) / 1e6
        self.count: int | None = self._picture.frames or round(seconds * self.rate) or None

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average."""
        return self._picture.average_rate or self._picture.guessed_rate or Fraction(25)

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel by its height, upright."""
        aspect = self._picture.sample_aspect_ratio or Fraction(1)
        return 1 / aspect if self._lying else aspect

    def frames(self, shape: tuple[int, int], hear: Callable[[Any], None]) -> Iterator[tuple[np.ndarray, Time]]:
        """The frames at (height, width), each with its time; packets of sound on the way are given to `hear`.

        Frames start one after the other, and each is shown until the next. What is damaged is passed over, and in
        `faults`.
        """
        last: tuple[np.ndarray, int, int] | None = None
        for following in self._timed(shape, hear):
            if last:
                yield last[0], Time(last[1], following[1] - last[1])
            last = following
        if last:
            pixels, start, ends = last
            yield pixels, Time(start, (ends if self.faults else max(ends, self._end or 0)) - start)

    def _timed(self, shape: tuple[int, int], hear: Callable[[Any], None]) -> Iterator[tuple[np.ndarray, int, int]]:
        """The frames with their starts, and their ends as far as they tell."""
        conversion = Conversion(self._picture, self._first, shape, transparent=self.transparent)
        tick = max(1, round(1 / (self.rate * self.time_base)))
        last = -tick
        for frame in self._demuxed(hear):
            for array, found in conversion.frames(frame):
                unit = found.time_base / self.time_base
                last = last + tick if found.pts is None else max(round(found.pts * unit), last + 1)
                yield as_floats(array, shape), last, last + (round(found.duration * unit) or tick)

    def _demuxed(self, hear: Callable[[Any], None]) -> Iterator[Any]:
        """The frames as they are stored, and None after the last."""
        av, decode, packets, decoded, damaged = pyav(), _decoder(self._picture), 0, 0, 0
        for packet in self._container.demux([self._picture, *self.sound]):
            if packet.stream is not self._picture:
                hear(packet)
                continue
            packets += packet.size > 0
            damaged += packet.is_corrupt
            try:
                for frame in decode(packet):
                    decoded += 1
                    yield frame
            except av.error.InvalidDataError:
                damaged += not packet.is_corrupt
        if damaged:
            self.faults.append(f"{self.path}: {damaged} of its frames are damaged")
        if packets < self._picture.frames:
            there = f"{decoded} of the {self._picture.frames} frames that it should have are there"
            self.faults.append(f"{self.path} ends early: {there}")
        yield None

    @property
    def _end(self) -> int | None:
        """When the file says that its last frame ends; None where it does not."""
        container, stream = self._container, self._picture
        if not _SAYS_LENGTH & set(container.format.name.split(",")):
            return None
        if stream.duration:
            return int(stream.duration + (stream.start_time or 0))
        alone = container.duration and not self.sound
        return round(Fraction(container.duration, 10**6) / self.time_base) if alone else None

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _picture(path: Path, container: Any) -> Any:
    """The first stream of moving pictures: covers of albums are none."""
    av = pyav()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise ValueError(f"{path} holds no moving pictures")


def _decoder(stream: Any) -> Callable[[Any], Iterable[Any]]:
    """What makes frames of the packets of a stream, the last of which is empty."""
    name = stream.metadata.get("alpha_mode") == "1" and _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if not name:
        return lambda packet: packet.decode()
    context = pyav().CodecContext.create(name, "r")
    return lambda packet: context.decode(packet if packet.size else None)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream, as they are stored, without those that are damaged."""
    decode, damaged = _decoder(stream), pyav().error.InvalidDataError
    for packet in container.demux(stream):
        with contextlib.suppress(damaged):
            yield from decode(packet)


def _is_transparent(first: Any, others: Iterator[Any]) -> bool:
    """Whether a pixel of frames is; all formats have alpha or none has."""
    if not any(part.is_alpha for part in first.format.components):
        return False
    return any(frame.to_ndarray(format="rgba")[..., 3].min() < 255 for frame in chain([first], others))


@contextlib.contextmanager
def plain_faults(what: str) -> Iterator[None]:
    """Turns PyAV's errors into an OSError or a ValueError of one sentence."""
    av = pyav()
    try:
        yield
    except av.FFmpegError as fault:
        kind = OSError if isinstance(fault, OSError) else ValueError
        raise kind(f"{what}: {fault.strerror}") from None


def pyav() -> ModuleType:
    """PyAV; raises ImportError with what to install."""
    try:
        import av
    except ImportError:
        raise ImportError('video files need PyAV, the extra video: python -m pip install ".[video]"') from None
    return av
