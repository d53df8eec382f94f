"""Batches of pictures in random styles, as a callable that any program for data can hand to its workers.

What is drawn for a picture follows from a seed and the picture's key alone, never from its place, its neighbours or the
worker: so work can be split, repeated and gone on with. Workers receive the settings, and load model and styles when
they first need them.

Contract: pictures are `uint8[H, W, 3]`, or float in [0, 1], of any sizes; results are of the same dtype and size.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from uwct.datasets.cores import take_share
from uwct.networks.config import DEFAULT_MODEL
from uwct.networks.model import Model, backbone, load
from uwct.pipeline.augment import Draw, as_drawn_on_canvas, draw, parts_of
from uwct.pipeline.level import COARSE_TO_FINE, Settings
from uwct.pipeline.padding import STRIDE
from uwct.pipeline.presets import PRESETS
from uwct.pipeline.refine import refined
from uwct.pipeline.style_pool import ReadableStyles, StylePool, style_files, style_of
from uwct.pipeline.styles import Style, stack_styles
from uwct.transforms.matching import TRANSFORMS

TOLD = ("style", "weight", "strength", "seed")  # the columns of what was drawn
MOST = 10_000  # of copies, styles mixed, pictures at once and processes, all of which are planned before work begins


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What was drawn for one picture of the result.

    Attributes:
      styles: names of files in the folder of styles; none for a picture that is left as it is.
      weights: the share of each, which sum to 1.
      strength: from 0 (as it is) to 1 (all style).
      seed: that of all that is drawn.
    """

    styles: list[str]
    weights: list[float]
    strength: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Stylizer:
    """Paints batches of pictures in random styles.

    `stylizer({"key": [...], "image": [...], ...})` gives the same columns, stylized, and the columns `style`, `weight`,
    `strength` and `seed` of what was drawn. It is small to pickle.

    Attributes:
      styles: the folder of style pictures and style files, tens of thousands if need be.
      store: a folder where styles are kept once they were encoded, which all workers may share; None keeps none.
      model: a name or a model file, as `load` takes them.
      dtype: what its convolutions compute in: "float32", "bfloat16" or "float16".
      seed: that of all that is drawn, from 0 to 2^32 - 1; another for each epoch, say.
      copies: results for each picture; of several, the keys are KEY_0, KEY_1 and so on.
      mixed: styles that are mixed for each result, with shares drawn at random.
      alpha: the range of strengths.
      plain: the share of results that are left as they are, in [0, 1].
      preset: a name in `PRESETS`, whose levels, transform, shrinkage and size of styles replace those below; its
        strengths are multiplied with those drawn.
      levels: which to run; from the deepest to the shallowest.
      transform: a name in `TRANSFORMS`.
      shrinkage: as for `stylize`.
      style_size: long side in pixels to which style pictures are resized; 0 keeps them.
      refine_steps: steps by which every result is then refined (see refine.py), which takes seconds each; 0 for none.
      grid: pictures are padded to multiples of so many pixels, and those of one padded size share compiled programs; a
        multiple of 16, with which nothing changes. With more, brushwork at lower and right edges does.
      together: pictures of one padded size that are painted at once, which is faster on GPUs. With more than 1 the last
        bits of a result may depend on its neighbours.
      workers: processes that paint side by side on each computer. Of more than 1, each keeps to its part of the cores
        (on Linux, and where nothing else started JAX before), on which depends how sums are rounded.
      encode: makes a style of (path, model, style_size, vgg=encoder or None).
    """

    styles: Path | str
    store: Path | str | None = None
    model: str = DEFAULT_MODEL
    dtype: str = "float32"
    _: dataclasses.KW_ONLY
    seed: int = 0
    copies: int = 1
    mixed: int = 1
    alpha: tuple[float, float] = (0.6, 1.0)
    plain: float = 0.0
    preset: str | None = None
    levels: Sequence[int] = COARSE_TO_FINE
    transform: str = "monge"
    shrinkage: float = 0.3
    style_size: int = 512
    refine_steps: int = 0
    grid: int = STRIDE
    together: int = 1
    workers: int = 1
    encode: Callable[..., Style] = dataclasses.field(default=style_of, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError for settings that cannot be."""
        low, high = self.alpha
        for name in ("copies", "mixed", "together", "workers"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} must lie between 1 and {MOST}, not {getattr(self, name)}")
        if not 0 <= low <= high <= 1:
            raise ValueError(f"alpha must be two numbers from 0 to 1, the smaller first, not {low:g} {high:g}")
        for name in ("plain", "shrinkage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name):g}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie between 0 and 2^32, not {self.seed}")
        if self.refine_steps < 0:
            raise ValueError(f"refine_steps must not be negative, but is {self.refine_steps}")
        if self.grid < STRIDE or self.grid % STRIDE:
            raise ValueError(f"grid must be a multiple of {STRIDE}, not {self.grid}")
        for name, given, known in (
            ("preset", self.preset, [*PRESETS, None]),
            ("transform", self.transform, TRANSFORMS),
        ):
            if given not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {given!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch in random styles.

        Args:
          batch: columns of one length: `key` of strings or integers, `image` an array `[N, H, W, 3]` or a sequence of
            pictures, and any others, which are repeated for each copy.

        Raises:
          ValueError: no such columns, or of several lengths, or with a name of `TOLD`; what is no picture; a level that
            the model cannot decode; no styles.
          FileNotFoundError: no folder of styles, or no model.
        """
        missing = [name for name in ("key", "image") if name not in batch]
        if missing:
            raise ValueError(f"a batch needs the columns key and image; it has: {', '.join(batch)}")
        check_columns(batch, "the batch")
        if len(lengths := {len(column) for column in batch.values()}) > 1:
            raise ValueError(f"the columns of a batch must have one length, not {sorted(lengths)}")
        keys, pictures = [str(key) for key in batch["key"]], list(map(checked, batch["image"]))
        painted = self.paint(keys, pictures)
        drawn = [one for of_picture, _ in painted for one in of_picture]
        others = {
            name: _repeated(column, self.copies) for name, column in batch.items() if name not in ("key", "image")
        }
        return {
            "key": [name for key in keys for name in self.names(key)],
            "image": _alike([picture for _, results in painted for picture in results], batch["image"]),
            **others,
            "style": [one.styles for one in drawn],
            "weight": [one.weights for one in drawn],
            "strength": np.array([one.strength for one in drawn], np.float32),
            "seed": np.array([one.seed for one in drawn], np.int64),
        }

    def names(self, key: str) -> list[str]:
        """The keys of a picture's results."""
        return [key] if self.copies == 1 else [f"{key}_{i}" for i in range(self.copies)]

    def paint(self, keys: Sequence[str], pictures: Sequence[np.ndarray]) -> list[tuple[list[Drawn], list[np.ndarray]]]:
        """For each picture `[H, W, 3]`, what was drawn for its copies, and these; raises as `__call__` does."""
        draws = [self.draw(key) for key in keys]
        results: list[Any] = [None] * len(keys)
        groups: dict[tuple[int, int], list[int]] = {}
        for i, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            groups.setdefault((height + -height % self.grid, width + -width % self.grid), []).append(i)
        for shape, members in groups.items():
            for first in range(0, len(members), self.together):
                chosen = members[first : first + self.together]
                some = self._painted([pictures[i] for i in chosen], [draws[i] for i in chosen], shape)
                for i, result in zip(chosen, some, strict=True):
                    results[i] = result
        return [(self._told(drawn), result) for drawn, result in zip(draws, results, strict=True)]

    def draw(self, key: str) -> Draw:
        """What is drawn for the copies of a picture, of styles that can be read; strength 0 leaves it as it is."""
        take_share(self.workers)
        random = picture_key(self.seed, key)
        drawn = jax.tree.map(np.asarray, draw(random, self.copies, len(self.pool), self.alpha, self.mixed))
        plain = np.asarray(jax.random.uniform(jax.random.fold_in(random, 1), (self.copies,))) < self.plain
        styles = np.vectorize(self.readable.readable)(drawn.styles)
        return drawn._replace(styles=styles, strengths=np.where(plain, 0, drawn.strengths).astype(np.float32))

    @property
    def pool(self) -> StylePool:
        """All styles."""
        return self.readable.pool

    @functools.cached_property
    def readable(self) -> ReadableStyles:
        """The styles, loaded at first use; raises what reading them raises if none can be read."""
        take_share(self.workers)
        folder, size = Path(self.styles), self._look.style_size
        paths = style_files(folder)

        def encode(path: Path) -> Style:
            return self.encode(path, self._model, size, vgg=self._vgg)

        kept = f"size{size}" + ("-refine" if self.refine_steps else "")
        store = Path(self.store) / kept if self.store else None
        return ReadableStyles(StylePool(paths, self._model, encode, store))

    @functools.cached_property
    def _model(self) -> Model:
        model = load(self.model, dtype=self.dtype)
        model.check_levels(self._look.settings.levels)
        return model

    @functools.cached_property
    def _vgg(self) -> Model | None:
        return backbone("vgg16").replace(dtype=self.dtype) if self.refine_steps else None

    @functools.cached_property
    def _look(self) -> "_Look":
        if self.preset:
            preset = PRESETS[self.preset]
            settings = Settings(preset.levels, preset.shrinkage, TRANSFORMS[preset.transform])
            return _Look(settings, preset.alpha, preset.style_size)
        levels = tuple(sorted(self.levels, reverse=True))
        return _Look(
            Settings(levels, self.shrinkage, TRANSFORMS[self.transform]), (1.0,) * len(levels), self.style_size
        )

    def _painted(
        self, pictures: list[np.ndarray], draws: list[Draw], shape: tuple[int, int]
    ) -> Iterator[list[np.ndarray]]:
        """The copies of each of up to `together` pictures that fit on a canvas of (height, width)."""
        spare = self.together - len(pictures)  # so that there is one program, however many there are
        rows = [(p, d) for p, d in zip([*pictures, *pictures[:1] * spare], [*draws, *draws[:1] * spare], strict=True)]
        canvas: Any = np.zeros((len(rows) * self.copies, *shape, 3), np.float32)
        for i, (picture, _) in enumerate(rows):
            place = slice(i * self.copies, (i + 1) * self.copies)
            canvas[place, : picture.shape[0], : picture.shape[1]] = as_float(picture)
        sizes = np.repeat([picture.shape[:2] for picture, _ in rows], self.copies, axis=0)
        drawn: Any = jax.tree.map(lambda *parts: np.concatenate(parts), *(d for _, d in rows))
        if drawn.strengths.any():
            chosen = [stack_styles([self.pool[index] for index in column]) for column in drawn.styles.T]
            how = (chosen, drawn, self._look.settings, self._look.shares)
            results = np.asarray(as_drawn_on_canvas(self._model, canvas, sizes, *how))
        else:
            results = canvas
        for i, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            cut = results[i * self.copies : (i + 1) * self.copies, :height, :width]
            yield [self._finished(picture, result, draws[i], copy) for copy, result in enumerate(cut)]

    def _finished(self, picture: np.ndarray, result: np.ndarray, drawn: Draw, copy: int) -> np.ndarray:
        """A copy as it is given: refined if that is asked for, in the dtype of the picture."""
        if not drawn.strengths[copy]:
            return picture
        if self.refine_steps:
            assert self._vgg is not None
            styles = [self.pool[index] for index in drawn.styles[copy]]
            one = Draw(drawn.styles[copy], drawn.weights[copy], drawn.strengths[copy])
            parts, levels = parts_of(styles, one, self._look.shares), self._look.settings.levels
            content = jnp.asarray(as_float(picture))
            result = np.clip(refined(self._vgg, jnp.asarray(result), content, parts, levels, self.refine_steps), 0, 1)
        result = np.asarray(result)
        return np.round(255 * result).astype(np.uint8) if picture.dtype == np.uint8 else result.astype(picture.dtype)

    def _told(self, drawn: Draw) -> list[Drawn]:
        folder = Path(self.styles)
        told = []
        for styles, weights, strength in zip(*drawn, strict=True):
            names = [self.pool.paths[index].relative_to(folder).as_posix() for index in styles]
            if not strength:
                names, weights = [], np.zeros(0)
            told.append(Drawn(names, weights.tolist(), float(strength), self.seed))
        return told


@dataclasses.dataclass(frozen=True)
class _Look:
    settings: Settings
    shares: tuple[float, ...]
    style_size: int


def picture_key(seed: int, key: str) -> Array:
    """The random key of a picture by its own key: whoever does it draws the same."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(key.encode(errors="surrogateescape")))


def check_columns(names: Iterable[str], of: str) -> None:
    """Raises ValueError where one of the names is needed for what was drawn."""
    if taken := sorted(set(TOLD) & set(names)):
        raise ValueError(f"{of} already has a column {taken[0]}, where what was drawn would stand: rename it")


def checked(picture: Any) -> np.ndarray:
    """A picture as an array `[H, W, 3]`, grey ones in three channels; raises ValueError for what is none."""
    array = np.asarray(picture)
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 1):
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] != 3 or not array.size or array.dtype.kind not in "uf":
        raise ValueError(f"a picture must be uint8 or float [H, W, 3], not {array.dtype}{list(array.shape)}")
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        raise ValueError(f"a picture of integers must be uint8, not {array.dtype}")
    return array


def as_float(picture: np.ndarray) -> np.ndarray:
    """In [0, 1], float32."""
    return picture.astype(np.float32) / np.float32(255 if picture.dtype == np.uint8 else 1)


def _repeated(column: Any, copies: int) -> Any:
    """Each entry as often as there are copies; an array stays one."""
    if isinstance(column, np.ndarray):
        return np.repeat(column, copies, axis=0)
    return [entry for entry in column for _ in range(copies)]


def _alike(results: list[np.ndarray], given: Any) -> Any:
    """Results as one array where the pictures came as one."""
    return np.stack(results) if isinstance(given, np.ndarray) and given.dtype != object and results else results


def batches(examples: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Examples in lists of up to `size`."""
    batch: list[dict[str, Any]] = []
    for example in examples:
        batch.append(example)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
