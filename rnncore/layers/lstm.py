"""The LSTM layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import initializers
from ..checks import check_number
from ..kernels.memory import empty
from .base import Array, Lengths
from .recurrent import Parts, Recurrent, RecurrentTape


@dataclass(slots=True)
class LSTMTape(RecurrentTape):
    """Also the cell states (1+T, B, H) and the gates' activations i, f, g, o (T, B, 4H)."""

    cells: Array
    gates: Array | None  # None in a pass without a tape

    def states(self) -> tuple[Array, ...]:
        return (self.hidden, self.cells)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate: Gers et al., 2000).

    i, f, g, o = split(W_ih x[t] + W_hh h[t-1] + b);
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g);
    h[t] = sigmoid(o) tanh(c[t])

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    forget_bias
        Initial bias of the forget gate; 1 keeps the cell's memory open at first (Jozefowicz, Zaremba &
        Sutskever, 2015).
    checkpoint_every
        Keep the tape in segments of so many steps; see `Recurrent`.
    recurrent_init
        What the recurrent weights start as; see `Recurrent`.
    chrono
        The longest delay in steps, above 2, that the task may ask for: forget biases start as log(u), u
        uniform in [1, chrono - 1], input biases as minus that (Tallec & Ollivier, 2018), in place of
        ``forget_bias``.

    The state is the tuple (h, c), each ``(B, H)``.
    """

    gates = 4
    state_names = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        chrono: float | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, checkpoint_every, recurrent_init)
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.chrono = None if chrono is None else initializers.check_longest(chrono)
        if chrono is not None and self.forget_bias != 1:
            raise ValueError(f"forget_bias is {forget_bias}, but chrono {chrono} sets that bias too")

    def config(self) -> dict[str, Any]:
        chosen = {"forget_bias": self.forget_bias} if self.chrono is None else {"chrono": self.chrono}
        return {**super().config(), **chosen}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        units, bias = self.hidden_size, params["bias"]
        if self.chrono is None:
            bias[units : 2 * units] = self.forget_bias
            return
        bias[units : 2 * units] = initializers.chrono(rng, units, self.chrono)
        bias[:units] = -bias[units : 2 * units]

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> LSTMTape:
        steps, rows = x.shape[:2]
        cells = self._states(steps, rows, others[0])
        gates = empty((steps, rows, 4 * self.hidden_size), self.dtype) if record else None
        return LSTMTape(x, lengths, hidden, cells, gates)

    def _run_forward(self, tape: LSTMTape, scratch: Array) -> None:
        p = self.params
        self.backend.lstm_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p["bias"],
            tape.hidden, tape.cells, tape.gates, scratch,
        )  # fmt: skip

    def _run_backward(
        self, dy: Array, tape: LSTMTape, dstates: list[Array], dx: Array, scratch: Array, flow: Parts
    ) -> int:
        p, g = self.params, self.grads
        clipped: int = self.backend.lstm_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.clip_step,
            tape.hidden, tape.cells, tape.gates,
            *dstates, dx, g["weight_ih"], g["weight_hh"], g["bias"], scratch, *flow,
        )  # fmt: skip
        return clipped
