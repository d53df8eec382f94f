"""Training speed: a step of ours and the same step in PyTorch with automatic mixed precision, by turns in one run.

python -m pip install ".[benchmark]"
python benchmarks/training.py                                   # what suits the device that JAX finds
python benchmarks/training.py --levels 4 5 --batch 128 --crop 256 --decoder-width 1 --peak 989

Prints a Markdown table: pictures a second of each, their ratio, and the share of the device's matrix peak that our
step reaches (two FLOPs for each multiplication that the networks need, over the time and the peak). The peak is that of
a large bfloat16 matrix product in the same run, unless --peak gives it in TFLOP/s.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
import tyro

from uwct.networks import model as models
from uwct.networks.config import LEVELS, ModelConfig
from uwct.networks.vgg import encoder_layers
from uwct.training import stepping
from uwct.training.config import Dtype, TrainConfig
from uwct.training.parallel import Devices
from uwct.training.reconstruction import Fixed, reconstruction_loss

ON_GPU = jax.default_backend() != "cpu"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to measure."""

    levels: tuple[int, ...] = LEVELS
    batch: int = 128 if ON_GPU else 4
    """Pictures a step."""
    crop: int = 256 if ON_GPU else 128
    """Height and width of the pictures."""
    decoder_width: float = 1.0
    dtype: Dtype = "bfloat16"
    """Of our convolutions."""
    torch_dtype: str = "bfloat16" if ON_GPU else "float32"
    """Of PyTorch's: bfloat16 or float16 by torch.autocast, or float32."""
    peak: float | None = None
    """The device's peak in TFLOP/s; measured if not given."""
    rounds: int = 5
    """How often ours and PyTorch's take turns; the medians are compared."""
    steps: int = 10 if ON_GPU else 2
    """Steps a turn."""


def multiplications(config: ModelConfig, level: int, crop: int) -> float:
    """FLOPs that one picture's step needs: two for each multiplication of the convolutions.

    Forward: encoder, decoder, encoder again. Backward: the decoder's kernels and inputs (but its first input), and the
    second encoder's inputs; the encoder's kernels and the first encoder stay as they are.
    """
    encoder, decoder, first = 0.0, 0.0, 0.0
    for block, index, channels, width in encoder_layers(config.blocks, level):
        pixels = (crop / 2 ** (block - 1)) ** 2
        encoder += 18 * channels * width * pixels
        last = (block, index) == (level, 1)
        inputs = width if last else round(width * config.decoder_width)
        outputs = channels if (block, index) == (1, 1) else round(channels * config.decoder_width)
        decoder += 18 * inputs * outputs * pixels
        first = 18 * inputs * outputs * pixels if last else first
    return 3 * encoder + 3 * decoder - first


def measured_peak() -> float:
    """FLOP/s of a large bfloat16 matrix product."""
    size = 8192 if ON_GPU else 2048
    a = jnp.ones((size, size), jnp.bfloat16)
    product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32).astype(jnp.bfloat16))
    return 2 * size**3 / min(timed(lambda: jax.block_until_ready(product(a)), 3) for _ in range(5))


def timed(step: Callable[[], Any], steps: int) -> float:
    """Seconds a step."""
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def our_step(model: models.Model, level: int, arguments: Arguments, pictures: np.ndarray) -> Callable[[], Any]:
    """Our step, ready to run: Adam, on one device, compiled; it waits for its result."""
    config = TrainConfig(steps=1000, batch=arguments.batch, crop=arguments.crop, dtype=arguments.dtype)
    devices = Devices(jax.local_devices()[:1])
    step = stepping.parallel_step(partial(reconstruction_loss, level=level), config, devices)
    decoder = models.init_decoder(jax.random.key(0), model.config, level)
    state, batch = devices.replicate((stepping.init_state(decoder, config), pictures[None]))
    fixed = devices.replicate(Fixed(model.replace(dtype=arguments.dtype)))

    def run() -> None:
        nonlocal state
        state, metrics = step(state, fixed, batch)
        jax.block_until_ready(metrics)

    run()
    return run


def torch_step(model: models.Model, level: int, arguments: Arguments, pictures: np.ndarray) -> Callable[[], Any]:
    """The same in PyTorch: channels_last, torch.autocast, Adam; with a gradient scaler in float16."""
    device = "cuda" if ON_GPU else "cpu"
    dtype = getattr(torch, arguments.torch_dtype)

    def tensors(layer: Any) -> list[torch.Tensor]:
        kernel, bias = (torch.tensor(np.asarray(layer[key]), device=device) for key in ("kernel", "bias"))
        return [kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last), bias]

    def conv(x: torch.Tensor, layer: list[torch.Tensor]) -> torch.Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), layer[0], layer[1])

    names = [(block, index) for block, index, _, _ in encoder_layers(model.config.blocks, level)]
    start = models.init_decoder(jax.random.key(0), model.config, level)
    encoder = {name: tensors(model.params["encoder"][f"conv{name[0]}_{name[1]}"]) for name in names}
    decoder = {name: [t.requires_grad_() for t in tensors(start[f"conv{name[0]}_{name[1]}"])] for name in names}

    def encode(x: torch.Tensor) -> torch.Tensor:
        for block, index in names:
            x = F.max_pool2d(x, 2) if index == 1 and block > 1 else x
            x = F.relu(conv(x, encoder[block, index]))
        return x

    def decode(x: torch.Tensor) -> torch.Tensor:
        for block, index in reversed(names):
            x = conv(x, decoder[block, index])
            x = F.relu(x) if (block, index) != (1, 1) else x
            x = F.interpolate(x, scale_factor=2) if index == 1 and block > 1 else x
        return x

    optimizer = torch.optim.Adam([t for layer in decoder.values() for t in layer], lr=1e-4)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    batch = torch.tensor(pictures, device=device).permute(0, 3, 1, 2)
    variances = model.config.variances

    def run() -> None:
        x = (batch.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            with torch.no_grad():
                features = encode(x)
            output = decode(features)
            again = encode(output)
        pixel_loss = F.mse_loss(output.float(), x) / variances[0]
        loss = pixel_loss + F.mse_loss(again.float(), features.float()) / variances[level]
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        loss.item()

    run()
    return run


def main(arguments: Arguments) -> None:
    """Prints the table."""
    model = models.backbone("vgg16", decoder_width=arguments.decoder_width)
    rng = np.random.default_rng(0)
    shape = (arguments.batch, arguments.crop, arguments.crop, 3)
    pictures = rng.integers(0, 256, shape, dtype=np.uint8)
    peak = arguments.peak * 1e12 if arguments.peak else measured_peak()
    print(f"{jax.devices()[0].device_kind}, {peak / 1e12:.3g} TFLOP/s peak; batch {shape}")
    print(f"pictures/s: uwct in {arguments.dtype}, PyTorch in {arguments.torch_dtype}")
    print("| level | uwct | PyTorch | ratio | of peak |")
    print("| --- | --- | --- | --- | --- |")
    for level in arguments.levels:
        turns = [make(model, level, arguments, pictures) for make in (our_step, torch_step)]
        times = [[timed(turn, arguments.steps) for turn in turns] for _ in range(arguments.rounds)]
        ours, theirs = np.median(times, axis=0)
        share = arguments.batch * multiplications(model.config, level, arguments.crop) / ours / peak
        speeds = f"{arguments.batch / ours:.1f} | {arguments.batch / theirs:.1f}"
        print(f"| {level} | {speeds} | {theirs / ours:.2f} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
