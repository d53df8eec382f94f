import jax.numpy as jnp
import numpy as np
import pytest

from uwct.training.losses import color_loss, psnr, squared_error


def test_squared_error_is_element_wise_and_float32(rng):
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    result = squared_error(jnp.asarray(a, jnp.bfloat16), jnp.asarray(b, jnp.float32))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, (a - b) ** 2, rtol=0.1, atol=0.05)


def test_psnr_of_a_known_error_and_of_clipping():
    target = jnp.full((2, 8, 8, 3), 0.9)
    np.testing.assert_allclose(psnr(target + 0.01, target), 40, rtol=1e-3)
    np.testing.assert_allclose(psnr(jnp.full((8, 8, 3), 7.0), target[0]), 20, rtol=1e-3)


@pytest.mark.parametrize("loss", [squared_error, psnr, color_loss])
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ValueError, match="one shape"):
        loss(jnp.zeros((1, 8, 8, 3)), jnp.zeros((8, 8, 3)))
