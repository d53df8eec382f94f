import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uwct.networks.layers import conv3x3
from uwct.transforms.affine import Affine, compose, fold, mix


def random_affine(rng, batch=(), channels=3):
    return Affine(
        jnp.float32(rng.normal(size=(*batch, channels, channels))), jnp.float32(rng.normal(size=(*batch, channels)))
    )


def test_apply_is_matrix_times_vector_plus_bias(rng):
    a, x = random_affine(rng), np.float32(rng.normal(size=(4, 5, 3)))
    expected = np.array([[np.asarray(a.matrix) @ pixel + a.bias for pixel in row] for row in x])
    np.testing.assert_allclose(a.apply(jnp.asarray(x)), expected, atol=1e-5)


def test_apply_pairs_batches_and_broadcasts(rng):
    a, x = random_affine(rng, (2,)), jnp.float32(rng.normal(size=(2, 4, 5, 3)))
    pairs = jnp.stack([Affine(a.matrix[i], a.bias[i]).apply(x[i]) for i in range(2)])
    np.testing.assert_allclose(a.apply(x), pairs, atol=1e-5)
    one = Affine(a.matrix[0], a.bias[0])
    np.testing.assert_allclose(one.apply(x)[1], one.apply(x[1]), atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_blend_is_between_the_features_and_their_image(rng, alpha):
    a, x = random_affine(rng), jnp.float32(rng.normal(size=(4, 5, 3)))
    np.testing.assert_allclose(a.blend(alpha).apply(x), alpha * a.apply(x) + (1 - alpha) * x, atol=1e-5)


def test_blend_takes_one_strength_a_batch_member(rng):
    a, x = random_affine(rng, (2,)), jnp.float32(rng.normal(size=(2, 4, 5, 3)))
    y = a.blend(jnp.array([0.0, 1.0])).apply(x)
    np.testing.assert_allclose(y[0], x[0], atol=1e-6)
    np.testing.assert_allclose(y[1], a.apply(x)[1], atol=1e-6)


def test_compose_applies_first_then_second(rng):
    first, second, x = random_affine(rng), random_affine(rng), jnp.float32(rng.normal(size=(4, 5, 3)))
    np.testing.assert_allclose(compose(second, first).apply(x), second.apply(first.apply(x)), atol=1e-4)


def test_a_folded_convolution_maps_first(rng):
    a, x = random_affine(rng, channels=5), jnp.float32(rng.normal(size=(6, 7, 5)))
    kernel, bias = jnp.float32(rng.normal(size=(3, 3, 5, 4))), jnp.float32(rng.normal(size=4))
    np.testing.assert_allclose(conv3x3(x, *fold(kernel, bias, a)), conv3x3(a.apply(x), kernel, bias), atol=1e-4)


def test_mix_is_the_weighted_mean_of_outputs_with_weights_normalised(rng):
    a, b, x = random_affine(rng), random_affine(rng), jnp.float32(rng.normal(size=(4, 5, 3)))
    expected = 0.25 * a.apply(x) + 0.75 * b.apply(x)
    np.testing.assert_allclose(mix([a, b], [2.0, 6.0]).apply(x), expected, atol=1e-5)
    traced = jax.jit(lambda w: mix([a, b], w).apply(x))(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(traced, expected, atol=1e-5)


def test_mix_refuses_other_numbers_of_weights(rng):
    with pytest.raises(ValueError, match="2 maps need as many weights"):
        mix([random_affine(rng), random_affine(rng)], [1.0])


def test_strengths_and_weights_have_derivatives(rng):
    a, b, x = random_affine(rng), random_affine(rng), jnp.float32(rng.normal(size=(4, 5, 3)))
    slope = jax.grad(lambda alpha: a.blend(alpha).apply(x).sum())(0.4)
    np.testing.assert_allclose(slope, (a.apply(x) - x).sum(), rtol=1e-4)
    assert np.isfinite(jax.grad(lambda w: mix([a, b], w).apply(x).sum())(jnp.ones(2))).all()
