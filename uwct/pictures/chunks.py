"""The chunks of a PNG file by their lengths: what it says after its pixels is found without decoding these."""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

from uwct.pictures.metadata import BROKEN, LARGEST_CHUNK, XMP_OF_PNG

_SIGNATURE, _HEADER = 8, 25  # bytes of a file before its first chunk, and of that one, IHDR
_AROUND = 12  # bytes of a chunk beside its data: length, kind and checksum
_TELLING = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_WORDS = ("exif", "xmp", XMP_OF_PNG, "Raw profile type exif")  # by Pillow's names


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The chunks that are whole: (kind, where it begins, its length with all that is around its data)."""
    size, at = file.seek(0, io.SEEK_END), _SIGNATURE
    while at + _AROUND <= size:
        file.seek(at)
        data, kind = struct.unpack(">I4s", file.read(8))
        if at + data + _AROUND > size:
            return
        yield kind, at, data + _AROUND
        at += data + _AROUND


def told_late(file: BinaryIO) -> dict[str, Any]:
    """EXIF and XMP after the pixels, by the names of Pillow's `info`; nothing where they are broken.

    LARGEST_CHUNK bytes are read at most; where the file stands does not change.
    """
    found, pixels, before = bytearray(), False, file.tell()
    for kind, at, length in chunks(file):
        pixels = pixels or kind == b"IDAT"
        if pixels and kind in _TELLING and len(found) + length <= LARGEST_CHUNK:
            file.seek(at)
            found += file.read(length)
    file.seek(before)
    if not found:
        return {}
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG")
    start, end = pixel.getvalue()[: _SIGNATURE + _HEADER], pixel.getvalue()[_SIGNATURE + _HEADER :]
    try:
        with Image.open(io.BytesIO(start + found + end), formats=("PNG",)) as image:
            return {word: image.info[word] for word in _WORDS if word in image.info}
    except BROKEN:
        return {}
