"""What a training leaves to look at: a table, the curves, and photographs beside their reconstructions."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.figure import Figure

from uwct import images, training
from uwct.contact_sheet import contact_sheet
from uwct.files import read_lines, replacing
from uwct.losses import psnr
from uwct.model import Model
from uwct.recorder import FILE


def table(records: Mapping[int, Mapping[str, Any]]) -> str:
    """A Markdown table of decoders by level, from `{"train": metrics, "test": metrics}` of each, as far as known."""
    lines = ["| sub-model | train loss | test loss | PSNR (dB) | SSIM |", "| --- | --- | --- | --- | --- |"]
    for level, record in sorted(records.items()):
        train, test = record.get("train", {}), record.get("test", {})
        cells = [
            _cell(metrics, name, digits)
            for metrics, name, digits in ((train, "loss", 4), (test, "loss", 4), (test, "psnr", 2), (test, "ssim", 3))
        ]
        lines.append(f"| level {level} (relu{level}_1) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(metrics: Mapping[str, float], name: str, digits: int) -> str:
    return f"{metrics[name]:.{digits}f}" if name in metrics else "-"


def curves(folders: Mapping[str, Path], path: Path) -> None:
    """Draws the training and test losses that were recorded in each folder against the step, into a PNG."""
    figure = Figure(figsize=(5 * len(folders), 4), layout="constrained")
    axes = figure.subplots(1, len(folders), squeeze=False)[0]
    for axis, (name, folder) in zip(axes, folders.items(), strict=True):
        lines = read_lines(folder / FILE)
        for kind, style in (("train", "-"), ("test", "o-")):
            points = [(line["step"], line["loss"]) for line in lines if line["kind"] == kind]
            if points:
                axis.plot(*zip(*points, strict=True), style, label=kind, markersize=3, linewidth=1)
        axis.set(title=name, xlabel="step", ylabel="loss", yscale="log")
        axis.grid(alpha=0.3, which="both")
        if axis.lines:
            axis.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def reconstructions(model: Model, levels: Sequence[int], photographs: np.ndarray, path: Path) -> None:
    """Writes a PNG with each photograph of `uint8[N, H, W, 3]` in a row, followed by its reconstruction a level."""
    pictures = training.to_float(photographs)

    @partial(jax.jit, static_argnums=1)
    def decoded(model: Model, level: int) -> Array:
        return model.decode(model.encode(pictures, level)[-1], level)

    sets = [np.asarray(pictures), *(np.asarray(decoded(model, level)) for level in levels)]
    rows = [[images.Picture(picture) for picture in row] for row in zip(*sets, strict=True)]
    psnrs = [[float(psnr(jnp.asarray(p.rgb), jnp.asarray(row[0].rgb))) for p in row[1:]] for row in rows]
    labels = [", ".join(f"{value:.1f}" for value in row) + " dB" for row in psnrs]
    columns = ["photograph", *(f"level {level}" for level in levels)]
    images.write(path, contact_sheet(rows, labels, columns, photographs.shape[1]))
