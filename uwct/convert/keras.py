"""Keras's weight files of VGG (HDF5: `.h5` of Keras 1 and 2, `.weights.h5` of Keras 3)."""

import re
from pathlib import Path
from typing import Any

import numpy as np

LAYER = re.compile(r"block\d_conv\d|conv2d(_\d+)?|fc\d|predictions|dense(_\d+)?")
MAGIC = (b"\x89HDF\r\n\x1a\n",)


def read(path: Path) -> dict[str, np.ndarray]:
    """All weights as a state dict as PyTorch would have it: `LAYER.weight` `[out, in, h, w]` and `LAYER.bias`.

    Raises ImportError without h5py, ValueError for a file that is broken or holds other things.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(f'{path} is an HDF5 file; to read it: pip install "uwct[convert]"') from None
    state: dict[str, np.ndarray] = {}
    room = path.stat().st_size  # arrays that claim more are compressed, or lie in one place

    def visit(name: str, item: Any) -> None:
        nonlocal room
        if isinstance(item, h5py.Dataset) and not name.startswith(("optimizer", "model_weights/top_level")):
            _add(path, state, name.split("/"), item, room)
            room -= item.nbytes

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path} is not a whole HDF5 file: {error}") from None
    return state


def _add(path: Path, state: dict[str, np.ndarray], parts: list[str], item: Any, room: int) -> None:
    """Adds a data set of up to `room` bytes; its layer is the last group that is called like one of VGG's."""
    layer = next((part for part in reversed(parts[:-1]) if LAYER.fullmatch(part)), parts[0])
    if item.dtype.kind != "f" or item.external or item.is_virtual or item.nbytes > room:
        raise ValueError(f"{path}: {'/'.join(parts)} is not a plain array of floating-point numbers in the file")
    value = np.asarray(item[()], np.float32)
    part = {4: "weight", 2: "weight", 1: "bias"}.get(value.ndim, parts[-1])
    name = f"{layer}.{part}"
    if name in state:
        name = f"{layer}.{parts[-1]}"
    state[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
