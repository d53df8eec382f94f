"""Random styles by Ray Data: a folder of pictures, spread over the processes of one machine or of a cluster.

    python examples/augment_with_ray.py

Every actor loads the networks once and keeps them; what is drawn for a picture follows from its name, whoever paints
it. Instead of a folder, `ray.data.read_parquet` or `read_webdataset` will do.
"""

import dataclasses
from pathlib import Path

import ray
import tyro

import uwct


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to paint; the words under each field are its help."""

    photos: Path = Path("examples/photos")
    """A folder of photographs."""
    styles: Path = Path("examples/styles")
    """A folder of style pictures."""
    output: Path = Path("stylized.parquet")
    """The folder of Parquet files to write."""
    model: str = "small"
    """The networks."""
    size: int = 96
    """Height and width of every picture in pixels."""
    workers: int = 2
    """How many processes paint at once."""


class Painter:
    """An actor: the same Stylizer for all batches that it gets."""

    def __init__(self, stylizer: uwct.Stylizer) -> None:
        self.stylizer = stylizer

    def __call__(self, batch: dict) -> dict:
        result = self.stylizer({**batch, "key": [Path(path).name for path in batch["path"]]})
        return {name: result[name] for name in ("key", "image", "style", "strength", "seed")}


def stylized(arguments: Arguments) -> ray.data.Dataset:
    """The pictures in random styles, with what was drawn for each."""
    store = arguments.output.resolve() / ".styles"
    stylizer = uwct.Stylizer(arguments.styles.resolve(), store, arguments.model, workers=arguments.workers)
    size = (arguments.size, arguments.size)
    photos = ray.data.read_images(str(arguments.photos), size=size, mode="RGB", include_paths=True)
    return photos.map_batches(
        Painter,
        fn_constructor_args=(stylizer,),
        batch_size=8,
        compute=ray.data.ActorPoolStrategy(size=arguments.workers),
        num_cpus=1,
    )


if __name__ == "__main__":
    arguments = tyro.cli(Arguments, description=__doc__)
    ray.init(num_cpus=arguments.workers + 1, include_dashboard=False, ignore_reinit_error=True)
    stylized(arguments).write_parquet(str(arguments.output.resolve()))
    print(f"{ray.data.read_parquet(str(arguments.output.resolve())).count()} pictures -> {arguments.output}")
