"""Pictures of NumPy, in buckets of few sizes, become what they become as they are, and share their programs."""

import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

import uwct
from uwct.networks import block_plan, layers
from uwct.networks.layers import conv3x3, conv_layer
from uwct.pipeline import whole
from uwct.pipeline.level import Settings
from uwct.pipeline.padding import bucket, place_of
from uwct.pipeline.parts import resolve

SIZES = [(1, 1), (1, 70), (16, 17), (33, 40), (48, 63), (65, 20), (64, 50), (64, 64)]
# Rounding, of pictures up to 3 (random weights): convolutions add up in another order where rows are longer.
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module")
def style(tiny_model):
    return uwct.encode_style(tiny_model, jnp.asarray(picture(40, 30, 9)))


@pytest.mark.parametrize("columns", range(1, 5000, 31))
@pytest.mark.parametrize("share", [0.01, 0.4, 0.75, 1])
def test_a_bucket_holds_its_sides_and_is_little_longer(columns, share):
    rows = math.ceil(share * columns)
    height, width = bucket(rows, columns)
    assert columns <= width < columns + max(64, columns / 8)
    assert width % 64 == height % 16 == 0
    assert rows <= height
    if columns > 512:
        assert height < rows + max(64, rows / 8)
    else:
        assert height in (width, width // 4)
        assert height < 4 * rows or height == width // 4
    assert bucket(height, width) == (height, width)


def test_buckets_are_few():
    assert len({bucket(rows, columns) for columns in range(1, 513) for rows in range(1, columns + 1)}) == 2 * 8
    assert len({bucket(1, columns)[1] for columns in range(1, 8193)}) == 16 + 3 * 8


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_on_accelerators_which_compute_the_whole_array_no_rows_are_added(monkeypatch, platform):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert bucket(300, 512) == (320, 512)


@pytest.mark.parametrize("upsampled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("extent", [(1, 1), (1, 6), (4, 3), (5, 8), (7, 8)])
def test_a_layer_reflects_at_the_extent(rng, extent, dtype, upsampled):
    height, width = extent
    x = jnp.asarray(rng.normal(size=(7, 8, 5)), dtype)
    kernel, bias = jnp.asarray(rng.normal(size=(3, 3, 5, 6)), dtype), jnp.asarray(rng.normal(size=6), "float32")
    found = conv_layer(x, kernel, bias, relu=True, upsampled=upsampled, extent=extent)
    alone = x[:height, :width].repeat(1 + upsampled, 0).repeat(1 + upsampled, 1)
    expected = jnp.maximum(conv3x3(*(each.astype("float32") for each in (alone, kernel, bias))), 0)
    inside = found[: expected.shape[0], : expected.shape[1]].astype("float32")
    np.testing.assert_allclose(inside, expected, rtol=0, atol=0.15 if dtype == "bfloat16" else 2e-5)


@pytest.mark.parametrize(("rows", "height"), [(4, 9), (4, 10), (8, 10)])
@pytest.mark.parametrize("tile", [(1, 1), (1, 2), (2, 4), (4, 1), (2, 1), (2, 2), (8, 1)])
def test_a_layer_reflects_at_the_extent_wherever_blocks_end(rng, monkeypatch, tile, rows, height):
    height += height % 2 if tile == (2, 4) else 0
    upsampled = tile in ((2, 1), (2, 2), (8, 1))
    channels = 20 + 2 * rows + height + sum(tile)  # a shape, so programs, of its own
    x, kernel = rng.normal(size=(2, height, 8, channels)), rng.normal(size=(3, 3, channels, 18))
    for extent in ((1, 8), (2, 3), (3, 8), (4, 1), (6, 7), (8, 8), (height, 8)):
        how = {"relu": False, "upsampled": upsampled, "extent": extent}
        args = jnp.float32(x), jnp.float32(kernel), jnp.zeros(18)
        unfused = layers._plain(*args, extent, False, upsampled)  # as on accelerators
        with monkeypatch.context() as patch:
            patch.setattr(block_plan, "tile_of", lambda *args: tile)
            patch.setattr(block_plan, "rows_in_cache", lambda *args: rows)
            found = conv_layer(*args, **how)
        assert np.isfinite(found).all()
        alone = x[:, : extent[0], : extent[1]].repeat(1 + upsampled, 1).repeat(1 + upsampled, 2)
        padded = alone
        for axis in (1, 2):
            border = [(1, 1) if axis == each else (0, 0) for each in range(4)]
            padded = np.pad(padded, border, mode="reflect" if alone.shape[axis] > 1 else "edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        expected = np.einsum("nhwcij,ijcd->nhwd", windows, kernel)
        for y in (found, unfused):
            inside = y[:, : expected.shape[1], : expected.shape[2]]
            np.testing.assert_allclose(inside, expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("extent", [(3, 5), (6, 8)])
def test_an_extent_may_be_traced(rng, extent):
    x, kernel = jnp.asarray(rng.normal(size=(6, 8, 5))), jnp.asarray(rng.normal(size=(3, 3, 5, 6)))

    def layer(extent):
        return conv_layer(x, kernel, jnp.zeros(6), relu=False, extent=extent)

    np.testing.assert_allclose(jax.jit(layer)(extent), layer(extent), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_and_styles_are_what_they_are_without(tiny_model, style, size):
    photo = picture(*size, 3)
    assert place_of(photo).transposed == (size[0] > size[1])
    assert place_of(jnp.asarray(photo)) is None
    found, expected = (uwct.encode_style(tiny_model, each) for each in (photo, jnp.asarray(photo)))
    for level, of in expected.moments.items():
        np.testing.assert_allclose(found.moments[level].mean, of.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.moments[level].cov, of.cov, rtol=1e-3, atol=1e-4)
    painted = [
        uwct.stylize(tiny_model, each, style, (4, 2, 1), 0.6, shrinkage=0.3) for each in (photo, jnp.asarray(photo))
    ]
    np.testing.assert_allclose(*painted, **CLOSE)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_masks_mixtures_and_batches_too(tiny_model, style, precision):
    photo, mask = picture(37, 50, 3), picture(37, 50, 4)[..., 0]
    other = uwct.encode_style(tiny_model, picture(30, 30, 6))
    regions = [uwct.Region(mask, style), uwct.Region(mask[::-1]), uwct.Region(None, [style, other], [0.3, 0.7])]
    how = {"levels": (5, 3, 1), "alpha": (0.2, 0.5, 0.8), "shrinkage": 0.1, "precision": precision}
    for content in (photo, np.float64(photo), np.stack([photo, photo[::-1]])):
        painted = [uwct.stylize(tiny_model, each, regions, **how) for each in (content, jnp.asarray(content))]
        assert painted[0].shape == content.shape
        assert painted[0].dtype == "float32"
        np.testing.assert_allclose(*painted, **CLOSE)


def test_transparency_too(tiny_model, style):
    photo, visible = picture(37, 50, 3), picture(37, 50, 5)[..., 1]
    parts = resolve(tiny_model, style, (3, 1), 0.8).replace(visible=visible)
    painted, levels = [], []
    for content in (photo, jnp.asarray(photo)):
        painted.append(whole.painted(tiny_model, content, parts, Settings((3, 1))))
        levels.append([picture for _, picture, _ in whole.stages(tiny_model, content, parts, Settings((3, 1)))])
    np.testing.assert_allclose(*painted, **CLOSE)
    np.testing.assert_allclose(*levels, **CLOSE)
    np.testing.assert_array_equal(levels[0][-1], painted[0])
    styles = [uwct.encode_style(tiny_model, content, visible) for content in (photo, jnp.asarray(photo))]
    np.testing.assert_allclose(*(each.moments[3].mean for each in styles), rtol=1e-4, atol=1e-5)


def test_in_16_bits_too(tiny_model, style):
    half, photo = tiny_model.replace(dtype="bfloat16"), picture(37, 50, 3)
    painted = [uwct.stylize(half, each, style, (3, 1), 0.6, shrinkage=0.3) for each in (photo, jnp.asarray(photo))]
    assert np.abs(painted[0] - painted[1]).mean() < 0.02 * np.std(painted[1])


def test_what_needs_the_picture_as_it_is_gets_it(tiny_model):
    photo, painting = picture(36, 48, 3), picture(40, 40, 4)
    for how in ({"patches": True}, {"padding": "wrap"}):
        painted = [uwct.stylize(tiny_model, each, painting, (3, 1), 0.6, **how) for each in (photo, jnp.asarray(photo))]
        np.testing.assert_array_equal(*painted)
    with pytest.raises(ValueError, match='only padding "reflect" has an extent'):
        conv_layer(jnp.ones((4, 4, 1)), jnp.ones((3, 3, 1, 1)), jnp.ones(1), relu=True, padding="wrap", extent=(2, 2))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_derivatives_go_through_an_extent(rng, dtype):
    x, kernel = jnp.asarray(rng.normal(size=(6, 8, 5)), dtype), jnp.asarray(rng.normal(size=(3, 3, 5, 6)), dtype)

    def loss(x, extent):
        y = conv_layer(x, kernel, jnp.zeros(6), relu=False, extent=extent)
        return jnp.square(y[:4, :5].astype("float32")).sum()

    found = jax.grad(loss)(x, (4, 5))[:4, :5].astype("float32")
    alone = jax.grad(loss)(x[:4, :5], None).astype("float32")
    np.testing.assert_allclose(found, alone, rtol=0, atol=(0.02 if dtype == "bfloat16" else 1e-5) * np.abs(alone).max())


def test_sizes_of_one_bucket_share_all_programs(tiny_model, style, caplog):
    def paint(height, width):
        photo = picture(height, width, 2)
        mixed = uwct.encode_style(tiny_model, photo)
        return uwct.stylize(tiny_model, photo, [style, mixed], (4, 3, 2, 1), 0.6)

    paint(70, 90)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        paint(110, 67)
        paint(67, 128)
        assert not [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
        paint(110, 700)  # of a bucket that no other test has
        assert [record for record in caplog.records if "Compiling" in record.getMessage()]


def test_within_programs_a_picture_is_as_it_is(tiny_model, style):
    photo = picture(20, 30, 3)
    found = jax.jit(lambda style: uwct.stylize(tiny_model, photo, style, (3, 1), 0.6))(style)
    np.testing.assert_allclose(found, uwct.stylize(tiny_model, jnp.asarray(photo), style, (3, 1), 0.6), **CLOSE)
    gradient = jax.grad(lambda alpha: uwct.stylize(tiny_model, photo, style, (3, 1), alpha).sum())(0.6)
    assert np.isfinite(gradient)
