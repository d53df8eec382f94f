"""Random styles in the worker processes of PyTorch's DataLoader, new ones in every epoch.

    python examples/augment_with_torch.py

Workers are spawned, not forked: JAX has threads, which a fork would lose.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import tyro

import uwct
from uwct.pictures import images


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to make batches of; the words under each field are its help."""

    photos: Path = Path("examples/photos")
    """A folder of photographs."""
    styles: Path = Path("examples/styles")
    """A folder of style pictures."""
    model: str = "small"
    """The networks."""
    size: int = 96
    """Height and width of every picture in pixels."""
    workers: int = 2
    """How many processes paint."""
    output: Path = Path("batch.png")
    """Where to write the last batch, side by side, to be looked at."""


class Stylized(torch.utils.data.Dataset):
    """The photographs in random styles, half of them left as they are: float32 [3, size, size] in [0, 1]."""

    def __init__(self, arguments: Arguments, epoch: int) -> None:
        self.paths, self.size = images.pictures_in(arguments.photos), arguments.size
        settings = {"seed": epoch, "plain": 0.5, "workers": max(1, arguments.workers)}
        self.stylizer = uwct.Stylizer(arguments.styles, "torch.styles", arguments.model, **settings)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        photo = images.resize(images.read(self.paths[number]), (self.size, self.size)).rgb
        batch = self.stylizer({"key": [self.paths[number].name], "image": photo[None]})
        return torch.from_numpy(batch["image"][0]).permute(2, 0, 1)


def epoch_of(arguments: Arguments, epoch: int) -> Iterator[torch.Tensor]:
    """The batches [N, 3, size, size] of an epoch."""
    return iter(
        torch.utils.data.DataLoader(
            Stylized(arguments, epoch),
            batch_size=4,
            num_workers=arguments.workers,
            multiprocessing_context="spawn" if arguments.workers else None,
        )
    )


if __name__ == "__main__":
    arguments = tyro.cli(Arguments, description=__doc__)
    for batch in epoch_of(arguments, epoch=0):
        images.write(arguments.output, images.Picture(np.concatenate(batch.permute(0, 2, 3, 1).numpy(), axis=1)))
        print(f"a batch {tuple(batch.shape)} -> {arguments.output}")
