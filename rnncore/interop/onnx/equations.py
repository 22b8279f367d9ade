"""A cell that is written as its equation, in ONNX: its products and functions as the body of a Scan."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cells.layout import is_input
from ...cells.passes import EquationLayer
from ...cells.programs import Equations
from ...cells.rewriting import Variant
from ...cells.values import Value

_OPERATORS = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "negate": "Neg",
    "maximum": "Max",
    "minimum": "Min",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "sin": "Sin",
    "cos": "Cos",
    "erf": "Erf",
}


def add_equation(writer: Any, place: str, layer: EquationLayer) -> None:
    """Add a Scan over the steps, and zeros where rows have ended.

    Raises
    ------
    ValueError
        If the equation asks for states more than one step back.
    """
    e = layer.equations(Variant(zoneout=bool(layer.zoneout)))
    if max(e.trace.depths) > 1:
        raise ValueError(f"layer {place}, {layer!r}, asks for delayed states, which a Scan does not keep")
    x = writer.value
    body = _Body(writer, place, layer, e)
    states = [body.first_state(k) for k in range(len(layer.state_names))]
    inputs = [*states, x]
    outputs = writer.node("Scan", inputs, outputs=len(states) + 1, body=body.graph(), num_scan_inputs=1)
    writer.value = f"{outputs}_{len(states)}"
    if writer.lengths:
        writer.node("Mul", [writer.value, _valid(writer, x, writer.value)])


def _valid(writer: Any, x: str, y: str) -> str:
    """1 at the steps that a row has, else 0, (T, B, 1)."""
    longs = writer.node("Cast", ["lengths"], to=writer.onnx.TensorProto.INT64)
    steps = writer.node("Range", [writer.constant("first", 0), writer.size(x, 0), writer.constant("next", 1)])
    column = writer.node("Unsqueeze", [steps, writer.constant("column", [1])])
    within = writer.node("Less", [column, longs])
    numbers = writer.node("Cast", [within], to=writer.onnx.TensorProto.FLOAT)
    mask: str = writer.node("Unsqueeze", [numbers, writer.constant("features_axis", [2])])
    writer.value = y
    return mask


class _Body:
    """The graph of one step."""

    def __init__(self, writer: Any, place: str, layer: EquationLayer, e: Equations) -> None:
        self.writer, self.place, self.layer, self.e = writer, place, layer, e
        self.helper, self.proto = writer.onnx.helper, writer.onnx.TensorProto
        self.nodes: list[Any] = []
        self.names: dict[int, str] = {}
        self.params = layer.layout.felt(layer.params)
        self.vectors = e.hoisted.evaluate(layer.params, layer.dtype)

    def first_state(self, k: int) -> str:
        """The state before the first step, for as many rows as x has."""
        layer, writer, x = self.layer, self.writer, self.writer.value
        width, name = layer.state_widths[k], layer.state_names[k]
        first = layer.params[f"initial_{name}"] if layer.learn_initial_state else np.zeros(width)
        row = self._constant(f"initial_{name}", np.asarray(first)[None])
        rows = writer.node("Unsqueeze", [writer.size(x, 1), writer.constant("front", [0])])
        shape = writer.node("Concat", [rows, writer.constant(f"{self.place}.width{k}", [width])], axis=0)
        state: str = writer.node("Expand", [row, shape])
        writer.value = x
        return state

    def graph(self) -> Any:
        """The body: states and x of a step in, new states and y out."""
        layer, real = self.layer, self.proto.FLOAT
        info = self.helper.make_tensor_value_info
        states = zip(layer.state_names, layer.state_widths, strict=True)
        inputs = [info(self._named(f"{n}_before"), real, [None, w]) for n, w in states]
        inputs.append(info(self._named("x"), real, [None, layer.input_size]))
        outputs = []
        for name, width, value in zip(layer.state_names, layer.state_widths, self.e.outputs, strict=True):
            made, new = self._value(value), self._named(name)
            if value.uniform:
                made = self._node("Add", [made, self._constant(f"zeros_{name}", np.zeros((1, width)))])
            self.nodes.append(self.helper.make_node("Identity", [made], [new]))
            outputs.append(info(new, real, [None, width]))
        y = self._named("y")
        self.nodes.append(self.helper.make_node("Identity", [self._named(layer.state_names[0])], [y]))
        outputs.append(info(y, real, [None, layer.state_widths[0]]))
        return self.helper.make_graph(self.nodes, self._named("step"), inputs, outputs)

    def _named(self, name: str) -> str:
        return f"layer_{self.place}_{name}"

    def _constant(self, name: str, array: Any) -> str:
        found: str = self.writer.constant(f"{self.place}.{name}", array, np.float32)
        return found

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = self._named(f"{operator}_{len(self.nodes)}")
        self.nodes.append(self.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _value(self, value: Value) -> str:
        if value.order not in self.names:
            self.names[value.order] = self._make(value)
        return self.names[value.order]

    def _make(self, value: Value) -> str:
        layer, names = self.layer, self.layer.state_names
        match value.op:
            case "constant":
                return self._constant(f"number_{value.order}", [[value.data]])
            case "input":
                return self._named("x")
            case "state":
                return self._named(f"{names[value.data[0]]}_before")
            case "hoisted":
                column = self.e.hoisted.column(value)
                return self._constant(f"vector_{column}", self.vectors[None, column : column + value.width])
            case "mask":
                return self._constant(f"keep_{value.data[1]}", [[1 - layer.zoneout[value.data[1]]]])
            case "linear":
                return self._linear(value)
            case "slice":
                start, size = value.data
                borders = [self.writer.constant(f"{self.place}.at{n}", [n]) for n in (start, start + size)]
                axis = self.writer.constant("units_axis", [1])
                return self._node("Slice", [self._value(value.args[0]), *borders, axis])
            case "mean":
                return self._node("ReduceMean", [self._value(value.args[0])], axes=[1], keepdims=1)
            case "log1p":
                one = self._constant("one_more", [[1.0]])
                return self._node("Log", [self._node("Add", [self._value(value.args[0]), one])])
            case "less":
                less = self._node("Less", [self._value(arg) for arg in value.args])
                return self._node("Cast", [less], to=self.proto.FLOAT)
            case "where":
                condition = self._node("Cast", [self._value(value.args[0])], to=self.proto.BOOL)
                return self._node("Where", [condition, *map(self._value, value.args[1:])])
        return self._node(_OPERATORS[value.op], [self._value(arg) for arg in value.args])

    def _linear(self, value: Value) -> str:
        """The sum of its products and bias."""
        layout, name = self.layer.layout, value.data.name
        total: str | None = None
        for k, (block, operand) in enumerate(zip(layout.weights[name], value.args, strict=True)):
            kind = "x" if is_input(operand) else str(k)
            weight = self._constant(f"{name}_{kind}", block.of(self.params).T)
            part = self._node("MatMul", [self._value(operand), weight])
            total = part if total is None else self._node("Add", [total, part])
        assert total is not None
        if name not in layout.biases:
            return total
        bias = layout.biases[name].of(self.layer.params)
        return self._node("Add", [total, self._constant(f"{name}_bias", bias[None])])
