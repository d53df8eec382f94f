"""Seconds and memory of stylizing: uwct against a PyTorch pipeline of the kind that people use.

    python benchmarks/stylize.py --sizes 256 512 --models full small

Both sides get the same weights and pictures, and run levels 5 to 1 at alpha 0.6. The PyTorch side computes in float32,
with singular value decompositions in float64, and encodes the style anew at each level, as those projects do; eager,
and with its networks compiled where there is a compiler. The models: "full" has VGG-16's widths in encoder and decoders
(the decoders untrained, which plays no part in time); "vgg16" and "small" are those that come with uwct.

Every row is a process of its own: the first picture (with compilation, without anything kept from earlier runs), the
first of a new shape (16 pixels wider), the median of the next ones, and the largest resident memory. With a GPU, both
sides use it, and the last column is pictures a second in batches.
"""

import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

LEVELS, ALPHA, TOLERANCE = (5, 4, 3, 2, 1), 0.6, 1e-5
ROW = "BENCHMARK_ROW"  # in the environment of a process that measures one
NAMES = {"uwct": "uwct", "eager": "PyTorch", "compiled": "PyTorch, compiled"}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure; the words under each field are its help."""

    sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    """Heights and widths in pixels."""
    models: tuple[str, ...] = ("full", "small")
    """full, vgg16, small."""
    sides: tuple[str, ...] = ("uwct", "eager", "compiled")
    """uwct, and PyTorch eager and compiled."""
    dtype: str = "auto"
    """What uwct computes in; "auto" as the command decides."""
    content: Path = Path("examples/photos/coffee.jpg")
    """The content, resized to a square."""
    style: Path = Path("examples/styles/strokes.jpg")
    """The style, resized alike."""
    repeats: int = 3
    """Pictures to take the median of."""
    batch: int = 16
    """Pictures a batch, on a GPU."""
    output: Path = Path("runs/stylize")
    """Folder for results.json, results.md and results.png."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    if ROW in os.environ:
        print(json.dumps(measure(arguments, **json.loads(os.environ[ROW]))))
        return
    rows = []
    for name in arguments.models:
        for size in arguments.sizes:
            for side in arguments.sides:
                row = {"model": name, "size": size, "side": side, **run_child(name, size, side)}
                rows.append(row)
                print(json.dumps(row), flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps({"cpu": platform.processor(), "rows": rows}, indent=1))
    (arguments.output / "results.md").write_text(table(rows))
    plot(rows, arguments.output / "results.png")
    print(table(rows))


def run_child(name: str, size: int, side: str) -> dict[str, Any]:
    """One row, measured in a process of its own with empty caches."""
    row = json.dumps({"name": name, "size": size, "side": side})
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache, "TORCHINDUCTOR_CACHE_DIR": cache, ROW: row}
        result = subprocess.run([sys.executable, *sys.argv], capture_output=True, text=True, env=environment)
    if result.returncode:
        return {"failed": result.stderr.strip().splitlines()[-1][:200]}
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured


def measure(arguments: Arguments, name: str, size: int, side: str) -> dict[str, Any]:
    """The first picture, a new shape, the next pictures, and memory."""
    from uwct.pictures import images

    def pixels(path: Path, wider: int = 0) -> np.ndarray:
        return images.resize(images.read(path), (size, size + wider)).rgb

    style, content, other = pixels(arguments.style), pixels(arguments.content), pixels(arguments.content, 16)
    stylize, batches = pipeline(arguments, name, side)

    def seconds(picture: np.ndarray) -> float:
        start = time.perf_counter()
        result = stylize(picture, style)
        if result.shape != picture.shape or not np.isfinite(result).all():
            raise ValueError("not a finite picture of the content's shape")
        return time.perf_counter() - start

    row = {"first": seconds(content), "new_shape": seconds(other)}
    row["next"] = statistics.median(seconds(content) for _ in range(arguments.repeats))
    row["mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if batches:
        stack = np.stack([content] * arguments.batch)
        batches(stack, style)
        start = time.perf_counter()
        for _ in range(arguments.repeats):
            batches(stack, style)
        row["batch_pictures_per_second"] = arguments.batch * arguments.repeats / (time.perf_counter() - start)
    return row


Pipeline = Callable[[np.ndarray, np.ndarray], np.ndarray]


def pipeline(arguments: Arguments, name: str, side: str) -> tuple[Pipeline, Pipeline | None]:
    """A side's function from content and style to the result, and the same for batches on a GPU."""
    model = load(name, "float32" if side != "uwct" else arguments.dtype)
    return uwct_pipeline(model) if side == "uwct" else torch_pipeline(model, compiled=side == "compiled")


def load(name: str, dtype: str) -> Any:
    """A model by its name; "full" is VGG-16 with untrained decoders of full width."""
    import jax

    import uwct
    from uwct.cli.dtypes import dtype_for
    from uwct.networks.model import backbone, init_decoder

    if name != "full":
        return uwct.load(name, dtype=dtype_for(dtype))
    model = backbone("vgg16")
    decoders = {f"decoder{level}": init_decoder(jax.random.key(level), model.config, level) for level in LEVELS}
    return model.replace(params={**model.params, **decoders}, dtype=dtype_for(dtype))


def uwct_pipeline(model: Any) -> tuple[Pipeline, Pipeline | None]:
    import jax
    import jax.numpy as jnp

    import uwct

    def stylize(content: np.ndarray, style: np.ndarray) -> np.ndarray:
        return np.asarray(uwct.stylize(model, jnp.asarray(content), jnp.asarray(style), LEVELS, ALPHA))

    return stylize, stylize if jax.default_backend() == "gpu" else None


def torch_pipeline(model: Any, *, compiled: bool, levels: Sequence[int] = LEVELS) -> tuple[Pipeline, Pipeline | None]:
    """The pipeline of the PyTorch projects, from a model's parameters."""
    import torch
    import torch.nn.functional as F

    from uwct.networks.vgg import encoder_layers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_grad_enabled(False)

    def tensors(layer: Any) -> tuple[Any, Any]:
        weight, bias = np.asarray(layer["kernel"]).transpose(3, 2, 0, 1), np.asarray(layer["bias"])
        return torch.tensor(weight, device=device), torch.tensor(bias, device=device)

    networks = {level: model.config.encoder(level) for level in LEVELS}  # all the same one, or one a level
    layers = {lv: [f"conv{b}_{i}" for b, i, *_ in encoder_layers(blocks, lv)] for lv, (_, blocks) in networks.items()}
    encoders = {
        lv: {of: tensors(layer) for of, layer in model.params[name].items()} for lv, (name, _) in networks.items()
    }
    decoders = {lv: {name: tensors(layer) for name, layer in model.params[f"decoder{lv}"].items()} for lv in LEVELS}

    def conv(x: Any, layer: tuple[Any, Any]) -> Any:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), *layer)

    def encode(x: Any, level: int) -> Any:
        for name in layers[level]:
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x, encoders[level][name]))
        return x

    def decode(x: Any, level: int) -> Any:
        for name in reversed(layers[level]):
            x = conv(x, decoders[level][name])
            if name != "conv1_1":
                x = F.relu(x)
                if name.endswith("_1"):
                    x = F.interpolate(x, scale_factor=2, mode="nearest")
        return x

    if compiled:
        encode, decode = torch.compile(encode, dynamic=False), torch.compile(decode, dynamic=False)

    def power(x: Any, exponent: float) -> Any:
        u, s, _ = torch.linalg.svd(x @ x.T / (x.shape[1] - 1))
        kept = s > TOLERANCE
        return (u[:, kept] * s[kept] ** exponent) @ u[:, kept].T

    def transform(content: Any, style: Any) -> Any:
        x, y = (f[0].flatten(1).double() for f in (content, style))
        mean_x, mean_y = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
        colored = power(y - mean_y, 0.5) @ (power(x - mean_x, -0.5) @ (x - mean_x)) + mean_y
        return (ALPHA * colored + (1 - ALPHA) * x).float().reshape(content.shape)

    def to_torch(picture: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].to(device)

    def stylize(content: np.ndarray, style: np.ndarray) -> np.ndarray:
        x, y = to_torch(content), to_torch(style)
        for level in levels:
            x = decode(transform(encode(x, level), encode(y, level)), level)
        result: np.ndarray = x[0].permute(1, 2, 0).cpu().numpy()
        return result

    def one_by_one(contents: np.ndarray, style: np.ndarray) -> np.ndarray:
        return np.stack([stylize(content, style) for content in contents])

    return stylize, one_by_one if device == "cuda" else None


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table; the ratio is of the next picture's time to eager PyTorch's."""
    lines = ["| model | pixels | | first | new shape | next | of PyTorch's time | memory |", "| --- " * 8 + "|"]
    eager = {(row["model"], row["size"]): row.get("next") for row in rows if row["side"] == "eager"}
    for row in rows:
        start = f"| {row['model']} | {row['size']} x {row['size']} | {NAMES[row['side']]} |"
        if "failed" in row:
            lines.append(f"{start} {row['failed']} | | | | |")
            continue
        base = eager.get((row["model"], row["size"]))
        ratio = f"{row['next'] / base:.2f}" if base else ""
        times = " | ".join(f"{row[key]:.2f} s" for key in ("first", "new_shape", "next"))
        lines.append(f"{start} {times} | {ratio} | {row['mebibytes'] / 1024:.1f} GiB |")
        if "batch_pictures_per_second" in row:
            lines[-1] += f" {row['batch_pictures_per_second']:.1f} pictures/s in batches"
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time of the next picture against pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for model in dict.fromkeys(row["model"] for row in rows):
        for side, style in (("uwct", "o-"), ("eager", "s--"), ("compiled", "^:")):
            points = [
                (row["size"] ** 2 / 1e6, row["next"])
                for row in rows
                if (row["model"], row["side"]) == (model, side) and "next" in row
            ]
            if points:
                axes.loglog(*zip(*points, strict=True), style, label=f"{model}, {NAMES[side]}")
    axes.set(xlabel="megapixels", ylabel="seconds a picture, levels 5 to 1")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
