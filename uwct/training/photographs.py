"""Photographs to train on, as random-access sources: folders, and data sets of tensorflow-datasets.

Contract: a source has a length; `source[i]` is `uint8[H, W, 3]`, or raises ValueError naming a photograph that cannot
be read. `identity` says which photographs these are, so that a resumed run can tell whether they are the same.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from uwct.pictures import images


class Photographs(Protocol):
    """What the input pipeline needs of a source."""

    @property
    def identity(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class PhotographFolder:
    """The pictures below a folder, in the order of their paths."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.paths = images.pictures_in(self.folder, recursive=True)

    @property
    def identity(self) -> str:
        """The number of photographs, and a digest of their names and sizes in bytes."""
        listing = "\n".join(f"{path.relative_to(self.folder).as_posix()} {path.stat().st_size}" for path in self.paths)
        digest = hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
        return f"{len(self)} pictures, {digest[:12]}"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        path = self.paths[index]
        try:
            return images.decode_uint8(path.read_bytes(), str(path))
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None


class TfdsPhotographs:
    """The pictures of a split of a data set of tensorflow-datasets, decoded by ourselves so that bad ones are named."""

    def __init__(self, name: str, split: str, data_dir: str | None = None) -> None:
        """Downloads and prepares the data set where that is not done yet, for which TensorFlow is needed.

        Raises ValueError for an unknown data set or split, one without pictures or stored in a format without random
        access; ImportError, saying what to install, when TensorFlow is needed and missing.
        """
        import tensorflow_datasets as tfds  # here, since it takes a second and folders need none of it
        from tensorflow_datasets.core.file_adapters import FileFormat

        try:
            builder = tfds.builder(name, data_dir=data_dir)
            self._key = _picture_feature(builder.info.features, tfds.features.Image, name)
            decoders = {self._key: tfds.decode.SkipDecoding()}
            if builder.is_prepared() and builder.info.file_format not in FileFormat.with_random_access():
                raise ValueError(
                    f"the data set {name} is stored as {builder.info.file_format.value}, which cannot be read in any "
                    "order: prepare it as array_record, for example in another folder (--data-dir)"
                )
            self._source: Sequence[Any] = tfds.data_source(
                name,
                split=split,
                data_dir=data_dir,
                decoders=decoders,
                builder_kwargs={"file_format": FileFormat.ARRAY_RECORD},
            )
        except tfds.core.DatasetNotFoundError:
            raise ValueError(f"tensorflow-datasets knows no data set called {name}, and none is prepared") from None
        except ImportError as error:
            raise ImportError(
                f'preparing the data set {name} needs TensorFlow: pip install "uwct[train]" ({error})'
            ) from None
        self._name, self.identity = name, f"{builder.info.full_name} {split}, {len(self)} pictures"

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> np.ndarray:
        return images.decode_uint8(self._source[index][self._key], f"picture {index} of {self._name}")


def _picture_feature(features: Any, kind: type, name: str) -> str:
    """The name of the first feature that is a picture."""
    for key, feature in features.items():
        if isinstance(feature, kind):
            return str(key)
    raise ValueError(f"the data set {name} holds no pictures, but: {', '.join(features)}")


def open_source(data: str, split: str = "train", data_dir: str | None = None) -> Photographs:
    """Opens `folder:PATH`, or a split of a data set of tensorflow-datasets, which it looks for in `data_dir`.

    Raises ValueError, FileNotFoundError or ImportError as the two sources do.
    """
    kind, _, folder = data.partition(":")
    if kind == "folder" and folder:
        return PhotographFolder(folder)
    if not data or data.endswith(":") or Path(data).exists():
        raise ValueError(f"data must be folder:PATH or the name of a data set of tensorflow-datasets, not {data!r}")
    return TfdsPhotographs(data, split, data_dir)
