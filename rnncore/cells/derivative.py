"""Reverse mode over the straight line of a step: the gradient of everything from that of the new states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .operations import OPERATIONS
from .values import Value


def reachable(roots: Iterable[Value]) -> list[Value]:
    """The values that these are made of, and they themselves, each after its arguments."""
    found: dict[int, Value] = {}
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if value.order not in found:
            found[value.order] = value
            waiting.extend(value.args)
    return [found[order] for order in sorted(found)]


def sum_of_units(gradient: Value, width: int) -> Value:
    """The sum over ``width`` units."""
    return gradient.graph.make("mean", gradient) * width


def _share(value: Value, arg: Value, part: Value) -> Value:
    """The part of a value's gradient that is its argument's: summed up, where that is one number for all
    units."""
    if arg.uniform and not value.uniform and arg.op != "constant":
        return sum_of_units(part, value.width)
    return part


def gradients(outputs: Sequence[Value], seeds: Sequence[Value]) -> dict[int, Value]:
    """The gradient in each value, by its order, from those in the outputs.

    What a linear map's operand gets through the map is the leaf ``back`` of that operand: the kernels compute
    it, a product with the transposed matrix. What x and the states get that way does not pass through here.
    """
    graph = outputs[0].graph
    found: dict[int, Value] = {}

    def add(value: Value, part: Value) -> None:
        before = found.get(value.order)
        found[value.order] = part if before is None else before + part

    for output, seed in zip(outputs, seeds, strict=True):
        add(output, sum_of_units(seed, seed.width) if output.uniform else seed)
    operands: set[int] = set()
    for value in reversed(reachable(outputs)):
        if value.order in operands and value.op not in ("input", "state"):
            add(value, graph.leaf("back", value, value.width))
        gradient = found.get(value.order)
        if gradient is None or value.op in (
            "constant",
            "input",
            "state",
            "vector",
            "noise",
            "mask",
            "hoisted",
        ):
            continue
        if value.op == "linear":
            operands.update(arg.order for arg in value.args)
        elif value.op == "slice":
            if value.args[0].order in found:
                raise AssertionError("a map that is split is used in its parts alone")
            operands.update(arg.order for arg in value.args[0].args)
        else:
            for arg, part in zip(
                value.args, OPERATIONS[value.op].back(gradient, value, *value.args), strict=True
            ):
                if part is not None and part.constant != 0 and arg.op != "constant":
                    add(arg, _share(value, arg, part))
    return found
