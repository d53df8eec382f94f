"""Refinement against PyTorch: seconds to the same loss, by the same steps and by L-BFGS from the photo.

python benchmarks/refine.py
python benchmarks/refine.py --size 256 --most 40

PyTorch computes the same loss with the same VGG-16 in float32, which is checked: first with the same Adam from the
same stylized picture over the same scales; then, as Gatys et al. (CVPR 2016) do, with L-BFGS at full size from the
photo, until its loss is that of our result or it has looked at the picture --most times. Compilation is counted in the
column "first" only. Prints a Markdown table.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
import tyro

import uwct
from uwct.cli.cache import start_quickly
from uwct.cli.dtypes import dtype_for
from uwct.networks.model import Model
from uwct.networks.vgg import encoder_layers
from uwct.pictures import images
from uwct.pipeline import refine
from uwct.pipeline.manner import COLOR, OCTAVES, faint
from uwct.pipeline.parts import resolve
from uwct.pipeline.presets import PRESETS, REFINE_STEPS
from uwct.transforms.linalg import inv_sqrtm
from uwct.transforms.matching import TRANSFORMS


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    photo: Path = Path("examples/photos/cat.jpg")
    style: Path = Path("examples/styles/strokes.jpg")
    size: int = 512
    """Both sides in pixels."""
    steps: int = REFINE_STEPS
    most: int = 100
    """How often L-BFGS may look at the picture."""


class Torch:
    """The same loss in PyTorch, at one scale, for pictures without parts and padding."""

    def __init__(self, vgg: Model, goal: refine.Goal) -> None:
        blocks = vgg.config.encoder(5)[1]
        params = vgg.params["encoder"]
        self.layers: list[tuple[int, int, torch.Tensor, torch.Tensor]] = []
        for block, index, *_ in encoder_layers(blocks, max(refine.SHAPES)):
            kernel, bias = (torch.tensor(np.asarray(params[f"conv{block}_{index}"][x])) for x in ("kernel", "bias"))
            self.layers.append((block, index, kernel, bias))
        (manner,), (self.alphas,) = goal.wanted, goal.alphas
        assert manner is not None
        size = float(manner.weight)
        self.levels = {level: torch.tensor(np.asarray(manner.features[level]) / size) for level in self.alphas}
        colors = [x / size for x in manner.colors]
        white = [inv_sqrtm(x + faint(x)) for x in colors]
        self.colors = [torch.tensor(np.asarray(x)) for x in colors]
        self.white = [torch.tensor(np.asarray(x)) for x in white]
        with torch.no_grad():
            taps = self.encode(torch.tensor(np.asarray(goal.photo)))
            self.shapes = [self.direction(taps[level]) for level in refine.SHAPES]

    def encode(self, picture: torch.Tensor) -> dict[int, torch.Tensor]:
        x = picture.permute(2, 0, 1)[None]
        taps: dict[int, torch.Tensor] = {}
        for block, index, kernel, bias in self.layers:
            if index == 1 and block > 1:
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), kernel.permute(3, 2, 0, 1), bias))
            if index == 1:
                taps[block] = x[0]
        return taps

    def direction(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().sum(0, keepdim=True) + 1e-3)

    def second(self, x: torch.Tensor) -> torch.Tensor:
        f = x.reshape(x.shape[0], -1)
        return f @ f.T / f.shape[1]

    def loss(self, picture: torch.Tensor) -> torch.Tensor:
        taps = self.encode(picture)
        mean = float(sum(self.alphas.values()) / len(self.alphas))

        def apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (((a - b).square().sum() / b.square().sum()) + 1e-8).sqrt()

        style = sum(float(a) * apart(self.second(taps[level]), self.levels[level]) for level, a in self.alphas.items())
        x = picture.permute(2, 0, 1)
        bands = [torch.cat([torch.ones_like(x[:1]), x])]
        for _ in range(OCTAVES):
            coarse = F.avg_pool2d(x[None], 2)
            bands.append(x - F.interpolate(coarse, scale_factor=2, mode="bilinear")[0])
            x = coarse[0]
        octaves = [
            apart(w @ self.second(b) @ w, w @ c @ w) for b, c, w in zip(bands, self.colors, self.white, strict=True)
        ]
        colors = COLOR * float(self.alphas[min(self.alphas)]) * sum(octaves) / len(octaves)
        held = sum(
            (self.direction(taps[level]) - shape).square().sum(0).mean()
            for level, shape in zip(refine.SHAPES, self.shapes, strict=True)
        )
        excess = (picture - picture.clamp(0, 1)).square().mean()
        total = style / len(self.alphas) + colors + refine.CONTENT * (1 - mean) * held / len(refine.SHAPES)
        return total + refine.EXCESS * excess


def ours(steps: Callable[[], Any]) -> tuple[jax.Array, float, float]:
    """The result, the seconds of the first run and of the second."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        for step in steps():
            last = step
        picture = jax.block_until_ready(last.picture())
        seconds.append(time.perf_counter() - start)
    return picture, *seconds


def adam(networks: dict[int, Torch], start: jax.Array, plan: dict[int, int]) -> float:
    """Seconds of the same steps over the same scales."""
    begin, now = time.perf_counter(), start
    for halvings, count in plan.items():
        first = refine.at(halvings, now)
        picture = torch.tensor(np.asarray(first), requires_grad=True)
        optimizer = torch.optim.Adam([picture], refine.RATE, (0.9, 0.99))
        for _ in range(count):
            optimizer.zero_grad()
            networks[halvings].loss(picture).backward()
            optimizer.step()
        now = now + refine.enlarged(halvings, jnp.asarray(picture.detach().numpy()) - first, "reflect")
    return time.perf_counter() - begin


def lbfgs(network: Torch, photo: jax.Array, wanted: float, most: int) -> tuple[float, int, float]:
    """Seconds, looks at the picture, and the loss in the end."""
    picture = torch.tensor(np.asarray(photo), requires_grad=True)
    optimizer = torch.optim.LBFGS([picture], max_iter=1, max_eval=2, history_size=20)
    looks, losses = 0, [np.inf]

    def look() -> torch.Tensor:
        nonlocal looks
        optimizer.zero_grad()
        loss = network.loss(picture)
        loss.backward()
        looks += 1
        losses.append(loss.item())
        return loss

    begin = time.perf_counter()
    while losses[-1] > wanted and looks < most:
        optimizer.step(look)
    return time.perf_counter() - begin, looks, losses[-1]


def main(arguments: Arguments) -> None:
    """Prints the table."""
    start_quickly()
    dtype = dtype_for("auto")
    model, vgg, look = uwct.load(dtype=dtype), uwct.backbone("vgg16"), PRESETS["paint"]
    side = (arguments.size, arguments.size)
    photo, painting = (jnp.asarray(images.resize(images.read(p), side).rgb) for p in (arguments.photo, arguments.style))
    style = uwct.with_manners(uwct.encode_style(model, painting), vgg, painting)
    parts = resolve(model, style, look.levels, look.alpha)
    how: dict[str, Any] = {"transform": TRANSFORMS[look.transform], "shrinkage": look.shrinkage}
    painted = uwct.stylize(model, photo, style, look.levels, look.alpha, **how)
    plan = refine.schedule(arguments.steps, side, "reflect")
    fast = vgg.replace(dtype=dtype)
    result, first, again = ours(lambda: refine.refinements(fast, painted, photo, parts, look.levels, arguments.steps))
    networks = {}
    for halvings in plan:
        goal = refine.Goal(*refine.wanted(vgg, parts, look.levels, halvings), [None], refine.at(halvings, photo))
        networks[halvings] = Torch(vgg, goal)

    def loss(picture: jax.Array) -> float:
        with torch.no_grad():
            return float(networks[0].loss(torch.tensor(np.asarray(picture))))

    goal = refine.Goal(*refine.wanted(vgg, parts, look.levels, 0), [None], None)
    seen = refine.see(vgg, painted, goal, refine.shapes_of(vgg, photo))
    np.testing.assert_allclose(loss(painted), refine.loss_of(seen, goal, side[0] * side[1]), rtol=1e-3)
    wanted = loss(result)
    print(f"{arguments.size} x {arguments.size}, {arguments.steps} steps, {dtype}; ", end="")
    print(f"loss {loss(painted):.3f} -> {wanted:.3f}\n")
    print("| | steps | seconds | first | seconds / ours |\n| --- | --- | --- | --- | --- |")
    print(f"| uwct | {arguments.steps} | {again:.1f} | {first:.1f} | 1 |", flush=True)
    same = adam(networks, painted, plan)
    print(f"| PyTorch, the same steps | {arguments.steps} | {same:.1f} | | {same / again:.2f} |", flush=True)
    seconds, looks, reached = lbfgs(networks[0], photo, wanted, arguments.most)
    told = f"{looks}" if reached <= wanted else f"more than {looks} (loss {reached:.3f})"
    print(f"| PyTorch, L-BFGS from the photo | {told} | {seconds:.1f} | | {seconds / again:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
