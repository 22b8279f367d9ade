"""What exporters write as many nodes, put back as the one that it means, before a graph is followed.

Two such things are known: rows' own last step and mean, as `export` writes them, and an Elman layer of which
each step is written out, as ``torch.onnx.export(..., dynamo=True)`` does with ``nn.RNN``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Found = dict[str, str]
Pattern = Any  # a tuple of patterns, see below

#: operators that occur in these and have no layer of their own
OPERATORS = ("GatherND", "Less", "Range", "Relu", "Tanh")
FUNCTIONS = ("Tanh", "Relu")
SHAPING = ("Expand", "Identity", "Slice", "Squeeze", "Unsqueeze")  # what zeros go through and stay zeros
INT64 = 7  # TensorProto.INT64

# A pattern is (operator, attributes, inputs...), a constant of that value, or a name for whatever is there,
# which must be the same wherever the name stands. These mirror `_Writer`.
LONGS: Pattern = ("Cast", {"to": INT64}, "lengths")


def _counting(axis: int) -> Pattern:
    """0, 1, ... along an axis of x, as a column."""
    size: Pattern = ("Gather", {"axis": 0}, ("Shape", {}, "x"), axis)
    return "Unsqueeze", {}, ("Range", {}, 0, size, 1), [1]


PLACES: Pattern = ("Concat", {"axis": 1}, ("Unsqueeze", {}, ("Sub", {}, LONGS, [1]), [1]), _counting(1))
LAST_STEP: Pattern = ("Gather", {"axis": 0}, "x", -1)
OWN_LAST_STEP: Pattern = ("GatherND", {}, "x", PLACES)
VALID: Pattern = ("Unsqueeze", {}, ("Less", {}, _counting(0), LONGS), [2])
OWN_MEAN: Pattern = (
    "Div", {},
    ("ReduceSum", {"keepdims": 0}, ("Where", {}, VALID, "x", "zero"), [0]),
    ("Cast", {"to": 1}, ("Unsqueeze", {}, LONGS, [1])),
)  # fmt: skip


def _both_ends(last: Pattern) -> Pattern:
    first = ("Gather", {"axis": 0}, "x", 0)
    halves: Pattern = ("Slice", {}, last, [0], "half", [1]), ("Slice", {}, first, "half", "all", [1])
    return "Concat", {"axis": 1}, *halves


POOLS = {
    "LastStep": (OWN_LAST_STEP, _both_ends(OWN_LAST_STEP), _both_ends(LAST_STEP)),
    "MeanPool": (OWN_MEAN,),
}


@dataclasses.dataclass
class Loop:
    """The steps of one direction of an Elman layer, in the order in which they are made."""

    function: str
    projected: str  # W_ih x + b_ih, (T, B, H)
    start: str  # W_hh h[-1] + b_hh
    steps: list[str]
    recurrent: tuple[str, str | None] = ("", None)  # names of weights and bias
    nodes: set[int] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True, eq=False)
class Direction:
    """A loop, and what it reads."""

    loop: Loop
    x: str
    reverse: bool
    weights: dict[str, Array]  # W, R, B as ONNX's RNN has them
    place: int  # of the node that reads x first

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, I)."""
        return self.weights["W"].shape


def label(node: Any) -> str:
    """A node as messages name it."""
    kind = str(node.op_type)[:80]
    return f"node {str(node.name)[:80]!r} ({kind if kind.isidentifier() else repr(kind)})"


class Restorer:
    """Nodes in order, who makes what, and the constants of the file."""

    def __init__(self, onnx: Any, nodes: Iterable[Any], constants: Mapping[str, Array]) -> None:
        self.onnx, self.nodes, self.constants = onnx, list(nodes), constants
        self.made = {name: place for place, node in enumerate(self.nodes) for name in node.output}
        self.instead: dict[int, list[Any]] = {}
        self.absorbed: set[int] = set()  # gone, unless somebody else reads what they make
        self.added: dict[str, Array] = {}
        self.joined: dict[tuple[str, ...], list[int]] = {}  # what is put behind each other, and where
        for place, node in enumerate(self.nodes):
            if node.op_type == "Concat" and self._attributes(node) == {"axis": 0}:
                self.joined.setdefault(tuple(node.input), []).append(place)

    def restore(self, outputs: Iterable[str]) -> list[Any]:
        """The nodes as the graph means them; ``added`` has the constants that they read besides.

        ValueError for a recurrence that is written out and is none of our layers.
        """
        for place in range(len(self.nodes)):
            self._pool(place)
        directions = [self._direction(loop) for loop in self._loops()]
        while directions:
            one = directions.pop(0)
            other = next((two for two in directions if two.x == one.x and two.reverse != one.reverse), None)
            if other and (other.loop.function, other.shape) == (one.loop.function, one.shape):
                directions.remove(other)
                self._layer([other, one] if one.reverse else [one, other])
            else:
                self._layer([one])
        return self._needed({*outputs})

    def _needed(self, names: set[str]) -> list[Any]:
        kept: list[Any] = []
        for place in reversed(range(len(self.nodes))):
            for node in reversed(self.instead.get(place, [self.nodes[place]])):
                if place not in self.absorbed or names & {*node.output}:
                    kept.append(node)
                    names |= {*node.input}
        return kept[::-1]

    # Patterns of a fixed shape.

    def _pool(self, place: int) -> None:
        node = self.nodes[place]
        for kind, patterns in POOLS.items():
            for pattern in patterns:
                found: Found = {}
                inner: set[int] = set()
                if node.output and self._matches(node.output[0], pattern, found, inner):
                    if "zero" in found and not self._is_zero(found["zero"]):
                        return
                    names = [found["x"], found.get("lengths", ""), found.get("half", "")]
                    made = self.onnx.helper.make_node(kind, names, [*node.output], name=node.name)
                    self.instead[place] = [made]
                    self.absorbed |= inner - {place}

    def _matches(self, name: str, pattern: Pattern, found: Found, inner: set[int]) -> bool:
        """Whether a value was made so; ``found`` has what the names stand for, ``inner`` the nodes."""
        if isinstance(pattern, str):
            return found.setdefault(pattern, name) == name
        if not isinstance(pattern, tuple):
            return name in self.constants and np.array_equal(self.constants[name], pattern)
        operator, attributes, *inputs = pattern
        place = self.made.get(name)
        if place is None:
            return False
        node = self.nodes[place]
        inner.add(place)
        return (
            node.op_type == operator
            and len(node.input) == len(inputs)
            and self._attributes(node) == attributes
            and all(
                self._matches(made, part, found, inner) for made, part in zip(node.input, inputs, strict=True)
            )
        )

    def _attributes(self, node: Any) -> dict[str, Any]:
        value = self.onnx.helper.get_attribute_value
        return {attribute.name: value(attribute) for attribute in node.attribute}

    # Loops that are written out.

    def _producer(self, name: str, operator: str, inputs: int) -> tuple[int, list[str]] | None:
        """Place and inputs of the node of this kind that makes a value."""
        place = self.made.get(name)
        if place is None or self.nodes[place].op_type != operator:
            return None
        given = [*self.nodes[place].input]
        return (place, given) if len(given) >= inputs else None

    def _affine(self, name: str) -> tuple[str, str, str | None, set[int]] | None:
        """x, weights and bias or None of x @ weights + bias, and its nodes."""
        nodes: set[int] = set()
        bias = None
        add = self._producer(name, "Add", 2)
        if add:
            place, (left, right, *_) = add
            name, bias = (left, right) if right in self.constants else (right, left)
            nodes.add(place)
        product = self._producer(name, "MatMul", 2)
        if not product or product[1][1] not in self.constants or not (bias is None or bias in self.constants):
            return None
        place, (x, weights, *_) = product
        return x, weights, bias, nodes | {place}

    def _part(self, name: str) -> tuple[str, int, set[int]] | None:
        """Whose step a value is, and which: ``values[k]``."""
        squeeze = self._producer(name, "Squeeze", 2)
        cut = squeeze and self._producer(squeeze[1][0], "Slice", 4)
        if not squeeze or not cut:
            return None
        start, end, axis, gone = self._whole_numbers([*cut[1][1:4], squeeze[1][1]])
        if start is None or end != start + 1 or start < 0 or (axis, gone) != (0, 0) or len(cut[1]) > 4:
            return None
        return cut[1][0], start, {squeeze[0], cut[0]}

    def _whole_numbers(self, names: list[str]) -> list[int | None]:
        """The constants of one whole number each, None for others."""
        arrays = [self.constants.get(name) for name in names]
        return [
            int(array[0]) if array is not None and array.shape == (1,) and array.dtype.kind == "i" else None
            for array in arrays
        ]

    def _loops(self) -> list[Loop]:
        found: dict[str, Loop] = {}  # by the step that was made last
        for place, node in enumerate(self.nodes):
            if node.op_type not in FUNCTIONS or len(node.input) != 1 or len(node.output) != 1:
                continue
            add = self._producer(node.input[0], "Add", 2)
            if not add:
                continue
            for past, given in (add[1][:2], add[1][1::-1]):
                part = self._part(given)
                if not part:
                    continue
                projected, step, nodes = part
                nodes |= {place, add[0]}
                if step == 0:
                    loop = Loop(node.op_type, projected, past, [node.output[0]], nodes=nodes)
                    found[node.output[0]] = loop
                    break
                if self._continue(found, node, projected, step, past, nodes):
                    break
        return [*found.values()]

    def _continue(
        self, found: dict[str, Loop], node: Any, projected: str, step: int, past: str, nodes: set[int]
    ) -> bool:
        """Whether a node is the next step of a loop, which is then longer by it."""
        affine = self._affine(past)
        loop = found.get(affine[0]) if affine else None
        if not affine or not loop or (loop.function, loop.projected) != (node.op_type, projected):
            return False
        weights = affine[1:3]
        if len(loop.steps) != step or (step > 1 and loop.recurrent != weights):
            return False
        del found[affine[0]]
        loop.recurrent = weights
        loop.steps.append(node.output[0])
        loop.nodes |= nodes | affine[3]
        found[node.output[0]] = loop
        return True

    def _is_zero(self, name: str) -> bool:
        for _ in range(len(SHAPING) * 2):
            if name in self.constants:
                return not self.constants[name].any()
            place = self.made.get(name)
            if place is None or self.nodes[place].op_type not in SHAPING or not self.nodes[place].input:
                return False
            name = self.nodes[place].input[0]
        return False

    def _starts_from_zero(self, loop: Loop) -> bool:
        """Whether the first step adds W_hh 0 + b_hh."""
        weights, bias = loop.recurrent
        if loop.start in self.constants:
            first = self.constants[loop.start]
            wanted = (
                np.zeros(len(self.constants[weights])) if bias is None else self.constants[bias].reshape(-1)
            )
            return bool(first.shape[-1:] == wanted.shape and (first == wanted).all())
        affine = self._affine(loop.start)
        if not affine or affine[1:3] != (weights, bias) or not self._is_zero(affine[0]):
            return False
        loop.nodes |= affine[3]
        return True

    def _direction(self, loop: Loop) -> Direction:
        """The loop with its weights; ValueError unless they are of an Elman layer that starts from zero."""
        direction = self._elman(loop) if len(loop.steps) > 1 else None
        if direction is None:
            node = self.nodes[self.made[loop.steps[0]]]
            raise ValueError(
                f"{label(node)} cannot be imported: it is a step of a recurrence that is written out, which "
                "can be read as an RNN only if there are two steps or more from a zero state; PyTorch writes "
                "an RNN operator with torch.onnx.export(..., dynamo=False)"
            )
        return direction

    def _elman(self, loop: Loop) -> Direction | None:
        flip = self._producer(loop.projected, "Slice", 5)
        reverse = False
        projected = loop.projected
        if flip:
            start, end, axis, stride = self._whole_numbers(flip[1][1:5])
            reverse = (start, axis, stride) == (-1, 0, -1) and end is not None and end < -(2**31)
            projected = flip[1][0]
        affine = self._affine(projected)
        if not affine or bool(flip) != reverse:
            return None
        x, weights, bias, nodes = affine
        recurrent, recurrent_bias = loop.recurrent
        matrices = self.constants[weights], self.constants[recurrent]
        units = len(matrices[1]) if matrices[1].ndim == 2 else 0
        if matrices[0].ndim != 2 or matrices[1].shape != (units, units) or matrices[0].shape[1] != units:
            return None
        biases = [
            np.zeros(units, matrices[0].dtype) if name is None else self.constants[name].reshape(-1)
            for name in (bias, recurrent_bias)
        ]
        if any(part.size != units for part in biases) or not self._starts_from_zero(loop):
            return None
        found = {"W": matrices[0].T, "R": matrices[1].T, "B": np.concatenate(biases)}
        loop.nodes |= nodes | ({flip[0]} if flip else set())
        return Direction(loop, x, reverse, found, min(nodes))

    def _layer(self, directions: list[Direction]) -> None:
        """One RNN in place of all steps, and its results under the names that they had."""
        number = len(self.added)
        node = self.onnx.helper.make_node
        first = directions[0]
        place = min(direction.place for direction in directions)
        label = str(self.nodes[place].name)

        def constant(key: str, array: Any) -> str:
            name = f"restored {number} {key}"
            self.added[name] = np.ascontiguousarray(array)
            return name

        names = [
            constant(key, np.stack([direction.weights[key] for direction in directions])) for key in "WRB"
        ]
        one, two, axis, start = (constant(str(k), [k]) for k in (1, 2, 1, 0))
        y, final = f"restored {number} Y", f"restored {number} Y_h"
        way = ("reverse" if first.reverse else "forward") if len(directions) == 1 else "bidirectional"
        new = [
            node(
                "RNN", [first.x, *names], [y, final], name=label, direction=way,
                hidden_size=first.weights["R"].shape[0], activations=[first.loop.function] * len(directions),
            )
        ]  # fmt: skip
        for half, direction in enumerate(directions):
            steps = direction.loop.steps
            ends = (start, one) if half == 0 else (one, two)
            own_y, own_final = f"{y} {half}", steps[-1]
            new += [
                node("Slice", [y, *ends, axis], [own_y], name=label),
                node("Slice", [final, *ends, start], [own_final], name=label),
            ]
            for index in self.joined.get(tuple(steps[::-1] if direction.reverse else steps), []):
                new.append(node("Squeeze", [own_y, axis], [*self.nodes[index].output], name=label))
                self.instead[index] = []
            self.instead[self.made[own_final]] = []
            self.absorbed |= direction.loop.nodes
        self.instead[place] = [*new, *self.instead.get(place, [self.nodes[place]])]
        self.absorbed.add(place)
