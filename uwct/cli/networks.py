"""The options that say which networks compute, shared by the commands that stylize."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from uwct.networks.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from uwct.networks.model import Model


@dataclasses.dataclass(frozen=True)
class Networks:
    """A model, and what it computes in; the words under each field are its help."""

    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = DEFAULT_MODEL
    """The networks: small or vgg16 (wider, slower), which come with this program, authors or
    collaborative-distillation, which uwct fetch brings, or a model file that uwct train wrote."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the networks compute in; 16 bits are faster on GPUs, TPUs and some CPUs, at a small loss of accuracy: "auto"
    takes bfloat16 where this device is fast with it, else float32."""

    def load(self, levels: tuple[int, ...] = ()) -> "Model":
        """The model; raises ValueError for a level that it cannot decode, or what `model.load` raises."""
        from uwct.cli.dtypes import dtype_for  # with JAX, for which options and help do not wait
        from uwct.networks.model import load

        model = load(self.model, dtype=dtype_for(self.dtype))
        model.check_levels(levels)
        return model
