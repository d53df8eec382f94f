"""How near converted models come to the pictures that their own projects made of the same weights.

    uwct convert FOLDER_OF_WEIGHTS --output converted.safetensors
    python benchmarks/parity.py --model converted.safetensors --reference reference.npz --prefix cd16x

The reference holds `content` and `style` (uint8 HWC) and, float32 HWC before any clipping, `PREFIX/levelX/alpha1` (WCT
at level X alone, alpha 1), `PREFIX/levelX/reconstruction` (alpha 0), `PREFIX/levels54321/alpha0.6` (levels in turn).
The table names the largest absolute difference of a pixel, where 1 is white.
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from uwct import load
from uwct.pipeline import compat


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to compare; the words under each field are its help."""

    model: Path
    """A model that `uwct convert` wrote."""
    reference: Path
    """The other project's pictures, an .npz file."""
    prefix: str
    """What stands before their names."""
    pooling: Literal["floor", "ceil"] = "floor"
    """How that project pools odd sizes."""
    divisor: Literal["n-1", "n"] = "n-1"
    """What that project divides covariances by."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model = load(arguments.model)
    convention = compat.Convention(arguments.pooling, arguments.divisor)
    with np.load(arguments.reference, allow_pickle=False) as reference:
        content, style = (reference[name].astype(np.float32) / 255 for name in ("content", "style"))
        print("| picture | largest difference |\n| --- | --- |")
        for name in sorted(reference):
            match = re.fullmatch(rf"{arguments.prefix}/levels?(\d+)/(?:alpha([\d.]+)|reconstruction)", name)
            if match:
                levels, alpha = [int(digit) for digit in match[1]], float(match[2] or 0)
                ours = compat.stylize(model, content, style, levels, alpha, convention=convention)
                print(f"| {name} | {np.abs(np.asarray(ours) - reference[name]).max():.1e} |")


if __name__ == "__main__":
    main()
