"""From files of weights, in whatever format, to one model."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from uwct.convert import keras, safetensors_files, torch7, torch_files
from uwct.convert.layouts import ORIGINS, Trained, family_name
from uwct.convert.networks import Network, recognise
from uwct.files import files_in
from uwct.networks.config import LEVELS, Blocks, ModelConfig
from uwct.networks.model import Model
from uwct.networks.normalisation import mean_activations, normalise, variances


class Reader(Protocol):
    """What reads a format: a module with this function."""

    def read(self, path: Path) -> dict[str, np.ndarray]:
        """All weights of a file, named and shaped as PyTorch has them (see `convert.networks`)."""
        ...


class Marked(Reader, Protocol):
    """What reads a format that is known by a file's first bytes."""

    @property
    def MAGIC(self) -> tuple[bytes, ...]:
        """What its files begin with, up to 16 bytes: one of these."""
        ...


READERS: tuple[Marked, ...] = (torch_files, keras, torch7)
FORMATS = "PyTorch, safetensors, Torch7 or Keras (HDF5)"


@dataclasses.dataclass(frozen=True)
class Source:
    """A file and the networks in it."""

    path: Path
    sha256: str
    networks: tuple[Network, ...]


def open_sources(paths: Sequence[Path], trained: Trained | None = None) -> list[Source]:
    """Reads files, and of folders those files that hold weights.

    `trained` says what encoders were trained on that do not say it themselves, by a 1x1 convolution; None finds it out
    as far as it can (see `recognise`), and takes a guess else, which `check_known` refuses. Raises ImportError when a
    format's library is not installed, FileNotFoundError, and ValueError for files of no known format, with all that is
    wrong in them.
    """
    return [_open(path, trained) for given in paths for path in _files(given)]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if not path.is_dir():
        return [path]
    found = sorted(file for file in files_in(path) if is_foreign(file))
    if not found:
        raise ValueError(f"the folder {path} holds no weight files of {FORMATS}")
    return found


def is_foreign(path: Path) -> bool:
    """Whether a file begins as the weight files of other programs do."""
    reader = _reader(path)
    return reader is not None and not (reader is safetensors_files and safetensors_files.is_own(path))


def _reader(path: Path) -> Reader | None:
    with path.open("rb") as file:
        start = file.read(16)
    if safetensors_files.begins(start):
        return safetensors_files
    return next((reader for reader in READERS if start.startswith(reader.MAGIC)), None)


def _open(path: Path, trained: Trained | None) -> Source:
    reader = _reader(path)
    if reader is None:
        raise ValueError(f"{path} is no weight file of {FORMATS}")
    state = reader.read(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        networks = recognise(state, trained)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Source(path, sha256, tuple(networks))


def check_known(sources: Iterable[Source]) -> None:
    """Raises ValueError for an encoder of which neither names nor weights tell what it takes."""
    for source in sources:
        for layout in (network.layout for network in source.networks if network.layout.assumed):
            raise ValueError(
                f"{source.path}: nothing says whether its {family_name(layout.family)} takes RGB, as torchvision's "
                "does, or BGR from 0 to 255, as Caffe's: say it with uwct convert "
                + " or ".join(f"--input {trained}" for trained in ORIGINS)
            )


def assemble(sources: Sequence[Source]) -> Model:
    """One model of all networks in the sources; a model without an encoder if there is none.

    Encoders that are the beginnings of one another become one; others stay one a level. Raises ValueError when two
    networks are of one kind and level, or when a decoder does not fit its encoder.
    """
    encoders, decoders = _by_level(sources, "encoder"), _by_level(sources, "decoder")
    deepest = encoders[max(encoders)] if encoders else decoders[max(decoders)]
    final_relus = {decoder.layout.final_relu for decoder in decoders.values()}
    if len(final_relus) == 2:
        raise ValueError("some of the decoders end with a ReLU and some do not; they cannot be one model")
    shared = all(_begins(encoder.params, deepest.params) for encoder in encoders.values())
    own: tuple[Blocks, ...] = tuple(encoders[level].blocks if level in encoders else () for level in LEVELS)
    config = ModelConfig(
        deepest.layout.backbone,
        deepest.blocks,
        normalised=False,
        encoders=() if shared else own,
        final_relu=final_relus == {True},
    )
    params = {"encoder" if shared else f"encoder{level}": encoder.params for level, encoder in encoders.items()}
    if shared and encoders:
        params = {"encoder": deepest.params}
    for level, decoder in decoders.items():
        _, blocks = config.encoder(level)
        mirrored = (*blocks[: level - 1], blocks[level - 1][:1])
        if decoder.blocks != mirrored:
            raise ValueError(f"the decoder of level {level} mirrors the channels {decoder.blocks}, not {mirrored}")
        params[f"decoder{level}"] = decoder.params
    return Model(params, config)


def _by_level(sources: Sequence[Source], kind: str) -> dict[int, Network]:
    found: dict[int, tuple[Path, Network]] = {}
    for source in sources:
        for network in source.networks:
            level = network.layout.level
            if network.layout.kind != kind:
                continue
            if level in found:
                raise ValueError(f"there are two {kind}s of level {level}, in {found[level][0]} and in {source.path}")
            found[level] = (source.path, network)
    return {level: network for level, (_, network) in found.items()}


def _begins(encoder: Any, deeper: Any) -> bool:
    """Whether an encoder is the beginning of another."""
    begun = {name: deeper.get(name) for name in encoder}
    return all(begun.values()) and jax.tree.all(jax.tree.map(np.array_equal, encoder, begun))


def provenance(sources: Iterable[Source]) -> dict[str, str]:
    """Where the networks come from, for a model file's metadata."""
    networks = [
        {
            "network": f"{network.layout.kind}{network.layout.level}",
            "format": network.layout.source + (", as it seems" if network.layout.assumed else ""),
            "licence": network.layout.licence,
            "file": source.path.name,
            "sha256": source.sha256,
        }
        for source in sources
        for network in source.networks
    ]
    return {"provenance": json.dumps(networks)}


def normalise_model(model: Model, batches: Callable[[], Iterable[np.ndarray]]) -> Model:
    """A whole encoder without decoders, with its channels' mean activations scaled to 1 over pictures.

    `batches()` gives the pictures, `[N, H, W, 3]` in [0, 1], twice. Raises ValueError for other models: decoders know
    their encoder's scales.
    """
    if set(model.params) != {"encoder"} or model.config.encoded_levels != LEVELS:
        raise ValueError("only a whole encoder that comes without decoders can be normalised")
    blocks, encoder = model.config.blocks, model.params["encoder"]
    encoder = normalise(encoder, mean_activations(blocks, encoder, batches()))
    config = dataclasses.replace(model.config, normalised=True, variances=variances(blocks, encoder, batches()))
    return Model({"encoder": encoder}, config, model.dtype)
