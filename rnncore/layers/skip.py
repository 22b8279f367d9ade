"""The Elman layer with skip connections through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import initializers
from ..brief import brief
from ..checks import check_ascending
from ..kernels.memory import empty
from .base import Array, Lengths, State
from .flow import Parts
from .recurrent import Clipped, Recurrent, RecurrentTape, check_activation


@brief
@dataclass(slots=True)
class SkipTape(RecurrentTape):
    """The states of all steps, and before them those that the first steps see."""

    all_states: Array  # (D+T, B, H), of which hidden is the end


class SkipElman(Recurrent):
    """h[t] = g(W_ih x[t] + sum over delays d of W_d h[t-d] + b): added or longer connections through time.

    A gradient crosses d steps at once, so that it decays as if the sequence were shorter (El Hihi & Bengio,
    1996; Lin, Horne, Tino & Giles, 1996). Without the delay 1 the network is dilated: d networks in turn,
    each over every d-th step (Chang et al., 2017).

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    delays
        Ascending, from 1: ``(1, 4)`` adds connections from four steps before, ``(4,)`` has them in place of
        those from the last step.
    activation
        g: ``"tanh"``, ``"sigmoid"``, ``"relu"`` or ``"identity"``.
    recurrent_init
        What the weights of each delay start as; see `Recurrent`.

    Notes
    -----
    The parameters are those of `Elman`, ``weight_hh (H, H)`` being the first delay's, and for K further
    delays ``weight_skip (K, H, H)``; at first the recurrent weights are divided by the root of the number of
    delays. The state is the last D of h, ``(D, B, H)``, the latest last, where D is the longest delay.
    """

    gates = 1
    one_step = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        delays: Sequence[int] | NDArray[np.integer[Any]] = (1, 4),
        activation: str = "tanh",
        recurrent_init: str | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, None, recurrent_init)
        self.delays = check_ascending("delay", delays, "(1, 4)")
        self.skips = len(self.delays) - 1
        self.depth = self.delays[-1]
        self.activation = check_activation("activation", activation)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "delays": list(self.delays), "activation": self.activation}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        units = self.hidden_size
        further = {"weight_skip": (self.skips, units, units)} if self.skips else {}
        return {**super().parameter_shapes(), **further}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        fill, factor = initializers.parse(self.recurrent_init or "orthogonal")
        if fill is initializers.critical_normal:
            factor *= initializers.CRITICAL_GAINS[self.activation]
        for number in range(self.skips):
            fill(params["weight_skip"][number], rng, factor)
        for name in params.keys() & {"weight_hh", "weight_skip"}:
            params[name][...] *= len(self.delays) ** -0.5

    def state_shapes(self, rows: int) -> tuple[tuple[int, ...], ...]:
        return ((self.depth, rows, self.hidden_size),)

    def zero_state(self, rows: int, steps: int) -> State:
        """Zeros, with which a piece may be shorter than a delay that fits into the sequence."""
        return None if self.depth > steps else np.zeros(self.state_shapes(rows)[0], self.dtype)

    def pack(self) -> None:
        """Nothing: each pass packs the weights for itself."""

    def _states(self, steps: int, rows: int, initial: Array | None, place: int = 0) -> Array:
        if initial is None and self.depth > steps:
            raise ValueError(
                f"delays are {self.delays}, but x has {steps} steps (T) and no state before them: a "
                f"connection over {self.depth} steps would never act"
            )
        states: Array = empty((self.depth + steps, rows, self.hidden_size), self.dtype)
        states[: self.depth] = 0 if initial is None else initial
        return states

    def _finals(self, tape: SkipTape) -> tuple[Array, ...]:
        states, depth = tape.all_states, self.depth
        if tape.lengths is None:
            return (states[-depth:].copy(),)
        return (states[tape.lengths + np.arange(depth)[:, None], np.arange(tape.rows)],)

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> SkipTape:
        return SkipTape(x, lengths, hidden[self.depth - 1 :], hidden)

    def _run_forward(self, tape: SkipTape, scratch: Array) -> None:
        p = self.params
        self.backend.skip_forward(
            tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p.get("weight_skip"), p["bias"],
            np.array(self.delays), self.activation, tape.all_states, scratch,
        )  # fmt: skip

    def _run_backward(
        self, dy: Array, tape: SkipTape, dstates: list[Array], dx: Array | None, scratch: Array, flow: Parts
    ) -> Clipped:
        p, g = self.params, self.grads
        # The kernel gathers the gradient of h[t] in slot t modulo D.
        ends = np.full(tape.rows, len(dy)) if tape.lengths is None else tape.lengths
        back = (ends - 1 - np.arange(self.depth)[:, None]) % self.depth
        slots = np.take_along_axis(dstates[0], (self.depth - 1 - back)[:, :, None], axis=0)
        clipped: Clipped = self.backend.skip_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], p["weight_hh"], p.get("weight_skip"),
            np.array(self.delays), self.activation, self.clip_step, tape.all_states, slots, dx,
            g["weight_ih"], g["weight_hh"], g.get("weight_skip"), g["bias"], scratch, *flow,
        )  # fmt: skip
        dstates[0][...] = slots
        return clipped
