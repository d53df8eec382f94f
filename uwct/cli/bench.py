"""Pairs of pictures tried on a model, and measured as what others made of them is."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from uwct.cli.encoding import encode_file
from uwct.cli.errors import FAULTS, sentence
from uwct.cli.photo_painter import Painter
from uwct.cli.refining import Refining
from uwct.cli.sizes import read, sized
from uwct.cli.watching import observer
from uwct.judge.evaluation import SMALLEST, content_distance, load_judge, statistics, style_distance
from uwct.judge.pairs import Pair
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.images import Picture
from uwct.pictures.spaces import in_space
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style
from uwct.transforms.statistics import Moments

JUDGES = {"vgg16": "VGG-16", "alexnet": "AlexNet"}
KINDS = ("style distance", "LPIPS")
MEASURES = [f"{kind} ({judge})" for judge in JUDGES.values() for kind in KINDS]


@dataclasses.dataclass(frozen=True)
class Made:
    """What somebody made of a pair.

    Attributes:
      shown: the picture, as small as the sheet shows it.
      distances: in the order of MEASURES.
      seconds: that it took; None for others' pictures.
    """

    shown: Picture
    distances: list[float]
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Result:
    """A pair, what was made of it by whom, and a sentence about whatever could not be."""

    pair: Pair
    photo: Picture
    painting: Picture
    made: dict[str, Made]
    faults: list[str]


class Bench:
    """What pairs are tried on: a model, the judges, two long sides in pixels, and what becomes of painted pictures.

    `photographic` leaves them photographs. Results and styles are judged at `size` (0: their own), and kept at `cell`,
    for a contact sheet.
    """

    def __init__(self, model: Model, size: int, cell: int, refining: Refining, photographic: bool = False) -> None:
        self._model, self._size, self._cell = model, size, cell
        self._vgg = observer(refining, model.dtype)
        self._painter = Painter(model, self._vgg, refining.steps, photographic)
        self._judges = [load_judge(name) for name in JUDGES]

    def run(
        self, pairs: Sequence[Pair], looks: Mapping[str, Preset], others: Mapping[str, Mapping[Pair, Path]]
    ) -> Iterator[Result]:
        """Tries every pair in every look, and measures what others made of it; style by style.

        Photos and styles are read, and styles encoded, once: all looks have one `style_size`.
        """
        photos = {path: judged(path, self._size, self._model) for path in {pair.content: None for pair in pairs}}
        small = {path: self._reduced(photo) for path, photo in photos.items()}
        (style_size,) = {look.style_size for look in looks.values()}
        for path, group in groupby(sorted(pairs, key=lambda pair: pair.style), key=lambda pair: pair.style):
            painting = judged(path, self._size, self._model)
            references = [statistics(judge, jnp.asarray(painting.rgb)) for judge in self._judges]
            style, shown = encode_file(path, self._model, style_size, vgg=self._vgg), self._reduced(painting)
            for pair in group:
                photo, result = photos[pair.content], Result(pair, small[pair.content], shown, {}, [])
                for name in (*looks, *others):
                    try:
                        if name in looks:
                            picture, seconds = self._stylized(photo, style, looks[name])
                        else:
                            picture, seconds = fitted_to(photo, others[name][pair]), None
                        distances = self._measure(references, photo, picture)
                    except FAULTS as fault:
                        result.faults.append(f"{pair.content} in the manner of {path} by {name}: {sentence(fault)}")
                    else:
                        result.made[name] = Made(self._reduced(picture), distances, seconds)
                yield result

    def _reduced(self, picture: Picture) -> Picture:
        """As small as the sheet shows it, so that thousands fit in memory."""
        height, width = picture.rgb.shape[:2]
        return images.resize(picture, images.fitted((height, width), min(self._cell, max(height, width))))

    def _stylized(self, photo: Picture, style: Style, look: Preset) -> tuple[Picture, float | None]:
        """The stylized photo, clipped, and the seconds that it took."""
        start = time.perf_counter()
        picture = self._painter.paint(photo, [style], look)
        return dataclasses.replace(picture, rgb=np.clip(picture.rgb, 0, 1)), time.perf_counter() - start

    def _measure(self, references: list[list[Moments]], photo: Picture, picture: Picture) -> list[float]:
        """Style and content distance by each judge, in the order of MEASURES."""
        numbers, (a, b) = [], (jnp.asarray(photo.rgb), jnp.asarray(picture.rgb))
        for judge, reference in zip(self._judges, references, strict=True):
            numbers.append(float(style_distance(statistics(judge, b), reference)))
            numbers.append(float(content_distance(judge, a, b)))
        return numbers


def judged(path: Path, long_side: int, model: Model) -> Picture:
    """A picture at a long side in pixels (0: its own); raises ValueError when it is too small to be judged."""
    _, picture = sized(path, "--size", long_side, model.config)
    check_judged(path, (picture.rgb.shape[0], picture.rgb.shape[1]))
    return in_space(picture)


def check_judged(path: Path, shape: tuple[int, int]) -> None:
    """Raises ValueError for a picture that at this (height, width) is too small to be judged."""
    if min(shape) < SMALLEST:
        size = "{1}x{0}".format(*shape)
        raise ValueError(f"{path} at {size} pixels is too small to be judged: {SMALLEST} are needed a side")


def fitted_to(photo: Picture, path: Path) -> Picture:
    """The picture of a file at the photo's size."""
    return images.resize(read(path), (photo.rgb.shape[0], photo.rgb.shape[1]))
