"""An ONNX graph followed from its input: which layers it is made of, and what became of the axes on the way.

The graph is walked once with an input of drawn sizes. A value is either a constant or on the way through the
chain; of the latter every axis is known by name, so that the transposes, squeezes and reshapes that exporters
put around a recurrent operator are recognised for what they do, and everything else is refused by name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...layers import Bidirectional, Dense, Embedding, LastStep, MeanPool
from .cells import GATES
from .chain import Value
from .flows import Axis, Flow, Given, Stacked, bare, take_state, whole_states
from .folding import Constant, axes_of, slices, target_shape
from .functions import ATTRIBUTES as FUNCTIONS
from .functions import make_activation
from .pruning import MOVES
from .recurrent import ATTRIBUTES, RecurrentReader
from .restoring import OPERATORS, POOLS, label

Array = NDArray[Any]
LOOPS = ("Loop", "Scan", "If")
# The attributes of every operator that is known.
KNOWN = {
    "Cast": {"to", "saturate", "round_mode"}, "Concat": {"axis"}, "Dropout": {"ratio", "seed"},
    "Gather": {"axis"}, "Gemm": {"alpha", "beta", "transA", "transB"},
    "ReduceMean": {"axes", "keepdims", "noop_with_empty_axes"},
    "ReduceSum": {"axes", "keepdims", "noop_with_empty_axes"}, "Reshape": {"allowzero"},
    "Shape": {"start", "end"}, "Slice": {"axes", "starts", "ends"}, "Softmax": {"axis"}, "Squeeze": {"axes"},
    "Transpose": {"perm"}, "Unsqueeze": {"axes"}, **dict.fromkeys(GATES, ATTRIBUTES),
    **FUNCTIONS,
}  # fmt: skip


class Tracer(RecurrentReader):
    """Walks nodes; ``chain`` holds each layer with its parameters as far as it has come."""

    def __init__(
        self, onnx: Any, inputs: Mapping[str, tuple[int, ...]], states: set[str], budget: int, opset: int
    ) -> None:
        super().__init__(onnx, inputs, states, budget, opset)
        self.handlers: dict[str, Callable[[list[Any], dict[str, Any]], list[Value]]] = {
            "Add": self._add, "Cast": self._pass, "Concat": self._concat, "Dropout": self._dropout,
            "Gather": self._gather, "Gemm": self._gemm, "Identity": self._pass, "MatMul": self._matmul,
            "ReduceMean": self._reduce_mean, "ReduceSum": self._reduce_sum, "Reshape": self._reshape,
            "Shape": self._shape, "Slice": self._slice,
            "Softmax": self._softmax, "Squeeze": self._squeeze, "Transpose": self._transpose,
            "PRelu": self._prelu, "Unsqueeze": self._unsqueeze,
            "LastStep": self._last_step, "MeanPool": self._own_mean,
        }  # fmt: skip
        for name in FUNCTIONS:
            self.handlers.setdefault(name, partial(self._function, name))

    def refuse_unknown(self, nodes: Any) -> None:
        """Raise ValueError that names the first operator without a counterpart, loops before others."""
        known = {*self.handlers, *self.folder.known, *GATES, *OPERATORS} - {*POOLS}
        unknown = [node for node in nodes if node.op_type not in known]
        if unknown:
            node = next((node for node in unknown if node.op_type in LOOPS), unknown[0])
            why = "it has no layer here"
            if node.op_type in LOOPS:
                why = "it is a program of its own; recurrent layers must be RNN, GRU or LSTM operators"
            raise ValueError(f"{label(node)} cannot be imported: {why}")

    def walk(self, node: Any) -> None:
        """Take one node; ValueError that names it if it cannot be taken."""
        operator = str(node.op_type)
        try:
            if node.domain not in ("", "ai.onnx"):
                raise ValueError(
                    f"it is of the domain {node.domain[:80]!r}, and only ONNX's own operators are known"
                )
            self._walk(operator, node)
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            # What a stranger's attributes and inputs do to code that takes them for what they should be.
            raise ValueError(f"{label(node)} cannot be imported: its inputs are impossible") from error
        except ValueError as error:
            raise ValueError(f"{label(node)} cannot be imported: {error}") from error

    def _walk(self, operator: str, node: Any) -> None:
        missing = [name for name in node.input if name and name not in self.values]
        if missing:
            strange = self.strange.get(missing[0])
            why = "is not there" if strange is None else f"has {strange} axes, and no layer reads such a one"
            raise ValueError(f"its input {missing[0][:80]!r} {why}")
        inputs = [self.values[name] if name else None for name in node.input]
        attributes = {}
        for attribute in node.attribute:
            if operator in KNOWN and attribute.name not in KNOWN[operator]:
                raise ValueError(f"it has the attribute {attribute.name[:80]!r}, which is not known here")
            if attribute.type in (self.onnx.AttributeProto.GRAPH, self.onnx.AttributeProto.GRAPHS):
                raise ValueError("it holds a graph of its own, and only chains of layers are known")
            attributes[attribute.name] = self.onnx.helper.get_attribute_value(attribute)
        present = [value for value in inputs if value is not None]
        if all(isinstance(value, Constant) for value in present) and operator not in GATES:
            constants = [value for value in present if isinstance(value, Constant)]
            results: list[Value] = [self.folder.fold(operator, constants, attributes)]
        else:
            results = self._follow(operator, inputs, attributes)
        for name, result in zip(node.output, results, strict=False):
            if name:
                self.values[name] = result
        if operator == "MatMul":
            self.open_bias = node.output[0]

    def _follow(self, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        """The results of an operator on values that depend on the model's inputs."""
        if operator in MOVES and any(isinstance(value, Given) for value in inputs):
            return [self._move(operator, inputs, attributes)]
        if operator in GATES:
            return self.recurrent(operator, inputs, attributes)
        if operator in self.handlers:
            return self.handlers[operator](inputs, attributes)
        raise ValueError("it has no layer here")

    def _move(self, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        """Where the parts of an input are after they have been moved."""
        origins = {value.origin for value in inputs if isinstance(value, Given)}
        if len(origins) != 1 or any(isinstance(value, (Flow, Stacked)) for value in inputs):
            raise ValueError("it joins states that come from several inputs")
        if operator == "Cast":
            return self._pass(inputs, attributes)[0]
        places = [
            Constant(value.places) if isinstance(value, Given) else value
            for value in inputs
            if value is not None
        ]
        if operator == "Concat" and len(places) != sum(isinstance(value, Given) for value in inputs):
            raise ValueError("it joins states and constants")
        return Given(origins.pop(), self.folder.fold(operator, places, attributes).array)

    # Operators that leave numbers as they are.

    def _pass(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        to = attributes.get("to")
        if to is not None and to not in (
            self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.DOUBLE,
            self.onnx.TensorProto.INT32, self.onnx.TensorProto.INT64,
        ):  # fmt: skip
            raise ValueError(f"it casts to type {to}")
        return [inputs[0]]

    def _dropout(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        training = inputs[2] if len(inputs) > 2 else None
        if training is not None and (not isinstance(training, Constant) or training.array.any()):
            raise ValueError("it is in training mode, which an imported network is not")
        return [inputs[0]]

    def _shape(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        value = inputs[0]
        whole = value.places.shape if isinstance(value, Given) else value.shape
        shape = whole[attributes.get("start", 0) : attributes.get("end")]
        return [Constant(np.array(shape, np.int64), sampled=True)]

    def _transpose(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = inputs[0]
        order = attributes.get("perm", list(range(len(flow.axes)))[::-1])
        if sorted(order) != list(range(len(flow.axes))):
            raise ValueError(f"perm is {order}, but its input has {len(flow.axes)} axes")
        return [dataclasses.replace(flow, axes=tuple(flow.axes[axis] for axis in order))]

    def _axes(self, inputs: list[Any], attributes: dict[str, Any], rank: int) -> list[int]:
        axes = axes_of(
            [value.array if isinstance(value, Constant) else np.empty(0) for value in inputs], attributes
        )
        if axes is None or any(not -rank <= axis < rank for axis in axes):
            raise ValueError(f"its axes are {axes}")
        return [axis % rank for axis in axes]

    def _squeeze(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = inputs[0]
        gone = self._axes(inputs, attributes, len(flow.axes))
        if any(bare(flow)[axis] for axis in gone):
            raise ValueError("it takes away an axis other than that of the directions")
        kept = tuple(axis for place, axis in enumerate(flow.axes) if place not in gone)
        return [dataclasses.replace(flow, axes=kept)]

    def _unsqueeze(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = inputs[0]
        axes = list(flow.axes)
        for place in sorted(self._axes(inputs, attributes, len(flow.axes) + 1)):
            axes.insert(place, ())
        return [dataclasses.replace(flow, axes=tuple(axes))]

    def _reshape(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow, wanted = inputs[0], inputs[1]
        if not isinstance(flow, Flow) or not isinstance(wanted, Constant):
            raise ValueError("its shape depends on the model's input")
        shape = target_shape(flow.shape, wanted.array, attributes.get("allowzero", 0))
        atoms = [atom for axis in bare(flow) for atom in axis]
        axes: list[Axis] = []
        for size in shape:
            axis: Axis = ()
            while atoms and math.prod(flow.sizes[atom] for atom in axis) < size:
                axis += (atoms.pop(0),)
            if not axis and atoms and size == 1 == flow.sizes[atoms[0]]:
                axis = (atoms.pop(0),)
            if math.prod(flow.sizes[atom] for atom in axis) != size:
                raise ValueError(f"it cuts through an axis: {flow.shape} becomes {shape}")
            axes.append(axis)
        if atoms:
            raise ValueError(f"{flow.shape} cannot become {shape}")
        return [dataclasses.replace(flow, axes=tuple(axes))]

    # Operators that are layers, or parts of layers.

    def _gather(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        table, index = inputs
        axis = attributes.get("axis", 0)
        state = isinstance(table, Stacked) or (isinstance(table, Flow) and table.state is not None)
        if state and isinstance(index, Constant) and index.array.size == 1:
            keep = index.array.ndim == 1
            return [take_state(table, axis % len(table.axes), int(index.array.reshape(-1)[0]), keep)]
        if isinstance(table, Constant) and isinstance(index, Flow):
            if self.chain or axis != 0 or table.array.ndim != 2 or table.sampled or len(index.axes) != 2:
                raise ValueError("it is no embedding of the model's input, (T, B) or (B, T)")
            layer = Embedding(*table.array.shape)
            sizes = {**index.sizes, "F": table.array.shape[1]}
            changes: dict[str, Any] = {"axes": (*index.axes, ("F",)), "sizes": sizes}
            return [self.append(self.flow(index), layer, {"weight": table.array}, **changes)]
        if isinstance(table, Flow) and isinstance(index, Constant) and index.array.size == 1:
            place = slice(int(index.array.reshape(-1)[0]), None)
            return [self._take_last(table, axis % len(table.axes), place, keep=index.array.ndim == 1)]
        raise ValueError("it takes other places than the last step")

    def _slice(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = inputs[0]
        arrays = [value.array if isinstance(value, Constant) else np.empty(0) for value in inputs]
        result = flow
        for axis, part in enumerate(slices(arrays, attributes, len(flow.axes))):
            start, stop, step = part.indices(flow.shape[axis])
            if (start, stop, step) == (0, flow.shape[axis], 1):
                continue
            if flow.axes[axis] == ("D",) and flow.half is None and (stop - start, step) == (1, 1):
                axes = (*result.axes[:axis], (), *result.axes[axis + 1 :])
                result = dataclasses.replace(result, axes=axes, half=start)
                continue
            if step != 1 or stop != flow.shape[axis]:
                raise ValueError("it cuts off steps, rows or features, or turns them round")
            result = self._take_last(result, axis, slice(start, None), keep=True)
        return [result]

    def _take_last(self, flow: Flow, axis: int, place: slice, keep: bool) -> Flow:
        """The last step of the layer's output."""
        steps = flow.shape[axis]
        if bare(flow)[axis] != ("T",) or place.start not in (-1, steps - 1):
            raise ValueError("it takes other places than the last step")
        if self.lengths is not None:
            raise ValueError("it takes step T-1, which is not the last one of a row shorter than T")
        middle: tuple[Axis, ...] = ((),) if keep else ()
        axes = (*flow.axes[:axis], *middle, *flow.axes[axis + 1 :])
        return self.append(self.flow(flow), LastStep(), {}, axes=axes)

    def _last_step(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        """Each row's own last step; with a third input, the half of the features, both ends."""
        half = inputs[2]
        flow = self._own_steps(inputs)
        if half is not None and (not isinstance(half, Constant) or 2 * half.array.item() != flow.shape[-1]):
            raise ValueError("it is not both directions, each where it ends")
        layer = LastStep(bidirectional=half is not None)
        return [self.append(flow, layer, {}, axes=(("B",), flow.axes[2]))]

    def _own_mean(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = self._own_steps(inputs)
        return [self.append(flow, MeanPool(), {}, axes=(("B",), flow.axes[2]))]

    def _own_steps(self, inputs: list[Any]) -> Flow:
        """What is pooled, (T, B, F), if it is so over the rows' lengths where these are an input."""
        flow, lengths = self.flow(inputs[0]), inputs[1]
        raw = lengths is None or (isinstance(lengths, Flow) and not lengths.layers and len(lengths.axes) == 1)
        if not raw or self.lengths != (None if lengths is None else lengths.origin):
            raise ValueError("it does not follow the lengths that the layers before it take")
        if bare(flow)[:2] != (("T",), ("B",)) or len(flow.axes) != 3:
            raise ValueError("its input does not consist of steps, rows and features")
        return flow

    def _concat(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        """Both directions side by side, each having been cut out; or final states of several layers."""
        if all(isinstance(value, Flow) and value.state is not None for value in inputs):
            axis = attributes["axis"] % len(inputs[0].axes)
            parts = whole_states(inputs, axis)
            if parts:
                return [Stacked(tuple(parts), axis)]
        if len(inputs) != 2 or any(not isinstance(value, Flow) for value in inputs):
            raise ValueError("it joins something other than two directions")
        first, second = inputs
        axis = attributes["axis"] % len(first.axes)
        if second != dataclasses.replace(first, half=1) or first.half != 0 or first.axes[axis] != ("F",):
            raise ValueError(
                "it joins something other than the forward and the reverse direction, in this order"
            )
        axes = (*first.axes[:axis], ("D", "F"), *first.axes[axis + 1 :])
        return [dataclasses.replace(first, axes=axes, half=None)]

    def _reduce_mean(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = self.flow(inputs[0])
        (axis, *more) = self._axes(inputs, attributes, len(flow.axes))
        if more or bare(flow)[axis] != ("T",) or self.lengths is not None:
            raise ValueError("it is no mean over all steps")
        middle: tuple[Axis, ...] = ((),) if attributes.get("keepdims", 1) else ()
        return [self.append(flow, MeanPool(), {}, axes=(*flow.axes[:axis], *middle, *flow.axes[axis + 1 :]))]

    def _reduce_sum(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = self.flow(inputs[0])
        (axis, *more) = self._axes(inputs, attributes, len(flow.axes))
        layer, values = self.chain[-1] if self.chain else (None, {})
        if more or flow.axes[axis] != ("D",) or not isinstance(layer, Bidirectional):
            raise ValueError("it is no sum of the two directions")
        self.chain[-1] = (Bidirectional(layer.layer, merge="sum"), values)
        middle: tuple[Axis, ...] = ((),) if attributes.get("keepdims", 1) else ()
        axes = (*flow.axes[:axis], *middle, *flow.axes[axis + 1 :])
        return [dataclasses.replace(flow, axes=axes, sizes={**flow.sizes, "D": 1})]

    def _dense(self, value: Value, weight: Array, bias: Array) -> list[Value]:
        flow = self.flow(value)
        outputs, inputs = weight.shape
        if self.features(flow) != inputs:
            raise ValueError(f"its weights take {inputs} features, but {flow.shape[-1]} come")
        sizes = {**flow.sizes, "F": outputs, "D": 1}
        axes = (*flow.axes[:-1], ("F",))
        return [
            self.append(
                flow, Dense(inputs, outputs), {"weight": weight, "bias": bias}, axes=axes, sizes=sizes
            )
        ]

    def _matmul(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        weight = inputs[1]
        if not isinstance(weight, Constant) or weight.array.ndim != 2 or weight.sampled:
            raise ValueError("it is no product with a matrix of the file")
        return self._dense(inputs[0], weight.array.T, np.zeros(weight.array.shape[1], weight.array.dtype))

    def _add(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow, bias = inputs if isinstance(inputs[0], Flow) else inputs[::-1]
        whole = self.open_bias is not None and self.values.get(self.open_bias) is flow
        if not whole or not isinstance(bias, Constant) or bias.sampled:
            raise ValueError("it is no bias of a product before it")
        _, values = self.chain[-1]
        if bias.array.size != values["bias"].size or bias.array.size != bias.array.shape[-1]:
            raise ValueError(f"it adds an array of shape {bias.array.shape}, which is no bias")
        values["bias"] = bias.array.reshape(-1)
        self.open_bias = None
        return [flow]

    def _gemm(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        value, weight, *rest = inputs
        plain = attributes.get("alpha", 1.0) == 1 == attributes.get("beta", 1.0) and not attributes.get(
            "transA"
        )
        bias = rest[0] if rest else None
        if not plain or not isinstance(weight, Constant) or weight.array.ndim != 2 or isinstance(bias, Flow):
            raise ValueError("it is no dense layer")
        matrix = weight.array if attributes.get("transB") else weight.array.T
        vector = np.zeros(len(matrix), matrix.dtype) if bias is None else bias.array.reshape(-1)
        return self._dense(value, matrix, vector)

    def _function(self, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = self.flow(inputs[0])
        if operator == "LogSoftmax":
            self._check_last_axis(flow, attributes)
        return [self.append(flow, make_activation(operator, attributes, None), {})]

    def _prelu(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow, slope = self.flow(inputs[0]), inputs[1]
        features = self.features(flow)
        if not isinstance(slope, Constant) or slope.array.size not in (1, features):
            raise ValueError("its slopes are not one for each feature, fixed in the file")
        values = {"slope": np.full(features, slope.array.reshape(-1))}
        return [self.append(flow, make_activation("PRelu", attributes, features), values)]

    def _check_last_axis(self, flow: Flow, attributes: dict[str, Any]) -> None:
        self.features(flow)
        usual = -1 if self.opset >= 13 else 1  # before, all axes from this one on were one
        if attributes.get("axis", usual) not in (-1, len(flow.axes) - 1):
            raise ValueError("it does not act on the features")

    def _softmax(self, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        flow = self.flow(inputs[0])
        self._check_last_axis(flow, attributes)
        return [dataclasses.replace(flow, head="Softmax")]
