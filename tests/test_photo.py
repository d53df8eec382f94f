"""Photographs that stay photographs: maps of colors by definition, in strips, and on the command line."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.conftest import picture
from uwct import Region, encode_style, stylize_photo
from uwct.cli.stylize import main as stylize
from uwct.cli.video import main as video
from uwct.pictures import images
from uwct.pipeline import photo
from uwct.pipeline.photo import color_maps, mapped, reduced, strips, windowed
from uwct.pipeline.photo_frames import follow_maps

# Adds no contrast: such maps are found as they are.
MATRIX = np.float32([[0.5, 0.3, 0], [0.1, 0.7, -0.1], [0, 0.2, 0.8]])
BIAS = np.float32([0.1, -0.05, 0.2])


def test_windows_have_the_weighted_moments_by_definition():
    a, b, weights = picture(20, 28, 1), picture(20, 28, 2), np.random.default_rng(0).random((20, 28))
    found = windowed(jnp.asarray(a), jnp.asarray(b), jnp.asarray(weights))
    assert found.weight.shape == (3, 4)
    both = np.concatenate([a, b], -1).astype(np.float64).reshape(-1, 6)
    y, x = np.mgrid[:20, :28] + 0.5
    for i, j in ((0, 0), (2, 3)):
        apart = (y - (i + 0.5) * 20 / 3) ** 2 + (x - (j + 0.5) * 28 / 4) ** 2
        w = weights * np.exp(-0.5 * apart / photo.RADIUS**2)
        np.testing.assert_allclose(found.weight[i, j], w.sum(), rtol=1e-5)
        np.testing.assert_allclose(found.mean[i, j], np.average(both, 0, w.ravel()), atol=1e-6)
        cov = np.cov(both.T, aweights=w.ravel(), ddof=0)
        np.testing.assert_allclose(found.scatter[i, j] / w.sum(), cov, atol=1e-6)


@pytest.mark.parametrize("shape", [(300, 420), (1, 1), (16, 700), (33, 47)])
def test_an_affine_change_of_colors_is_found_and_made_at_any_size(shape):
    big = jnp.asarray(picture(*shape, 3))
    small = reduced(big)
    found = mapped(big, color_maps(small, small @ MATRIX.T + BIAS))
    np.testing.assert_allclose(found, big @ MATRIX.T + BIAS, atol=3e-3 if min(shape) > 16 else 0.2)


def test_more_contrast_is_found_where_colors_vary_much(rng):
    rgb = jnp.asarray(rng.random((200, 300, 3)), jnp.float32)
    matrix = np.float32([[0.5, 0.3, 0], [0.1, 0.7, -0.1], [0, 0.2, 1.1]])
    found = mapped(rgb, color_maps(rgb, rgb @ matrix.T + BIAS))
    np.testing.assert_allclose(found, rgb @ matrix.T + BIAS, atol=3e-3)


@pytest.mark.parametrize(("contrast", "of_grain"), [(0.6, 0.6), (2, 1)])
def test_detail_stays_where_nothing_else_varies(contrast, of_grain):
    """A wall with hardly any grain, beside a colorful picture: its grain takes on the contrast of the whole, but does
    not grow."""
    rgb = picture(128, 256, 1)
    grain = 0.002 * np.random.default_rng(0).normal(size=(128, 128, 1)).astype(np.float32)
    rgb[:, 128:] = 0.5 + grain
    found = mapped(jnp.asarray(rgb), color_maps(jnp.asarray(rgb), jnp.asarray(contrast * rgb + 0.1)))
    wall = np.asarray(found[20:-20, 190:-20])
    assert wall.std() == pytest.approx(of_grain * grain[20:-20, 62:-20].std(), rel=0.05)


def test_strokes_do_not_come_along_and_gradients_have_no_bands():
    """Of a stylized sky that is mottled, a smooth sky of 16 bits takes no step larger than its own."""
    ramp = np.linspace(0.3, 0.7, 512, dtype=np.float32)[None, :, None] * np.ones((384, 1, 3), np.float32)
    mottled = ramp[..., ::-1] + 0.1 * np.random.default_rng(0).normal(size=ramp.shape).astype(np.float32)
    found = np.asarray(mapped(jnp.asarray(ramp), color_maps(jnp.asarray(ramp), jnp.asarray(mottled))))
    assert np.abs(found - ramp).mean() < 0.01
    assert np.abs(np.diff(found, axis=1)).max() < 2 * 0.4 / 512


def test_strips_are_the_whole():
    big, stylized = jnp.asarray(picture(200, 90, 1)), jnp.asarray(picture(200, 90, 2))
    maps = color_maps(big, stylized)
    whole, made = mapped(big, maps), np.zeros_like(big)
    for top, strip in strips(np.asarray(big).__getitem__, 200, maps, rows=48):
        made[top : top + len(strip)] = strip
    np.testing.assert_allclose(made, whole, atol=1e-6)


def test_hidden_pixels_play_no_part():
    a, b, weights = (jnp.asarray(x) for x in (picture(48, 64, 1), picture(48, 64, 2), np.ones((48, 64), np.float32)))
    weights = weights.at[:, 20:30].set(0)
    other = b.at[:, 20:30].set(0.9)
    for x, y in zip(*(jax.tree.leaves(color_maps(a, s, weights)) for s in (b, other)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
    assert np.isfinite(jax.tree.leaves(color_maps(a, b, jnp.zeros((48, 64))))[0]).all()


def test_the_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        a, b = (jnp.asarray(picture(24, 24, seed), jnp.float64) for seed in (1, 2))

        def loss(b):
            return jnp.sum(jnp.square(mapped(a, color_maps(a, b))))

        way = 1e-6 * jnp.asarray(np.random.default_rng(0).normal(size=b.shape))
        difference = (loss(b + way) - loss(b - way)) / 2
        np.testing.assert_allclose(difference, jnp.vdot(jax.grad(loss)(b), way), rtol=1e-5)


def test_under_jit_it_is_the_same_and_masks_say_where(tiny_model):
    big, style = jnp.asarray(picture(70, 600, 1)), encode_style(tiny_model, jnp.asarray(picture(40, 40, 2)))
    once = stylize_photo(tiny_model, big, style, [2, 1], 0.6)
    np.testing.assert_allclose(
        jax.jit(lambda x: stylize_photo(tiny_model, x, style, [2, 1], 0.6))(big), once, atol=1e-4
    )
    mask = jnp.zeros((70, 600)).at[:, :300].set(1)
    found = stylize_photo(tiny_model, big, [Region(mask, style)], [2, 1], 0.6)
    changed = np.abs(found - big).mean((0, 2))
    assert changed[450:].mean() < 0.05 * changed[:200].mean()  # far from the mask it stays as it was


WORDS = ["--style", "a.png", "--model", "tiny.safetensors", "--photo", "--levels", "2", "1"]


@pytest.fixture
def large(folder):
    """A photo of 16 bits a channel that is larger than its small copy."""
    values = np.uint16(65535 * picture(90, 700, 5))
    import pyvips

    pyvips.Image.new_from_array(values).copy(interpretation="rgb16").write_to_file("large.png")
    return folder


def test_in_strips_and_in_memory_it_is_the_same(large):
    stylize(["--content", "large.png", *WORDS, "--tile", "off", "--output", "whole.png"])
    stylize(["--content", "large.png", *WORDS, "--tile", "64", "--output", "strips.png"])
    whole, by_strips = images.read("whole.png"), images.read("strips.png")
    assert whole.depth == by_strips.depth == 16
    assert whole.rgb.shape == (90, 700, 3)
    np.testing.assert_allclose(by_strips.rgb, whole.rgb, atol=2e-3)
    assert np.abs(whole.rgb - images.read("large.png").rgb).mean() > 0.02
    assert not list(large.glob(".strips*"))


@pytest.mark.parametrize(
    "words",
    [
        ["--region", "left.png", "b.png", "a.png"],
        ["--keep-colors", "luminance"],
        ["--keep-colors", "matched"],
        ["--style", "b.png", "--style-weights", "0.3", "0.7"],
        ["--preset", "shallow"],
        ["--steps"],
        ["--size", "40"],
        ["--refine-steps", "2"],
    ],
)
def test_all_controls_hold(large, words):
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save("left.png")
    stylize(["--content", "large.png", *WORDS, "--output", "out.png"])
    stylize(["--content", "large.png", *WORDS, *words, "--output", "other.png"])
    plain, found = images.read("out.png"), images.read("other.png")
    if "--size" in words:
        assert found.size == "40x5"
    elif "--steps" in words:
        np.testing.assert_array_equal(found.rgb, plain.rgb)
        assert {path.name for path in large.glob("other*")} == {"other.png", "other.level2.png", "other.level1.png"}
    else:
        assert np.abs(found.rgb - plain.rgb).mean() > 5e-5


def test_transparency_and_what_is_refused(folder, capsys):
    rgba = np.uint8(255 * np.concatenate([picture(30, 40), np.ones((30, 40, 1))], -1))
    rgba[:, :20, 3] = 0
    Image.fromarray(rgba).save("cut.png")
    stylize(["--content", "cut.png", *WORDS, "--output", "out.png"])
    np.testing.assert_array_equal(np.asarray(Image.open("out.png"))[..., 3], rgba[..., 3])
    with pytest.raises(SystemExit) as stop:
        stylize(["--content", "cut.png", *WORDS, "--compat", "floor"])
    assert stop.value.code == 2
    assert "--photo" in capsys.readouterr().err


def test_maps_of_a_clip_do_not_flicker_and_a_cut_starts_anew():
    frames = [jnp.asarray(picture(40, 60, 1)) for _ in range(6)] + [jnp.asarray(picture(40, 60, 7))]
    lights = [1, 0.8, 1, 0.8, 1, 0.8, 1]  # what stylizing frame by frame would do
    before, means = None, []
    for frame, light in zip(frames, lights, strict=True):
        maps, before = follow_maps(frame, light * frame, before, 0.9)
        means.append(float(mapped(frame, maps).mean() / frame.mean()))
    assert np.abs(np.diff(means[:6])).max() < 0.03
    assert means[5] == pytest.approx(0.95, abs=0.03)  # 1 counts most, being the first
    np.testing.assert_allclose(mapped(frames[6], maps), frames[6], atol=1e-3)


def test_a_clip_stays_a_film(folder):
    frames = Path("frames")
    frames.mkdir()
    for i in range(4):
        images.write(frames / f"{i}.png", images.Picture(picture(60, 600, 1)))
    words = ["--style", "a.png", "--model", "tiny.safetensors", "--photo", "--levels", "2", "1"]
    video(["frames", "out", *words])
    stylize(["--content", "frames/0.png", *words, "--output", "one.png"])
    for i in range(4):
        np.testing.assert_allclose(images.read(f"out/{i}.png").rgb, images.read("one.png").rgb, atol=0.02)
    whole = {path.name: path.read_bytes() for path in Path("out").glob("*.png")}
    for name in ("2.png", "3.png"):
        Path("out", name).unlink()
    video(["frames", "out", *words, "--resume"])
    assert {path.name: path.read_bytes() for path in Path("out").glob("*.png")} == whole
