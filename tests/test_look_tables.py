"""Looks as tables: by what they must do to colors, and as FFmpeg reads them."""

from fractions import Fraction

import av
import av.filter
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import picture
from uwct.cli.style import main as style
from uwct.cli.stylize import main as stylize
from uwct.pictures import images
from uwct.pipeline.look_tables import NODES, cube, look_table


def test_an_affine_look_is_found_for_all_colors():
    photo = jnp.asarray(picture(64, 64, 1))
    matrix, bias = np.float32([[0.5, 0.2, 0], [0, 0.8, 0.1], [0.1, 0, 0.6]]), np.float32([0.1, 0, 0.05])
    table = look_table(photo, photo @ matrix.T + bias)
    colors = np.stack(np.meshgrid(*[np.linspace(0, 1, NODES)] * 3, indexing="ij"), -1)
    np.testing.assert_allclose(table, colors @ matrix.T + bias, atol=0.02)


def test_light_and_dark_can_take_on_colors_of_their_own():
    """Dark becomes blue, light becomes orange, as in films; and in between there is no step."""
    photo = np.random.default_rng(0).random((100, 100, 1), np.float32) * np.ones(3, np.float32)
    looks = photo + (0.5 - photo) ** 2 * np.where(photo < 0.5, [-0.4, 0, 0.4], [0.4, 0, -0.4]).astype(np.float32)
    table = np.asarray(look_table(jnp.asarray(photo), jnp.asarray(looks)))
    grey = table[range(NODES), range(NODES), range(NODES)]
    at = np.linspace(0, 1, NODES)
    np.testing.assert_allclose(grey[:, 0], at + 0.4 * (at - 0.5) * np.abs(at - 0.5), atol=0.02)
    assert np.diff(grey, axis=0).max() < 2.5 / (NODES - 1)


def through_ffmpeg(rgb, path):
    """A picture as FFmpeg's lut3d filter makes it, in 16 bits."""
    frame = av.VideoFrame.from_ndarray(np.uint16(np.round(65535 * rgb)), "rgb48le")
    frame.time_base = Fraction(1)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    table, sink = graph.add("lut3d", f"file={path}:interp=trilinear"), graph.add("buffersink")
    source.link_to(table)
    table.link_to(sink)
    graph.configure()
    source.push(frame)
    return sink.pull().to_ndarray(format="rgb48le") / 65535


def test_ffmpeg_reads_it_as_it_is_meant(tmp_path):
    table = np.random.default_rng(0).random((5, 5, 5, 3)).astype(np.float32)
    (tmp_path / "look.cube").write_text(cube(table, 'a "name"\n'))
    nodes = np.float32([[[0, 0.25, 1], [0.5, 0.75, 0], [1, 0, 0.5], [1, 1, 1]]])
    found = through_ffmpeg(np.repeat(nodes, 4, 0), tmp_path / "look.cube")[0]
    np.testing.assert_allclose(found, [table[0, 1, 4], table[2, 3, 0], table[4, 0, 2], table[4, 4, 4]], atol=1e-3)


def test_the_command_writes_what_photo_does_everywhere(folder, capsys):
    words = ["--model", "tiny.safetensors", "--levels", "1", "--alpha", "0.3"]
    images.write("photo.png", images.Picture(0.3 + 0.4 * picture(60, 80, 1)))
    style(["export-lut", "photo.png", "a.png", "--output", "look.cube", *words])
    stylize(["--content", "photo.png", "--style", "a.png", "--photo", "--output", "out.png", *words])
    by_table = through_ffmpeg(images.read("photo.png").rgb, "look.cube")
    by_maps = images.read("out.png").rgb
    changed = np.abs(by_maps - images.read("photo.png").rgb).mean()
    assert np.abs(by_table - by_maps).mean() < 0.15 * changed
    for words in (["look.txt"], ["none/look.cube"]):
        with pytest.raises(SystemExit) as stop:
            style(["export-lut", "photo.png", "a.png", "--model", "tiny.safetensors", "--output", *words])
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
