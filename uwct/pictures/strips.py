"""Pictures of any size in and out by strips, through libvips: what images.py does for those that fit in memory."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from uwct.files import replacing
from uwct.pictures import bounds, images
from uwct.pictures.canvas import Canvas

ROWS = 256  # of a strip
_LOADERS = ("jpegload", "pngload", "webpload", "tiffload", "gifload")  # of libvips, which has others, such as for SVG
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"Q": 95, "subsample_mode": "off"},
    "WEBP": {"Q": 95},
    "TIFF": {"compression": "deflate"},
}


@dataclasses.dataclass(frozen=True)
class LargePicture:
    """A picture on disk.

    Attributes:
      rgb: float32 `[H, W, 3]` in [0, 1].
      alpha: uint8 `[H, W, 1]`, or None for an opaque picture.
      icc_profile: the bytes of the RGB colour profile that the file carried, or None.
    """

    rgb: Canvas
    alpha: Canvas | None = None
    icc_profile: bytes | None = None

    @property
    def size(self) -> str:
        """Width x height, for people."""
        return f"{self.rgb.shape[1]}x{self.rgb.shape[0]}"


def shape(path: Path) -> tuple[int, int] | None:
    """(height, width) of an upright picture, by its header; None for files that are not read by strips.

    Raises bounds.TooManyPixelsError as `images.read` does.
    """
    import pyvips

    try:
        image = _open(path).autorot()
    except (pyvips.Error, ValueError, OSError):
        return None
    bounds.check_pixels(str(path), (image.height, image.width))
    return image.height, image.width


def read(path: Path, folder: Path, long_side: int = 0) -> LargePicture:
    """Reads a picture, upright, with `long_side` pixels on its longer side (0: as it is), onto canvases in a folder.

    Raises ValueError when the file is not a whole picture that libvips can read.
    """
    import pyvips

    try:
        # Row after row, unless the picture must be turned: then libvips decodes it to a file of its own first.
        turned = _open(path).get_typeof("orientation") != 0
        image = _open(path, access="random" if turned else "sequential", fail_on="truncated").autorot()
        bounds.check_pixels(str(path), (image.height, image.width))
        deep = image.format in ("ushort", "short")
        profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
        if image.interpretation not in ("srgb", "rgb", "rgb16"):
            image, profile = image.colourspace("rgb16" if deep else "srgb"), None
        if image.format not in ("uchar", "ushort", "short") or image.bands < 3:
            raise ValueError(f"{path} holds {image.bands} times {image.format}, which cannot be read by strips")
        height, width = image.height, image.width
        rgb = Canvas.create(folder / "rgb.raw", (height, width, 3))
        alpha = Canvas.create(folder / "alpha.raw", (height, width, 1), "uint8") if image.bands > 3 else None
        region = pyvips.Region.new(image)
        for top in range(0, height, ROWS):
            rows = min(ROWS, height - top)
            data = region.fetch(0, top, width, rows)
            strip = np.frombuffer(data, np.uint16 if deep else np.uint8).reshape(rows, width, image.bands)
            values = strip.astype(np.float32) / (65535 if deep else 255)
            rgb.write(top, 0, values[..., :3])
            if alpha:
                alpha.write(top, 0, np.round(values[..., 3:4] * 255).astype(np.uint8))
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as a picture: {reason}") from None
    wanted = images.fitted((height, width), long_side)
    if wanted != (height, width):
        rgb = _resized(rgb, wanted, folder / "rgb_resized.raw")
        alpha = alpha and _resized(alpha, wanted, folder / "alpha_resized.raw")
    return LargePicture(rgb, alpha, profile)


def _open(path: Path, **options: Any) -> Any:
    """The picture as it is stored; raises pyvips.Error, or ValueError for a file of another kind, or none."""
    import pyvips

    images.check_file(path)
    image = pyvips.Image.new_from_file(str(path), revalidate=True, **options)  # it may have been written anew
    if image.get("vips-loader") not in _LOADERS:
        raise ValueError(f"{path} is not a picture in a format that can be read by strips")
    return image


def _resized(canvas: Canvas, shape: tuple[int, int], path: Path) -> Canvas:
    """The same at another (height, width), as `images.resize` computes it, a strip at a time."""
    height, width, channels = canvas.shape
    result = Canvas.create(path, (*shape, channels), canvas.dtype)
    scale = height / shape[0]
    largest = 255 if canvas.dtype == "uint8" else 1
    margin = math.ceil(3 * max(scale, 1)) + 1  # what Lanczos's filter sees
    for top in range(0, shape[0], ROWS):
        bottom = min(top + ROWS, shape[0])
        start, stop = max(0, math.floor(top * scale) - margin), min(height, math.ceil(bottom * scale) + margin)
        strip = canvas.read(slice(start, stop)).astype(np.float32)
        box = (0, top * scale - start, width, bottom * scale - start)
        parts = [
            Image.fromarray(np.ascontiguousarray(strip[..., i])).resize(
                (shape[1], bottom - top), Image.Resampling.LANCZOS, box
            )
            for i in range(channels)
        ]
        values = np.clip(np.stack([np.asarray(part) for part in parts], axis=-1), 0, largest)
        result.write(top, 0, np.round(values) if largest == 255 else values)
    canvas.path.unlink()
    return result


def write(path: Path, picture: LargePicture, folder: Path) -> None:
    """Writes a picture, clipped to [0, 1], in the format of the path's suffix; the file appears whole or not at all.

    JPEG cannot hold alpha: there the picture is laid on white. Raises ValueError for an unknown suffix, or a picture
    too large for its format, OSError when it cannot be written.
    """
    import pyvips

    height, width, _ = picture.rgb.shape
    kind = images.file_format(path)
    images.check_shape(path, (height, width))
    bands = 4 if picture.alpha and kind != "JPEG" else 3
    raw = Canvas.create(folder / "out.raw", (height, width, bands), "uint8")
    for top in range(0, height, ROWS):
        raw.write(top, 0, _strip(picture, slice(top, top + ROWS), bands))
    image = pyvips.Image.rawload(str(raw.path), width, height, bands).copy(interpretation="srgb")
    if picture.icc_profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc_profile)
    try:
        with replacing(path) as temporary:
            image.write_to_file(str(temporary), **_OPTIONS.get(kind, {}))
    except pyvips.Error as error:
        raise OSError(f"{path} cannot be written: {' '.join(str(error).split())}") from None


def _strip(picture: LargePicture, rows: slice, bands: int) -> np.ndarray:
    """Some rows as they are written: uint8 `[h, W, bands]`."""
    rgb = np.clip(picture.rgb.read(rows), 0, 1)
    if picture.alpha is None:
        return np.round(rgb * 255).astype(np.uint8)
    alpha = picture.alpha.read(rows)
    if bands == 3:
        share = alpha / np.float32(255)
        return np.round((rgb * share + (1 - share)) * 255).astype(np.uint8)
    return np.concatenate([np.round(rgb * 255).astype(np.uint8), alpha], axis=-1)
