"""Torch7's files (`.t7`, binary or ASCII): a Sequential of layers, read as data.

The format is a stream of tagged objects; Lua tables and Torch's classes refer to one another by numbers. Numbers,
strings, tables, storages and tensors are built; every other class is kept as the table of its fields; functions are
skipped. Nothing is executed.
"""

import dataclasses
import itertools
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN, FUNCTION, OLD_RECURSIVE, RECURSIVE = range(9)
MAGIC = (struct.pack("<i", TABLE), struct.pack("<i", TORCH), b"3\n", b"4\n")
DEEPEST, MOST_LAYERS = 64, 1000
# What Python raises about data that are not what they should be.
BROKEN = (struct.error, EOFError, ValueError, IndexError, OverflowError, TypeError, AttributeError)
ELEMENTS = {
    "Double": "f8", "Float": "f4", "Half": "f2", "Cuda": "f4", "CudaDouble": "f8", "CudaHalf": "f2",
    "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1", "CudaLong": "i8", "CudaInt": "i4",
    "CudaShort": "i2", "CudaChar": "i1", "CudaByte": "u1",
}  # fmt: skip
# Layers that have no parameters, and do not change what a reflected VGG computes.
SILENT = ("SpatialReflectionPadding", "ReLU", "SpatialMaxPooling", "SpatialUpSamplingNearest", "Identity", "Dropout")


@dataclasses.dataclass
class Object:
    """An instance of a class of Torch's: its name ("nn.ReLU") and its fields."""

    name: str
    fields: Any = None


def read(path: Path) -> dict[str, np.ndarray]:
    """The convolutions of the file's Sequential as a state dict, layers called by their place from 0.

    Raises ValueError for a broken file, and for layers that a reflected VGG does not have.
    """
    try:
        content = _Stream(path.read_bytes()).object()
        state, faults = _convolutions(list(itertools.islice(_flat(content), MOST_LAYERS)))
    except BROKEN as error:
        raise ValueError(f"{path} is not a whole Torch7 file of a Sequential: {error}") from None
    if faults:
        raise ValueError(f"{path} holds other layers than a reflected VGG: {'; '.join(faults)}")
    return state


def _convolutions(layers: list[Object]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of the convolutions, and what is wrong with layers."""
    state: dict[str, np.ndarray] = {}
    faults = []
    for place, layer in enumerate(layers):
        kind = layer.name.rpartition(".")[2]
        if kind in ("SpatialConvolution", "SpatialConvolutionMM"):
            faults += _convolution(str(place), layer.fields, state)
        elif kind not in SILENT:
            faults.append(f"layer {place} is a {layer.name}")
    return state, faults


def _flat(content: Any, depth: int = 0) -> Iterator[Object]:
    """The layers of a Sequential, those of Sequentials within it in place."""
    if depth == DEEPEST:  # it may hold itself
        raise ValueError("its layers are nested too deep")
    if isinstance(content, dict):
        nets = [value for value in content.values() if isinstance(value, Object) and "Sequential" in value.name]
        content = nets[0] if len(nets) == 1 else None
    if not isinstance(content, Object) or not isinstance(content.fields, dict):
        raise ValueError("it holds no Sequential")
    if content.name.rpartition(".")[2] != "Sequential":
        yield content
        return
    modules = content.fields.get("modules")
    if not isinstance(modules, dict):
        raise ValueError("a Sequential without its layers")
    for place in sorted(modules):
        yield from _flat(modules[place], depth + 1)


def _convolution(name: str, fields: dict[str, Any], state: dict[str, np.ndarray]) -> list[str]:
    """Adds a convolution's tensors; returns what is wrong with it."""
    weight = fields.get("weight")
    wide, high = (int(fields.get(key, 0)) for key in ("kW", "kH"))
    if isinstance(weight, np.ndarray) and weight.ndim == 2 and wide * high:
        weight = weight.reshape(len(weight), -1, high, wide)
    for part, value in (("weight", weight), ("bias", fields.get("bias"))):
        if isinstance(value, np.ndarray):
            state[f"{name}.{part}"] = value.astype(np.float32)
    steps = [int(fields.get(key, 1)) for key in ("dW", "dH")]
    border = [int(fields.get(key, 0)) for key in ("padW", "padH")]
    return [f"layer {name} pads with zeros or strides"] if steps != [1, 1] or border != [0, 0] else []


class _Stream:
    """Reads objects one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.text = not data.startswith(MAGIC[:2])
        self.known: dict[int, Any] = {}
        self.depth = 0
        self.room = len(data)  # for the elements of tensors, which may share a storage

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise EOFError("it ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def values(self, kind: str, count: int) -> np.ndarray:
        """That many numbers of a NumPy type."""
        dtype = np.dtype(kind).newbyteorder("<")
        if not self.text:
            return np.frombuffer(self.take(count * dtype.itemsize), dtype)
        if not 0 <= count <= len(self.data) - self.at:
            raise EOFError("it ends too early")
        return np.array([self.word() for _ in range(count)], np.float64).astype(dtype)

    def word(self) -> bytes:
        """The next word of a text file, and the one blank after it."""
        while self.at < len(self.data) and self.data[self.at] in b" \n\r\t":
            self.at += 1
        start = self.at
        while self.at < len(self.data) and self.data[self.at] not in b" \n\r\t":
            self.at += 1
        if start == self.at:
            raise EOFError("it ends too early")
        word = self.data[start : self.at]
        self.at += 1
        return word

    def integer(self, kind: str = "i4") -> int:
        return int(self.word()) if self.text else int(self.values(kind, 1)[0])

    def string(self) -> str:
        return self.take(self.integer()).decode("latin-1")

    def object(self) -> Any:
        tag = self.integer()
        if tag == NIL:
            return None
        if tag == NUMBER:
            return float(self.values("f8", 1)[0])
        if tag == STRING:
            return self.string()
        if tag == BOOLEAN:
            return bool(self.integer())
        if tag not in (TABLE, TORCH, FUNCTION, OLD_RECURSIVE, RECURSIVE):
            raise ValueError(f"{tag} is no kind of object")
        if self.depth == DEEPEST:
            raise ValueError("its objects are nested too deep")
        self.depth += 1
        try:
            return self.function() if tag == FUNCTION else self.referable(tag)
        finally:
            self.depth -= 1

    def referable(self, tag: int) -> Any:
        """An object that has a number, by which it is meant when it comes again."""
        number = self.integer()
        if number in self.known:
            return self.known[number]
        if tag == TABLE:
            table: dict[Any, Any] = {}
            self.known[number] = table
            for _ in range(self.integer()):
                key = self.object()
                value = self.object()
                if isinstance(key, (str, float, bool)):
                    table[key] = value
            return table
        if tag != TORCH:
            self.known[number] = None
            return self.function()
        name = self.string()
        if name.startswith("V "):
            name = self.string()
        return self.torch(name, number)

    def function(self) -> None:
        """Skips a Lua function: its bytecode, and the values that it closes over."""
        self.take(self.integer())
        self.object()

    def torch(self, name: str, number: int) -> Any:
        prefix, _, kind = name.rpartition(".")
        if prefix == "torch" and kind.removesuffix("Storage") in ELEMENTS and kind.endswith("Storage"):
            self.known[number] = self.values(ELEMENTS[kind.removesuffix("Storage")], self.integer("i8"))
        elif prefix == "torch" and kind.removesuffix("Tensor") in ELEMENTS and kind.endswith("Tensor"):
            self.known[number] = self.tensor()
        else:
            self.known[number] = found = Object(name)
            found.fields = self.object()
        return self.known[number]

    def tensor(self) -> np.ndarray:
        axes = self.integer()
        if not 0 <= axes <= 16:
            raise ValueError(f"a tensor of {axes} axes")
        size, strides = ([self.integer("i8") for _ in range(axes)] for _ in range(2))
        offset, storage = self.integer("i8") - 1, self.object()
        if storage is None or not axes or 0 in size:
            return np.zeros(0, np.float32)
        last = offset + sum((n - 1) * stride for n, stride in zip(size, strides, strict=True))
        inside = isinstance(storage, np.ndarray) and offset >= 0 and last < len(storage)
        if not inside or min(*size, *strides) < 0 or math.prod(size) > len(storage):
            raise ValueError(f"a tensor of shape {size} that its storage does not hold")
        self.room -= math.prod(size)
        if self.room < 0:
            raise ValueError("its tensors have more elements than the file has bytes")
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()
