"""Which parameters a traced cell has: names, shapes, initial values, and where each block of a map is in
them.

Blocks that the input meets are stacked in ``weight_ih``, those that the first state meets in ``weight_hh``,
in the order of declaration, and their biases in ``bias``, as PyTorch does; what else there is bears its own
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .. import initializers
from .tracing import Array, Initial, Linear, Trace, Vector
from .values import CellError, Value


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of a parameter."""

    name: str
    first: int
    rows: int

    def of(self, params: Mapping[str, Array]) -> Array:
        """A view of them."""
        return params[self.name][self.first : self.first + self.rows]


@dataclass(slots=True)
class Layout:
    """The parameters of a cell, and each linear map's place in the row of sums that a step computes."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    #: of each map (by name) the block that meets each of its operands, in their order
    weights: dict[str, tuple[Block, ...]] = field(default_factory=dict)
    biases: dict[str, Block] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)  # where a map's sums begin
    antisymmetric: list[tuple[Block, float]] = field(default_factory=list)  # with their damping
    projected: int = 0  # sums that x enters: the first ones
    width: int = 0  # all sums
    one_bias: bool = False  # whether the parameter bias is what all sums that x enters begin with

    def add(self, name: str, rows: int, *columns: int, stacked: bool = False) -> Block:
        """Append rows to a parameter, a new one unless it is stacked."""
        if name in self.shapes and not stacked:
            raise CellError(f"two parameters would be called {name!r}; give the map or vector another name")
        before = self.shapes.get(name, (0,))[0]
        self.shapes[name] = (before + rows, *columns)
        return Block(name, before, rows)

    def felt(self, params: Mapping[str, Array]) -> Mapping[str, Array]:
        """The parameters as the units feel them: an antisymmetric block W as W - W' - damping I."""
        if not self.antisymmetric:
            return params
        felt = dict(params)
        for name in {block.name for block, _ in self.antisymmetric}:
            felt[name] = params[name].copy()
        for block, damping in self.antisymmetric:
            weight = block.of(params)
            block.of(felt)[...] = weight - weight.T - damping * np.eye(len(weight), dtype=weight.dtype)
        return felt

    def gather(self, grads: Mapping[str, Array]) -> dict[str, Array]:
        """Where the gradients of the felt parameters go before ``hand_on``."""
        gathered = dict(grads)
        for name in {block.name for block, _ in self.antisymmetric}:
            gathered[name] = np.zeros_like(grads[name])
        return gathered

    def hand_on(self, gathered: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Add the gradients of antisymmetric blocks into those of the parameters."""
        for block, _ in self.antisymmetric:
            own = block.of(gathered)
            own -= own.T.copy()
        for name in {block.name for block, _ in self.antisymmetric}:
            grads[name][...] += gathered[name]


def is_input(value: Value) -> bool:
    """Whether it is x."""
    return value.op == "input"


def is_first_state(value: Value) -> bool:
    """Whether it is h[t-1], as it stands."""
    return value.op == "state" and value.data == (0, 1)


def lay_out(trace: Trace) -> Layout:
    """The layout of a trace."""
    layout = Layout()
    with_input = [linear for linear in trace.linears if any(map(is_input, linear.operands))]
    others = [linear for linear in trace.linears if linear not in with_input]
    for linear in with_input + others:
        layout.columns[linear.name] = layout.width
        layout.width += linear.size
    layout.projected = sum(linear.size for linear in with_input)
    blocks: dict[str, dict[int, Block]] = {linear.name: {} for linear in trace.linears}
    for pick, stacked in ((is_input, "weight_ih"), (is_first_state, "weight_hh")):
        for linear in trace.linears:
            for k, operand in enumerate(linear.operands):
                if pick(operand):
                    blocks[linear.name][k] = layout.add(stacked, linear.size, operand.width, stacked=True)
    for linear in trace.linears:
        if linear.bias is not None and linear in with_input:
            layout.biases[linear.name] = layout.add("bias", linear.size, stacked=True)
    for linear in trace.linears:
        own = [k for k in range(len(linear.operands)) if k not in blocks[linear.name]]
        for place, k in enumerate(own):
            name = f"weight_{linear.name}" + (f"_{place}" if len(own) > 1 else "")
            blocks[linear.name][k] = layout.add(name, linear.size, linear.operands[k].width)
        if linear.bias is not None and linear not in with_input:
            layout.biases[linear.name] = layout.add(f"bias_{linear.name}", linear.size)
        layout.weights[linear.name] = tuple(blocks[linear.name][k] for k in range(len(linear.operands)))
        if linear.damping is not None:
            layout.antisymmetric += [(block, linear.damping) for block in layout.weights[linear.name]]
    layout.one_bias = bool(with_input) and all(
        linear.name in layout.biases and layout.biases[linear.name].first == layout.columns[linear.name]
        for linear in with_input
    )
    for vector in trace.vectors:
        layout.add(vector.name, vector.size)
    return layout


def initialize(
    trace: Trace, layout: Layout, params: Mapping[str, Array], rng: np.random.Generator, recurrent_init: str
) -> None:
    """Glorot uniform weights, squares that a state or what is computed from it meets as told, biases as
    declared."""
    fill, factor = initializers.parse(recurrent_init)
    for linear in trace.linears:
        for operand, block in zip(linear.operands, layout.weights[linear.name], strict=True):
            weight = block.of(params)
            if is_input(operand) or weight.shape[0] != weight.shape[1]:
                initializers.glorot_uniform(weight, rng)
            else:
                fill(weight, rng, factor)
        if linear.bias is not None:
            layout.biases[linear.name].of(params)[:] = _initial(linear.bias, linear, rng)
    for vector in trace.vectors:
        params[vector.name][:] = _initial(vector.init, vector, rng)


def _initial(init: Initial, of: Linear | Vector, rng: np.random.Generator) -> Array | float:
    return init(rng, of.size) if callable(init) else init
