"""Winograd's convolution (Lavin and Gray, CVPR 2016): tiles of neighbouring outputs from fewer products than taps.

F(m, r), which gives m outputs of r taps from m + r - 1 products, is by Toom and Cook's algorithm for any m and r:
polynomials are multiplied by their values at points, and a correlation is the transpose of that. F(m, r) of rows by
F(n, s) of columns gives tiles of m x n outputs.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

# Rows and columns of a tile of outputs.
Tile = tuple[int, int]
# Of tiles' elements, [i][j]: those in the i-th rows and j-th columns of all tiles.
Parts = list[list[Array]]


class Matrices(NamedTuple):
    """F(m, r): m outputs `outputs @ ((kernels @ k) * (inputs @ x))` of taps `k[r]` and `x[m + r - 1]`.

    Attributes:
      inputs: `[m + r - 1, m + r - 1]`.
      kernels: `[m + r - 1, r]`.
      outputs: `[m, m + r - 1]`.
    """

    inputs: Any
    kernels: Any
    outputs: Any


def matrices(outputs: int, taps: int) -> Matrices:
    """F(outputs, taps) by the points 0, 1, -1, 1/2, -2, as many as it takes, and infinity.

    All five round less than the usual 0, 1, -1, 2, -2 (compare Barabasz et al., "Error analysis and improving the
    accuracy of Winograd convolution for deep neural networks").
    """
    points = np.array([0, 1, -1, 1 / 2, -2])[: outputs + taps - 2]
    others = [np.delete(points, i) for i in range(len(points))]
    scales = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)] + [1])[:, None]
    # Polynomials that are 0 at all points but one (the last: but infinity), their terms from the constant on.
    zeros_at = [np.atleast_1d(np.poly(zeros))[::-1] for zeros in (*others, points)]
    lagrange = np.stack([np.pad(terms, (0, len(points) + 1 - len(terms))) for terms in zeros_at])

    def values(terms: int) -> Any:  # of polynomials of so many terms; at infinity it is the last's factor
        return np.vstack([np.vander(points, terms, increasing=True), np.eye(terms)[-1:]])

    return Matrices(np.sign(scales) * lagrange, values(taps) / np.abs(scales), values(outputs).T)


def correlate(x: Array, kernel: Parts, tile: Tile, product: Callable[[Array, Array], Array]) -> Parts:
    """Correlates `x[N, H + r - 1, W + s - 1, C]` with r x s taps `[C, D]`: `[N, H / m, W / n, D]` for a tile (m, n).

    `product` is of pixels `[N, H / m, W / n, C]` and a sum of taps. H is a multiple of m, W of n.
    """
    taps = len(kernel), len(kernel[0])
    down, along = map(matrices, tile, taps)
    inputs = _transformed(_strided(x, taps, tile), down.inputs, along.inputs)
    kernels = _transformed(kernel, down.kernels, along.kernels)
    products = [list(map(product, *rows)) for rows in zip(inputs, kernels, strict=True)]
    return _transformed(products, down.outputs, along.outputs)


def _strided(x: Array, taps: tuple[int, int], tile: Tile) -> Parts:
    """The pixels that outputs of tiles are made of."""
    (rows, columns), (high, wide) = taps, tile
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    return [
        [x[:, i : i + height : high, j : j + width : wide] for j in range(wide + columns - 1)]
        for i in range(high + rows - 1)
    ]


def _transformed(parts: Parts, down: Any, along: Any) -> Parts:
    """`down @ parts @ along.T`."""
    rows = [_combined(along, row) for row in parts]
    columns = [_combined(down, column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _combined(matrix: Any, parts: Iterable[Array]) -> list[Array]:
    return [reduce(jnp.add, (_times(c, x) for c, x in zip(row, parts, strict=True) if c)) for row in matrix]


def _times(factor: float, x: Array) -> Array:
    return x if factor == 1 else -x if factor == -1 else float(factor) * x
