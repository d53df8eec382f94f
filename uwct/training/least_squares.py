"""Linear maps that are solved instead of trained, by least squares over batches of photographs.

The decoder of level 1 is a single linear convolution, so the one that minimises the pixel loss over a set of
photographs is the solution of a linear least-squares problem in 9 C + 1 unknowns a colour; gradient steps reach it only
slowly, because relu1_1's channels are strongly correlated.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.networks.border import pad_border
from uwct.networks.model import Model

# The share of the mean squared input that is added to the diagonal, against directions in which inputs hardly vary.
RIDGE = 1e-7


def solve_linear_decoder(model: Model, batches: Iterator[np.ndarray], steps: int) -> Any:
    """Parameters of decoder 1 that fit `steps` batches `uint8[N, H, W, 3]`."""

    def problem(pictures: Array) -> tuple[Array, Array]:
        return _neighbours(model.encode(pictures, 1)[-1].astype(jnp.float32)), pictures.reshape(-1, 3)

    kernel, bias = fit(problem, batches, steps)
    return {"conv1_1": {"kernel": kernel.reshape(3, 3, -1, 3), "bias": bias}}


def fit(
    problem: Callable[[Array], tuple[Array, Array]], batches: Iterator[np.ndarray], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix `[K, D]` and bias `[D]`, float32, that fit inputs to targets best; sums are float64 on the host.

    `problem` makes inputs `[n, K]` and targets `[n, D]` of pictures `[N, H, W, 3]` in [0, 1]; it is asked for `steps`
    batches `uint8[N, H, W, 3]`.
    """

    @jax.jit
    def normal_equations(pictures: Array) -> tuple[Array, Array]:
        inputs, targets = problem(jnp.asarray(pictures, jnp.float32) / 255)
        inputs = jnp.concatenate([inputs, jnp.ones_like(inputs[:, :1])], axis=1)
        return _product(inputs.T, inputs), _product(inputs.T, targets)

    gram, right = np.zeros(()), np.zeros(())
    for _ in range(steps):
        new_gram, new_right = normal_equations(next(batches))
        gram, right = gram + np.asarray(new_gram, np.float64), right + np.asarray(new_right, np.float64)
    size = len(gram)
    solution = np.linalg.solve(gram + RIDGE * np.trace(gram) / size * np.eye(size), right).astype(np.float32)
    return solution[:-1], solution[-1]


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _neighbours(features: Array) -> Array:
    """The 3x3 neighbourhood of every pixel, row by row: `[N, H, W, C] -> [N H W, 9 C]`."""
    _, height, width, channels = features.shape
    padded = pad_border(features)
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1).reshape(-1, 9 * channels)
