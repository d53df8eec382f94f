"""Safetensors files of PyTorch's state dicts, as timm and Hugging Face have them; uwct's own files are none."""

from pathlib import Path

import numpy as np

from uwct.networks.tensors import read_file, read_header


def begins(start: bytes) -> bool:
    """Whether a file with these first 16 bytes may be one: it has a length, then JSON."""
    return start[4:9] == b"\0\0\0\0{"


def is_own(path: Path) -> bool:
    """Whether it is one of uwct, whose tensors are named like paths; False for a broken file."""
    try:
        return any("/" in name for name in read_header(path)[0])
    except ValueError:
        return False


def read(path: Path) -> dict[str, np.ndarray]:
    """All tensors by their names, as float32; raises ValueError for a file that is broken, or uwct's own."""
    if is_own(path):
        raise ValueError(f"{path} is a file of uwct already, which --model takes if it is a model")
    return read_file(path)[0]
