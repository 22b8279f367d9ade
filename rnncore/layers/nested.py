"""Layers made of layers: parameters, states and modes of the parts; and the chain of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..brief import brief
from .base import Array, Layer, Lengths, State
from .chain import check_chain
from .registry import build, describe


@brief
@dataclass(slots=True)
class NestedTape:
    """The tapes of the parts, in their order; what else the layer keeps; B; and the rows' lengths."""

    parts: tuple[Any, ...]
    kept: Any = None
    rows: int | None = None
    lengths: Lengths = None


class Nested(Layer):
    """A layer of named parts, whose parameters are ``"<part>.<name>"`` in the one flat buffer.

    The state is a tuple with one entry per part, or None where no part has one.
    """

    tape_type = NestedTape

    def __init__(self, parts: Mapping[str, Layer]) -> None:
        super().__init__()
        for name, part in parts.items():
            if not isinstance(part, Layer):
                raise TypeError(f"{name} is a {type(part).__name__}; expected a layer")
            if part.rng is not None:
                raise ValueError(f"{name}, {part}, belongs to a network already; make a new one")
        if len({id(part) for part in parts.values()}) < len(parts):
            raise ValueError("one layer stands in two places; make a new one for each")
        self.parts = dict(parts)
        self.looks_ahead = any(part.looks_ahead for part in parts.values())  # type: ignore[misc]

    @property
    def children(self) -> tuple[Layer, ...]:
        """The parts, in their order."""
        return tuple(self.parts.values())

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{part}.{name}": shape
            for part, layer in self.parts.items()
            for name, shape in layer.parameter_shapes().items()
        }

    def multiply_adds(self) -> int:
        return sum(part.multiply_adds() for part in self.children)

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        for name, part in self.parts.items():
            part.initialize(_own(params, name, part), rng)

    def bind(
        self,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
        dtype: np.dtype[Any],
        rng: np.random.Generator,
    ) -> None:
        super().bind(params, grads, dtype, rng)
        for name, part in self.parts.items():
            part.bind(_own(params, name, part), _own(grads, name, part), dtype, rng)

    def pack(self) -> None:
        for part in self.children:
            part.pack()

    def unpack(self) -> None:
        for part in self.children:
            part.unpack()

    def zero_state(self, rows: int, steps: int) -> State:
        states = tuple(part.zero_state(rows, steps) for part in self.children)
        return None if all(state is None for state in states) else states

    def check_state(self, argument: str, state: State, rows: int) -> None:
        if state is None:
            return
        if not isinstance(state, tuple) or len(state) != len(self.parts):
            parts = f"{len(self.parts)} entries, one per part of {self}"
            raise ValueError(f"{argument} is not a tuple of {parts}")
        for name, part, own in zip(self.parts, self.children, state, strict=True):
            part.check_state(f"{argument} of {name}", own, rows)

    def fits(self, tape: Any) -> bool:
        pairs = zip(self.children, tape.parts, strict=False)
        return len(tape.parts) == len(self.parts) and all(
            isinstance(own, part.tape_type) and part.fits(own) for part, own in pairs
        )

    def _enter(self, state: State) -> tuple[State, ...]:
        """The parts' states; each part is told whether this is training."""
        self.require_bound()
        for part in self.children:
            part.training = self.training
        return (None,) * len(self.parts) if state is None else state

    @staticmethod
    def _leave(states: Sequence[State]) -> State:
        return None if all(state is None for state in states) else tuple(states)


def _own(params: Mapping[str, Array], name: str, part: Layer) -> dict[str, Array]:
    return {own: params[f"{name}.{own}"] for own in part.parameter_shapes()}


class Chain(Nested):
    """Layers one after the other as one layer, for a branch of `Concat` or what `Residual` goes around.

    Parameters
    ----------
    *layers
        At least one, or their configurations.
    layers
        The same as a list, as a configuration has it.
    """

    def __init__(self, *given: Layer | Mapping[str, Any], layers: Sequence[Any] = ()) -> None:
        made = [as_layer(f"layer {place}", layer) for place, layer in enumerate((*given, *layers))]
        if not made:
            raise ValueError("a Chain needs at least one layer")
        super().__init__({str(place): layer for place, layer in enumerate(made)})
        self._takes = check_chain(made)
        self.pools = any(layer.pools for layer in made)  # type: ignore[misc]
        self.takes_ids = made[0].takes_ids  # type: ignore[misc]
        self.takes_rows = all(layer.takes_rows for layer in made)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.children))})"

    def config(self) -> dict[str, Any]:
        return {"layers": [describe(layer) for layer in self.children]}

    def features(self) -> tuple[int | None, int | None]:
        return self._takes, self.gives(self._takes)

    def gives(self, features: int | None) -> int | None:
        for layer in self.children:
            features = layer.gives(features)
        return features

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, NestedTape | None]:
        states, tapes = [], []
        rows = x.shape[-1 if self.takes_ids or x.ndim == 1 else -2]
        for layer, own in zip(self.children, self._enter(state), strict=True):
            x, final, tape = layer.forward(x, own, lengths, record)
            states.append(final)
            tapes.append(tape)
            lengths = None if layer.pools else lengths
        return x, self._leave(states), NestedTape(tuple(tapes), rows=rows) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        layers, initial = self.children, [None] * len(self.parts)
        dstates = initial if dstate is None else dstate
        gradient: Array | None = dy
        for place in reversed(range(len(layers))):
            assert gradient is not None  # only ids have none, and they come first
            wanted = input_gradient or place > 0
            gradient, initial[place] = layers[place].backward(
                gradient, tape.parts[place], dstates[place], wanted
            )
        return gradient, self._leave(initial)


def as_layer(name: str, given: Any) -> Layer:
    """A layer as it is; one made from its configuration; several as a `Chain`."""
    if isinstance(given, Layer):
        return given
    if isinstance(given, Mapping):
        return build(given)
    if isinstance(given, (list, tuple)):
        return Chain(*given)
    raise TypeError(f"{name} is a {type(given).__name__}; expected a layer, or a list of layers")


def parts_of(layer: Layer) -> list[Layer]:
    """The layer and all layers within it, however deep."""
    return [layer, *(inner for child in getattr(layer, "children", ()) for inner in parts_of(child))]
