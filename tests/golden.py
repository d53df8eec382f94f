"""The numbers that tests/test_same.py pins; `python tests/golden.py` writes them to tests/golden.npz.

Write them anew only for a change that is meant to change results, and say so in its message.
"""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from conftest import picture

import uwct
from uwct.pipeline.swap import swap

PATH = Path(__file__).parent / "golden.npz"


def numbers() -> dict[str, np.ndarray]:
    """What the library computes of two small pictures, in float32 on the CPU."""
    photo, painting = jnp.asarray(picture(32, 48, 1)), jnp.asarray(picture(40, 40, 2))
    found = {}
    for name in ("vgg16", "small"):
        model = uwct.load(name)
        style = uwct.encode_style(model, painting)
        features = model.encode_all(photo)
        found |= {f"{name} relu{level}_1": features[level][0, :2] for level in (1, 3, 5)}
        found[f"{name} mean at level 4"] = style.moments[4].mean
        affine = uwct.wct(uwct.moments(features[2]), style.moments[2])
        found[f"{name} WCT at level 2"] = affine.matrix[:4]
        for transform in (uwct.wct, uwct.adain, uwct.monge) if name == "small" else (uwct.wct,):
            result = uwct.stylize(model, photo, style, (3, 2, 1), 0.6, transform=transform, shrinkage=0.1)
            found[f"{name} {transform.__name__}"] = result[::4, ::4]
    found["swap"] = swap(features[2][:6, :6], features[2][3:12, 4:12])[1:3, 1:3]
    return {key: np.asarray(value, np.float32) for key, value in found.items()}


if __name__ == "__main__":
    np.savez_compressed(PATH, **numbers())
