"""The two directions of a cell's step, in the form of the kernels: products, programs, stores."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..kernels.phases import StepProgram
from .kernel_form import KernelForm, Phase, Product
from .layout import Block, is_input
from .lowering import Load, Store, lower
from .programs import Equations, Meeting, joined
from .values import Value


@dataclass(slots=True)
class Direction:
    """A compiled direction, and which weights, biases and gradients it takes, in order."""

    form: KernelForm
    program: StepProgram
    weights: list[Block]
    biases: list[Block | None] = field(default_factory=list)  # None: x's, whose map may have none
    gradients: list[Block] = field(default_factory=list)
    made_for: tuple[str, bool] | None = None  # level and type that compiled functions of its programs are for
    #: of each role the kind of array and which of them, as its name says; None for working memory
    sources: list[tuple[str, int] | None] = field(init=False)

    def __post_init__(self) -> None:
        self.sources = [
            None if role.kind in ("sums", "step_rows", "one_row") else _source(name)
            for name, role in zip(self.form.names, self.form.roles, strict=True)
        ]


def _source(name: str) -> tuple[str, int]:
    kind, *place = name.split()
    return kind, int(place[0]) if place else 0


def forward(equations: Equations, record: bool) -> Direction:
    """The way forward, with or without a tape."""
    return _Forward(equations, record).direction


def backward(equations: Equations, flow: bool) -> Direction:
    """The way back, which may record the gradients of states and sums."""
    return _Backward(equations, flow).direction


class _Loads:
    """Forward values and gradients as loads of a direction's arrays, and what is made of them."""

    def __init__(self, equations: Equations, form: KernelForm) -> None:
        self.e, self.form = equations, form
        self.made: dict[int, Value] = {}

    def load(self, value: Value, role: int, column: int = 0, stage: int = 0) -> Value:
        """A load of a value."""
        data = Load(self.form.names[role], column, stage)
        return value.graph.leaf("load", data, value.width, value.uniform)

    def leaf(self, value: Value) -> Value | None:
        """What every direction loads alike."""
        form, trace = self.form, self.e.trace
        match value.op:
            case "constant":
                return value
            case "input":
                return self.load(value, form.role("x", "timed", trace.input_size))
            case "state":
                return self.load(value, self.state(*value.data))
            case "hoisted":
                role = form.role("vectors", "vector", self.e.hoisted.width)
                return self.load(value, role, self.e.hoisted.column(value))
            case "noise":
                return self.load(value, form.role(f"noise {value.data}", "timed", value.width))
            case "mask":
                kind, place = value.data
                name = f"{kind} {place}"
                return self.load(value, form.role(name, "fixed" if kind == "drop" else "timed", value.width))
        return None

    def state(self, place: int, lag: int) -> int:
        """The role of a state ``lag`` steps back, 0 for the new one."""
        depth, size = self.e.trace.depths[place], self.e.trace.state_sizes[place]
        return self.form.role(f"state {place} {lag}", "timed", size, depth - lag)

    def of(self, value: Value) -> Value:
        """The value as the kernels compute it."""
        if value.order not in self.made:
            found = self.find(value)
            if found is None:
                found = value.graph.make(value.op, *map(self.of, value.args))
            self.made[value.order] = found
        return self.made[value.order]

    def find(self, value: Value) -> Value | None:
        """A load of it, if an array holds it."""
        raise NotImplementedError


class _Forward(_Loads):
    """Builds the way forward."""

    def __init__(self, equations: Equations, record: bool) -> None:
        e = equations
        super().__init__(e, e.new_form(e.layout.width))
        form = self.form
        self.sums = form.role("sums", "sums", e.layout.width)
        count = 1 + max(e.stages.values(), default=0)
        form.phases = [Phase() for _ in range(count)]
        stores = [
            Store(form.names[self.state(place, 0)], 0, self.of(output), size)
            for place, (output, size) in enumerate(zip(e.outputs, e.trace.state_sizes, strict=True))
        ]
        stores += self._kept_stores(record)
        weights, biases = self._products()
        lower(form, stores, count)
        self.direction = Direction(form, StepProgram(form), weights, biases)

    def find(self, value: Value) -> Value | None:
        e = self.e
        if value.op == "linear":
            return self.load(value, self.sums, e.layout.columns[value.data.name], e.stages[value.order])
        if value.op == "slice":
            name = value.args[0].data.name
            return self.load(value, self.sums, e.layout.columns[name] + value.data[0], e.stages[value.order])
        return self.leaf(value)

    def _kept_stores(self, record: bool) -> list[Store]:
        e, form = self.e, self.form
        self.places: dict[int, tuple[int, int]] = {}
        stores = []
        if record and e.kept:
            role = form.role("record", "timed", e.kept_width)
            chosen = list(e.kept.values())
        else:
            operands = e.operands()
            role = form.role("operands", "step_rows", sum(o.width for o in operands)) if operands else 0
            starts = [sum(o.width for o in operands[:k]) for k in range(len(operands))]
            chosen = list(zip(operands, starts, strict=True))
        for value, column in chosen:
            self.places[value.order] = role, column
            kind = "store_one" if value.uniform else "store"
            stores.append(Store(form.names[role], column, self.of(value), value.width, kind))
        return stores

    def _products(self) -> tuple[list[Block], list[Block | None]]:
        """The products with what comes before them; the first into a map's sums begins them, unless x did."""
        e, form = self.e, self.form
        weights: list[Block] = []
        biases: list[Block | None] = []
        if form.projected:
            weights.append(Block("weight_ih", 0, form.projected))
            form.matrices.append((e.trace.input_size, form.projected, False))
            biases.append(None)
        begun: set[int] = set(range(form.projected))
        per_stage: dict[int, list[Meeting]] = {}
        for meeting in e.meetings():
            name = next(n for n, c in e.layout.columns.items() if c == meeting.column and n in e.linears)
            per_stage.setdefault(e.stages[e.linears[name].order], []).append(meeting)
        for stage in sorted(per_stage):
            for m in joined([m for m in per_stage[stage] if m.column < form.projected]) + [
                m for m in per_stage[stage] if m.column >= form.projected
            ]:
                bias: int | None = None
                if m.column not in begun:
                    name = next(n for n, c in e.layout.columns.items() if c == m.column and n in e.linears)
                    if name in e.layout.biases:
                        bias = len(biases)
                        biases.append(e.layout.biases[name])
                array, column = self._operand(m.operand)
                form.matrices.append((m.operand.width, m.block.rows, False))
                form.phases[stage].products.append(
                    Product(array, column, len(weights), self.sums, m.column, m.column in begun, bias)
                )
                weights.append(m.block)
                begun.update(range(m.column, m.column + m.block.rows))
        form.biases = len(biases)
        return weights, biases

    def _operand(self, operand: Value) -> tuple[int, int]:
        if operand.op == "state":
            return self.state(*operand.data), 0
        return self.places[operand.order]


class _Backward(_Loads):
    """Builds the way back."""

    def __init__(self, equations: Equations, flow: bool) -> None:
        e = equations
        super().__init__(e, e.new_form(e.layout.width + e.hoisted.width))
        form = self.form
        form.flops *= 2
        self.sums = form.role("sums", "sums", form.width)
        self.weights: list[Block] = []
        if form.projected:
            self._add_matrix(Block("weight_ih", 0, form.projected), e.trace.input_size)
        stores = self._sum_stores() + self._vector_stores() + self._state_stores() + self._input_stores()
        if flow:
            stores += self._flow_stores()
        self._backs()
        count = 1 + max([0, *(e.back_stage(value) for value in e.back_roots())])
        form.phases = [Phase() for _ in range(count + 1)]
        self._products()
        lower(form, stores, count)
        gradients = self._weight_gradients()
        self.direction = Direction(form, StepProgram(form), self.weights, gradients=gradients)

    def _add_matrix(self, block: Block, columns: int) -> int:
        self.weights.append(block)
        self.form.matrices.append((block.rows, columns, True))
        return len(self.weights) - 1

    def find(self, value: Value) -> Value | None:
        e, form = self.e, self.form
        for place, output in enumerate(e.outputs):
            if value is output and value.op != "constant" and not value.uniform and value.args:
                return self.load(value, self.state(place, 0))
        if value.order in e.kept:
            return self.load(value, form.role("record", "timed", e.kept_width), e.kept[value.order][1])
        match value.op:
            case "dy":
                return self.load(value, form.role("dy", "timed", value.width))
            case "dstate":
                depth = e.trace.depths[value.data]
                return self.load(value, form.role(f"dstate {value.data} 0", "timed", value.width, 0, depth))
            case "back":
                role, column = self._back(value.data)
                return self.load(value, role, column, e.back_stage(value))
        return self.leaf(value)

    def _back(self, operand: Value) -> tuple[int, int]:
        """Where the gradient of an operand arrives."""
        operands = self.e.operands()
        role = self.form.role("backs", "step_rows", sum(o.width for o in operands))
        return role, sum(o.width for o in operands if o.order < operand.order)

    def _sum_stores(self) -> list[Store]:
        zero = self.e.graph.number(0)
        return [
            Store("sums", column, zero if gradient is None else self.of(gradient), width)
            for column, width, gradient in self.e.sums
        ] + [
            Store("sums", self.e.layout.columns[linear.name], zero, linear.size)
            for linear in self.e.trace.linears
            if linear.name not in self.e.linears
        ]

    def _vector_stores(self) -> list[Store]:
        e, stores = self.e, []
        for leaf, column in zip(e.hoisted.leaves, e.hoisted.columns, strict=True):
            gradient = e.found.get(leaf.order)
            value = e.graph.number(0) if gradient is None else self.of(gradient)
            kind = "store_one" if leaf.uniform else "store"
            stores.append(Store("sums", e.layout.width + column, value, leaf.width, kind))
        return stores

    def _role_of_gradient(self, place: int, lag: int) -> int:
        depth, size = self.e.trace.depths[place], self.e.trace.state_sizes[place]
        return self.form.role(f"dstate {place} {lag}", "timed", size, (depth - lag) % depth, depth)

    def _state_stores(self) -> list[Store]:
        """What earlier states get beside the products; the longest delay's place is free, and set anew."""
        e, stores = self.e, []
        self.set: set[tuple[int, int]] = set()
        for place, (depth, size) in enumerate(zip(e.trace.depths, e.trace.state_sizes, strict=True)):
            lags = {v.data[1]: v for v in e.values if v.op == "state" and v.data[0] == place}
            for lag in {depth, *lags}:
                leaf = lags.get(lag)
                gradient = None if leaf is None else e.found.get(leaf.order)
                product = leaf is not None and leaf.order in e.back
                if gradient is None and (product or lag != depth):
                    continue
                value = e.graph.number(0) if gradient is None else self.of(gradient)
                role = self.form.names[self._role_of_gradient(place, lag)]
                stores.append(
                    Store(role, 0, value, size, "store" if lag == depth else "add_store", late=True)
                )
                self.set.add((place, lag))
            self.form.clipped.append(self._role_of_gradient(place, 1))
        return stores

    def _input_stores(self) -> list[Store]:
        e = self.e
        inputs = [value for value in e.values if is_input(value)]
        if not inputs or inputs[0].order not in e.found:
            self.form.projected_add = False
            return []
        self.form.role("dx", "timed", e.trace.input_size)
        self.form.projected_add = True
        return [Store("dx", 0, self.of(e.found[inputs[0].order]), e.trace.input_size)]

    def _flow_stores(self) -> list[Store]:
        e, stores = self.e, []
        for place, (output, size) in enumerate(zip(e.outputs, e.trace.state_sizes, strict=True)):
            gradient = e.found.get(output.order)
            if gradient is None or output.uniform:
                gradient = e.graph.leaf("dstate", place, size)
            role = self.form.names[self.form.role(f"flow {place}", "timed", size, e.trace.depths[place])]
            stores.append(Store(role, 0, self.of(gradient), size))
        role = self.form.names[self.form.role("dsums", "timed", e.layout.width)]
        zero = e.graph.number(0)
        for column, width, gradient in e.sums:
            stores.append(Store(role, column, zero if gradient is None else self.of(gradient), width))
        return stores

    def _backs(self) -> None:
        """Have a place for every operand's gradient."""
        for operand in self.e.operands():
            self._back(operand)

    def _products(self) -> None:
        """Gradients of sums times the blocks: to operands as soon as all of theirs are there, to states at
        last."""
        e, phases = self.e, self.form.phases
        by_operand: dict[int, list[Meeting]] = {}
        for meeting in e.meetings():
            if meeting.operand.order in e.back:
                by_operand.setdefault(meeting.operand.order, []).append(meeting)
        for meetings in by_operand.values():
            operand = meetings[0].operand
            if operand.op == "state":
                place, lag = operand.data
                out, column = self._role_of_gradient(place, lag), 0
                begun = (place, lag) in self.set or lag != e.trace.depths[place]
                phase = phases[-1]
            else:
                out, column = self._back(operand)
                begun = False
                phase = phases[1 + max(map(e.back_stage, e.back[operand.order]))]
            for meeting in joined(meetings):
                matrix = self._add_matrix(meeting.block, operand.width)
                phase.products.append(Product(self.sums, meeting.column, matrix, out, column, begun))
                begun = True

    def _weight_gradients(self) -> list[Block]:
        """dsums' times what the blocks meet; then the biases and vectors."""
        e, form = self.e, self.form
        blocks: list[Block] = []
        meetings = joined(e.meetings())
        if form.projected:
            x = e.trace.x
            meetings.append(Meeting(0, Block("weight_ih", 0, form.projected), x))
        sources: dict[int, int] = {}
        for meeting in meetings:
            operand = meeting.operand
            if operand.order not in sources:
                if operand.op == "input":
                    role, column = form.role("x", "timed", e.trace.input_size), 0
                elif operand.op == "state":
                    role, column = self.state(*operand.data), 0
                else:
                    role, column = form.role("record", "timed", e.kept_width), e.kept[operand.order][1]
                sources[operand.order] = len(form.sources)
                form.sources.append((role, column, operand.width))
            form.outers.append((meeting.column, meeting.block.rows, sources[operand.order]))
            blocks.append(meeting.block)
        for name, block in e.layout.biases.items():
            if name in e.linears:
                form.totals.append((e.layout.columns[name], block.rows))
                blocks.append(block)
        if e.hoisted.width:
            form.totals.append((e.layout.width, e.hoisted.width))
        return blocks
