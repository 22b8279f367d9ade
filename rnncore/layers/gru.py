"""The GRU layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..kernels.memory import empty
from .base import Array, State
from .recurrent import Recurrent, RecurrentTape


@dataclass(slots=True)
class GRUTape(RecurrentTape):
    """Also the gates' activations r, z, n (T, B, 3H) and the candidates W_hn h[t-1] + b_hn (T, B, H)."""

    gates: Array
    candidates: Array


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al., 2014), reset gate after the product (cuDNN, linear_before_reset=1).

    r, z = sigmoid(W_ih x[t] + W_hh h[t-1] + b), each with its rows;
    n = tanh(W_in x[t] + b_n + r (W_hn h[t-1] + b_hn));
    h[t] = (1 - z) n + z h[t-1]

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.

    Beside the family's three parameters there is ``bias_hn (H,)``, inside the reset product. The state is h,
    ``(B, H)``.
    """

    gates = 3

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {**super().parameter_shapes(), "bias_hn": (self.hidden_size,)}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, GRUTape | None]:
        lengths, (initial,) = self._start(x, state, lengths)
        steps, rows = x.shape[:2]
        hidden = self._states(steps, rows, initial)
        gates = empty((steps, rows, 3 * self.hidden_size), self.dtype) if record else None
        candidates = empty((steps, rows, self.hidden_size), self.dtype) if record else None
        p = self.params
        self.backend.gru_forward(
            x, lengths, p["weight_ih"], p["weight_hh"], p["bias"], p["bias_hn"], hidden, gates, candidates,
            self._scratch(steps, rows),
        )  # fmt: skip
        tape = None if gates is None or candidates is None else GRUTape(x, lengths, hidden, gates, candidates)
        return hidden[1:], self._final(hidden, lengths), tape

    def backward(self, dy: Array, tape: Any, dstate: State = None) -> tuple[Array, State]:
        self._check_upstream(dy, tape)
        steps, rows = tape.x.shape[:2]
        (part,) = self._split_state("dstate", dstate, rows)
        dh, dx = self._state_gradient(part, rows), empty(tape.x.shape, self.dtype)
        p, g = self.params, self.grads
        self.clipped_steps += self.backend.gru_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.clip_step,
            tape.hidden, tape.gates, tape.candidates,
            dh, dx, g["weight_ih"], g["weight_hh"], g["bias"], g["bias_hn"], self._scratch(steps, rows),
        )  # fmt: skip
        return dx, dh
