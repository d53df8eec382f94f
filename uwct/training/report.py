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

from uwct.files import read_lines, replacing
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.contact_sheet import contact_sheet
from uwct.training import stepping
from uwct.training.losses import psnr
from uwct.training.recorder import FILE


def table(records: Mapping[int, Mapping[str, Any]]) -> str:
    """A Markdown table of decoders by level, from `{"train": metrics, "test": metrics}` of each, as far as known."""
    lines = [
        "| sub-model | train loss | test loss | PSNR (dB) | SSIM | LPIPS |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for level, record in sorted(records.items()):
        train, test = record.get("train", {}), record.get("test", {})
        cells = [_cell(train, "loss", 4), _cell(test, "loss", 4), _cell(test, "psnr", 2)]
        cells += [_cell(test, "ssim", 3), _cell(test, "lpips", 3)]
        lines.append(f"| level {level} (relu{level}_1) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(metrics: Mapping[str, float], name: str, digits: int) -> str:
    return f"{metrics[name]:.{digits}f}" if name in metrics else "-"


def curves(folders: Mapping[str, Path], path: Path) -> None:
    """Draws what was recorded in each folder against the step, into a PNG: losses above; PSNR, and LPIPS, below."""
    figure = Figure(figsize=(5 * len(folders), 7), layout="constrained")
    above, below = figure.subplots(2, len(folders), squeeze=False)
    for losses, quality, (name, folder) in zip(above, below, folders.items(), strict=True):
        lines = read_lines(folder / FILE)
        train, test = ([line for line in lines if line["kind"] == kind] for kind in ("train", "test"))
        _draw(losses, train, "loss", "-", "train")
        _draw(losses, test, "loss", "o-", "test")
        losses.set(title=name, xlabel="step", ylabel="loss", yscale="log")
        distance = quality.twinx()
        _draw(quality, test, "psnr", "o-", "PSNR")
        _draw(distance, test, "lpips", "s--", "LPIPS, right")
        quality.set(xlabel="step", ylabel="PSNR (dB)")
        distance.set(ylabel="LPIPS (AlexNet)")
        for axis in (losses, quality):
            axis.grid(alpha=0.3, which="both")
        for axes in ((losses,), (quality, distance)):
            drawn = [line for axis in axes for line in axis.lines]
            if drawn:
                axes[0].legend(handles=drawn)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw(axis: Any, lines: Sequence[Mapping[str, Any]], quantity: str, style: str, label: str) -> None:
    points = [(line["step"], line[quantity]) for line in lines if quantity in line]
    if points:
        axis.plot(*zip(*points, strict=True), style, label=label, markersize=3, linewidth=1)


def reconstructions(model: Model, levels: Sequence[int], photographs: np.ndarray, path: Path) -> None:
    """Writes a PNG with each photograph of `uint8[N, H, W, 3]` in a row, followed by its reconstruction a level."""
    pictures = stepping.to_float(photographs)

    @partial(jax.jit, static_argnums=1)
    def decoded(model: Model, level: int) -> Array:
        return model.decode(model.encode(pictures, level)[-1], level)

    sets = [np.asarray(pictures), *(np.asarray(decoded(model, level)) for level in levels)]
    rows = [[images.Picture(picture) for picture in row] for row in zip(*sets, strict=True)]
    psnrs = [[float(psnr(jnp.asarray(p.rgb), jnp.asarray(row[0].rgb))) for p in row[1:]] for row in rows]
    labels = [", ".join(f"{value:.1f}" for value in row) + " dB" for row in psnrs]
    columns = ["photograph", *(f"level {level}" for level in levels)]
    images.write(path, contact_sheet(rows, labels, columns, photographs.shape[1]))
