"""Animated pictures and transparent clips: frames, how long each is shown, how often all are, what shows through."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from moving import cutout, read_rgba, write_animation, write_clip, write_rgba
from PIL import Image

from uwct.pictures.animations import Animation, is_animation
from uwct.pictures.clip_writer import Writer
from uwct.pictures.clips import Clip

TIMES = [100, 50, 250, 3000]  # ms
FRAMES = [cutout(i) for i in range(4)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def opened(path):
    return Animation(Path(path)) if is_animation(Path(path)) else Clip(Path(path))


def copy(source, target, shape=None):
    with opened(source) as clip:
        shape = shape or clip.shape
        with Writer(Path(target), clip, shape) as writer:
            for pixels, time in clip.frames(shape, writer.hear):
                writer.write(pixels, time)
    return writer


def shown(path):
    """(frames `uint8[N, H, W, 4]`, ms of each, Pillow's number of how often) of an animated picture."""
    with Image.open(path) as image:
        frames, times = [], []
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGBA")))
            times.append(image.info["duration"])
        return np.stack(frames), times, image.info.get("loop")


def assert_seen_alike(found, expected, tolerance):
    """Alpha is the same, and so are colors where they are seen."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    assert np.abs(found - expected)[..., 3].mean() < 2
    seen = np.minimum(found, expected)[..., 3] > 20
    assert np.abs(found - expected)[seen][:, :3].mean() < tolerance


@pytest.mark.parametrize("source", ["a.gif", "a.png", "a.webp"])
def test_an_animated_picture_is_read_with_its_times_and_what_shows_through(source):
    write_animation(source, FRAMES, TIMES)
    with opened(source) as clip:
        found = list(clip.frames(clip.shape, lambda packet: None))
        assert (type(clip), clip.count, clip.transparent, clip.faults) == (Animation, 4, True, [])
        assert clip.rate == Fraction(4000, 3400)
    assert [time for _, time in found] == [(0, 100), (100, 50), (150, 250), (400, 3000)]
    assert_seen_alike([255 * pixels for pixels, _ in found], FRAMES, 12)


@pytest.mark.parametrize("target", ["b.gif", "b.webp"])
@pytest.mark.parametrize("source", ["a.gif", "a.png", "a.webp"])
def test_an_animated_picture_becomes_another_with_the_same_times(source, target):
    write_animation(source, FRAMES, TIMES)
    copy(source, target)
    frames, times, _ = shown(target)
    assert times == TIMES
    assert_seen_alike(frames, FRAMES, 16)
    assert {path.name for path in Path().iterdir()} == {source, target}


@pytest.mark.parametrize(("plays", "loops"), [(0, (0, 0, 0)), (1, (None, 1, 1)), (4, (3, 4, 4))])
def test_how_often_it_is_shown_stays(plays, loops):
    """A GIF counts how often it is shown again, and does not say so if never; WebP and APNG count how often at all."""
    for source, loop in zip(("a.gif", "a.webp", "a.png"), loops, strict=True):
        write_animation(source, FRAMES, TIMES, loop)
        with opened(source) as clip:
            assert clip.plays == plays
        for target, wanted in zip(("b.gif", "b.webp"), loops[:2], strict=True):
            copy(source, target)
            assert shown(target)[2] == wanted


def test_a_frame_of_no_time_is_shown_as_browsers_do():
    write_animation("a.gif", FRAMES, [0, 10, 20, 500])
    with opened("a.gif") as clip:
        times = [time.duration for _, time in clip.frames(clip.shape, lambda packet: None)]
    assert times == [100, 100, 20, 500]


def test_a_picture_for_programs_without_animation_is_no_frame():
    pictures = [Image.fromarray(frame) for frame in FRAMES]
    options = {"save_all": True, "append_images": pictures[1:], "default_image": True, "duration": 70}
    pictures[0].save("a.png", **options)
    with opened("a.png") as clip:
        found = [pixels for pixels, _ in clip.frames(clip.shape, lambda packet: None)]
    np.testing.assert_allclose(255 * np.array(found), FRAMES[1:], atol=1e-3)


def test_a_broken_animation_is_read_as_far_as_it_goes_and_named():
    write_animation("a.png", FRAMES, TIMES)
    data = Path("a.png").read_bytes()
    Path("half.png").write_bytes(data[: data.rindex(b"fdAT") + 40])
    with opened("half.png") as clip:
        found = [pixels for pixels, _ in clip.frames(clip.shape, lambda packet: None)]
    assert_seen_alike([255 * pixels for pixels in found], FRAMES[:3], 1)
    assert clip.faults == ["half.png ends early: 3 of the 4 frames that it should have are there"]


def test_a_film_becomes_an_animated_picture_and_back():
    opaque = [frame[..., :3] for frame in FRAMES]
    write_clip("a.mp4", opaque, [0, 1, 5, 6])
    for target in ("b.gif", "b.webp"):
        writer = copy("a.mp4", target)
        assert writer.silent
        frames, times, loop = shown(target)
        assert loop == 0
        assert (frames[..., 3] == 255).all()
        np.testing.assert_allclose(np.cumsum(times), [1000 / 12, 5000 / 12, 6000 / 12, 7000 / 12], atol=6)
        copy(target, "c.mp4")
        with av.open("c.mp4") as container:
            assert container.duration == pytest.approx(7e6 / 12, abs=8e3)
            assert len(list(container.decode(video=0))) == 4


def test_frames_too_short_for_a_gif_are_left_out_and_the_length_stays():
    """60 frames a second; browsers show none of less than 20 ms for its time."""
    with av.open("a.mkv", "w") as container:
        stream = container.add_stream("ffv1", 60, width=64, height=48)
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(cutout(i % 4)[..., :3], "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 60)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    writer = copy("a.mkv", "b.gif")
    frames, times, _ = shown("b.gif")
    assert min(times) >= 20
    assert sum(times) == pytest.approx(500, abs=20)
    assert len(frames) + writer.left_out == 30
    assert 0 < writer.left_out < 15
    assert copy("a.mkv", "b.webp").left_out == 0


def test_a_film_that_stands_still_is_a_webp_too():
    write_clip("a.mp4", [FRAMES[0][..., :3]] * 3, sound=None)
    copy("a.mp4", "b.webp")
    with Image.open("b.webp") as image:
        assert np.abs(np.asarray(image.convert("RGB"), float) - FRAMES[0][..., :3]).mean() < 6


@pytest.mark.parametrize("source", ["a.mov", "a.webm"])
@pytest.mark.parametrize("target", ["b.mov", "b.webm", "b.webp", "b.gif"])
def test_what_shows_through_a_clip_still_does(source, target):
    write_rgba(source, FRAMES)
    writer = copy(source, target)
    assert writer.transparent
    found = shown(target)[0] if target in ("b.webp", "b.gif") else read_rgba(target)
    assert_seen_alike(found, FRAMES, 18 if target == "b.gif" else 8)


def test_a_format_without_alpha_shows_white_where_nothing_is_seen():
    write_rgba("a.mov", FRAMES)
    assert not copy("a.mov", "b.mp4").transparent
    with av.open("b.mp4") as container:
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    alpha = np.float32(FRAMES)[..., 3:] / 255
    expected = np.float32(FRAMES)[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(np.float32(found) - expected).mean() < 6


def test_a_format_with_alpha_whose_clip_is_opaque_stays_as_small_as_others():
    opaque = [np.dstack([frame[..., :3], np.full((48, 64), 255, np.uint8)]) for frame in FRAMES]
    write_rgba("a.mov", opaque)
    assert not copy("a.mov", "b.mov").transparent
    with av.open("b.mov") as container:
        assert container.streams.video[0].codec_context.name == "h264"


@pytest.mark.parametrize("source", ["a.mov", "a.png"])
def test_colors_that_are_not_seen_do_not_fringe_a_smaller_frame(source):
    """Red that is seen beside green that is not."""
    frames = []
    for _ in range(2):
        frame = np.zeros((48, 64, 4), np.uint8)
        frame[:, :31] = (255, 0, 0, 255)
        frame[:, 31:, 1] = 255
        frames.append(frame)
    frames[1][:4] = 0
    if source == "a.mov":
        write_rgba(source, frames)
    else:
        write_animation(source, frames, [100, 100])
    with opened(source) as clip:
        pixels = next(clip.frames((24, 32), lambda packet: None))[0]
    seen = pixels[..., 3] > 0.1
    assert seen[:, 15].all()
    np.testing.assert_allclose(pixels[seen][:, :2], np.broadcast_to([1, 0], (seen.sum(), 2)), atol=0.02)
