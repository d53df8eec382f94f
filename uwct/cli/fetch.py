"""`uwct fetch`: pretrained networks that do not come with the package."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
import tyro
from tqdm import tqdm

from uwct.cli.convert import sample, write
from uwct.cli.errors import one_sentence
from uwct.convert import fetch, published
from uwct.convert.collection import assemble, normalise_model, open_sources, provenance
from uwct.networks.config import LEVELS
from uwct.networks.model import WEIGHTS
from uwct.networks.vgg import check_level

HELP = """Download published networks, so that --model knows their names.

authors: the paper's own networks, VGG-19 with decoders of all five levels. collaborative-distillation: encoders and
decoders 16 times smaller, of all five levels. Both come from their public repositories, are checked and converted.

vgg19: torchvision's VGG-19 (575 MB), of which the layers up to relu5_1 (52 MB) are kept, normalised over photographs
that come with this program. It has no decoders: train them (python train.py --data folder:PHOTOGRAPHS --backbone
vgg19).

What is brought is kept in your data folder. A download that broke off goes on when the command is run again.

Examples:
  uwct fetch authors
  uwct fetch collaborative-distillation
  uwct fetch vgg19 --file vgg19-dcbb9e9d.pth"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    name: Annotated[Literal["authors", "collaborative-distillation", "vgg19"], tyro.conf.Positional]
    """The network to fetch."""
    file: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Take the weights from here instead of downloading them: for vgg19 a file of torchvision or Keras, else a folder
    of the published files, whatever they are called."""
    url: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """Where to download from instead: for vgg19 a file whose name ends with its hash, as torchvision's do, else the
    address below which the repositories lie as they do at raw.githubusercontent.com."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = LEVELS
    """The levels to fetch, of authors and collaborative-distillation."""
    photographs: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH")] = None
    """For vgg19: photographs to normalise over, instead of those that come with the program."""


def main(argv: list[str] | None = None, prog: str = "uwct fetch") -> None:
    """Fetches, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    with one_sentence():
        check(arguments)
        fetch_vgg19(arguments) if arguments.name == "vgg19" else fetch_published(arguments)


def check(arguments: Arguments) -> None:
    """Raises ValueError for options of another network, ImportError where what is downloaded cannot be read."""
    for level in arguments.levels:
        check_level(level)
    if arguments.name == "vgg19" and arguments.levels != LEVELS:
        raise ValueError("--levels is for authors and collaborative-distillation; vgg19 is one network")
    if arguments.name != "vgg19" and arguments.photographs:
        raise ValueError("--photographs is for vgg19; the others' decoders know the scale of their encoders")
    if arguments.name != "vgg19" or arguments.file is None:
        try:
            import torch  # noqa: F401 (before megabytes are downloaded in vain)
        except ImportError:
            raise ImportError('to read the file that is downloaded: pip install "uwct[convert]"') from None


def fetch_published(arguments: Arguments) -> None:
    """Downloads what is not there, checks, converts, and puts the model where `load` looks for it."""
    name, about = arguments.name, published.MODELS[arguments.name]
    wanted = published.entries(name, arguments.levels)
    cache = platformdirs.user_cache_path("uwct", ensure_exists=True) / name
    if arguments.file:
        files = published.find(wanted, arguments.file)
    else:
        with bar() as progress:
            files = published.bring(wanted, cache, arguments.url or published.PUBLIC, progress)
    sources = open_sources(files)
    path = platformdirs.user_data_path("uwct", ensure_exists=True) / f"{name}.safetensors"
    write(assemble(sources), path, provenance(sources))
    if not arguments.file:
        for file in files:
            file.unlink()
        cache.rmdir()
    print(f"{name} is ready, in {path}: --model {name}\nby {about.credit}\nlicence: {about.licence}")


def fetch_vgg19(arguments: Arguments) -> None:
    """Downloads unless a file is given, converts, normalises, and puts the model where `load` looks for it."""
    batches = sample(arguments.photographs or f"folder:{WEIGHTS / 'photographs'}")
    file = arguments.file or downloaded(arguments.url or fetch.VGG19)
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
    expected, name = fetch.named_by_hash(url), url.partition("?")[0].rpartition("/")[2]
    with bar() as progress:
        try:
            target = platformdirs.user_cache_path("uwct", ensure_exists=True) / name
            return fetch.download(url, target, expected, progress)
        except OSError as error:
            by_hand = f"or bring the file yourself: uwct fetch vgg19 --file {name}"
            raise OSError(f"{error}; try again later, {by_hand}") from None


@contextmanager
def bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar of bytes; what it gives is told how many there are, and how many there will be, or 0."""
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=0.1) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total or None
            shown.update(done - shown.n)

        yield progress
