"""What a pass changes of the equation: recurrent dropout, zoneout, and noise that is not drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .tracing import Trace
from .values import Value


@dataclass(frozen=True, slots=True)
class Variant:
    """Which of them a pass has."""

    dropout: bool = False
    zoneout: bool = False
    noise: bool = False


def rebuild(value: Value, replace: Callable[[Value], Value | None], made: dict[int, Value]) -> Value:
    """The value with some of those that it is made of replaced: where ``replace`` gives None, by their own
    parts."""
    if value.order not in made:
        new = replace(value)
        if new is None:
            args = tuple(rebuild(arg, replace, made) for arg in value.args)
            if value.op in ("linear", "slice"):
                new = value.graph.leaf(value.op, value.data, value.width, args=args)
            else:
                new = value.graph.make(value.op, *args) if args else value
        made[value.order] = new
        if new is not value and new.args:
            value.graph.origins.setdefault(new.order, value.order)
    return made[value.order]


def rewrite(trace: Trace, variant: Variant) -> tuple[Value, ...]:
    """The new states of a pass of this variant."""
    graph = trace.graph
    inside: dict[int, Value] = {}
    outside: dict[int, Value] = {}

    def enter(value: Value) -> Value | None:
        """In what meets a matrix: h under its mask."""
        if variant.dropout and value.op == "state" and value.data[0] == 0:
            return value * graph.leaf("mask", ("drop", 0), value.width)
        return replace(value)

    def replace(value: Value) -> Value | None:
        if value.op == "noise" and not variant.noise:
            return graph.number(0)
        if value.op == "linear":
            args = tuple(rebuild(arg, enter, inside) for arg in value.args)
            return graph.leaf("linear", value.data, value.width, args=args)
        return None

    outputs = tuple(rebuild(output, replace, outside) for output in trace.outputs)
    if not variant.zoneout:
        return outputs
    kept = []
    for place, output in enumerate(outputs):
        keep = graph.leaf("mask", ("keep", place), trace.state_sizes[place])
        kept.append(keep * output + (1 - keep) * trace.state(place))
    return tuple(kept)
