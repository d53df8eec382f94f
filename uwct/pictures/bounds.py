"""How many pixels a picture may claim to have: a file of a few bytes can claim any number.

The limit is Pillow's own (`PIL.Image.MAX_IMAGE_PIXELS`, which warns, and refuses from twice that on), so that a program
that sets it sets ours.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class TooManyPixelsError(ValueError):
    """A picture has more pixels than may be decoded."""


@contextmanager
def pixel_limit(pixels: int) -> Iterator[None]:
    """Within it, pictures of more than `pixels` are refused, and no others; outside, what Pillow is set to holds."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = (pixels + 1) // 2  # from there on Pillow warns, and from twice that on it refuses
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_pixels(name: str, shape: tuple[int, int]) -> None:
    """Raises TooManyPixelsError for a picture of (height, width) that is beyond the limit."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and shape[0] * shape[1] > 2 * limit:
        raise too_many(name)


def too_many(name: str) -> TooManyPixelsError:
    """The error about a picture that is beyond the limit."""
    limit = 2e-6 * (Image.MAX_IMAGE_PIXELS or 0)
    return TooManyPixelsError(f"{name} is too large: it has more than the limit of {limit:g} million pixels")
