import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from uwct.networks import block_plan, convolution, winograd
from uwct.networks.convolution import conv3x3_input, conv3x3_kernel, conv3x3_valid
from uwct.networks.winograd import correlate


def direct(x, kernel):
    """The definition, in NumPy float64."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return sum(x[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def arrays(n, h, w, c, d, dtype=np.float32):
    r = np.random.default_rng(h * w + c)
    shapes = (n, h + 2, w + 2, c), (3, 3, c, d), (n, h, w, d)
    return tuple(jnp.asarray(r.normal(size=shape), dtype) for shape in shapes)


def direct_input(y, kernel):
    """The definition of its transpose in x, in NumPy float64."""
    y, kernel = np.asarray(y, np.float64), np.asarray(kernel, np.float64)
    height, width = y.shape[1:3]
    x = np.zeros((y.shape[0], height + 2, width + 2, kernel.shape[2]))
    for i in range(3):
        for j in range(3):
            x[:, i : i + height, j : j + width] += y @ kernel[i, j].T
    return x


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7))
def test_values_agree_with_the_definition(n, h, w, c, d):
    x, kernel, y = arrays(n, h, w, c, d)
    np.testing.assert_allclose(conv3x3_valid(x, kernel), direct(x, kernel), atol=1e-4)
    np.testing.assert_allclose(jax.jit(conv3x3_valid)(x, kernel), direct(x, kernel), atol=1e-4)
    np.testing.assert_allclose(conv3x3_input(y, kernel), direct_input(y, kernel), atol=1e-4)


@pytest.mark.parametrize("channels", [(3, 8), (8, 3), (8, 8), (8, 70), (18, 20), (6, 130)])  # every form there is
@pytest.mark.parametrize("size", [(3, 5), (3, 6), (11, 5), (11, 6)])
@pytest.mark.parametrize("block", [1, 300, 10**6])
def test_every_blocking_gives_the_same_values_and_gradients(monkeypatch, channels, size, block):
    x, kernel, y = arrays(2, *size, *channels)

    def loss(x, kernel):
        return (conv3x3_valid(x, kernel) * y).sum()

    expected = jax.vjp(lambda x, k: convolution._conv_native(x, k), x, kernel)[1](y)
    monkeypatch.setattr(block_plan, "BLOCK_ELEMENTS", block)
    jax.clear_caches()
    np.testing.assert_allclose(conv3x3_valid(x, kernel), direct(x, kernel), atol=1e-4)
    for gradient, reference in zip(jax.grad(loss, (0, 1))(x, kernel), expected, strict=True):
        np.testing.assert_allclose(gradient, reference, atol=1e-3)
    jax.clear_caches()


@pytest.mark.parametrize("channels", [(3, 8), (8, 3), (8, 8), (18, 40)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_values_in_16_bits_are_as_near_as_they_can_be(channels, dtype):
    x, kernel, _ = arrays(2, 11, 6, *channels, dtype)
    expected = direct(x, kernel)
    rounded = 2.0 ** (-8 if dtype == "bfloat16" else -11) * abs(expected).max()
    np.testing.assert_allclose(np.float64(conv3x3_valid(x, kernel)), expected, rtol=0, atol=4 * rounded)


@pytest.mark.parametrize("block", [1, 300, 10**6])
def test_large_tiles_give_the_same_values_and_transposes(monkeypatch, block):
    x, kernel, y = arrays(2, 10, 8, 17, 18)
    calls = []
    monkeypatch.setattr(winograd, "correlate", lambda *a: calls.append(a[2]) or correlate(*a))
    for name, value in {"BLOCK_ELEMENTS": block, "TILED_CHANNELS": 17, "TILED_WORK": 0}.items():
        monkeypatch.setattr(block_plan, name, value)
    jax.clear_caches()
    np.testing.assert_allclose(conv3x3_valid(x, kernel), direct(x, kernel), atol=1e-4)
    np.testing.assert_allclose(conv3x3_input(y, kernel), direct_input(y, kernel), atol=1e-4)
    jax.clear_caches()
    assert calls[0] == (2, 4)


def test_derivatives_of_first_and_second_order_agree_with_finite_differences():
    with jax.enable_x64(True):
        x, kernel, y = arrays(2, 4, 3, 2, 5, np.float64)
        check_grads(conv3x3_valid, (x, kernel), order=2, modes=("fwd", "rev"))
        check_grads(conv3x3_kernel, (x, y), order=2, modes=("fwd", "rev"))
        check_grads(conv3x3_input, (y, kernel), order=2, modes=("fwd", "rev"))


def test_accelerators_take_native_convolutions_of_the_same_values():
    x, kernel, y = arrays(2, 5, 6, 4, 7)
    np.testing.assert_allclose(convolution._conv_native(x, kernel), conv3x3_valid(x, kernel), atol=1e-4)
    np.testing.assert_allclose(convolution._input_native(y, kernel), conv3x3_input(y, kernel), atol=1e-4)
    np.testing.assert_allclose(convolution._kernel_native(x, y), conv3x3_kernel(x, y), atol=1e-3)
    lowered = jax.jit(conv3x3_valid).trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in lowered
    assert "stablehlo.convolution" not in jax.jit(conv3x3_valid).lower(x, kernel).as_text()


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 3)])
def test_vmap_gives_what_single_calls_give(axes):
    r = np.random.default_rng(1)
    x = r.normal(size=(2, 6, 5, 3) if axes[0] is None else (4, 2, 6, 5, 3))
    kernel = r.normal(size=(3, 3, 3, 2) if axes[1] is None else (4, 3, 3, 3, 2))
    expected = np.stack(
        [direct(x if axes[0] is None else x[i], kernel if axes[1] is None else kernel[i]) for i in range(4)]
    )
    moved = [
        jnp.float32(a if axis is None else np.moveaxis(a, 0, axis)) for a, axis in zip((x, kernel), axes, strict=True)
    ]
    np.testing.assert_allclose(jax.vmap(conv3x3_valid, axes)(*moved), expected, atol=1e-4)


def test_gradients_under_vmap_and_jacobians_in_forward_mode():
    x, kernel, _ = arrays(3, 4, 4, 2, 3)
    per_picture = jax.vmap(jax.grad(lambda k, x: jnp.square(conv3x3_valid(x[None], k)).sum()), (None, 0))(kernel, x)
    total = jax.grad(lambda k: jnp.square(conv3x3_valid(x, k)).sum())(kernel)
    np.testing.assert_allclose(per_picture.sum(0), total, rtol=1e-4, atol=1e-3)
    forward = jax.jacfwd(lambda k: conv3x3_valid(x, k).sum((0, 1, 2)))(kernel)
    backward = jax.jacrev(lambda k: conv3x3_valid(x, k).sum((0, 1, 2)))(kernel)
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_accumulates_in_float32(dtype):
    x, kernel, _ = arrays(1, 6, 6, 64, 4, dtype)
    result = conv3x3_valid(x, kernel)
    assert result.dtype == dtype
    # One rounding of the result, no accumulated ones: within half a unit in the last place.
    exact = direct(x.astype(jnp.float32), kernel.astype(jnp.float32))
    np.testing.assert_allclose(result.astype(jnp.float32), exact, rtol=float(jnp.finfo(dtype).eps), atol=1e-3)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="conv3x3 takes"):
        conv3x3_valid(jnp.zeros((1, 5, 5, 3)), jnp.zeros((3, 3, 4, 2)))
    with pytest.raises(ValueError, match="conv3x3_kernel takes"):
        conv3x3_kernel(jnp.zeros((1, 5, 5, 3)), jnp.zeros((1, 5, 5, 2)))
    with pytest.raises(ValueError, match="conv3x3_input takes"):
        conv3x3_input(jnp.zeros((1, 5, 5, 3)), jnp.zeros((3, 3, 3, 2)))


def test_mixed_dtypes_are_refused():
    with pytest.raises(TypeError, match="one dtype, not float32 and bfloat16"):
        conv3x3_valid(jnp.zeros((1, 5, 5, 3)), jnp.zeros((3, 3, 3, 2), jnp.bfloat16))


def test_it_runs_without_jit():
    x, kernel, _ = arrays(1, 4, 4, 3, 2)
    with jax.disable_jit():
        np.testing.assert_allclose(conv3x3_valid(x, kernel), direct(x, kernel), atol=1e-4)
