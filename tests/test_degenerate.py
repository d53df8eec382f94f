"""Pictures on which the mathematics is degenerate, through the whole pipeline: finite, in range, of the right size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import uwct
from uwct.networks import model as models
from uwct.transforms.matching import TRANSFORMS

LEVELS = (5, 4, 3, 2, 1)
SHAPES = ((1, 1), (1, 37), (19, 33))  # one pixel, one row, less than level 5 sees
R = np.random.default_rng(5)
KINDS = {
    "black": lambda shape: np.zeros((*shape, 3)),
    "white": lambda shape: np.ones((*shape, 3)),
    "one color": lambda shape: np.broadcast_to([0.2, 0.6, 0.4], (*shape, 3)),
    "noise": lambda shape: R.random((*shape, 3)),
    "saturated noise": lambda shape: np.round(R.random((*shape, 3))),
    "grey noise": lambda shape: np.repeat(R.random((*shape, 1)), 3, axis=-1),
    "one bright pixel": lambda shape: np.eye(1, shape[0] * shape[1]).reshape(*shape, 1) * np.ones(3),
    "a picture": lambda shape: picture(*shape, 1),
}


@pytest.fixture(scope="module")
def small():
    """The shipped one, whose results are pictures."""
    return uwct.load("small")


def check(result, shape, bound):
    assert result.shape == (*shape, 3)
    assert result.dtype == jnp.float32
    assert np.isfinite(result).all()
    assert np.abs(result).max() <= bound


@settings(max_examples=30)
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)), st.sampled_from(SHAPES), st.floats(0, 1))
def test_any_picture_takes_on_any_style(small, content, style, shape, alpha):
    painting = jnp.asarray(KINDS[style]((16, 16)), jnp.float32)
    result = uwct.stylize(small, jnp.asarray(KINDS[content](shape), jnp.float32), painting, LEVELS, alpha)
    check(result, shape, 4)  # not clipped, so that values leave [0, 1] somewhat


@pytest.mark.parametrize("name", ["small", "vgg16"])
def test_a_flat_picture_takes_on_the_colors_of_a_style_and_no_texture_of_rounding(name):
    flat, style = np.full((48, 48, 3), [0.2, 0.5, 0.9], np.float32), np.float32(picture(64, 64, 2))
    result = uwct.stylize(uwct.load(name), jnp.asarray(flat), jnp.asarray(style), LEVELS, 1.0)
    assert np.ptp(result, (0, 1)).max() < 1 / 255


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_in_16_bits_too(small, dtype, kind):
    model = small.replace(dtype=dtype)
    for content, style in ((kind, "a picture"), ("a picture", kind)):
        pixels, painting = (jnp.asarray(KINDS[name]((16, 16)), jnp.float32) for name in (content, style))
        check(uwct.stylize(model, pixels, painting, LEVELS, 1.0), (16, 16), 4)


@pytest.mark.parametrize("transform", sorted(TRANSFORMS))
@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_by_every_transform(tiny_model, transform, shrinkage):
    for content in KINDS:
        for style in ("one color", "saturated noise"):
            pixels, painting = (jnp.asarray(KINDS[name]((16, 16)), jnp.float32) for name in (content, style))
            how = {"transform": TRANSFORMS[transform], "shrinkage": shrinkage}
            result = uwct.stylize(tiny_model, pixels, painting, (3, 2), 1.0, **how)
            assert np.isfinite(result).all()
            assert result.shape == pixels.shape


@pytest.mark.parametrize("kind", ["black", "one color", "one bright pixel"])
def test_gradients_are_finite_where_covariances_are_singular(tiny_model, kind):
    style = uwct.encode_style(tiny_model, picture(16, 16, 2))

    def loss(pixels):
        return (uwct.stylize(tiny_model, pixels, style, (2, 1), 1.0) ** 2).sum()

    gradient = jax.grad(loss)(jnp.asarray(KINDS[kind]((16, 16)), jnp.float32))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_file_with_a_number_that_is_none_is_refused(tiny_model, tmp_path, value):
    path = tmp_path / "model.safetensors"
    models.save(tiny_model, path)
    tensors = load_file(path)
    tensors["decoder2/conv1_2/bias"][1] = value
    save_file(tensors, path, metadata={"config": tiny_model.config.to_json()})
    with pytest.raises(ValueError, match=r"decoder2/conv1_2/bias is not finite"):
        uwct.load(path)


def test_parameters_that_went_wrong_in_memory_are_named_by_their_level(tiny_model):
    broken = jax.tree.map(lambda x: x, tiny_model.params)
    broken["decoder2"]["conv1_1"]["bias"] = jnp.full(3, jnp.nan)
    model = dataclasses.replace(tiny_model, params=broken)
    with pytest.raises(FloatingPointError, match="level 2: the decoded picture is not finite"):
        uwct.stylize(model, picture(16, 16, 1), picture(16, 16, 2), (3, 2, 1))
