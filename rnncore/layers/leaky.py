"""The leaky Elman layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import initializers
from ..brief import brief
from ..checks import check_flag, check_number, check_real, check_seed
from ..kernels.float_state import flushing
from ..kernels.memory import empty
from .base import Array, Lengths
from .flow import Parts
from .recurrent import Clipped, Recurrent, RecurrentTape, check_activation

# A leak of 1 has an infinite logit; from 40 on the sigmoid is 1 in float64 as well.
MOST = 40.0
# Of so many leaks a layer's text, which stands in messages, shows all.
SHOWN = 8


@brief
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
        One leak for all units, or one for each, H numbers; above 0 and at most 1. With 1 the layer is an
        Elman layer.
    time_constants
        In place of ``leak``: (least, largest) time constant in steps, at least 1; the units' are spread
        between them evenly in the logarithm, the fastest unit first, so that some are fast, others slow.
        These are the quantiles of a log-uniform draw: as many units in every octave, without its luck.
    leak_seed
        With ``time_constants``: a seed to draw them with, log-uniformly, in place of the even spread. Units
        are then fast or slow in no order, and so whether they excite or inhibit or not. The same seed gives
        the same leaks: from a file too, and in both halves of a `Bidirectional`.
    learn_leak
        Whether the leaks are learned, from these values on, as sigmoids of the parameter ``leak_logit (H,)``;
        one that starts at 1 stays there, where the sigmoid is flat.
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
        What ``weight_hh`` starts as; see `Recurrent`. Under Dale's law ``"spectral"`` sets the radius of the
        signed weights, which of the others is up to the root of H times larger.
    recurrent_dropout, zoneout
        Probabilities, in [0, 1), of dropping h[t-1] in the recurrent product, not in what leaks, and of
        keeping a unit's state as it was, without leak and noise; see `Recurrent`.

    Notes
    -----
    The state is h, ``(B, H)``.
    """

    gates = 1
    leaky = True
    options: ClassVar[dict[str, Any]] = {
        "activation": "tanh",
        "leak": None,
        "time_constants": None,
        "leak_seed": None,
        "learn_leak": False,
        "noise": 0.0,
        "excitatory": None,
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "tanh",
        leak: float | Sequence[float] | Array | None = None,
        time_constants: Sequence[float] | Array | None = None,
        learn_leak: bool = False,
        noise: float = 0.0,
        excitatory: float | None = None,
        checkpoint_every: int | None = None,
        recurrent_init: str | None = None,
        recurrent_dropout: float = 0.0,
        zoneout: float | Sequence[float] = 0.0,
        leak_seed: int | None = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, checkpoint_every, recurrent_init, recurrent_dropout, zoneout
        )
        self.activation = check_activation("activation", activation)
        if (leak is None) == (time_constants is None):
            raise ValueError(
                f"leak is {leak} and time_constants are {time_constants}, but just one is wanted"
            )
        self.leak = None if leak is None else _check_leak(leak, self.hidden_size)
        self.time_constants = None if time_constants is None else _check_time_constants(time_constants)
        if leak_seed is not None and time_constants is None:
            raise ValueError(f"leak_seed is {leak_seed}, but without time_constants there is nothing to draw")
        self.leak_seed = None if leak_seed is None else check_seed(leak_seed, "leak_seed")
        self.learn_leak = check_flag("learn_leak", learn_leak)
        self.noise = check_number("noise", noise)
        if self.noise < 0:
            raise ValueError(f"noise is {noise}, but at least 0 is wanted")
        if self.noise and checkpoint_every is not None:
            raise ValueError(
                f"checkpoint_every is {checkpoint_every}, but noise {noise} cannot be drawn twice alike"
            )
        self.excitatory = None if excitatory is None else check_number("excitatory", excitatory)
        self.felt_as_is = self.excitatory is None
        if self.excitatory is not None and not 0 <= self.excitatory <= 1:
            raise ValueError(f"excitatory is {excitatory}, but a share from 0 to 1 is wanted")

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        learned = {"leak_logit": (self.hidden_size,)} if self.learn_leak else {}
        return {**super().parameter_shapes(), **learned}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        super().initialize(params, rng)
        if self.excitatory is not None:
            weight = params["weight_hh"]
            initializers.scale_radius(self.recurrent_init, weight, np.abs(weight) * self._signs())
        if self.learn_leak:
            leak = self._first_leaks()
            with np.errstate(divide="ignore"):
                params["leak_logit"][:] = np.minimum(np.log(leak) - np.log1p(-leak), MOST)

    def __repr__(self) -> str:
        text = super().__repr__()
        if not isinstance(self.leak, list) or len(self.leak) <= SHOWN:
            return text
        return text.replace(repr(self.leak), f"[{self.leak[0]}, {self.leak[1]}, ..., {self.leak[-1]}]")

    def leaks(self) -> Array:
        """Each unit's leak, (H,)."""
        if not self.learn_leak:
            with flushing():
                return self._first_leaks().astype(self.dtype)
        with flushing():  # the sigmoid, without overflow
            leak: Array = np.exp(-np.logaddexp(0, -self.params["leak_logit"]))
        return leak

    def recurrent_weight(self) -> Array:
        """The recurrent weights as the units feel them, (H, H): ``weight_hh``, under Dale's law signed."""
        weight = super().recurrent_weight()
        return weight if self.excitatory is None else np.abs(weight) * self._signs()

    def _first_leaks(self) -> Array:
        units = self.hidden_size
        if self.time_constants is None:
            return np.array(np.broadcast_to(np.asarray(self.leak, np.float64), units))
        least, largest = self.time_constants
        places = (np.arange(units) + 0.5) / units
        if self.leak_seed is not None:
            places = np.random.default_rng(self.leak_seed).random(units)
        return np.asarray(1 / (least * (largest / least) ** places))

    def _signs(self) -> Array:
        """+1 for each excitatory unit, -1 for the others, (H,)."""
        assert self.excitatory is not None
        signs = np.ones(self.hidden_size, self.dtype)
        signs[round(self.excitatory * self.hidden_size) :] = -1
        return signs

    def _new_tape(self, x: Array, lengths: Lengths, hidden: Array, others: Parts, record: bool) -> LeakyTape:
        shape = (*x.shape[:2], self.hidden_size)
        gates = empty(shape, self.dtype) if record else None
        leak, noise = self.leaks(), None
        if self.noise and self.training and self.rng is not None:
            with flushing():
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
        if dleak is not None and tape.noise is not None and not flow:
            flow = (empty(tape.hidden.shape, self.dtype), None, None)
        clipped: Clipped = self.backend.leaky_backward(
            dy, tape.x, tape.lengths, p["weight_ih"], self.recurrent_weight(), tape.leak, self.activation,
            self.clip_step, tape.hidden, tape.gates,
            *dstates, dx, g["weight_ih"], felt, g["bias"], dleak, scratch, *flow,
            masks=tape.masks,
        )  # fmt: skip
        with flushing():
            if self.excitatory is not None:
                g["weight_hh"] += felt * np.where(p["weight_hh"] < 0, -self._signs(), self._signs())
            if dleak is not None:
                felt_leak = dleak * tape.leak
                if tape.noise is not None:  # which grows with the root of the leak
                    assert flow[0] is not None
                    dproposed = flow[0][1:] * (tape.masks.keep[0] if tape.masks and tape.masks.keep else 1)
                    felt_leak += np.einsum("tbh,tbh->h", dproposed, tape.noise) / 2
                g["leak_logit"] += felt_leak * (1 - tape.leak)
        return clipped


def _check_leak(leak: Any, units: int) -> float | list[float]:
    """The leak of all units, or the list of theirs; TypeError or ValueError otherwise."""
    if not _is_several(leak):
        return _check_one_leak("leak", leak)
    if len(leak) != units:
        raise ValueError(
            f"leak has {len(leak)} numbers, but one, or one for each of {units} units, is wanted"
        )
    return [_check_one_leak(f"leak[{unit}]", number) for unit, number in enumerate(leak)]


def _check_one_leak(name: str, value: Any) -> float:
    if not 0 < check_number(name, value) <= 1:
        raise ValueError(f"{name} is {value}, but a number above 0 and at most 1 is wanted")
    return float(value)


def _check_time_constants(given: Any) -> list[float]:
    """The pair as plain floats; TypeError or ValueError otherwise."""
    if not _is_several(given) or len(given) != 2:
        raise TypeError(f"time_constants are {given!r}, but a pair (least, largest) is wanted")
    least, largest = (check_real(f"time_constants[{place}]", number) for place, number in enumerate(given))
    if not 1 <= least <= largest < np.inf:
        raise ValueError(f"time_constants are {given}, but 1 <= least <= largest is wanted")
    return [least, largest]


def _is_several(value: Any) -> bool:
    """Whether it is a sequence or an array, and no text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
