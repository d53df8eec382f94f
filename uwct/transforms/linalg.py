"""Square roots and inverse square roots of symmetric positive semi-definite matrices, with rank and derivative.

`method` says how: "eigh" by decomposition, "newton-schulz" by matrix products alone (see `newton_schulz`), and "auto",
the default, by decomposition on a CPU and for few channels, by products on accelerators for many.

Contract: matrices are `a[..., C, C]`, float32 or float64; of `sqrtm` and `inv_sqrtm` only the symmetric part counts. An
eigenvalue counts when it exceeds `C eps` times the largest; the others are taken for exactly 0, and their inverse root
is 0 too (the pseudo-inverse). `gram_sqrtm` takes any square matrix and does the same with its singular values. They are
masked, never sliced off, so that shapes stay static. A NaN or an infinity in a matrix, or a decomposition that did not
converge, makes its whole result NaN: it is never masked away.

The derivative of roots by decomposition is the divided-difference formula (Daleckii and Krein, 1965), which is finite
where eigenvalues meet, unlike the derivative of `eigh`; of roots by products it is the solution of a Lyapunov equation,
by products too. Both hold for first derivatives in forward and reverse mode.
"""

import importlib
import os
from collections.abc import Callable
from functools import cache, partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from uwct.transforms.programs import by_platform

Method = Literal["auto", "eigh", "newton-schulz"]
# From so many channels on, "auto" leaves eigh on accelerators, where it runs one small step after another.
MANY_CHANNELS = 128


def sqrtm(a: Array, *, method: Method = "auto") -> Array:
    """a^(1/2), symmetric positive semi-definite: `[..., C, C]`; raises ValueError for an unknown method."""
    return _sqrtm(a, _checked(method))


def inv_sqrtm(a: Array, *, method: Method = "auto") -> Array:
    """a^(-1/2) on the kept subspace, 0 on its complement: `[..., C, C]`; raises ValueError for an unknown method."""
    return _inv_sqrtm(a, _checked(method))


def gram_sqrtm(p: Array, *, method: Method = "auto") -> Array:
    """(p^T p)^(1/2), the symmetric factor of a polar decomposition, of any `p[..., C, C]`: `[..., C, C]`.

    "eigh" takes it from the singular values of p, which spread over half as many digits as the eigenvalues of p^T p: so
    it is as exact as the root of p^T p would be in twice the precision. "newton-schulz" takes that root, and gains
    nothing. Raises ValueError for an unknown method.
    """
    return _gram_sqrtm(p, _checked(method))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _sqrtm(a: Array, method: Method) -> Array:
    return _by(method, a, _root, _root_by_products)


def _root(a: Array) -> Array:
    roots, _, vectors = _roots(a)
    return _compose(vectors, roots)


def _root_by_products(a: Array) -> Array:
    return newton_schulz(a)[0]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _inv_sqrtm(a: Array, method: Method) -> Array:
    return _by(method, a, _inverse_root, _inverse_root_by_products)


def _inverse_root(a: Array) -> Array:
    _, inverse_roots, vectors = _roots(a)
    return _compose(vectors, inverse_roots)


def _inverse_root_by_products(a: Array) -> Array:
    return newton_schulz(a)[1]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _gram_sqrtm(p: Array, method: Method) -> Array:
    return _by(method, p, _gram_root, _gram_root_by_products)


def _gram_root(p: Array) -> Array:
    roots, vectors = _gram_roots(p)
    return _compose(vectors, roots)


def _gram_root_by_products(p: Array) -> Array:
    return newton_schulz(_product(p.mT, p))[0]


def _checked(method: Method) -> Method:
    if method not in ("auto", "eigh", "newton-schulz"):
        raise ValueError(f'method must be "auto", "eigh" or "newton-schulz", not {method!r}')
    return method


def _by(method: Method, a: Array, eigh: Callable[[Array], Array], products: Callable[[Array], Array]) -> Array:
    """The root by the method's way; "auto" decides when it is known what device the program is for."""
    if method == "newton-schulz":
        return products(a)
    if method == "eigh" or a.shape[-1] < MANY_CHANNELS:
        return eigh(a)
    like = jax.ShapeDtypeStruct(a.shape, a.dtype)
    root: Array = by_platform(a, cpu=eigh, default=products, static=(), like=like)
    return root


def _products_alone(method: Method, a: Array) -> bool:
    """Whether a derivative, which is traced where it runs, takes no decomposition."""
    many = a.shape[-1] >= MANY_CHANNELS and jax.default_backend() != "cpu"
    return method == "newton-schulz" or (method == "auto" and many)


@_sqrtm.defjvp
def _sqrtm_jvp(method: Method, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    if _products_alone(method, primals[0]):
        root, _ = newton_schulz(primals[0])
        return root, lyapunov(root, _symmetric(tangents[0]))
    roots, _, vectors = _roots(primals[0])
    return _sqrtm(primals[0], method), _directional(vectors, _slope(roots), tangents[0])


@_gram_sqrtm.defjvp
def _gram_sqrtm_jvp(method: Method, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (p,), (tangent,) = primals, tangents
    if _products_alone(method, p):
        root, _ = newton_schulz(_product(p.mT, p))
        return root, lyapunov(root, _symmetric(2 * _product(p.mT, tangent)))
    roots, vectors = _gram_roots(p)
    return _gram_sqrtm(p, method), _directional(vectors, _slope(roots), 2 * _product(p.mT, tangent))


def _slope(roots: Array) -> Array:
    """(sqrt x - sqrt y) / (x - y) = 1 / (sqrt x + sqrt y); 0 where both are masked."""
    sums = roots[..., :, None] + roots[..., None, :]
    return jnp.where(sums == 0, 0, 1 / jnp.where(sums == 0, 1, sums))


@_inv_sqrtm.defjvp
def _inv_sqrtm_jvp(method: Method, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    if _products_alone(method, primals[0]):
        root, inverse = newton_schulz(primals[0])
        return inverse, -_product(_product(inverse, lyapunov(root, _symmetric(tangents[0]))), inverse)
    roots, inverse_roots, vectors = _roots(primals[0])
    # (1 / sqrt x - 1 / sqrt y) / (x - y) = -1 / (sqrt x sqrt y (sqrt x + sqrt y)) where both are kept;
    # (1 / sqrt x - 0) / (x - 0) where one is masked, so counts as 0 with the function value 0.
    r, s = inverse_roots[..., :, None], inverse_roots[..., None, :]
    sums = roots[..., :, None] + roots[..., None, :]
    both = -r * s / jnp.where(sums == 0, 1, sums)
    slope = jnp.where((r == 0) | (s == 0), (r + s) ** 3, both)
    return _inv_sqrtm(primals[0], method), _directional(vectors, slope, tangents[0])


def kept(eigenvalues: Array) -> Array:
    """Which eigenvalues `[..., C]` count: those above C eps times the largest. NaN counts, so that it shows.

    Those below `tiny^0.6` (1e-23 in float32) never count: the power -3/2 in the derivative would overflow.
    """
    size, info = eigenvalues.shape[-1], jnp.finfo(eigenvalues.dtype)
    floor = size * info.eps * eigenvalues.max(-1, keepdims=True)
    return ~(eigenvalues <= jnp.maximum(floor, float(info.tiny) ** 0.6))


def _singular(p: Array) -> tuple[Array, Array]:
    """Singular values and right singular vectors, `p = U diag(values) vectors^T`."""
    _, values, transposed = jnp.linalg.svd(p, full_matrices=False)
    return values, transposed.mT


def _eigh(a: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(a)
    return values, vectors


def _decomposed(decompose: Callable[[Array], tuple[Array, Array]], a: Array) -> tuple[Array, Array]:
    """(values, vectors) of a batch, on the CPU of one matrix after another, also under `vmap`.

    jaxlib spreads a batch over the threads that its programs run on: two batches at a time in one program wait for each
    other for ever where there are two (seen in 0.10.2).
    """
    like = jax.ShapeDtypeStruct(a.shape[:-1], a.dtype), jax.ShapeDtypeStruct(a.shape, a.dtype)
    found: tuple[Array, Array] = by_platform(a, cpu=_one_by_one, default=_all_at_once, static=(decompose,), like=like)
    return found


@cache
def load_lapack() -> None:
    """Loads SciPy's LAPACK, by which jaxlib decomposes, for one thread.

    Of several, those that wait for the next matrix spin on cores that convolutions need; and even alone, one is faster.
    It looks at the environment once, when it is loaded; what the user says there holds.
    """
    name = "OPENBLAS_NUM_THREADS"
    said = name in os.environ
    os.environ.setdefault(name, "1")
    importlib.import_module("scipy.linalg.cython_lapack")
    if not said:  # processes that are started later have all their threads
        del os.environ[name]


def _one_by_one(a: Array, decompose: Callable[[Array], tuple[Array, Array]]) -> tuple[Array, Array]:
    load_lapack()

    @jax.custom_batching.sequential_vmap
    def of_one(a: Array) -> tuple[Array, Array]:
        return decompose(a)

    if a.ndim == 2:  # a loop over one would take some hundredths of a second more to compile
        return of_one(a)
    values, vectors = jax.vmap(of_one)(a.reshape(-1, *a.shape[-2:]))
    return values.reshape(a.shape[:-1]), vectors.reshape(a.shape)


def _all_at_once(a: Array, decompose: Callable[[Array], tuple[Array, Array]]) -> tuple[Array, Array]:
    return decompose(a)


def _roots(a: Array) -> tuple[Array, Array, Array]:
    """(sqrt(lambda), 1 / sqrt(lambda), eigenvectors); both roots exactly 0 where lambda is masked."""
    eigenvalues, vectors = _decomposed(_eigh, a)
    keep = kept(eigenvalues)
    roots = jnp.sqrt(jnp.where(keep, eigenvalues, 1))
    return jnp.where(keep, roots, 0), jnp.where(keep, 1 / roots, 0), vectors


def _gram_roots(p: Array) -> tuple[Array, Array]:
    """(sqrt(lambda), eigenvectors) of p^T p; roots exactly 0 where lambda is masked."""
    values, vectors = _decomposed(_singular, p)
    return jnp.where(kept(values), values, 0), vectors


def _compose(vectors: Array, values: Array) -> Array:
    """V diag(values) V^T."""
    return _product(vectors * values[..., None, :], vectors.mT)


def _directional(vectors: Array, slope: Array, tangent: Array) -> Array:
    """V (slope o (V^T da V)) V^T for the symmetric part of da."""
    inside = _product(_product(vectors.mT, _symmetric(tangent)), vectors)
    return _product(_product(vectors, slope * inside), vectors.mT)


def _symmetric(a: Array) -> Array:
    return (a + a.mT) / 2


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def newton_schulz(
    a: Array, *, floor: float = 1e-6, tolerance: float | None = None, steps: int = 40
) -> tuple[Array, Array]:
    """(a^(1/2), a^(-1/2)) of symmetric positive semi-definite `a[..., C, C]` by matrix products alone.

    The coupled iteration of Denman-Beavers type (Higham, Functions of Matrices, 2008, eq. 6.35): with Y = a / |a| and
    Z = I, repeat T = (3 I - Z Y) / 2, Y = Y T, Z = T Z until |Z Y - I| <= `tolerance` |I| (Frobenius norm; by default
    the root of the dtype's eps) or `steps` are done. It converges for positive definite matrices only, and takes the
    longer the worse their condition: so `floor` times the mean eigenvalue is added to the diagonal, or 2 eps |a| where
    that is more: below it, rounding makes eigenvalues negative. Small ones are lifted, not masked as by `sqrtm`. For
    accelerators, on which eigh is slow; on a CPU eigh is faster, and exact.
    """
    size, eps = a.shape[-1], float(jnp.finfo(a.dtype).eps)
    bound = eps**0.5 if tolerance is None else tolerance
    eye = jnp.eye(size, dtype=a.dtype)
    mean = jnp.trace(a, axis1=-2, axis2=-1)[..., None, None] / size
    safe = jnp.where(mean > 0, mean, 1)
    rounding = 2 * eps * jnp.linalg.norm(lax.stop_gradient(a), axis=(-2, -1), keepdims=True)
    lifted = a + jnp.maximum(floor * safe, rounding) * eye
    norm = jnp.linalg.norm(lifted, axis=(-2, -1), keepdims=True)

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        i, y, z, zy = state
        t = (3 * eye - zy) / 2
        y, z = _product(y, t), _product(t, z)
        return i + 1, y, z, _product(z, y)

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        i, _, _, zy = state
        error = jnp.linalg.norm(zy - eye, axis=(-2, -1)) / size**0.5
        return (i < steps) & (error > bound).any()  # so NaN in one matrix does not stop the others

    y = lifted / norm
    _, y, z, _ = lax.while_loop(unfinished, step, (jnp.int32(0), y, jnp.broadcast_to(eye, a.shape), y))
    return y * jnp.sqrt(norm), z / jnp.sqrt(norm)


def lyapunov(root: Array, e: Array, *, tolerance: float | None = None, steps: int = 40) -> Array:
    """The x of root x + x root = e by matrix products alone, of symmetric `e[..., C, C]` and positive definite `root`.

    So root's derivative follows from that of root root. The iteration is Roberts' for the sign of a matrix, on both
    together (Lin and Maji, BMVC 2017): from A = root / |root| and Q = e / |root|, repeat
    Q = (Q (3 I - A A) - A (A Q - Q A)) / 2, A = A (3 I - A A) / 2 until A is I, by the rule of `newton_schulz`; then
    x = Q / 2. It is linear in e, and its own transpose.
    """
    size = root.shape[-1]
    bound = float(jnp.finfo(root.dtype).eps) ** 0.5 if tolerance is None else tolerance
    eye = jnp.eye(size, dtype=root.dtype)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, a, q = state
        t = 3 * eye - _product(a, a)
        q = (_product(q, t) - _product(a, _product(a, q) - _product(q, a))) / 2
        return i + 1, _product(a, t) / 2, q

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        i, a, _ = state
        return (i < steps) & (jnp.linalg.norm(a - eye, axis=(-2, -1)) / size**0.5 > bound).any()

    def solve(_: Callable[[Array], Array], e: Array) -> Array:
        norm = jnp.linalg.norm(root, axis=(-2, -1), keepdims=True)
        return lax.while_loop(unfinished, step, (jnp.int32(0), root / norm, e / norm))[2] / 2

    def both_sides(x: Array) -> Array:
        return _product(root, x) + _product(x, root)

    x: Array = lax.custom_linear_solve(both_sides, e, solve, symmetric=True)
    return x
