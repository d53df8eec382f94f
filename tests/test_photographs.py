import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import picture
from PIL import Image

from uwct.training.photographs import PhotographFolder, open_source


class TinyPhotographs(tfds.core.GeneratorBasedBuilder):
    """Six JPEG photographs of different sizes, with a label before each, as data sets have."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"label": tfds.features.Scalar(np.int64), "image": tfds.features.Image(encoding_format="jpeg")}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(6):
            yield i, {"label": i, "image": np.uint8(255 * picture(40 + i, 50, seed=i))}


class TinyNumbers(tfds.core.GeneratorBasedBuilder):
    """A data set without pictures."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"label": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"label": 0}


def test_a_folder_gives_its_pictures_in_the_order_of_their_paths(photographs):
    source = open_source(f"folder:{photographs}")
    assert len(source) == 8
    for i in (0, 5):
        np.testing.assert_array_equal(source[i], np.asarray(Image.open(photographs / f"{i}.jpg")))


def test_a_folders_identity_changes_with_its_pictures(photographs):
    before = PhotographFolder(photographs).identity
    assert PhotographFolder(photographs).identity == before
    (photographs / "0.jpg").rename(photographs / "9.jpg")
    assert PhotographFolder(photographs).identity != before
    assert before.startswith("8 pictures, ")


def test_a_data_set_of_tensorflow_datasets_is_prepared_once_then_read(tmp_path):
    source = open_source("tiny_photographs", "train[1:5]", str(tmp_path))
    assert len(source) == 4
    assert source.identity == "tiny_photographs/1.0.0 train[1:5], 4 pictures"
    everything = open_source("tiny_photographs", "train", str(tmp_path))
    originals = [np.uint8(255 * picture(40 + i, 50, seed=i)) for i in range(6)]
    for i in range(6):  # in any order, each near to the photograph of its height
        found = everything[i]
        original = originals[found.shape[0] - 40]
        assert np.abs(found.astype(float) - original).mean() < 10
    assert sorted(everything[i].shape[0] for i in range(6)) == list(range(40, 46))


def test_bad_sources_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"data must be folder:PATH or the name of a data set .*, not '/'"):
        open_source("/")
    with pytest.raises(ValueError, match="not ''"):
        open_source("")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_source(f"folder:{tmp_path}/nothing")
    with pytest.raises(ValueError, match="holds no pictures"):
        open_source(f"folder:{tmp_path}")
    (tmp_path / "bad.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"bad\.jpg is not a picture"):
        open_source(f"folder:{tmp_path}")[0]
    with pytest.raises(ValueError, match="knows no data set called no_such_data_set"):
        open_source("no_such_data_set", "train", str(tmp_path))
    with pytest.raises(ValueError, match="the data set tiny_numbers holds no pictures, but: label"):
        open_source("tiny_numbers", "train", str(tmp_path))
    with pytest.raises(ValueError, match="Unknown split 'test'"):
        open_source("tiny_photographs", "test", str(tmp_path))


def test_a_data_set_stored_without_random_access_is_refused(tmp_path):
    TinyPhotographs(data_dir=str(tmp_path), file_format="tfrecord").download_and_prepare()
    with pytest.raises(ValueError, match="is stored as tfrecord, which cannot be read in any order"):
        open_source("tiny_photographs", "train", str(tmp_path))


def test_preparing_a_data_set_without_tensorflow_says_what_to_install(tmp_path):
    program = """if True:
        import sys
        import test_photographs
        from uwct.cli import train
        train.main(["--data", "tiny_photographs", "--split", "train", "--data-dir", sys.argv[1]])
    """
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'error: preparing the data set tiny_photographs needs TensorFlow: pip install "uwct[train]"' in done.stderr
    assert "Traceback" not in done.stderr
