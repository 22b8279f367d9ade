"""A cell's equation as text: as it was written, its gradients, its cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .derivative import reachable
from .layout import Layout, is_input
from .programs import Equations
from .tracing import Trace
from .values import Value

_SIGNS = {"add": " + ", "subtract": " - ", "multiply": " * ", "divide": " / ", "less": " < "}
_STRENGTH = {"less": 0, "add": 1, "subtract": 1, "negate": 2, "multiply": 3, "divide": 3}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step costs: ``flops`` of the products, ``functions`` of units beside them, for each row; bytes
    of weights read in each step; and of the tape, for each row and step."""

    flops: int
    operations: int
    weight_bytes: int
    tape_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.flops:,} flops in products and {self.operations:,} element-wise operations a row, "
            f"{self.weight_bytes:,} bytes of weights a step, {self.tape_bytes:,} bytes of tape a row and step"
        )


class Writer:
    """Writes values as text: those that have a name by it."""

    def __init__(self, trace: Trace, names: dict[int, str]) -> None:
        self.trace, self.names = trace, names

    def text(self, value: Value, outermost: bool = True, strength: int = 0) -> str:
        """The value by its name, or as what it is made of."""
        if not outermost and value.order in self.names:
            return self.names[value.order]
        leaf = self._leaf(value)
        if leaf is not None:
            return leaf
        own = _STRENGTH.get(value.op, 9)
        args = value.args
        if value.op in _SIGNS:
            # The right side of a minus or a division keeps its brackets.
            right = own + (value.op in ("subtract", "divide"))
            text = _SIGNS[value.op].join((self.text(args[0], False, own), self.text(args[1], False, right)))
        elif value.op == "negate":
            text = "-" + self.text(args[0], False, 3)
        elif value.op == "sigmoid_back":
            d, y = self.text(args[0], False, 3), self.text(args[1], False, 3)
            text, own = f"{d} * {y} * (1 - {y})", 3
        elif value.op == "tanh_back":
            text, own = f"{self.text(args[0], False, 3)} * (1 - {self.text(args[1], False, 9)}**2)", 3
        else:
            text = f"{value.op}({', '.join(self.text(arg, False) for arg in args)})"
        return f"({text})" if own < strength else text

    def _leaf(self, value: Value) -> str | None:
        names = self.trace.state_names
        match value.op:
            case "constant":
                return f"{value.data:g}"
            case "input":
                return "x[t]"
            case "state":
                return f"{names[value.data[0]]}[t-{value.data[1]}]"
            case "vector":
                return str(value.data.name)
            case "hoisted":
                return self.text(value.data, False, 9)
            case "noise":
                return "noise[t]"
            case "linear":
                return self._linear(value)
            case "slice":
                start, size = value.data
                return f"{self.text(value.args[0], False)}[{start}:{start + size}]"
            case "dy":
                return "dy[t]"
            case "dstate":
                return f"d{names[value.data]}[t]"
            case "back":
                return f"back({self.text(value.data, False)})"
        return None

    def _linear(self, value: Value) -> str:
        name = value.data.name
        matrix = f"A_{name}" if value.data.damping is not None else f"W_{name}"
        several = len(value.args) > 1
        parts = [
            f"{matrix}{k if several else ''} {self.text(arg, False, 9)}" for k, arg in enumerate(value.args)
        ]
        return " + ".join([*parts, *([f"b_{name}"] if value.data.bias is not None else [])])


def named(trace: Trace, values: Iterable[Value]) -> dict[int, str]:
    """What step calls these values; linear maps that have no name bear the map's."""
    names = {v.order: name for v in values if v.args and (name := trace.name_of(v)) is not None}
    taken = set(names.values())
    for value in values:
        if value.op == "linear" and value.order not in names:
            names[value.order] = value.data.name if value.data.name not in taken else f"a_{value.data.name}"
    return names


def _lines(trace: Trace, names: dict[int, str], targets: list[tuple[str, Value]]) -> list[str]:
    """A line for each target, and before it for what several need."""
    uses: dict[int, int] = {}
    for value in reachable([value for _, value in targets]):
        for arg in value.args if value.op not in ("linear", "slice") else ():
            uses[arg.order] = uses.get(arg.order, 0) + 1
    names = dict(names)
    lines = []
    done: set[int] = set()

    def define(value: Value, outermost: bool) -> None:
        stop = not outermost and value.order in names
        if value.order in done or stop or value.op in ("linear", "slice"):
            return
        done.add(value.order)
        for arg in value.args:
            define(arg, False)
        if (
            not outermost
            and value.args
            and uses.get(value.order, 0) > 1
            and value.op not in ("less", "negate")
        ):
            name = f"v{sum(given.startswith('v') and given[1:].isdigit() for given in names.values()) + 1}"
            lines.append(f"{name} = {Writer(trace, names).text(value)}")
            names[value.order] = name

    for name, value in targets:
        define(value, True)
        lines.append(
            f"{name} = "
            f"{Writer(trace, names).text(value, value.order not in names or names[value.order] == name)}"
        )
        names.setdefault(value.order, name)
    return lines


def equations(trace: Trace, title: str) -> str:
    """The equation, a line for each value that has a name and for each new state."""
    values = reachable(trace.outputs)
    names = named(trace, values)
    for name, output in zip(trace.state_names, trace.outputs, strict=True):
        if output.order not in names or names[output.order] in trace.state_names:
            names[output.order] = f"{name}[t]"
    targets = [(names[value.order], value) for value in values if value.order in names]
    for name, output in zip(trace.state_names, trace.outputs, strict=True):
        if names[output.order] != f"{name}[t]":
            targets.append((f"{name}[t]", output))
    return "\n".join([title, *(f"    {line}" for line in _lines(trace, names, targets))])


def gradient(e: Equations, title: str) -> str:
    """The derived equations: gradients of named values, states and vectors, from dy and the new states'."""
    trace, names = e.trace, named(e.trace, e.values)
    targets: list[tuple[str, Value]] = []
    for value in reversed(e.values):
        found = e.found.get(value.order)
        if found is not None and value.op == "hoisted":
            name = Writer(trace, names).text(value.data)
            targets.append((f"d({name}), summed over rows and steps,", found))
        elif found is not None and value.order in names:
            targets.append((f"d{names[value.order]}", found))
    lines = _lines(trace, names, targets)
    known = {**names, **{value.order: name for name, value in reversed(targets)}}
    for value in e.values:
        if value.op == "state":
            found = e.found.get(value.order)
            beside = [] if found is None else [Writer(trace, known).text(found, False)]
            name = f"d{trace.state_names[value.data[0]]}[t-{value.data[1]}]"
            lines.append(f"{name} = {' + '.join(beside + _through(e, names, value)) or '0'}")
    return "\n".join([title, *(f"    {line}" for line in lines)])


def _through(e: Equations, names: dict[int, str], state: Value) -> list[str]:
    """What a state gets through the matrices that it meets."""
    return [
        f"W_{m.data.name}{k if len(m.args) > 1 else ''}' d{names[m.order]}"
        for m in e.values
        if m.op == "linear" and m.order in e.found
        for k, arg in enumerate(m.args)
        if arg is state
    ]


def cost(e: Equations, layout: Layout, itemsize: int) -> Cost:
    """The cost of a step."""
    blocks = [
        (block.rows * operand.width, is_input(operand))
        for name, linear in e.linears.items()
        for block, operand in zip(layout.weights[name], linear.args, strict=True)
    ]
    operations = sum(value.width for value in e.values if value.args and value.op not in ("linear", "slice"))
    states = sum(e.trace.state_sizes)
    return Cost(
        flops=2 * sum(size for size, _ in blocks),
        operations=operations,
        weight_bytes=itemsize * sum(size for size, entered in blocks if not entered),
        tape_bytes=itemsize * (e.kept_width + states),
    )
