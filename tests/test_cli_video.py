"""`uwct video`: a clip with its sound, a folder of frames, interrupts, and what is wrong with what it is given."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from moving import RATE, read_clip, sound_of, view, write_clip
from PIL import Image

import uwct
from uwct.cli import video
from uwct.pictures import images
from uwct.pictures.clip_writer import Writer
from uwct.pipeline.presets import PRESETS

WORDS = ["--style", "a.png", "--model", "tiny.safetensors", "--levels", "2", "1", "--dtype", "float32"]
FRAMES = [view(i, 32, 48) for i in range(7)]


@pytest.fixture
def clip(folder):
    """A working directory with a clip as well."""
    write_clip("clip.mp4", FRAMES)
    return folder


def run(words, *more):
    video.main([*shlex.split(words), *WORDS, *more])


def expected(model, frames, temporal=0.9):
    picture = images.read("a.png")
    sized = images.resize(picture, images.fitted(picture.rgb.shape[:2], 512)).rgb
    how = {"transform": uwct.monge, "shrinkage": 0.3, "temporal": temporal}
    result = uwct.stylize_frames(model, frames, jnp.asarray(sized), (2, 1), PRESETS["paint"].alpha[2:], **how)
    return [255 * np.clip(frame, 0, 1) for frame in result]


def assert_alike(found, wanted, tolerance):
    assert np.shape(found) == np.shape(wanted)
    assert np.abs(np.asarray(found, float) - np.asarray(wanted, float)).mean() < tolerance


def test_frames_are_refined_in_parts_too(clip):
    left = np.uint8(255 * (np.arange(48) < 24))[None].repeat(32, 0)
    Image.fromarray(left).save("left.png")
    Path("frames").mkdir()
    for i, frame in enumerate(FRAMES[:2]):
        Image.fromarray(frame).save(f"frames/{i}.png")
    run("frames plain --region left.png")
    run("frames out --region left.png --refine-steps 16")
    for i, frame in enumerate(FRAMES[:2]):
        plain, found = (np.asarray(Image.open(f"{folder}/{i}.png"), float) for folder in ("plain", "out"))
        assert np.abs(found[:, :23] - frame[:, :23]).max() <= 1
        assert 1 < np.abs(found - plain)[:, 25:].mean() < 20


def test_a_frame_that_cannot_be_read_is_passed_over_and_named(folder, capsys):
    Path("frames").mkdir()
    for i in (0, 2):
        Image.fromarray(FRAMES[i]).save(f"frames/{i}.png")
    Path("frames/1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as end:
        run("frames out")
    assert end.value.code == 1
    assert "error: frames/1.png is not a picture" in capsys.readouterr().err
    assert sorted(path.name for path in Path("out").iterdir()) == [
        ".frames.safetensors",
        "0.png",
        "2.png",
        "manifest.jsonl",
    ]


def test_what_of_a_clip_could_not_be_read_is_named(clip, capsys):
    write_clip("clip.mp4", [view(0, 48, 64, seed=i) for i in range(8)], sound=None)
    data = bytearray(Path("clip.mp4").read_bytes())
    start, end = data.index(b"mdat"), data.index(b"moov")
    middle = (start + end) // 2
    data[middle : end - 40] = bytes(end - 40 - middle)  # the later frames' bytes
    Path("clip.mp4").write_bytes(data)
    with pytest.raises(SystemExit) as stop:
        run("clip.mp4 out.mp4")
    assert stop.value.code == 1
    assert "of its frames are damaged" in capsys.readouterr().err
    assert Path("out.mp4").exists()


def test_a_part_of_every_frame_keeps_its_pixels_and_the_rest_its_colors(clip):
    left = np.uint8(255 * (np.arange(48) < 24))[None].repeat(32, 0)
    Image.fromarray(left).save("left.png")
    Path("frames").mkdir()
    for i, frame in enumerate(FRAMES[:3]):
        Image.fromarray(frame).save(f"frames/{i}.png")
    run("frames out --region left.png --temporal 0.5")
    run("frames kept --region left.png --keep-colors luminance")
    for i, frame in enumerate(FRAMES[:3]):
        found, kept = (np.asarray(Image.open(f"{folder}/{i}.png"), float) for folder in ("out", "kept"))
        assert np.abs(found[:, :23] - frame[:, :23]).max() <= 1
        assert np.abs(found[:, 25:] - frame[:, 25:]).mean() > 5
        both = [np.uint8(x) for x in (frame, found, kept)]
        chroma = [np.asarray(Image.fromarray(x).convert("YCbCr"), float)[..., 1:] for x in both]
        assert np.abs(chroma[2] - chroma[0]).mean() < 0.5 * np.abs(chroma[1] - chroma[0]).mean()


def test_a_clip_keeps_its_size_rate_times_and_sound(clip, tiny_model, capsys):
    run("clip.mp4 out.mp4")
    frames, times, notes = read_clip("out.mp4")
    source, source_times, source_notes = read_clip("clip.mp4")
    assert times == source_times
    assert notes["rate"] == source_notes["rate"] == RATE
    assert sound_of("out.mp4") == sound_of("clip.mp4")
    assert_alike(frames, expected(tiny_model, [np.float32(frame) / 255 for frame in source]), 8)
    assert "7/7" in capsys.readouterr().err
    assert not list(Path().glob(".out*"))


def test_a_resized_clip_keeps_its_proportions_and_says_where_a_line_is_lost(clip, capsys):
    run("clip.mp4 out.mkv --size 45 --temporal 0 --batch 3")
    frames, *_ = read_clip("out.mkv")
    assert np.shape(frames) == (7, 30, 44, 3)
    assert "out.mkv is 44x30 pixels: its codec takes even sides only" in capsys.readouterr().err


def test_a_folder_of_frames_becomes_another_in_the_order_of_their_numbers(folder, tiny_model):
    Path("frames").mkdir()
    frames = [picture(32, 60, 1)[:, i : i + 48] for i in range(11)]
    for i, frame in enumerate(frames):
        pixels = np.uint8(np.round(255 * frame))
        name = f"frames/{i}.bmp" if i == 2 else f"frames/{i}.png"
        if i == 3:
            pixels = np.dstack([pixels, np.full((32, 48), 99, np.uint8)])
        Image.fromarray(pixels).save(name)
    run("frames out/there --temporal 0.5")
    assert {path.name for path in Path("out/there").iterdir() if path.suffix == ".png"} == {
        f"{i}.bmp.png" if i == 2 else f"{i}.png" for i in range(11)
    }
    rounded = [np.float32(np.round(255 * frame)) / 255 for frame in frames]
    for i, wanted in enumerate(expected(tiny_model, rounded, 0.5)):
        found = np.asarray(Image.open(f"out/there/{i}.bmp.png" if i == 2 else f"out/there/{i}.png"))
        assert_alike(found[..., :3], wanted, 1)
        assert (found[..., 3:] == 99).all()


def test_interrupting_leaves_a_file_that_plays(folder):
    write_clip("clip.mkv", [view(i, 32, 48) for i in range(90)])
    program = "import sys; from uwct.cli.video import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "clip.mkv", "out.mp4", *WORDS],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(Path().glob(".out.mp4.*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 130
    frames, times, _ = read_clip("out.mp4")
    assert error.splitlines()[-1] == f"interrupted: out.mp4 holds the first {len(frames)} frames"
    assert 1 <= len(frames) < 90
    assert np.shape(frames)[1:] == (32, 48, 3)
    np.testing.assert_allclose(times, np.arange(len(frames)) / RATE, atol=2e-3)
    assert not list(Path().glob(".out*"))


def test_sigterm_stops_and_a_second_signal_ends_at_once(clip, capsys, monkeypatch):
    write = Writer.write

    def write_and(signals):
        def wrapped(writer, pixels, time):
            write(writer, pixels, time)
            for number in signals:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Writer, "write", wrapped)

    write_and([signal.SIGTERM])
    with pytest.raises(SystemExit) as stop:
        run("clip.mp4 out.mp4")
    assert stop.value.code == 130
    assert "interrupted: out.mp4 holds the first 1 frames" in capsys.readouterr().err
    assert len(read_clip("out.mp4")[0]) == 1
    Path("out.mp4").unlink()
    before = set(clip.iterdir())
    write_and([signal.SIGTERM, signal.SIGINT])
    with pytest.raises(SystemExit) as stop:
        run("clip.mp4 out.mp4")
    assert stop.value.code == 130
    assert set(clip.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("none.mp4 out.mp4", "there is no video none.mp4"),
        ("photo.txt out.mp4", "photo.txt cannot be read as a video"),
        ("clip.mp4 out.avi", "out.avi must end in one of .mp4, .m4v, .mov, .mkv, .webm, .gif, .webp, or be a folder"),
        ("clip.mp4 none/out.mp4", "the output folder none does not exist"),
        ("clip.mp4 clip.mp4", "OUT would overwrite clip.mp4"),
        ("clip.mp4 ./b.gif --style b.gif", "OUT would overwrite b.gif"),
        ("clip.mp4 b.gif --region b.gif a.png", "OUT would overwrite b.gif"),
        ("twice . --style 1.png", "OUT would overwrite 1.png"),
        ("twice out", "2 pictures would be written to out/1.gif.png; rename their files"),
        ("clip.mp4 -", "OUT must be a file or a folder: no video is written to standard output"),
        ("frames out.mp4", "frames is a folder of frames, so the output must be a folder too, not out.mp4"),
        ("empty out", "the folder empty holds no pictures"),
        ("frames out", "frames/2.png is 40x32 pixels, but frames/1.png 48x32; frames have one size"),
        ("clip.mp4 out.mp4 --temporal 1", "--temporal must be at least 0 and less than 1, not 1"),
        ("clip.mp4 out.mp4 --temporal -0.1", "--temporal must be at least 0 and less than 1, not -0.1"),
        ("clip.mp4 out.mp4 --batch -1", "--batch must be at least 0, not -1"),
        ("clip.mp4 out.mp4 --size -1", "--size must lie between 0 and 2^31, not -1"),
        ("clip.mp4 out.mp4 --size 1", "out.mp4 would be 1x1 pixels"),
        ("clip.mp4 out.mp4 --style-weights 1 2 3", "1 styles need as many --style-weights, or 2 for 2 levels, not 3"),
        ("clip.mp4 out.mp4 --style-weights 0", "--style-weights must not be negative, nor all 0"),
        ("clip.mp4 out.mp4 --alpha 2", "--alpha must lie between 0 and 1, not 2"),
    ],
)
def test_bad_input_is_one_sentence(clip, capsys, words, sentence):
    for name in ("frames", "twice", "empty"):
        Path(name).mkdir()
    for i, frame in enumerate([FRAMES[0], FRAMES[1][:, :40]], 1):
        Image.fromarray(frame).save(f"frames/{i}.png")
    for name in ("b.gif", "1.png", "twice/1.gif", "twice/1.gif.png", "twice/1.png"):
        Image.fromarray(FRAMES[0]).save(name)
    Path("photo.txt").write_text("no video")
    before = set(clip.iterdir())
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "%|" not in line]
    assert error.startswith("error: ")
    assert sentence in error
    assert not [path for path in set(clip.iterdir()) - before if path.is_file()]


def test_a_forgotten_output_or_style_is_told(clip, capsys):
    with pytest.raises(SystemExit) as stop:
        video.main(["clip.mp4", "--style", "a.png"])
    assert stop.value.code == 2
    assert "--style needs at least one picture" in capsys.readouterr().err
