"""Frames of a video as players show them: whole where fields were interlaced, in the colors of a screen, upright.

FFmpeg's filters do it: bwdif, and scale, whose conversion maps the light of HDR (PQ, HLG) to that of a screen. What is
transparent is scaled as pictures are, since there colors count by their alpha.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from uwct.pictures import images

HD = 720  # lines from which on colors without a tag are BT.709's; below, BT.601's
UNTAGGED = 2  # FFmpeg's number of a color space, or transfer, that is not told
PQ, HLG = 16, 18  # of transfers that are HDR
FIELDS = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}  # FFmpeg's orders of fields: which of them is first
ORDER = np.array([0, 1, 3, 4]) * 4  # bytes of a display matrix at which what turns and mirrors stands


class Time(NamedTuple):
    """When a frame is shown, and for how long, in units of its clip's `time_base`."""

    start: int
    duration: int


class Conversion:
    """What becomes of the frames of a stream, by the first of them, at (height, width), upright.

    Of a stream that is transparent in part, alpha is kept, and so is the size.

    Attributes:
      hdr: whether there is more light in it than a screen shows.
    """

    def __init__(
        self, stream: Any, first: Any, shape: tuple[int, int] | None = None, *, transparent: bool = False
    ) -> None:
        import av.filter

        self.lying, self._mirrored, self._upside_down = display(first)
        stored = (first.height, first.width)
        self.shape = (stored[::-1] if self.lying else stored) if shape is None or transparent else shape
        self.hdr = first.color_trc in (PQ, HLG)
        height, width = self.shape[::-1] if self.lying else self.shape
        scale = f"{width}:{height}:flags=lanczos"
        if first.colorspace == UNTAGGED and not first.format.is_rgb:
            scale += f":in_color_matrix={'bt709' if first.height >= HD else 'bt601'}"
        if self.hdr:
            scale += ":out_transfer=bt709:out_primaries=bt709"
        self._format = "rgba" if transparent else "rgb24"
        filters = [("scale", scale), ("format", self._format)]
        fields = FIELDS.get(int(stream.codec_context.field_order))
        if fields or first.interlaced_frame:
            # Where the stream says so, frames need not.
            which = f"all:parity={fields}" if fields and not first.interlaced_frame else "interlaced"
            filters.insert(0, ("bwdif", f"mode=send_frame:deint={which}"))
        self._graph = av.filter.Graph()
        self._source = node = self._graph.add_buffer(template=stream, format=first.format)
        for name, arguments in filters:
            following = self._graph.add(name, arguments)
            node.link_to(following)
            node = following
        self._sink = self._graph.add("buffersink")
        node.link_to(self._sink)
        self._graph.configure()

    def frames(self, frame: Any) -> Iterator[tuple[np.ndarray, Any]]:
        """What is finished when a frame has come (None: the last one has), and its frame of PyAV.

        That is uint8 `[H, W, 3]`, or `[H, W, 4]` with alpha.
        """
        import av.error

        self._source.push(frame)
        while True:
            try:
                found: Any = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            array = found.to_ndarray(format=self._format)
            array = array.transpose(1, 0, 2) if self.lying else array
            array = array[:, ::-1] if self._mirrored else array
            yield array[::-1] if self._upside_down else array, found


def display(frame: Any) -> tuple[bool, bool, bool]:
    """How a frame is shown: rows for columns or not, then mirrored or not, then upside down or not."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, c, d = np.frombuffer(bytes(matrix), np.int32)[ORDER // 4]
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def as_floats(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels uint8 `[..., 3]` or `[..., 4]`, with alpha, as float32 in [0, 1] and at (height, width)."""
    floats = pixels.astype(np.float32) / 255
    if floats.shape[:2] == shape:
        return floats
    alpha = floats[..., 3] if floats.shape[-1] == 4 else None
    resized = images.resize(images.Picture(floats[..., :3], alpha), shape)
    return resized.rgb if resized.alpha is None else np.dstack([resized.rgb, resized.alpha])
