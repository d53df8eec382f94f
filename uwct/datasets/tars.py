"""WebDataset: tars of samples, whose files share a name up to the first dot (`0001.jpg`, `0001.cls`, `0001.json`)."""

import dataclasses
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from uwct.datasets.formats import Decode, Example, as_uint8, decode, encoded, shard_files
from uwct.datasets.stylizer import Drawn
from uwct.files import replacing

PICTURES = ("jpg", "jpeg", "png", "webp")  # in the order in which they are looked for in a sample
DRAWN = "uwct.json"  # the file of a sample that tells what was drawn


@dataclasses.dataclass(frozen=True)
class Tars:
    """A folder of WebDataset tars to read, and one that gets tars of the same names.

    Of each sample, one picture is replaced, and all else is kept as it is; `uwct.json` is added.
    """

    source: Path
    output: Path
    decode: Decode = decode

    def shards(self) -> list[str]:
        return shard_files(self.source, ".tar")

    def done(self, shard: str, copies: list[str]) -> bool:
        return (self.output / shard).exists()

    def read(self, shard: str, failed: Callable[[str], None]) -> Iterator[Example]:
        for sample in _samples(self.source / shard):
            name = f"{shard}: {sample['__key__']}"
            try:
                kind = next((kind for kind in PICTURES if kind in sample), None)
                if kind is None:
                    raise ValueError(f"{name} has no picture ({', '.join(PICTURES)})")
                image = as_uint8(self.decode(sample[kind], name))
            except (ValueError, OSError) as fault:
                failed(str(fault))
            else:
                yield {"key": sample["__key__"], "image": image, "raw": sample, "kind": kind}

    @contextmanager
    def writing(self, shard: str) -> Iterator[Callable[[Example, str, np.ndarray, Drawn], None]]:
        import webdataset

        # Times and owners are the same whenever a shard is made, and so are its bytes.
        how: dict[str, Any] = {"mtime": 0, "user": "", "group": "", "encoder": False}
        with replacing(self.output / shard) as temporary, webdataset.TarWriter(str(temporary), **how) as tar:

            def add(example: Example, key: str, rgb: np.ndarray, drawn: Drawn) -> None:
                sample = {k: v for k, v in example["raw"].items() if not k.startswith("__")}
                sample[example["kind"]] = encoded(rgb, sample[example["kind"]])
                told = json.dumps(dataclasses.asdict(drawn)).encode()
                tar.write({"__key__": key, **sample, DRAWN: told})

            yield add

    def lines(self, shard: str, told: list[tuple[str, Drawn]], failures: list[str]) -> list[dict[str, Any]]:
        return [{"shard": shard, "pictures": len(told), "failures": failures}]

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        pass


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a tar, their files as bytes; raises ValueError for what is no whole tar."""
    import webdataset

    def reraise(fault: BaseException) -> bool:
        raise fault

    try:
        with path.open("rb") as stream:
            files = webdataset.tariterators.tar_file_expander([{"url": str(path), "stream": stream}], handler=reraise)
            yield from webdataset.tariterators.group_by_keys(files)
    except (tarfile.TarError, EOFError, ValueError) as fault:
        raise ValueError(f"{path} cannot be read as a tar: {fault}") from None
