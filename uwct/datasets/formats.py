"""What a data set in shards is: files of other libraries, of which each is read and written as a whole.

Contract: a format is small to pickle, and opens nothing before it is asked. An example is a dict of `key` (a string),
`image` (`[H, W, 3]`, uint8 or float), and `raw`, which is what the format itself needs to write it again.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from uwct.datasets.stylizer import Drawn
from uwct.pictures import images
from uwct.pictures.metadata import QUALITY

Example = dict[str, Any]
# Makes a picture of a file's bytes and a name for errors; raises ValueError.
Decode = Callable[[bytes, str], images.Picture]


class Format(Protocol):
    """A data set to read, and where to write it."""

    @property
    def output(self) -> Path:
        """The folder of results."""
        ...

    def shards(self) -> list[str]:
        """The names of all shards, sorted; raises ValueError or OSError where there are none."""
        ...

    def done(self, shard: str, copies: list[str]) -> bool:
        """Whether the results of a shard are there; `copies` are what `Stylizer.names` makes of an empty key."""
        ...

    def read(self, shard: str, failed: Callable[[str], None]) -> Iterator[Example]:
        """The examples of a shard, those that cannot be read told to `failed`; raises ValueError or OSError."""
        ...

    def writing(self, shard: str) -> AbstractContextManager[Callable[[Example, str, np.ndarray, Drawn], None]]:
        """A context that gives a function of (example, new key, picture, what was drawn), which writes it.

        All of it is there when the context ends well, and nothing otherwise.
        """
        ...

    def lines(self, shard: str, told: list[tuple[str, Drawn]], failures: list[str]) -> list[dict[str, Any]]:
        """What the manifest says of a shard, given the keys of its results and what was drawn for each."""
        ...

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        """Is called when all shards are done, with what was recorded of each: writes what belongs to them together."""
        ...


def decode(data: bytes, name: str, size: int = 0) -> images.Picture:
    """The picture in a file's bytes, at a long side in pixels (0: its own); raises ValueError with the name."""
    picture = images.decode(data, name)
    return images.resize(picture, images.fitted(picture.rgb.shape[:2], size))


def encoded(picture: np.ndarray, like: bytes) -> bytes:
    """A picture `uint8[H, W, 3]` as the bytes of a file of the same format as another's, PNG where that is not kept."""
    with Image.open(io.BytesIO(like)) as image:
        kind = image.format if image.format in ("JPEG", "PNG", "WEBP") else "PNG"
    file = io.BytesIO()
    options: dict[str, Any] = {"quality": QUALITY} if kind in ("JPEG", "WEBP") else {}
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def as_uint8(picture: images.Picture) -> np.ndarray:
    """The colors alone, `uint8[H, W, 3]`."""
    return np.round(255 * np.clip(picture.rgb, 0, 1)).astype(np.uint8)


def shard_files(folder: Path, suffix: str) -> list[str]:
    """The names of the files with a suffix directly in a folder, sorted; raises ValueError for none."""
    found = sorted(p.name for p in folder.iterdir() if p.suffix == suffix and not p.name.startswith("."))
    if not found:
        raise ValueError(f"the folder {folder} holds no {suffix} files")
    return found
