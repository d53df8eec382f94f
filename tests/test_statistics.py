import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import features, mean_cov

from uwct.transforms.statistics import Moments, merge, moments, moments_in_blocks, psum, shrink


def assert_moments_close(a: Moments, b: Moments, rtol: float = 1e-5) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * max(1, np.abs(y).max()))


@given(h=st.integers(1, 9), w=st.integers(1, 9), c=st.integers(1, 6), seed=st.integers(0, 99))
def test_mean_and_covariance_agree_with_numpy(h, w, c, seed):
    x = features(np.random.default_rng(seed), h, w, c)
    mean, cov = mean_cov(x)
    for function in (moments, jax.jit(moments)):
        m = function(jnp.float32(x))
        assert m.weight == h * w
        np.testing.assert_allclose(m.mean, mean, atol=1e-5)
        np.testing.assert_allclose(m.cov, cov, atol=1e-5)


def test_integer_weights_count_pixels(rng):
    x = features(rng, 5, 4, 3)
    weights = rng.integers(0, 2, (5, 4))
    mean, cov = mean_cov(x[weights == 1])
    m = moments(jnp.float32(x), jnp.float32(weights))
    np.testing.assert_allclose(m.mean, mean, atol=1e-5)
    np.testing.assert_allclose(m.cov, cov, atol=1e-5)


def test_soft_weights_agree_with_numpy_average(rng):
    x, weights = features(rng, 6, 6, 4), rng.random((6, 6))
    mean = np.average(x.reshape(-1, 4), axis=0, weights=weights.ravel())
    cov = np.cov(x.reshape(-1, 4).T, aweights=weights.ravel(), ddof=0) * weights.sum() / (weights.sum() - 1)
    m = moments(jnp.float32(x), jnp.float32(weights))
    np.testing.assert_allclose(m.mean, mean, atol=1e-5)
    np.testing.assert_allclose(m.cov, cov, atol=1e-5)


def test_zero_weights_give_zero_moments_and_finite_gradients(rng):
    x = jnp.float32(features(rng, 3, 3, 2))
    m = moments(x, jnp.zeros((3, 3)))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(m))

    def total(x, w):
        return sum(leaf.sum() for leaf in jax.tree.leaves(moments(x, w)))

    for grad in jax.grad(total, (0, 1))(x, jnp.zeros((3, 3))):
        assert np.isfinite(grad).all()


@given(split=st.integers(0, 7), seed=st.integers(0, 99))
def test_merge_is_the_moments_of_the_union(split, seed):
    r = np.random.default_rng(seed)
    x, w = jnp.float32(features(r, 7, 4, 3)), jnp.float32(r.random((7, 4)))
    parts = (moments(x[s], w[s]) if x[s].size else zero(3) for s in (slice(0, split), slice(split, 7)))
    assert_moments_close(merge(*parts), moments(x, w))


def zero(channels: int) -> Moments:
    return Moments(jnp.zeros(()), jnp.zeros(channels), jnp.zeros((channels, channels)))


def test_merge_of_nothing_with_nothing_is_nothing():
    assert_moments_close(merge(zero(2), zero(2)), zero(2))


@pytest.mark.parametrize("mapping", [jax.vmap, jax.pmap])
def test_psum_merges_over_a_mapped_axis(rng, mapping):
    x, w = jnp.float32(features(rng, 6, 4, 3)), jnp.float32(rng.random((6, 4)))
    halves = mapping(lambda x, w: psum(moments(x, w), "i"), axis_name="i")(x.reshape(2, 3, 4, 3), w.reshape(2, 3, 4))
    for half in range(2):
        assert_moments_close(jax.tree.map(lambda leaf, half=half: leaf[half], halves), moments(x, w))


def test_leading_axes_are_a_batch(rng):
    x = jnp.float32(rng.normal(size=(2, 3, 4, 5, 6)))
    batch = moments(x)
    assert batch.scatter.shape == (2, 3, 6, 6)
    assert_moments_close(jax.tree.map(lambda leaf: leaf[1, 2], batch), moments(x[1, 2]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_statistics_of_half_precision_are_float32(rng, dtype):
    x = jnp.asarray(features(rng, 8, 8, 4), dtype)
    m = moments(x)
    assert {leaf.dtype for leaf in jax.tree.leaves(m)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(m.cov, mean_cov(np.asarray(x, np.float64))[1], atol=1e-5)


def test_a_large_mean_costs_no_digits(rng):
    x = np.float32(rng.normal(size=(50, 50, 3)) + 1000)
    np.testing.assert_allclose(moments(jnp.asarray(x)).cov, mean_cov(x)[1], atol=2e-3)


@pytest.mark.parametrize("rows", [1, 4, 7, 50])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-13)])
def test_in_blocks_the_moments_are_those_of_the_first_rows(rng, monkeypatch, rows, dtype, rtol):
    monkeypatch.setattr("uwct.transforms.statistics.BLOCK_ELEMENTS", 3 * 20 * 4)  # 17 blocks, the last of two rows
    with jax.enable_x64(dtype == "float64"):
        x, weights = np.stack([features(rng, 50, 20, 4) + 30] * 2), rng.random((2, 50, 20))
        found = moments_in_blocks(jnp.asarray(x, dtype), jnp.asarray(weights, dtype), rows)
        for picture in (0, 1):
            counting = x[picture, :rows].reshape(-1, 4), weights[picture, :rows].ravel()
            mean = np.average(counting[0], axis=0, weights=counting[1])
            scatter = np.cov(counting[0].T, aweights=counting[1], ddof=0) * counting[1].sum()
            expected = Moments(counting[1].sum(), mean, scatter)
            assert_moments_close(jax.tree.map(lambda a, picture=picture: a[picture], found), expected, rtol)


def test_flat_rows_have_exactly_no_covariance_in_blocks():
    x = jnp.full((512, 512, 4), 0.3, "bfloat16")
    assert (moments_in_blocks(x, jnp.ones((512, 512)).at[3:9].set(0), 500).cov == 0).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\[\.\.\., H, W, C\]"):
        moments(jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="weights must have the shape"):
        moments(jnp.zeros((4, 4, 3)), jnp.ones((4, 3)))


@pytest.mark.parametrize("size", [4, 7, 300])
@pytest.mark.parametrize("weighted", [False, True])
def test_flat_features_have_exactly_no_covariance_whatever_their_mean_rounds_to(size, weighted):
    x = jnp.broadcast_to(jnp.float32([0.1, 0.3, 1e6, -1e-6]), (size, size, 4))
    m = moments(x, jnp.full((size, size), 0.3) if weighted else None)
    assert (m.cov == 0).all()
    np.testing.assert_allclose(m.mean, x[0, 0], rtol=1e-6)


def test_shrinking_keeps_the_total_variance_and_ends_at_a_multiple_of_the_identity(rng):
    m = moments(jnp.float32(rng.normal(size=(2, 6, 5, 4))))
    for amount in (0.0, 0.3, 1.0):
        shrunk = shrink(m, amount)
        for cov, expected in zip(np.asarray(m.cov), np.asarray(shrunk.cov), strict=True):
            target = np.trace(cov) / 4 * np.eye(4)
            np.testing.assert_allclose(expected, (1 - amount) * cov + amount * target, atol=1e-6)
        np.testing.assert_array_equal(shrunk.mean, m.mean)


def test_a_channel_whose_sums_cancel_is_as_constant_as_the_others_round(rng):
    """Its own mean is small, but what it was summed of is not: rounding of that is no variation."""
    noise = rng.normal(size=(3, 16, 16))
    features = np.stack([1 + 0 * noise[0], 1e-3 + 1e-7 * noise[1], 1e-3 + 1e-5 * noise[2]], axis=-1)
    variances = np.diagonal(moments(jnp.asarray(features, jnp.float32)).cov)
    assert variances[0] == variances[1] == 0
    np.testing.assert_allclose(variances[2], 1e-10, rtol=0.2)


def test_a_flat_picture_stays_flat_when_shrunk():
    flat = moments(jnp.full((8, 8, 3), 0.1, jnp.float32) + jnp.float32(1e-9))
    np.testing.assert_array_equal(shrink(flat, 0.5).cov, 0)
