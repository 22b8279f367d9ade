"""The Elman layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import initializers
from .base import Array, Lengths
from .recurrent import Parts, Recurrent, RecurrentTape

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
    checkpoint_every
        Keep the tape in segments of so many steps; see `Recurrent`.

    The state is h, ``(B, H)``.
    """

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, activation: str = "tanh", checkpoint_every: int | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, checkpoint_every)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}, but one of {', '.join(ACTIVATIONS)} is wanted")
        self.activation = activation

    def config(self) -> dict[str, Any]:
        return {**super().config(), "activation": self.activation}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        if self.activation == "relu":
            initializers.identity(params["weight_hh"])

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> RecurrentTape:
        return RecurrentTape(x, lengths, hidden)

    def _run_forward(self, tape: RecurrentTape, scratch: Array) -> None:
        p = self.params
        self.backend.elman_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p["bias"], self.activation,
            tape.hidden, scratch,
        )  # fmt: skip

    def _run_backward(
        self, dy: Array, tape: RecurrentTape, dstates: list[Array], dx: Array, scratch: Array, flow: Parts
    ) -> int:
        p, g = self.params, self.grads
        clipped: int = self.backend.elman_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.activation, self.clip_step,
            tape.hidden, *dstates, dx, g["weight_ih"], g["weight_hh"], g["bias"], scratch, *flow,
        )  # fmt: skip
        return clipped
