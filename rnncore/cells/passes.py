"""A layer whose passes run its equation: tapes, masks, initial states, the kernels' arrays by role."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ..brief import brief
from ..kernels.dispatch import level
from ..kernels.equation import Equation
from ..kernels.memory import empty
from ..kernels.step_program import program_backward, program_forward
from ..layers.base import Array, Lengths, State, shape_of
from ..layers.flow import Flow, Parts
from ..layers.masks import Masks, draw_mask
from ..layers.recurrent import Clipped, Recurrent, RecurrentTape
from .compiling import compile_directions
from .directions import Direction, backward, forward
from .evaluation import step_values
from .layout import Layout
from .programs import Equations
from .rewriting import Variant
from .tracing import Trace
from .values import Value

_UNBOUNDED = {"relu", "exp", "log", "log1p", "divide", "sqrt"}


@brief
@dataclass(slots=True)
class CellTape(RecurrentTape):
    """Also the other states, ``(D+T, B, size)`` with their past in front, and what the equation keeps."""

    others: tuple[Array, ...]
    first: Array  # (D+T, B, H): hidden is its last 1+T rows
    record: Array | None  # (T, B, ...), None in a pass without a tape
    noise: tuple[Array, ...]
    vectors: Array  # expressions of learned vectors, as this pass found them
    variant: Variant
    depths: tuple[int, ...]

    def all_states(self) -> tuple[Array, ...]:
        """The states with all of their past."""
        return self.first, *self.others

    def shapes(self) -> list[Any]:
        arrays = (self.x, self.lengths, self.hidden, self.first, self.record, self.vectors)
        found = [None if array is None else array.shape for array in (*arrays, *self.others, *self.noise)]
        return [*found, None if self.masks is None else shape_of(self.masks), self.variant, self.depths]

    def mapped(self, function: Callable[[Array], Array], lengths: Lengths) -> CellTape:
        """The tape with a function of every array of steps."""
        first = function(self.first)
        return replace(
            self,
            x=function(self.x),
            lengths=lengths,
            hidden=first[self.depths[0] - 1 :],
            first=first,
            others=tuple(map(function, self.others)),
            record=None if self.record is None else function(self.record),
            noise=tuple(map(function, self.noise)),
        )

    def states(self) -> tuple[Array, ...]:
        whole = zip(self.all_states(), self.depths, strict=True)
        return tuple(array[depth - 1 :] for array, depth in whole)


class EquationLayer(Recurrent):
    """What `Cell` is made of: a recurrent layer that traces its ``step`` and runs the trace."""

    unit_by_unit = True
    learn_initial_state: bool
    _compiled = False
    _unbounded: bool | None = None
    _trace: Trace | None = None
    _layout: Layout | None = None

    def trace(self) -> Trace:
        """The equation, traced when it is first asked for."""
        raise NotImplementedError

    @property
    def layout(self) -> Layout:
        """Names and shapes of the parameters, without those of initial states."""
        raise NotImplementedError

    def equations(self, variant: Variant) -> Equations:
        """The equation as a pass of this variant runs it."""
        made: dict[Variant, Equations] = self.__dict__.setdefault("_equations", {})
        if variant not in made:
            made[variant] = Equations(self.trace(), self.layout, variant)
        return made[variant]

    def direction(self, variant: Variant, back: bool, more: bool) -> Direction:
        """A compiled direction; more: forward with a tape, backward with a record of the flow."""
        made: dict[Any, Direction] = self.__dict__.setdefault("_directions", {})
        key = variant, back, more
        if key not in made:
            equations = self.equations(variant)
            made[key] = backward(equations, more) if back else forward(equations, more)
        if self._compiled and made[key].made_for != self._kernels():
            compile_directions([made[key]], self.dtype.itemsize == 8)
        return made[key]

    def _kernels(self) -> tuple[str, bool]:
        """What a compiled function is made for: the level in force, and the type."""
        return level(), self.dtype.itemsize == 8

    def compile(self) -> Self:
        """Build the equation with the machine's C compiler, and use that from now on.

        The time loop is the same, and so are the bits of the results; what is computed between two products
        takes less time, most of all in small batches. The compiler named by the environment variable ``CC``
        is asked, else that which Python was built with; it takes about a second. Copies, pickles and files
        know nothing of it.

        Returns
        -------
        EquationLayer
            The layer itself.

        Raises
        ------
        OSError
            If there is no C compiler, or it fails; the layer goes on as before.
        """
        zoneout = bool(self.zoneout)
        trained = Variant(self.recurrent_dropout > 0, zoneout, bool(self.trace().noises))
        directions = [
            self.direction(Variant(zoneout=zoneout), False, False),
            self.direction(trained, False, True),
            self.direction(trained, True, False),
        ]
        compile_directions(directions, self.dtype.itemsize == 8)
        self._compiled = True
        return self

    def __getstate__(self) -> dict[str, Any]:
        left = ("_trace", "_layout", "_equations", "_directions", "_compiled", "_unbounded")
        return {name: value for name, value in super().__getstate__().items() if name not in left}

    def state_shapes(self, rows: int) -> tuple[tuple[int, ...], ...]:
        shapes = zip(self.trace().depths, self.state_widths, strict=True)
        return tuple((rows, width) if depth == 1 else (depth, rows, width) for depth, width in shapes)

    def initial_parameters(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of learned initial states."""
        if not self.learn_initial_state:
            return {}
        return {f"initial_{n}": (w,) for n, w in zip(self.state_names, self.state_widths, strict=True)}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, Any]:
        y, final, tape = super().forward(x, state, lengths, record)
        if tape is not None:
            tape.stamp = (*tape.stamp, state is None)
        return y, final, tape

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        dx, dinitial = super().backward(dy, tape, dstate, input_gradient)
        if self.learn_initial_state and tape.stamp[-1]:
            parts = dinitial if isinstance(dinitial, tuple) else (dinitial,)
            for name, part, width in zip(self.state_names, parts, self.state_widths, strict=True):
                self.grads[f"initial_{name}"][...] += part.reshape(-1, width).sum(axis=0)
        return dx, dinitial

    def fits(self, tape: Any) -> bool:
        return bool(tape.stamp[:-1] == self._stamp(tape))

    def _split_state(self, argument: str, state: State, rows: int) -> Parts:
        parts = super()._split_state(argument, state, rows)
        if state is None and argument == "state" and self.learn_initial_state:
            shapes = zip(self.state_names, self.state_shapes(rows), strict=True)
            return tuple(np.broadcast_to(self.params[f"initial_{name}"], shape) for name, shape in shapes)
        return parts

    def _states(self, steps: int, rows: int, initial: Array | None, place: int = 0) -> Array:
        depth, width = self.trace().depths[place], self.state_widths[place]
        if initial is None and depth > steps:
            raise ValueError(
                f"{self.state_names[place]} is asked for {depth} steps back, but x has {steps} steps (T) "
                "and no "
                "state before them: that delay would never act"
            )
        states: Array = empty((depth + steps, rows, width), self.dtype)
        states[:depth] = 0 if initial is None else initial
        return states

    def _variant(self) -> Variant:
        zoneout = bool(self.zoneout)
        return Variant(
            dropout=self.training and self.recurrent_dropout > 0,
            zoneout=zoneout,
            noise=self.training and bool(self.trace().noises),
        )

    def _draw_masks(self, steps: int, rows: int) -> Masks | None:
        rng = self.rng
        assert rng is not None
        drop: Array | None = None
        if self.training and self.recurrent_dropout:
            drop = draw_mask((rows, self.state_widths[0]), self.recurrent_dropout, self.dtype, rng)
        keep = tuple(
            draw_mask((steps, rows, width), z, self.dtype, rng, scaled=False)
            if self.training and z
            else np.full((steps, rows, width), 1 - z, self.dtype)
            for z, width in zip(self.zoneout, self.state_widths, strict=bool(self.zoneout))
        )
        return CellMasks(drop, None, keep, (), None) if keep or drop is not None else None

    def _new_tape(self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool) -> CellTape:
        steps, rows = x.shape[:2]
        variant = self._variant()
        equations = self.equations(variant)
        kept = empty((steps, rows, equations.kept_width), self.dtype) if record else None
        places = range(1, len(self.state_names))
        states = tuple(self._states(steps, rows, o, k) for o, k in zip(others, places, strict=True))
        noise: tuple[Array, ...] = ()
        if variant.noise:
            assert self.rng is not None
            widths = self.trace().noises
            noise = tuple(self.rng.standard_normal((steps, rows, w), self.dtype) for w in widths)
        vectors = equations.hoisted.evaluate(self.params, self.dtype)
        depths = tuple(self.trace().depths)
        return CellTape(
            x, lengths, hidden[depths[0] - 1 :], states, hidden, kept, noise, vectors, variant, depths
        )

    def _arrays(
        self, tape: CellTape, direction: Direction, more: dict[str, Sequence[Array | None]]
    ) -> list[Array | None]:
        """The arrays of a direction's roles."""
        found: dict[str, Sequence[Array | None]] = {
            "x": (tape.x,),
            "record": (tape.record,),
            "vectors": (tape.vectors,),
            "state": tape.all_states(),
            "noise": tape.noise,
            **more,
        }
        if tape.masks is not None:
            found["drop"], found["keep"] = (tape.masks.drop,), tape.masks.keep
        return [None if source is None else found[source[0]][source[1]] for source in direction.sources]

    def _run_forward(self, tape: CellTape, scratch: Array) -> None:
        direction = self.direction(tape.variant, False, tape.record is not None)
        felt = self.layout.felt(self.params)
        weights = [block.of(felt) for block in direction.weights]
        biases = [
            self._input_bias() if block is None else block.of(self.params) for block in direction.biases
        ]
        arrays = self._arrays(tape, direction, {})
        program_forward(direction.program, tape.x, tape.lengths, arrays, weights, biases)
        if tape.lengths is not None:
            for states, depth in zip(tape.all_states(), tape.depths, strict=True):
                steps = np.arange(len(tape.x))[:, None] >= tape.lengths
                states[depth:][steps] = 0

    def _input_bias(self) -> Array:
        """The biases of all maps that x enters, zero where there is none."""
        layout = self.layout
        if layout.one_bias:
            return self.params["bias"]
        row = np.zeros(layout.projected, self.dtype)
        for name, block in layout.biases.items():
            if block.name == "bias":
                row[layout.columns[name] : layout.columns[name] + block.rows] = block.of(self.params)
        return row

    def _run_backward(
        self, dy: Array, tape: CellTape, dstates: list[Array], dx: Array | None, scratch: Array, flow: Parts
    ) -> Clipped:
        direction = self.direction(tape.variant, True, bool(flow))
        form = direction.form
        slots = [self._slots(part, tape, place) for place, part in enumerate(dstates)]
        if form.projected_add and dx is None:
            dx = empty(tape.x.shape, self.dtype)
        if dx is not None and not form.projected and not form.projected_add:
            dx[...] = 0  # the equation does not ask for x
        more = {"dy": (dy,), "dx": (dx,), "dstate": slots, "flow": flow[:-1], "dsums": flow[-1:]}
        felt, grads = self.layout.felt(self.params), self.layout.gather(self.grads)
        weights = [block.of(felt) for block in direction.weights]
        dweights = [block.of(grads) for block in direction.gradients[: len(form.outers)]]
        dvectors = [block.of(self.grads) for block in direction.gradients[len(form.outers) :]]
        equations = self.equations(tape.variant)
        dhoisted = np.zeros(equations.hoisted.width, self.dtype)
        if equations.hoisted.width:
            dvectors.append(dhoisted)
        arrays = self._arrays(tape, direction, more)
        clipped: Clipped = program_backward(
            direction.program, tape.x, tape.lengths, arrays, weights, dx, dweights, dvectors, self.clip_step
        )
        self.layout.hand_on(grads, self.grads)
        equations.hoisted.add_gradients(self.params, self.grads, dhoisted)
        for part, slot in zip(dstates, slots, strict=True):
            if part is not slot:
                part[...] = slot
        return clipped

    def pack(self) -> None:
        """Nothing: each pass packs the weights for itself."""

    def bound(self) -> float | None:
        """``limit``, or where the equation has a function without a bound infinity; None: anything."""
        if self._unbounded is None:
            self._unbounded = any(value.op in _UNBOUNDED for value in self.trace().graph.values)
        return math.inf if self.limit is None and self._unbounded else self.limit

    def stepwise(self) -> bool:
        if self.learn_initial_state:
            raise ValueError(
                f"{self!r} has learned initial states, and a stream begins with zeros; set stream.state, "
                "after "
                "learn_initial_state=False"
            )
        return True

    def stepper(self) -> Equation:
        """What a stream runs: the step in evaluation, its weights packed."""
        variant = Variant(zoneout=bool(self.zoneout))
        direction, equations = self.direction(variant, False, False), self.equations(variant)
        felt = self.layout.felt(self.params)
        weights = [block.of(felt) for block in direction.weights]
        biases = [self._input_bias() if b is None else b.of(self.params) for b in direction.biases]
        sizes = list(zip(self.trace().depths, self.state_widths, strict=True))
        vectors = equations.hoisted.evaluate(self.params, self.dtype)
        sources = [
            self._source(name, kind.kind, vectors)
            for name, kind in zip(direction.form.names, direction.form.roles, strict=True)
        ]
        return Equation(direction.program, weights, biases, sources, sizes, self.input_size)

    def _source(self, name: str, kind: str, vectors: Array) -> tuple[str, int, Array | None]:
        """What a role is in a stream."""
        if kind in ("sums", "step_rows", "one_row"):
            return {"sums": "sums", "step_rows": "step", "one_row": "row"}[kind], 0, None
        if name == "x":
            return "input", 0, None
        if name == "vectors":
            return "constant", 0, vectors
        what, place = name.split()[0], int(name.split()[1])
        if what == "keep":
            return "constant", 0, np.full(self.state_widths[place], 1 - self.zoneout[place], self.dtype)
        depths, widths = self.trace().depths, self.state_widths
        lag = int(name.split()[2])
        if lag == 0:
            return "new", sum(widths[:place]), None
        before = sum(d * w for d, w in zip(depths[:place], widths[:place], strict=True))
        return "state", before + (depths[place] - lag) * widths[place], None

    def recurrent_weight(self) -> Array:
        """Every square that a state, or what is computed from one, meets, one below the other: (n*H, H).

        Those of the gates come first, in their order.
        """
        trace, layout, felt = self.trace(), self.layout, self.layout.felt(self.params)
        e = self.equations(Variant(zoneout=bool(self.zoneout)))
        order = [name for gate in self._gates(e) for name in _maps_of(gate)]
        order += [linear.name for linear in trace.linears]
        linears = {linear.name: linear for linear in trace.linears}
        squares = [
            block.of(felt)
            for name in dict.fromkeys(order)
            for operand, block in zip(linears[name].operands, layout.weights[name], strict=True)
            if operand.op != "input" and linears[name].size == operand.width == self.hidden_size
        ]
        return np.concatenate(squares) if squares else np.zeros((0, self.hidden_size), self.dtype)

    def gate_values(self, tape: Any) -> Array | None:
        """What the equation's gates and candidates were, (T, B, G*H), in the order of ``gate_names``."""
        variant = Variant(zoneout=bool(self.zoneout))
        e = self.equations(variant)
        known: dict[int, Array] = {}
        steps = len(tape.x)
        for value in e.values:
            if value.op == "input":
                known[value.order] = tape.x
            elif value.op == "state":
                place, lag = value.data
                first = tape.depths[place] - lag
                known[value.order] = tape.all_states()[place][first : first + steps]
            elif value.op == "hoisted":
                column = e.hoisted.column(value)
                known[value.order] = tape.vectors[column : column + value.width]
            elif value.op == "mask":
                known[value.order] = np.full(value.width, 1 - self.zoneout[value.data[1]])
        made = step_values(e, self.layout, self.params, known)
        found = [made[value.order] for value in self._gates(e)]
        return np.concatenate(found, axis=2).astype(self.dtype) if found else None

    def _gates(self, e: Equations) -> list[Value]:
        """Named values that a bounded function makes: gates and candidates."""
        return [
            value
            for value in e.values
            if value.op in ("sigmoid", "tanh")
            and value.width == self.hidden_size
            and e.trace.name_of(value) is not None
        ]

    def _slots(self, part: Array, tape: CellTape, place: int) -> Array:
        """The gradient of a delayed state's past, that of h[t] in slot t modulo D."""
        depth = tape.depths[place]
        if depth == 1:
            return part
        ends = np.full(tape.rows, len(tape.x)) if tape.lengths is None else tape.lengths
        back = (ends - 1 - np.arange(depth)[:, None]) % depth
        return np.take_along_axis(part, (depth - 1 - back)[:, :, None], axis=0)

    def _finals(self, tape: CellTape) -> tuple[Array, ...]:
        finals = []
        for states, depth in zip(tape.all_states(), tape.depths, strict=True):
            if tape.lengths is None:
                final = states[-depth:].copy()
            else:
                final = states[tape.lengths + np.arange(depth)[:, None], np.arange(tape.rows)]
            finals.append(final if depth > 1 else final[0])
        return tuple(finals)

    def _scratch(self, steps: int, rows: int) -> Array:
        return np.empty(0, self.dtype)  # the kernels take their own

    def _start_flow(self, flow: Flow, tape: Any) -> Parts:
        """Room for the gradients of each state and of all sums; the latter serve as those of the products
        too."""
        steps, rows = tape.x.shape[:2]
        flow.tape = tape
        flow.states = tuple(np.zeros((steps + 1, rows, width), self.dtype) for width in self.state_widths)
        whole = tuple(
            states if depth == 1 else np.zeros((depth + steps, rows, states.shape[2]), self.dtype)
            for states, depth in zip(flow.states, tape.depths, strict=True)
        )
        sums = np.zeros((steps, rows, self.layout.width), self.dtype)
        if flow.gates:
            flow.dgates = flow.drecurrent = sums
        return (*whole, sums)


def _maps_of(gate: Value) -> list[str]:
    """The linear maps in a gate's sum."""
    found, waiting = [], list(gate.args)
    while waiting:
        value = waiting.pop()
        if value.op == "linear":
            found.append(value.data.name)
        elif value.op not in ("sigmoid", "tanh"):
            waiting += value.args
    return found


class CellMasks(Masks):
    """Masks without the room that the other cells' kernels want."""

    def part(self, start: int, steps: int) -> Masks:
        keep = tuple(np.ascontiguousarray(array[start : start + steps]) for array in self.keep)
        return CellMasks(self.drop, None, keep, (), None)
