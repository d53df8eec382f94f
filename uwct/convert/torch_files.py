"""PyTorch's files (`.pth`, zip or legacy): state dicts of tensors, with nothing in them executed.

The pickle within is read by PyTorch's restricted unpickler (`weights_only=True`), which builds tensors and plain data
only. What a file holds cannot be more than the file: compressed and overlapping parts are refused.
"""

import itertools
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "params")
DEEPEST, MOST_TENSORS = 4, 1000
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
    _check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors, and is not read: {_first_line(error)}") from None
    except Exception as error:  # torch raises all kinds for broken files
        raise ValueError(f"{path} is not a whole PyTorch file: {_first_line(error)}") from None
    content = _model(content)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
    tensors = list(itertools.islice(_tensors(content, torch.Tensor, set()), MOST_TENSORS + 1))
    held = sum(tensor.numel() * tensor.element_size() for _, tensor in tensors)
    if len(tensors) > MOST_TENSORS or held > path.stat().st_size:
        raise ValueError(f"{path} claims {len(tensors)} tensors of {held} bytes, more than it holds or than are read")
    return {name: _array(path, name, value) for name, value in tensors}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _check_zip(path: Path) -> None:
    """Raises ValueError for a zip file that would unpack to more than itself; PyTorch stores its parts as they are."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            parts = file.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a whole PyTorch file: {error}") from None
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError(f"{path} is not a whole PyTorch file: its parts are compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError(f"{path} is not a whole PyTorch file: its parts overlap")


def _model(content: Any) -> Any:
    """The state dict, out of what a training script saved around it."""
    for _ in range(DEEPEST):  # a dict may hold itself
        key = next((key for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
        if key is None:
            break
        content = content[key]
    return content


def _tensors(
    content: dict[Any, Any], kind: type, seen: set[int], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """The tensors by their names, each dict once; what is nested deeper than anybody nests it is passed over."""
    if id(content) in seen or len(path) > DEEPEST:
        return
    seen.add(id(content))
    for key, value in content.items():
        if isinstance(value, kind):
            yield ".".join((*path, str(key))), value
        elif isinstance(value, dict) and not str(key).startswith("optim"):
            yield from _tensors(value, kind, seen, (*path, str(key)))


def _array(path: Path, name: str, tensor: Any) -> np.ndarray:
    try:
        array: np.ndarray = (tensor.detach().float() if tensor.is_floating_point() else tensor).numpy()
    except (RuntimeError, TypeError):
        raise ValueError(f"{path}: {name} is not a plain array of numbers") from None
    return array
