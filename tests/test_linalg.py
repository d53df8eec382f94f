import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from uwct.transforms.linalg import gram_sqrtm, inv_sqrtm, lyapunov, newton_schulz, sqrtm

ROOTS = [sqrtm, inv_sqrtm, gram_sqrtm]
# The kept directions of these matrices have gaps that finite differences (step 1e-6) resolve.
MATRICES = {
    "distinct eigenvalues": np.diag([4.0, 2.0, 1.0, 0.5]),
    "repeated eigenvalues": np.diag([2.0, 2.0, 1.0, 1.0]),
    "all eigenvalues equal": np.eye(4),
}


def rotation(seed: int, size: int = 4) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def spd(seed: int, size: int, condition: float = 1e3) -> np.ndarray:
    q = rotation(seed, size)
    return (q * np.geomspace(1, 1 / condition, size)) @ q.T


@given(size=st.integers(1, 12), seed=st.integers(0, 99))
def test_roots_agree_with_the_definition_in_float64(size, seed):
    a = spd(seed, size)
    with jax.enable_x64(True):
        root, inverse = np.asarray(sqrtm(a)), np.asarray(jax.jit(inv_sqrtm)(a))
    np.testing.assert_allclose(root @ root, a, atol=1e-13)
    np.testing.assert_allclose(inverse @ a @ inverse, np.eye(size), atol=1e-10)
    assert np.linalg.eigvalsh(root).min() > 0


@given(size=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_root_of_a_gram_matrix_is_the_symmetric_factor_of_the_polar_decomposition(size, seed):
    p = spd(seed, size) @ rotation(seed + 1, size)
    with jax.enable_x64(True):
        found = jax.jit(gram_sqrtm)(p)
    np.testing.assert_allclose(found, scipy.linalg.polar(p)[1], atol=1e-12)


def test_the_root_of_a_gram_matrix_keeps_what_the_root_of_the_product_loses():
    """Of eigenvalues that spread over ten digits, float32 holds seven: those of the matrix, not of its root."""
    p = spd(5, 64, 1e5)
    exact = scipy.linalg.polar(p)[1]
    least = np.linalg.eigh(exact)[1][:, :16]  # the directions of the smallest quarter
    found, lost = gram_sqrtm(jnp.float32(p)), sqrtm(jnp.float32(p.T @ p))
    scale = np.abs(least.T @ exact @ least).max()
    assert np.abs(least.T @ (found - exact) @ least).max() < 0.1 * scale
    assert np.abs(least.T @ (lost - exact) @ least).max() > 0.9 * scale


def test_float32_stays_close_at_condition_1e3():
    a = spd(3, 64)
    values, vectors = np.linalg.eigh(a)
    np.testing.assert_allclose(sqrtm(jnp.float32(a)), (vectors * values**0.5) @ vectors.T, atol=1e-5)
    expected = (vectors * values**-0.5) @ vectors.T
    np.testing.assert_allclose(inv_sqrtm(jnp.float32(a)), expected, atol=1e-4 * np.abs(expected).max())


def test_masked_eigenvalues_give_the_pseudo_inverse_root():
    q = rotation(1)
    a = (q * [3.0, 1.0, 0.0, 1e-9]) @ q.T
    expected = (q * [3**-0.5, 1.0, 0.0, 0.0]) @ q.T
    np.testing.assert_allclose(inv_sqrtm(jnp.float32(a)), expected, atol=1e-5)


def test_zero_matrix_has_zero_roots():
    for function in ROOTS:
        assert (function(jnp.zeros((3, 3))) == 0).all()


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("function", ROOTS)
def test_derivative_agrees_with_finite_differences(name, function):
    q = rotation(2)
    right = rotation(5) if function is gram_sqrtm else q  # which takes matrices that are not symmetric, too
    with jax.enable_x64(True):
        check_grads(function, (jnp.asarray(q @ MATRICES[name] @ right.T),), order=1, modes=("fwd", "rev"), rtol=1e-5)


@pytest.mark.parametrize("function", ROOTS)
def test_derivative_of_rank_deficient_matrices_along_their_range(function):
    # B B^T keeps its rank 2 when B moves, so finite differences exist.
    with jax.enable_x64(True):
        b = jnp.asarray(np.random.default_rng(4).normal(size=(4, 2)))
        right = jnp.asarray(np.random.default_rng(5).normal(size=(2, 4)))
        of = (lambda b: gram_sqrtm(b @ right)) if function is gram_sqrtm else (lambda b: function(b @ b.T))
        check_grads(of, (b,), order=1, modes=("fwd", "rev"), rtol=1e-5)


@pytest.mark.parametrize("function", ROOTS)
@pytest.mark.parametrize(
    "a", [np.zeros((3, 3)), np.eye(3), np.diag([1.0, 0.0, 0.0])], ids=["zero", "identity", "rank one"]
)
def test_gradients_are_finite_where_eigenvalues_meet_or_vanish(function, a):
    a = jnp.float32(a)
    assert np.isfinite(jax.grad(lambda a: function(a).sum())(a)).all()
    assert np.isfinite(jax.jacfwd(function)(a)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("function", ROOTS)
@pytest.mark.parametrize("size", [3, 40])
def test_nan_is_never_masked_away(function, bad, size):
    a = np.eye(size, dtype=np.float32)
    a[1, 1] = bad
    assert np.isnan(function(jnp.asarray(a))).all()


def test_batches_and_vmap_give_what_single_matrices_give():
    batch = jnp.float32(np.stack([spd(i, 5) for i in range(3)]))
    for function in ROOTS:
        single = jnp.stack([function(a) for a in batch])
        np.testing.assert_allclose(function(batch), single, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(jax.vmap(function)(batch), single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 5, 64])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_newton_schulz_agrees_with_eigh(size, condition):
    a = np.stack([spd(seed, size, condition) for seed in (1, 2)])
    with jax.enable_x64(True):
        exact = jax.jit(newton_schulz)(jnp.asarray(a))
    single = newton_schulz(jnp.asarray(a, jnp.float32))
    for found, bound in ((exact, 1e-7), (single, 1e-3)):
        for root, expected in zip(found, lifted_roots(a, np.finfo(found[0].dtype).eps), strict=True):
            np.testing.assert_allclose(root, expected, atol=bound * np.abs(expected).max())


def lifted_roots(a: np.ndarray, eps: float) -> list[np.ndarray]:
    """What `newton_schulz` promises, by decomposition in float64."""
    values, vectors = np.linalg.eigh(a)
    lifted = values + np.maximum(1e-6 * values.mean(-1), 2 * eps * np.linalg.norm(values, axis=-1))[:, None]
    return [np.einsum("nij,nj,nkj->nik", vectors, lifted**power, vectors) for power in (0.5, -0.5)]


@pytest.mark.parametrize("rank", [1, 16, 127])
def test_newton_schulz_roots_of_few_pixels_in_many_channels(rank):
    """A lift below the rounding of float32 left negative eigenvalues, and NaN."""
    x = np.random.default_rng(rank).normal(size=(rank, 128)).astype(np.float32)
    a = (x.T @ x / rank)[None]
    root, inverse = newton_schulz(jnp.asarray(a))
    exact, exact_inverse = lifted_roots(np.float64(a), 2**-23)
    np.testing.assert_allclose(root, exact, atol=1e-3 * np.abs(exact).max())
    # Where the features do not vary, the inverse is mostly rounding; what it makes of those that do is not.
    whitened, expected = (z @ np.float64(a) @ z for z in (np.float64(inverse), exact_inverse))
    assert np.linalg.norm(whitened - expected) < 0.1 * np.linalg.norm(expected)


def test_newton_schulz_stops_by_its_rule():
    a = spd(1, 16, 1e2)
    with jax.enable_x64(True):
        rough, fine = (newton_schulz(a, tolerance=tolerance) for tolerance in (1e-2, 1e-9))
        cut = newton_schulz(a, steps=2)
    errors = [np.linalg.norm(z @ y - np.eye(16)) / 4 for y, z in (rough, fine, cut)]
    assert 1e-9 < errors[0] <= 1e-2
    assert errors[1] <= 1e-9
    assert errors[2] > 1e-2


def test_newton_schulz_is_finite_where_there_is_no_inverse_and_shows_nan():
    for a in (np.zeros((4, 4)), np.diag([1.0, 1.0, 0.0, 0.0])):
        assert all(np.isfinite(part).all() for part in newton_schulz(jnp.asarray(a, jnp.float32)))
        found = jax.jvp(lambda a: newton_schulz(a, steps=5), (jnp.asarray(a, jnp.float32),), (jnp.eye(4),))
        assert all(np.isfinite(part).all() for parts in found for part in parts)
    assert all(np.isnan(part).all() for part in newton_schulz(jnp.full((4, 4), jnp.nan)))


def test_nan_in_one_matrix_does_not_stop_the_others():
    a, e = jnp.asarray(spd(1, 8, 50), jnp.float32), jnp.asarray(spd(2, 8), jnp.float32)
    nan = jnp.full_like(a, jnp.nan)
    for alone, beside in zip(newton_schulz(a), newton_schulz(jnp.stack([a, nan])), strict=True):
        np.testing.assert_allclose(beside[0], alone, rtol=1e-5, atol=1e-5)
        assert jnp.isnan(beside[1]).all()
    np.testing.assert_allclose(
        lyapunov(jnp.stack([a, nan]), jnp.stack([e, e]))[0], lyapunov(a, e), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("function", ROOTS)
def test_methods_agree_and_have_one_derivative(function):
    a, tangent = jnp.asarray(spd(2, 130, 50), jnp.float32), jnp.asarray(spd(3, 130), jnp.float32)
    results = {}
    for method in ("auto", "eigh", "newton-schulz"):
        results[method] = jax.jit(lambda a, t, m=method: jax.jvp(lambda a: function(a, method=m), (a,), (t,)))(
            a, tangent
        )
    for method in ("auto", "newton-schulz"):
        for found, expected in zip(results[method], results["eigh"], strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-3 * float(jnp.abs(expected).max()))
    # On a CPU "auto" is eigh to the bit.
    np.testing.assert_array_equal(results["auto"][0], results["eigh"][0])
    with pytest.raises(ValueError, match="method must be"):
        function(a, method="guess")


@pytest.mark.parametrize("size", [1, 5, 64])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_lyapunov_agrees_with_scipy_and_is_its_own_transpose(size, condition):
    roots = np.stack([spd(seed, size, condition) for seed in (1, 2)])
    sides, others = (np.stack([spd(seed, size) for seed in seeds]) for seeds in ((3, 4), (5, 6)))
    expected = np.stack([scipy.linalg.solve_continuous_lyapunov(r, e) for r, e in zip(roots, sides, strict=True)])
    with jax.enable_x64(True):
        found, transposed = jax.jit(lambda r, e: jax.vjp(jax.vmap(lyapunov, (0, 0)), r, e))(roots, sides)
        _, by_others = transposed(jnp.asarray(others))
        np.testing.assert_allclose(by_others, lyapunov(roots, jnp.asarray(others)), rtol=1e-9)
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("function", ROOTS)
def test_the_derivative_by_products_decomposes_nothing(function):
    a = jnp.asarray(spd(2, 8, 50), jnp.float32)
    programs = {
        method: jax.jit(jax.grad(lambda a, m=method: function(a, method=m).sum())).lower(a).as_text()
        for method in ("eigh", "newton-schulz")
    }
    decomposed = {method: "lapack_" in program for method, program in programs.items()}
    assert decomposed == {"eigh": True, "newton-schulz": False}


@pytest.mark.parametrize("mapped", [lambda f: f, jax.vmap, lambda f: jax.vmap(jax.vmap(f))])
def test_the_cpu_decomposes_a_batch_one_matrix_after_another(mapped):
    """Two batches at a time would wait for each other for ever on two cores, now and then (jaxlib 0.10.2)."""
    batch = jnp.broadcast_to(jnp.eye(5), (3, 2, 5, 5))
    program = jax.jit(mapped(lambda a: sum(root(a) for root in ROOTS))).lower(batch).as_text()
    for routine in ("ssyevd", "sgesdd"):
        calls = re.findall(rf"@lapack_{routine}_ffi\(.*?\).*? -> (.*)", program)
        assert calls
        assert all("tensor<5x5xf32>" in results and "x5x5x" not in results for results in calls)


@pytest.mark.parametrize("said", [None, "2"])
def test_lapack_is_loaded_for_one_thread_unless_the_user_says_otherwise(said: str | None) -> None:
    program = """
import ctypes, os, pathlib, re, jax, jax.numpy as jnp
from uwct.transforms.linalg import sqrtm
jax.jit(sqrtm)(jnp.eye(3)).block_until_ready()
loaded = re.search(r"/.*/scipy.libs/.*openblas.*", pathlib.Path("/proc/self/maps").read_text())[0]
print(ctypes.CDLL(loaded).scipy_openblas_get_num_threads())
print(os.environ.get("OPENBLAS_NUM_THREADS"))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": said} if said else {}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert result.stdout.splitlines() == [said or "1", str(said)], result.stderr


def test_the_cpu_needs_no_loop_for_one_matrix():
    program = jax.jit(lambda a: sum(root(a) for root in ROOTS)).lower(jnp.eye(5)).as_text()
    assert "lapack_ssyevd_ffi" in program
    assert "stablehlo.while" not in program
