"""Styles by the thousand: encoded when they are first drawn, kept as style files, a few of them in memory."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from safetensors import SafetensorError

from uwct.files import files_in, is_style
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.spaces import in_space
from uwct.pipeline.colors import match_colors
from uwct.pipeline.refine import with_manners
from uwct.pipeline.style_files import encoder_hash, load_style, save_style
from uwct.pipeline.styles import Style, encode_style
from uwct.transforms.statistics import Moments

IN_MEMORY = 128  # styles, of up to 2.3 MiB, or 7.0 with manners
# What reading or encoding a file raises that is no whole style.
UNREADABLE = (ValueError, OSError, FloatingPointError, MemoryError, SafetensorError, jax.errors.JaxRuntimeError)


def style_files(folder: Path) -> list[Path]:
    """The pictures and style files in a folder and its subfolders, sorted; raises ValueError for none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = [p for p in files_in(folder, recursive=True) if is_style(p) or p.suffix.lower() in images.READABLE]
    if not found:
        raise ValueError(f"the folder {folder} holds no styles")
    return sorted(found)


def style_of(path: Path, model: Model, long_side: int, *, vgg: Model | None = None) -> Style:
    """The style in a style file, or of a picture at a long side in pixels (0: its own).

    With `vgg` it can be refined towards. What is transparent does not count. Raises what reading raises.
    """
    if is_style(path):
        return load_style(path, model)
    picture = images.read(path)
    picture = images.resize(picture, images.fitted(picture.rgb.shape[:2], long_side))
    return style_of_picture(in_space(picture), path, model, vgg=vgg)


def style_of_picture(
    picture: images.Picture,
    name: Path,
    model: Model,
    *,
    vgg: Model | None = None,
    weights: Array | None = None,
    colors: Moments | None = None,
    levels: Sequence[int] | None = None,
) -> Style:
    """The style of a picture, at all levels or those given, of which what is transparent does not count.

    With `vgg` it can be refined towards. `weights[H, W]` say how far pixels count beside that, and `colors` are those
    of a photo that it takes on first. Raises ValueError, with the name, for a picture of which nothing is seen.
    """
    rgb: Any = picture.rgb  # of NumPy, so that it is encoded in its bucket
    where: Any = picture.alpha
    if where is not None and not where.any():
        raise ValueError(f"{name} is transparent everywhere, so shows no style")
    if colors is not None:
        rgb = np.asarray(match_colors(rgb, colors, where))
    if weights is not None:
        where = weights if where is None else weights * where
    style = encode_style(model, rgb, where, levels=levels)
    return with_manners(style, vgg, rgb, where) if vgg else style


class StylePool:
    """The styles of pictures and style files, of which any number may be read by any number of processes at once.

    What `encode` makes of a picture is kept in `folder`, so that it is made once: for each model and dtype apart, under
    a hash of the picture's bytes, so that any number of folders of styles may share one. Without a folder none is kept.
    """

    def __init__(
        self, paths: Sequence[Path], model: Model, encode: Callable[[Path], Style], folder: Path | None
    ) -> None:
        self.paths, self._model, self._encode = paths, model, encode
        self._folder = folder and folder / f"{encoder_hash(model)}-{model.dtype}"
        self._get = functools.lru_cache(maxsize=IN_MEMORY)(self._read)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Style:
        """A style; raises what reading or encoding its file raises."""
        return self._get(index)

    def _read(self, index: int) -> Style:
        path = self.paths[index]
        if is_style(path) or self._folder is None:
            return self._encode(path)
        with path.open("rb") as file:
            kept = self._folder / f"{hashlib.file_digest(file, 'sha256').hexdigest()}.safetensors"
        if kept.exists():
            return load_style(kept, self._model)
        style = self._encode(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_style(style, kept, self._model)
        return style


class ReadableStyles:
    """The styles of a pool that can be read.

    Attributes:
      faults: what is wrong with the others, by their index, as far as they were asked for.
    """

    def __init__(self, pool: StylePool) -> None:
        """Raises what is wrong with the last style when none can be read."""
        self.pool = pool
        self.faults: dict[int, BaseException] = {}
        self.readable(0)

    def readable(self, index: int) -> int:
        """The index of a style, or of the next that can be read: the same whoever asks."""
        for step in range(len(self.pool)):
            following = (index + step) % len(self.pool)
            if following in self.faults:
                continue
            try:
                self.pool[following]
            except UNREADABLE as fault:
                self.faults[following] = fault
            else:
                return following
        raise list(self.faults.values())[-1]
