"""Video files to test with, written by PyAV."""

from fractions import Fraction

import av
import numpy as np
from conftest import picture
from PIL import Image

RATE = 12  # frames a second


def view(i, height=48, width=64, seed=1):
    """A view that moves by two pixels a frame over a picture, uint8."""
    return np.uint8(255 * picture(height, width + 200, seed)[:, 2 * i : 2 * i + width])


def write_clip(path, frames, times=None, *, codec="h264", sound="aac", rotation=0, aspect=1):
    """A clip with a hum; `times` in frames, `rotation` counter-clockwise in degrees."""
    height, width = frames[0].shape[:2]
    times = range(len(frames)) if times is None else times
    with av.open(str(path), "w") as container:
        options = {"crf": "8"} if codec == "h264" else {}
        video = container.add_stream(codec, RATE, width=width, height=height, options=options)
        odd = height % 2 or width % 2
        video.codec_context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv444p" if odd else "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(aspect)
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream(sound, 48000) if sound else None
        for time, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            for start in range(0, (times[-1] + 1) * 48000 // RATE, 1024):
                wave = np.float32(0.2 * np.sin(0.05 * np.arange(start, start + 1024)))
                frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


def read_clip(path):
    """(frames as stored, uint8; their times in seconds; the video stream's notes)."""
    with av.open(str(path)) as container:
        (video,) = container.streams.video
        frames = list(container.decode(video))
        notes = {"rate": video.average_rate, "codec": video.codec_context.name, "rotation": frames[0].rotation}
        notes |= {"matrix": frames[0].colorspace, "range": frames[0].color_range}
        return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames], notes


def sound_of(path):
    """(codec, packets as bytes, times in seconds) of the sound."""
    with av.open(str(path)) as container:
        (audio,) = container.streams.audio
        packets = [packet for packet in container.demux(audio) if packet.dts is not None]
        times = [float(packet.pts * packet.time_base) for packet in packets]
        return audio.codec_context.codec.canonical_name, [bytes(packet) for packet in packets], times


def cutout(i, height=48, width=64):
    """A picture that is seen within a rectangle that moves, RGBA uint8."""
    frame = np.dstack([view(4 * i, height, width), np.zeros((height, width), np.uint8)])
    frame[8:40, 8 + 4 * i : 32 + 4 * i, 3] = 255
    return frame


def write_animation(path, frames, times, loop=0):
    """An animated picture of frames RGBA, each shown for its time in ms."""
    pictures = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if str(path).endswith(".webp") else {}
    options |= {"disposal": 2} if str(path).endswith(".gif") else {}
    options |= {} if loop is None else {"loop": loop}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, **options)


def write_rgba(path, frames):
    """A clip of frames RGBA: QuickTime's animation for .mov, VP9 for .webm."""
    codec, pixels = ("qtrle", "argb") if str(path).endswith(".mov") else ("vp9", "yuva420p")
    colors = {} if pixels == "argb" else {"dst_colorspace": "ITU709", "dst_color_range": "MPEG"}
    with av.open(str(path), "w") as container:
        options = {} if codec == "qtrle" else {"crf": "4", "b": "0", "auto-alt-ref": "0"}
        stream = container.add_stream(codec, RATE, width=frames[0].shape[1], height=frames[0].shape[0], options=options)
        stream.codec_context.pix_fmt = pixels
        if colors:
            stream.codec_context.colorspace = stream.codec_context.color_range = 1
        for time, frame in enumerate(frames):
            made = av.VideoFrame.from_ndarray(frame, "rgba").reformat(format=pixels, **colors)
            made.pts, made.time_base = time, Fraction(1, RATE)
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))


def read_rgba(path):
    """The frames of a clip, RGBA; FFmpeg's own decoder of VP9 leaves alpha out."""
    with av.open(str(path)) as container:
        (video,) = container.streams.video
        decoder = av.CodecContext.create("libvpx-vp9", "r") if video.codec_context.name == "vp9" else None
        packets = [packet for packet in container.demux(video) if packet.size]
        found = [frame for packet in packets for frame in (decoder.decode(packet) if decoder else packet.decode())]
        found += decoder.decode(None) if decoder else video.codec_context.decode(None)
        return [frame.to_ndarray(format="rgba") for frame in found]
