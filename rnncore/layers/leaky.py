"""The leaky Elman layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from ..checks import check_flag, check_number
from ..kernels.memory import empty
from .base import Array, Lengths
from .recurrent import Clipped, Parts, Recurrent, RecurrentTape, check_activation

# A leak of 1 has an infinite logit; from 40 on the sigmoid is 1 in float64 as well.
MOST = 40.0


@dataclass(slots=True)
class LeakyTape(RecurrentTape):
    """Also g's values (T, B, H), the leaks (H,) and the noise (T, B, H) of this pass."""

    gates: Array | None  # None in a pass without a tape
    leak: Array
    noise: Array | None


class LeakyElman(Recurrent):
    """Elman units that keep a part of their state (Jaeger, Lukosevicius, Popovici & Siewert, 2007).

    h[t] = (1 - leak) h[t-1] + leak g(W_ih x[t] + W_hh h[t-1] + b)

    A unit's leak is 1/tau, tau its time constant in steps (dt/tau with a step of dt).

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    activation
        g: ``"tanh"``, ``"sigmoid"``, ``"relu"`` or ``"identity"``.
    leak
        One leak for all units, above 0 and at most 1; with 1 the layer is an Elman layer.
    time_constants
        In place of ``leak``: (least, largest) time constant in steps, at least 1; the units' are spread
        between them evenly in the logarithm, the fastest unit first, so that some are fast, others slow.
    learn_leak
        Whether the leaks are learned, from these values on, as sigmoids of the parameter ``leak_logit (H,)``.
    noise
        Standard deviation sigma, at least 0, of the state's noise while training (Song, Yang & Wang, 2016):
        each step adds sqrt(2 leak) sigma xi[t] to h[t], xi standard normal.
    excitatory
        The share of units, 0 to 1, that excite; the others inhibit (Dale's law; Song, Yang & Wang, 2016). The
        recurrent weights are then |weight_hh| with the sign of the unit that they come from, excitatory units
        first: `recurrent_weight`. None: no constraint.
    checkpoint_every
        Keep the tape in segments of so many steps; see `Recurrent`. Not together with noise.
    recurrent_init
        What the recurrent weights start as; see `Recurrent`.
    recurrent_dropout, zoneout
        Probabilities, in [0, 1), of dropping h[t-1] in the recurrent product, not in what leaks, and of
        keeping a unit's state as it was, without leak and noise; see `Recurrent`.

    The state is h, ``(B, H)``.
    """

    gates = 1
    leaky = True
    options: ClassVar[dict[str, Any]] = {
        "activation": "tanh",
        "leak": None,
        "time_constants": None,
        "learn_leak": False,
        "noise": 0.0,
        "excitatory": None,
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "tanh",
        leak: float | None = None,
        time_constants: Sequence[float] | None = None,
        learn_leak: bool = False,
        noise: float = 0.0,
        excitatory: float | None = None,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            input_size, hidden_size, checkpoint_every, recurrent_init, recurrent_dropout, zoneout
        )
        self.activation = check_activation("activation", activation)
        self.leak, self.time_constants = _check_leak(leak, time_constants)
        self.learn_leak = check_flag("learn_leak", learn_leak)
        self.noise = check_number("noise", noise)
        if self.noise < 0:
            raise ValueError(f"noise is {noise}, but at least 0 is wanted")
        if self.noise and checkpoint_every is not None:
            raise ValueError(
                f"checkpoint_every is {checkpoint_every}, but noise {noise} cannot be drawn twice alike"
            )
        if excitatory is not None and not 0 <= check_number("excitatory", excitatory) <= 1:
            raise ValueError(f"excitatory is {excitatory}, but a share from 0 to 1 is wanted")
        self.excitatory = excitatory

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        learned = {"leak_logit": (self.hidden_size,)} if self.learn_leak else {}
        return {**super().parameter_shapes(), **learned}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        if self.learn_leak:
            leak = self._first_leaks()
            with np.errstate(divide="ignore"):
                params["leak_logit"][:] = np.minimum(np.log(leak) - np.log1p(-leak), MOST)

    def leaks(self) -> Array:
        """Each unit's leak, (H,)."""
        if not self.learn_leak:
            return self._first_leaks().astype(self.dtype)
        leak: Array = 1 / (1 + np.exp(-self.params["leak_logit"]))
        return leak

    def recurrent_weight(self) -> Array:
        """The recurrent weights as the units feel them, (H, H): ``weight_hh``, under Dale's law signed."""
        weight = super().recurrent_weight()
        return weight if self.excitatory is None else np.abs(weight) * self._signs()

    def _first_leaks(self) -> Array:
        units = self.hidden_size
        if self.time_constants is None:
            return np.full(units, self.leak)
        least, largest = self.time_constants
        return 1 / (least * (largest / least) ** ((np.arange(units) + 0.5) / units))

    def _signs(self) -> Array:
        """+1 for each excitatory unit, -1 for the others, (H,)."""
        assert self.excitatory is not None
        signs = np.ones(self.hidden_size, self.dtype)
        signs[round(self.excitatory * self.hidden_size) :] = -1
        return signs

    def _new_tape(
        self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool
    ) -> LeakyTape:
        shape = (*x.shape[:2], self.hidden_size)
        gates = empty(shape, self.dtype) if record else None
        leak, noise = self.leaks(), None
        if self.noise and self.training and self.rng is not None:
            noise = self.rng.standard_normal(shape, self.dtype)
            noise *= np.sqrt(2 * leak) * self.dtype.type(self.noise)
        return LeakyTape(x, lengths, hidden, gates, leak, noise)

    def _run_forward(self, tape: LeakyTape, scratch: Array) -> None:
        p = self.params
        self.backend.leaky_forward(
            tape.x, tape.lengths, p["weight_ih"], self.recurrent_weight(), p["bias"], tape.leak, tape.noise,
            self.activation, tape.hidden, tape.gates, scratch, tape.masks, self.panels,
        )  # fmt: skip

    def _run_backward(
        self, dy: Array, tape: LeakyTape, dstates: list[Array], dx: Array | None, scratch: Array, flow: Parts
    ) -> Clipped:
        p, g = self.params, self.grads
        felt = g["weight_hh"] if self.excitatory is None else np.zeros_like(g["weight_hh"])
        dleak = np.zeros_like(tape.leak) if self.learn_leak else None
        clipped: Clipped = self.backend.leaky_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], self.recurrent_weight(), tape.leak, self.activation,
            self.clip_step, tape.hidden, tape.gates,
            *dstates, dx, g["weight_ih"], felt, g["bias"], dleak, scratch, *flow,
            masks=tape.masks,
        )  # fmt: skip
        if self.excitatory is not None:
            g["weight_hh"] += felt * np.where(p["weight_hh"] < 0, -self._signs(), self._signs())
        if dleak is not None:
            g["leak_logit"] += dleak * tape.leak * (1 - tape.leak)
        return clipped


def _check_leak(
    leak: float | None, time_constants: Sequence[float] | None
) -> tuple[float | None, list[float] | None]:
    """Raise TypeError or ValueError unless just one of the two is given and sound."""
    if (leak is None) == (time_constants is None):
        raise ValueError(f"leak is {leak} and time_constants are {time_constants}, but just one is wanted")
    if leak is not None:
        if not 0 < check_number("leak", leak) <= 1:
            raise ValueError(f"leak is {leak}, but a number above 0 and at most 1 is wanted")
        return float(leak), None
    pair = list(time_constants or ())
    if len(pair) != 2 or not all(isinstance(number, Real) for number in pair):
        raise TypeError(f"time_constants are {time_constants!r}, but a pair (least, largest) is wanted")
    if not 1 <= pair[0] <= pair[1] < np.inf:
        raise ValueError(f"time_constants are {time_constants}, but 1 <= least <= largest is wanted")
    return None, [float(number) for number in pair]
