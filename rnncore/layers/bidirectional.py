"""The layer that reads in both directions."""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .. import kernels
from ..brief import brief
from ..checks import check_array, check_lengths
from ..kernels.memory import empty
from .base import Array, Layer, State
from .recurrent import Recurrent, RecurrentTape
from .registry import KNOWN, describe

SUFFIX = "_reverse"
MERGES = ("concat", "sum")


@brief
@dataclass(slots=True)
class BidirectionalTape:
    """The tapes of both directions.

    In ``reverse`` time runs backwards: its step t is step ``lengths[b] - 1 - t`` of row b, in x as in states
    and gates.
    """

    forward: RecurrentTape
    reverse: RecurrentTape

    @property
    def rows(self) -> int:
        """B."""
        return self.forward.rows


class Bidirectional(Layer):
    """Two copies of a recurrent layer, one reading forwards, one backwards (Schuster & Paliwal, 1997).

    f = layer(x); r = layer'(x reversed), each row within its own length; with n the length of row b
    y[t, b] = [f[t, b], r[n-1-t, b]] (concat) or f[t, b] + r[n-1-t, b] (sum)

    Parameters
    ----------
    layer
        Any recurrent layer, such as an ``LSTM``, in no network yet, or its ``config()`` with its name as
        ``type``. Both directions are copies of it, each with parameters of its own; `layer` and `reverse`
        are the two.
    merge
        ``"concat"``: y is ``(T, B, 2H)``, the forward half first; ``"sum"``: ``(T, B, H)``.

    Notes
    -----
    The parameters of the reverse direction bear the suffix ``_reverse``, as in PyTorch. The state is the
    tuple (forward state, reverse state); the reverse direction begins with its own at each row's last step
    and ends at step 0. It is therefore no state to go on from in a later segment of the same sequence: pass
    (forward state, None) there. y in the padding is 0.
    """

    looks_ahead = True
    tape_type = BidirectionalTape
    backend: ModuleType = kernels

    def __init__(self, layer: Recurrent | Mapping[str, Any], merge: str = "concat") -> None:
        super().__init__()
        if isinstance(layer, Mapping):
            layer = _build(layer)
        if not isinstance(layer, Recurrent):
            came = type(layer).__name__
            raise TypeError(f"layer is a {came}, but a recurrent layer, such as GRU(3, 5), is wanted")
        if layer.rng is not None:
            raise ValueError(f"layer, {layer}, belongs to a network already: make a new one")
        if merge not in MERGES:
            raise ValueError(f"merge is {merge!r}, but one of {', '.join(MERGES)} is wanted")
        self.layer, self.reverse = copy.deepcopy(layer), copy.deepcopy(layer)
        self.merge = merge

    @property
    def clip_step(self) -> float:
        """Largest norm of what step t hands on to the step before, in both directions; see `Recurrent`."""
        return self.layer.clip_step

    @clip_step.setter
    def clip_step(self, threshold: float) -> None:
        self.layer.clip_step = self.reverse.clip_step = threshold

    @property
    def clipped_steps(self) -> int:
        """How often ``clip_step`` has acted, both directions together."""
        return self.layer.clipped_steps + self.reverse.clipped_steps

    @clipped_steps.setter
    def clipped_steps(self, count: int) -> None:
        self.layer.clipped_steps, self.reverse.clipped_steps = count, 0

    @property
    def clipped_factors(self) -> float:
        """Sum of the factors by which ``clip_step`` has acted, both directions together."""
        return self.layer.clipped_factors + self.reverse.clipped_factors

    @clipped_factors.setter
    def clipped_factors(self, total: float) -> None:
        self.layer.clipped_factors, self.reverse.clipped_factors = total, 0.0

    def config(self) -> dict[str, Any]:
        return {"layer": describe(self.layer), "merge": self.merge}

    def features(self) -> tuple[int | None, int | None]:
        units = self.layer.state_widths[0]
        return self.layer.input_size, 2 * units if self.merge == "concat" else units

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = self.layer.parameter_shapes()
        return shapes | {f"{name}{SUFFIX}": shape for name, shape in shapes.items()}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Both directions draw for themselves, each as the layer does."""
        for layer, part in zip((self.layer, self.reverse), self._halves(params), strict=True):
            layer.initialize(part, rng)

    def bind(
        self,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
        dtype: np.dtype[Any],
        rng: np.random.Generator,
    ) -> None:
        super().bind(params, grads, dtype, rng)
        halves = zip(self._halves(params), self._halves(grads), strict=True)
        for layer, (own_params, own_grads) in zip((self.layer, self.reverse), halves, strict=True):
            layer.bind(own_params, own_grads, dtype, rng)

    def zero_state(self, rows: int, steps: int) -> State:
        state = self.layer.zero_state(rows, steps)
        return None if state is None else (state, state)

    def pack(self) -> None:
        self.layer.pack()
        self.reverse.pack()

    def unpack(self) -> None:
        self.layer.unpack()
        self.reverse.unpack()

    def check_state(self, argument: str, state: State, rows: int) -> None:
        for number, (layer, part) in enumerate(self._split_state(argument, state)):
            layer.check_state(f"{argument}[{number}]", part, rows)

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, BidirectionalTape | None]:
        self.require_bound()
        x = check_array("x", x, self.dtype, "TBI", (None, None, self.layer.input_size))
        steps, rows = x.shape[:2]
        if not steps or not rows:
            raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
        lengths = check_lengths(lengths, steps, rows)
        self.check_state("state", state, rows)
        (forward, first), (reverse, last) = self._split_state("state", state)
        forward.training = reverse.training = self.training
        turned = empty(x.shape, self.dtype)
        self.backend.reverse_rows(x, lengths, False, turned)
        y_forward, final_forward, tape_forward = forward.forward(x, first, lengths, record)
        y_reverse, final_reverse, tape_reverse = reverse.forward(turned, last, lengths, record)
        y = empty((steps, rows, self.features()[1]), self.dtype)
        self.backend.join_directions(y_forward, y_reverse, lengths, y)
        tape = BidirectionalTape(tape_forward, tape_reverse) if record else None
        return y, (final_forward, final_reverse), tape

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        steps, rows = tape.forward.x.shape[:2]
        dy = check_array("dy", dy, self.dtype, "TBF", (steps, rows, self.features()[1]))
        self.check_state("dstate", dstate, rows)
        (forward, dfirst), (reverse, dlast) = self._split_state("dstate", dstate)
        lengths = tape.forward.lengths
        dy_forward, dy_reverse = dy, empty((steps, rows, forward.state_widths[0]), self.dtype)
        if self.merge == "concat":
            dy_forward = empty(dy_reverse.shape, self.dtype)
            self.backend.split_directions(dy, lengths, dy_forward, dy_reverse)
        else:
            self.backend.reverse_rows(dy, lengths, False, dy_reverse)
        dx, dinitial_forward = forward.backward(dy_forward, tape.forward, dfirst, input_gradient)
        dturned, dinitial_reverse = reverse.backward(dy_reverse, tape.reverse, dlast, input_gradient)
        if input_gradient:
            self.backend.reverse_rows(dturned, lengths, True, dx)
        return dx, (dinitial_forward, dinitial_reverse)

    def fits(self, tape: Any) -> bool:
        halves = (self.layer, tape.forward), (self.reverse, tape.reverse)
        return all(isinstance(half, layer.tape_type) and layer.fits(half) for layer, half in halves)

    def _halves(self, params: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Each direction's parameters, or gradients, under the names that it knows."""
        names = self.layer.parameter_shapes()
        return {name: params[name] for name in names}, {name: params[f"{name}{SUFFIX}"] for name in names}

    def _split_state(self, argument: str, state: State) -> tuple[tuple[Recurrent, State], ...]:
        """Both directions, each with its part of the state."""
        if state is None:
            state = (None, None)
        if not isinstance(state, tuple) or len(state) != 2:
            came = f"a tuple of {len(state)}" if isinstance(state, tuple) else f"a {type(state).__name__}"
            raise TypeError(f"{argument} is {came}, but the tuple (forward state, reverse state) is wanted")
        return (self.layer, state[0]), (self.reverse, state[1])

    def __repr__(self) -> str:
        return f"Bidirectional({self.layer!r}, merge={self.merge!r})"


def _build(config: Mapping[str, Any]) -> Recurrent:
    """The layer that a configuration describes; no more than the cells can be made of it."""
    kind = config.get("type")
    cells = {name: layer for name, layer in KNOWN.items() if issubclass(layer, Recurrent)}
    if not isinstance(kind, str) or kind not in cells:
        known = ", ".join(sorted(cells))
        raise ValueError(f"layer is of type {reprlib.repr(kind)}, but one of {known} is wanted")
    return cells[kind](**{name: value for name, value in config.items() if name != "type"})
