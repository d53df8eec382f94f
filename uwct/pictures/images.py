"""Pictures in and out of files: read, resize, keep alpha and colour profile, write.

Contract: `rgb` is float32 `[H, W, 3]` in [0, 1], upright, in the colour space of the profile that is kept beside it
(sRGB without one). Only `write` clips.
"""

import dataclasses
import functools
import io
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from uwct.files import files_in, write_bytes
from uwct.pictures import decoding
from uwct.pictures.metadata import (
    NOTHING,
    QUALITY,
    Metadata,
    for_pillow,
    frames_of,
    kept_by_vips,
    metadata_of,
    onto_vips,
)
from uwct.pictures.resolution import take_back

STANDARD = Path("-")  # stands for standard input and output
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
# What is taken for a picture in a folder: the suffixes of all formats that are decoded.
READABLE = {*SUFFIXES, ".jpe", ".jfif", ".apng", ".gif", ".bmp", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".avif"}
READABLE |= {".heic", ".heics", ".heif", ".heifs", ".hif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"}
LARGEST_STREAM = 2**30  # bytes that standard input may give
_LARGEST = {"JPEG": 65500, "WEBP": 16383}  # pixels a side
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"subsampling": 0},
    "TIFF": {"compression": "tiff_lzw"},
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
      rgb: float32 `[H, W, 3]` in [0, 1].
      alpha: float32 `[H, W]` in [0, 1], or None for an opaque picture.
      icc_profile: the bytes of the RGB colour profile that the file carried, or None.
      metadata: what else the file said.
      depth: bits a channel that the file had, 8 or 16; a file that can hold as many gets them.
      frames: how many the file has, of which this is the first.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    metadata: Metadata = NOTHING
    depth: int = 8
    frames: int = 1

    @property
    def size(self) -> str:
        """Width x height, for people."""
        return f"{self.rgb.shape[1]}x{self.rgb.shape[0]}"


def read(path: str | os.PathLike[str]) -> Picture:
    """Reads a picture of one of `decoding.FORMATS`, upright by its EXIF orientation, the first frame of several.

    The path - is standard input.

    Raises FileNotFoundError, IsADirectoryError, PermissionError, or ValueError when the file is not a whole picture, or
    one of more pixels than the limit; OSError for standard input that is closed.
    """
    path = Path(path)
    if path == STANDARD:
        return decode(standard_input(), "standard input")
    check_file(path)
    return decode(path.read_bytes(), str(path))


def standard_input() -> bytes:
    """All that standard input gives, which is kept, however often it is asked for.

    Raises OSError where it is closed, ValueError where it gives more than LARGEST_STREAM.
    """
    if sys.stdin is None:
        raise OSError("standard input is closed: nothing can be read from it")
    return _all_of(sys.stdin.buffer)


@functools.lru_cache(maxsize=1)
def _all_of(stream: BinaryIO) -> bytes:
    data = stream.read(LARGEST_STREAM + 1)
    if len(data) > LARGEST_STREAM:
        raise ValueError(f"standard input gives more than {LARGEST_STREAM // 2**20} MiB: save it to a file")
    return data


def check_file(path: Path) -> None:
    """Raises FileNotFoundError, IsADirectoryError or ValueError unless a path leads to a file that has an end."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a picture")
    if not path.exists():
        raise FileNotFoundError(f"there is no picture {path}")
    if not path.is_file():
        raise ValueError(f"{path} is a device or a pipe, not a file; give - to read standard input")


def shape(path: Path) -> tuple[int, int]:
    """(height, width) of a picture as it is stored, by its header alone; raises as `read` does for bad headers."""
    check_file(path)
    with decoding.opened_header(path) as image:
        return image.height, image.width


def upright_shape(path: Path) -> tuple[int, int]:
    """(height, width) of a picture as it is read; raises as `shape` does."""
    check_file(path)
    with decoding.opened_header(path) as image:
        lies = decoding.orientation(image) in (5, 6, 7, 8)
        return (image.width, image.height) if lies else (image.height, image.width)


def palette_indices(path: Path) -> np.ndarray:
    """The numbers `uint8[H, W]` of the palette's colors that a picture's pixels have, upright; raises as `read` does.

    Raises ValueError too for a picture without a palette.
    """
    check_file(path)
    with decoding.opened(path.read_bytes(), str(path)) as (image, _):
        indices = np.asarray(image) if image.mode == "P" else None
    if indices is None:
        raise ValueError(f"{path} has no palette whose colors could be counted")
    return indices


def is_lossless(path: Path) -> bool:
    """Whether the format of a picture keeps colors exactly, by the file's header; raises as `shape` does."""
    with decoding.opened_header(path) as image:
        return image.format in ("PNG", "GIF", "BMP", "PPM", "TIFF")


def decode(data: bytes, name: str) -> Picture:
    """The picture in the bytes of a file, as `read` gives it; raises ValueError, with `name`, when there is none."""
    with decoding.one_sentence(name, data), decoding.open_image(io.BytesIO(data)) as file:
        # Before it is turned, which takes what the file says of it away.
        metadata, frames, deep = metadata_of(file), frames_of(file), decoding.is_deep(file, data)
        orientation = decoding.orientation(file)
    with decoding.opened(data, name) as (image, negative):
        rgba, profile = decoding.to_rgba(image, negative)
    rgba = decoding.deep_colors(data, name, orientation) if deep else rgba
    alpha = rgba[3] if len(rgba) == 4 else None
    depth = 16 if deep or image.mode.startswith("I") else 8
    return Picture(np.stack(rgba[:3], axis=-1), alpha, profile, metadata, depth, frames)


def decode_uint8(data: bytes, name: str) -> np.ndarray:
    """The colours alone, `uint8[H, W, 3]`: what `decode` gives, rounded, but fast for ordinary photographs."""
    with decoding.opened(data, name) as (image, _):
        if image.mode == "RGB" and "transparency" not in image.info:
            return np.asarray(image)
    return np.round(decode(data, name).rgb * 255).astype(np.uint8)


def fitted(shape: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(height, width) with `long_side` pixels on the longer side and at least 1 on the other; 0 keeps the shape."""
    height, width = shape
    scale = long_side / max(height, width) if long_side else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(picture: Picture, shape: tuple[int, int]) -> Picture:
    """The picture at another (height, width), by Lanczos interpolation, clipped to [0, 1].

    Colors count by their alpha, so that those of hidden pixels do not fringe what is seen.
    """
    if shape == picture.rgb.shape[:2]:
        return picture

    def resized(array: np.ndarray) -> np.ndarray:
        """Of `[H, W, C]`; beside edges it leaves the range."""
        channels = [Image.fromarray(np.ascontiguousarray(array[..., i])) for i in range(array.shape[-1])]
        lanczos = [channel.resize(shape[::-1], Image.Resampling.LANCZOS) for channel in channels]
        return np.stack([np.asarray(channel) for channel in lanczos], axis=-1)

    rgb = resized(picture.rgb)
    if picture.alpha is None:
        return dataclasses.replace(picture, rgb=np.clip(rgb, 0, 1))
    alpha = picture.alpha[..., None]
    rgb, alpha = unmultiplied(resized(picture.rgb * alpha), resized(alpha), rgb)
    return dataclasses.replace(picture, rgb=rgb, alpha=alpha[..., 0])


def unmultiplied(products: np.ndarray, alpha: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colors `[H, W, 3]` of which the products with alpha `[H, W, 1]` are known, and alpha, both clipped.

    Where nothing is seen the colors are those of `hidden`.
    """
    faint = 0.5 / 255
    colors = np.where(alpha > faint, products / np.maximum(alpha, faint), hidden)
    return np.clip(colors, 0, 1), np.clip(alpha, 0, 1)


def write(path: str | os.PathLike[str], picture: Picture, quality: int = QUALITY) -> None:
    """Writes a picture, clipped to [0, 1], in the format of the path's suffix; the file appears whole or not at all.

    The path - is standard output, which gets PNG. JPEG cannot hold alpha: there the picture is laid on white. Pictures
    of 16 bits stay so in PNG and TIFF. `quality`, 1 to 100, is that of JPEG and WebP. Raises what `file_format`
    raises, ValueError for a picture too large for its format, and OSError when the file cannot be written.
    """
    path = Path(path)
    kind = file_format(path)
    check_shape(path, picture.rgb.shape[:2])
    rgb, alpha = np.clip(picture.rgb, 0, 1), picture.alpha
    if alpha is not None and kind == "JPEG":
        rgb, alpha = rgb * alpha[..., None] + (1 - alpha[..., None]), None
    array = rgb if alpha is None else np.concatenate([rgb, alpha[..., None]], axis=-1)
    if picture.depth == 16 and kind in ("PNG", "TIFF"):
        data = _deep_bytes(array, picture, kind)
    else:
        image, file = Image.fromarray(np.round(array * 255).astype(np.uint8)), io.BytesIO()
        options: dict[str, Any] = {"icc_profile": picture.icc_profile} if picture.icc_profile else {}
        options |= {"quality": quality} if kind in ("JPEG", "WEBP") else {}
        image.save(file, kind, **_SAVE_OPTIONS.get(kind, {}), **options, **for_pillow(picture.metadata, kind))
        data = file.getvalue()
    if path == STANDARD:
        sys.stdout.buffer.write(data)
    else:
        write_bytes(path, data)


def _deep_bytes(array: np.ndarray, picture: Picture, kind: str) -> bytes:
    """A PNG or TIFF of 16 bits a channel."""
    import pyvips

    image = pyvips.Image.new_from_array(np.round(array * 65535).astype(np.uint16)).copy(interpretation="rgb16")
    if picture.icc_profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc_profile)
    options = {"keep": kept_by_vips(picture.metadata)} | ({"compression": "deflate"} if kind == "TIFF" else {})
    found = onto_vips(image, picture.metadata).write_to_buffer({"PNG": ".png", "TIFF": ".tif"}[kind], **options)
    file = io.BytesIO(found)
    if not picture.metadata.dpi:
        take_back(file)
    return file.getvalue()


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The files in a folder, and in its subfolders if `recursive`, that are pictures by their suffix, sorted.

    Of which files is as `files_in` says. Raises ValueError when there are none, FileNotFoundError or NotADirectoryError
    when there is no such folder.
    """
    if not folder.is_dir():
        kind = NotADirectoryError if folder.exists() else FileNotFoundError
        raise kind(f"there is no folder {folder}")
    pictures = sorted(path for path in files_in(folder, recursive=recursive) if path.suffix.lower() in READABLE)
    if not pictures:
        raise ValueError(f"the folder {folder} holds no pictures")
    return pictures


def file_format(path: Path) -> str:
    """Pillow's name of the format that a path's suffix asks for; raises ValueError for one that is not written.

    Raises OSError for standard output that is closed.
    """
    if path == STANDARD:
        if sys.stdout is None:
            raise OSError("standard output is closed: nothing can be written to it")
        return "PNG"
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ValueError(f"{path} must end in one of {', '.join(SUFFIXES)}") from None


def check_shape(path: Path, shape: tuple[int, int]) -> None:
    """Raises ValueError when the format of the path's suffix cannot hold a picture of (height, width)."""
    largest = _LARGEST.get(file_format(path))
    if largest and max(shape) > largest:
        raise ValueError(
            f"{path} would be {shape[1]}x{shape[0]} pixels; {path.suffix} holds {largest} at most: use .png"
        )


def check_folder(folder: Path) -> None:
    """Raises FileNotFoundError, NotADirectoryError or PermissionError unless files can be written into the folder."""
    if not folder.exists():
        raise FileNotFoundError(f"the output folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the output folder {folder} cannot be written to")
