"""What is done for a shard: read it, paint its pictures, write it whole, with a line in a manifest.

A shard that is there is left alone, so that work that was killed goes on where it was, by shards.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from uwct.datasets.formats import Example, Format
from uwct.datasets.stylizer import Drawn, Stylizer, batches
from uwct.files import append_line, read_lines
from uwct.pipeline.style_pool import UNREADABLE

BATCH = 8  # pictures read for each that is painted at once, so that there are some of one size among them


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of a shard.

    Attributes:
      shard: its name.
      pictures: how many were written; 0 for one that was there already.
      failures: a sentence about each picture that was passed over, or about the shard.
      missing: whether the shard could not be read or written, and so is not there.
      styles: a sentence about each style that this process found unreadable so far.
    """

    shard: str
    pictures: int = 0
    failures: tuple[str, ...] = ()
    missing: bool = False
    styles: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Work:
    """A data set and how to paint it: small to pickle, to be called with the name of a shard by any worker.

    Attributes:
      data: what to read and write.
      stylizer: what paints.
      how: what else the lines of manifests say.
      say: makes a sentence of an error.
    """

    data: Format
    stylizer: Stylizer
    how: dict[str, Any] = dataclasses.field(default_factory=dict)
    say: Callable[[BaseException], str] = str

    @property
    def copies(self) -> list[str]:
        """What is added to the keys of results."""
        return self.stylizer.names("")

    def left(self, shards: list[str]) -> list[str]:
        """Those that are not done."""
        return [shard for shard in shards if not self.data.done(shard, self.copies)]

    def __call__(self, shard: str, manifest: Path) -> Report:
        """Does a shard, with lines in `manifest`; raises what the stylizer raises that has no styles or model."""
        if self.data.done(shard, self.copies):
            return Report(shard)
        readable = self.stylizer.readable
        failures: list[str] = []
        try:
            pictures = self._do(shard, manifest, failures)
        except UNREADABLE as fault:
            return Report(shard, 0, (self.say(fault),), True)
        return Report(shard, pictures, tuple(failures), False, tuple(map(self.say, readable.faults.values())))

    def finish(self) -> None:
        """To be called when all shards are there, by one process or several."""
        manifests = sorted(self.data.output.glob("manifest-*.jsonl"))
        self.data.finish(line for manifest in manifests for line in read_lines(manifest))

    def _do(self, shard: str, manifest: Path, failures: list[str]) -> int:
        told: list[tuple[str, Drawn]] = []
        size = 1 if self.stylizer.together == 1 else BATCH * self.stylizer.together
        with self.data.writing(shard) as add:
            for batch in batches(self.data.read(shard, failures.append), size):
                for example, drawn, results in self._painted(batch, failures):
                    for key, one, picture in zip(self.stylizer.names(example["key"]), drawn, results, strict=True):
                        add(example, key, picture, one)
                        paths = [str(Path(self.stylizer.styles, name)) for name in one.styles]
                        told.append((key, dataclasses.replace(one, styles=paths)))
            # First the lines, then the files: so that there is none without its line, whenever this ends.
            for line in self.data.lines(shard, told, failures):
                append_line(manifest, line | self.how)
        return len(told)

    def _painted(
        self, batch: list[Example], failures: list[str]
    ) -> Iterator[tuple[Example, list[Drawn], list[np.ndarray]]]:
        """What becomes of examples; where painting them together fails, each of them alone."""
        try:
            results = self.stylizer.paint([e["key"] for e in batch], [e["image"] for e in batch])
        except UNREADABLE as fault:
            if len(batch) == 1:
                failures.append(f"{batch[0]['key']}: {self.say(fault)}")
                return
            for example in batch:
                yield from self._painted([example], failures)
        else:
            for example, (drawn, pictures) in zip(batch, results, strict=True):
                yield example, drawn, pictures
