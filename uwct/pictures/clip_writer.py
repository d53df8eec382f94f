"""Video files and animated pictures, written, with the times and the sound of a clip; through PyAV (extra `video`).

Contract: frames are as `clips` gives them. Films have BT.709's colors in 8 bits, 4:2:0, but for ProRes: 10 bits, 4:4:4.
"""

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from uwct import files
from uwct.pictures import images
from uwct.pictures.animations import Animation, mended
from uwct.pictures.clips import Clip, plain_faults, pyav
from uwct.pictures.conversion import Time


class _Encoder(NamedTuple):
    """FFmpeg's name of an encoder of pictures, of its format of pixels, its options, and the unit of its times.

    Without a unit they are the clip's. `least` is the shortest time, in units, for which players show a frame.
    """

    codec: str
    pixels: str
    options: dict[str, str]
    unit: Fraction | None = None
    least: int = 1


class _Kind(NamedTuple):
    """What a container takes: the encoder of the picture, the codecs of sound that are copied, the encoder of others.

    No codecs stand for any, and no encoder of sound for a container without sound. `transparent` is the encoder of
    clips that are so in part; without one they are laid on white.
    """

    picture: _Encoder
    copied: frozenset[str] = frozenset()
    sound: str = ""
    transparent: _Encoder | None = None


# Strokes and texture suffer at the encoders' own quality. In MP4 frames that are stored in another order than they are
# shown (bf) last as long as others.
_H264 = _Encoder("h264", "yuv420p", {"crf": "18", "bf": "0"})
_VP9 = _Encoder("vp9", "yuv420p", {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"})
_VP9_ALPHA = _VP9._replace(pixels="yuva420p", options=_VP9.options | {"auto-alt-ref": "0"})
_PRORES = _Encoder("prores_ks", "yuva444p10le", {"profile": "4444"})
# Browsers show a frame of 10 ms or less for 100.
_GIF = _Encoder("gif", "pal8", {}, Fraction(1, 100), 2)
_WEBP = _Encoder("libwebp_anim", "bgra", {"quality": "95"}, Fraction(1, 1000), 11)

_EVERYWHERE = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_PCM = frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"})
SUFFIXES = {
    ".mp4": _Kind(_H264, _EVERYWHERE | {"opus", "flac"}, "aac"),
    ".m4v": _Kind(_H264, frozenset({"aac", "ac3", "alac"}), "aac"),
    ".mov": _Kind(_H264, _EVERYWHERE | _PCM, "aac", _PRORES),
    ".mkv": _Kind(_H264, sound="aac"),
    ".webm": _Kind(_VP9, frozenset({"opus", "vorbis"}), "libopus", _VP9_ALPHA),
    ".gif": _Kind(_GIF, transparent=_GIF),
    ".webp": _Kind(_WEBP, transparent=_WEBP),
}
_RATE = 48000  # Hz, of sound that is encoded: every encoder has it


class Writer:
    """A video file in the making, with the times and the sound of a clip; used in `with`.

    It lies hidden beside its path until the end of the `with`, where it is finished and moved there; if an exception
    ends it, nothing stays. What cannot be written (a full disk, say) is an OSError.

    Attributes:
      shape: (height, width) of its frames: what was asked for, but for an odd last row or column that the codec lacks.
      transparent, silent: whether it holds transparent pixels, and whether it lacks the clip's sound.
      left_out: how many frames were, since players would not show them for so short a time.
    """

    def __init__(self, path: Path, clip: Clip | Animation, shape: tuple[int, int]) -> None:
        """Raises ValueError for a suffix that is not in SUFFIXES, or frames of one pixel."""
        self._kind = SUFFIXES[check_suffix(path)]
        self.transparent = clip.transparent and self._kind.transparent is not None
        self._encoder = (self._kind.transparent if self.transparent else None) or self._kind.picture
        even = self._encoder is _H264  # it has no odd widths and heights in 4:2:0
        self.shape = (shape[0] - shape[0] % 2, shape[1] - shape[1] % 2) if even else shape
        if 0 in self.shape:
            raise ValueError(f"{path} would be {shape[1]}x{shape[0]} pixels; {self._encoder.codec} needs at least 2x2")
        if self._encoder is _WEBP:
            images.check_shape(path, self.shape)
        self.path, self._clip, self.left_out = path, clip, 0
        self.silent = bool(clip.sound) and not self._kind.sound
        self._unit = self._encoder.unit or clip.time_base
        self._ends: dict[int, int] = {}  # of the frames whose packets are still to come, by their starts
        self._first: int | None = None
        self._free = self._length = 0  # when the next frame can start, and when the last one ends
        self._temporary = files.new_beside(path)
        try:
            self._open()
        except BaseException:
            files.discard(self._temporary)
            raise

    def _open(self) -> None:
        encoder, clip = self._encoder, self._clip
        options = {}
        if encoder is _GIF:  # counts how often it is repeated, and -1 stands for never
            options["loop"] = str(clip.plays - 1 or -1) if clip.plays else "0"
        elif encoder is _WEBP:
            options["loop"] = str(clip.plays)
        with plain_faults(f"{self.path} cannot be written"):
            self._container = pyav().open(f"file:{self._temporary}", "w", container_options=options)
            height, width = self.shape
            self._picture: Any = self._container.add_stream(
                encoder.codec, clip.rate, options=encoder.options, time_base=self._unit, width=width, height=height
            )
            context = self._picture.codec_context
            context.pix_fmt = encoder.pixels
            context.sample_aspect_ratio = clip.pixel_aspect
            if encoder.pixels.startswith("yuv"):
                context.color_range = context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
            self._palettes = _Palettes(self.shape, self._unit) if encoder is _GIF else None
            sound = clip.sound if self._kind.sound else []
            self._sound = {stream.index: self._add_sound(stream) for stream in sound}

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
        if packet.stream.index not in self._sound:
            return
        stream, copied = self._sound[packet.stream.index]
        with plain_faults(f"{self.path} cannot be written"):
            if not copied:
                with contextlib.suppress(pyav().error.InvalidDataError):
                    for frame in packet.decode():
                        self._container.mux(stream.encode(frame))
            elif packet.dts is not None:  # the last one is empty
                packet.stream = stream
                self._container.mux(packet)

    def write(self, pixels: np.ndarray, time: Time) -> None:
        """Appends a frame at a time of the clip."""
        start, end = (round(x * self._clip.time_base / self._unit) for x in (time.start, time.start + time.duration))
        if self._encoder.unit:  # animated pictures begin at 0
            self._first = start if self._first is None else self._first
            start, end = start - self._first, end - self._first
        self._length = max(end, start + self._encoder.least)
        if start < self._free:
            self.left_out += 1
            return
        self._free = self._ends[start] = self._length
        with plain_faults(f"{self.path} cannot be written"):
            frame = self._frame(pixels)
            frame.pts, frame.time_base = start, self._unit
            self._mux(self._picture.encode(self._palettes.mapped(frame) if self._palettes else frame))

    def _frame(self, pixels: np.ndarray) -> Any:
        """A frame in the encoder's format of pixels."""
        pixels = np.clip(pixels[: self.shape[0], : self.shape[1]], 0, 1)
        if pixels.shape[-1] == 4 and not self.transparent:
            pixels = pixels[..., :3] * pixels[..., 3:] + (1 - pixels[..., 3:])
        kind = "rgba" if pixels.shape[-1] == 4 else "rgb24"
        frame = pyav().VideoFrame.from_ndarray(np.round(pixels * 255).astype(np.uint8), kind)
        if self._palettes:
            return frame.reformat(format="rgba")
        colors = {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
        return frame.reformat(format=self._encoder.pixels, **(colors if "yuv" in self._encoder.pixels else {}))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.pts in self._ends:  # encoders do not tell all how long
                packet.duration = self._ends.pop(packet.pts) - packet.pts
            self._container.mux(packet)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                with plain_faults(f"{self.path} cannot be written"):
                    self._mux(self._picture.encode(None))
                    for stream in (stream for stream, copied in self._sound.values() if not copied):
                        self._container.mux(stream.encode(None))
                    self._container.close()
                if self._encoder is _WEBP:
                    whole = mended(self._temporary.read_bytes(), self._length, self.transparent)
                    self._temporary.write_bytes(whole)
                files.publish(self._temporary, self.path)
            else:
                with contextlib.suppress(Exception):  # whatever was wrong is on its way already
                    self._container.close()
        finally:
            files.discard(self._temporary)


class _Palettes:
    """Frames in 256 colors, each in its own, by FFmpeg's filters."""

    def __init__(self, shape: tuple[int, int], unit: Fraction) -> None:
        import av.filter

        self._graph = graph = av.filter.Graph()
        rgba = pyav().VideoFormat("rgba")
        self._source = graph.add_buffer(width=shape[1], height=shape[0], format=rgba, time_base=unit)
        both, found = graph.add("split"), graph.add("palettegen", "stats_mode=single")
        used, self._sink = graph.add("paletteuse", "new=1"), graph.add("buffersink")
        self._source.link_to(both)
        both.link_to(found, 0, 0)
        both.link_to(used, 1, 0)
        found.link_to(used, 0, 1)
        used.link_to(self._sink)
        graph.configure()

    def mapped(self, frame: Any) -> Any:
        """A frame in its palette."""
        self._source.push(frame)
        return self._sink.pull()


def check_suffix(path: Path) -> str:
    """The suffix of a video file that can be written; raises ValueError for another."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(SUFFIXES)}, or be a folder")
    return suffix
