"""Pictures on disk, of which a window at a time is in memory.

A canvas is a raw file of numbers `[H, W, C]`. It is mapped into memory for the moment of one access only, so that its
pages do not add up.
"""

import dataclasses
import errno
import os
import shutil
from pathlib import Path

import numpy as np

from uwct.files import if_supported


@dataclasses.dataclass(frozen=True)
class Canvas:
    """A picture in a file.

    Attributes:
      path: of the file.
      shape: (height, width, channels).
      dtype: NumPy's name of the kind of its numbers.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: str = "float32"

    @classmethod
    def create(cls, path: Path, shape: tuple[int, int, int], dtype: str = "float32") -> "Canvas":
        """A new file of zeros; raises OSError where the disk has no room for it."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        # A disk that fills up under a mapping would end the process (SIGBUS).
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with path.open("wb") as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                with if_supported():
                    os.posix_fallocate(file.fileno(), 0, size)
        return cls(path, shape, dtype)

    def read(self, rows: np.ndarray | slice, columns: np.ndarray | slice = slice(None)) -> np.ndarray:
        """A copy of some rows and columns `[h, w, C]`, each an ascending range or any indices."""
        mapped = np.memmap(self.path, self.dtype, "r", shape=self.shape)
        if isinstance(rows, slice) and isinstance(columns, slice):
            return np.array(mapped[rows, columns])
        return np.asarray(mapped[np.ix_(_indices(rows, self.shape[0]), _indices(columns, self.shape[1]))])

    def write(self, top: int, left: int, values: np.ndarray) -> None:
        """Puts `values[h, w, C]` where their upper left corner is (top, left)."""
        mapped = np.memmap(self.path, self.dtype, "r+", shape=self.shape)
        mapped[top : top + values.shape[0], left : left + values.shape[1]] = values


def _indices(where: np.ndarray | slice, size: int) -> np.ndarray:
    return np.arange(size)[where] if isinstance(where, slice) else where
