"""`uwct fetch`: pretrained networks that do not come with the package."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
import tyro
from tqdm import tqdm

from uwct.cli.convert import sample, write
from uwct.cli.errors import one_sentence
from uwct.convert import fetch
from uwct.convert.collection import assemble, normalise_model, open_sources, provenance
from uwct.networks.model import WEIGHTS

HELP = """Download VGG-19, the network of the paper, so that --model and --backbone know the name vgg19.

torchvision's weights (575 MB) are downloaded from their public address, or taken from a file that you bring; the layers
up to relu5_1 (52 MB) are converted, normalised over photographs that come with this program, and kept in your data
folder. A download that broke off goes on when the command is run again. Decoders do not come with it: train them
(python train.py --data folder:PHOTOGRAPHS --backbone vgg19).

Examples:
  uwct fetch vgg19
  uwct fetch vgg19 --file vgg19-dcbb9e9d.pth
  uwct fetch vgg19 --file vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    name: Annotated[Literal["vgg19"], tyro.conf.Positional]
    """The network to fetch."""
    file: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Take the weights from this file, of torchvision or Keras, instead of downloading them."""
    url: str = fetch.VGG19
    """Where to download them from; the file's name must end with its hash, as torchvision's do."""
    photographs: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH")] = None
    """Photographs to normalise over, instead of those that come with the program."""


def main(argv: list[str] | None = None, prog: str = "uwct fetch") -> None:
    """Fetches, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    with one_sentence():
        fetch_vgg19(arguments)


def fetch_vgg19(arguments: Arguments) -> None:
    """Downloads unless a file is given, converts, normalises, and puts the model where `load` looks for it."""
    batches = sample(arguments.photographs or f"folder:{WEIGHTS / 'photographs'}")
    file = arguments.file or downloaded(arguments.url)
    sources = open_sources([file])
    model = assemble(sources)
    layouts = [network.layout for source in sources for network in source.networks]
    if [(layout.family, layout.preprocess) for layout in layouts] != [("vgg19", "")]:
        raise ValueError(f"{file} holds {layouts[0].source}, not VGG-19 of torchvision or Keras")
    model = normalise_model(model.replace(config=dataclasses.replace(model.config, backbone="vgg19")), batches)
    path = platformdirs.user_data_path("uwct", ensure_exists=True) / "vgg19.safetensors"
    write(model, path, provenance(sources))
    if arguments.file is None:
        file.unlink()
    print(
        f"vgg19 is ready, in {path}; to train its decoders: python train.py --data folder:PHOTOGRAPHS --backbone vgg19"
    )


def downloaded(url: str) -> Path:
    """The file from that address, with a progress bar; the sentence of a failure says how else to get it."""
    try:
        import torch  # noqa: F401 (before 575 MB are downloaded in vain)
    except ImportError:
        raise ImportError('to read the file that is downloaded: pip install "uwct[convert]"') from None
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=0.1) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        try:
            return fetch.download(url, platformdirs.user_cache_path("uwct", ensure_exists=True), progress)
        except OSError as error:
            by_hand = f"or bring the file yourself: uwct fetch vgg19 --file {url.rpartition('/')[2]}"
            raise OSError(f"{error}; try again later, {by_hand}") from None
