"""Random styles by `datasets.map` of Hugging Face: any of its data sets, with all of its columns.

    python examples/augment_with_datasets.py

`datasets.load_dataset("NAME", split="train")` takes the place of the folder here.
"""

import dataclasses
from pathlib import Path

import datasets
import tyro

import uwct


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to paint; the words under each field are its help."""

    photos: Path = Path("examples/photos")
    """A folder of photographs."""
    styles: Path = Path("examples/styles")
    """A folder of style pictures."""
    output: Path = Path("stylized")
    """The folder to write the data set to."""
    model: str = "small"
    """The networks."""
    size: int = 96
    """Height and width of every picture in pixels."""


def stylized(arguments: Arguments) -> datasets.Dataset:
    """The pictures in random styles, with what was drawn for each; the number of a picture is its key."""
    stylizer = uwct.Stylizer(arguments.styles, f"{arguments.output}.styles", arguments.model)
    photos = datasets.load_dataset("imagefolder", data_dir=str(arguments.photos), split="train")

    def paint(batch: dict, numbers: list[int]) -> dict:
        small = [picture.convert("RGB").resize((arguments.size, arguments.size)) for picture in batch["image"]]
        return stylizer({**batch, "key": numbers, "image": small})

    features = datasets.Features(
        {
            **photos.features,
            "key": datasets.Value("string"),
            "style": datasets.List(datasets.Value("string")),
            "weight": datasets.List(datasets.Value("float32")),
            "strength": datasets.Value("float32"),
            "seed": datasets.Value("int64"),
        }
    )
    return photos.map(paint, with_indices=True, batched=True, batch_size=8, features=features)


if __name__ == "__main__":
    arguments = tyro.cli(Arguments, description=__doc__)
    made = stylized(arguments)
    made.save_to_disk(str(arguments.output))
    print(f"{len(made)} pictures -> {arguments.output}")
