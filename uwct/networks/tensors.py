"""Files of tensors (safetensors), from strangers too: they are data, and what they claim has bounds.

Nothing in such a file is executed. Its header is checked before anything is allocated for it; that its tensors fill the
file side by side, each as long as its shape and type say, the library safetensors checks.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from uwct.files import write_bytes

# What is read; VGG-19 with its decoders has 52 tensors in 0.16 GB.
MOST_BYTES, MOST_HEADER, MOST_TENSORS = 2**31, 2**20, 1000
NUMBERS = ("F16", "F32", "F64")


def write_file(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes tensors and metadata, whole or not at all; raises OSError as `files.replacing` does."""
    write_bytes(path, save(tensors, dict(metadata)))


def read_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors (floats as float32) and the metadata of a safetensors file.

    Raises ValueError for any other file, and for one that is larger than any of ours, before anything is allocated for
    what it claims.
    """
    _check_bounds(path)
    try:
        with safe_open(path, framework="numpy") as file:  # which checks that the tensors fill the file, side by side
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise ValueError(f"{path} holds {len(names)} tensors, more than the {MOST_TENSORS} that are read")
            for name in names:
                if (kind := file.get_slice(name).get_dtype()) not in NUMBERS:
                    raise ValueError(f"{path}: {name} holds {kind}, none of {', '.join(NUMBERS)}")
            with np.errstate(over="ignore"):  # what is not finite is refused by those who know what it should be
                tensors = {name: file.get_tensor(name).astype(np.float32) for name in names}
            metadata = file.metadata() or {}
    except (SafetensorError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from None
    return tensors, metadata


def read_header(path: Path) -> tuple[list[str], dict[str, str]]:
    """The names of the tensors in a safetensors file, and the metadata; raises ValueError for any other file."""
    _check_bounds(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys()), file.metadata() or {}
    except (SafetensorError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from None


def _check_bounds(path: Path) -> None:
    """Raises ValueError for a safetensors file whose size or header is beyond what is read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    for what, found, most in (("bytes", size, MOST_BYTES), ("bytes of header", header, MOST_HEADER)):
        if found > most:
            raise ValueError(f"{path} is not a readable safetensors file: it has {found} {what}; {most} are the most")
