"""The Elman layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import initializers
from ..kernels.memory import empty
from .base import Array, State
from .recurrent import Recurrent, RecurrentTape

ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity")


class Elman(Recurrent):
    """h[t] = g(W_ih x[t] + W_hh h[t-1] + b), the simple recurrent network of Elman (1990).

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    activation
        g: ``"tanh"``, ``"sigmoid"``, ``"relu"`` or ``"identity"``. With ``"relu"`` the recurrent weights
        start as the identity, which makes it the IRNN of Le, Jaitly & Hinton (2015); otherwise orthogonal.

    The state is h, ``(B, H)``.
    """

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, activation: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}, but one of {', '.join(ACTIVATIONS)} is wanted")
        self.activation = activation

    def config(self) -> dict[str, Any]:
        return {**super().config(), "activation": self.activation}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        if self.activation == "relu":
            initializers.identity(params["weight_hh"])

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, RecurrentTape | None]:
        lengths, (initial,) = self._start(x, state, lengths)
        steps, rows = x.shape[:2]
        hidden = self._states(steps, rows, initial)
        p = self.params
        self.backend.elman_forward(
            x, lengths, p["weight_ih"], p["weight_hh"], p["bias"], self.activation, hidden,
            self._scratch(steps, rows),
        )  # fmt: skip
        tape = RecurrentTape(x, lengths, hidden) if record else None
        return hidden[1:], self._final(hidden, lengths), tape

    def backward(self, dy: Array, tape: Any, dstate: State = None) -> tuple[Array, State]:
        self._check_upstream(dy, tape)
        steps, rows = tape.x.shape[:2]
        (part,) = self._split_state("dstate", dstate, rows)
        dh, dx = self._state_gradient(part, rows), empty(tape.x.shape, self.dtype)
        p, g = self.params, self.grads
        self.clipped_steps += self.backend.elman_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.activation, self.clip_step,
            tape.hidden, dh, dx, g["weight_ih"], g["weight_hh"], g["bias"], self._scratch(steps, rows),
        )  # fmt: skip
        return dx, dh
