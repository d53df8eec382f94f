"""Photographs that stay photographs: the colors of a stylized picture, by maps of colors that change slowly.

A small copy of the photo is stylized. In a window around each place, the moments of its colors and the stylized ones
together give the affine map that takes the ones to the others, as the guided filter does (He et al., 2013). Such maps
know no strokes. Smoothed and interpolated, they are applied to the photo's own pixels, at any size (Chen et al.,
"Bilateral Guided Upsampling", 2016), whose every detail stays.

Contract: pictures are float `[H, W, 3]`, RGB in [0, 1]; results are float32 and not clipped. Maps lie on a grid of
places, `[h, w]`, spread evenly over a picture of any size. All functions are pure and differentiable.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from uwct.networks.model import Model
from uwct.pictures.images import fitted
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import Strength, Wanted, Weights, resolve
from uwct.pipeline.presets import PRESETS
from uwct.pipeline.styles import check_mask, check_picture
from uwct.pipeline.whole import finished, painted
from uwct.transforms.affine import Affine
from uwct.transforms.matching import TRANSFORMS, Transform
from uwct.transforms.statistics import Moments

LOOK = PRESETS["paint"]  # whose colors a photo takes on
SIDE = 512  # pixels, the long side of the small copy
STRIDE = 8  # pixels of the small copy from place to place
RADIUS = 16.0  # the same, the standard deviation of the windows and of their smoothing
WIDE = 4  # times the radius, of windows to whose map that of a window tends
ROWS = 256  # of a photo that are mapped at a time
RIDGE = 1e-3  # a variance of colors: what varies less takes on the map of what is around it, if that adds no contrast


def stylize_photo(
    model: Model,
    photo: Array,
    style: Wanted,
    levels: Sequence[int] = LOOK.levels,
    alpha: Strength = LOOK.alpha,
    *,
    weights: Weights | None = None,
    transform: Transform = TRANSFORMS[LOOK.transform],
    shrinkage: float | Array = LOOK.shrinkage,
) -> Array:
    """Gives a photo `[H, W, 3]` the look of a style, but none of its strokes.

    The arguments, and what is raised, are those of `whole.stylize`; masks of regions have the photo's shape, and say
    where their styles are meant rather than where they end: colors change along the photo's own edges.
    """
    check_picture(photo)
    photo = jnp.asarray(photo, jnp.float32)
    parts = resolve(model, style, levels, alpha, weights)
    for mask in parts.masks:
        check_mask(jnp.shape(mask), photo.shape[:-1])
    parts = parts.replace(masks=[reduced(mask[..., None])[..., 0] for mask in parts.masks])
    small = reduced(photo)
    picture = painted(model, small, parts, Settings(tuple(levels), shrinkage, transform))
    return mapped(photo, color_maps(small, finished(picture, small, parts)))


def reduced(picture: Array) -> Array:
    """The small copy `[h, w, C]` of a picture `[H, W, C]` of values in [0, 1]; one that is small stays as it is."""
    return jnp.clip(jax.image.resize(picture, (*small_shape(picture.shape), picture.shape[2]), "lanczos3"), 0, 1)


def small_shape(shape: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the small copy of a picture of this shape."""
    return fitted((shape[0], shape[1]), min(SIDE, max(shape[:2])))


@jax.jit
def color_maps(photo: Array, stylized: Array, weights: Array | None = None) -> Affine:
    """The maps that give the colors around each place of a photo those of the stylized picture, of the same shape.

    `weights[H, W]` in [0, 1] say how far pixels count.
    """
    return maps_of(windowed(photo, stylized, weights))


def windowed(photo: Array, stylized: Array, weights: Array | None = None) -> Moments:
    """The moments of both pictures' colors together, of 6 channels, in a window around each place `[h, w]`."""
    both = jnp.concatenate([photo, stylized], axis=-1)
    height, width, channels = both.shape
    weight = jnp.ones((height, width)) if weights is None else weights
    pixels = Moments(weight, both, jnp.zeros((height, width, channels, channels)))
    return united(pixels, *(gaussian(places(size), size, RADIUS) for size in (height, width)))


def united(m: Moments, rows: Array, columns: Array) -> Moments:
    """The moments `[i, j]` of sets `[h, w]` united, each counted by `rows[i, h]` times `columns[j, w]`."""
    channels, x = m.mean.shape[-1], m.mean - 0.5  # so that fewer digits cancel
    products = m.scatter + m.weight[..., None, None] * _outer(x, x)
    terms = [m.weight[..., None], m.weight[..., None] * x, products.reshape(*x.shape[:-1], -1)]
    sums = jnp.einsum("ih,jw,hwc->ijc", rows, columns, jnp.concatenate(terms, -1), precision=lax.Precision.HIGHEST)
    weight, mean = sums[..., 0], sums[..., 1 : 1 + channels] / _divisor(sums[..., :1])
    second = sums[..., 1 + channels :].reshape(*mean.shape, channels)
    return Moments(weight, mean + 0.5, second - weight[..., None, None] * _outer(mean, mean))


def maps_of(windows: Moments) -> Affine:
    """The map of each window from photo to stylized colors, by least squares, smoothed over the windows around it.

    Where colors hardly vary it is drawn towards the map of a wider window, and that to the map of the whole picture, so
    that detail stays there too; but no further than to the photo's own contrast, so that grain does not grow.
    """
    height, width = windows.weight.shape
    everywhere = united(windows, jnp.ones((1, height)), jnp.ones((1, width)))
    wide = united(windows, *(gaussian(size, size, WIDE * RADIUS / STRIDE) for size in (height, width)))
    maps = Affine(jnp.eye(3), jnp.zeros(3))
    for m in (everywhere, wide, windows):
        contrast = jnp.abs(maps.matrix).sum(-1).max(-1)[..., None, None]  # at most so many times that of the photo
        maps = regression(m, maps.matrix / jnp.maximum(contrast, 1))
    rows, columns = (gaussian(size, size, RADIUS / STRIDE) for size in (height, width))
    counted = jnp.concatenate([windows.weight[..., None], windows.weight[..., None] * flattened(maps)], axis=-1)
    sums = jnp.einsum("ih,jw,hwc->ijc", rows, columns, counted, precision=lax.Precision.HIGHEST)
    return unflattened(sums[..., 1:] / _divisor(sums[..., :1]))


def regression(m: Moments, prior: Array) -> Affine:
    """The affine map from the first three channels to the last three, of least squares with a ridge around `prior`."""
    cov = m.scatter / _divisor(m.weight)[..., None, None]
    own, cross = cov[..., :3, :3] + RIDGE * jnp.eye(3), cov[..., 3:, :3] + RIDGE * prior
    matrix = jnp.matmul(cross, inverse(own), precision=lax.Precision.HIGHEST)
    return Affine(matrix, m.mean[..., 3:] - jnp.einsum("...ij,...j->...i", matrix, m.mean[..., :3]))


@jax.jit
def mapped(rows: Array, maps: Affine, top: Array | int = 0, height: Array | int | None = None) -> Array:
    """Rows `[n, W, 3]` of a photo, the first of which is its row `top` of `height`, by its maps; all by default."""
    n, width = rows.shape[:2]
    down = interpolation(maps.bias.shape[0], top + jnp.arange(n), n if height is None else height)
    across = interpolation(maps.bias.shape[1], jnp.arange(width), width)
    here = unflattened(jnp.einsum("xw,nwc->nxc", across, jnp.einsum("nh,hwc->nwc", down, flattened(maps))))
    return jnp.einsum("nxij,nxj->nxi", here.matrix, rows) + here.bias


def flattened(maps: Affine) -> Array:
    """The 12 numbers of each map, `[h, w, 12]`."""
    return jnp.concatenate([maps.matrix.reshape(*maps.bias.shape[:-1], 9), maps.bias], axis=-1)


def unflattened(numbers: Array) -> Affine:
    """The maps of `flattened`."""
    return Affine(numbers[..., :9].reshape(*numbers.shape[:-1], 3, 3), numbers[..., 9:])


def strips(
    read: Callable[[slice], np.ndarray], height: int, maps: Affine, rows: int = ROWS
) -> Iterator[tuple[int, np.ndarray]]:
    """A photo of `height` rows, which `read` gives, mapped strip by strip: each with the number of its first row.

    All have as many rows, so that one program does them: the last ones overlap.
    """
    rows = min(rows, height)
    for top in [*range(0, height - rows, rows), height - rows]:
        yield top, np.asarray(mapped(read(slice(top, top + rows)), maps, top, height))


def places(size: int) -> int:
    """How many places of the grid lie along a side of the small copy."""
    return -(-size // STRIDE)


def gaussian(count: int, size: int, radius: float) -> Array:
    """The weights `[count, size]` of a side's pixels in windows around so many places, `radius` in pixels."""
    at = (jnp.arange(count)[:, None] + 0.5) * size / count
    return jnp.exp(-0.5 * jnp.square((jnp.arange(size) + 0.5 - at) / radius))


def interpolation(count: int, pixels: Array, size: Array | int) -> Array:
    """The weights `[pixels, count]` by which `pixels` of a side of `size` interpolate linearly between places."""
    at = jnp.clip((pixels + 0.5) * count / size - 0.5, 0, count - 1)
    return jnp.maximum(0, 1 - jnp.abs(at[:, None] - jnp.arange(count)))


def inverse(a: Array) -> Array:
    """The inverses of symmetric matrices `[..., 3, 3]`, by cofactors: a batch of LAPACK's would take longer."""
    x, y, z = (a[..., i] for i in range(3))
    cofactors = jnp.stack([jnp.cross(y, z), jnp.cross(z, x), jnp.cross(x, y)], axis=-1)
    return cofactors / jnp.sum(x * cofactors[..., 0], axis=-1)[..., None, None]


def _outer(a: Array, b: Array) -> Array:
    return a[..., :, None] * b[..., None, :]


def _divisor(weight: Array) -> Array:
    return jnp.where(weight > 0, weight, 1)
