import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uwct.networks.winograd import correlate, matrices


@pytest.mark.parametrize(("outputs", "taps"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 2), (3, 3), (4, 2), (4, 3)])
def test_fewer_products_give_the_correlation(rng, outputs, taps):
    inputs, kernels, sums = matrices(outputs, taps)
    assert len(inputs) == len(kernels) == outputs + taps - 1
    x, k = rng.normal(size=outputs + taps - 1), rng.normal(size=taps)
    np.testing.assert_allclose(sums @ ((kernels @ k) * (inputs @ x)), np.correlate(x, k), atol=1e-12)


def test_the_published_matrices():
    """Lavin and Gray's F(2, 3), but for the signs of two rows that belong together."""
    inputs, kernels, outputs = matrices(2, 3)
    np.testing.assert_array_equal(inputs, [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
    np.testing.assert_array_equal(kernels, [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    np.testing.assert_array_equal(outputs, [[1, 1, 1, 0], [0, 1, -1, 1]])


@pytest.mark.parametrize("tile", [(1, 2), (2, 2), (2, 4), (3, 1)])
@pytest.mark.parametrize("taps", [(3, 3), (2, 2), (1, 3)])
def test_tiles_are_the_correlations_outputs(rng, tile, taps):
    (high, wide), (rows, columns) = tile, taps
    x = rng.normal(size=(2, 6 + rows - 1, 8 + columns - 1, 3))
    kernel = rng.normal(size=(rows, columns, 3, 5))
    windows = np.lib.stride_tricks.sliding_window_view(x, taps, (1, 2))
    expected = np.einsum("nhwcij,ijcd->nhwd", windows, kernel)
    with jax.enable_x64(True):
        parts = correlate(jnp.asarray(x), jnp.asarray(kernel), tile, jnp.matmul)
    for i in range(high):
        for j in range(wide):
            np.testing.assert_allclose(parts[i][j], expected[:, i::high, j::wide], atol=1e-11)
