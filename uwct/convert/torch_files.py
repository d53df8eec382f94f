"""PyTorch's files (`.pth`, zip or legacy): state dicts of tensors, with nothing in them executed."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19")  # zip; the legacy format's magic number


def read(path: Path) -> dict[str, np.ndarray]:
    """All tensors by their names, dots between nested dicts, in the file's order; floats as float32.

    What training scripts keep beside a model under other keys (numbers, strings, an optimizer) is passed over. Raises
    ImportError without PyTorch, ValueError for a file that holds anything but plain data.
    """
    try:
        import torch
    except ImportError:
        raise ImportError(f'{path} is a PyTorch file; to read it: pip install "uwct[convert]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors, and is not read: {str(error).splitlines()[0]}") from None
    except Exception as error:  # torch raises all kinds for broken files
        raise ValueError(f"{path} is not a whole PyTorch file: {str(error).splitlines()[:1]}") from None
    return {name: _array(path, name, value) for name, value in _tensors(path, _model(content), torch.Tensor)}


def _model(content: Any) -> Any:
    """The state dict, out of what a training script saved around it."""
    for key in ("state_dict", "model", "model_state_dict", "net", "params"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            return _model(content[key])
    return content


def _tensors(path: Path, content: Any, kind: type, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        if isinstance(value, kind):
            found.append((f"{prefix}{key}", value))
        elif isinstance(value, dict) and not str(key).startswith("optim"):
            found += _tensors(path, value, kind, f"{prefix}{key}.")
    return found


def _array(path: Path, name: str, tensor: Any) -> np.ndarray:
    try:
        array: np.ndarray = (tensor.detach().float() if tensor.is_floating_point() else tensor).numpy()
    except (RuntimeError, TypeError):
        raise ValueError(f"{path}: {name} is not a plain array of numbers") from None
    return array
