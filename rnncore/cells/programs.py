"""What both directions of a cell's step follow from: phases, gradients, and what a tape keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .derivative import gradients, reachable
from .hoisting import Hoisted, hoist
from .kernel_form import KernelForm
from .layout import Block, Layout, is_input
from .operations import OPERATIONS
from .rewriting import Variant, rewrite
from .tracing import Trace
from .values import Value


@dataclass(frozen=True, slots=True)
class Meeting:
    """A block of weights and what it meets: columns ... + rows of the sums += operand @ block'."""

    column: int
    block: Block
    operand: Value


def joined(meetings: Sequence[Meeting]) -> list[Meeting]:
    """Neighbours in the sums and in the parameter, of one operand, as one."""
    merged: list[Meeting] = []
    for meeting in sorted(meetings, key=lambda m: m.column):
        for place, before in enumerate(merged):
            same = before.operand is meeting.operand and before.block.name == meeting.block.name
            next_to = before.column + before.block.rows == meeting.column
            if same and next_to and before.block.first + before.block.rows == meeting.block.first:
                block = Block(before.block.name, before.block.first, before.block.rows + meeting.block.rows)
                merged[place] = Meeting(before.column, block, before.operand)
                break
        else:
            merged.append(meeting)
    return merged


class Equations:
    """A variant of a cell's equation with all that both directions follow from."""

    def __init__(self, trace: Trace, layout: Layout, variant: Variant) -> None:
        self.trace, self.layout, self.graph = trace, layout, trace.graph
        self.outputs: tuple[Value, ...]
        self.hoisted: Hoisted
        self.outputs, self.hoisted = hoist(rewrite(trace, variant))
        self.values = reachable(self.outputs)
        self.linears = {value.data.name: value for value in self.values if value.op == "linear"}
        self.stages = self._forward_stages()
        self._gradients()
        self._keep()

    def _forward_stages(self) -> dict[int, int]:
        """The phase of each value: that of a linear map follows its operands'."""
        stages: dict[int, int] = {}
        for value in self.values:
            found = [stages[arg.order] for arg in value.args if not is_input(arg)]
            stages[value.order] = max(found, default=0) + (value.op == "linear" and bool(found))
        return stages

    def meetings(self) -> list[Meeting]:
        """Every block of weights that meets something beside x."""
        return [
            Meeting(self.layout.columns[name], block, operand)
            for name, linear in self.linears.items()
            for block, operand in zip(self.layout.weights[name], linear.args, strict=True)
            if not is_input(operand)
        ]

    def _gradients(self) -> None:
        """The gradient of everything, as expressions of forward values and of what comes from behind."""
        graph, sizes = self.graph, self.trace.state_sizes
        seeds = [graph.leaf("dstate", place, size) for place, size in enumerate(sizes)]
        seeds[0] = seeds[0] + graph.leaf("dy", None, sizes[0])
        self.found = gradients(self.outputs, seeds)
        self.back_stages: dict[int, int] = {}
        back: dict[int, list[Value]] = {}  # the gradients of the sums that an operand enters
        self.sums: list[tuple[int, int, Value | None]] = []
        for name, linear in self.linears.items():
            parts = [value for value in self.values if value.op == "slice" and value.args[0] is linear]
            for part in parts or [linear]:
                column = self.layout.columns[name] + (part.data[0] if parts else 0)
                gradient = self.found.get(part.order)
                self.sums.append((column, part.width, gradient))
                if gradient is not None:
                    for operand in linear.args:
                        back.setdefault(operand.order, []).append(gradient)
        self.back = back

    def back_stage(self, value: Value) -> int:
        """The phase of the way back in which a gradient can be computed."""
        for part in reachable([value]):
            if part.order not in self.back_stages:
                stage = max((self.back_stages[arg.order] for arg in part.args), default=0)
                if part.op == "back":
                    stage = 1 + max(map(self.back_stage, self.back[part.data.order]))
                self.back_stages[part.order] = 0 if part.order in self.stages else stage
        return self.back_stages[value.order]

    def back_roots(self) -> list[Value]:
        """All gradients that a step writes."""
        wanted = [value for value in self.values if value.op in ("state", "input", "hoisted")]
        found = [self.found[value.order] for value in wanted if value.order in self.found]
        found += [gradient for *_, gradient in self.sums if gradient is not None]
        return found + [self.found[output.order] for output in self.outputs if output.order in self.found]

    def operands(self) -> list[Value]:
        """What the step computes and multiplies with matrices."""
        found = {m.operand.order: m.operand for m in self.meetings() if m.operand.op != "state"}
        return [found[order] for order in sorted(found)]

    def _keep(self) -> None:
        """Decide what a pass with a tape keeps: operands, and what is dear to compute again."""
        self.kept: dict[int, tuple[Value, int]] = {}
        self.kept_width = 0
        for operand in self.operands():
            self._keep_one(operand)
        needed = reachable(self.back_roots())
        users: set[int] = set()
        for value in needed:
            if value.order not in self.stages:
                users.update(arg.order for arg in value.args if arg.order in self.stages)
        for value in self.values:
            if value.order in users:
                self._recall(value)

    def _keep_one(self, value: Value) -> None:
        if value.order not in self.kept:
            self.kept[value.order] = value, self.kept_width
            self.kept_width += value.width

    def _stored(self, value: Value) -> bool:
        """Whether some array has the value on the way back anyway."""
        known = value.order in self.kept or any(value is output for output in self.outputs)
        return known or value.op in ("constant", "input", "state", "hoisted", "noise", "mask")

    def _recall(self, value: Value) -> None:
        """See to it that the way back can have a value."""
        if self._stored(value):
            return
        if (
            value.op in ("linear", "slice")
            or (OPERATIONS[value.op].dear and not all(map(self._stored, value.args)))
            or value.op == "mean"
        ):
            self._keep_one(value)
        else:
            for arg in value.args:
                self._recall(arg)

    def new_form(self, width: int) -> KernelForm:
        """A form of no phase yet."""
        flops = 2.0 * sum(
            block.rows * operand.width
            for name, linear in self.linears.items()
            for block, operand in zip(self.layout.weights[name], linear.args, strict=True)
        )
        return KernelForm(
            width, self.layout.projected, flops + 8.0 * len(self.values) * max(self.trace.state_sizes)
        )
