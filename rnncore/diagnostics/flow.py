"""Gradient flow: how large the gradient of the loss in the states is, layer by layer and step by step.

With h[0] the initial state and h[t] the state after step t (row t of the tape), the quantity is
||dL/dh[t]||, and for cells with a second state ||dL/dc[t]||: what backpropagation through time hands back.
For a loss at one single step t it falls with the lag t - k as the product of Jacobians dh[t]/dh[k] does
(Bengio, Simard & Frasconi, 1994; Pascanu, Mikolov & Bengio, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..brief import brief
from ..kernels.float_state import keep_denormals
from ..layers import Bidirectional
from ..network import Network
from .common import (
    Array,
    ByLayer,
    looking,
    losses_gradient,
    recurrent_layers,
    require_loss,
    row_lengths,
    width_of_names,
)

Norms = NDArray[np.float64]

MOST_POINTS = 200  # of a line that is fitted; all pairs are looked at
SHARE_LEFT = 0.01  # of the gradient, where its reach ends
TINY = 1e-37  # the smallest normal float32, about


def fit_rate(norms: Norms) -> float:
    """Growth per step of positive series (L, B), in nats: a line through their logarithms.

    The series are joined by the mean of their increments, so that one that ends early leaves no jump; the
    line has the median of all pairs' slopes (Theil, 1950; Sen, 1968). Numbers below the normal ones of
    float32 have underflowed and are left out. NaN if fewer than two are left.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(norms > TINY, norms, np.nan))
    increments = mean_of_rows(np.diff(logs, axis=0))
    known = np.flatnonzero(np.isfinite(increments))
    if not len(known):
        return math.nan
    series, lags = np.concatenate([[0.0], np.cumsum(increments[known])]), np.append(known[0], known + 1)
    if len(lags) > MOST_POINTS:
        some = np.linspace(0, len(lags) - 1, MOST_POINTS).astype(np.intp)
        series, lags = series[some], lags[some]
    first, second = np.triu_indices(len(lags), 1)  # SciPy has theilslopes, and takes a second to import it
    return float(np.median((series[second] - series[first]) / (lags[second] - lags[first])))


def mean_of_rows(norms: Norms) -> Norms:
    """The mean over the last axis of what is not NaN; NaN where all is."""
    counted = np.isfinite(norms) | np.isinf(norms)
    total = np.where(counted, norms, 0).sum(axis=-1)
    count = counted.sum(axis=-1)
    mean: Norms = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


@brief
@dataclass(frozen=True, slots=True)
class LayerFlow:
    """The gradient flow through one recurrent layer.

    Attributes
    ----------
    name, kind
        The layer's place in the network, and its class.
    norms
        For each state, ``"h"`` and with an LSTM ``"c"``: the norm of the whole loss's gradient in it, ``(1+T,
        B)``, row 0 for the initial state; NaN beyond a row's length.
    lags
        For each state: the norm of the gradient of the single step's loss in the state that lies so many
        steps before it, ``(L, B)``; NaN where there is no such step.
    """

    name: str
    kind: str
    norms: dict[str, Norms]
    lags: dict[str, Norms]

    def mean(self, state: str = "h") -> Norms:
        """``norms`` averaged over the rows that have the step, (1+T,)."""
        return mean_of_rows(self._of(self.norms, state))

    def by_lag(self, state: str = "h") -> Norms:
        """``lags`` averaged over the rows, (L,)."""
        return mean_of_rows(self._of(self.lags, state))

    def left(self, state: str = "h") -> Norms:
        """The share of the gradient at lag 0 that is left by lag, (L,), averaged over the rows that have
        one."""
        norms = self._of(self.lags, state)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return mean_of_rows(np.where(norms[0] > TINY, norms / norms[0], np.nan))

    def rate(self, state: str = "h") -> float:
        """Growth of the gradient per step back in nats, below 0 where it decays: a robust line through the
        logarithms by lag. NaN where there is no gradient, or one step alone."""
        return fit_rate(self._of(self.lags, state))

    def half_life(self, state: str = "h") -> float:
        """Steps back until half of the gradient is left; infinite where it does not decay."""
        rate = self.rate(state)
        return math.log(2) / -rate if rate < 0 else (math.nan if math.isnan(rate) else math.inf)

    def doubling(self, state: str = "h") -> float:
        """Steps back until the gradient has doubled; infinite where it does not grow."""
        rate = self.rate(state)
        return math.log(2) / rate if rate > 0 else (math.nan if math.isnan(rate) else math.inf)

    def reach(self, state: str = "h") -> float:
        """The lag from which on 1% of the gradient at lag 0, or less, is left; infinite where the sequence
        ends before, NaN where there is no gradient."""
        left = self.left(state)
        left = left[~np.isnan(left)]
        above = np.flatnonzero(left > SHARE_LEFT)  # connections over many steps may bring back what had gone
        if not len(above):
            return math.nan
        return math.inf if above[-1] == len(left) - 1 else float(above[-1] + 1)

    def growth(self, state: str = "h") -> float:
        """The largest gradient by lag, beside that at lag 0; infinite where one is, NaN without any."""
        if np.isinf(self._of(self.lags, state)).any():
            return math.inf
        left = self.left(state)
        return float(np.nanmax(left)) if np.isfinite(left).any() else math.nan

    def summary(self) -> dict[str, float]:
        """``reach``, ``half_life`` and ``growth``; of two states the larger number counts, as an LSTM
        remembers in its cells."""
        measures = {"reach": self.reach, "half_life": self.half_life, "growth": self.growth}
        return {
            name: float(np.fmax.reduce([measure(state) for state in self.norms]))
            for name, measure in measures.items()
        }

    def _of(self, table: dict[str, Norms], state: str) -> Norms:
        if state not in table:
            raise ValueError(f"state is {state!r}, but this {self.kind} has {', '.join(table)}")
        return table[state]


@brief
@dataclass(frozen=True, slots=True)
class GradientFlow(ByLayer[LayerFlow]):
    """What `gradient_flow` measured: ``value``, the loss, and a `LayerFlow` for each recurrent layer, by
    name.

    Iterates over the layers; ``flow["0"]`` is the one at position 0 of the network.
    """

    value: float
    layers: dict[str, LayerFlow]

    def to_dict(self) -> dict[str, Any]:
        """Numbers as JSON can hold them, averaged over the rows."""
        table: dict[str, Any] = {}
        for layer in self:
            table[layer.name] = {
                state: {
                    "norms": [jsonable(v) for v in layer.mean(state)],
                    "by_lag": [jsonable(v) for v in layer.by_lag(state)],
                    "rate": jsonable(layer.rate(state)),
                    "half_life": jsonable(layer.half_life(state)),
                    "reach": jsonable(layer.reach(state)),
                }
                for state in layer.norms
            }
        return {"loss": jsonable(self.value), "layers": table}

    def __str__(self) -> str:
        wide = width_of_names(self)
        head = f"{'state':>6}{'half-life':>12}{'reach':>10}{'at the end':>13}{'at the start':>14}"
        lines = [f"{'layer':<{wide}}{head}"]
        for layer in self:
            for state in layer.norms:
                lags = layer.by_lag(state)
                lags = lags[np.isfinite(lags)]
                label = f"{layer.name} {layer.kind}"
                lines.append(
                    f"{label:<{wide}}{state:>6}{layer.half_life(state):>12.3g}{layer.reach(state):>10.4g}"
                    f"{lags[0] if len(lags) else math.nan:>13.3g}{lags[-1] if len(lags) else math.nan:>14.3g}"
                )
        return "\n".join(lines)


@keep_denormals()
def gradient_flow(
    net: Network,
    x: Array,
    target: Array,
    loss: Any,
    lengths: Any = None,
    state: Any = None,
    step: int = -1,
    tapes: dict[str, Any] | None = None,
    weights: Any = None,
) -> GradientFlow:
    """Measure how far back the gradient of a loss reaches.

    One forward and two backward passes: of the whole loss, and of the part that one step adds to it. Dropout
    and clipping do not act, and the network is left as it was.

    Parameters
    ----------
    net
        A network with a recurrent layer.
    x, target, lengths
        A batch, as the network and the loss take it.
    loss
        Such as ``CrossEntropy()``.
    state
        The state to begin with, as ``net.forward`` takes it.
    step
        The step whose loss is followed back by lag: from 0 on, or counted from each row's own end, -1 being
        its last. Where a layer pools the steps into one row, the gradient enters at this step alone.
    tapes
        A dictionary that is given each recurrent layer's tape, by name, for whoever wants to look further.
    weights
        Of the rows in the loss, ``(B,)``; None where all count alike.

    Raises
    ------
    TypeError, ValueError
        If there is no recurrent layer, the step lies outside of a row, or an argument is none that the
        network or the loss takes.
    """
    layers = recurrent_layers(net)
    require_loss(loss)
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
        raise TypeError(f"step is {step!r}, but a whole number is wanted")
    with looking(net, layers):
        y, _, tape = net.forward(x, state, lengths)
        value, dy = losses_gradient(loss, y, target, lengths, weights)
        assert tape is not None
        net.backward(dy.copy(), tape)
        norms = {name: _norms(layer) for name, layer in layers.items()}
        if tapes is not None:
            tapes |= {name: _flow_tape(layer) for name, layer in layers.items()}
        lags = {}
        for mirrored in (False, True):
            own = {name: layer for name, layer in layers.items() if name.endswith(".reverse") == mirrored}
            if own:
                backward_at(net, dy, tape, lengths, step, mirrored)
            for name, layer in own.items():
                entered = _entry(row_lengths(_flow_tape(layer)), step)
                lags[name] = {state: _by_lag(norm, entered) for state, norm in _norms(layer).items()}
    return GradientFlow(
        value,
        {
            name: LayerFlow(name, type(layer).__name__, norms[name], lags[name])
            for name, layer in layers.items()
        },
    )


def backward_at(net: Network, dy: Array, tape: Any, lengths: Any, step: int, mirrored: bool = False) -> None:
    """Go back from one step alone: behind pooling layers, all of the gradient but this step's is dropped.

    ``mirrored`` counts the steps from the other end of each row, as a reversed layer does; behind pooling
    layers it is the gradient of each bidirectional layer's own output of which one step is left.
    """
    gradient: Array | None = dy
    masked, each = False, mirrored and dy.ndim == 2
    for layer, own in zip(reversed(net.layers), reversed(tape), strict=True):
        assert gradient is not None
        entering = gradient
        if gradient.ndim == 3 and not masked and not each:
            entering, masked = _only(gradient, lengths, step, mirrored), True
        gradient, _ = layer.backward(entering, own)
        if each and isinstance(layer, Bidirectional):  # the latest pass is the one that it records
            layer.backward(_only(entering, lengths, step, mirrored), own)


def _only(dy: Array, lengths: Any, step: int, mirrored: bool) -> Array:
    """dy (T, B, ...) with zeros at every step but one of each row."""
    steps, rows = dy.shape[:2]
    own = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    entered, row = _entry(own, step), np.arange(rows)
    if mirrored:
        entered = own - 1 - entered
    only = np.zeros_like(dy)
    only[entered, row] = dy[entered, row]
    return only


def _entry(lengths: NDArray[np.intp], step: int) -> NDArray[np.intp]:
    """The step of each row at which the gradient enters, (B,)."""
    entered = lengths + step if step < 0 else np.full_like(lengths, step)
    if (entered < 0).any() or (entered >= lengths).any():
        row = int(np.flatnonzero((entered < 0) | (entered >= lengths))[0])
        raise ValueError(f"step is {step}, but row {row} has {lengths[row]} steps")
    return entered


def _flow_tape(layer: Any) -> Any:
    return layer.flow.tape


def _norms(layer: Any) -> dict[str, Norms]:
    """Norms of what a layer recorded, (1+T, B) each, NaN in the padding."""
    flow = layer.flow
    padding = np.arange(len(flow.tape.hidden))[:, None] > row_lengths(flow.tape)
    norms = {}
    for name, array in zip(layer.state_names, flow.states, strict=True):
        # The square of a float32 below 1e-23 underflows: a vanishing gradient must not seem to be none.
        norms[name] = row_norms(array)
        norms[name][padding] = np.nan
    return norms


def row_norms(array: Array) -> Norms:
    """L2 norms over the last axis, in double precision; no copy of the array is made."""
    squares = np.einsum("...i,...i->...", array, array, dtype=np.float64, casting="safe")
    norms: Norms = np.sqrt(squares)
    return norms


def _by_lag(norms: Norms, entered: NDArray[np.intp]) -> Norms:
    """Rows 1.. of the norms (1+T, B) counted back from each row's own entry: (L, B)."""
    lags = np.arange(int(entered.max()) + 1)[:, None]
    place = entered - lags
    return np.where(place >= 0, norms[np.maximum(place, 0) + 1, np.arange(norms.shape[1])], np.nan)


def jsonable(value: float) -> float | None:
    """A number as JSON holds it: None where it is not finite."""
    return float(value) if math.isfinite(value) else None
