"""Data sets of tensorflow-datasets, stored as TFRecord or ArrayRecord, which tfds and grain read back.

Contract: a record is a serialised `tf.train.Example`. Only the bytes of its picture are replaced, and what was drawn is
added, so that labels, boxes and all else stay what they are, whatever they are.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from uwct.datasets.formats import Decode, Example, as_uint8, decode, encoded
from uwct.datasets.stylizer import Drawn, check_columns
from uwct.files import replacing


@dataclasses.dataclass(frozen=True)
class Records:
    """A split of a data set of tensorflow-datasets to read, and a folder for `tfds.builder_from_directory`.

    `source` is a name ("coco/2017"), prepared in `data_dir` or wherever tfds looks, or the folder of a prepared one.
    """

    source: str
    output: Path
    split: str = "train"
    data_dir: Path | None = None
    decode: Decode = decode

    def shards(self) -> list[str]:
        """The names of files, sorted; raises ValueError for an unknown data set or split, or one not prepared.

        Also where a feature has a name that is needed for what was drawn.
        """
        check_columns(self._builder().info.features, self.source)
        return [path.name for path in self._paths()]

    def done(self, shard: str, copies: list[str]) -> bool:
        return (self.output / shard).exists()

    def read(self, shard: str, failed: Callable[[str], None]) -> Iterator[Example]:
        from tensorflow_datasets.proto import tf_example_pb2  # that of TensorFlow, but without it

        path = next(path for path in self._paths() if path.name == shard)
        feature, _ = _picture(self._builder())
        for number, record in enumerate(_records(path)):
            key = f"{shard}-{number}"
            try:
                raw = tf_example_pb2.Example.FromString(record)
                image = as_uint8(self.decode(raw.features.feature[feature].bytes_list.value[0], key))
            except (ValueError, OSError, IndexError) as fault:
                failed(str(fault))
            else:
                yield {"key": key, "image": image, "raw": raw, "feature": feature}

    @contextmanager
    def writing(self, shard: str) -> Iterator[Callable[[Example, str, np.ndarray, Drawn], None]]:
        with replacing(self.output / shard) as temporary, _writer(temporary, shard) as write:

            def add(example: Example, key: str, rgb: np.ndarray, drawn: Drawn) -> None:
                raw, name = type(example["raw"])(), example["feature"]
                raw.CopyFrom(example["raw"])
                feature = raw.features.feature
                feature[name].bytes_list.value[0] = encoded(rgb, feature[name].bytes_list.value[0])
                feature["style"].bytes_list.value.extend(style.encode() for style in drawn.styles)
                feature["weight"].float_list.value.extend(drawn.weights)
                feature["strength"].float_list.value.append(drawn.strength)
                feature["seed"].int64_list.value.append(drawn.seed)
                write(raw.SerializeToString(deterministic=True))

            yield add

    def lines(self, shard: str, told: list[tuple[str, Drawn]], failures: list[str]) -> list[dict[str, Any]]:
        return [{"shard": shard, "pictures": len(told), "failures": failures}]

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        """Writes `dataset_info.json` and `features.json`, of all splits that were written to the folder."""
        import tensorflow_datasets as tfds

        builder, paths = self._builder(), self._paths()
        lengths = {record["shard"]: record["pictures"] for record in records if "shard" in record}
        template = builder.info.splits[self.split].filename_template.replace(data_dir=self.output)
        splits = {}
        if (self.output / "dataset_info.json").exists():
            splits = dict(tfds.builder_from_directory(self.output).info.splits)
        splits[self.split] = tfds.core.SplitInfo(
            name=self.split,
            shard_lengths=[lengths[path.name] for path in paths],
            num_bytes=sum((self.output / path.name).stat().st_size for path in paths),
            filename_template=template,
        )
        tfds.folder_dataset.write_metadata(
            data_dir=self.output,
            features=_with_drawn(builder),
            split_infos=list(splits.values()),
            version=builder.info.version,
            filename_template=template,
            check_data=False,
            description=f"{builder.info.full_name} in random styles, by uwct augment",
            supervised_keys=builder.info.supervised_keys,
        )

    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        if Path(self.source).is_dir():
            return tfds.builder_from_directory(self.source)
        try:
            builder = tfds.builder(self.source, data_dir=self.data_dir)
        except tfds.core.DatasetNotFoundError:
            raise ValueError(
                f"{self.source} is no folder, and tensorflow-datasets knows no data set of that name"
            ) from None
        if not builder.is_prepared():
            raise ValueError(
                f"the data set {self.source} is not prepared in {builder.data_dir}: "
                f'tfds.builder("{self.source}", file_format="array_record").download_and_prepare() does it'
            )
        return builder

    def _paths(self) -> list[Path]:
        builder = self._builder()
        if self.split not in builder.info.splits:
            raise ValueError(f"{self.source} has no split {self.split}, but: {', '.join(builder.info.splits)}")
        kind = builder.info.file_format.value
        if kind not in ("tfrecord", "array_record"):
            raise ValueError(f"{self.source} is stored as {kind}; only tfrecord and array_record are read")
        return [Path(path) for path in builder.info.splits[self.split].filepaths]


def _picture(builder: Any) -> tuple[str, Any]:
    """The first feature that is a picture, and its name; raises ValueError where there is none."""
    import tensorflow_datasets as tfds

    for name, feature in builder.info.features.items():
        if isinstance(feature, tfds.features.Image):
            return str(name), feature
    raise ValueError(f"{builder.info.full_name} holds no pictures, but: {', '.join(builder.info.features)}")


def _with_drawn(builder: Any) -> Any:
    """The features of results: pictures of any size in color, and what was drawn."""
    import tensorflow_datasets as tfds

    name, picture = _picture(builder)
    return tfds.features.FeaturesDict(
        {
            **builder.info.features,
            name: tfds.features.Image(shape=(None, None, 3), encoding_format=picture._encoding_format),
            "style": tfds.features.Sequence(tfds.features.Text()),
            "weight": tfds.features.Sequence(np.float32),
            "strength": np.float32,
            "seed": np.int64,
        }
    )


def _records(path: Path) -> Iterator[bytes]:
    """The records of a file, in order; raises ValueError for a broken one."""
    if "array_record" in path.name:
        from array_record.python.array_record_module import ArrayRecordReader

        try:
            reader = ArrayRecordReader(str(path))
            for number in range(reader.num_records()):
                yield reader.read([number])[0]
            reader.close()
        except (RuntimeError, ValueError, IndexError) as fault:
            raise ValueError(f"{path} cannot be read as ArrayRecord: {fault}") from None
    else:
        import tensorflow as tf

        try:
            for record in tf.data.TFRecordDataset(str(path)):
                yield record.numpy()
        except tf.errors.OpError as fault:
            raise ValueError(f"{path} cannot be read as TFRecord: {fault.message}") from None


@contextmanager
def _writer(path: Path, name: str) -> Iterator[Callable[[bytes], None]]:
    """Writes records to a file of the format that a name says."""
    if "array_record" in name:
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = ArrayRecordWriter(str(path), "group_size:1")  # as tfds writes it, for reading in any order
    else:
        import tensorflow as tf

        writer = tf.io.TFRecordWriter(str(path))
    try:
        yield writer.write
    finally:
        writer.close()
