"""PNG and TIFF without a print resolution: libvips writes one into each, and here it is taken back in place."""

import struct
import zlib
from typing import BinaryIO

from uwct.pictures.chunks import chunks

# Of a TIFF, ordinary or big, by its first bytes: where and how the place of its directory is stored, how the number of
# its entries, and how many bytes an entry has, of which how many its value.
_DIRECTORIES = {b"II*\0": (4, "<I", "<H", 12, 4), b"II+\0": (8, "<Q", "<Q", 20, 8)}
_UNIT, _NONE = 296, 1  # a TIFF tag, and its value where the resolution is no more than the shape of a pixel


def take_back(file: BinaryIO) -> None:
    """Makes the resolution that libvips wrote into a PNG or TIFF one without a unit; leaves other files alone."""
    file.seek(0)
    begins = file.read(4)
    if begins == b"\x89PNG":
        _of_png(file)
    elif begins in _DIRECTORIES:
        _of_tiff(file, *_DIRECTORIES[begins])


def _of_png(file: BinaryIO) -> None:
    told = b"pHYs" + struct.pack(">IIB", 1, 1, 0)
    for at in [at for kind, at, _ in chunks(file) if kind == b"pHYs"]:
        file.seek(at + 4)
        file.write(told + struct.pack(">I", zlib.crc32(told)))


def _of_tiff(file: BinaryIO, pointer: int, place: str, number: str, size: int, value: int) -> None:
    def read(at: int, form: str) -> int:
        file.seek(at)
        return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])

    directory = read(pointer, place)
    first = directory + struct.calcsize(number)
    for entry in range(first, first + size * read(directory, number), size):
        if read(entry, "<H") == _UNIT:
            file.seek(entry + size - value)
            file.write(struct.pack("<H", _NONE))
