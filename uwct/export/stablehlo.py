"""What `pipeline.whole.stylize` does, as StableHLO, which JAX runs without uwct, and other compilers read.

Contract: pictures are float32 `[height, width, 3]`, RGB in [0, 1], whose sides are multiples of 16 pixels, 32 or more,
found out when they are there; results are not clipped. Strengths are the last argument, one a level.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, export

from uwct.export.look import check
from uwct.networks.model import Model
from uwct.pipeline.padding import STRIDE
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style
from uwct.transforms.matching import monge, wct
from uwct.transforms.statistics import Moments, moments, shrink

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def painter(model: Model, look: Preset, style: Style | None = None) -> export.Exported:
    """The program of `(photo, style, alphas)`, or of `(photo, alphas)` for a style that is given.

    Raises ValueError for levels that the model lacks, and for a look that matrix products alone do not reach.
    """
    check(model, look)
    names = ("h", "w") if style else ("h", "w", "sh", "sw")
    sides = export.symbolic_shape(
        ", ".join(f"{STRIDE}*{name}" for name in names), constraints=[f"{name} >= 2" for name in names]
    )
    pictures = [jax.ShapeDtypeStruct((*sides[i : i + 2], 3), jnp.float32) for i in range(0, len(sides), 2)]
    strengths = jax.ShapeDtypeStruct((len(look.levels),), jnp.float32)

    def program(photo: Array, *others: Array) -> Array:
        *shown, alphas = others
        known = style.moments if style else {lv: moments(model.encode(shown[0], lv)[-1]) for lv in look.levels}
        return paint(model, look, photo, [known[level] for level in look.levels], alphas)

    return export.export(jax.jit(program), platforms=PLATFORMS)(*pictures, strengths)


def paint(model: Model, look: Preset, photo: Array, targets: Sequence[Moments], alphas: Array) -> Array:
    """All levels of a look, each towards its target."""
    transform = {"monge": monge, "wct": wct}[look.transform]
    for number, (level, target) in enumerate(zip(look.levels, targets, strict=True)):
        features = model.encode(photo, level)[-1]
        own, wanted = shrink(moments(features), look.shrinkage), shrink(target, look.shrinkage)
        affine = transform(own, wanted, method="newton-schulz").blend(alphas[number])
        photo = model.decode(affine.apply(features), level).astype(jnp.float32)
    return photo
