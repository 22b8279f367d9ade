"""The GRU layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import initializers
from ..brief import brief
from ..checks import check_flag
from ..kernels.memory import empty
from .base import Array, Lengths
from .flow import Parts
from .recurrent import Clipped, Recurrent, RecurrentTape, check_activation


@brief
@dataclass(slots=True)
class GRUTape(RecurrentTape):
    """Also the gates' activations r, z, n (T, B, 3H) and the candidates W_hn h[t-1] + b_hn (T, B, H).

    With the reset gate before the product the candidates are r h[t-1].
    """

    gates: Array | None  # both None in a pass without a tape
    candidates: Array | None


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al., 2014), reset gate after the product (cuDNN, linear_before_reset=1).

    r, z = sigmoid(W_ih x[t] + W_hh h[t-1] + b), each with its rows;
    n = tanh(W_in x[t] + b_n + r (W_hn h[t-1] + b_hn));
    h[t] = (1 - z) n + z h[t-1]

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    checkpoint_every
        Keep the tape in segments of so many steps; see `Recurrent`.
    recurrent_init
        What the recurrent weights start as; see `Recurrent`.
    chrono
        The longest delay in steps, above 2, that the task may ask for: the biases of the update gate z, which
        keeps h[t-1], start as log(u), u uniform in [1, chrono - 1] (Tallec & Ollivier, 2018). None: 0.
    recurrent_dropout, zoneout
        Probabilities, in [0, 1), of dropping h[t-1] in the recurrent product, and of keeping a unit's state
        as it was; see `Recurrent`.
    reset_after
        Whether the reset gate comes after the product, as above. Before it (Cho et al., 2014;
        linear_before_reset=0) n = tanh(W_in x[t] + b_n + W_hn (r h[t-1])), there is no ``bias_hn``, and the
        two products of a step wait for each other. Recurrent dropout then acts before the reset.
    gate_activation, activation
        In place of sigmoid and tanh: ``"tanh"``, ``"sigmoid"``, ``"relu"`` or ``"identity"``.

    Notes
    -----
    Beside the family's three parameters there is ``bias_hn (H,)``, inside the reset product. The state is h,
    ``(B, H)``.
    """

    gates = 3
    gate_names = ("r", "z", "n")
    options: ClassVar[dict[str, Any]] = {
        "chrono": None,
        "reset_after": True,
        "gate_activation": "sigmoid",
        "activation": "tanh",
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        chrono: float | None = None,
        reset_after: bool = True,
        gate_activation: str = "sigmoid",
        activation: str = "tanh",
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            input_size, hidden_size, checkpoint_every, recurrent_init, recurrent_dropout, zoneout
        )
        self.chrono = None if chrono is None else initializers.check_longest(chrono)
        self.reset_after = check_flag("reset_after", reset_after)
        self.reset_before, self.two_products = not self.reset_after, self.reset_after
        self.gate_activation = check_activation("gate_activation", gate_activation)
        self.activation = check_activation("activation", activation)

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        if self.chrono is not None:
            units = self.hidden_size
            params["bias"][units : 2 * units] = initializers.chrono(rng, units, self.chrono)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        inside = {"bias_hn": (self.hidden_size,)} if self.reset_after else {}
        return {**super().parameter_shapes(), **inside}

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> GRUTape:
        steps, rows = x.shape[:2]
        gates = empty((steps, rows, 3 * self.hidden_size), self.dtype) if record else None
        candidates = empty((steps, rows, self.hidden_size), self.dtype) if record else None
        return GRUTape(x, lengths, hidden, gates, candidates)

    def _run_forward(self, tape: GRUTape, scratch: Array) -> None:
        p = self.params
        self.backend.gru_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p["bias"], p.get("bias_hn"),
            tape.hidden, tape.gates, tape.candidates, scratch, self.gate_activation, self.activation,
            tape.masks, self.panels,
        )  # fmt: skip

    def _run_backward(
        self, dy: Array, tape: GRUTape, dstates: list[Array], dx: Array | None, scratch: Array, flow: Parts
    ) -> Clipped:
        p, g = self.params, self.grads
        clipped: Clipped = self.backend.gru_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.clip_step,
            tape.hidden, tape.gates, tape.candidates,
            *dstates, dx, g["weight_ih"], g["weight_hh"], g["bias"], g.get("bias_hn"), scratch,
            *(flow or (None,) * 3), self.gate_activation, self.activation, tape.masks,
        )  # fmt: skip
        return clipped
