"""Parquet files of Hugging Face datasets, whose pictures are the bytes of files in a column."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from uwct.datasets.formats import Decode, Example, as_uint8, decode, encoded, shard_files
from uwct.datasets.stylizer import Drawn, check_columns
from uwct.files import replacing

ROWS = 64  # that are in memory, and in a row group


@dataclasses.dataclass(frozen=True)
class Parquet:
    """A folder of Parquet files to read, and one that gets files of the same names.

    Of each row one picture is replaced, and all else is kept as it is; the columns `style`, `weight`, `strength` and
    `seed` are added. A row's key is its file's name and its number.
    """

    source: Path
    output: Path
    decode: Decode = decode

    def shards(self) -> list[str]:
        """The names of files, sorted; raises ValueError for none, or where the first has a column of ours already."""
        import pyarrow.parquet

        found = shard_files(self.source, ".parquet")
        with suppress(pyarrow.ArrowException):  # one that is broken is told when it is read
            check_columns(pyarrow.parquet.read_schema(self.source / found[0]).names, found[0])
        return found

    def done(self, shard: str, copies: list[str]) -> bool:
        return (self.output / shard).exists()

    def read(self, shard: str, failed: Callable[[str], None]) -> Iterator[Example]:
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.source / shard) as file:
                column, number = _picture_column(file.schema_arrow, shard), 0
                for batch in file.iter_batches(ROWS):
                    for row in batch.to_pylist():
                        key, number = f"{Path(shard).stem}-{number}", number + 1
                        try:
                            picture = self.decode(row[column]["bytes"] or b"", f"{shard}: row {number - 1}")
                        except (ValueError, OSError, TypeError) as fault:
                            failed(str(fault))
                        else:
                            yield {"key": key, "image": as_uint8(picture), "raw": row, "column": column}
        except pyarrow.ArrowException as fault:
            raise ValueError(f"{self.source / shard} cannot be read as Parquet: {fault}") from None

    @contextmanager
    def writing(self, shard: str) -> Iterator[Callable[[Example, str, np.ndarray, Drawn], None]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema, rows = pq.read_schema(self.source / shard), list[dict[str, Any]]()
        check_columns(schema.names, shard)
        schema = _with_drawn(schema)
        with replacing(self.output / shard) as temporary, pq.ParquetWriter(temporary, schema) as file:

            def flush() -> None:
                if not rows:
                    return
                file.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()

            def add(example: Example, key: str, rgb: np.ndarray, drawn: Drawn) -> None:
                row, column = dict(example["raw"]), example["column"]
                row[column] = {**row[column], "bytes": encoded(rgb, row[column]["bytes"])}
                told = {"style": drawn.styles, "weight": drawn.weights, "strength": drawn.strength, "seed": drawn.seed}
                rows.append({**row, **told})
                if len(rows) == ROWS:
                    flush()

            yield add
            flush()

    def lines(self, shard: str, told: list[tuple[str, Drawn]], failures: list[str]) -> list[dict[str, Any]]:
        return [{"shard": shard, "pictures": len(told), "failures": failures}]

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        pass


def _picture_column(schema: Any, name: str) -> str:
    """The first column of pictures; raises ValueError where there is none."""
    import datasets

    for column, feature in datasets.Features.from_arrow_schema(schema).items():
        if isinstance(feature, datasets.Image):
            return str(column)
    for field in schema:
        if field.type.num_fields and {part.name for part in field.type.fields} == {"bytes", "path"}:
            return str(field.name)
    raise ValueError(f"{name} has no column of pictures, but: {', '.join(schema.names)}")


def _with_drawn(schema: Any) -> Any:
    """The schema with columns for what was drawn, as Hugging Face datasets know it."""
    import datasets

    features = datasets.Features.from_arrow_schema(schema)
    if not isinstance(features[_picture_column(schema, "it")], datasets.Image):
        features[_picture_column(schema, "it")] = datasets.Image()
    features["style"] = datasets.List(datasets.Value("string"))
    features["weight"] = datasets.List(datasets.Value("float32"))
    features["strength"], features["seed"] = datasets.Value("float32"), datasets.Value("int64")
    return features.arrow_schema
