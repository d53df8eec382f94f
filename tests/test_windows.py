"""Pictures in windows, against the same pictures whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from uwct import Region
from uwct.pictures.canvas import Canvas
from uwct.pipeline import whole, windows
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import resolve
from uwct.transforms.matching import adain, monge, wct

STYLE = picture(40, 56, 9)


def on_canvas(folder, pixels):
    canvas = Canvas.create(folder / "content.raw", pixels.shape)
    canvas.write(0, 0, pixels)
    return canvas


def tiled(model, folder, pixels, *args, **kwargs):
    return windows.stylize(model, on_canvas(folder, pixels), *args, folder=folder, **kwargs).read(slice(None))


@settings(max_examples=8)
@given(
    height=st.integers(1, 150), width=st.integers(1, 150), extra=st.integers(1, 40),
    levels=st.permutations([1, 2, 3, 4]).map(lambda order: order[:2]),
)  # fmt: skip
def test_every_size_and_window_gives_the_whole_pictures_result(
    tiny_model, tmp_path_factory, height, width, extra, levels
):
    folder = tmp_path_factory.mktemp("tiles")
    pixels = picture(height, width, seed=height)
    window = 2 * max(windows.halos(tiny_model, level)[1] for level in levels) + 8 * extra
    how = {"transform": monge, "shrinkage": 0.1, "precision": "float64"}
    expected = whole.stylize(tiny_model, pixels, STYLE, levels, 0.7, **how)
    found = tiled(tiny_model, folder, pixels, STYLE, levels, 0.7, window=window, **how)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("transform", [wct, adain, monge])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_all_levels_mixtures_and_several_devices(tiny_model, tmp_path, transform, precision):
    assert len(jax.local_devices()) == 2
    pixels, styles = picture(205, 331, 4), [STYLE, picture(64, 64, 5)]
    weights = [[0.3, 0.7]] * 2 + [[0.5, 0.5]] * 3
    how = {"weights": weights, "transform": transform, "shrinkage": 0.05, "precision": precision}
    alphas = [0.3, 0.5, 0.7, 0.9, 1.0]
    expected = whole.stylize(tiny_model, pixels, styles, (5, 4, 3, 2, 1), alphas, **how)
    calls = []
    found = tiled(
        tiny_model, tmp_path, pixels, styles, (5, 4, 3, 2, 1), alphas, window=288,
        progress=lambda *call: calls.append(call), **how,
    )  # fmt: skip
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    total = calls[0][1]
    assert calls == [(i, total) for i in range(1, total + 1)]
    assert total > 2 * 5


@pytest.mark.parametrize("rest", [None, picture(30, 30, 8)])
def test_parts_with_soft_masks_of_their_own(tiny_model, tmp_path, rest):
    pixels, across = picture(205, 331, 4), np.linspace(0, 1, 331, dtype=np.float32)
    masks = [np.broadcast_to(across**2, (205, 331)), np.broadcast_to(1 - across, (205, 331))]
    how = {"transform": monge, "shrinkage": 0.1, "precision": "float64"}

    def regions(masks):
        parts = [Region(masks[0], [STYLE, picture(64, 64, 5)], [0.3, 0.7], [0.5, 0.9]), Region(masks[1])]
        return [*parts, *([] if rest is None else [Region(None, rest)])]

    expected = whole.stylize(tiny_model, pixels, regions(masks), (3, 1), 0.7, **how)
    canvases = [Canvas.create(tmp_path / f"mask{i}.raw", (205, 331, 1)) for i in (0, 1)]
    for canvas, mask in zip(canvases, masks, strict=True):
        canvas.write(0, 0, mask[..., None])
    found = tiled(tiny_model, tmp_path, pixels, regions(canvases), (3, 1), 0.7, window=160, **how)
    assert np.abs(found - expected).max() < 1e-3
    assert np.abs(found - pixels).max() > 0.1
    short = Canvas.create(tmp_path / "short.raw", (204, 331, 1))
    with pytest.raises(ValueError, match="a mask must have the picture's shape"):
        tiled(tiny_model, tmp_path, pixels, [Region(short, STYLE)], (1,))


def test_patches_are_refused(tiny_model, tmp_path):
    parts = resolve(tiny_model, STYLE, (2,), 1.0, patches=True)
    canvas = on_canvas(tmp_path, picture(60, 60))
    with pytest.raises(ValueError, match="over the whole picture, which windows never see"):
        next(windows.stages(tiny_model, canvas, parts, Settings((2,)), folder=tmp_path))


def test_windows_smaller_than_their_halo_are_refused(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="a window of 64 pixels is too small at level 5: it must exceed"):
        tiled(tiny_model, tmp_path, picture(300, 300), STYLE, (5,), window=64)


def test_halos_are_what_the_networks_see(tiny_model):
    """A change beyond the halo changes nothing in the tile, and one just inside it does."""
    for level in (1, 2, 3, 4):
        encoder, both = windows.halos(tiny_model, level)
        x = picture(16, 256, 1)

        def through(x, level=level):
            return np.asarray(tiny_model.decode(tiny_model.encode(x, level)[-1], level))[:, 128:]

        far, near = x.copy(), x.copy()
        far[:, : 128 - both] = 0
        near[:, 128 - both // 2 : 128] = 0
        np.testing.assert_array_equal(through(x), through(far))
        assert np.abs(through(x) - through(near)).max() > 0
        features = [
            np.asarray(tiny_model.encode(p, level)[-1])
            for p in (x, np.where(np.arange(256)[:, None] < 128 - encoder, 0, x))
        ]
        at = 128 // 2 ** (level - 1)
        np.testing.assert_array_equal(features[0][:, at:], features[1][:, at:])


def test_one_compilation_serves_every_size(tiny_model, tmp_path, caplog):
    pixels = picture(100, 120)
    tiled(tiny_model, tmp_path, pixels, STYLE, (2,), window=48)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for shape in ((77, 91), (64, 200), (131, 50)):
            tiled(tiny_model, tmp_path, picture(*shape), STYLE, (2,), window=48)
    assert not caplog.records


def test_what_is_not_finite_is_named(tiny_model, tmp_path):
    broken = jax.tree.map(jnp.array, tiny_model)
    broken.params["decoder2"]["conv1_1"]["bias"] += jnp.nan
    with pytest.raises(FloatingPointError, match="level 2: the decoded picture is not finite"):
        tiled(broken, tmp_path, picture(60, 60), STYLE, (2,), window=48)
    broken.params["encoder"]["conv1_1"]["bias"] += jnp.nan
    with pytest.raises(FloatingPointError, match="level 1: a style's moments"):
        tiled(broken, tmp_path, picture(60, 60), STYLE, (1,), window=48)


def test_a_canvas_holds_what_was_written(tmp_path):
    canvas = Canvas.create(tmp_path / "c.raw", (30, 20, 3), "uint8")
    part = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    canvas.write(25, 13, part)
    whole = canvas.read(slice(None))
    np.testing.assert_array_equal(whole[25:, 13:], part)
    assert whole.sum() == part.sum()
    np.testing.assert_array_equal(canvas.read(np.array([29, 28, 29]), np.array([13, 14])), part[[4, 3, 4], :2])
