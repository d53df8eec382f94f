"""--tile on the command line: the same picture, done in windows."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import UWCT, picture
from PIL import Image

from uwct.cli import sizes, stylize
from uwct.pipeline import windows

WORDS = [
    "--content",
    "big.png",
    "--style",
    "a.png",
    "--levels",
    "2",
    "1",
    "--model",
    "tiny.safetensors",
    "--dtype",
    "float32",
]


@pytest.fixture
def big(folder):
    alpha = np.full((150, 170, 1), 0.8)
    Image.fromarray(np.uint8(255 * np.concatenate([picture(150, 170, 5), alpha], -1))).save("big.png")
    return folder


def pixels(path):
    return np.asarray(Image.open(path), np.float32)


WORDS_OF_WINDOWS = {
    "nothing": [],
    "a size": ["--size", "100"],
    "parts": ["--region", "left.png", "b.png", "--region", "left.png", "--region-alpha", "0.5", "1"],
    "the rest kept": ["--region", "left.png", "b.png", "a.png:2"],
    "colors": ["--keep-colors", "luminance"],
    "matched colors": ["--keep-colors", "matched", "--region", "left.png", "b.png"],
    "weights a level": ["--style", "b.png", "--style-weights", "1", "0", "1", "2"],
}


@pytest.mark.parametrize("words", WORDS_OF_WINDOWS.values(), ids=WORDS_OF_WINDOWS)
def test_windows_change_nothing(big, capsys, words):
    Image.fromarray(np.uint8(255 * np.linspace(0, 1, 40)[None].repeat(9, 0))).save("left.png")
    stylize.main([*WORDS, *words, "--tile", "off", "--steps", "--output", "whole.png"])
    stylize.main([*WORDS, *words, "--tile", "64", "--steps", "--output", "tiled.png"])
    assert np.abs(pixels("whole.level2.png") - pixels("tiled.level2.png")).max() <= 1
    assert pixels("whole.png").shape == pixels("tiled.png").shape
    assert np.abs(pixels("whole.png") - pixels("tiled.png")).max() <= 1
    whole, tiled = capsys.readouterr().out.splitlines()
    assert whole.split(" -> ")[0] == tiled.split(" -> ")[0]
    assert not [path for path in big.iterdir() if path.name.startswith(".")]


def test_auto_takes_windows_when_memory_is_short(big, capsys, monkeypatch):
    calls = []
    real = windows.stages
    monkeypatch.setattr(windows, "stages", lambda *a, **k: calls.append(1) or real(*a, **k))
    stylize.main([*WORDS, "--output", "out.png"])
    assert not calls
    monkeypatch.setattr(sizes, "free_memory", lambda: 5 * 10**6)
    monkeypatch.setattr(sizes, "WINDOW_SMALL", 64)
    stylize.main([*WORDS, "--style-size", "16", "--output", "out.png"])
    assert calls
    with pytest.raises(SystemExit):
        stylize.main([*WORDS, "--style-size", "16", "--tile", "off", "--output", "out.png"])
    assert "needs about" in capsys.readouterr().err


@pytest.mark.parametrize("tile", ["0", "-3", "half", "1e3", "136"])
def test_bad_tiles_are_refused_at_once(big, capsys, tile):
    for name in ("photos", "out"):
        Path(name).mkdir()
    Path("big.png").rename("photos/big.png")
    shutil.copy("a.png", "photos/small.png")
    words = ["--content", "photos", "--style", "b.png", "--output", "out", "--levels", "5", "4"]
    with pytest.raises(SystemExit) as stop:
        stylize.main([*WORDS, *words, "--tile", tile])
    assert stop.value.code == 2
    sentence = f'--tile must be "auto", "off" or a number of pixels, at these levels from 272 on, not {tile!r}'
    assert sentence in capsys.readouterr().err or tile == "-3"
    assert not list(Path("out").iterdir())


def test_the_smallest_tile_is_enough(big):
    stylize.main([*WORDS, "--levels", "3", "1", "--tile", "52", "--output", "tiled.png"])
    stylize.main([*WORDS, "--levels", "3", "1", "--tile", "off", "--output", "whole.png"])
    assert np.abs(pixels("whole.png") - pixels("tiled.png")).max() <= 1


def test_a_full_disk_is_one_sentence(big, capsys, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(SystemExit):
        stylize.main([*WORDS, "--tile", "64"])
    assert "on the disk meanwhile" in capsys.readouterr().err
    assert not [path for path in big.iterdir() if path.name.startswith((".", "big_a"))]


def test_interrupting_leaves_nothing(big):
    Image.fromarray(np.uint8(255 * picture(1500, 1500, 5))).save("big.png")
    command = [sys.executable, "-c", UWCT, "stylize", *WORDS, "--tile", "48", "--output", "out.png"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(Path().glob(".out.png.*/*.raw")):
        assert process.poll() is None, "the command ended before it was interrupted"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 130
    assert error.rstrip().endswith("interrupted")
    assert not list(Path().glob("*out.png*")) + list(Path().glob(".out*"))
