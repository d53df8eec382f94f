"""Styles by the thousand: encoded when they are first drawn, kept as style files, a few of them in memory."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from uwct.networks.model import Model
from uwct.pipeline.style_files import encoder_hash, is_style, load_style, save_style
from uwct.pipeline.styles import Style

IN_MEMORY = 128  # styles, of up to 2.3 MiB


class StylePool:
    """The styles of pictures and style files, of which any number may be read by any number of processes at once.

    What `encode` makes of a picture is kept in `folder`, so that it is made once; a picture that is newer than what is
    kept of it is encoded anew.
    """

    def __init__(
        self, paths: Sequence[Path], model: Model, encode: Callable[[Path], Style], folder: Path, root: Path
    ) -> None:
        """`root` is a folder in which all paths lie; the names in `folder` are theirs, for each model apart."""
        self.paths, self._model, self._encode = paths, model, encode
        self._root, self._folder = root, folder / encoder_hash(model)
        self._get = functools.lru_cache(maxsize=IN_MEMORY)(self._read)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Style:
        """A style; raises what reading or encoding its file raises."""
        return self._get(index)

    def _read(self, index: int) -> Style:
        path = self.paths[index]
        if is_style(path):
            return self._encode(path)
        inside = path.relative_to(self._root)
        kept = self._folder / inside.with_name(f"{inside.name}.safetensors")
        if kept.exists() and kept.stat().st_mtime_ns > path.stat().st_mtime_ns:
            return load_style(kept, self._model)
        style = self._encode(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_style(style, kept, self._model)
        return style
