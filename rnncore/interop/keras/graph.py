"""The layers of a configuration, and the one line in which they follow each other.

Every edge is read: which call of a layer, which of its results, and what else a call is given. What is not
in the line from the input to the output that is asked for does not matter; what is and is not understood
is refused by its name.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...data.table import listed

FUNCTIONAL = ("Functional", "Model")


class Tensor(NamedTuple):
    """A result of a layer's call."""

    layer: str
    call: int
    result: int


@dataclass(frozen=True)
class Call:
    """One use of a layer: the tensors it reads, other positional arguments, and named ones."""

    inputs: tuple[Tensor, ...]
    constants: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Node:
    """A layer of the configuration."""

    name: str
    kind: str
    own: dict[str, Any]
    calls: tuple[Call, ...]

    @property
    def label(self) -> str:
        """The layer as messages name it."""
        return f"its layer {self.name[:80]!r} ({self.kind[:80]})"


class Step(NamedTuple):
    """A layer in the line, the call, and which of its results the next one reads."""

    node: Node
    call: Call
    result: int


@dataclass(frozen=True)
class Graph:
    """All layers in the order of the file, and the results that the model gives."""

    nodes: dict[str, Node]
    outputs: tuple[Tensor, ...]

    def line(self, output: str | None = None) -> list[Step]:
        """The layers from the input to an output.

        ``output`` is the name of the layer whose result is asked for; None for the model's one output.
        """
        place = self._output(output)
        found: list[Step] = []
        while True:
            node, call = self._at(place)
            if node.name in [step.node.name for step in found]:
                raise ValueError(f"{node.label} is used twice, but a network is a chain of different layers")
            found.append(Step(node, call, place.result))
            if not call.inputs and (node.kind == "InputLayer" or self._is_first(node)):
                break
            if len(call.inputs) != 1:
                raise ValueError(f"{node.label} reads {_names(call.inputs)}, but a network is a chain")
            (place,) = call.inputs
        return found[::-1]

    def _output(self, output: str | None) -> Tensor:
        if output is not None:
            if output not in self.nodes:
                raise ValueError(f"output is {output!r}, but its layers are {listed(list(self.nodes))}")
            return next((own for own in self.outputs if own.layer == output), Tensor(output, 0, 0))
        if len(self.outputs) != 1:
            raise ValueError(
                f"it has {len(self.outputs)} outputs, {_names(self.outputs)}, but a network has one: "
                "pass output= with the name of the layer whose result you want"
            )
        return self.outputs[0]

    def _at(self, place: Tensor) -> tuple[Node, Call]:
        node = self.nodes.get(place.layer)
        if node is None or not 0 <= place.call < len(node.calls):
            raise ValueError(f"its layer {place.layer[:80]!r} is read, but has no call {place.call}")
        return node, node.calls[place.call]

    def _is_first(self, node: Node) -> bool:
        """Whether a layer without an input is that of a Sequential model that has no InputLayer."""
        return next(iter(self.nodes.values())) is node

    def masked_by(self, value: Any) -> tuple[Tensor, float] | None:
        """What tensor an explicit mask compares with what number; None if it is another mask.

        Keras 3 writes the mask of Embedding as not_equal(ids, 0) and that of Masking as any(not_equal(x,
        value), axis=-1).
        """
        for tensor in _tensors(value):
            node, call = self._at(tensor)
            if node.kind == "Any" and node.own.get("axis") == -1 and not node.own.get("keepdims"):
                if len(call.inputs) != 1:
                    return None
                node, call = self._at(call.inputs[0])
            constants = call.constants
            numbers = len(constants) == 1 and isinstance(constants[0], (int, float))
            if node.kind == "NotEqual" and len(call.inputs) == 1 and numbers:
                return call.inputs[0], float(constants[0])
        return None


def _names(tensors: tuple[Tensor, ...]) -> list[str]:
    return [tensor.layer[:80] for tensor in tensors[:5]]


def read_graph(config: Any) -> Graph:
    """The graph of a Sequential or functional model; ValueError for others."""
    if not isinstance(config, dict):
        raise ValueError("its configuration has no list of layers")
    kind, inner = config.get("class_name"), config.get("config")
    found = inner.get("layers") if isinstance(inner, dict) else inner  # Keras 1 and 2.0 wrote lists too
    if not isinstance(found, list) or not found:
        raise ValueError("its configuration has no list of layers")
    if kind != "Sequential" and kind not in FUNCTIONAL:
        raise ValueError(
            f"its model is of the class {reprlib.repr(kind)}, and only Sequential and functional ones say "
            "how their layers follow each other"
        )
    nodes: dict[str, Node] = {}
    before: str | None = None
    for layer in found:
        node = _node(layer, len(nodes), before if kind == "Sequential" else "")
        if node.name in nodes:
            raise ValueError(f"its configuration has two layers {node.name[:80]!r}")
        nodes[node.name] = node
        before = node.name
    if kind == "Sequential":
        return Graph(nodes, (Tensor(str(before), 0, 0),))
    outputs = tuple(_tensors(inner.get("output_layers"))) if isinstance(inner, dict) else ()
    if not outputs:
        raise ValueError("its configuration does not say which layers its outputs are")
    return Graph(nodes, outputs)


def _node(layer: Any, number: int, before: str | None) -> Node:
    """A layer; ``before`` is the one in front of it in a Sequential model, "" in others."""
    own = layer.get("config") if isinstance(layer, dict) else None
    kind = layer.get("class_name") if isinstance(layer, dict) else None
    if not isinstance(own, dict) or not isinstance(kind, str) or not kind.isidentifier():
        raise ValueError("its configuration has a layer without a class or without a configuration")
    name = str(layer.get("name") or own.get("name") or f"layer {number}")
    if before == "":
        calls = tuple(_calls(layer.get("inbound_nodes")))
        if kind == "InputLayer":
            calls = calls or (Call((), (), {}),)
    else:
        calls = (Call(() if before is None else (Tensor(before, 0, 0),), (), {}),)
    return Node(name, kind, own, calls)


def _calls(nodes: Any) -> Iterator[Call]:
    """The uses of a functional model's layer, in Keras 3's or Keras 2's notation."""
    for node in nodes if isinstance(nodes, list) else []:
        if isinstance(node, dict):
            given, options = node.get("args", []), node.get("kwargs", {})
            constants = tuple(value for value in given if not isinstance(value, (dict, list)))
            yield Call(tuple(_tensors(given)), constants, options if isinstance(options, dict) else {})
        else:
            options = {}
            for entry in _entries(node):
                if len(entry) > 3 and isinstance(entry[3], dict):
                    options |= entry[3]
            yield Call(tuple(_tensors(node)), (), options)


def _entries(value: Any) -> Iterator[list[Any]]:
    """Each [name, call, index, options] inside lists of any depth."""
    if isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(type(n) is int for n in value[1:3]):
            yield value
        else:
            for inner in value:
                yield from _entries(inner)


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of an argument, in order."""
    if isinstance(value, dict):
        own = value.get("config")
        history = own.get("keras_history") if isinstance(own, dict) else None
        if history is not None:
            yield from _tensors(history)
        else:
            for inner in value.values():
                yield from _tensors(inner)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(type(n) is int for n in value[1:3]):
            yield Tensor(*value[:3])
        else:
            for inner in value:
                yield from _tensors(inner)


def holds_tensor(value: Any) -> bool:
    """Whether a tensor is anywhere in a named argument."""
    return next(_tensors(value), None) is not None
