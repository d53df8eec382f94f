"""The options on how large pictures may be, and what no picture can be."""

from contextlib import AbstractContextManager
from typing import Annotated

import tyro

from uwct.pictures import bounds

LARGEST = 2**31 - 1  # what pixels a side, and megapixels, may be asked for
# Megapixels of a picture, unless --max-megapixels says otherwise: Pillow would stop at 179.
MEGAPIXELS = 500
MaxMegapixels = Annotated[float, tyro.conf.arg(name="max-megapixels", metavar="NUMBER")]


def check_size(option: str, side: int) -> None:
    """Raises ValueError for a number of pixels that no picture has; 0 stands for a picture's own size."""
    if not 0 <= side <= LARGEST:
        raise ValueError(f"{option} must lie between 0 and 2^31, not {side}")


def pixel_limit(megapixels: float) -> AbstractContextManager[None]:
    """Within it no picture of more than --max-megapixels is decoded; raises ValueError for an impossible number."""
    if not 0 < megapixels <= LARGEST:
        raise ValueError(f"--max-megapixels must lie between 0 and 2^31, not {megapixels:g}")
    return bounds.pixel_limit(round(megapixels * 1e6))
