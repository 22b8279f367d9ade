"""Tracing: ``step`` is called once with symbolic values; what it does with them is the equation."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .values import CellError, Graph, Value

Array = NDArray[Any]
Initial = float | Callable[[np.random.Generator, int], Array]  # what a learned vector starts as


@dataclass(eq=False, slots=True)
class Linear:
    """One linear map of the equation: name, rows, what its bias starts as (None: it has none)."""

    name: str
    size: int
    bias: Initial | None
    operands: tuple[Value, ...] = ()
    damping: float | None = None  # of an antisymmetric map


@dataclass(eq=False, slots=True)
class Vector:
    """Learned numbers: one for each unit, or one for all of them."""

    name: str
    size: int
    init: Initial


@dataclass(slots=True)
class Trace:
    """All that one call of ``step`` said."""

    input_size: int
    state_names: tuple[str, ...]
    state_sizes: tuple[int, ...]
    graph: Graph = field(default_factory=Graph)
    linears: list[Linear] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list)
    noises: list[int] = field(default_factory=list)  # the width of each draw
    depths: list[int] = field(default_factory=list)  # how many steps back each state is asked for
    outputs: tuple[Value, ...] = ()
    names: dict[int, str] = field(default_factory=dict)  # what step calls its values, by their order
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.depths = [1] * len(self.state_names)

    def name_of(self, value: Value) -> str | None:
        """What step calls a value, or what that was before it was rewritten."""
        order: int | None = value.order
        while order is not None:
            if order in self.names:
                return self.names[order]
            order = self.graph.origins.get(order)
        return None

    @property
    def x(self) -> Value:
        """The input of the step."""
        return self.graph.leaf("input", None, self.input_size)

    def state(self, place: int, lag: int = 1) -> Value:
        """A state ``lag`` steps back."""
        return self.graph.leaf("state", (place, lag), self.state_sizes[place])

    def take_name(self, name: Any, what: str) -> str:
        """``name``, if it is a new one that can name a parameter."""
        if not isinstance(name, str) or not name.isidentifier():
            raise CellError(f"{what} is named {name!r}; expected a name such as 'f'")
        if name in self.taken:
            raise CellError(
                f"the name {name!r} is used twice; every linear map, vector and scalar needs its own"
            )
        self.taken.add(name)
        return name

    def linear(
        self, name: Any, operands: tuple[Any, ...], size: int, bias: Any, damping: float | None = None
    ) -> Value:
        """See `Cell.linear`."""
        name = self.take_name(name, "a linear map")
        if not operands:
            raise CellError(
                f"the linear map {name!r} has no operand; expected linear(name, x, h) or the like"
            )
        for operand in operands:
            if not isinstance(operand, Value) or operand.graph is not self.graph:
                raise CellError(
                    f"the linear map {name!r} takes symbolic values, such as x and h, got {operand!r}"
                )
            if operand.uniform:
                raise CellError(
                    f"the linear map {name!r} takes values per unit, got one number for all units"
                )
        if len({id(operand) for operand in operands}) < len(operands):
            raise CellError(
                f"the linear map {name!r} has the same operand twice; one matrix for it is enough"
            )
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise CellError(
                f"the linear map {name!r} has size {size!r}; expected a whole number of at least 1"
            )
        initial = {True: 0.0, False: None}.get(bias, bias) if isinstance(bias, bool) else bias
        if initial is not None and not callable(initial):
            initial = float(initial)
        spec = Linear(name, int(size), initial, tuple(operands), damping)
        if damping is not None and {operand.width for operand in operands} != {spec.size}:
            raise CellError(
                f"the antisymmetric map {name!r} has {spec.size} units; its operands need as many, got "
                f"{', '.join(str(operand.width) for operand in operands)}"
            )
        self.linears.append(spec)
        return self.graph.leaf("linear", spec, spec.size, args=spec.operands)

    def vector(self, name: Any, init: Any, size: int, uniform: bool) -> Value:
        """See `Cell.vector` and `Cell.scalar`."""
        spec = Vector(self.take_name(name, "a vector"), size, init if callable(init) else float(init))
        self.vectors.append(spec)
        return self.graph.leaf("vector", spec, size, uniform)

    def delayed(self, state: Any, lag: Any) -> Value:
        """See `Cell.delayed`."""
        if not isinstance(state, Value) or state.op != "state" or state.data[1] != 1:
            raise CellError("delayed takes a state as step got it, such as self.delayed(h, 3)")
        if isinstance(lag, bool) or not isinstance(lag, (int, np.integer)) or not 1 <= lag <= 1 << 20:
            raise CellError(
                f"delayed takes a whole number of steps, at least 1 and at most 2**20, got {lag!r}"
            )
        place = state.data[0]
        self.depths[place] = max(self.depths[place], int(lag))
        return self.state(place, int(lag))

    def noise(self, width: int) -> Value:
        """A standard normal draw for each unit, step and row."""
        self.noises.append(width)
        return self.graph.leaf("noise", len(self.noises) - 1, width)

    def split(self, value: Any, parts: Any) -> tuple[Value, ...]:
        """See `Cell.split`."""
        if not isinstance(value, Value) or value.op != "linear":
            raise CellError(
                "split takes a linear map apart: self.split(self.linear(name, x, h, size=4 * H), 4)"
            )
        if not isinstance(parts, int) or parts < 1 or value.width % parts:
            raise CellError(f"a map of {value.width} units cannot be split into {parts!r} equal parts")
        size = value.width // parts
        return tuple(self.graph.leaf("slice", (k * size, size), size, args=(value,)) for k in range(parts))


def state_names(step: Callable[..., Any]) -> tuple[str, ...]:
    """What ``step(x, *states)`` calls its states."""
    parameters = list(inspect.signature(step).parameters.values())
    plain = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    if not plain or len(parameters) < 2:
        shown = ", ".join(map(str, parameters))
        raise CellError(
            f"step has the arguments ({shown}); expected step(self, x, h) or step(self, x, h, c, ...)"
        )
    return tuple(p.name for p in parameters[1:])


def run_step(trace: Trace, step: Callable[..., Any]) -> None:
    """Call ``step`` on the trace's input and states; keep what it returns and what it calls its values."""
    states = [trace.state(place) for place in range(len(trace.state_names))]
    code = getattr(step, "__func__", step).__code__

    place = code, code.co_firstlineno

    def watch(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal place
        if event == "return" and frame.f_code is code:
            place = code, frame.f_lineno
            for name, value in frame.f_locals.items():
                if isinstance(value, Value):
                    trace.names.setdefault(value.order, name)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        returned = step(trace.x, *states)
    finally:
        sys.setprofile(before)
    trace.outputs = _outputs(trace, returned, step.__qualname__, place)


def _outputs(trace: Trace, returned: Any, own: str, place: tuple[CodeType, int]) -> tuple[Value, ...]:
    """What the step ``own`` returned at this place, one value for each state."""
    names = trace.state_names
    values: Sequence[Any] = returned if isinstance(returned, tuple) else (returned,)
    if len(values) != len(names):
        listed, count, states = ", ".join(names), len(values), len(names)
        raise CellError(
            f"{own} returned {count} value{'s' * (count != 1)} for the {states} state{'s' * (states != 1)} "
            "it takes "
            f"({listed}); return one new value for each, in this order: return {listed}",
            place,
        )
    outputs = []
    for name, size, value in zip(names, trace.state_sizes, values, strict=True):
        if not isinstance(value, Value):
            try:
                value = trace.graph.lift(value)
            except CellError:
                came = "None" if value is None else f"a {type(value).__name__}"
                raise CellError(
                    f"{own} returned {came} as its new {name}; return a symbolic value, computed from x and "
                    "the "
                    "states",
                    place,
                ) from None
        if not value.uniform and value.width != size:
            raise CellError(
                f"{own} returned {value.width} units as its new {name}, which has {size}; give its last "
                "linear map "
                f"size={size}, or override state_sizes",
                place,
            )
        outputs.append(value)
    return tuple(outputs)
