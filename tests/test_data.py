import numpy as np
import pytest
from conftest import picture
from PIL import Image

from uwct.training import data
from uwct.training.parallel import Devices
from uwct.training.photographs import PhotographFolder


def take(batches, count):
    iterator = iter(batches)
    return [next(iterator) for _ in range(count)]


def test_batches_are_random_crops_the_same_for_the_same_seed(photographs):
    reader = data.Reader(PhotographFolder(photographs))
    first, again, other = (
        np.stack(take(data.train_batches(reader, batch=3, crop=16, seed=seed), 4)) for seed in (0, 0, 1)
    )
    assert first.shape == (4, 3, 16, 16, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_epoch_shows_every_photograph(tmp_path):
    for i in range(6):
        Image.new("RGB", (20, 20), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    batches = take(data.train_batches(data.Reader(PhotographFolder(tmp_path)), batch=3, crop=16), 6)
    for epoch in (batches[:2], batches[2:4], batches[4:]):
        assert sorted(int(crop[0, 0, 0]) for batch in epoch for crop in batch) == [0, 40, 80, 120, 160, 200]


def test_with_styles_every_photograph_comes_with_one(tmp_path):
    for name, values in (("photographs", (0, 40, 80)), ("styles", (200, 250))):
        (tmp_path / name).mkdir()
        for value in values:
            Image.new("RGB", (20, 20), (value, 0, 0)).save(tmp_path / name / f"{value}.png")
    (tmp_path / "styles" / "broken.png").write_bytes(b"not a picture")
    photographs, styles = (data.Reader(PhotographFolder(tmp_path / name)) for name in ("photographs", "styles"))
    pairs = np.concatenate(take(data.train_batches(photographs, batch=3, crop=16, styles=styles), 20))
    assert pairs.shape == (60, 2, 16, 16, 3)
    assert set(pairs[:, 0, 0, 0, 0]) == {0, 40, 80}
    assert set(pairs[:, 1, 0, 0, 0]) == {200, 250}
    assert len(set(zip(*pairs[:, :, 0, 0, 0].T, strict=True))) == 6  # in all combinations


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
    source = PhotographFolder(photographs)
    batches = list(data.evaluation_batches(data.Reader(source, 5), batch=3, crop=32))
    assert [len(batch) for batch in batches] == [3, 2]
    np.testing.assert_array_equal(batches[1][1], data.center_crop(source[4], 32))


def test_unreadable_photographs_are_passed_over_and_remembered(photographs):
    (photographs / "3.jpg").write_bytes((photographs / "3.jpg").read_bytes()[:300])
    (photographs / "5.jpg").write_text("no picture")
    reader = data.Reader(PhotographFolder(photographs))
    batches = take(data.train_batches(reader, batch=3, crop=16), 8)
    assert {len(batch) for batch in batches} == {3}
    assert set(reader.faults) == {3, 5}
    assert "5.jpg is not a picture" in reader.faults[5]
    assert sum(map(len, data.evaluation_batches(data.Reader(PhotographFolder(photographs)), batch=3, crop=16))) == 6


def test_no_readable_photograph_at_all_is_an_error_not_an_endless_search(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("no picture")
    with pytest.raises(ValueError, match=r"none of 2 photographs can be read: .*is not a picture"):
        take(data.train_batches(data.Reader(PhotographFolder(tmp_path)), batch=1, crop=16), 1)


def test_shares_of_processes_are_apart_and_complete(photographs, monkeypatch):
    source = PhotographFolder(photographs)
    monkeypatch.setattr("jax.process_count", lambda: 3)
    shares = []
    for index in range(3):
        monkeypatch.setattr("jax.process_index", lambda index=index: index)
        reader = data.Reader(source)
        shares.append([reader(i) for i in range(len(reader))])
    assert sorted(map(len, shares)) == [2, 3, 3]
    for index, share in enumerate(shares):
        for i, photograph in enumerate(share):
            np.testing.assert_array_equal(photograph, source[3 * i + index])
    with pytest.raises(ValueError, match="2 photographs cannot be shared between 3 processes"):
        data.Reader(source, 2)


def test_batches_on_devices_resume_after_the_last_one_taken(photographs):
    """The pipeline reads ahead; its position must be that of what was taken, not of what was read."""
    batches = data.train_batches(data.Reader(PhotographFolder(photographs)), batch=4, crop=16)
    plain = take(batches, 6)
    ahead = data.on_device(batches, Devices.all().split)
    taken = [np.asarray(next(ahead)) for _ in range(3)]
    state = ahead.get_state()
    assert taken[0].shape == (2, 2, 16, 16, 3)
    resumed = data.on_device(batches, Devices.all().split)
    resumed.set_state(state)
    taken += [np.asarray(next(resumed)) for _ in range(3)]
    np.testing.assert_array_equal(np.stack(taken).reshape(np.shape(plain)), plain)


def test_a_thin_photograph_is_cut_before_it_is_enlarged():
    """Whole, at 256 pixels' height it would have 256 x 768,000."""
    thin = np.broadcast_to(np.arange(12000, dtype=np.uint16)[None, :, None] // 64, (4, 12000, 3)).astype(np.uint8)
    assert data.without_ends(thin, 0.5).shape == (4, 64, 3)
    crops = [data.random_crop(thin, np.random.default_rng(seed), 64, 256) for seed in range(8)]
    assert all(crop.shape == (64, 64, 3) for crop in crops)
    assert np.ptp([crop.mean() for crop in crops]) > 30  # from all along it
    assert abs(data.center_crop(thin, 64).mean() - 6000 / 64) < 2
    np.testing.assert_array_equal(data.without_ends(thin.transpose(1, 0, 2), 1.0), thin[:, -64:].transpose(1, 0, 2))
