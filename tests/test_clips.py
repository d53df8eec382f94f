"""Video files: what goes in comes out, at its time and with its sound."""

import os
import struct
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from moving import RATE, read_clip, sound_of, view, write_clip

from uwct.pictures.clip_writer import Writer
from uwct.pictures.clips import Clip

FRAMES = [view(i) for i in range(9)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def copy(source, target, shape=None):
    with Clip(Path(source)) as clip:
        shape = shape or clip.shape
        with Writer(Path(target), clip, shape) as writer:
            for rgb, time in clip.frames(shape, writer.hear):
                writer.write(rgb, time)


def assert_alike(found, expected, tolerance=6):
    assert np.shape(found) == np.shape(expected)
    assert np.abs(np.asarray(found, float) - np.asarray(expected, float)).mean() < tolerance


@pytest.mark.parametrize("target", ["b.mp4", "b.mov", "b.mkv", "b.webm"])
def test_a_copy_has_the_same_pictures_times_and_sound(target):
    write_clip("a.mkv", FRAMES, sound="libopus" if target == "b.webm" else "aac")
    copy("a.mkv", target)
    frames, times, notes = read_clip(target)
    assert_alike(frames, FRAMES)
    np.testing.assert_allclose(times, np.arange(9) / RATE, atol=2e-3)
    assert abs(notes["rate"] - RATE) < 0.01  # Matroska rounds to milliseconds
    assert (notes["matrix"], notes["range"]) == (1, 1)  # BT.709, so that players show the colors that were meant
    assert sound_of(target)[:2] == sound_of("a.mkv")[:2]
    assert {path.name for path in Path().iterdir()} == {"a.mkv", target}


def test_frames_that_do_not_come_evenly_keep_their_times():
    times = [0, 1, 2, 7, 8, 12, 20, 21, 22]
    write_clip("a.mp4", FRAMES, times)
    copy("a.mp4", "b.mp4")
    frames, found, _ = read_clip("b.mp4")
    assert len(frames) == 9
    np.testing.assert_allclose(found, np.array(times) / RATE, atol=1e-3)
    np.testing.assert_allclose(sound_of("b.mp4")[2], sound_of("a.mp4")[2], atol=1e-3)


def write_slides(path, ends, codec):
    """A film without sound whose frames are shown until these times in seconds."""
    options = {"bf": "0"} if codec == "h264" else {}
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, RATE, width=64, height=48, options=options, time_base=Fraction(1, 1000))
        starts = [0, *ends[:-1]]

        def mux(packets):
            for packet in packets:
                packet.duration = dict(zip(starts, np.diff([0, *ends]), strict=True))[packet.pts]
                container.mux(packet)

        for start, pixels in zip(starts, FRAMES, strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = start, Fraction(1, 1000)
            mux(stream.encode(frame))
        mux(stream.encode(None))


def slides_of(path):
    """((start, duration) of each packet, in the order in which they are shown; the length) in seconds."""
    with av.open(path) as container:
        (video,) = container.streams.video
        packets = [packet for packet in container.demux(video) if packet.size]
        times = [(float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]
        return sorted(times), container.duration / 1e6


@pytest.mark.parametrize("target", ["b.mp4", "b.m4v", "b.mov", "b.mkv", "b.webm"])
@pytest.mark.parametrize(("source", "codec"), [("a.mp4", "h264"), ("a.mkv", "h264"), ("a.mov", "mpeg4")])
def test_every_frame_is_shown_as_long_as_it_was_the_last_one_too(source, codec, target):
    write_slides(source, [100, 250, 700, 750, 3750], codec)
    copy(source, target)
    times, length = slides_of(target)
    expected = [(0, 0.1), (0.1, 0.15), (0.25, 0.45), (0.7, 0.05), (0.75, 3)]
    np.testing.assert_allclose(times, expected, atol=1.5e-3)
    assert length == pytest.approx(3.75, abs=2e-3)


def test_the_last_frame_of_a_film_does_not_wait_for_the_sound():
    write_clip("whole.mp4", FRAMES)
    with av.open("whole.mp4") as source, av.open("a.mkv", "w") as container:
        streams = [container.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None and (packet.stream.type == "audio" or packet.pts * packet.time_base < 0.4):
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    copy("a.mkv", "b.mp4")
    with av.open("b.mp4") as container:
        video = container.streams.video[0]
        assert container.duration / 1e6 > 0.7
        assert float(video.duration * video.time_base) == pytest.approx(5 / RATE, abs=3e-3)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_what_was_filmed_on_its_side_is_upright(rotation):
    write_clip("a.mp4", FRAMES, rotation=rotation)
    copy("a.mp4", "b.mp4")
    frames, _, notes = read_clip("b.mp4")
    assert notes["rotation"] == 0
    assert_alike(frames, [np.rot90(frame, rotation // 90) for frame in FRAMES])


def with_matrix(path, matrix):
    """Writes another display matrix into the track header of an .mp4."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", *(x << 16 for x in (*matrix[:2], 0, *matrix[2:], 0, 0, 0)), 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
                                    (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0)])  # fmt: skip
def test_all_eight_display_matrices_are_heeded(matrix):
    """A pixel at (x, y) is shown at (a x + c y, b x + d y), moved into view."""
    path = Path("turned.mp4")
    write_clip(path, [view(0)], sound=None)
    with_matrix(path, matrix)
    stored, (a, b, c, d) = view(0), matrix
    y, x = np.mgrid[: stored.shape[0], : stored.shape[1]]
    across, down = a * x + c * y, b * x + d * y
    shown = np.zeros((np.ptp(down) + 1, np.ptp(across) + 1, 3))
    shown[down - down.min(), across - across.min()] = stored
    with Clip(path) as clip:
        assert clip.shape == shown.shape[:2]
        ((frame, _),) = clip.frames(clip.shape, lambda packet: None)
    assert np.abs(255 * frame - shown).mean() < 8


def retagged(path, target, **tags):
    """A copy whose frames carry other tags of color."""
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        video = source.streams.video[0]
        stream = container.add_stream("libx264", RATE, width=video.width, height=video.height, options={"crf": "8"})
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for frame in source.decode(video):
            frame = frame.reformat(format="yuv420p")
            for name, value in tags.items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("height", "matrix"), [(720, "ITU709"), (480, "ITU601")])
def test_colors_without_a_tag_are_read_as_players_do(height, matrix):
    green = np.zeros((height, 64, 3), np.uint8)
    green[..., 1] = 160
    with av.open("plain.mp4", "w") as container:
        stream = container.add_stream("h264", RATE, width=64, height=height, options={"crf": "4"})
        frame = av.VideoFrame.from_ndarray(green, "rgb24").reformat(format="yuv420p", dst_colorspace=matrix)
        frame.colorspace, frame.pts, frame.time_base = 2, 0, Fraction(1, RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with Clip(Path("plain.mp4")) as clip:
        ((found, _),) = clip.frames(clip.shape, lambda packet: None)
    assert np.abs(255 * found - green).max() < 6


def test_hdr_is_mapped_to_a_screen_and_said():
    """A PQ code of 0.58 is the light of white paper (203 nits, ITU-R BT.2408): as it is, it would be grey."""
    write_clip("paper.mp4", [np.full((48, 64, 3), 148, np.uint8)], sound=None)
    retagged("paper.mp4", "hdr.mp4", color_trc=16, color_primaries=9, colorspace=9, color_range=1)
    with Clip(Path("hdr.mp4")) as hdr, Clip(Path("paper.mp4")) as plain:
        assert hdr.hdr
        assert not plain.hdr
        (white, _), (grey, _) = (next(clip.frames(clip.shape, lambda packet: None)) for clip in (hdr, plain))
    assert white.mean() > 0.8
    assert grey.mean() == pytest.approx(0.58, abs=0.02)


def test_a_clip_that_ends_early_is_named():
    write_clip("whole.mp4", [view(0, seed=i) for i in range(20)], sound=None)
    with (
        av.open("whole.mp4") as source,
        av.open("first.mp4", "w", container_options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    data = Path("first.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    Path("half.mp4").write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    with Clip(Path("half.mp4")) as clip:
        found = list(clip.frames(clip.shape, lambda packet: None))
        assert 0 < len(found) < 20
        told = f"half.mp4 ends early: {len(found)} of the 20 frames that it should have are there"
        assert told in clip.faults
        tick = 1 / (RATE * clip.time_base)
        assert {time.duration for _, time in found} == {tick}  # the last one is not shown for those that are missing


def test_interlaced_fields_become_whole_frames():
    """Fields of two moments: combs, which bwdif takes away."""
    frames = []
    for i in range(6):
        combed, second = view(8 * i, 64, 96), view(8 * i + 4, 64, 96)
        combed[1::2] = second[1::2]
        frames.append(combed)
    with av.open("combed.mkv", "w") as container:
        options = {"flags": "+ilme+ildct", "top": "1", "q": "2"}
        stream = container.add_stream("mpeg2video", 25, width=96, height=64, options=options)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def combs(rgb):
        return np.abs(rgb[1:-1] - (rgb[:-2] + rgb[2:]) / 2).mean()

    with Clip(Path("combed.mkv")) as clip:
        found = [frame for frame, _ in clip.frames(clip.shape, lambda packet: None)]
    assert len(found) == 6
    assert combs(found[3]) < 0.5 * combs(np.float32(frames[3]) / 255)


def test_odd_sides_lose_a_line_only_where_the_codec_has_none():
    odd = [frame[:47, :61] for frame in FRAMES]
    write_clip("a.mkv", odd, sound=None)
    copy("a.mkv", "b.mp4")
    copy("a.mkv", "b.webm")
    assert_alike(read_clip("b.mp4")[0], [frame[:46, :60] for frame in odd])
    assert_alike(read_clip("b.webm")[0], odd)


def test_frames_are_resized_and_pixels_that_are_not_square_stay_so():
    write_clip("wide.mkv", FRAMES, sound=None, aspect=Fraction(4, 3))
    copy("wide.mkv", "b.mkv", (24, 32))
    halves = [frame.reshape(24, 2, 32, 2, 3).mean((1, 3)) for frame in FRAMES]
    assert_alike(read_clip("b.mkv")[0], halves)
    for name in ("wide.mkv", "b.mkv"):
        with av.open(name) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("target", "codec"), [("b.mp4", "aac"), ("b.webm", "opus")])
def test_sound_that_the_container_cannot_hold_is_encoded(target, codec):
    write_clip("a.mkv", FRAMES, sound="pcm_s16le")
    copy("a.mkv", target)
    found, _, times = sound_of(target)
    assert found == codec
    with av.open(target) as container:
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert abs(times[-1] - 9 / RATE) < 0.1
    hum = np.abs(np.fft.rfft(samples[0, 4096 : 4096 + 8192]))
    assert abs(hum.argmax() * 2 * np.pi / 8192 - 0.05) < 0.002
    assert abs(np.sqrt((samples[:, 4096:-4096] ** 2).mean()) - 0.2 / np.sqrt(2)) < 0.02


def test_a_damaged_packet_is_passed_over():
    write_clip("a.mkv", FRAMES, codec="mjpeg", sound=None)
    data = bytearray(Path("a.mkv").read_bytes())
    start = data.find(b"\xff\xd8", data.find(b"\xff\xd8") + 2)
    end = data.find(b"\xff\xd8", start + 2) - 20
    data[start:end] = bytes(end - start)
    Path("a.mkv").write_bytes(data)
    copy("a.mkv", "b.mp4")
    assert len(read_clip("b.mp4")[0]) == 8


def test_nothing_stays_of_what_failed():
    write_clip("a.mp4", FRAMES)
    with Clip(Path("a.mp4")) as clip, suppress(KeyboardInterrupt), Writer(Path("b.mp4"), clip, clip.shape) as writer:
        writer.write(*next(clip.frames(clip.shape, writer.hear)))
        raise KeyboardInterrupt
    assert [path.name for path in Path().iterdir()] == ["a.mp4"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing():
    noise = np.random.default_rng(0).integers(0, 255, (30, 96, 96, 3), np.uint8)
    write_clip("a.mkv", noise, sound=None)
    resource = pytest.importorskip("resource", reason="a limit on the size of files stands for the disk")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=r"^b\.mp4 cannot be written: File too large$"):
            copy("a.mkv", "b.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in Path().iterdir()] == ["a.mkv"]


def test_a_clip_that_cannot_replace_an_open_file_is_kept_beside_it(monkeypatch):
    """As on Windows, while a player has it open."""
    real = os.replace

    def replace(source, target):
        if os.path.basename(target) == "b.mp4":
            raise PermissionError(13, "Permission denied", source)
        real(source, target)

    write_clip("a.mp4", FRAMES)
    Path("b.mp4").write_text("old")
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr("uwct.files.WAITS", ())
    with pytest.raises(PermissionError, match=r"Permission denied; the finished file is b \(2\)\.mp4"):
        copy("a.mp4", "b.mp4")
    assert Path("b.mp4").read_text() == "old"
    assert len(read_clip("b (2).mp4")[0]) == len(FRAMES)
    assert len(list(Path().iterdir())) == 3


def test_files_that_hold_no_video_are_refused():
    Path("text.mp4").write_text("no video")
    with av.open("sound.mp4", "w") as container:
        stream = container.add_stream("aac", 48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for name, sentence in (
        ("none.mp4", "there is no video none.mp4"),
        ("text.mp4", "text.mp4 cannot be read as a video: "),
        ("sound.mp4", "sound.mp4 holds no moving pictures"),
    ):
        with pytest.raises((ValueError, OSError), match=sentence):
            Clip(Path(name))


def test_files_that_cannot_be_written_are_refused():
    write_clip("a.mkv", [frame[:1] for frame in FRAMES], sound=None)
    with Clip(Path("a.mkv")) as clip:
        for name, sentence in (("b.mp4", "would be 64x1 pixels"), ("b.avi", "must end in one of .mp4, .m4v, .mov")):
            with pytest.raises(ValueError, match=sentence):
                Writer(Path(name), clip, clip.shape)
    assert [path.name for path in Path().iterdir()] == ["a.mkv"]


def test_without_pyav_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r'python -m pip install "\.\[video\]"'):
        Clip(Path("a.mp4"))
