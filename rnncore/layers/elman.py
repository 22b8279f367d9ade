"""The Elman layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np

from .. import initializers
from ..checks import check_real
from .base import Array, Lengths
from .flow import Parts
from .recurrent import Clipped, Recurrent, RecurrentTape, check_activation


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
    recurrent_init
        What the recurrent weights start as in place of that; see `Recurrent`.
    limit
        Above 0: a pass in which an entry of h leaves ±limit ends with `ExplodingState`, a FloatingPointError
        that names layer, step and row. Infinite, in files ``"inf"``: one that is not finite. None is infinite
        with ``"relu"`` and ``"identity"``, whose states know no bound; the others' are not looked at.
    recurrent_dropout, zoneout
        Probabilities, in [0, 1), of dropping h[t-1] in the recurrent product, and of keeping a unit's state
        as it was; see `Recurrent`.

    Notes
    -----
    The state is h, ``(B, H)``.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "tanh",
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        limit: float | Literal["inf"] | None = None,
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            input_size, hidden_size, checkpoint_every, recurrent_init, recurrent_dropout, zoneout
        )
        if limit == "inf":
            limit = math.inf
        if limit is not None and not (isinstance(limit, Real) and limit > 0):
            raise ValueError(f"limit is {limit!r}, but a number above 0 is wanted; infinite tests for NaN")
        self.activation = check_activation("activation", activation)
        self.limit = None if limit is None else check_real("limit", limit)

    def config(self) -> dict[str, Any]:
        limit: dict[str, Any] = {} if self.limit is None else {"limit": self.limit}
        if self.limit == math.inf:
            limit["limit"] = "inf"  # JSON knows no infinity
        return {**super().config(), "activation": self.activation, **limit}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        if self.activation == "relu" and self.recurrent_init is None:
            initializers.identity(params["weight_hh"])

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> RecurrentTape:
        return RecurrentTape(x, lengths, hidden)

    def _run_forward(self, tape: RecurrentTape, scratch: Array) -> None:
        p = self.params
        self.backend.elman_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p["bias"], self.activation,
            tape.hidden, scratch, tape.masks, self.panels,
        )  # fmt: skip

    def _run_backward(
        self,
        dy: Array,
        tape: RecurrentTape,
        dstates: list[Array],
        dx: Array | None,
        scratch: Array,
        flow: Parts,
    ) -> Clipped:
        p, g = self.params, self.grads
        clipped: Clipped = self.backend.elman_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.activation, self.clip_step,
            tape.hidden, *dstates, dx, g["weight_ih"], g["weight_hh"], g["bias"], scratch, *flow,
            masks=tape.masks,
        )  # fmt: skip
        return clipped
