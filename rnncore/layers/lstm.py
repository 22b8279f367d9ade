"""The LSTM layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_number
from ..kernels.memory import empty
from .base import Array, State
from .recurrent import Recurrent, RecurrentTape


@dataclass(slots=True)
class LSTMTape(RecurrentTape):
    """Also the cell states (1+T, B, H) and the gates' activations i, f, g, o (T, B, 4H)."""

    cells: Array
    gates: Array


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

    The state is the tuple (h, c), each ``(B, H)``.
    """

    gates = 4
    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.forget_bias = check_number("forget_bias", forget_bias)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "forget_bias": self.forget_bias}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        params["bias"][self.hidden_size : 2 * self.hidden_size] = self.forget_bias

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, LSTMTape | None]:
        lengths, (h0, c0) = self._start(x, state, lengths)
        steps, rows = x.shape[:2]
        hidden, cells = self._states(steps, rows, h0), self._states(steps, rows, c0)
        gates = empty((steps, rows, 4 * self.hidden_size), self.dtype) if record else None
        p = self.params
        self.backend.lstm_forward(
            x, lengths, p["weight_ih"], p["weight_hh"], p["bias"], hidden, cells, gates,
            self._scratch(steps, rows),
        )  # fmt: skip
        tape = None if gates is None else LSTMTape(x, lengths, hidden, cells, gates)
        return hidden[1:], (self._final(hidden, lengths), self._final(cells, lengths)), tape

    def backward(self, dy: Array, tape: Any, dstate: State = None) -> tuple[Array, State]:
        self._check_upstream(dy, tape)
        steps, rows = tape.x.shape[:2]
        parts = self._split_state("dstate", dstate, rows)
        dh, dc = (self._state_gradient(part, rows) for part in parts)
        dx = empty(tape.x.shape, self.dtype)
        p, g = self.params, self.grads
        self.clipped_steps += self.backend.lstm_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.clip_step,
            tape.hidden, tape.cells, tape.gates,
            dh, dc, dx, g["weight_ih"], g["weight_hh"], g["bias"], self._scratch(steps, rows),
        )  # fmt: skip
        return dx, (dh, dc)
