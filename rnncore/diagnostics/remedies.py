"""What to change, as a line of code, for each illness of a recurrent layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layers import GRU, LSTM, LeakyElman, SkipElman
from ..layers.recurrent import Recurrent, RecurrentTape
from .common import Array, felt_weights, row_lengths

SIZES = ("input_size", "hidden_size")
DEFAULTS = {"activation": "tanh", "forget_bias": 1.0}  # that configurations name all the same
SHORTEST_CHRONO = 3  # steps: below, chrono biases have nothing to spread over


@dataclass(frozen=True, slots=True)
class Remedy:
    """A line of code, and why it helps."""

    code: str
    why: str


def remedies(problem: str, layer: Recurrent, name: str, tape: RecurrentTape | None) -> tuple[Remedy, ...]:
    """The remedies of the library for an illness of this layer, the best first."""
    steps = SHORTEST_CHRONO if tape is None else max(int(row_lengths(tape).max()), SHORTEST_CHRONO)
    if problem == "vanishing":
        return _vanishing(layer, steps)
    if problem == "exploding":
        clip = Remedy(
            "Trainer(..., clip=ClipNorm(1.0))",
            "bounds each update; the direction stays (Pascanu et al., 2013)",
        )
        return _smaller(layer, "orthogonal:0.95", "weights that lengthen no gradient"), clip
    if problem == "chaotic":
        clip = Remedy("Trainer(..., clip=ClipNorm(1.0))", "keeps the updates small until the network is calm")
        return _smaller(layer, "spectral:0.9", "a spectral radius below 1 lets perturbations die"), clip
    if problem == "dead":
        return _dead(layer, name)
    return _saturated(layer, tape)


def _call(layer: Recurrent, kind: str, **options: object) -> str:
    """A constructor call with this layer's sizes, and, if it is of the same kind, what else it was told."""
    own: dict[str, object] = {}
    if kind == type(layer).__name__:
        own = {name: value for name, value in layer.config().items() if DEFAULTS.get(name) != value}
        own = {name: value for name, value in own.items() if name not in SIZES}
        if "chrono" in options:
            own.pop("forget_bias", None)
        if "time_constants" in options:
            own.pop("leak", None)
    words = [f"{key}={value!r}" for key, value in {**own, **options}.items()]
    return f"{kind}({', '.join([str(layer.input_size), str(layer.hidden_size), *words])})"


def _smaller(layer: Recurrent, init: str, why: str) -> Remedy:
    return Remedy(_call(layer, type(layer).__name__, recurrent_init=init), why)


def _vanishing(layer: Recurrent, steps: int) -> tuple[Remedy, ...]:
    why = f"biases that spread the units' memories over 1 to {steps} steps (Tallec & Ollivier, 2018)"
    if isinstance(layer, (LSTM, GRU)):
        return (Remedy(_call(layer, type(layer).__name__, chrono=steps), why),)
    slower: tuple[Remedy, ...] = ()
    if isinstance(layer, LeakyElman):
        code = _call(layer, "LeakyElman", time_constants=(1, steps))
        slower = (Remedy(code, f"units that keep their state for 1 to {steps} steps"),)
    return (
        *slower,
        Remedy(
            _call(layer, "LSTM", chrono=steps), f"a cell whose memory decays as slowly as it is told; {why}"
        ),
        Remedy(_call(layer, "GRU", chrono=steps), "the same with fewer parameters"),
        Remedy(
            _call(layer, "Elman", recurrent_init="orthogonal"),
            "weights that shorten no gradient (Saxe et al., 2014)",
        ),
        Remedy(
            _call(layer, "Elman", activation="relu", recurrent_init="identity"),
            "units that begin by remembering everything (Le, Jaitly & Hinton, 2015)",
        ),
        Remedy(
            "Trainer(..., regularizer=Omega(1.0))",
            "asks that the gradient keep its length on the way back (Pascanu, Mikolov & Bengio, 2013)",
        ),
    )


def unreached(name: str, at_the_end: bool) -> tuple[Remedy, ...]:
    """What to change, or where else to look, if the last step's loss has no gradient in a layer.

    ``at_the_end`` says that the network reads each row's last output alone.
    """
    if at_the_end and name.endswith(".reverse"):
        return (
            Remedy(
                "MeanPool()",
                "or LastStep(bidirectional=True), in place of LastStep(): there the reverse half has read "
                "one step alone",
            ),
        )
    code = "gradient_flow(net, x, target, loss, step=0)"
    return (
        Remedy(code, "another step's loss may tell more: this one is met exactly, or cut off further up"),
    )


def _dead(layer: Recurrent, name: str) -> tuple[Remedy, ...]:
    return (
        Remedy(f'net.params["{name}.bias"][...] = 0', "biases far below 0 keep a ReLU shut for ever"),
        Remedy(_call(layer, "Elman", activation="tanh"), "a unit that has a slope everywhere"),
        Remedy("Trainer(net, loss, Adam(lr=1e-4))", "a smaller step kills no unit"),
    )


def _saturated(layer: Recurrent, tape: RecurrentTape | None) -> tuple[Remedy, ...]:
    decay = Remedy("Trainer(..., regularizer=L2(1e-4))", "keeps the weights from growing back")
    if tape is not None and _input_dominates(layer, tape):
        code = "x = (x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1))"
        return Remedy(code, "its input drives the units: features of mean 0 and variance 1"), decay
    return _smaller(layer, "orthogonal", "its recurrent weights drive the units: smaller ones"), decay


def _input_dominates(layer: Recurrent, tape: RecurrentTape) -> bool:
    """Whether the input adds more to the gates' sums than the recurrent product does."""
    if layer.unit_by_unit:
        return False  # which of its sums are the input's is for the equation to say
    valid = np.arange(len(tape.x))[:, None] < row_lengths(tape)
    of_input = tape.x[valid] @ layer.params["weight_ih"].T + layer.params["bias"]
    of_state = recurrent_sums(layer, tape)[valid]
    return bool(np.square(of_input, dtype=np.float64).sum() >= np.square(of_state, dtype=np.float64).sum())


def recurrent_sums(layer: Recurrent, tape: Any) -> Array:
    """What the states before each step add to the gates' sums, (T, B, G*H)."""
    if not isinstance(layer, SkipElman):
        sums: Array = tape.hidden[:-1] @ felt_weights(layer).T
        return sums
    weights = layer.params["weight_hh"], *layer.params.get("weight_skip", ())
    first, steps = layer.depth - np.array(layer.delays), len(tape.x)
    all_sums: Array = np.sum(
        [tape.all_states[n : n + steps] @ weight.T for n, weight in zip(first, weights, strict=True)], axis=0
    )
    return all_sums
