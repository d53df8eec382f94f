"""Video files: frames in, frames out, with the time stamps and the sound of another file; through PyAV (extra `video`).

Contract: frames are float32 `[H, W, 3]` in [0, 1], upright. What is written has BT.709's colors in 8 bits, 4:2:0.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

import numpy as np

from uwct import files
from uwct.pictures.conversion import Conversion


class _Kind(NamedTuple):
    """What a container takes: the encoder of the picture, the codecs of sound that are copied, the encoder of others.

    No codecs stand for any.
    """

    picture: str
    copied: frozenset[str]
    sound: str


_EVERYWHERE = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_MP4 = _Kind("h264", _EVERYWHERE | {"opus", "flac"}, "aac")
SUFFIXES = {
    ".mp4": _MP4,
    ".m4v": _Kind("h264", frozenset({"aac", "ac3", "alac"}), "aac"),
    ".mov": _Kind("h264", _EVERYWHERE | {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"}, "aac"),
    ".mkv": _Kind("h264", frozenset(), "aac"),
    ".webm": _Kind("vp9", frozenset({"opus", "vorbis"}), "libopus"),
}
# Strokes and texture suffer at the encoders' own quality.
_OPTIONS = {"h264": {"crf": "18"}, "vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}}
_EVEN = {"h264"}  # what has no odd widths and heights in 4:2:0
_RATE = 48000  # Hz, of sound that is encoded: every encoder has it


class Clip:
    """The picture and the sound of a video file, which is open until `close`, or within `with`.

    Attributes:
      path: the file.
      shape: (height, width) of its frames in pixels, upright.
      count: how many frames it says that it has, about; None if it does not.
      hdr, transparent: those of `Conversion`.
      faults: sentences about what of it could not be read, complete when all frames have come.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file; raises FileNotFoundError, ImportError without PyAV, or ValueError when it is not a video."""
        av = _pyav()
        if not path.exists():
            raise FileNotFoundError(f"there is no video {path}")
        self.path = path
        with _faults(f"{path} cannot be read as a video"):
            with av.open(f"file:{path}") as container:
                first = next(container.decode(_picture(path, container)), None)
            self._container = av.open(f"file:{path}")
        if first is None:
            raise ValueError(f"{path} holds no frame that can be decoded")
        self._first = first
        self.picture = _picture(path, self._container)
        as_it_is = Conversion(self.picture, first)
        self._lying, self.shape = as_it_is.lying, as_it_is.shape
        self.hdr, self.transparent = as_it_is.hdr, as_it_is.transparent
        self.faults: list[str] = []
        self.picture.thread_type = "AUTO"
        self.sound = [stream for stream in self._container.streams.audio if stream.codec_context]
        seconds = float((self.picture.duration or 0) * (self.picture.time_base or 0))
        seconds = seconds or (self._container.duration or 0) / 1e6
        self.count: int | None = self.picture.frames or round(seconds * self.rate) or None

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average."""
        return self.picture.average_rate or self.picture.guessed_rate or Fraction(25)

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel by its height, upright."""
        aspect = self.picture.sample_aspect_ratio or Fraction(1)
        return 1 / aspect if self._lying else aspect

    def frames(self, shape: tuple[int, int], hear: Callable[[Any], None]) -> Iterator[tuple[np.ndarray, int]]:
        """The frames at (height, width), each with its time stamp; packets of sound on the way are given to `hear`.

        Time stamps are in units of `picture.time_base`, and rise. What is damaged is passed over, and in `faults`.
        """
        av = _pyav()
        conversion, packets, damaged = Conversion(self.picture, self._first, shape), 0, 0
        tick = max(1, round(1 / (self.rate * self.picture.time_base)))
        last = -tick

        def converted(frame: Any) -> Iterator[tuple[np.ndarray, int]]:
            nonlocal last
            for array, found in conversion.frames(frame):
                time = None if found.pts is None else round(found.pts * found.time_base / self.picture.time_base)
                last = last + tick if time is None else max(time, last + 1)
                yield array.astype(np.float32) / 255, last

        for packet in self._container.demux([self.picture, *self.sound]):
            if packet.stream is not self.picture:
                hear(packet)
                continue
            packets += packet.size > 0
            damaged += packet.is_corrupt
            try:
                for frame in packet.decode():
                    yield from converted(frame)
            except av.error.InvalidDataError:
                damaged += not packet.is_corrupt
        yield from converted(None)
        if damaged:
            self.faults.append(f"{self.path}: {damaged} of its frames are damaged")
        if packets < self.picture.frames:
            there = f"{packets} of the {self.picture.frames} frames that it should have are there"
            self.faults.append(f"{self.path} ends early: {there}")

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Writer:
    """A video file in the making, with the time stamps and the sound of a clip; used in `with`.

    It lies hidden beside its path until the end of the `with`, where it is finished and moved there; if an exception
    ends it, nothing stays. What cannot be written (a full disk, say) is an OSError.

    Attributes:
      shape: (height, width) of its frames: what was asked for, but for an odd last row or column that the codec lacks.
    """

    def __init__(self, path: Path, clip: Clip, shape: tuple[int, int]) -> None:
        """Raises ValueError for a suffix that is not in SUFFIXES, or frames of one pixel."""
        self._kind = SUFFIXES[check_suffix(path)]
        even = self._kind.picture in _EVEN
        self.shape = (shape[0] - shape[0] % 2, shape[1] - shape[1] % 2) if even else shape
        if 0 in self.shape:
            raise ValueError(f"{path} would be {shape[1]}x{shape[0]} pixels; {self._kind.picture} needs at least 2x2")
        self.path, self._clip = path, clip
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=files.hidden_prefix(path), suffix=path.suffix)
        os.close(handle)
        self._temporary = Path(name)
        try:
            self._open(self._kind.picture)
        except BaseException:
            files.discard(self._temporary)
            raise

    def _open(self, codec: str) -> None:
        with _faults(f"{self.path} cannot be written"):
            self._container = _pyav().open(f"file:{self._temporary}", "w")
            base, (height, width) = self._clip.picture.time_base, self.shape
            self._picture: Any = self._container.add_stream(
                codec, self._clip.rate, options=_OPTIONS[codec], time_base=base, width=width, height=height
            )
            context = self._picture.codec_context
            context.sample_aspect_ratio = self._clip.pixel_aspect
            context.color_range = context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
            self._sound = {stream.index: self._add_sound(stream) for stream in self._clip.sound}

    def _add_sound(self, source: Any) -> tuple[Any, bool]:
        """The stream for a stream of sound, and whether its packets are copied."""
        context, kinds = source.codec_context, self._kind.copied
        copied = not kinds or context.codec.canonical_name in kinds
        if copied:
            stream = self._container.add_stream_from_template(source)
        else:
            stream = self._container.add_stream(self._kind.sound, _RATE)
            stream.codec_context.layout = "mono" if context.channels == 1 else "stereo"
        if source.language:
            stream.metadata["language"] = source.language
        return stream, copied

    def hear(self, packet: Any) -> None:
        """Takes a packet of the clip's sound; one that is damaged is passed over."""
        stream, copied = self._sound[packet.stream.index]
        with _faults(f"{self.path} cannot be written"):
            if not copied:
                with contextlib.suppress(_pyav().error.InvalidDataError):
                    for frame in packet.decode():
                        self._container.mux(stream.encode(frame))
            elif packet.dts is not None:  # the last one is empty
                packet.stream = stream
                self._container.mux(packet)

    def write(self, rgb: np.ndarray, time: int) -> None:
        """Appends a frame at a time stamp of the clip."""
        height, width = self.shape
        pixels = np.round(np.clip(rgb[:height, :width], 0, 1) * 255).astype(np.uint8)
        with _faults(f"{self.path} cannot be written"):
            frame = _pyav().VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = time, self._clip.picture.time_base
            self._container.mux(self._picture.encode(frame))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                with _faults(f"{self.path} cannot be written"):
                    for stream in [self._picture, *(stream for stream, copied in self._sound.values() if not copied)]:
                        self._container.mux(stream.encode(None))
                    self._container.close()
                files.publish(self._temporary, self.path)
            else:
                with contextlib.suppress(Exception):  # whatever was wrong is on its way already
                    self._container.close()
        finally:
            files.discard(self._temporary)


def check_suffix(path: Path) -> str:
    """The suffix of a video file that can be written; raises ValueError for another."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    return suffix


def _picture(path: Path, container: Any) -> Any:
    """The first stream of moving pictures: covers of albums are none."""
    av = _pyav()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise ValueError(f"{path} holds no moving pictures")


@contextlib.contextmanager
def _faults(what: str) -> Iterator[None]:
    """Turns PyAV's errors into an OSError or a ValueError of one sentence."""
    av = _pyav()
    try:
        yield
    except av.FFmpegError as fault:
        kind = OSError if isinstance(fault, OSError) else ValueError
        raise kind(f"{what}: {fault.strerror}") from None


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError:
        raise ImportError('video files need PyAV, the extra video: python -m pip install ".[video]"') from None
    return av
