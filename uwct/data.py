"""Photographs as a random-access source, and the grain pipeline that feeds training.

Contract: a photograph is `uint8[H, W, 3]`, a batch `uint8[N, crop, crop, 3]`; the same seed gives the same batches.
"""

from pathlib import Path

import grain
import jax
import numpy as np
from PIL import Image

from uwct import images


class PhotographFolder:
    """The pictures below a folder, in the order of their paths."""

    def __init__(self, folder: str | Path) -> None:
        self.paths = images.pictures_in(Path(folder), recursive=True)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.round(images.read(self.paths[index]).rgb * 255).astype(np.uint8)


def open_source(data: str) -> PhotographFolder:
    """Opens `folder:PATH`; raises ValueError for another form or no pictures, FileNotFoundError without folder."""
    kind, _, name = data.partition(":")
    if kind != "folder" or not name:
        raise ValueError(f"data must have the form folder:PATH, not {data!r}")
    return PhotographFolder(name)


def resize_short_side(photograph: np.ndarray, size: int) -> np.ndarray:
    """Resizes `[H, W, 3]` so that its shorter side has `size` pixels."""
    height, width = photograph.shape[:2]
    scale = size / min(height, width)
    shape = max(size, round(width * scale)), max(size, round(height * scale))
    return np.asarray(Image.fromarray(photograph).resize(shape, Image.Resampling.BICUBIC))


def random_crop(photograph: np.ndarray, rng: np.random.Generator, crop: int, short_side: int = 0) -> np.ndarray:
    """A random square of `crop` pixels, flipped half of the time; photographs that are too small are enlarged."""
    short = min(photograph.shape[:2])
    target = max(crop, short_side or short)
    if target != short:
        photograph = resize_short_side(photograph, target)
    top, left = (rng.integers(size - crop + 1) for size in photograph.shape[:2])
    square = photograph[top : top + crop, left : left + crop]
    return square[:, ::-1] if rng.random() < 0.5 else square


def center_crop(photograph: np.ndarray, crop: int) -> np.ndarray:
    """The central square of `crop` pixels; photographs that are too small are enlarged."""
    if min(photograph.shape[:2]) < crop:
        photograph = resize_short_side(photograph, crop)
    top, left = ((size - crop) // 2 for size in photograph.shape[:2])
    return photograph[top : top + crop, left : left + crop]


def train_batches(
    source: PhotographFolder, *, batch: int, crop: int, short_side: int = 0, seed: int = 0, threads: int = 4
) -> grain.DatasetIterator:
    """Endless shuffled batches `uint8[batch, crop, crop, 3]` of this process's share of the source."""
    share = grain.MapDataset.source(source)[jax.process_index() :: jax.process_count()]
    dataset = (
        share.seed(seed)
        .shuffle()
        .repeat()
        .random_map(lambda photograph, rng: random_crop(photograph, rng, crop, short_side))
        .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * batch))
        .batch(batch)
    )
    return iter(dataset)


def evaluation_batches(source: PhotographFolder, *, batch: int, crop: int, count: int = 0) -> grain.DatasetIterator:
    """Central squares of the first `count` photographs (0: of all), in order; the last batch may be smaller."""
    dataset = grain.MapDataset.source(source)
    if count:
        dataset = dataset[:count]
    return iter(dataset.map(lambda photograph: center_crop(photograph, crop)).to_iter_dataset().batch(batch))
