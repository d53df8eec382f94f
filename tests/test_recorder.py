import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image
from tensorboardX.proto import event_pb2

from uwct import files
from uwct.training import recorder, report
from uwct.training.recorder import Recorder


def metrics(loss, skipped=0):
    return {"loss": jnp.float32(loss), "psnr": jnp.float32(2 * loss), "skipped": jnp.int32(skipped)}


def events(folder):
    """(tag, step, value) of every scalar in TensorBoard's files; its own reader would need TensorFlow."""
    found = []
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return found


def record(folder, first, last, steps=100):
    with Recorder(folder, "run", start=first - 1, steps=steps, batch=4) as shown:
        for number in range(first, last + 1):
            shown.step(number, metrics(number, skipped=number // 10))
        shown.test(last, {"loss": 0.5})


def test_lines_hold_the_means_of_fifty_steps_and_the_tests(tmp_path):
    record(tmp_path, 1, 100)
    lines = files.read_lines(tmp_path / recorder.FILE)
    assert [(line["step"], line["kind"]) for line in lines] == [(50, "train"), (100, "train"), (100, "test")]
    assert lines[0]["loss"] == pytest.approx(np.mean(range(1, 51)))
    assert lines[1]["psnr"] == pytest.approx(2 * np.mean(range(51, 101)))
    assert lines[1]["skipped"] == 10
    assert lines[1]["pictures_per_second"] > 0
    assert recorder.last_line(tmp_path, "test") == {"step": 100, "kind": "test", "loss": 0.5}
    assert recorder.last_line(tmp_path, "other") == {}


def test_tensorboard_gets_the_same_values(tmp_path):
    record(tmp_path, 1, 50)
    found = events(tmp_path / "tensorboard")
    assert ("train/loss", 50, pytest.approx(25.5)) in found
    assert ("test/loss", 50, 0.5) in found


def test_a_resumed_run_drops_the_lines_beyond_its_step_and_a_line_cut_short(tmp_path):
    record(tmp_path, 1, 100)
    with (tmp_path / recorder.FILE).open("a") as file:
        file.write('{"step": 120, "kin')
    record(tmp_path, 51, 100)
    lines = (tmp_path / recorder.FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50, 100, 100]


def test_the_table_has_a_row_a_level_and_dashes_for_what_is_unknown():
    records = {2: {"train": {"loss": 0.25}, "test": {"loss": 0.5, "psnr": 21.456, "ssim": 0.7, "lpips": 0.1234}}, 1: {}}
    assert report.table(records).splitlines()[2:] == [
        "| level 1 (relu1_1) | - | - | - | - | - |",
        "| level 2 (relu2_1) | 0.2500 | 0.5000 | 21.46 | 0.700 | 0.123 |",
    ]


def test_curves_are_drawn_from_what_was_recorded(tmp_path):
    record(tmp_path / "a", 1, 100)
    report.curves({"level 1": tmp_path / "a", "level 2": tmp_path / "nothing"}, tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    left, right = np.split(pixels, [pixels.shape[1] // 2], axis=1)
    colourful = [(half.max(-1) - half.min(-1) > 60).sum() for half in (left, right)]
    assert colourful[0] > 100  # a line, and
    assert colourful[1] == 0  # none where nothing was recorded


def test_reconstructions_stand_beside_their_photographs(tiny_model, tmp_path):
    photographs = np.uint8(255 * np.stack([picture(32, 32, seed) for seed in range(2)]))
    report.reconstructions(tiny_model, (1, 2), photographs, tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB")).astype(int)
    for photograph in photographs.astype(int):
        windows = np.lib.stride_tricks.sliding_window_view(grid, (32, 32, 3))[:, :, 0]
        assert np.abs(windows - photograph).mean((2, 3, 4)).min() < 1
