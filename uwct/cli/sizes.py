"""Pictures at the size that was asked for, as far as it fits in memory."""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from uwct.cli.cache import make_room
from uwct.cli.limits import LARGEST
from uwct.cli.memory import available
from uwct.networks.config import ModelConfig, stride
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.animations import is_animation
from uwct.pipeline import windows

# What decoding needs at most, a pixel: Pillow's picture, turned upright, and two copies in float32.
DECODING = 48
# Pixels a side of the windows of pictures that do not fit in memory, for VGG's channels and for narrow networks.
WINDOW, WINDOW_SMALL = 1024, 1536
# The same for refinement, at most and at least; and the bytes that it needs a pixel, of memory (measured in bfloat16),
# and of the disk beside windows.
REFINING_WINDOW, SMALLEST_WINDOW, REFINING, REFINING_DISK = 512, 256, 7000, 160

# Pixels of a photo that is kept in memory while a small copy of it is painted.
IN_MEMORY = 4_000_000


def bytes_per_pixel(config: ModelConfig) -> int:
    """What a whole picture needs, a pixel: by the first block's channels, in float32, and to spare for its bucket."""
    return 120 + 20 * max(config.blocks[0])


def free_memory() -> int:
    """Bytes that the device has left."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    return available()


def check_memory(name: str, option: str, height: int, width: int, config: ModelConfig) -> None:
    """Raises ValueError for a picture that would not fit in the device's free memory."""
    needed, free = bytes_per_pixel(config) * height * width, free_memory()
    if needed > free:
        side = int(max(height, width) * (free / needed) ** 0.5 * 0.9)
        raise ValueError(
            f"{name} at {width}x{height} pixels needs about {needed / 2**30:.1f} GiB of memory, "
            f"of which {free / 2**30:.1f} are free; make it smaller with {option} {side}"
        )


def check_decoding(path: Path) -> None:
    """Raises ValueError for a picture that there is no memory to decode whole."""
    height, width = images.shape(path)
    needed, free = DECODING * height * width + path.stat().st_size, available()
    if needed > free:
        raise ValueError(
            f"{path} has {width}x{height} pixels and needs about {needed / 2**30:.1f} GiB of memory to be read, "
            f"of which {free / 2**30:.1f} are free"
        )


def read(path: Path) -> images.Picture:
    """The picture of a file, as `images.read` gives it; raises ValueError when there is no memory to decode it."""
    if path != images.STANDARD:
        check_decoding(path)
    return images.read(path)


def sized(path: Path, option: str, long_side: int, config: ModelConfig) -> tuple[images.Picture, images.Picture]:
    """The picture of a file as it is and at a long side in pixels (0: its own), which `option` asked for."""
    picture = read(path)
    shape = images.fitted(picture.rgb.shape[:2], long_side)
    check_memory(str(path), option, *shape, config)
    make_room()
    tell_frames(path, picture.frames)
    return picture, images.resize(picture, shape)


def tell_frames(path: Path, frames: int) -> None:
    """Says that of several frames the first is taken, and what takes them all."""
    if frames > 1:
        others = "; uwct video takes them all" if path != images.STANDARD and is_animation(path) else ""
        print(f"{path} has {frames} frames, of which the first is taken{others}", file=sys.stderr)


def check_tile(tile: str, model: Model, levels: Sequence[int]) -> None:
    """Raises ValueError unless --tile is "auto", "off" or a number of pixels that windows can have at these levels."""
    sides = [2 * windows.halos(model, level)[1] + stride(level) for level in levels]
    least = max([stride(len(model.config.blocks)), *sides])
    if tile not in ("auto", "off") and not (tile.isdecimal() and least <= int(tile) <= LARGEST):
        raise ValueError(
            f'--tile must be "auto", "off" or a number of pixels, at these levels from {least} on, not {tile!r}'
        )


def window_for(
    path: Path, long_side: int, tile: str, config: ModelConfig, refining: bool = False, photographic: bool = False
) -> int:
    """The side in pixels of the windows in which to do a picture, 0 to do it whole; `tile` is what --tile says."""
    if tile == "off" or (tile == "auto" and path == images.STANDARD):
        return 0
    if tile != "auto":
        return int(tile)
    height, width = images.fitted(images.upright_shape(path), long_side)
    if photographic:
        fits = height * width <= IN_MEMORY
    else:
        fits = height * width * (REFINING if refining else bytes_per_pixel(config)) <= free_memory() / 2
    return 0 if fits else WINDOW if max(config.blocks[0]) > 32 else WINDOW_SMALL
