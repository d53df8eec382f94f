"""Styles as files (safetensors), to use again and to share without the picture.

The file holds `level4/mean` and the like, and in its metadata which encoder made it: moments of another encoder's
features are meaningless, so that they are refused. Of styles that can be refined towards it also holds the manners,
`manner0/level4` and the like (see manner.py).
"""

import hashlib
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from uwct.networks.config import LEVELS
from uwct.networks.model import Model
from uwct.networks.tensors import read_file, write_file
from uwct.pipeline.manner import OCTAVES, SCALES, Manner
from uwct.pipeline.styles import Style
from uwct.transforms.statistics import Moments

PARTS = ("weight", "mean", "scatter")


def encoder_hash(model: Model) -> str:
    """The beginning of the SHA-256 of the encoders' parameters, by which styles know their model."""
    digest = hashlib.sha256()
    encoders = {name: params for name, params in model.params.items() if name.startswith("encoder")}
    for path, leaf in jax.tree_util.tree_leaves_with_path(encoders):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf, np.float32).tobytes())
    return digest.hexdigest()[:16]


def save_style(style: Style, path: str | os.PathLike[str], model: Model) -> None:
    """Writes a style that `model` encoded to a safetensors file, whole or not at all.

    Raises ValueError when it is not finite, lacks a level, or is a stack of several.
    """
    if missing := set(model.config.encoded_levels) - set(style.moments):
        raise ValueError(f"the style was encoded without level {min(missing)}; it is not saved")
    if any(jnp.ndim(found.weight) for found in style.moments.values()):
        raise ValueError("a stack of styles is not saved: save them one by one")
    tensors = {
        f"level{level}/{part}": np.array(getattr(found, part), np.float32, order="C")
        for level, found in style.moments.items()
        for part in PARTS
    }
    for halvings, manner in style.manners.items():
        sums = {"weight": manner.weight} | {f"level{level}": x for level, x in manner.features.items()}
        sums |= {f"colors{octave}": x for octave, x in enumerate(manner.colors)}
        tensors |= {f"manner{halvings}/{name}": np.array(x, np.float32, order="C") for name, x in sums.items()}
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError("the style is not finite; it is not saved")
    metadata = {"style": json.dumps({"encoder": encoder_hash(model), "backbone": model.config.backbone})}
    write_file(path, tensors, metadata)


def load_style(path: str | os.PathLike[str], model: Model) -> Style:
    """Reads a style for `model`.

    Raises ValueError for a file that is no style, that another encoder made, or that lacks, adds or misshapes tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no style file {path}")
    tensors, metadata = read_file(path)
    try:
        made = json.loads(metadata["style"])
        encoder, backbone = str(made["encoder"]), str(made["backbone"])
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError):
        raise ValueError(f"{path} is not a style file") from None
    if encoder != encoder_hash(model):
        raise ValueError(
            f"{path} was made by another model (of {backbone}), not by this one (of {model.config.backbone})"
        )
    _check(path, tensors, model)
    found = {name: jnp.asarray(tensor) for name, tensor in tensors.items()}
    moments = {
        level: Moments(*(found[f"level{level}/{part}"] for part in PARTS)) for level in model.config.encoded_levels
    }
    return Style(
        moments, {halvings: _manner(found, halvings) for halvings in SCALES if f"manner{halvings}/weight" in found}
    )


def _manner(found: dict[str, jax.Array], halvings: int) -> Manner:
    """A manner of a file whose tensors were checked."""
    name = f"manner{halvings}"
    features = {level: found[f"{name}/level{level}"] for level in LEVELS}
    return Manner(found[f"{name}/weight"], features, [found[f"{name}/colors{k}"] for k in range(OCTAVES + 1)])


def _check(path: Path, tensors: dict[str, np.ndarray], model: Model) -> None:
    wanted: dict[str, tuple[int, ...]] = {}
    for level in set(LEVELS) & set(model.config.encoded_levels):
        _, blocks = model.config.encoder(level)
        width = blocks[level - 1][0]
        wanted |= {f"level{level}/{part}": (width,) * axes for axes, part in enumerate(PARTS)}
    if any(name.startswith("manner") for name in tensors):
        for halvings in SCALES:
            widths = {
                f"level{level}": len(np.atleast_1d(tensors.get(f"manner{halvings}/level{level}", 0)))
                for level in LEVELS
            }
            widths |= {f"colors{k}": 3 if k else 4 for k in range(OCTAVES + 1)}
            wanted |= {f"manner{halvings}/{name}": (width, width) for name, width in widths.items()}
            wanted[f"manner{halvings}/weight"] = ()
    faults = [f"{name} is missing" for name in wanted.keys() - tensors.keys()]
    faults += [f"{name} is unknown" for name in tensors.keys() - wanted.keys()]
    for name in wanted.keys() & tensors.keys():
        if tensors[name].shape != wanted[name]:
            faults.append(f"{name} has shape {list(tensors[name].shape)}, not {list(wanted[name])}")
        elif not np.isfinite(tensors[name]).all():
            faults.append(f"{name} is not finite")
        elif name.endswith("/weight") and tensors[name] < 0:
            faults.append(f"{name} is negative")
    if faults:
        raise ValueError(f"{path} is not a whole style: " + "; ".join(sorted(faults)))
