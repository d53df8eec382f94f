"""What the networks compute in on this computer, where nobody says."""

from pathlib import Path

import jax

CPUINFO = Path("/proc/cpuinfo")  # of Linux; other systems' CPUs get float32


def dtype_for(asked: str) -> str:
    """The dtype that was asked for; for "auto", "bfloat16" where its products are fast, else "float32"."""
    if asked != "auto":
        return asked
    return "bfloat16" if is_fast() else "float32"


def is_fast() -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: TPUs, GPUs since Ampere, some CPUs."""
    (device, *_) = jax.local_devices()
    if device.platform == "gpu":
        return float(getattr(device, "compute_capability", 8.0)) >= 8
    if device.platform != "cpu":
        return True
    try:
        text = CPUINFO.read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return bool({"amx_bf16", "avx512_bf16"} & set(flags))
