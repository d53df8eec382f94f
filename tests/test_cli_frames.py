"""`uwct video` with folders of frames that break off and go on, clips into folders, and clips that are transparent."""

import os
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from moving import cutout, read_clip, read_rgba, view, write_animation, write_clip, write_rgba
from PIL import Image

from uwct.cli import video
from uwct.pictures import images
from uwct.pipeline import frames as pipeline

WORDS = ["--style", "a.png", "--model", "tiny.safetensors", "--levels", "2", "1", "--dtype", "float32"]


@pytest.fixture
def frames(folder):
    """A working directory with a folder of seven frames of two scenes."""
    Path("frames").mkdir()
    for i in range(7):
        frame = view(i, 32, 48) if i < 5 else np.uint8(100 * picture(32, 48, 9))
        Image.fromarray(frame).save(f"frames/{i}.png")
    return folder


@pytest.fixture
def painted(monkeypatch):
    """How many frames each batch had that was computed."""
    calls = []
    batch = pipeline.stylize_batch
    monkeypatch.setattr(pipeline, "stylize_batch", lambda *args, **kw: calls.append(len(args[1])) or batch(*args, **kw))
    return calls


def run(words):
    video.main([*shlex.split(words), *WORDS])


def stopped_after(count, words, monkeypatch):
    """Runs the command, and interrupts it when so many frames are written."""
    written, write = [], images.write

    def write_and_stop(path, *args):
        write(path, *args)
        written.append(path)
        if len(written) == count:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(images, "write", write_and_stop)
    with pytest.raises(SystemExit) as stop:
        run(words)
    monkeypatch.setattr(images, "write", write)
    assert stop.value.code == 130


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.suffix == ".png"}


@pytest.mark.parametrize("more", ["", "--batch 2", "--refine-steps 4", "--temporal 0 --keep-colors luminance"])
def test_a_folder_that_broke_off_goes_on_to_the_same_bytes(frames, painted, monkeypatch, capsys, more):
    run(f"frames whole {more}")
    unbroken = len(painted)
    stopped_after(3, f"frames out {more}", monkeypatch)
    assert "interrupted: out holds the first 3 frames; --resume goes on" in capsys.readouterr().err
    assert len(contents("out")) == 3
    painted.clear()
    run(f"frames out {more} --resume")
    done, batches = (2, 3) if "batch" in more else (3, 4)
    assert f"{done} of 7 frames are finished already" in capsys.readouterr().err
    assert len(painted) == batches < unbroken
    assert contents("out") == contents("whole")
    painted.clear()
    run(f"frames out {more} --resume")
    assert not painted


def test_a_batch_has_no_more_frames_than_there_are(frames, painted):
    run("frames out --batch 1000")
    write_clip("clip.mp4", [view(i, 32, 48) for i in range(5)])
    run("clip.mp4 out.mp4 --batch 1000")
    assert painted == [7, 5]


def test_frames_that_come_later_are_added(frames, painted):
    shutil.copytree("frames", "some")
    for i in (5, 6):
        Path(f"some/{i}.png").unlink()
    run("frames whole")
    run("some out")
    for i in (5, 6):
        shutil.copy(f"frames/{i}.png", "some")
    painted.clear()
    run("some out --resume")
    assert len(painted) == 2
    assert contents("out") == contents("whole")


def test_without_one_of_its_frames_a_folder_is_made_anew(frames, painted):
    run("frames out")
    Path("frames/1.png").unlink()
    Path("out/1.png").unlink()
    painted.clear()
    run("frames out --resume")
    assert len(painted) == 6
    run("frames whole")
    assert contents("out") == contents("whole")


@pytest.mark.parametrize("what", ["an option", "a frame", "a result", "a state", "no state"])
def test_what_was_made_otherwise_is_made_anew(frames, painted, monkeypatch, what):
    stopped_after(4, "frames out", monkeypatch)
    more = "--temporal 0.5" if what == "an option" else ""
    if what == "a frame":
        Image.fromarray(view(9, 32, 48)).save("frames/1.png")
    elif what == "a result":
        shutil.copy("frames/1.png", "out/1.png")
    elif what == "a state":
        Path("out/.frames.safetensors").write_bytes(b"no state")
    elif what == "no state":
        Path("out/.frames.safetensors").unlink()
    painted.clear()
    run(f"frames out --resume {more}")
    assert len(painted) == 7
    run(f"frames whole {more}")
    assert contents("out") == contents("whole")


def test_a_frame_that_cannot_be_read_is_named_when_it_goes_on_too(frames, painted, monkeypatch, capsys):
    good = Path("frames/1.png").read_bytes()
    Path("frames/1.png").write_bytes(b"no picture")
    stopped_after(3, "frames out", monkeypatch)
    capsys.readouterr()
    painted.clear()
    with pytest.raises(SystemExit) as end:
        run("frames out --resume")
    assert end.value.code == 1
    assert len(painted) == 3
    assert "error: frames/1.png is not a picture" in capsys.readouterr().err
    Path("frames/1.png").write_bytes(good)
    run("frames out --resume")  # now the frames after it are others
    run("frames whole")
    assert contents("out") == contents("whole")


def test_a_clip_becomes_a_folder_of_numbered_frames_and_goes_on(folder, painted, monkeypatch, capsys):
    write_clip("clip.mp4", [view(i, 32, 48) for i in range(5)])
    run("clip.mp4 clip.mkv")
    run("clip.mp4 whole")
    assert "whole has no sound: a folder of frames holds none" in capsys.readouterr().err
    found = contents("whole")
    assert sorted(found) == [f"{i:06}.png" for i in range(1, 6)]
    for name, frame in zip(sorted(found), read_clip("clip.mkv")[0], strict=True):
        assert np.abs(np.asarray(Image.open(f"whole/{name}"), float) - frame).mean() < 8
    stopped_after(2, "clip.mp4 out", monkeypatch)
    painted.clear()
    run("clip.mp4 out --resume")
    assert len(painted) == 3
    assert contents("out") == contents("whole")


@pytest.mark.parametrize("source", ["clip.mov", "clip.webp"])
def test_what_shows_through_a_clip_is_kept_or_named(folder, capsys, source):
    originals = [cutout(i) for i in range(3)]
    if source == "clip.mov":
        write_rgba(source, originals)
    else:
        write_animation(source, originals, [90, 120, 2000])
    for output in ("out.mov", "out.webm"):
        run(f"{source} {output}")
        np.testing.assert_allclose(np.array(read_rgba(output))[..., 3], np.array(originals)[..., 3], atol=40)
    run(f"{source} out")
    for i, frame in enumerate(originals, 1):
        np.testing.assert_array_equal(np.asarray(Image.open(f"out/{i:06}.png"))[..., 3], frame[..., 3])
    assert "transparent" not in capsys.readouterr().err
    run(f"{source} out.mp4")
    error = capsys.readouterr().err
    assert f"{source} is transparent in part, which out.mp4 cannot be: it is laid on white" in error
    (first, *_), _, _ = read_clip("out.mp4")
    assert first[:, -12:].min() > 245


def test_a_film_becomes_an_animated_picture_without_its_sound(folder, capsys):
    write_clip("clip.mp4", [view(i, 32, 48) for i in range(3)])
    run("clip.mp4 out.gif")
    assert "out.gif has no sound: .gif holds none" in capsys.readouterr().err
    with Image.open("out.gif") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (3, (48, 32), 0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("clip.mp4 out.mp4 --resume", "--resume needs a folder as OUT"),
        ("clip.mp4 a.png", "a.png must end in one of .mp4, .m4v, .mov, .mkv, .webm, .gif, .webp, or be a folder"),
        ("clip.mp4 file", "file is a file, and a name without a suffix stands for a folder of frames"),
        ("000001.png .", "OUT could overwrite 000001.png; give another folder"),
        ("half.webp out", "half.webp holds no frame that can be decoded"),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, words, sentence):
    write_clip("clip.mp4", [view(i, 32, 48) for i in range(2)])
    write_animation("000001.png", [cutout(i) for i in range(2)], [90, 90])
    write_animation("whole.webp", [cutout(i) for i in range(2)], [90, 90])
    Path("half.webp").write_bytes(Path("whole.webp").read_bytes()[:100])
    Path("file").touch()
    before = set(folder.iterdir())
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert error.startswith("error: ")
    assert sentence in error
    assert set(folder.iterdir()) == before
