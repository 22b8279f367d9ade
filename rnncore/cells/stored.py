"""Equations as data: what a model file holds of a cell whose class is not known where it is read.

A traced step is a list of values, each an operation on earlier ones. Nothing in it is executed: reading
checks every entry and traces the same values again.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from ..checks import LARGEST_SIZE
from .cell import Cell
from .equation_data import MAX_VALUES, equation_data
from .operations import OPERATIONS
from .values import CellError, Value

MAX_STATES = 16
_ARITY = {"where": 3} | dict.fromkeys(
    ("add", "subtract", "multiply", "divide", "maximum", "minimum", "less"), 2
)
_STORED = [name for name in OPERATIONS if not name.endswith("_back")]


class StoredCell(Cell):
    """A cell whose equation was read from a file.

    Parameters
    ----------
    input_size, hidden_size
        I and H, as the cell had them.
    name
        What its class was called.
    states
        ``[name, size]`` of each state.
    values
        The traced step, a list for each value: its operation, then places of earlier values and what else it
        takes.
    outputs
        The places of the new states.
    **kwargs
        See `Cell`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        name: str,
        states: Sequence[Sequence[Any]],
        values: Sequence[Sequence[Any]],
        outputs: Sequence[int],
        **kwargs: Any,
    ) -> None:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 100:
            raise ValueError(f"name is {reprlib.repr(name)}; expected what a class is called")
        self.name = name
        self.states = [_state(entry) for entry in _listed("states", states, MAX_STATES)]
        self.values = _listed("values", values, MAX_VALUES)
        self.outputs = _listed("outputs", outputs, MAX_STATES)
        self.own_state_names = tuple(name for name, _ in self.states)
        if not self.states or len(set(self.own_state_names)) < len(self.states):
            raise ValueError(f"states are {reprlib.repr(self.own_state_names)}; expected one name or several")
        super().__init__(input_size, hidden_size, **kwargs)
        self.trace()

    def stored(self, known: bool) -> tuple[str, dict[str, Any]]:
        """As it came."""
        return "StoredCell", equation_data(self.trace(), self.name) | self.common()

    def state_sizes(self) -> tuple[int, ...]:
        return tuple(size for _, size in self.states)

    def step(self, x: Value, *states: Value) -> Any:
        """The values once more."""
        made: list[Value] = []
        for place, entry in enumerate(self.values):
            try:
                made.append(self._value(entry, x, states, made))
            except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
                problem = str(error).partition("\n")[0]
                text = f"its value {place}, {reprlib.repr(entry)}, is impossible: {problem}"
                raise CellError(text) from None
        outputs = tuple(made[_place(place, made)] for place in self.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def _value(self, entry: Any, x: Value, states: tuple[Value, ...], made: list[Value]) -> Value:
        op, *rest = _listed("it", entry, 70)
        trace = self._now()
        match op, rest:
            case "constant", [int() | float() as number]:
                return trace.graph.number(float(number))
            case "input", []:
                return x
            case "state", [int(place), int(lag)] if 0 <= place < len(states):
                return states[place] if lag == 1 else self.delayed(states[place], lag)
            case "noise", [int(width)]:
                return trace.noise(_size(width))
            case (("vector" | "scalar"), [str(name), int(size)]):
                return trace.vector(name, 0.0, _size(size), op == "scalar")
            case "linear", [str(name), int(size), bool(bias), damping, list(operands)]:
                given = tuple(made[_place(operand, made)] for operand in operands)
                factor = None if damping is None else float(damping)
                return trace.linear(name, given, _size(size), bias, factor)
            case "slice", [int(start), int(size), int(of)]:
                value = made[_place(of, made)]
                fits = 0 <= start <= value.width - size and size > 0 and start % size == 0
                if value.op != "linear" or not fits:
                    raise ValueError("expected a part of a linear map")
                return trace.graph.leaf("slice", (start, size), size, args=(value,))
        if not isinstance(op, str) or op not in _STORED or len(rest) != _ARITY.get(op, 1):
            raise ValueError("expected an operation of the language with its arguments")
        return trace.graph.make(op, *(made[_place(place, made)] for place in rest))


def _listed(name: str, given: Any, most: int) -> list[Any]:
    if not isinstance(given, (list, tuple)) or len(given) > most:
        raise ValueError(f"{name} is {reprlib.repr(given)}; expected a list of {most} entries at most")
    return list(given)


def _state(entry: Any) -> list[Any]:
    match entry:
        case [str(name), size] if name.isidentifier():
            return [name, _size(size)]
    raise ValueError(f"a state is {reprlib.repr(entry)}; expected its name and its size")


def _size(size: Any) -> int:
    if type(size) is not int or not 1 <= size <= LARGEST_SIZE:
        raise ValueError(f"a size is {reprlib.repr(size)}; expected a whole number from 1 to {LARGEST_SIZE}")
    return size


def _place(place: Any, made: list[Value]) -> int:
    if type(place) is not int or not 0 <= place < len(made):
        raise ValueError(f"a place is {reprlib.repr(place)}; expected one of the {len(made)} values before")
    return place
