"""Folders of pictures, with subfolders that may be classes: every picture is a shard, and its path its key."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from uwct.datasets.formats import Example
from uwct.datasets.stylizer import Drawn
from uwct.pictures import images


def load(path: Path, size: int = 0) -> images.Picture:
    """The picture of a file at a long side in pixels; 0 keeps its own."""
    picture = images.read(path)
    return images.resize(picture, images.fitted(picture.rgb.shape[:2], size))


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of pictures to read, and one that gets the same subfolders and names.

    The manifest has a line a result. Pictures keep their alpha, profile, metadata and depth. `load` makes a picture of
    a path.
    """

    source: Path
    output: Path
    load: Callable[[Path], images.Picture] = load

    def shards(self) -> list[str]:
        """Paths inside the folder; raises ValueError or OSError for a folder without pictures."""
        return [p.relative_to(self.source).as_posix() for p in images.pictures_in(self.source, recursive=True)]

    def check(self, shards: list[str], copies: list[str]) -> None:
        """Raises ValueError where two pictures would be written to one file."""
        seen: set[Path] = set()
        for shard in shards:
            names = set(self.outputs(shard, copies))
            if seen & names:
                raise ValueError(f"two pictures would be written to {min(seen & names)}; rename their files")
            seen |= names

    def outputs(self, shard: str, copies: list[str]) -> list[Path]:
        """Where the results of a picture are written."""
        path = Path(shard)
        suffix = path.suffix if path.suffix.lower() in images.SUFFIXES else f"{path.suffix}.png"
        return [self.output / path.with_name(f"{path.stem}{copy}{suffix}") for copy in copies]

    def done(self, shard: str, copies: list[str]) -> bool:
        return all(path.exists() for path in self.outputs(shard, copies))

    def read(self, shard: str, failed: Callable[[str], None]) -> Iterator[Example]:
        picture = self.load(self.source / shard)
        yield {"key": shard, "image": picture.rgb, "raw": picture}

    @contextmanager
    def writing(self, shard: str) -> Iterator[Callable[[Example, str, np.ndarray, Drawn], None]]:
        waiting: list[tuple[Path, images.Picture]] = []

        def add(example: Example, key: str, rgb: np.ndarray, drawn: Drawn) -> None:
            (path,) = self.outputs(shard, [key.removeprefix(shard)])
            waiting.append((path, dataclasses.replace(example["raw"], rgb=rgb)))

        yield add
        for path, picture in waiting:
            path.parent.mkdir(parents=True, exist_ok=True)
            images.write(path, picture)

    def lines(self, shard: str, told: list[tuple[str, Drawn]], failures: list[str]) -> list[dict[str, Any]]:
        outputs = self.outputs(shard, [key.removeprefix(shard) for key, _ in told])
        return [
            {"source": str(self.source / shard), "output": str(output), "styles": drawn.styles,
             "weights": drawn.weights, "alpha": drawn.strength}
            for output, (_, drawn) in zip(outputs, told, strict=True)
        ]  # fmt: skip

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        pass
