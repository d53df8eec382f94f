"""Pixels and colors out of the bytes of a picture's file, by Pillow, and by libvips where Pillow gives 8 bits of 16.

Contract: what goes wrong with a file becomes a ValueError with its name. Images are Pillow's; channels are float32
`[H, W]` in [0, 1], upright, three or four of them.
"""

import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from uwct.pictures import bounds
from uwct.pictures.chunks import told_late
from uwct.pictures.metadata import BROKEN, LARGEST_CHUNK, ORIENTATION, exif_of

# The decoders that a picture's bytes may reach, by Pillow's names; some of the others start further programs.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000")
_SIGNATURE, _HEIF = 12, (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # a file's first bytes
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS = 258  # a TIFF tag, bits of each channel
_PHOTOMETRIC, _MIN_IS_WHITE = 262, 0  # a TIFF tag, and its value for negatives, which Pillow turns at 8 bits only
# How a TIFF may be compressed, by Pillow's names, for libvips to read it as well.
_COMPRESSIONS = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg")


@contextmanager
def opened_header(path: Path) -> Iterator[Image.Image]:
    """A picture of which the header is read and no pixel; what goes wrong becomes a ValueError."""
    with path.open("rb") as file, one_sentence(str(path), file.read(_SIGNATURE)):
        file.seek(0)
        with open_image(file) as image:
            yield image


def open_image(file: BinaryIO) -> Image.Image:
    """A picture of which no pixel is decoded, and all that its file says is in `info`; raises what Pillow does."""
    image = Image.open(file, formats=formats())
    if image.format == "PNG":
        image.info.update(told_late(file))
    return image


@contextmanager
def opened(data: bytes, name: str) -> Iterator[tuple[Image.Image, bool]]:
    """The loaded, upright image, and whether it is a negative; what goes wrong becomes a ValueError."""
    # From memory: Pillow maps uncompressed TIFFs from their file, and then scrambles those with an orientation.
    with one_sentence(name, data), open_image(io.BytesIO(data)) as image:
        found = orientation(image)  # of a PNG here, as of its header: Pillow may then add blocks that are broken
        image.load()
        found = orientation(image) if image.format == "TIFF" else found  # 1 by then, since Pillow turns it
        negative = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _MIN_IS_WHITE
        turn = _TURNS.get(found)
        yield image if turn is None else image.transpose(turn), negative


@functools.cache
def formats() -> tuple[str, ...]:
    """FORMATS, and HEIF where pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener(thumbnails=False)
    return (*FORMATS, "HEIF")


@contextmanager
def one_sentence(name: str, data: bytes) -> Iterator[None]:
    """Turns what Pillow raises about a file, which begins with `data`, into a ValueError that names it."""
    PngImagePlugin.MAX_TEXT_CHUNK = LARGEST_CHUNK  # not 1 MiB
    try:
        yield
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF and "HEIF" not in formats():
            raise ValueError(
                f'{name} is a HEIC picture, which needs pillow-heif: python -m pip install ".[heic]"'
            ) from None
        raise ValueError(f"{name} is not a picture in a format that can be read") from None
    except Image.DecompressionBombError:
        raise bounds.too_many(name) from None
    except BROKEN as error:
        raise ValueError(f"{name} cannot be read as a picture: {error}") from None


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, whatever else the block holds: 1 where there is none that can be read."""
    try:
        found = int(exif_of(image).get(ORIENTATION, 1))
    except BROKEN:
        return 1
    return found if found in _TURNS else 1


def to_rgba(image: Image.Image, negative: bool) -> tuple[list[np.ndarray], bytes | None]:
    """The channels of an image as float32 `[H, W]` in [0, 1], three or four of them, and its RGB profile."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        grey = _deep_grey(image, negative)
        return [grey] * 3, None
    transparent = image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info
    rgba = image.convert("RGBA") if transparent else image
    if rgba.mode not in ("RGB", "RGBA"):
        rgba = _to_srgb(rgba, profile)
    if profile and not (is_of_rgb(profile) and image.mode in ("RGB", "RGBA", "P")):
        profile = None  # it described grey or ink; some grey is opened as RGBA
    channels = np.asarray(rgba, np.float32) / 255
    return [channels[..., i] for i in range(channels.shape[-1])], profile


def is_of_rgb(profile: bytes) -> bool:
    """Whether a color profile is one of RGB, by its header."""
    return profile[16:20] == b"RGB "


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Grey, CMYK, Lab, ... to RGB: through the picture's own profile where it has one that fits its pixels."""
    if profile and image.mode in ("L", "CMYK", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):  # broken, or of another space than the pixels
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _deep_grey(image: Image.Image, negative: bool) -> np.ndarray:
    """16-bit integers as fractions of 65535, floats as they are; raises ValueError for values beyond those ranges."""
    values = np.asarray(image).astype(np.float32)
    scale = 1.0 if image.mode == "F" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > scale:
        raise ValueError(f"its values run from {values.min():g} to {values.max():g}, beyond 0 to {scale:g}")
    return 1 - values / scale if negative else values / scale


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether a picture of several channels has 16 bits in each, of which Pillow gives 8 and libvips all."""
    if image.format == "PNG":
        return data[24] == 16 and data[25] in (2, 4, 6)  # of the header: bit depth, and a kind with several channels
    bits = getattr(image, "tag_v2", {}).get(_BITS, ())
    return image.format == "TIFF" and image.mode in ("RGB", "RGBA") and set(bits) == {16} and is_unpacked_by_vips(image)


def is_unpacked_by_vips(image: Image.Image) -> bool:
    """Whether libvips knows how the pixels of an open picture are compressed; if not, it may read them as black."""
    return image.format != "TIFF" or image.info.get("compression") in _COMPRESSIONS


def deep_colors(data: bytes, name: str, orientation: int) -> list[np.ndarray]:
    """The channels of a picture of 16 bits, upright, as float32 `[H, W]` in [0, 1], three or four of them."""
    import pyvips

    try:
        image = turned_by_vips(pyvips.Image.new_from_buffer(data, "", fail_on="error"), orientation)
        image = image if image.bands > 2 else image.colourspace("rgb16")
        values = image.numpy().astype(np.float32) / 65535
    except pyvips.Error as error:
        raise ValueError(f"{name} cannot be read as a picture: {' '.join(str(error).split())}") from None
    return [values[..., i] for i in range(min(4, values.shape[-1]))]


def turned_by_vips(image: Any, orientation: int) -> Any:
    """A picture of libvips upright by `orientation`: libvips itself sees none in XMP, and none after a PNG's pixels."""
    import pyvips

    if orientation == 1:
        return image  # one that it has turned libvips keeps a while, with all that was decoded for it
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image.autorot()
