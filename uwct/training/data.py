"""The grain pipeline that feeds training: shuffle, share between processes, decode, resize, crop, flip, batch.

Contract: a photograph is `uint8[H, W, 3]`, a batch `uint8[N, crop, crop, 3]`; the same seed gives the same batches.
"""

import threading

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding
from PIL import Image

from uwct.training.photographs import Photographs

SLIMMEST = 16  # of a photograph's longer side, in its shorter


def resize_short_side(photograph: np.ndarray, size: int) -> np.ndarray:
    """Resizes `[H, W, 3]` so that its shorter side has `size` pixels."""
    height, width = photograph.shape[:2]
    scale = size / min(height, width)
    shape = max(size, round(width * scale)), max(size, round(height * scale))
    return np.asarray(Image.fromarray(photograph).resize(shape, Image.Resampling.BICUBIC))


def without_ends(photograph: np.ndarray, start: float) -> np.ndarray:
    """A photograph `[H, W, 3]`, its longer side cut to `SLIMMEST` times the shorter.

    Of what goes, the share `start` in [0, 1] lies before what stays. Enlarged whole, a strip of a few pixels would take
    gigabytes.
    """
    longest = SLIMMEST * min(photograph.shape[:2])
    for axis in (0, 1):
        first = round(start * max(0, photograph.shape[axis] - longest))
        photograph = photograph[first : first + longest] if axis == 0 else photograph[:, first : first + longest]
    return photograph


def random_crop(photograph: np.ndarray, rng: np.random.Generator, crop: int, short_side: int = 0) -> np.ndarray:
    """A random square of `crop` pixels, flipped half of the time; photographs that are too small are enlarged."""
    short = min(photograph.shape[:2])
    target = max(crop, short_side or short)
    if max(photograph.shape[:2]) > SLIMMEST * short:
        photograph = without_ends(photograph, rng.random())
    if target != short:
        photograph = resize_short_side(photograph, target)
    top, left = (rng.integers(size - crop + 1) for size in photograph.shape[:2])
    square = photograph[top : top + crop, left : left + crop]
    return square[:, ::-1] if rng.random() < 0.5 else square


def center_crop(photograph: np.ndarray, crop: int) -> np.ndarray:
    """The central square of `crop` pixels; photographs that are too small are enlarged."""
    if min(photograph.shape[:2]) < crop:
        photograph = without_ends(photograph, 0.5)
        photograph = resize_short_side(photograph, crop)
    top, left = ((size - crop) // 2 for size in photograph.shape[:2])
    return photograph[top : top + crop, left : left + crop]


class Reader:
    """Reads this process's share of a source, and remembers what cannot be read instead of failing.

    The share is every n-th photograph where n processes read; of the first `count` photographs, or of all (0).

    Attributes:
      identity: which photographs all processes read together.
      faults: what is wrong with each unreadable photograph met so far, by its number in the source.
    """

    def __init__(self, source: Photographs, count: int = 0) -> None:
        """Raises ValueError for fewer photographs than processes."""
        count = min(count or len(source), len(source))
        if count < jax.process_count():
            raise ValueError(f"{count} photographs cannot be shared between {jax.process_count()} processes")
        self._source, self._lock = source, threading.Lock()
        self.identity = f"{count} of {source.identity}"
        self._numbers = range(jax.process_index(), count, jax.process_count())
        self.faults: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(self, index: int) -> np.ndarray | None:
        """A photograph of the share, or None; raises ValueError when none of the share can be read."""
        number = self._numbers[index]
        try:
            return self._source[number]
        except ValueError as error:
            with self._lock:
                self.faults[number] = str(error)
            if len(self.faults) == len(self):
                raise ValueError(f"none of {len(self)} photographs can be read: {error}") from None
            return None


def train_batches(
    reader: Reader,
    *,
    batch: int,
    crop: int,
    short_side: int = 0,
    seed: int = 0,
    threads: int = 4,
    styles: Reader | None = None,
) -> grain.IterDataset:
    """Endless shuffled batches `uint8[batch, crop, crop, 3]`, every photograph once before any comes again.

    With `styles`, each photograph comes with one of these, chosen at random: `uint8[batch, 2, crop, crop, 3]`. What
    cannot be read is passed over; since the shares repeat for ever, no process runs out of data before another.
    """

    def crop_of(index: int, rng: np.random.Generator) -> np.ndarray | None:
        photograph = reader(index)
        return None if photograph is None else random_crop(photograph, rng, crop, short_side)

    def pair_of(index: int, rng: np.random.Generator) -> np.ndarray | None:
        assert styles is not None
        pair = [reader(index), styles(int(rng.integers(len(styles))))]
        found = [random_crop(picture, rng, crop, short_side) for picture in pair if picture is not None]
        return np.stack(found) if len(found) == len(pair) else None

    return (
        grain.MapDataset.range(len(reader))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(pair_of if styles else crop_of)
        .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * batch))
        .batch(batch)
    )


def on_device(batches: grain.IterDataset, sharding: NamedSharding) -> grain.DatasetIterator:
    """The batches, split over the devices and moved there ahead of time; its position is that of the last one taken."""
    devices = sharding.num_devices
    split = batches.map(lambda pictures: pictures.reshape(devices, -1, *pictures.shape[1:]))
    return iter(grain.experimental.device_put(split, sharding))


def evaluation_batches(reader: Reader, *, batch: int, crop: int) -> grain.IterDataset:
    """Central squares `uint8[N, crop, crop, 3]` of the reader's photographs, in order; the last batch may be smaller.

    What cannot be read is passed over.
    """

    def crop_of(index: int) -> np.ndarray | None:
        photograph = reader(index)
        return None if photograph is None else center_crop(photograph, crop)

    return grain.MapDataset.range(len(reader)).map(crop_of).to_iter_dataset().batch(batch)
