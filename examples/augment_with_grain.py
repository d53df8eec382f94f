"""Random styles inside a grain pipeline: batches of photographs whose textures and colors are those of other pictures.

    python examples/augment_with_grain.py

What a network that learns to recognise things would be trained on. `grain.sources.ArrayRecordDataSource`, or
`tfds.data_source("coco/2017", split="train")`, takes the place of the folder here; whatever gives pictures will do.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array

import uwct
from uwct.pictures import images
from uwct.pipeline.styles import stack_styles


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to make batches of; the words under each field are its help."""

    photos: Path = Path("examples/photos")
    """A folder of photographs."""
    styles: Path = Path("examples/styles")
    """A folder of style pictures."""
    size: int = 96
    """Height and width of every picture in pixels."""
    batch: int = 4
    """Pictures a batch."""
    batches: int = 2
    """How many batches to make."""
    output: Path = Path("batch.png")
    """Where to write the last batch, side by side, to be looked at."""


def load(path: Path, size: int) -> np.ndarray:
    """A picture, squeezed to a square: float32 [size, size, 3] in [0, 1]."""
    return images.resize(images.read(path), (size, size)).rgb


def stylized_batches(arguments: Arguments) -> Iterator[Array]:
    """Batches [N, size, size, 3], every picture in a style and of a strength of its own."""
    model = uwct.load("small", dtype="bfloat16")
    paintings = images.pictures_in(arguments.styles)
    styles = stack_styles([uwct.encode_style(model, jnp.asarray(load(path, 256))) for path in paintings])
    augment = jax.jit(lambda key, batch: uwct.augment(key, model, batch, styles, alpha=(0.6, 1.0)))

    photos = (
        grain.MapDataset.source(images.pictures_in(arguments.photos))
        .shuffle(seed=0)
        .repeat()
        .map(lambda path: load(path, arguments.size))
        .batch(arguments.batch)
        .to_iter_dataset()
    )
    for step, batch in zip(range(arguments.batches), photos, strict=False):
        yield augment(jax.random.fold_in(jax.random.key(0), step), batch)


if __name__ == "__main__":
    arguments = tyro.cli(Arguments, description=__doc__)
    for batch in stylized_batches(arguments):
        images.write(arguments.output, images.Picture(np.concatenate(batch, axis=1)))
        print(f"a batch {batch.shape} -> {arguments.output}")
