import numpy as np
import pytest
from conftest import picture
from PIL import Image

from uwct import data


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_batches_are_random_crops_the_same_for_the_same_seed(photographs):
    source = data.open_source(f"folder:{photographs}")
    first, again, other = (
        np.stack(take(data.train_batches(source, batch=3, crop=16, seed=seed), 4)) for seed in (0, 0, 1)
    )
    assert first.shape == (4, 3, 16, 16, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_epoch_shows_every_photograph(tmp_path):
    for i in range(6):
        Image.new("RGB", (20, 20), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    batches = data.train_batches(data.PhotographFolder(tmp_path), batch=3, crop=16)
    for _ in range(3):
        shown = sorted(int(crop[0, 0, 0]) for batch in take(batches, 2) for crop in batch)
        assert shown == [0, 40, 80, 120, 160, 200]


def test_crops_come_from_the_photograph_flipped_or_not():
    photograph = np.uint8(255 * picture(24, 20))
    windows = [photograph[i : i + 16, j : j + 16] for i in range(9) for j in range(5)]
    rng = np.random.default_rng(0)
    flips = []
    for _ in range(40):
        crop = data.random_crop(photograph, rng, 16)
        same = [(w == crop).all() for w in windows]
        mirrored = [(w[:, ::-1] == crop).all() for w in windows]
        assert any(same) or any(mirrored)
        flips.append(any(mirrored))
    assert 5 < sum(flips) < 35


def test_small_photographs_are_enlarged_and_short_side_resizes():
    small = np.uint8(255 * picture(10, 14))
    assert data.random_crop(small, np.random.default_rng(0), 32).shape == (32, 32, 3)
    assert data.center_crop(small, 32).shape == (32, 32, 3)
    assert data.resize_short_side(small, 20).shape == (20, 28, 3)


def test_evaluation_takes_central_crops_in_order(photographs):
    source = data.open_source(f"folder:{photographs}")
    batches = list(data.evaluation_batches(source, batch=3, crop=32, count=5))
    assert [len(batch) for batch in batches] == [3, 2]
    np.testing.assert_array_equal(batches[1][1], data.center_crop(source[4], 32))


def test_bad_sources_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="must have the form folder:PATH, not 'photos'"):
        data.open_source("photos")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        data.open_source(f"folder:{tmp_path}/nothing")
    with pytest.raises(ValueError, match="holds no pictures"):
        data.open_source(f"folder:{tmp_path}")
    (tmp_path / "bad.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"bad\.jpg is not a picture"):
        data.open_source(f"folder:{tmp_path}")[0]
