"""Pictures at the size that was asked for, as far as it fits in memory."""

from pathlib import Path

import jax
import psutil

from uwct import images

# What the widest layers of VGG need on the CPU, measured at 2 megapixels in float32 (1,280), and some to spare.
BYTES_PER_PIXEL = 1400
LARGEST = 2**31 - 1


def check_size(option: str, side: int) -> None:
    """Raises ValueError for a number of pixels that no picture has; 0 stands for a picture's own size."""
    if not 0 <= side <= LARGEST:
        raise ValueError(f"{option} must lie between 0 and 2^31, not {side}")


def check_memory(name: str, option: str, height: int, width: int) -> None:
    """Raises ValueError for a picture that would not fit in this computer's free memory (on a GPU, JAX says so)."""
    needed, free = BYTES_PER_PIXEL * height * width, psutil.virtual_memory().available
    if jax.default_backend() == "cpu" and needed > free:
        side = int(max(height, width) * (free / needed) ** 0.5 * 0.9)
        raise ValueError(
            f"{name} at {width}x{height} pixels needs about {needed / 2**30:.1f} GiB of memory, "
            f"of which {free / 2**30:.1f} are free; make it smaller with {option} {side}"
        )


def sized(path: Path, option: str, long_side: int) -> tuple[images.Picture, images.Picture]:
    """The picture of a file as it is and at a long side in pixels (0: its own), which `option` asked for."""
    picture = images.read(path)
    shape = images.fitted(picture, long_side)
    check_memory(str(path), option, *shape)
    return picture, images.resize(picture, shape)
