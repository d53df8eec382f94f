"""Animated pictures (GIF, PNG, WebP), read by Pillow: FFmpeg does not know how often they are shown, nor WebP at all.

Contract: that of `clips`; times are in milliseconds.
"""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from uwct.pictures import decoding
from uwct.pictures.conversion import Time, as_floats
from uwct.pictures.metadata import frames_of

FORMATS = ("GIF", "PNG", "WEBP")
SHORTEST, INSTEAD = 10, 100  # ms; a frame of so little is shown for so long by browsers
# Of a WebP: its header's bytes, those of a frame's chunk before the three of its duration, and the first chunk's flag.
_HEADER, _DURATION, _HAS_ALPHA = 12, 12, 16


class Animation:
    """An animated picture, with all that `clips.Clip` has; raises ValueError when it is none, OSError without one."""

    hdr, sound, pixel_aspect, time_base = False, (), Fraction(1), Fraction(1, 1000)

    def __init__(self, path: Path) -> None:
        self.path, self.faults, self.transparent = path, [], False
        with decoding.opened_header(path) as image:
            self.shape, self.plays, stated = (image.height, image.width), _plays(image), frames_of(image)
            stated -= _begins_with(image)
        times = []
        try:
            for rgba, time in self._stored():
                times.append(time)
                self.transparent = self.transparent or bool(rgba[..., 3].min() < 255)
        except ValueError:
            if not times:
                raise
            self.faults.append(f"{path} ends early: {len(times)} of the {stated} frames that it should have are there")
        self.count = len(times)
        self.rate = Fraction(1000 * self.count, sum(time.duration for time in times))

    def frames(self, shape: tuple[int, int], hear: Callable[[Any], None]) -> Iterator[tuple[np.ndarray, Time]]:
        """The frames at (height, width), each with its time; there is no sound to hear."""
        for rgba, time in islice(self._stored(), self.count):
            yield as_floats(rgba if self.transparent else rgba[..., :3], shape), time

    def _stored(self) -> Iterator[tuple[np.ndarray, Time]]:
        """The frames, uint8 `[H, W, 4]`; raises ValueError where the file is broken."""
        start = 0
        with decoding.opened_header(self.path) as image:
            for number in range(_begins_with(image), frames_of(image)):
                image.seek(number)
                rgba = np.asarray(image.convert("RGBA"))
                duration = round(image.info.get("duration") or 0)
                duration = INSTEAD if duration <= SHORTEST else duration
                yield rgba, Time(start, duration)
                start += duration

    def close(self) -> None:
        """Nothing is open between frames."""

    def __enter__(self) -> "Animation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_animation(path: Path) -> bool:
    """Whether a file is a picture of one of FORMATS that moves."""
    try:
        with decoding.opened_header(path) as image:
            return image.format in FORMATS and frames_of(image) > 1
    except ValueError:
        return False


def _begins_with(image: Any) -> int:
    """The number of the first frame: before those of an APNG there can be a picture for programs that know none."""
    return int(getattr(image, "default_image", False))


def _plays(image: Any) -> int:
    """How often it is shown, 0 for ever; a GIF counts how often it is shown again."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop and loop + 1
    return loop or 0


def mended(webp: bytes, length: int, transparent: bool) -> bytes:
    """An animated WebP of FFmpeg's whose last frame is shown until a time in milliseconds; as it is if nothing moves.

    FFmpeg guesses that time. And libwebp says that nothing is transparent if frames are opaque within the parts of the
    picture that they fill.
    """
    data, places, at = bytearray(webp), [], _HEADER
    while at + 8 < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        places += [at + 8 + _DURATION] if name == b"ANMF" else []
        at += 8 + size + size % 2
    if places:
        times = [int.from_bytes(data[place : place + 3], "little") for place in places]
        last = min(length - sum(times[:-1]), 2**24 - 1)
        data[places[-1] : places[-1] + 3] = last.to_bytes(3, "little")
        data[_HEADER + 8] |= _HAS_ALPHA * transparent
    return bytes(data)
