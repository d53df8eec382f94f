"""Pictures of any size in and out by strips, through libvips: what images.py does for those that fit in memory."""

import dataclasses
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from uwct.files import replacing
from uwct.pictures import bounds, decoding, images
from uwct.pictures.canvas import Canvas
from uwct.pictures.metadata import NOTHING, QUALITY, Metadata, frames_of, kept_by_vips, metadata_of, onto_vips
from uwct.pictures.resolution import take_back

ROWS = 256  # of a strip
_PLAIN = ("JPEG", "PNG", "WEBP", "TIFF")  # which libvips reads as Pillow does, if they hold RGB or grey
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"subsample_mode": "off"}, "TIFF": {"compression": "deflate"}}


@dataclasses.dataclass(frozen=True)
class LargePicture:
    """A picture on disk.

    Attributes:
      rgb: float32 `[H, W, 3]` in [0, 1].
      alpha: float32 `[H, W, 1]` in [0, 1], or None for an opaque picture.
      icc_profile, metadata, depth, frames: those of `images.Picture`.
    """

    rgb: Canvas
    alpha: Canvas | None = None
    icc_profile: bytes | None = None
    metadata: Metadata = NOTHING
    depth: int = 8
    frames: int = 1

    @property
    def size(self) -> str:
        """Width x height, for people."""
        return f"{self.rgb.shape[1]}x{self.rgb.shape[0]}"


def read(path: Path, folder: Path, long_side: int = 0) -> LargePicture:
    """Reads a picture, upright, with `long_side` pixels on its longer side (0: as it is), onto canvases in a folder.

    What libvips would read in another way than images.py does (inks, palettes, other formats) is decoded whole. Raises
    ValueError when the file is not a whole picture.
    """
    with decoding.opened_header(path) as header:
        metadata, frames, orientation = metadata_of(header), frames_of(header), decoding.orientation(header)
    picture = _by_strips(path, folder, orientation) if is_plain(path) else _from_memory(path, folder)
    picture = dataclasses.replace(picture, metadata=metadata, frames=frames)
    return resized(picture, images.fitted(picture.rgb.shape[:2], long_side), folder)


def is_plain(path: Path) -> bool:
    """Whether a picture is read strip by strip, by its header: not what libvips would read in another way."""
    with decoding.opened_header(path) as header:
        if header.format == "PNG" and header.mode == "I;16":
            return True
        plain = header.format in _PLAIN and header.mode in ("RGB", "RGBA", "L") and "transparency" not in header.info
        return plain and decoding.is_unpacked_by_vips(header)


def resized(picture: LargePicture, shape: tuple[int, int], folder: Path) -> LargePicture:
    """The picture at another (height, width), on canvases in a folder, as `images.resize` makes it."""
    if shape == picture.rgb.shape[:2]:
        return picture
    rgb = _resized(picture.rgb, shape, folder / "rgb_resized.raw")
    alpha = picture.alpha
    if alpha is not None:
        products = _resized(_products(picture.rgb, alpha, folder / "products.raw"), shape, folder / "resized.raw")
        alpha = _resized(alpha, shape, folder / "alpha_resized.raw")
    for top in range(0, shape[0], ROWS):
        rows = slice(top, top + ROWS)
        if alpha is None:
            rgb.write(top, 0, np.clip(rgb.read(rows), 0, 1))
            continue
        for canvas, values in zip(
            (rgb, alpha), images.unmultiplied(products.read(rows), alpha.read(rows), rgb.read(rows)), strict=True
        ):
            canvas.write(top, 0, values)
    return dataclasses.replace(picture, rgb=rgb, alpha=alpha)


def _products(rgb: Canvas, alpha: Canvas, path: Path) -> Canvas:
    """Colors times alpha."""
    result = Canvas.create(path, rgb.shape)
    for top in range(0, rgb.shape[0], ROWS):
        rows = slice(top, top + ROWS)
        result.write(top, 0, rgb.read(rows) * alpha.read(rows))
    return result


def _from_memory(path: Path, folder: Path) -> LargePicture:
    """What images.py reads, on canvases."""
    picture = images.read(path)
    rgb = Canvas.create(folder / "rgb.raw", (*picture.rgb.shape[:2], 3))
    rgb.write(0, 0, picture.rgb)
    alpha = None
    if picture.alpha is not None:
        alpha = Canvas.create(folder / "alpha.raw", (*picture.rgb.shape[:2], 1))
        alpha.write(0, 0, picture.alpha[..., None])
    return LargePicture(rgb, alpha, picture.icc_profile, depth=picture.depth)


def _by_strips(path: Path, folder: Path, orientation: int) -> LargePicture:
    """What libvips reads; of faults that it only warns of, Pillow says whether they are harmless.

    That takes a TIFF whole, some 5 bytes a pixel; of a JPEG the pixels are an eighth as wide and high.
    """
    import pyvips

    with suppress(pyvips.Error):
        return _fetched(path, folder, orientation, fail_on="warning")
    # Here, not as that error is handled, which would keep all that libvips had read until then.
    with decoding.opened_header(path) as image:
        image.draft(image.mode, (1, 1))
        image.load()
    try:
        return _fetched(path, folder, orientation, fail_on="error")
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read as a picture: {reason}") from None


def _fetched(path: Path, folder: Path, orientation: int, fail_on: str) -> LargePicture:
    """A picture row after row; raises pyvips.Error for faults from `fail_on` on, by libvips's names."""
    import pyvips

    # Unless the picture must be turned: then libvips decodes it to a file of its own first.
    image = _open(path, access="sequential" if orientation == 1 else "random", fail_on=fail_on)
    image = decoding.turned_by_vips(image, orientation)
    bounds.check_pixels(str(path), (image.height, image.width))
    deep = image.format in ("ushort", "short")
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    if image.interpretation not in ("srgb", "rgb", "rgb16"):
        image, profile = image.colourspace("rgb16" if deep else "srgb"), None
    profile = profile if profile and decoding.is_of_rgb(profile) else None
    if image.format not in ("uchar", "ushort", "short") or image.bands < 3:
        raise ValueError(f"{path} holds {image.bands} times {image.format}, which cannot be read by strips")
    height, width = image.height, image.width
    rgb = Canvas.create(folder / "rgb.raw", (height, width, 3))
    alpha = Canvas.create(folder / "alpha.raw", (height, width, 1)) if image.bands > 3 else None
    region = pyvips.Region.new(image)
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        data = region.fetch(0, top, width, rows)
        strip = np.frombuffer(data, np.uint16 if deep else np.uint8).reshape(rows, width, image.bands)
        values = strip.astype(np.float32) / (65535 if deep else 255)
        rgb.write(top, 0, values[..., :3])
        if alpha:
            alpha.write(top, 0, values[..., 3:4])
    return LargePicture(rgb, alpha, profile, depth=16 if deep else 8)


def _open(path: Path, **options: Any) -> Any:
    """The picture as it is stored; raises pyvips.Error."""
    import pyvips

    return pyvips.Image.new_from_file(str(path), revalidate=True, **options)  # it may have been written anew


def _resized(canvas: Canvas, shape: tuple[int, int], path: Path) -> Canvas:
    """The same at another (height, width), a strip at a time, as it is before `images.resize` clips it."""
    height, width, channels = canvas.shape
    result = Canvas.create(path, (*shape, channels))
    scale = height / shape[0]
    margin = math.ceil(3 * max(scale, 1)) + 1  # what Lanczos's filter sees
    step = max(1, round(ROWS / max(scale, 1)))  # as many rows are read for
    for top in range(0, shape[0], step):
        bottom = min(top + step, shape[0])
        start, stop = max(0, math.floor(top * scale) - margin), min(height, math.ceil(bottom * scale) + margin)
        strip = canvas.read(slice(start, stop))
        box = (0, top * scale - start, width, bottom * scale - start)
        parts = [
            Image.fromarray(np.ascontiguousarray(strip[..., i])).resize(
                (shape[1], bottom - top), Image.Resampling.LANCZOS, box
            )
            for i in range(channels)
        ]
        result.write(top, 0, np.stack([np.asarray(part) for part in parts], axis=-1))
    return result


def write(path: Path, picture: LargePicture, folder: Path, quality: int = QUALITY) -> None:
    """Writes a picture, clipped to [0, 1], in the format of the path's suffix; the file appears whole or not at all.

    All as `images.write` does it. Raises what that raises, and OSError when the file cannot be written.
    """
    import pyvips

    height, width, _ = picture.rgb.shape
    kind = images.file_format(path)
    images.check_shape(path, (height, width))
    bands = 4 if picture.alpha and kind != "JPEG" else 3
    dtype = "uint16" if picture.depth == 16 and kind in ("PNG", "TIFF") else "uint8"
    raw = Canvas.create(folder / "out.raw", (height, width, bands), dtype)
    for top in range(0, height, ROWS):
        raw.write(top, 0, _strip(picture, slice(top, top + ROWS), bands, np.iinfo(dtype).max).astype(dtype))
    form, space = ("ushort", "rgb16") if dtype == "uint16" else ("uchar", "srgb")
    image = pyvips.Image.rawload(str(raw.path), width, height, bands, format=form, interpretation=space)
    image = onto_vips(image.copy(), picture.metadata)
    if picture.icc_profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc_profile)
    try:
        with replacing(path) as temporary:
            options = _OPTIONS.get(kind, {}) | ({"Q": quality} if kind in ("JPEG", "WEBP") else {})
            image.write_to_file(str(temporary), keep=kept_by_vips(picture.metadata), **options)
            if not picture.metadata.dpi:
                with temporary.open("r+b") as file:
                    take_back(file)
    except pyvips.Error as error:
        raise OSError(f"{path} cannot be written: {' '.join(str(error).split())}") from None


def _strip(picture: LargePicture, rows: slice, bands: int, largest: int) -> np.ndarray:
    """Some rows as they are written, with `largest` for white: `[h, w, bands]`."""
    rgb = np.clip(picture.rgb.read(rows), 0, 1)
    if picture.alpha is None:
        return np.round(rgb * largest)
    alpha = picture.alpha.read(rows)
    if bands == 3:
        return np.round((rgb * alpha + (1 - alpha)) * largest)
    return np.round(np.concatenate([rgb, alpha], axis=-1) * largest)
