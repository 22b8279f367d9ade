"""What Elman, LSTM and GRU layers share: shapes, states, lengths, tapes, segments.

A cell adds its tape and its two kernel calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import initializers, kernels
from ..brief import brief
from ..checks import check_array, check_lengths, check_positive_integer, check_size
from ..kernels.memory import empty
from .base import Array, ExplodingState, Layer, Lengths, State, shape_of
from .flow import Flow, Parts
from .masks import Masks, check_probability, check_zoneout, draw_mask

Clipped = tuple[int, float]  # how often clip_step acted, and the sum of its factors


@brief
@dataclass(slots=True)
class RecurrentTape:
    """What BPTT needs of one forward pass. States have their past in front: row t is "before step t"."""

    x: Array  # (T, B, I)
    lengths: Lengths  # (B,), None where all rows have T steps
    hidden: Array  # (1+T, B, H)
    masks: Masks | None = field(default=None, kw_only=True)  # of recurrent dropout and zoneout
    stamp: tuple[Any, ...] = field(default=(), kw_only=True, repr=False)  # the layer's, and all shapes

    @property
    def rows(self) -> int:
        """B."""
        return int(self.hidden.shape[1])

    def states(self) -> tuple[Array, ...]:
        """The states of all steps, (1+T, B, H) each, in the order of the layer's state."""
        return (self.hidden,)

    def mapped(self, function: Callable[[Array], Array], lengths: Lengths) -> Any:
        """The tape with a function of every array of steps."""
        arrays: dict[str, Any] = {
            field.name: function(getattr(self, field.name))
            for field in fields(self)
            if getattr(getattr(self, field.name), "ndim", 0) == 3  # the others have no steps
        }
        return replace(self, **arrays, lengths=lengths)

    def shapes(self) -> list[Any]:
        """Those of all its arrays as they are now, which kernels trust."""
        names = type(self).__dataclass_fields__
        return [shape_of(getattr(self, name)) for name in names if name != "stamp"]


@brief
@dataclass(slots=True)
class SegmentedTape(RecurrentTape):
    """A pass of which only x, h and the other states before each segment are kept: ``checkpoint_every``."""

    borders: list[tuple[Array, ...]]  # for each segment, the states beside h before it, (B, H) each


ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity")


def check_activation(name: str, value: str) -> str:
    """``value`` if it is an activation's name; ValueError otherwise."""
    if value not in ACTIVATIONS:
        raise ValueError(f"{name} is {value!r}, but one of {', '.join(ACTIVATIONS)} is wanted")
    return value


class Recurrent(Layer):
    """A recurrent layer of ``hidden_size`` units over inputs of ``input_size`` features.

    Parameters are ``weight_ih (G*H, I)``, ``weight_hh (G*H, H)`` and one ``bias (G*H,)``, gates in PyTorch's
    order; PyTorch's two biases add up to this one.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    checkpoint_every
        k, at least 1: keep of the tape only what is needed to run each segment of k steps again, and do so on
        the way back (Chen, Xu, Zhang & Guestrin, 2016). The tape beside x and y shrinks from T to k steps and
        T/k states, the work grows by one forward pass; results are the same bits forward and equal up to
        rounding backward. None keeps the whole tape.
    recurrent_init
        What each gate's square of ``weight_hh`` starts as: ``"orthogonal"``, ``"identity"``, ``"spectral"``
        (Gaussian, scaled to this spectral radius), ``"critical"`` (Gaussian with the activation's critical
        gain), ``"normal"`` or ``"uniform"``, each with a factor behind a colon if it is not 1:
        ``"spectral:0.9"``. None is orthogonal.
    recurrent_dropout
        In [0, 1): in training, entries of h[t-1] are dropped with this probability where they enter the
        recurrent product, the others scaled by 1/(1-p); one draw a row and unit for all steps of a pass (Gal
        & Ghahramani, 2016).
    zoneout
        In [0, 1), or one such number for each state: in training, each unit keeps its state from the step
        before with this probability, drawn for every step; in evaluation the state is the mean of both,
        z h[t-1] + (1 - z) h'[t], with h'[t] what the cell makes (Krueger et al., 2017).

    Attributes
    ----------
    limit : float or None
        ``forward`` raises `ExplodingState` where h leaves ±limit, or is not finite. None is infinite where an
        activation is ReLU or the identity; otherwise h is not looked at.
    clip_step : float
        In BPTT, when the norm of the gradient that a sample's step t hands on to step t-1 exceeds this, it is
        rescaled to it; for cells with two states the norm is the joint one. Infinite, that is off, at first.
    clipped_steps : int
        How many (sample, step) pairs ``clip_step`` has rescaled so far.
    clipped_factors : float
        Sum over them of the factor, ``clip_step`` by the norm.
    flow : Flow or None
        What ``backward`` is to record on its way; None, nothing, at first.
    """

    tape_type = RecurrentTape
    gates: int
    #: what the gates are called, in the order of the weights' rows: g, n or h writes, others open and shut
    gate_names: tuple[str, ...] = ()
    #: the function of each gate, where it follows from no option
    gate_functions: tuple[str, ...] = ()
    #: whether a step may mix units other than by the product with h, so that diagnostics look at each
    unit_by_unit = False
    #: whether units feel weight_hh as it stands, unsigned and whole
    felt_as_is = True
    #: what the state consists of
    state_names: tuple[str, ...] = ("h",)
    #: whether every step is the same function of the input and the state of the step before
    one_step: ClassVar[bool] = True
    #: whether the kernels are those of leaky units, which want more working memory
    leaky: ClassVar[bool] = False
    #: how many steps back the state reaches
    depth: int = 1
    #: how many connections through time beside that from the step before
    skips: int = 0
    #: whether the last gate's product is with r h[t-1]
    reset_before: bool = False
    #: whether gates and their products with h[t-1] have gradients of their own
    two_products: bool = False
    #: what a tape must be of, from bind on
    kind: tuple[Any, ...] = ()
    #: weights packed for many forward passes, or None
    panels: Array | None = None
    #: names of the constructor's further arguments, which are attributes too, with their defaults
    options: ClassVar[dict[str, Any]] = {}
    #: of the candidate state: it sets the critical gain
    activation: str = "tanh"
    backend: ModuleType = kernels

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = check_size("hidden_size", hidden_size)
        if checkpoint_every is not None:
            checkpoint_every = check_positive_integer("checkpoint_every", checkpoint_every)
        self.checkpoint_every = checkpoint_every
        if recurrent_init is not None:
            initializers.parse(recurrent_init)
        self.recurrent_init = recurrent_init
        self.recurrent_dropout = check_probability("recurrent_dropout", recurrent_dropout)
        self.zoneout = check_zoneout(zoneout, self.state_names)
        self.limit: float | None = None
        self.clip_step = math.inf
        self.clipped_steps, self.clipped_factors = 0, 0.0
        self.flow: Flow | None = None

    @property
    def state_widths(self) -> tuple[int, ...]:
        """Units of each state; the first one's are those of y."""
        return (self.hidden_size,) * len(self.state_names)

    def config(self) -> dict[str, Any]:
        sizes = {"input_size": self.input_size, "hidden_size": self.hidden_size}
        options: dict[str, Any] = {"checkpoint_every": None, "recurrent_init": None}
        options |= {"recurrent_dropout": 0.0, "zoneout": []}
        options |= self.options
        chosen = {name: getattr(self, name) for name in options}
        return sizes | {name: value for name, value in chosen.items() if value != options[name]}

    def features(self) -> tuple[int | None, int | None]:
        return self.input_size, self.state_widths[0]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        return {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size), "bias": (rows,)}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Glorot uniform input weights, recurrent weights as told (each gate's square), zero biases."""
        fill, factor = initializers.parse(self.recurrent_init or "orthogonal")
        if fill is initializers.critical_normal:
            factor *= initializers.CRITICAL_GAINS[self.activation]
        for gate in range(self.gates):
            rows = slice(gate * self.hidden_size, (gate + 1) * self.hidden_size)
            initializers.glorot_uniform(params["weight_ih"][rows], rng)
            fill(params["weight_hh"][rows], rng, factor)

    def bind(
        self,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
        dtype: np.dtype[Any],
        rng: np.random.Generator,
    ) -> None:
        super().bind(params, grads, dtype, rng)
        self.kind = type(self).__name__, dtype, self.depth, *self.parameter_shapes().values()

    def recurrent_weight(self) -> Array:
        """The recurrent weights as the units feel them, ``(G*H, H)``."""
        weight: Array = self.params["weight_hh"]
        return weight

    def gate_values(self, tape: Any) -> Array | None:
        """The gates' activations that a tape keeps, (T, B, G*H); None if it keeps none."""
        values: Array | None = getattr(tape, "gates", None)
        return values

    def stepwise(self) -> bool:
        """Whether the layer has a ``stepper`` of its own for streams; ValueError where none can be made."""
        return False

    def pack(self) -> None:
        before = self.reset_before
        size = self.backend.panels_size(self.input_size, self.hidden_size, self.gates, self.dtype, before)
        panels: Array = empty((size,), self.dtype)
        weights = self.params["weight_ih"], self.recurrent_weight(), self.params["bias"]
        self.backend.pack_recurrent(*weights, before, panels)
        self.panels = panels

    def unpack(self) -> None:
        self.panels = None

    def state_shapes(self, rows: int) -> tuple[tuple[int, ...], ...]:
        """The shape of each array of the state, for B rows."""
        return tuple((rows, width) for width in self.state_widths)

    def check_state(self, argument: str, state: State, rows: int) -> None:
        self._split_state(argument, state, rows)

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> Any:
        """The cell's tape on ``hidden`` with fresh room for the rest; ``others``: initial states beside h."""
        raise NotImplementedError

    def _run_forward(self, tape: Any, scratch: Array) -> None:
        """The cell's forward kernel: fills the tape."""
        raise NotImplementedError

    def _run_backward(
        self, dy: Array, tape: Any, dstates: list[Array], dx: Array | None, scratch: Array, flow: Parts
    ) -> Clipped:
        """The cell's backward kernel, with the arrays to record into; returns what clip_step did."""
        raise NotImplementedError

    def _count(self, clipped: Clipped) -> None:
        self.clipped_steps += clipped[0]
        self.clipped_factors += clipped[1]

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, Any]:
        self.require_bound()
        x = check_array("x", x, self.dtype, "TBI", (None, None, self.input_size))
        steps, rows = x.shape[:2]
        if not steps or not rows:
            raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
        lengths = check_lengths(lengths, steps, rows)
        first, *others = self._split_state("state", state, rows)
        hidden = self._states(steps, rows, first)
        masks = self._draw_masks(steps, rows)
        if record and self.checkpoint_every is not None and self.checkpoint_every < steps:
            every = self.checkpoint_every
            tape, finals = self._forward_segments(x, lengths, hidden, tuple(others), every, masks)
        else:
            tape = self._new_tape(x, lengths, hidden, tuple(others), record)
            tape.masks = None if masks is None else masks.part(0, steps)
            self._run_forward(tape, self._scratch(steps, rows))
            finals = self._finals(tape)
        tape.stamp = self._stamp(tape)
        y = tape.hidden[1:]
        limit = self.bound()
        if limit is not None:
            self._guard(y, limit)
            self._guard_cells(finals[1:])
        return y, finals if len(finals) > 1 else finals[0], tape if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        dy = check_array("dy", dy, self.dtype, "TBH", (*tape.x.shape[:2], self.state_widths[0]))
        steps, rows = tape.x.shape[:2]
        parts = self._split_state("dstate", dstate, rows)
        shapes = self.state_shapes(rows)
        dstates = [self._state_gradient(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        dx: Array | None = empty(tape.x.shape, self.dtype) if input_gradient else None
        flow: Parts = ()
        if self.flow is not None:
            flow = self._start_flow(self.flow, tape)
        if isinstance(tape, SegmentedTape):
            self._backward_segments(dy, tape, dstates, dx, flow)
        else:
            scratch = self._scratch(steps, rows)
            self._count(self._run_backward(dy, tape, dstates, dx, scratch, flow))
        if self.flow is not None:
            self.flow.finish(dstates)
        return dx, tuple(dstates) if len(dstates) > 1 else dstates[0]

    def _start_flow(self, flow: Flow, tape: Any) -> Parts:
        """Room for what a pass along the tape records."""
        return flow.start(tape, len(self.state_names), self.gates * self.hidden_size)

    def fits(self, tape: Any) -> bool:
        return bool(tape.stamp == self._stamp(tape))

    def _stamp(self, tape: RecurrentTape) -> tuple[Any, ...]:
        """What the shapes in a tape of this layer follow from, and the shapes themselves."""
        every = self.checkpoint_every if isinstance(tape, SegmentedTape) else None
        return self.kind, every, tape.shapes()

    def _draw_masks(self, steps: int, rows: int) -> Masks | None:
        """What a pass drops and keeps, without room for more; None if it leaves everything as it is."""
        units, rng = self.hidden_size, self.rng
        assert rng is not None
        drop: Array | None = None
        if self.training and self.recurrent_dropout:
            drop = draw_mask((rows, units), self.recurrent_dropout, self.dtype, rng)
        keep = tuple(
            draw_mask((steps, rows, units), z, self.dtype, rng, scaled=False)
            if self.training and z
            else np.full((steps if self.training else 1, rows, units), 1 - z, self.dtype)  # all of one length
            for z in self.zoneout
        )
        return Masks(drop, None, keep, (), None) if keep or drop is not None else None

    def bound(self) -> float | None:
        """What h may not leave: ``limit``, or where an activation knows no bound infinity; None: anything."""
        unbounded = {"relu", "identity"} & {self.activation, getattr(self, "gate_activation", "")}
        return math.inf if self.limit is None and unbounded else self.limit

    def _guard(self, hidden: Array, limit: float) -> None:
        """Raise ExplodingState if h (T, B, H) leaves ±limit or is not finite."""
        largest = max(float(hidden.max()), -float(hidden.min()))  # two passes at the speed of the memory
        if largest <= limit and largest < math.inf:
            return
        with np.errstate(invalid="ignore"):
            step, row, unit = np.argwhere(~(np.abs(hidden) <= min(limit, np.finfo(hidden.dtype).max)))[0]
        found = hidden[step, row, unit]
        beyond = f", beyond the limit of {limit:g}" if limit < math.inf else ""
        raise ExplodingState(
            f"{self}: unit {unit} of row {row} is {found:.4g} after step {step}{beyond}: smaller recurrent "
            "weights, a lower learning rate or clipping help"
        )

    def _guard_cells(self, cells: tuple[Array, ...]) -> None:
        """Raise ExplodingState if c (B, H) after the last step is not finite: once so it stays so."""
        for cell in cells:
            if not np.isfinite(cell).all():
                row, unit = np.argwhere(~np.isfinite(cell))[0]
                raise ExplodingState(
                    f"{self}: the cell of unit {unit} of row {row} is {cell[row, unit]} in the end: smaller "
                    "recurrent weights, a lower learning rate or clipping help"
                )

    def _forward_segments(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, every: int, masks: Masks | None
    ) -> tuple[SegmentedTape, tuple[Array, ...]]:
        """Forward in segments, keeping h and the other states before each; also returns the final states."""
        rows = x.shape[1]
        finals = [np.zeros(shape, self.dtype) for shape in self.state_shapes(rows)[1:]]
        borders: list[tuple[Array, ...]] = []
        scratch = self._scratch(every, rows)
        current = tuple(
            np.zeros_like(final) if other is None else other
            for other, final in zip(others, finals, strict=True)
        )
        for start in range(0, len(x), every):
            borders.append(tuple(other.copy() for other in current))
            tape = self._segment(x, lengths, hidden, current, start, every, masks, record=False)
            self._run_forward(tape, scratch)
            current = tuple(states[-1] for states in tape.states()[1:])
            for final, states in zip(finals, tape.states()[1:], strict=True):
                if lengths is None:
                    final[...] = states[-1]
                else:
                    ending = np.flatnonzero((lengths > start) & (lengths <= start + every))
                    final[ending] = states[lengths[ending] - start, ending]
        tape = SegmentedTape(x, lengths, hidden, borders, masks=masks)
        return tape, (self._final(hidden, lengths), *finals)

    def _backward_segments(
        self, dy: Array, tape: SegmentedTape, dstates: list[Array], dx: Array | None, flow: Parts
    ) -> None:
        """Run each segment again, last first, and go back along it."""
        every = self.checkpoint_every
        assert every is not None
        scratch = self._scratch(every, dy.shape[1])
        for index in reversed(range(len(tape.borders))):
            start = index * every
            part = slice(start, start + every)
            segment = self._segment(
                tape.x, tape.lengths, tape.hidden, tape.borders[index], start, every, tape.masks, record=True
            )
            self._run_forward(segment, scratch)
            recorded = tuple(
                array if array is None else array[start : start + every + (len(array) > len(dy))]
                for array in flow
            )
            own = None if dx is None else dx[part]
            self._count(self._run_backward(dy[part], segment, dstates, own, scratch, recorded))

    def _segment(
        self,
        x: Array,
        lengths: Lengths,
        hidden: Array,
        others: tuple[Array, ...],
        start: int,
        every: int,
        masks: Masks | None,
        record: bool,
    ) -> Any:
        """The tape of the steps from ``start`` on; its h lies in ``hidden``, and rows may have ended."""
        part = x[start : start + every]
        within = None if lengths is None else np.clip(lengths - start, 0, len(part))
        tape = self._new_tape(part, within, hidden[start : start + every + 1], others, record)
        tape.masks = None if masks is None else masks.part(start, len(part))
        return tape

    def _split_state(self, argument: str, state: State, rows: int) -> Parts:
        """The arrays (B, H) of a state or its gradient, checked."""
        names = self.state_names
        if state is None:
            return (None,) * len(names)
        parts = (state,) if len(names) == 1 else state
        if not isinstance(parts, tuple) or len(parts) != len(names):
            wanted = f"a tuple ({', '.join(names)})"
            raise TypeError(f"{argument} is a {type(state).__name__}, but {wanted} is wanted")
        checked = []
        for name, part, shape in zip(names, parts, self.state_shapes(rows), strict=True):
            label = argument if len(names) == 1 else f"{argument}'s {name}"
            checked.append(check_array(label, part, self.dtype, "DBH"[3 - len(shape) :], shape))
        return tuple(checked)

    def _states(self, steps: int, rows: int, initial: Array | None, place: int = 0) -> Array:
        """Room for a state of all steps (1+T, B, H), the initial one in row 0."""
        states: Array = empty((steps + 1, rows, self.state_widths[place]), self.dtype)
        states[0] = 0 if initial is None else initial
        return states

    def _finals(self, tape: Any) -> tuple[Array, ...]:
        """The state after each row's own last step, as copies."""
        return tuple(self._final(states, tape.lengths) for states in tape.states())

    def _final(self, states: Array, lengths: Lengths) -> Array:
        """Each row's state after its own last step, (B, H), as a copy."""
        final: Array = states[-1].copy() if lengths is None else states[lengths, np.arange(len(lengths))]
        return final

    def _state_gradient(self, part: Array | None, shape: tuple[int, ...]) -> Array:
        """A fresh gradient of a state, which the kernel turns from final to initial in place."""
        return np.zeros(shape, self.dtype) if part is None else part.copy()

    def _scratch(self, steps: int, rows: int) -> Array:
        """Working memory for the kernels, (N,)."""
        inputs, units = self.input_size, self.hidden_size
        more = self.leaky, self.skips, self.two_products, self.reset_before
        size = self.backend.scratch_size(steps, rows, inputs, units, self.gates, self.dtype, *more)
        scratch: Array = empty((size,), self.dtype)
        return scratch
