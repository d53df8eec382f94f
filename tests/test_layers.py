from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from uwct.networks import block_plan
from uwct.networks.border import pad_border
from uwct.networks.layers import conv3x3, conv_layer, max_pool, upsample


@given(h=st.integers(1, 6), w=st.integers(1, 6), padding=st.sampled_from(["reflect", "wrap"]))
def test_pad_border_agrees_with_numpy_down_to_one_pixel(h, w, padding):
    x = np.arange(2 * h * w * 3, dtype=np.float32).reshape(2, h, w, 3)
    expected = x
    for axis in (1, 2):
        border = [(0, 0)] * 4
        border[axis] = (1, 1)
        # Reflection on an axis of length 1 repeats it.
        mode = "edge" if padding == "reflect" and x.shape[axis] == 1 else padding
        expected = np.pad(expected, border, mode=mode)
    np.testing.assert_array_equal(pad_border(jnp.asarray(x), padding), expected)


@given(h=st.integers(1, 6), w=st.integers(1, 6), padding=st.sampled_from(["reflect", "wrap"]))
def test_the_gradient_of_a_border_adds_it_to_the_pixels_that_it_repeats(h, w, padding):
    numbers = np.arange(h * w)
    repeated = np.asarray(pad_border(jnp.asarray(numbers.reshape(1, h, w, 1)), padding)).reshape(-1)
    g = np.random.default_rng(h + 10 * w).normal(size=(3, h + 2, w + 2, 2)).astype(np.float32)
    expected = np.zeros((h * w, 3, 2))
    np.add.at(expected, repeated, g.reshape(3, -1, 2).swapaxes(0, 1))
    expected = expected.swapaxes(0, 1).reshape(3, h, w, 2)
    for dtype, atol in (("float32", 1e-5), ("bfloat16", 0.1)):
        _, pull = jax.vjp(partial(pad_border, padding=padding), jnp.zeros((3, h, w, 2), dtype))
        (found,) = pull(jnp.asarray(g, dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=atol)


def test_borders_go_through_all_transformations(rng):
    x = jnp.asarray(rng.normal(size=(4, 3, 2, 5)), jnp.float32)
    for axis in range(4):
        one = [pad_border(jnp.take(x, i, axis)) for i in range(x.shape[axis])]
        np.testing.assert_array_equal(jax.vmap(pad_border, axis, axis)(x), jnp.stack(one, axis))
    with jax.enable_x64(True):
        check_grads(lambda x: pad_border(x) ** 3, (jnp.asarray(rng.normal(size=(3, 4, 2))),), order=2)
    with jax.disable_jit():
        np.testing.assert_array_equal(pad_border(x), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"))


def test_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="padding must be"):
        pad_border(jnp.zeros((2, 2, 1)), "zero")


@given(h=st.integers(2, 7), w=st.integers(2, 7))
def test_max_pool_takes_the_largest_of_each_square(h, w):
    x = np.random.default_rng(h + 10 * w).normal(size=(2, h, w, 3)).astype(np.float32)
    expected = np.array(
        [[x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2)) for j in range(w // 2)] for i in range(h // 2)]
    )
    np.testing.assert_array_equal(max_pool(jnp.asarray(x)), np.moveaxis(expected, 2, 0))


def test_upsample_repeats_pixels():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(upsample(jnp.asarray(x)), x.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("layer", [pad_border, max_pool, upsample])
def test_layers_keep_the_dtype_and_any_leading_axes(layer):
    x = jnp.ones((2, 3, 4, 4, 5), jnp.bfloat16)
    assert layer(x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(layer(x)[1, 2], layer(x[1, 2]))


def test_conv3x3_reflects_convolves_and_adds_the_bias(rng):
    x, kernel, bias = rng.normal(size=(5, 6, 3)), rng.normal(size=(3, 3, 3, 4)), rng.normal(size=4)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = sum(padded[i : i + 5, j : j + 6] @ kernel[i, j] for i in range(3) for j in range(3)) + bias
    np.testing.assert_allclose(conv3x3(jnp.float32(x), jnp.float32(kernel), jnp.float32(bias)), expected, atol=1e-4)


def test_gradients_agree_with_finite_differences(rng):
    with jax.enable_x64(True):
        x, kernel, bias = (jnp.asarray(rng.normal(size=s)) for s in ((4, 4, 3), (3, 3, 3, 2), (2,)))
        check_grads(lambda *a: upsample(max_pool(conv3x3(*a))), (x, kernel, bias), order=1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("elements", [1, 2**19])
@pytest.mark.parametrize(("relu", "upsampled"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", [(2, 2, 3), (2, 11, 6, 5), (7, 8, 70), (6, 8, 69), (1, 5, 3)])
def test_a_whole_layer_agrees_with_its_parts(monkeypatch, rng, shape, relu, upsampled, elements, dtype):
    monkeypatch.setattr(block_plan, "BLOCK_ELEMENTS", elements)
    monkeypatch.setattr(block_plan, "TILED_WORK", 6 * 8 * 69 * 66)
    x = jnp.asarray(rng.normal(size=shape), dtype)
    kernel, bias = rng.normal(size=(3, 3, shape[-1], 66)) / 8, jnp.asarray(rng.normal(size=66), jnp.float32)
    kernel = jnp.asarray(kernel, dtype)
    found = jax.jit(lambda *a: conv_layer(*a, relu=relu, upsampled=upsampled))(x, kernel, bias)
    wide = np.asarray(x, np.float64)
    if upsampled:
        wide = wide.repeat(2, -3).repeat(2, -2)
    padded = np.asarray(pad_border(jnp.asarray(wide, jnp.float32)), np.float64)
    height, width = wide.shape[-3:-1]
    expected = bias + sum(
        padded[..., i : i + height, j : j + width, :] @ np.asarray(kernel, np.float64)[i, j]
        for i in range(3)
        for j in range(3)
    )
    expected = np.maximum(expected, 0) if relu else expected
    assert found.dtype == x.dtype
    np.testing.assert_allclose(
        np.float64(found), expected, atol=(1e-5 if dtype == "float32" else 1e-2) * np.abs(expected).max()
    )


def test_a_layer_can_be_differentiated_and_mapped(rng):
    x, kernel, bias = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((3, 6, 5, 4), (3, 3, 4, 2), (2,)))

    def smooth(x, kernel, bias):
        return jnp.sin(conv_layer(x, kernel, bias, relu=False, upsampled=True))

    check_grads(smooth, (x, kernel, bias), order=2, rtol=2e-2, atol=2e-2)
    mapped = jax.vmap(smooth, (0, None, None))(x, kernel, bias)
    np.testing.assert_allclose(mapped, smooth(x, kernel, bias), atol=1e-5)


@pytest.mark.parametrize("padding", ["reflect", "wrap"])
@pytest.mark.parametrize("upsampled", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_a_layers_gradients_agree_with_finite_differences(rng, relu, upsampled, padding):
    with jax.enable_x64(True):
        x, kernel, bias = (jnp.asarray(rng.normal(size=s)) for s in ((4, 6, 3), (3, 3, 3, 2), (2,)))
        layer = partial(conv_layer, relu=relu, upsampled=upsampled, padding=padding)
        check_grads(layer, (x, kernel, bias), order=1)


def test_by_a_fixed_kernel_nothing_is_convolved(rng):
    x, kernel, bias = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((6, 5, 4), (3, 3, 4, 2), (2,)))
    layer = partial(conv_layer, kernel=kernel, bias=bias, relu=True, padding="wrap")
    program = jax.make_jaxpr(lambda x, dx: jax.jvp(layer, (x,), (dx,)))(x, x)
    assert str(program).count("= conv3x3_valid ") == 2  # the layer, and its derivative by x
