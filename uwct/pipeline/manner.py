"""Manners: how a picture is painted, as refinement compares it with a style.

A manner is second moments E[f f^T] (the Gram matrices of Gatys et al., CVPR 2016) of features of VGG-16 and of colors.
Features alone hardly tell grey from nearly grey: a picture that follows them grows colored grain where a painting is
plain. So colors, and how they change from pixel to pixel in every octave, have moments of their own, which are compared
in coordinates in which the style's are white: there, a little color is far from none.

Contract: pictures are float `[H, W, 3]`, RGB in [0, 1], with sides that are multiples of 16; weights are `[H, W]`.
Moments are kept as sums over pixels, so that the manner of a picture is the sum of its windows' (`jax.tree.map`).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from uwct.networks.border import Padding
from uwct.networks.config import stride
from uwct.pipeline.padding import pool
from uwct.transforms.linalg import inv_sqrtm, sqrtm
from uwct.transforms.programs import quick_jit

# How often a picture is halved for each scale at which manners are compared, from coarse to fine.
SCALES = (1, 0)
OCTAVES = 3
# Of the mean variance of a color: below it, colors count as noise of the picture's file.
FAINT, FAINTEST = 0.01, 1e-6
# The color's part of a distance.
COLOR = 1.0


class Manner(struct.PyTreeNode):
    """Sums over a picture's pixels, or a part's.

    Attributes:
      weight: of the pixels' weights.
      features: `{level: [C, C]}`, of f f^T of relu_level_1.
      colors: of the same of (1, red, green, blue), `[4, 4]`, then of the details in each of `OCTAVES`, `[3, 3]`.
    """

    weight: Array
    features: dict[int, Array]
    colors: list[Array]


def manners(
    picture: Array, features: dict[int, Array], shares: Sequence[Array | None], padding: Padding = "reflect"
) -> list[Manner]:
    """The manner of each part of a picture, given its features `{level: [h, w, C]}`; a share of None is all of it."""
    constant = jnp.ones_like(picture[..., :1])
    colors = [jnp.concatenate([constant, picture], -1), *details(picture, padding)]
    sizes = (1, *range(1, OCTAVES + 1))  # the levels whose features are as many as these

    def part(share: Array | None) -> Manner:
        height, width = picture.shape[:2]
        return Manner(
            jnp.float32(height * width) if share is None else share.sum(),
            {level: stride(level) ** 2 * _second(x, pool(share, level)) for level, x in features.items()},
            [stride(level) ** 2 * _second(x, pool(share, level)) for level, x in zip(sizes, colors, strict=True)],
        )

    return [part(share) for share in shares]


@jax.custom_vjp
def _second(x: Array, weights: Array | None) -> Array:
    """The sum over pixels of w f f^T, of features `[h, w, C]` under weights `[h, w]`; None: all 1.

    Its derivative by features is w f (G + G^T), one product, where that of a product of two features would be two.
    """
    weighted = x if weights is None else x * weights[..., None].astype(x.dtype)
    return jnp.einsum("hwc,hwd->cd", weighted, x, preferred_element_type=_wide(x))


def _second_and_arguments(x: Array, weights: Array | None) -> tuple[Array, tuple[Array, Array | None]]:
    return _second(x, weights), (x, weights)


def _second_vjp(arguments: tuple[Array, Array | None], g: Array) -> tuple[Array, Array | None]:
    x, weights = arguments
    both = g + g.T
    unit = jnp.maximum(jnp.abs(both).max(), jnp.finfo(both.dtype).tiny)  # float16 has no numbers as small as both's
    slope = unit * jnp.einsum("hwc,cd->hwd", x, (both / unit).astype(x.dtype), preferred_element_type=_wide(x))
    if weights is None:
        return slope.astype(x.dtype), None
    return (weights[..., None] * slope).astype(x.dtype), (slope * x).sum(-1).astype(weights.dtype) / 2


_second.defvjp(_second_and_arguments, _second_vjp)


def _wide(x: Array) -> Any:
    """What products accumulate in."""
    return jnp.promote_types(x.dtype, jnp.float32)


def details(picture: Array, padding: Padding = "reflect") -> list[Array]:
    """What of a picture `[H, W, C]` each octave adds to the next coarser: `[H, W, C]`, `[H / 2, W / 2, C]`, ..."""
    found = []
    for _ in range(OCTAVES):
        coarse = halved(picture)
        found.append(picture - doubled(coarse, padding))
        picture = coarse
    return found


def halved(picture: Array) -> Array:
    """Means of 2 x 2 pixels: `[H, W, C]` -> `[H / 2, W / 2, C]`."""
    height, width, channels = picture.shape
    return picture.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))


def doubled(picture: Array, padding: Padding = "reflect") -> Array:
    """Linear interpolation: `[H, W, C]` -> `[2 H, 2 W, C]`; each pixel is the mean of four of them."""
    for axis in (0, 1):
        before, after = (_moved(picture, axis, by, padding) for by in (1, -1))
        both = jnp.stack([0.75 * picture + 0.25 * before, 0.75 * picture + 0.25 * after], axis + 1)
        shape = list(picture.shape)
        shape[axis] *= 2
        picture = both.reshape(shape)
    return picture


def _moved(picture: Array, axis: int, by: int, padding: Padding) -> Array:
    """Every pixel's neighbour along an axis: at a border itself, or that of the other border ("wrap")."""
    if padding == "wrap":
        return jnp.roll(picture, by, axis)
    first, last = (lax.slice_in_dim(picture, at, at + 1, axis=axis) for at in (0, picture.shape[axis] - 1))
    if by == 1:
        return jnp.concatenate([first, lax.slice_in_dim(picture, 0, picture.shape[axis] - 1, axis=axis)], axis)
    return jnp.concatenate([lax.slice_in_dim(picture, 1, picture.shape[axis], axis=axis), last], axis)


def manner_distance(found: Manner, wanted: Manner, alphas: dict[int, Array]) -> Array:
    """How far a picture's manner is from a style's, a scalar: the mean over levels, as strong as their alphas say.

    Of features |A - B| / |B|, with the Frobenius norm, as in `judge.evaluation.style_distance`; of colors the same in
    coordinates in which B is I.
    """
    deep = [alpha * _apart(*_both(found, wanted, level)) for level, alpha in alphas.items()]
    octaves = [
        _apart(white @ a @ white, white @ b @ white)
        for a, b, white in (
            (x, y, lax.stop_gradient(inv_sqrtm(y + faint(y))))
            for x, y in zip(*(_means(m, m.colors) for m in (found, wanted)), strict=True)
        )
    ]
    return sum(deep) / len(deep) + COLOR * alphas[min(alphas)] * sum(octaves) / len(octaves)


def _means(manner: Manner, sums: Sequence[Array]) -> list[Array]:
    return [x / jnp.maximum(manner.weight, 1) for x in sums]


def _both(found: Manner, wanted: Manner, level: int) -> list[Array]:
    return [_means(m, [m.features[level]])[0] for m in (found, wanted)]


def faint(second: Array) -> Array:
    """What is added to the second moments of colors before they are whitened."""
    size = second.shape[-1]
    return (FAINT * jnp.trace(second) / size + FAINTEST) * jnp.eye(size)


def _apart(a: Array, b: Array) -> Array:
    """|A - B| / |B|, with a gradient where both are equal."""
    return jnp.sqrt(jnp.square(a - b).sum() / jnp.maximum(jnp.square(b).sum(), 1e-12) + 1e-8)


@quick_jit()
def mix_manners(given: Sequence[Manner], weights: dict[int, Array]) -> Manner:
    """One manner between several: its second moments are the squares of the means of their roots.

    `weights` are shares `[N]` that sum to 1, for each level; colors are mixed as the finest level is.
    """

    def mixed(seconds: list[Array], shares: Array) -> Array:
        root = jnp.einsum("n,nij->ij", shares, jnp.stack([sqrtm(x) for x in seconds]), precision=lax.Precision.HIGHEST)
        return jnp.matmul(root, root, precision=lax.Precision.HIGHEST)

    levels = {level: mixed([_means(m, [m.features[level]])[0] for m in given], w) for level, w in weights.items()}
    colors = [mixed(list(x), weights[min(weights)]) for x in zip(*(_means(m, m.colors) for m in given), strict=True)]
    return Manner(jnp.ones(()), levels, colors)
