"""The decoder of level 1, solved instead of trained.

Decoder 1 is a single linear convolution, so the one that minimises the pixel loss over a set of photographs is the
solution of a linear least-squares problem in 9 C + 1 unknowns a colour; gradient steps reach it only slowly, because
relu1_1's channels are strongly correlated.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.layers import pad_border
from uwct.model import Model

# The share of the mean squared input that is added to the diagonal, against directions in which inputs hardly vary.
RIDGE = 1e-7


def solve_linear_decoder(model: Model, batches: Iterator[np.ndarray], steps: int) -> Any:
    """Parameters of decoder 1 that fit `steps` batches `uint8[N, H, W, 3]`; the sums are float64 on the host."""

    @jax.jit
    def normal_equations(pictures: Array) -> tuple[Array, Array]:
        targets = jnp.asarray(pictures, jnp.float32) / 255
        inputs = _neighbours(model.encode(targets, 1)[-1].astype(jnp.float32))
        inputs = jnp.concatenate([inputs, jnp.ones_like(inputs[:, :1])], axis=1)
        return _product(inputs.T, inputs), _product(inputs.T, targets.reshape(-1, 3))

    size = 9 * model.config.blocks[0][0] + 1
    gram, right = np.zeros((size, size)), np.zeros((size, 3))
    for _ in range(steps):
        new_gram, new_right = normal_equations(next(batches))
        gram, right = gram + np.asarray(new_gram, np.float64), right + np.asarray(new_right, np.float64)
    solution = np.linalg.solve(gram + RIDGE * np.trace(gram) / size * np.eye(size), right).astype(np.float32)
    return {"conv1_1": {"kernel": solution[:-1].reshape(3, 3, -1, 3), "bias": solution[-1]}}


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _neighbours(features: Array) -> Array:
    """The 3x3 neighbourhood of every pixel, row by row: `[N, H, W, C] -> [N H W, 9 C]`."""
    _, height, width, channels = features.shape
    padded = pad_border(features)
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1).reshape(-1, 9 * channels)
