import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from uwct import adain, color, moments, monge, wct, whiten
from uwct.transforms.statistics import Moments

TRANSFORMS = {"wct": wct, "adain": adain, "monge": monge}
FLOAT32, FLOAT64 = np.finfo(np.float32).eps, np.finfo(np.float64).eps


def transferred(transform, content, style):
    return transform(moments(content), moments(style)).apply(content)


@given(
    shape=st.tuples(st.integers(8, 16), st.integers(8, 16)),
    channels=st.integers(1, 32),
    condition=st.floats(1, 1e3),
    seed=st.integers(0, 999),
)
def test_wct_agrees_with_the_paper_in_float32(shape, channels, condition, seed):
    r = np.random.default_rng(seed)
    content, style = (reference.features(r, *shape, channels, condition) for _ in range(2))
    expected = reference.wct(content, style, channels * FLOAT32)
    for function in (transferred, jax.jit(transferred, static_argnums=0)):
        result = function(wct, jnp.float32(content), jnp.float32(style))
        assert np.abs(result - expected).max() <= 1e-4 * np.abs(expected).max()


@given(channels=st.integers(1, 16), condition=st.floats(1, 1e3), seed=st.integers(0, 999))
def test_wct_agrees_with_the_paper_in_float64(channels, condition, seed):
    r = np.random.default_rng(seed)
    content, style = (reference.features(r, 12, 11, channels, condition) for _ in range(2))
    with jax.enable_x64(True):
        result = np.asarray(transferred(wct, jnp.asarray(content), jnp.asarray(style)))
    expected = reference.wct(content, style, channels * FLOAT64)
    assert result.dtype == np.float64
    assert np.abs(result - expected).max() <= 1e-10 * np.abs(expected).max()


def test_whitened_covariance_is_the_identity(rng):
    x = jnp.float32(reference.features(rng, 20, 20, 8))
    mean, cov = reference.mean_cov(np.asarray(whiten(moments(x)).apply(x)))
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(cov, np.eye(8), atol=1e-4)


def test_whitened_covariance_is_the_identity_on_the_kept_subspace(rng):
    basis = np.linalg.qr(rng.normal(size=(6, 3)))[0]
    x = jnp.float32(rng.normal(size=(20, 20, 3)) @ basis.T)
    cov = reference.mean_cov(np.asarray(whiten(moments(x)).apply(x)))[1]
    np.testing.assert_allclose(cov, basis @ basis.T, atol=1e-4)


def test_color_gives_white_features_the_style(rng):
    style = jnp.float32(reference.features(rng, 20, 20, 5))
    white = jnp.float32(reference.features(rng, 20, 20, 5))
    white = whiten(moments(white)).apply(white)
    assert_same_moments(color(moments(style)).apply(white), style)


@pytest.mark.parametrize("name", ["wct", "monge"])
def test_output_has_the_styles_moments_where_the_content_has_full_rank(rng, name):
    content, style = (jnp.float32(reference.features(rng, 20, 20, 8)) for _ in range(2))
    assert_same_moments(transferred(TRANSFORMS[name], content, style), style)


def assert_same_moments(a, b):
    for x, y in zip(reference.mean_cov(np.asarray(a)), reference.mean_cov(np.asarray(b)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4 * max(1, np.abs(y).max()))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("rank", [8, 3])
def test_a_picture_is_its_own_style(rng, name, rank):
    basis = np.linalg.qr(rng.normal(size=(8, rank)))[0]
    x = jnp.float32(reference.features(rng, 15, 15, rank) @ basis.T + 2)
    np.testing.assert_allclose(transferred(TRANSFORMS[name], x, x), x, atol=2e-3)


def test_adain_agrees_with_its_formula(rng):
    content, style = (reference.features(rng, 9, 7, 5) for _ in range(2))
    c, s = reference.flat(content), reference.flat(style)
    expected = (c - c.mean(0)) / c.std(0) * s.std(0) + s.mean(0)
    result = transferred(adain, jnp.float32(content), jnp.float32(style))
    np.testing.assert_allclose(reference.flat(result), expected, atol=1e-4)


def test_adain_treats_channels_apart_however_far_their_deviations_spread(rng):
    x = jnp.float32(rng.normal(size=(9, 9, 64)) * np.geomspace(1, 1e-3, 64))
    np.testing.assert_allclose(transferred(adain, x, x), x, atol=1e-5)


def test_monge_moves_features_less_than_wct_and_its_matrix_is_symmetric(rng):
    content, style = (jnp.float32(reference.features(rng, 20, 20, 6)) for _ in range(2))
    matrix = np.asarray(monge(moments(content), moments(style)).matrix)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-4)
    cost = {t: np.square(transferred(t, content, style) - content).mean() for t in (monge, wct)}
    assert cost[monge] < cost[wct]


def test_monge_keeps_directions_in_which_both_pictures_vary_little(rng):
    """Where both vary along the same axes, it scales each; the product of covariances spreads over ten digits here."""
    axes, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    variances = np.geomspace(1, 1e-5, 32)
    ratios = rng.uniform(0.5, 2, 32)
    content, style = (
        Moments(jnp.float32(2), jnp.zeros(32), jnp.float32((axes * v) @ axes.T))
        for v in (variances, variances * ratios)
    )
    np.testing.assert_allclose(monge(content, style).matrix, (axes * np.sqrt(ratios)) @ axes.T, atol=0.05)


def test_commuting_covariances_make_all_three_transforms_equal(rng):
    content, style = (jnp.float32(rng.normal(size=(400, 400, 3)) * scale) for scale in ([1, 2, 3], [3, 1, 2]))
    a, b, c = (t(moments(content), moments(style)).matrix for t in TRANSFORMS.values())
    np.testing.assert_allclose(a, b, atol=0.03)
    np.testing.assert_allclose(a, c, atol=0.03)


# --- degenerate inputs: finite values and finite gradients -------------------------------------------------------


def degenerate(name):
    r = np.random.default_rng(5)
    style = reference.features(r, 6, 6, 4)
    return {
        "flat content": (np.full((4, 4, 4), 0.3), style),
        "flat style": (style, np.full((4, 4, 4), 0.3)),
        "both flat": (np.zeros((4, 4, 4)), np.ones((4, 4, 4))),
        "a single pixel": (r.normal(size=(1, 1, 4)), style),
        "a single style pixel": (style, r.normal(size=(1, 1, 4))),
        "fewer pixels than channels": (r.normal(size=(1, 3, 4)), r.normal(size=(2, 1, 4))),
        "repeated eigenvalues": (np.eye(4).reshape(2, 2, 4), np.eye(4).reshape(2, 2, 4)),
    }[name]


NAMES = [
    "flat content",
    "flat style",
    "both flat",
    "a single pixel",
    "a single style pixel",
    "fewer pixels than channels",
    "repeated eigenvalues",
]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_inputs_give_finite_values_and_gradients(transform, name):
    content, style = (jnp.float32(x) for x in degenerate(name))

    def total(content, style):
        return jnp.sin(transferred(TRANSFORMS[transform], content, style)).sum()

    assert np.isfinite(transferred(TRANSFORMS[transform], content, style)).all()
    for grad in jax.grad(total, (0, 1))(content, style):
        assert np.isfinite(grad).all()
    assert np.isfinite(jax.jacfwd(total)(content, style)).all()


@pytest.mark.parametrize("deviation", [1e-6, 1e-10, 1e-14, 1e-18])
def test_nearly_flat_content_gives_finite_values_and_gradients(rng, deviation):
    content, style = jnp.float32(deviation * rng.normal(size=(4, 4, 3))), jnp.float32(rng.normal(size=(4, 4, 3)))
    assert np.isfinite(transferred(wct, content, style)).all()
    assert np.isfinite(jax.grad(lambda c: transferred(wct, c, style).sum())(content)).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_zero_weights_give_finite_values_and_gradients(rng, transform):
    content, style = (jnp.float32(reference.features(rng, 4, 4, 3)) for _ in range(2))

    def total(content, weights):
        affine = TRANSFORMS[transform](moments(content, weights), moments(style, weights))
        return affine.apply(content).sum()

    assert np.isfinite(total(content, jnp.zeros((4, 4))))
    for grad in jax.grad(total, (0, 1))(content, jnp.zeros((4, 4))):
        assert np.isfinite(grad).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("argument", [0, 1])
@pytest.mark.parametrize("kind", ["full rank", "repeated eigenvalues", "fewer pixels than channels", "a single pixel"])
def test_gradients_agree_with_finite_differences(transform, argument, kind):
    r = np.random.default_rng(6)
    full = reference.features(r, 5, 4, 3)
    # An orthogonal design has all eigenvalues equal, and its perturbations are generic.
    orthogonal = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]]).reshape(2, 2, 3)
    few, one = r.normal(size=(1, 3, 5)), r.normal(size=(1, 1, 3))
    pairs = {
        "full rank": (full, reference.features(r, 4, 4, 3)),
        "repeated eigenvalues": (orthogonal, 2 * orthogonal + 1),
        "fewer pixels than channels": (few, r.normal(size=(1, 3, 5))),
        "a single pixel": (one, full),
    }
    with jax.enable_x64(True):
        pair = [jnp.asarray(x) for x in pairs[kind]]

        def output(x):
            return transferred(TRANSFORMS[transform], *(x if i == argument else pair[i] for i in range(2)))

        check_grads(output, (pair[argument],), order=1, modes=("fwd", "rev"), rtol=1e-4, atol=1e-6)


# --- the machinery ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_vmap_and_pmap_give_what_single_calls_give(rng, transform):
    content, style = (jnp.float32(np.stack([reference.features(rng, 8, 8, 4) for _ in range(2)])) for _ in range(2))
    function = lambda c, s: transferred(TRANSFORMS[transform], c, s)  # noqa: E731
    single = jnp.stack([function(c, s) for c, s in zip(content, style, strict=True)])
    for mapped in (function, jax.vmap(function), jax.pmap(function)):
        np.testing.assert_allclose(mapped(content, style), single, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_half_precision_features_come_back_as_they_came(rng, dtype, transform):
    content, style = (jnp.asarray(reference.features(rng, 8, 8, 4), dtype) for _ in range(2))
    result = transferred(TRANSFORMS[transform], content, style)
    exact = transferred(TRANSFORMS[transform], content.astype(jnp.float32), style.astype(jnp.float32))
    assert result.dtype == dtype
    np.testing.assert_allclose(result.astype(jnp.float32), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_nan_in_the_content_is_not_painted_over(rng, transform):
    content = jnp.float32(reference.features(rng, 4, 4, 3)).at[0, 0, 0].set(jnp.nan)
    style = jnp.float32(reference.features(rng, 4, 4, 3))
    assert np.isnan(transferred(TRANSFORMS[transform], content, style)).any()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("argument", [0, 1])
def test_gradients_of_flat_pictures_agree_with_finite_differences_of_their_color(transform, argument):
    textured = reference.features(np.random.default_rng(7), 4, 4, 3)
    with jax.enable_x64(True):

        def output(color):
            flat = jnp.broadcast_to(color, (4, 4, 3))
            return transferred(TRANSFORMS[transform], *((flat, textured) if argument == 0 else (textured, flat)))

        check_grads(output, (jnp.array([0.2, 0.5, 0.9]),), order=1, modes=("fwd", "rev"), rtol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_gradients_under_zero_weights_agree_with_finite_differences(transform):
    content, style = (reference.features(np.random.default_rng(s), 4, 4, 3) for s in (8, 9))
    with jax.enable_x64(True):

        def output(content, style):
            zeros = jnp.zeros((4, 4), content.dtype)
            affines = [
                TRANSFORMS[transform](moments(content, zeros), moments(style)),
                TRANSFORMS[transform](moments(content), moments(style, zeros)),
            ]
            return [a.apply(content) for a in affines]

        check_grads(output, (jnp.asarray(content), jnp.asarray(style)), order=1, modes=("fwd", "rev"), rtol=1e-5)
