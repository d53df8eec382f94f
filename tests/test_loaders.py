"""The examples that paint in the workers of other programs: `datasets.map` and PyTorch's DataLoader."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def example(name):
    """An example's module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arguments(styles, photographs):
    return {"photos": photographs, "styles": Path("styles"), "model": "tiny.safetensors", "size": 16}


def test_datasets_map_keeps_the_columns_and_adds_what_was_drawn(arguments, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    module = example("augment_with_datasets")
    monkeypatch.setattr(module.datasets.config, "HF_DATASETS_CACHE", Path("cache").resolve())
    made = module.stylized(module.Arguments(**arguments, output=Path("out")))
    assert len(made) == 8
    assert made["key"] == [str(i) for i in range(8)]
    assert {style for styles in made["style"] for style in styles} == {"a.png", "b.png"}
    assert all(picture.size == (16, 16) for picture in made["image"])


def test_batches_of_torch_are_the_same_with_workers_and_without_and_others_in_the_next_epoch(arguments):
    module = example("augment_with_torch")

    def batches(workers, epoch=0):
        return [np.asarray(b) for b in module.epoch_of(module.Arguments(**arguments, workers=workers), epoch)]

    alone = batches(0)
    assert [batch.shape for batch in alone] == [(4, 3, 16, 16)] * 2
    assert np.abs(np.concatenate(alone) - np.concatenate(batches(0, epoch=1))).max() > 0.05
