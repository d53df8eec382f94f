"""Outputs: whatever happens meanwhile, the old file or the whole new one is there; runs go on where they were."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import UWCT, picture
from PIL import Image

from uwct import files
from uwct.cli import stylize
from uwct.pictures import images

WORDS = ["--content", "photos", "--style", "a.png", "--levels", "1", "--output", "out", "--dtype", "float32"]
WORDS += ["--model", "tiny.safetensors"]
COMMAND = [sys.executable, "-c", UWCT, "stylize", *WORDS]

# Writes one of two files over and over, in each of the ways in which uwct writes, and says when it begins.
WRITER = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from uwct import files
from uwct.pictures import images
from uwct.pictures import strips
from uwct.pictures.canvas import Canvas
from uwct.networks.tensors import write_file

def variant(value):
    canvas = Canvas.create(Path(f"{value}.raw"), (200, 300, 3))
    canvas.write(0, 0, np.full((200, 300, 3), value / 255, np.float32))
    noise = np.random.default_rng(value).random((200, 300, 3), np.float32)
    return canvas, images.Picture(noise)

variants = [variant(value) for value in (1, 2)]
ways = {
    "a.png": lambda canvas, noise: images.write("a.png", noise),
    "b.png": lambda canvas, noise: strips.write(Path("b.png"), strips.LargePicture(canvas), Path()),
    "c.safetensors": lambda canvas, noise: write_file("c.safetensors", {"x": noise.rgb}, {}),
}

def written(write, *variants):
    # In a process of its own, since libvips has threads, which do not survive a fork.
    child = os.fork()
    if not child:
        for one in variants:
            write(*one)
        os._exit(0)
    return child

def finish(name, write, variant):
    assert os.waitpid(written(write, variant), 0)[1] == 0
    return Path(name).read_bytes()

allowed = {name: {finish(name, write, variant) for variant in variants} for name, write in ways.items()}
moments = random.Random(0)
for number in range(45):
    name, write = list(ways.items())[number % 3]
    before = os.stat(name).st_mtime_ns
    child = written(write, *variants * 100_000)
    while os.stat(name).st_mtime_ns == before:
        time.sleep(0.001)
    time.sleep(moments.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if Path(name).read_bytes() not in allowed[name]:
        sys.exit(f"{name} is neither of the two files after {number} kills")
    finish(name, write, variants[0])  # what was left over does not matter
print(*(len(found) for found in allowed.values()))
"""


def environment(folder):
    return {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}


def test_sigkill_at_random_moments_leaves_one_file_or_the_other(tmp_path):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", WRITER], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["2", "2", "2"]


@pytest.mark.parametrize("name", ["open", "fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file_and_is_one_sentence(folder, capsys, monkeypatch, name):
    """`open`: no room for another file, or a folder that cannot be written to; `fsync`: no room for its content."""
    Path("out.png").write_text("old")
    real = getattr(os, name)

    def failing(path, *words, **options):
        if name == "fsync" or ".out.png." in os.fsdecode(path):
            raise OSError(28, "No space left on device", path)
        return real(path, *words, **options)

    words = ["--content", "photo.jpg", *WORDS[2:]]
    words[words.index("out")] = "out.png"
    monkeypatch.setattr(os, name, failing)
    with pytest.raises(SystemExit) as stop:
        stylize.main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: out.png cannot be written: No space left on device\n"
    assert Path("out.png").read_text() == "old"
    assert not list(Path().glob(".out.png*"))


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from uwct.pictures import images
from uwct.pictures import strips
from uwct.pictures.canvas import Canvas
from uwct.networks.tensors import write_file
picture = images.Picture(np.random.default_rng(0).random((100, 100, 3), np.float32))
canvas = Canvas.create(Path("canvas.raw"), (100, 100, 3))
canvas.write(0, 0, picture.rgb)
raw = Canvas.create(Path("out.raw"), (100, 100, 3), "uint8")
ways = {
    "a.png": lambda: images.write("a.png", picture),
    "b.png": lambda: strips.write(Path("b.png"), strips.LargePicture(canvas), Path()),
    "c.safetensors": lambda: write_file("c.safetensors", {"x": picture.rgb}, {}),
    "d.raw": lambda: Canvas.create(Path("d.raw"), (1000, 1000, 3)),
}
room = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
for name, write in ways.items():
    try:
        write()
    except OSError as error:
        print(name, error)
"""


def test_a_disk_without_room_leaves_the_old_files(tmp_path):
    """A limit on the size of files stands for the disk: the system refuses what is beyond it, within a file."""
    for name in ("a.png", "b.png", "c.safetensors"):
        (tmp_path / name).write_text("old")
    command = [sys.executable, "-c", FULL, str(30_000)]  # what the strips are collected in
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["a.png", "b.png", "c.safetensors", "d.raw"]
    for line in (lines[0], lines[2]):
        assert line.endswith("cannot be written: File too large")
    for name in ("a.png", "b.png", "c.safetensors"):
        assert (tmp_path / name).read_text() == "old"
    assert not list(tmp_path.glob(".*"))


def test_long_names_and_names_that_are_no_text_are_written(tmp_path):
    for name in ("ä" * 120 + ".png", os.fsdecode(b"\xff.png")):
        images.write(tmp_path / name, images.Picture(picture(4, 4)))
        assert images.read(tmp_path / name).size == "4x4"


def test_lines_stay_whole_after_one_that_was_cut_short(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert files.read_lines(path) == []
    files.append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": ')
    files.append_line(path, {"a": 2})
    assert files.read_lines(path) == [{"a": 1}, {"a": 2}]


PHOTOS = 40


@pytest.fixture
def photos(folder):
    for name in ("photos", "out"):
        Path(name).mkdir()
    for i in range(PHOTOS):
        Image.fromarray(np.uint8(255 * picture(40, 50, i))).save(f"photos/{i:02}.png")
    return folder


def results():
    return {path.name: path.read_bytes() for path in Path("out").glob("[!.]*.png")}


def test_a_run_that_is_killed_goes_on_where_it_was(photos, capsys):
    stylize.main(WORDS)
    expected = results()
    assert len(expected) == PHOTOS
    for path in Path("out").iterdir():
        path.unlink()
    left_over: set[Path] = set()
    for sent, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
        before = len(results())
        process = subprocess.Popen([*COMMAND, "--resume"], env=environment(photos), stderr=subprocess.PIPE)
        while len(results()) < before + 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        process.send_signal(sent)
        error = process.communicate()[1].decode()
        assert process.returncode == code, error
        assert "Traceback" not in error
        assert all(expected[name] == data for name, data in results().items())
        hidden = set(Path("out").glob(".*"))
        assert sent == signal.SIGKILL or hidden <= left_over
        left_over = hidden
        lines = files.read_lines(Path("out/manifest.jsonl"))
        assert {line["output"] for line in lines} <= set(results())
    left = PHOTOS - len({line["output"] for line in lines})
    capsys.readouterr()
    times = {line["output"]: Path("out", line["output"]).stat().st_mtime_ns for line in lines}
    stylize.main([*WORDS, "--resume"])
    assert capsys.readouterr().out.count("in the manner of") == left
    assert results() == expected
    assert all(Path("out", name).stat().st_mtime_ns == time for name, time in times.items())


def test_only_what_is_the_same_is_left_out(photos, capsys):
    for i in range(3, PHOTOS):
        Path(f"photos/{i:02}.png").unlink()
    Path("photos/02.png").write_text("no picture")

    def made(*words, code=1):
        with pytest.raises(SystemExit) as stop:
            stylize.main([*WORDS, "--resume", *words])
        assert stop.value.code == code
        captured = capsys.readouterr()
        assert "photos/02.png is not a picture" in captured.err.splitlines()[-1]
        return [line.split(" ")[0] for line in captured.out.splitlines()]

    assert made() == ["photos/00.png", "photos/01.png"]
    assert made() == []
    Path("out/00.png").write_bytes(b"another file")
    assert made() == ["photos/00.png"]
    Image.fromarray(np.uint8(255 * picture(40, 50, 99))).save("photos/01.png")
    assert made() == ["photos/01.png"]
    assert made("--alpha", "0.3") == ["photos/00.png", "photos/01.png"]
    assert made("--alpha", "0.3") == []
    Image.fromarray(np.uint8(255 * picture(40, 50, 98))).save("a.png")
    assert made("--alpha", "0.3") == ["photos/00.png", "photos/01.png"]
    last = files.read_lines(Path("out/manifest.jsonl"))[-1]
    assert last["output"] == "01.png"
    assert last["content"]["file"] == "01.png"
    assert last["options"]["alpha"] == [0.3]
    assert {"uwct", "jax", "numpy", "pillow", "python"} <= last["versions"].keys()
    assert json.loads(json.dumps(last)) == last


def test_every_file_is_watched_of_two_with_one_name(photos, capsys):
    for i in range(1, PHOTOS):
        Path(f"photos/{i:02}.png").unlink()
    for name in "xy":
        Path(name).mkdir()
        Image.new("L", (50, 40), 200).save(f"{name}/mask.png")
    words = [*WORDS, "--region", "x/mask.png", "b.png", "--region", "y/mask.png", "b.png", "--resume"]
    for made in (1, 0):
        stylize.main(words)
        assert capsys.readouterr().out.count("in the manner of") == made
    for name in "xy":
        Image.new("L", (50, 40), 100).save(f"{name}/mask.png")
        stylize.main(words)
        assert capsys.readouterr().out.count("in the manner of") == 1
