"""ONNX's RNN, GRU and LSTM on the way through a graph: weights, lengths, and where their states start."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...layers import Bidirectional
from .cells import GATES, check_sizes, from_onnx, make_cell
from .chain import Chain, Value
from .flows import Axis, Flow, Given, bare
from .folding import Constant

Array = NDArray[Any]
ATTRIBUTES = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "input_forget",
    "layout", "linear_before_reset",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Start:
    """Where the initial state of one direction comes from.

    Attributes
    ----------
    name
        An input of the file, None for a constant.
    axis, place
        The state is this place along this axis, (B, H); ``axis`` is None where it is the whole input.
    vector
        The constant, (H,), the same for each row.
    """

    name: str | None
    axis: int | None = None
    place: int = 0
    vector: Array | None = None

    def take(self, array: Array) -> Array:
        """The state out of the input."""
        return array if self.axis is None else array.take(self.place, self.axis)

    def rows_axis(self) -> int:
        """The axis of the input that the rows are along."""
        return 1 if self.axis == 0 else 0


class RecurrentReader(Chain):
    """A chain that knows recurrent operators; ``initial`` has by layer, part and direction how they start."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.initial: dict[tuple[int, int, int], Start] = {}

    def recurrent(self, kind: str, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
        """Take a recurrent operator; its outputs are Y and the final states."""
        inputs = inputs + [None] * (8 - len(inputs))
        layout = attributes.get("layout", 0)
        flow = self.flow(inputs[0])
        flow = self._pin(flow, "BT" if layout else "TB")
        weights = _weights(kind, inputs)
        directions, rows, features = weights["W"].shape
        units = attributes.get("hidden_size", rows // GATES[kind])
        if features != self.features(flow):
            raise ValueError(f"W takes {features} features, but {flow.shape[-1]} come")
        check_sizes(kind, weights, units)
        way = attributes.get("direction", b"forward")
        if way == b"reverse":
            raise ValueError("its direction is reverse, and no layer here reads backwards only")
        if way not in (b"forward", b"bidirectional") or directions != (2 if way == b"bidirectional" else 1):
            raise ValueError(f"its direction is {way!r}, but W has {directions} directions")
        cell = make_cell(kind, features, units, attributes, directions, "P" in weights)
        names = cell.parameter_shapes()
        values: dict[str, Array] = {}
        for number in range(directions):
            suffix = "_reverse" if number else ""
            own = {f"{name}{suffix}": shape for name, shape in names.items()}
            values |= from_onnx(kind, {name: array[number] for name, array in weights.items()}, own, suffix)
        self._take_lengths(inputs[4], flow.sizes["T"])
        sizes = {**flow.sizes, "D": directions, "F": units}
        layer = cell if directions == 1 else Bidirectional(cell)
        order: tuple[Axis, ...] = (
            (("B",), ("T",), ("D",), ("F",)) if layout else (("T",), ("D",), ("B",), ("F",))
        )
        y = self.append(flow, layer, values, axes=order, sizes=sizes)
        for part, value in enumerate(inputs[5:7]):
            self._take_initial(value, part, layout, (directions, units))
        final = tuple(axis for axis in order if axis != ("T",))
        return [
            y,
            *(dataclasses.replace(y, axes=final, state=part) for part in range(2 if kind == "LSTM" else 1)),
        ]

    def _pin(self, flow: Flow, order: str) -> Flow:
        """The first two axes by name; the first recurrent operator says which is which."""
        if not self.order:
            if len(flow.axes) != 3 or sorted(flow.axes[:2]) != [("0",), ("1",)]:
                raise ValueError("its input does not consist of steps, rows and features")
            named = dict(zip((flow.axes[0][0], flow.axes[1][0]), order, strict=True))
            self.order = named["0"] + named["1"]
            sizes = {named.get(atom, atom): size for atom, size in flow.sizes.items()}
            flow = dataclasses.replace(flow, axes=((order[0],), (order[1],), flow.axes[2]), sizes=sizes)
        if bare(flow)[:2] != ((order[0],), (order[1],)) or len(flow.axes) != 3:
            raise ValueError("its input does not consist of steps, rows and features, in its layout's order")
        return flow

    def _take_lengths(self, value: Value, steps: int) -> None:
        if isinstance(value, Constant):
            if not (value.array == steps).all():
                raise ValueError(
                    "its sequence_lens are fixed in the file, where the rows' lengths are an input here"
                )
        elif isinstance(value, Flow):
            if value.layers or len(value.axes) != 1 or self.lengths not in (None, value.origin):
                raise ValueError("its sequence_lens are no input of the model, the same for all layers")
            self.lengths = value.origin
        elif value is not None:
            raise ValueError("its sequence_lens are no input of the model")
        elif self.lengths is not None:
            raise ValueError("it has no sequence_lens, but a layer before it has")

    def _take_initial(self, value: Value, part: int, layout: int, size: tuple[int, int]) -> None:
        """Note where the last layer's states start, of each direction; ``size`` is (D, H)."""
        directions, units = size
        layer = len(self.chain) - 1
        if value is None:
            return
        if not isinstance(value, (Constant, Given)):
            raise ValueError(
                "its initial state is computed by other layers, and only zero, fixed numbers and an input of "
                "the model are known"
            )
        array = value.array if isinstance(value, Constant) else value.places
        if array.ndim == 3 and layout:
            array = array.swapaxes(0, 1)
        if array.ndim != 3 or array.shape[::2] != size:
            raise ValueError(
                f"its initial state has shape {array.shape}, but ({directions}, B, {units}) is expected"
            )
        for way, state in enumerate(array):
            if isinstance(value, Given):
                self.initial[layer, part, way] = self._find(value.origin, state)
            elif state.any():
                if not (state == state[:1]).all():
                    raise ValueError("its initial state is fixed in the file, and not the same for each row")
                self.initial[layer, part, way] = Start(None, vector=state[0])

    def _find(self, name: str, state: Array) -> Start:
        """Which part of an input has these places."""
        whole = self.values[name]
        assert isinstance(whole, Given)
        if np.array_equal(whole.places, state):
            return Start(name)
        for axis in range(2 if whole.places.ndim == 3 else 0):
            for place in range(whole.places.shape[axis]):
                if np.array_equal(whole.places.take(place, axis), state):
                    return Start(name, axis, place)
        raise ValueError(f"its initial state is no layer's part of the input {name[:80]!r}")


def _weights(kind: str, inputs: list[Any]) -> dict[str, Array]:
    """W, R, and B and P if they are there."""
    found: dict[str, Array] = {}
    for name, value in [("W", inputs[1]), ("R", inputs[2]), ("B", inputs[3]), ("P", inputs[7])]:
        if value is None and name in "BP":
            continue
        if not isinstance(value, Constant) or value.sampled:
            raise ValueError(
                f"its weights {name} are not in the file; pass values= if they are inputs of the model"
            )
        found[name] = value.array
    if found["W"].ndim != 3:
        raise ValueError(f"W has shape {found['W'].shape}, but three axes are wanted")
    return found
