"""The cells of an exported file that are written as their equations: their lines follow from the trace."""

from __future__ import annotations

import numpy as np

from ..cells.layout import Block, is_input
from ..cells.passes import EquationLayer
from ..cells.programs import Equations, Meeting, joined
from ..cells.rewriting import Variant
from ..cells.values import Value
from ..stream import Stage
from .c_cells import Array, Cell, Pass, Product, literal

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_OWN = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "exp": "exponential"}  # functions of the file
_LIBM = {name: name for name in ("log", "log1p", "sqrt", "sin", "cos", "erf")} | {"abs": "fabs"}


def equation_cell(stage: Stage) -> Cell:
    """The passes of a cell's step in evaluation.

    Raises
    ------
    ValueError
        If a file has no form for it: means over the units, delayed states, values of several sizes.
    """
    layer: EquationLayer = stage.equation
    e = layer.equations(Variant(zoneout=bool(layer.zoneout)))
    _check(layer, e)
    return _Writer(layer, e).cell()


def _check(layer: EquationLayer, e: Equations) -> None:
    units = layer.hidden_size
    what = None
    if any(value.op == "mean" for value in e.values):
        what = "means over its units"
    elif max(e.trace.depths) > 1:
        what = "delayed states"
    elif any(not v.uniform and v.width != units for v in e.values if v.op != "input" and v.op != "slice"):
        what = "values of more than one size"
    elif any(value.op == "input" for v in e.values if v.op != "linear" for value in v.args):
        what = "an input that is used unit by unit"
    if what is not None:
        raise ValueError(f"{layer!r} cannot be written in C: it has {what}, which the file has no form for")


class _Writer:
    """Writes one equation."""

    def __init__(self, layer: EquationLayer, e: Equations) -> None:
        self.layer, self.e, self.units = layer, e, layer.hidden_size
        self.params = layer.layout.felt(layer.params)
        self.vectors: dict[str, Array] = {}
        row = e.hoisted.evaluate(layer.params, layer.dtype)
        for k, (leaf, column) in enumerate(zip(e.hoisted.leaves, e.hoisted.columns, strict=True)):
            self.vectors[f"v{k}"] = np.broadcast_to(row[column : column + leaf.width], (self.units,)).copy()
        self.operands = {value.order: f"p{k}" for k, value in enumerate(e.operands())}

    def cell(self) -> Cell:
        """All passes; each computes what it needs from the sums, which stay."""
        e = self.e
        last = max(e.stages.values(), default=0)
        passes = []
        for stage in range(last + 1):
            lines = _Lines(self, stage)
            for value in e.operands():
                if e.stages[value.order] == stage:
                    lines.assign(self.operands[value.order], value)
            if stage == last:
                new = [lines.constant(output) for output in e.outputs]
                lines.lines += [f"{k} = {v}" for k, v in zip(self.layer.state_names, new, strict=True)]
            passes.append(Pass(self._products(stage), lines.lines))
        first = [k for k, made in enumerate(passes) if made.products]
        while first and first[0] > 0 and not passes[0].lines:
            passes.pop(0)
            first = [k - 1 for k in first]
        return Cell(self._biases(), passes, self.layer.state_names, self.vectors)

    def _biases(self) -> list[Array]:
        layout, biases = self.layer.layout, []
        for linear in sorted(self.e.trace.linears, key=lambda one: layout.columns[one.name]):
            block = layout.biases.get(linear.name)
            parts = linear.size // self.units
            own = np.zeros(linear.size, self.layer.dtype) if block is None else block.of(self.layer.params)
            biases += np.split(own, parts)
        return biases

    def _products(self, stage: int) -> list[Product]:
        e, layout, products = self.e, self.layer.layout, []
        if stage == 0 and layout.projected:
            matrix = Block("weight_ih", 0, layout.projected).of(self.params)
            products.append(Product("weight_ih", matrix, "x", 0))
        own: list[Meeting] = []
        for name, linear in e.linears.items():
            if e.stages[linear.order] == stage:
                blocks = zip(layout.weights[name], linear.args, strict=True)
                own += [Meeting(layout.columns[name], b, value) for b, value in blocks if not is_input(value)]
        for meeting in joined(own):
            vector = self.operands.get(meeting.operand.order)
            if vector is None:
                vector = self.layer.state_names[meeting.operand.data[0]]
            first = meeting.column // self.units
            name = f"{meeting.block.name}_{meeting.block.first}_{vector}"
            products.append(Product(name, meeting.block.of(self.params), vector, first))
        return products


class _Lines:
    """The lines of one pass."""

    def __init__(self, writer: _Writer, stage: int) -> None:
        self.writer, self.stage = writer, stage
        self.lines: list[str] = []
        self.names: dict[int, str] = {}

    def assign(self, name: str, value: Value) -> None:
        """A line that keeps a value under a name of the file."""
        self.lines.append(f"{name} = {self.constant(value)}")

    def constant(self, value: Value) -> str:
        """The name of a value, computed by lines before if need be."""
        leaf = self._leaf(value)
        if leaf is not None:
            return leaf
        if value.order not in self.names:
            text = self._text(value)
            self.names[value.order] = f"t{self.stage}_{len(self.names)}"
            self.lines.append(f"{self.names[value.order]} = {text}")
        return self.names[value.order]

    def _leaf(self, value: Value) -> str | None:
        writer = self.writer
        layout = writer.layer.layout
        match value.op:
            case "constant":
                return literal(value.data)
            case "state":
                return str(writer.layer.state_names[value.data[0]])
            case "hoisted":
                place = next(k for k, leaf in enumerate(writer.e.hoisted.leaves) if leaf is value)
                return f"v{place}"
            case "linear":
                return f"s{layout.columns[value.data.name] // writer.units}"
            case "slice":
                column = layout.columns[value.args[0].data.name] + value.data[0]
                return f"s{column // writer.units}"
            case "mask":
                return literal(1 - writer.layer.zoneout[value.data[1]])
        stage = writer.e.stages[value.order]
        return writer.operands.get(value.order) if stage < self.stage else None

    def _text(self, value: Value) -> str:
        args = [self.constant(arg) for arg in value.args if value.op != "where" or arg is not value.args[0]]
        match value.op:
            case op if op in _SIGNS:
                return f"{args[0]} {_SIGNS[op]} {args[1]}"
            case "negate":
                return f"-{args[0]}"
            case "maximum":
                return f"choose(less({args[0]}, {args[1]}), {args[1]}, {args[0]})"
            case "minimum":
                return f"choose(less({args[1]}, {args[0]}), {args[1]}, {args[0]})"
            case "less":
                return f"choose(less({args[0]}, {args[1]}), {literal(1.0)}, {literal(0.0)})"
            case "where":
                return self._choice(value.args[0], *args)
            case op if op in _OWN:
                return f"{_OWN[op]}({args[0]})"
        return f"{_LIBM[value.op]}${{f}}({args[0]})"

    def _choice(self, condition: Value, yes: str, no: str) -> str:
        """One of two by a comparison, or by whether a number is 0."""
        inverse = condition.op == "subtract" and condition.args[0].constant == 1
        compared = condition.args[1] if inverse else condition
        if compared.op != "less":
            raise ValueError("where asks for a comparison, such as where(a < b, u, v), to be written in C")
        a, b = map(self.constant, compared.args)
        return f"choose(less({a}, {b}), {no}, {yes})" if inverse else f"choose(less({a}, {b}), {yes}, {no})"
