"""The LSTM layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import initializers
from ..brief import brief
from ..checks import check_flag, check_number
from ..kernels.memory import empty
from .base import Array, Lengths
from .flow import Parts
from .recurrent import Clipped, Recurrent, RecurrentTape, check_activation


@brief
@dataclass(slots=True)
class LSTMTape(RecurrentTape):
    """Also the cell states (1+T, B, H) and the gates' activations i, f, g, o or i, g, o (T, B, G*H)."""

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
    recurrent_dropout, zoneout
        Probabilities, in [0, 1), of dropping h[t-1] in the recurrent product, and of keeping a unit's state
        as it was; zoneout may be a pair, of h and c; see `Recurrent`.

    peepholes
        Whether the gates also see the cell (Gers, Schraudolph & Schmidhuber, 2002), by the parameters
        ``weight_ci``, ``weight_cf``, ``weight_co`` ``(H,)``, which start as 0:
        i + weight_ci c[t-1], f + weight_cf c[t-1], o + weight_co c[t].
    coupled
        Whether the forget gate is 1 - i (Greff et al., 2017). The parameters then have the three gates
        i, g, o, and a quarter of the arithmetic goes; ``forget_bias`` enters i with the other sign.
    gate_activation, activation
        In place of sigmoid and tanh: ``"tanh"``, ``"sigmoid"``, ``"relu"`` or ``"identity"``.

    Notes
    -----
    The state is the tuple (h, c), each ``(B, H)``.
    """

    state_names = ("h", "c")
    options: ClassVar[dict[str, Any]] = {
        "peepholes": False,
        "coupled": False,
        "gate_activation": "sigmoid",
        "activation": "tanh",
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        chrono: float | None = None,
        peepholes: bool = False,
        coupled: bool = False,
        gate_activation: str = "sigmoid",
        activation: str = "tanh",
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            input_size, hidden_size, checkpoint_every, recurrent_init, recurrent_dropout, zoneout
        )
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.chrono = None if chrono is None else initializers.check_longest(chrono)
        if chrono is not None and self.forget_bias != 1:
            raise ValueError(f"forget_bias is {forget_bias}, but chrono {chrono} sets that bias too")
        self.peepholes = check_flag("peepholes", peepholes)
        self.coupled = check_flag("coupled", coupled)
        self.gate_names = ("i", "g", "o") if coupled else ("i", "f", "g", "o")
        self.gates = len(self.gate_names)
        self.gate_activation = check_activation("gate_activation", gate_activation)
        self.activation = check_activation("activation", activation)

    def config(self) -> dict[str, Any]:
        chosen = {"forget_bias": self.forget_bias} if self.chrono is None else {"chrono": self.chrono}
        return {**super().config(), **chosen}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        names = ("weight_ci",) + (() if self.coupled else ("weight_cf",)) + ("weight_co",)
        vectors = dict.fromkeys(names if self.peepholes else (), (self.hidden_size,))
        return {**super().parameter_shapes(), **vectors}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        units, bias = self.hidden_size, params["bias"]
        forget: Any = self.forget_bias
        if self.chrono is not None:
            forget = initializers.chrono(rng, units, self.chrono)
        if self.coupled or self.chrono is not None:
            bias[:units] = -forget
        if not self.coupled:
            bias[units : 2 * units] = forget
        for name in params.keys() & {"weight_ci", "weight_cf", "weight_co"}:
            params[name][:] = 0

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> LSTMTape:
        steps, rows = x.shape[:2]
        cells = self._states(steps, rows, others[0])
        gates = empty((steps, rows, self.gates * self.hidden_size), self.dtype) if record else None
        return LSTMTape(x, lengths, hidden, cells, gates)

    def _run_forward(self, tape: LSTMTape, scratch: Array) -> None:
        p = self.params
        self.backend.lstm_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p["bias"],
            tape.hidden, tape.cells, tape.gates, scratch,
            p.get("weight_ci"), p.get("weight_cf"), p.get("weight_co"), self.gate_activation, self.activation,
            tape.masks, self.panels,
        )  # fmt: skip

    def _run_backward(
        self, dy: Array, tape: LSTMTape, dstates: list[Array], dx: Array | None, scratch: Array, flow: Parts
    ) -> Clipped:
        p, g = self.params, self.grads
        clipped: Clipped = self.backend.lstm_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], self.clip_step,
            tape.hidden, tape.cells, tape.gates,
            *dstates, dx, g["weight_ih"], g["weight_hh"], g["bias"], scratch, *(flow or (None,) * 4),
            p.get("weight_ci"), p.get("weight_cf"), p.get("weight_co"),
            g.get("weight_ci"), g.get("weight_cf"), g.get("weight_co"), self.gate_activation, self.activation,
            tape.masks,
        )  # fmt: skip
        return clipped
