"""`uwct measure`: the mean activations of an encoder, by which it is normalised, and the variances of its features."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from uwct.cli.errors import one_sentence
from uwct.cli.parsing import parsed
from uwct.cli.plan import check_output
from uwct.networks import lpips_jax
from uwct.networks.config import vgg16
from uwct.networks.normalisation import mean_activations, normalise, variances
from uwct.networks.tensors import write_file
from uwct.training import data
from uwct.training.photographs import open_source

HELP = """Measure VGG-16's mean activations over photographs, and the variances of its features once normalised.

The file that it writes is part of the package (uwct/weights/vgg16_means.safetensors); measuring again is only needed to
use other photographs.

Example:
  uwct measure --data folder:photos --output vgg16_means.safetensors"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    data: str
    """Photographs, `folder:PATH`."""
    output: Path
    """The file to write."""
    count: int = 1600
    """How many photographs to use, as central crops; 0 means all."""
    crop: int = 224
    """Height and width of the crops in pixels, a multiple of 16."""


def main(argv: list[str] | None = None, prog: str = "uwct measure") -> None:
    """Measures, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    with one_sentence():
        measure(arguments)


def measure(arguments: Arguments) -> None:
    """Two passes over the photographs: the means, then the variances under them."""
    photographs = data.Reader(open_source(arguments.data), arguments.count)
    check_output(arguments.output)

    def batches() -> Iterator[np.ndarray]:
        crops = data.evaluation_batches(photographs, batch=8, crop=arguments.crop)
        return (batch.astype(np.float32) / 255 for batch in tqdm(crops, unit="batch"))

    config, params = vgg16(), lpips_jax.encoder_params()
    means = mean_activations(config.blocks, params, batches())
    config = dataclasses.replace(config, variances=variances(config.blocks, normalise(params, means), batches()))
    write_file(arguments.output, means, {"config": config.to_json()})
