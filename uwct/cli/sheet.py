"""A photo while it is painted: whole in memory, or in windows on disk. Commands see no difference."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from uwct.cli.masks import read_mask
from uwct.cli.regions import RegionFiles
from uwct.cli.saving import Saving
from uwct.cli.sizes import (
    REFINING_DISK,
    REFINING_WINDOW,
    SMALLEST_WINDOW,
    check_decoding,
    sized,
    tell_frames,
    window_for,
)
from uwct.cli.watching import watched
from uwct.files import hidden_prefix
from uwct.networks.model import Model
from uwct.pictures import images, strips
from uwct.pictures.canvas import Canvas
from uwct.pipeline import photo, refine, refine_windows, whole, windows
from uwct.pipeline.colors import keep_chroma
from uwct.pipeline.level import Settings, check_health
from uwct.pipeline.parts import Parts
from uwct.transforms.affine import Affine
from uwct.transforms.statistics import Moments, merge, moments

# Called with a level, or a number of steps, and the picture after it, in the form that the sheet has them.
After = Callable[[int, Any], None]


class Sheet(Protocol):
    """What is painted on."""

    before: str  # the size of the photo, for people, and of what becomes of it
    after: str
    profile: bytes | None  # of its color space

    def mask(self, files: RegionFiles) -> Any:
        """A region's mask, resized to the photo."""

    def visible(self) -> Any:
        """How far each pixel is seen, by its alpha; None where all are."""

    def colors(self) -> Moments:
        """The moments of the photo's colors, as far as they are seen."""

    def paint(self, parts: Parts, settings: Settings, after: After | None = None) -> Any:
        """The picture after the last level, which `write` takes; `after` is called after each."""

    def refine(
        self, picture: Any, parts: Parts, levels: Sequence[int], vgg: Model, steps: int, after: After | None = None
    ) -> tuple[Any, bool]:
        """A painted picture refined, and whether in all steps; `after` is called with every tenth."""

    def write(self, path: Path, picture: Any, parts: Parts, *, chroma: bool = False) -> None:
        """Writes a picture to a file, with the photo's pixels where parts keep them, and its chroma if asked for."""


class Whole:
    """A photo in memory."""

    def __init__(self, model: Model, picture: images.Picture, before: str, saving: Saving) -> None:
        self._model = model
        self._photo: Any = picture.rgb  # of NumPy, so that it is painted in its bucket
        self._resized, self._saving = picture, saving
        self.before, self.after, self.profile = before, picture.size, picture.icc_profile

    def mask(self, files: RegionFiles) -> Any:
        return read_mask(files.mask, (self._photo.shape[0], self._photo.shape[1]), files.color)

    def visible(self) -> Any:
        return self._resized.alpha

    def colors(self) -> Moments:
        return moments(self._photo, self.visible())

    def paint(self, parts: Parts, settings: Settings, after: After | None = None) -> Any:
        if after is None:
            return whole.painted(self._model, self._photo, parts, settings)
        picture = self._photo
        for level, output, health in whole.stages(self._model, self._photo, parts, settings):
            check_health(level, health)
            picture = output
            after(level, picture)
        return picture

    def refine(
        self, picture: Any, parts: Parts, levels: Sequence[int], vgg: Model, steps: int, after: After | None = None
    ) -> tuple[Any, bool]:
        found, complete = watched(
            refine.refinements(vgg, picture, self._photo, parts, levels, steps), "refining", after
        )
        return found(), complete

    def write(self, path: Path, picture: Any, parts: Parts, *, chroma: bool = False) -> None:
        rgb = whole.finished(picture, self._photo, parts)
        rgb = keep_chroma(rgb, self._photo) if chroma else rgb
        metadata = self._saving.kept(self._resized.metadata)
        result = dataclasses.replace(self._resized, rgb=np.asarray(rgb), metadata=metadata)
        images.write(path, result, self._saving.quality)


class Photographic(Whole):
    """A photo that is painted small, and takes the colors of that on (see pipeline/photo.py)."""

    def __init__(self, model: Model, picture: images.Picture, before: str, saving: Saving) -> None:
        super().__init__(model, images.resize(picture, photo.small_shape(picture.rgb.shape)), before, saving)
        self._picture, self.after = picture, picture.size

    def write(self, path: Path, picture: Any, parts: Parts, *, chroma: bool = False) -> None:
        maps = self._maps(picture, parts, chroma)
        rgb = np.empty_like(self._picture.rgb)
        for top, strip in photo.strips(self._picture.rgb.__getitem__, len(rgb), maps):
            rgb[top : top + len(strip)] = strip
        result = dataclasses.replace(self._picture, rgb=rgb, metadata=self._saving.kept(self._picture.metadata))
        images.write(path, result, self._saving.quality)

    def _maps(self, picture: Any, parts: Parts, chroma: bool) -> Affine:
        rgb = whole.finished(picture, self._photo, parts)
        rgb = keep_chroma(rgb, self._photo) if chroma else rgb
        return photo.color_maps(self._photo, rgb, self.visible())


class LargePhotographic(Photographic):
    """The same of a photo on disk."""

    def __init__(self, model: Model, large: strips.LargePicture, before: str, folder: Path, saving: Saving) -> None:
        small = strips.resized(large, photo.small_shape(large.rgb.shape), folder)
        alpha = None if small.alpha is None else small.alpha.read(slice(None))[..., 0]
        picture = images.Picture(small.rgb.read(slice(None)), alpha, large.icc_profile)
        super().__init__(model, picture, before, saving)
        self._large, self._folder, self.after = large, folder, large.size

    def write(self, path: Path, picture: Any, parts: Parts, *, chroma: bool = False) -> None:
        maps, (height, _, _) = self._maps(picture, parts, chroma), self._large.rgb.shape
        rgb = Canvas.create(self._folder / "mapped.raw", self._large.rgb.shape)
        for top, strip in photo.strips(self._large.rgb.read, height, maps):
            rgb.write(top, 0, strip)
        result = dataclasses.replace(self._large, rgb=rgb, metadata=self._saving.kept(self._large.metadata))
        strips.write(path, result, self._folder, self._saving.quality)


class Windowed:
    """A photo on disk, of which a window at a time is in memory; its files lie in a folder."""

    def __init__(
        self, model: Model, picture: strips.LargePicture, before: str, folder: Path, window: int, saving: Saving
    ) -> None:
        self._model, self._picture, self._folder, self._window = model, picture, folder, window
        self._saving = saving
        self.before, self.after, self.profile = before, picture.size, picture.icc_profile
        self._masks = 0

    def mask(self, files: RegionFiles) -> Any:
        height, width, _ = self._picture.rgb.shape
        canvas = Canvas.create(self._folder / f"mask{self._masks}.raw", (height, width, 1))
        canvas.write(0, 0, read_mask(files.mask, (height, width), files.color)[..., None])
        self._masks += 1
        return canvas

    def visible(self) -> Any:
        return self._picture.alpha

    def colors(self) -> Moments:
        visible = self.visible()

        def of(rows: slice) -> Moments:
            return moments(self._picture.rgb.read(rows), visible.read(rows)[..., 0] if visible else None)

        tops = range(0, self._picture.rgb.shape[0], windows.ROWS)
        return reduce(merge, (of(slice(top, top + windows.ROWS)) for top in tops))

    def paint(self, parts: Parts, settings: Settings, after: After | None = None) -> Any:
        picture, content = self._picture.rgb, self._picture.rgb
        with tqdm(unit="window", leave=False, delay=0.1) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            how: dict[str, Any] = {"folder": self._folder, "window": self._window, "progress": progress}
            for level, output in windows.stages(self._model, content, parts, settings, **how):
                picture = output
                if after:
                    after(level, picture)
        return picture

    def refine(
        self, picture: Any, parts: Parts, levels: Sequence[int], vgg: Model, steps: int, after: After | None = None
    ) -> tuple[Any, bool]:
        folder, window = self._folder / "refining", max(SMALLEST_WINDOW, min(self._window, REFINING_WINDOW))
        folder.mkdir()
        with tqdm(unit="window", leave=False, position=1) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.n = done
                bar.refresh()

            found, complete = watched(
                refine_windows.refinements(
                    vgg, picture, self._picture.rgb, parts, levels, steps,
                    folder=folder, window=window, progress=progress,
                ),
                "refining",
                after,
            )  # fmt: skip
        return found(), complete

    def write(self, path: Path, picture: Any, parts: Parts, *, chroma: bool = False) -> None:
        rgb = windows.finished(picture, self._picture.rgb, parts, self._folder / "finished.raw")
        if chroma:

            def kept(rgb: np.ndarray, photo: np.ndarray) -> np.ndarray:
                return np.asarray(keep_chroma(jnp.asarray(rgb), jnp.asarray(photo)))

            rgb = windows.pointwise(kept, self._folder / "chroma.raw", rgb, self._picture.rgb)
        metadata = self._saving.kept(self._picture.metadata)
        result = dataclasses.replace(self._picture, rgb=rgb, metadata=metadata)
        strips.write(path, result, self._folder, self._saving.quality)


@contextmanager
def laid_out(
    model: Model,
    content: Path,
    output: Path,
    long_side: int,
    tile: str,
    further: int,
    saving: Saving,
    refining: bool = False,
    photographic: bool = False,
) -> Iterator[Sheet]:
    """The photo of a file at a long side in pixels (0: its own), as --tile says; what lies on disk goes in the end.

    Intermediate pictures lie in a hidden folder beside the output; `further` bytes a pixel are needed beside those of
    the levels. Raises what `sizes.sized`, `strips.read` and `windows.stages` raise, OSError also when the disk is too
    small.
    """
    window = window_for(content, long_side, tile, model.config, refining, photographic)
    if not window:
        own, picture = sized(content, "--size", long_side, model.config)
        kind = Photographic if photographic else Whole
        yield kind(model, picture, own.size, saving)
        return
    images.check_folder(output.parent)
    if content == images.STANDARD:
        raise ValueError("a picture from standard input cannot be done in windows: save it to a file")
    found = images.upright_shape(content)
    if not strips.is_plain(content):
        check_decoding(content)
    height, width = images.fitted(found, long_side)
    images.check_shape(output, (height, width))
    further += refining * REFINING_DISK
    needed, free = (40 + further) * height * width, shutil.disk_usage(output.parent).free
    if needed > free:
        raise OSError(
            f"{output} needs {needed / 2**30:.1f} GiB on the disk meanwhile, of which {free / 2**30:.1f} are free"
        )
    folder = tempfile.TemporaryDirectory(dir=output.parent, prefix=hidden_prefix(output), ignore_cleanup_errors=True)
    with folder as name:
        large, before = strips.read(content, Path(name), long_side), f"{found[1]}x{found[0]}"
        tell_frames(content, large.frames)
        if photographic:
            yield LargePhotographic(model, large, before, Path(name), saving)
        else:
            yield Windowed(model, large, before, Path(name), window, saving)
