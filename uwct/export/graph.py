"""ONNX graphs written as arithmetic: values with operators, which leave nodes behind.

Contract: values are float32 unless their name says otherwise. The same operation of the same values is one node, and
the same weights are stored once.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# What every runtime of these years reads: ONNX 1.14, of 2023.
OPSET, IR_VERSION = 18, 9


class Graph:
    """A graph in the making."""

    def __init__(self) -> None:
        self._made: dict[Any, Value] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str]) -> "Value":
        """An input; its sides are numbers, or names of what is found out when it is there."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Value(self, name)

    def output(self, value: "Value", name: str, shape: Sequence[int | str]) -> None:
        """Makes a value an output."""
        self._nodes.append(helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def node(self, op: str, *operands: Any, **attributes: Any) -> "Value":
        """The (only) output of an operation; numbers and arrays among its operands become constants."""
        names = [(x if isinstance(x, Value) else self._constant(x)).name for x in operands]
        key = (op, *names, repr(sorted(attributes.items())))
        if key not in self._made:
            name = f"{op}_{len(self._nodes)}"
            self._nodes.append(helper.make_node(op, names, [name], **attributes))
            self._made[key] = Value(self, name)
        return self._made[key]

    def weights(self, name: str, array: Any) -> "Value":
        """Parameters, under their name; stored in 16 bits where that loses nothing, and cast when a program loads them.

        Raises ValueError for what is not finite.
        """
        stored = np.asarray(array, np.float32)
        if not np.isfinite(stored).all():
            raise ValueError(f"{name} is not finite")
        with np.errstate(over="ignore"):
            halved = stored.astype(np.float16)
        exact = np.array_equal(halved, stored)
        self._constants[name] = numpy_helper.from_array(halved if exact else stored, name)
        value = Value(self, name)
        return self.node("Cast", value, to=TensorProto.FLOAT) if exact else value

    def _constant(self, value: Any) -> "Value":
        """A small array of numbers; integers are int64."""
        array = np.asarray(value)
        array = array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32)
        key = ("", array.dtype, array.shape, array.tobytes())
        if key not in self._made:
            name = f"constant_{len(self._constants)}"
            self._constants[name] = numpy_helper.from_array(array, name)
            self._made[key] = Value(self, name)
        return self._made[key]

    def model(self, description: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The whole, checked."""
        constants = list(self._constants.values())
        graph = helper.make_graph(self._nodes, "uwct", self._inputs, self._outputs, constants, description)
        made = helper.make_model(
            graph, producer_name="uwct", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        helper.set_model_props(made, dict(metadata))
        onnx.checker.check_model(made, full_check=True)
        return made


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor that the graph will compute; operators work as NumPy's."""

    graph: Graph
    name: str

    def node(self, op: str, *operands: Any, **attributes: Any) -> "Value":
        """An operation of this value, and then others."""
        return self.graph.node(op, self, *operands, **attributes)

    def __add__(self, other: Any) -> "Value":
        return self.node("Add", _real(other))

    def __sub__(self, other: Any) -> "Value":
        return self.node("Sub", _real(other))

    def __rsub__(self, other: Any) -> "Value":
        return self.graph.node("Sub", _real(other), self)

    def __mul__(self, other: Any) -> "Value":
        return self.node("Mul", _real(other))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> "Value":
        return self.node("Div", _real(other))

    def __matmul__(self, other: "Value") -> "Value":
        return self.node("MatMul", other)

    @property
    def mT(self) -> "Value":
        """The transpose of a matrix."""
        return self.node("Transpose", perm=[1, 0])

    def sum(self, *axes: int) -> "Value":
        """Over these axes, which stay with length 1."""
        return self.node("ReduceSum", list(axes), keepdims=1)


def _real(number: Any) -> Any:
    """Integers as floats, since operators are those of float32."""
    return float(number) if isinstance(number, int) else number
