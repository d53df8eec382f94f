"""`uwct fetch`: published networks that do not come with the package."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import platformdirs
import tyro
from tqdm import tqdm

from uwct.cli.convert import sample, write
from uwct.cli.errors import one_sentence
from uwct.cli.parsing import parsed
from uwct.convert import fetch
from uwct.convert.collection import Source, assemble, check_known, normalise_model, open_sources, provenance
from uwct.networks import published
from uwct.networks.config import LEVELS, check_level
from uwct.networks.model import WEIGHTS, load

HELP = """Download published networks, so that --model knows their names.

authors: the paper's own networks, VGG-19 with decoders of all five levels (some 140 MB). collaborative-distillation:
encoders and decoders 16 times smaller, of all five levels (10 MB). vgg19: torchvision's VGG-19 (575 MB), of which the
layers up to relu5_1 (52 MB) are kept, normalised over photographs that come with this program. It has no decoders:
train them (uwct train --data folder:PHOTOGRAPHS --backbone vgg19).

Files come from their public addresses, are checked by their hashes, converted, and kept as a model in your data folder.
A download that broke off goes on when the command is run again; what is there is not downloaded twice.

Examples:
  uwct fetch authors
  uwct fetch collaborative-distillation
  uwct fetch vgg19 --file vgg19-dcbb9e9d.pth"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    name: Annotated[published.Name, tyro.conf.Positional]
    """The network to fetch."""
    file: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Take the weights from here instead of downloading them: for vgg19 a file of torchvision or Keras, else a folder
    of the published files, whatever they are called, or of a copy of their repository."""
    url: Annotated[str | None, tyro.conf.arg(metavar="BASE")] = None
    """Download from this address instead, below which the files lie as at the public one: https://download.pytorch.org
    for vgg19 (BASE/models/vgg19-dcbb9e9d.pth), https://raw.githubusercontent.com for the others."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = LEVELS
    """The levels to fetch, of authors and collaborative-distillation; those that were fetched before stay."""
    photographs: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH")] = None
    """For vgg19: photographs to normalise over, instead of those that come with the program."""


def main(argv: list[str] | None = None, prog: str = "uwct fetch") -> None:
    """Fetches, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    with one_sentence():
        check(arguments)
        fetch_model(arguments)


def check(arguments: Arguments) -> None:
    """Raises ValueError for options of another network, or none where some are needed."""
    for level in arguments.levels:
        check_level(level)
    if not arguments.levels:
        raise ValueError("--levels needs a level or more, of 1 to 5")
    if arguments.name == "vgg19" and arguments.levels != LEVELS:
        raise ValueError("--levels is for authors and collaborative-distillation; vgg19 is one network")
    if arguments.name != "vgg19" and arguments.photographs:
        raise ValueError("--photographs is for vgg19; the others' decoders know the scale of their encoders")
    if arguments.file and arguments.url:
        raise ValueError("--file takes what is there, --url says where to download from: give one of them")


def fetch_model(arguments: Arguments) -> None:
    """Puts the model where `load` looks for it, unless it is there; downloads what no file is given for."""
    name = arguments.name
    path = platformdirs.user_data_path("uwct", ensure_exists=True) / f"{name}.safetensors"
    there = levels_there(path)
    if not (arguments.file or arguments.photographs) and there.issuperset(arguments.levels):
        print(f"{name} is there already, in {path}{about(name)}")
        return
    batches = sample(arguments.photographs or f"folder:{WEIGHTS / 'photographs'}")
    levels = sorted(there.union(arguments.levels))
    cache = platformdirs.user_cache_path("uwct", ensure_exists=True) / name
    sources = open_sources(files(arguments, published.files(name, levels), cache))
    if name == "vgg19":
        check_vgg19(sources)
        check_known(sources)
    model = assemble(sources)
    model = model.replace(config=dataclasses.replace(model.config, backbone=name))
    write(model if model.levels else normalise_model(model, batches), path, provenance(sources))
    if levels == list(LEVELS):  # else the files may be needed again, for the levels that are missing
        shutil.rmtree(cache, ignore_errors=True)
    print(f"{name} is ready, in {path}{about(name)}")


def levels_there(path: Path) -> set[int]:
    """The levels that can be used of a model that was fetched before; none if there is no whole one."""
    try:
        model = load(path)
    except (OSError, ValueError):
        return set()
    return set(model.levels or model.config.encoded_levels)


def files(arguments: Arguments, wanted: Sequence[published.File], cache: Path) -> list[Path]:
    """The files: those that are given, or downloaded ones; raises ValueError naming those that are not given."""
    if arguments.file is None:
        return downloaded(arguments, wanted, cache)
    if arguments.name == "vgg19":
        return [arguments.file]
    if missing := fetch.take(wanted, arguments.file, cache):
        lost = {file.level for file in missing}
        rest = [level for level in arguments.levels if level not in lost]
        hint = f"; --levels {' '.join(map(str, rest))} takes what is there" if rest else ""
        names = ", ".join(f"{file.part} ({file.name})" for file in missing)
        raise ValueError(f"{arguments.file} lacks files that are, by their content, the published ones: {names}{hint}")
    return [cache / file.name for file in wanted]


def downloaded(arguments: Arguments, wanted: Sequence[published.File], cache: Path) -> list[Path]:
    """The files from their address, with one progress bar; a failure's sentence says how else to get them."""
    try:
        import torch  # noqa: F401 (before megabytes are downloaded in vain)
    except ImportError:
        raise ImportError('to read what is downloaded: pip install "uwct[convert]"') from None
    model = published.MODELS[arguments.name]
    with bar() as progress:
        try:
            return fetch.bring(wanted, cache, arguments.url or model.server, progress)
        except fetch.UnavailableError as error:
            what = f"the file yourself: --file {wanted[0].name}"
            if arguments.name != "vgg19":
                what = f"a copy of {model.home} yourself: --file FOLDER"
            raise OSError(f"{error}; try again later, or bring {what}") from None


def check_vgg19(sources: Sequence[Source]) -> None:
    """Raises ValueError for a file of other networks, since nothing but its content says what it is."""
    layouts = [network.layout for source in sources for network in source.networks]
    if [(layout.family, layout.preprocess) for layout in layouts] != [("vgg19", "")]:
        raise ValueError(f"{sources[0].path} holds {layouts[0].source}, not VGG-19 of torchvision or Keras")


def about(name: published.Name) -> str:
    """What to do with the model, whose it is, and on what terms."""
    model = published.MODELS[name]
    use = f": --model {name}"
    if name == "vgg19":
        use = "; to train its decoders: uwct train --data folder:PHOTOGRAPHS --backbone vgg19"
    return f"{use}\nby {model.credit}\nfrom {model.home}\nlicence: {model.licence}"


@contextmanager
def bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar of bytes; what it gives is told how many there are, and how many there will be, or 0."""
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=0.1) as shown:

        def progress(done: int, total: int) -> None:
            shown.total = total or None
            shown.update(done - shown.n)

        yield progress
