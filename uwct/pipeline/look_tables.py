"""Looks as tables: what a stylized picture does to colors wherever they stand, as a lattice of colors (a "3D LUT").

Each color of the lattice has the affine map of least squares (see photo.py) of the pixels of colors around it; that is
what remains of a photo's maps when places are left out. Programs that grade photos and films read such tables.

Contract: tables are float32 `[N, N, N, 3]` over red, green and blue, RGB in [0, 1].
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from uwct.pipeline.photo import gaussian, regression
from uwct.transforms.statistics import Moments, moments

NODES = 33  # a side, as programs take it
RADIUS = 0.08  # of colors in [0, 1], the standard deviation of the windows
EVERYWHERE = 1e-3  # how much the map of all pixels counts in each window, of all that they count


@jax.jit
def look_table(photo: Array, stylized: Array, weights: Array | None = None) -> Array:
    """The table that takes the colors of a photo `[H, W, 3]` to those of the stylized one.

    `weights[H, W]` in [0, 1] say how far pixels count. Colors that the photo lacks follow those that it has.
    """
    both = jnp.concatenate([photo, stylized], axis=-1).reshape(-1, 6)
    counts = jnp.ones(len(both)) if weights is None else weights.reshape(-1)
    x = both - 0.5  # so that fewer digits cancel
    terms = jnp.concatenate([jnp.ones((len(x), 1)), x, (x[:, :, None] * x[:, None, :]).reshape(-1, 36)], axis=-1)
    red, green, blue = jnp.round(jnp.clip(both[:, :3], 0, 1) * (NODES - 1)).astype(int).T
    lattice = jnp.zeros((NODES, NODES, NODES, 43)).at[red, green, blue].add(counts[:, None] * terms)
    blur = gaussian(NODES, NODES, RADIUS * NODES)
    sums = jnp.einsum("ir,jg,kb,rgbc->ijkc", blur, blur, blur, lattice, precision=lax.Precision.HIGHEST)
    sums += EVERYWHERE * lattice.sum((0, 1, 2))
    weight, mean = sums[..., 0], sums[..., 1:7] / jnp.maximum(sums[..., :1], 1e-9)
    scatter = sums[..., 7:].reshape(*mean.shape, 6) - weight[..., None, None] * mean[..., :, None] * mean[..., None, :]
    whole = regression(moments(both[None], counts[None]), jnp.eye(3))
    maps = regression(Moments(weight, mean + 0.5, scatter), whole.matrix)
    colors = jnp.stack(jnp.meshgrid(*[jnp.linspace(0, 1, NODES)] * 3, indexing="ij"), axis=-1)
    return jnp.einsum("...ij,...j->...i", maps.matrix, colors) + maps.bias


def cube(table: np.ndarray, title: str) -> str:
    """The text of a .cube file (Adobe, "Cube LUT Specification 1.0", 2013): red changes fastest; clipped to [0, 1]."""
    rows = np.clip(np.asarray(table).transpose(2, 1, 0, 3).reshape(-1, 3), 0, 1)
    name = "".join(c if c.isprintable() and c != '"' else "_" for c in title)
    lines = [f'TITLE "{name}"', f"LUT_3D_SIZE {len(table)}", *("{:.6f} {:.6f} {:.6f}".format(*row) for row in rows)]
    return "\n".join(lines) + "\n"
