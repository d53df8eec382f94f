"""`uwct convert`: a model file out of weights that other programs wrote."""

import dataclasses
import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from uwct.cli.errors import one_sentence
from uwct.cli.parsing import parsed
from uwct.cli.plan import check_output
from uwct.convert.collection import assemble, check_known, normalise_model, open_sources, provenance
from uwct.convert.layouts import Trained
from uwct.networks.model import Model, load, save
from uwct.training import data
from uwct.training.photographs import open_source

HELP = """Convert weights that other programs wrote into a model file for --model.

What a file holds is found out from its content: VGG-19 and VGG-16 of torchvision, timm and Caffe (.pth, .safetensors)
and Keras (.h5, .weights.h5), the normalised VGG and the decoders of WCT and AdaIN projects (.pth, Torch7's .t7), and
Collaborative Distillation's small encoders and decoders (.pth). Several files, or a folder of them, become one model.
Nothing in a file is executed; a file in which tensors are missing, too many, misshapen or not finite is refused, with
all of them named.

An encoder alone can be trained decoders for (uwct train --backbone FILE); it learns better when it is normalised
first, which changes nothing but the scale of its channels. A model needs an encoder: convert decoders together with
theirs.

Examples:
  uwct convert vgg_normalised.pth decoder.pth --output adain.safetensors
  uwct convert authors --output authors.safetensors
  uwct convert vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 --normalise folder:photos --output vgg19.safetensors"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    sources: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_FOLDER ...")]
    """Files of weights, or folders of such files."""
    output: Path
    """The model file to write, .safetensors."""
    normalise: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH")] = None
    """Scale every channel of an encoder without decoders to mean 1 over these photographs."""
    input: Trained | None = None
    """What a VGG takes that was trained to classify: RGB as torchvision prepares it, or, as Caffe does, BGR from 0 to
    255 less the mean color. By default what the published weights, or a file's names, are known to take; to be given
    where neither tells."""


def main(argv: list[str] | None = None, prog: str = "uwct convert") -> None:
    """Converts, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    with one_sentence():
        convert(arguments.sources, arguments.output, arguments.normalise, arguments.input)


def convert(sources: tuple[Path, ...], output: Path, photographs: str | None, trained: Trained | None) -> None:
    """Reads, joins, writes, and reads again what was written."""
    if not sources:
        raise ValueError("name the files to convert")
    check_output(output, sources)
    opened = open_sources(sources, trained)
    if trained and not any(network.layout.preprocessing == trained for source in opened for network in source.networks):
        raise ValueError("--input is for a VGG that was trained to classify, and none of the files holds one")
    check_known(opened)
    model = assemble(opened)
    if photographs:
        model = normalise_model(model, sample(photographs))
    write(model, output, provenance(opened))
    for source in opened:
        for network in source.networks:
            print(f"{source.path.name}: {network.layout.source}, {network.layout.kind} of level {network.layout.level}")
    if "encoder" in " ".join(model.params):
        load(output)
        print(f"written to {output}; decoders of levels: {', '.join(map(str, model.levels)) or 'none'}")
    else:
        print(f"written to {output}; it holds no encoder: to use it, convert it together with its encoder's file")


def write(model: Model, output: Path, metadata: dict[str, str]) -> None:
    """Writes the model with its metadata and the date."""
    networks = json.loads(metadata["provenance"])
    date = datetime.date.today().isoformat()
    save(model, output, metadata={"provenance": json.dumps([{**network, "date": date} for network in networks])})


def sample(photographs: str) -> Callable[[], Iterator[np.ndarray]]:
    """Central crops of photographs, in batches, as often as asked for."""
    reader = data.Reader(open_source(photographs), 1600)
    return lambda: (batch.astype(np.float32) / 255 for batch in data.evaluation_batches(reader, batch=8, crop=224))
