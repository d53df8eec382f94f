"""Data sets of other libraries, in random styles: read back by those libraries, labels and all."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from test_cli_augment import run

PICTURES = [np.uint8(255 * picture(24 + 8 * (i % 2), 32, i)) for i in range(6)]
LABELS = [0, 1, 1, 0, 2, 1]
BOXES = [[[0.1, 0.2, 0.5, 0.6]], [], [[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]], [], [], []]


def png(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def write_tars(folder, bad=()):
    """Two tars of three and two samples."""
    import webdataset

    folder.mkdir()
    for name, members in (("0.tar", range(3)), ("1.tar", range(3, 5))):
        with webdataset.TarWriter(str(folder / name)) as tar:
            for i in members:
                image = b"no picture" if i in bad else png(PICTURES[i])
                tar.write({"__key__": f"s/{i}", "png": image, "cls": LABELS[i], "json": {"boxes": BOXES[i]}})


def read_tars(folder):
    import webdataset

    urls = sorted(map(str, folder.glob("*.tar")))
    return list(webdataset.WebDataset(urls, shardshuffle=False))


def write_parquet(folder):
    import datasets

    folder.mkdir()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "cow"]),
         "boxes": datasets.List(datasets.List(datasets.Value("float32")))}
    )  # fmt: skip
    for name, members in (("train-0.parquet", range(3)), ("train-1.parquet", range(3, 5))):
        columns = {
            "image": [{"bytes": png(PICTURES[i]), "path": f"{i}.png"} for i in members],
            "label": [LABELS[i] for i in members],
            "boxes": [BOXES[i] for i in members],
        }
        datasets.Dataset.from_dict(columns, features).to_parquet(str(folder / name))


def write_tfds(folder, file_format, name="boxed", label="label"):
    """A data set with labels and boxes; gives the folder of its version."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    with registered.skip_registration():

        class Boxed(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                objects = {
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(names=["ear", "tail"]),
                }
                features = {
                    "image": tfds.features.Image(encoding_format="png"),
                    label: tfds.features.ClassLabel(names=["cat", "dog", "cow"]),
                    "objects": tfds.features.Sequence(objects),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=("image", label),
                )

            def _split_generators(self, _):
                return {"train": self._generate_examples(range(4)), "test": self._generate_examples(range(4, 6))}

            def _generate_examples(self, members):
                for i in members:
                    objects = [{"bbox": tfds.features.BBox(*box), "label": j % 2} for j, box in enumerate(BOXES[i])]
                    yield i, {"image": PICTURES[i], label: LABELS[i], "objects": objects}

    builder = Boxed(data_dir=str(folder), file_format=file_format)
    config = tfds.download.DownloadConfig(num_shards=2) if file_format == "tfrecord" else None
    builder.download_and_prepare(download_config=config)
    return Path(builder.data_dir)


@pytest.fixture
def data(styles):
    return styles


def files(name):
    return {p.name: p.read_bytes() for p in Path(name).iterdir() if p.suffix != ".jsonl"}


def test_tars_come_back_with_all_that_was_in_them(data):
    write_tars(Path("in"))
    run("in out")
    found = read_tars(Path("out"))
    assert [sample["__key__"] for sample in found] == [f"s/{i}" for i in range(5)]
    for i, sample in enumerate(found):
        assert int(sample["cls"]) == LABELS[i]
        assert json.loads(sample["json"]) == {"boxes": BOXES[i]}
        told = json.loads(sample["uwct.json"])
        assert told["styles"][0] in ("a.png", "b.png")
        assert pixels(sample["png"]).shape == PICTURES[i].shape
        assert np.abs(np.int16(pixels(sample["png"])) - PICTURES[i]).mean() > 3


def test_a_tar_that_is_missing_is_made_again_with_the_same_bytes(data):
    write_tars(Path("in"))
    run("in out --per-image 2")
    before, times = files("out"), {p.name: p.stat().st_mtime_ns for p in Path("out").glob("*.tar")}
    assert [s["__key__"] for s in read_tars(Path("out"))][:3] == ["s/0_0", "s/0_1", "s/1_0"]
    Path("out/1.tar").unlink()
    run("in out --per-image 2")
    assert files("out") == before
    assert Path("out/0.tar").stat().st_mtime_ns == times["0.tar"]
    for part in range(2):
        run(f"in parts --per-image 2 --shard {part}/2")
    assert files("parts") == before


def test_bad_pictures_and_shards_are_named_and_the_rest_is_made(data, capsys):
    write_tars(Path("in"), bad=(1,))
    Path("in/2.tar").write_bytes(b"no tar")
    with pytest.raises(SystemExit) as stop:
        run("in out")
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "0.tar: s/1 is not a picture" in said
    assert "in/2.tar cannot be read as a tar" in said
    assert [s["__key__"] for s in read_tars(Path("out"))] == ["s/0", "s/2", "s/3", "s/4"]
    assert sorted(p.name for p in Path("out").iterdir() if p.suffix == ".tar") == ["0.tar", "1.tar"]
    record = json.loads(Path("out/manifest-0-of-1.jsonl").read_text().splitlines()[0])
    assert record["pictures"] == 2
    assert len(record["failures"]) == 1


def test_parquet_is_read_back_by_datasets(data, tmp_path):
    import datasets

    write_parquet(Path("in"))
    run("in out")
    urls = sorted(map(str, Path("out").glob("*.parquet")))
    found = datasets.load_dataset("parquet", data_files={"train": urls}, cache_dir=str(tmp_path / "cache"))["train"]
    assert found.features["label"].names == ["cat", "dog", "cow"]
    assert found["label"] == LABELS[:5]
    for i, row in enumerate(found):
        assert row["boxes"] == [list(np.float32(box)) for box in BOXES[i]]
        assert row["image"].size == PICTURES[i].shape[1::-1]
        assert row["style"][0] in ("a.png", "b.png")
        assert 0.6 <= row["strength"] <= 1
        assert np.abs(np.asarray(row["image"], np.int16) - PICTURES[i]).mean() > 3


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_tfds_reads_its_data_set_back(data, tmp_path, file_format):
    import tensorflow_datasets as tfds

    source = write_tfds(tmp_path / "data", file_format)
    run(f"{source} out --plain 0.5")
    run(f"{source} out --split test --plain 0.5")  # a second split beside the first
    builder = tfds.builder_from_directory("out")
    assert builder.info.features["label"].names == ["cat", "dog", "cow"]
    assert builder.info.supervised_keys == ("image", "label")
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 4, "test": 2}

    def read(builder, split):
        if file_format == "array_record":
            return list(builder.as_data_source(split))
        return list(builder.as_dataset(split).as_numpy_iterator())

    for split in ("train", "test"):
        before, after = (read(b, split) for b in (tfds.builder_from_directory(source), builder))
        for one, other in zip(before, after, strict=True):
            assert one["label"] == other["label"]
            np.testing.assert_array_equal(one["objects"]["bbox"], other["objects"]["bbox"])
            np.testing.assert_array_equal(one["objects"]["label"], other["objects"]["label"])
            assert one["image"].shape == other["image"].shape
            assert np.array_equal(one["image"], other["image"]) == (other["strength"] == 0)
            assert len(other["style"]) == len(other["weight"]) == (other["strength"] > 0)


def test_grain_reads_the_array_records(data, tmp_path):
    import grain
    import tensorflow_datasets as tfds

    source = write_tfds(tmp_path / "data", "array_record")
    run(f"{source} out")
    features = tfds.builder_from_directory("out").info.features
    records = grain.sources.ArrayRecordDataSource(sorted(map(str, Path("out").glob("*train*array_record*"))))
    assert len(records) == 4
    assert features.deserialize_example_np(records[2])["image"].shape[2] == 3


def test_tfds_by_name_and_what_is_not_there(data, tmp_path, capsys):
    source = write_tfds(tmp_path / "data", "array_record")
    for words, sentence in (
        ("tfds:no_such_set out", "tensorflow-datasets knows no data set of that name"),
        (f"tfds:mnist out --data-dir {tmp_path / 'none'}", "the data set mnist is not prepared"),
        (f"{source} out --split validation", "has no split validation, but: "),
        ("nothing out", "there is no folder nothing"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(words)
        assert stop.value.code == 2
        said = capsys.readouterr().err.splitlines()
        assert sentence in said[-1]
        assert not Path("out").exists()
    run(f"tfds:boxed out --data-dir {tmp_path / 'data'}")
    assert Path("out/dataset_info.json").exists()


def test_columns_that_what_was_drawn_needs_are_not_overwritten(data, tmp_path, capsys):
    import datasets

    Path("in").mkdir()
    columns = {"image": [{"bytes": png(PICTURES[0]), "path": None}], "style": ["cubist"]}
    features = datasets.Features({"image": datasets.Image(), "style": datasets.Value("string")})
    datasets.Dataset.from_dict(columns, features).to_parquet("in/train.parquet")
    source = write_tfds(tmp_path / "data", "array_record", label="seed")
    for words, name in (("in out", "train.parquet already has a column style"), (f"{source} out", "a column seed")):
        with pytest.raises(SystemExit) as stop:
            run(words)
        assert stop.value.code == 2
        assert name in capsys.readouterr().err
        assert not list(Path().glob("out/*.parquet")) + list(Path().glob("out/*record*"))
