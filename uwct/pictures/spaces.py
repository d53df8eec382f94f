"""Color spaces: pictures moved from the one that their profile names to another. Without a profile it is sRGB."""

import dataclasses
import functools
import io

import numpy as np
from PIL import Image, ImageCms

from uwct.pictures.images import Picture

CREATED = slice(24, 36)  # bytes of a profile that say when it was made
ALIKE = 2 / 255  # colors that differ by no more are one
# Of what makes a profile unusable: broken, or of another space than its picture's pixels.
_UNFIT = (ImageCms.PyCMSError, OSError, ValueError)


@functools.cache
def srgb() -> bytes:
    """The profile of sRGB, for pictures that are to say so; the same bytes at any time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[CREATED] = bytes(CREATED.stop - CREATED.start)
    return bytes(profile)


def in_space(picture: Picture, profile: bytes | None = None) -> Picture:
    """The picture in the color space of a profile, which it then carries; what that space lacks is clipped.

    By 8 bits a channel and the relative colorimetric intent. A profile that is broken counts as sRGB's.
    """
    source, target = own_space(picture.icc_profile), own_space(profile)
    rgb = picture.rgb if source == target else _converted(picture.rgb, source or srgb(), target or srgb())
    return dataclasses.replace(picture, rgb=rgb, icc_profile=profile)


@functools.lru_cache(maxsize=64)
def own_space(profile: bytes | None) -> bytes | None:
    """The profile, or None for one whose colors are those of sRGB, or that cannot be used."""
    if profile is None:
        return None
    steps = np.linspace(0, 1, 9, dtype=np.float32)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    try:
        moved = _converted(colors, profile, srgb())
    except _UNFIT:
        return None
    return profile if np.abs(moved - colors).max() > ALIKE else None


def _converted(rgb: np.ndarray, source: bytes, target: bytes) -> np.ndarray:
    image = Image.fromarray(np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8))
    a, b = (ImageCms.ImageCmsProfile(io.BytesIO(profile)) for profile in (source, target))
    moved = ImageCms.profileToProfile(image, a, b, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB")
    return np.asarray(moved, np.float32) / 255
