"""What can be exported."""

from uwct.networks.model import Model
from uwct.pipeline.presets import Preset

TRANSFORMS = ("monge", "wct")
# Less would let eigenvalues spread further than roots by matrix products alone are exact in float32.
LEAST_SHRINKAGE = 0.05


def check(model: Model, look: Preset) -> None:
    """Raises ValueError for levels that the model lacks, and for a look that matrix products alone do not reach."""
    model.check_levels(look.levels)
    if look.transform not in TRANSFORMS:
        raise ValueError(f"the transforms {' and '.join(TRANSFORMS)} can be exported, not {look.transform}")
    if look.shrinkage < LEAST_SHRINKAGE:
        raise ValueError(
            f"roots by matrix products alone need a shrinkage of at least {LEAST_SHRINKAGE}, not {look.shrinkage:g}"
        )
