"""A traced step as data that JSON holds: a list of values, each an operation on earlier ones."""

from __future__ import annotations

from typing import Any

from .derivative import reachable
from .tracing import Linear, Trace, Vector
from .values import Value

MAX_VALUES = 5000


def equation_data(trace: Trace, name: str) -> dict[str, Any]:
    """The arguments of a `StoredCell` of the same equation, without sizes and options."""
    values = reachable(trace.outputs)
    if len(values) > MAX_VALUES:
        raise ValueError(
            f"the equation of {name} has {len(values)} values; a file holds {MAX_VALUES} at "
            "most"
        )
    places = {value.order: place for place, value in enumerate(values)}
    return {
        "name": name,
        "states": [[n, size] for n, size in zip(trace.state_names, trace.state_sizes, strict=True)],
        "values": [_entry(trace, value, [places[arg.order] for arg in value.args]) for value in values],
        "outputs": [places[output.order] for output in trace.outputs],
    }


def _entry(trace: Trace, value: Value, args: list[int]) -> list[Any]:
    """A value as a list that JSON holds."""
    match value.op, value.data:
        case "constant", number:
            return ["constant", number]
        case "state", (place, lag):
            return ["state", place, lag]
        case "noise", _:
            return ["noise", value.width]
        case "vector", Vector() as vector:
            return ["scalar" if value.uniform else "vector", vector.name, vector.size]
        case "linear", Linear() as linear:
            return ["linear", linear.name, linear.size, linear.bias is not None, linear.damping, args]
        case "slice", (start, size):
            return ["slice", start, size, *args]
    return [value.op, *args]
