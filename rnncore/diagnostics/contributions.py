"""Where each weight's gradient comes from: the sum over steps that BPTT adds up, taken apart.

The loss at step t owes to the weights, by their use at step k <= t,

    dL[t]/dW_hh at k = sum over rows b of d[k, b] h[k-1, b]',   and with x[k, b] for W_ih,

where d are the gradients of the gates' sums. The Frobenius norm of such a sum is found without forming it:
||sum_b d_b h_b'||^2 = sum over b, b' of (d_b . d_b') (h_b . h_b'), from two B x B matrices a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blas import one_blas_thread
from ..brief import brief
from ..kernels.float_state import keep_denormals
from ..layers import GRU
from ..layers.recurrent import Recurrent
from ..network import Network
from .common import (
    Array,
    ByLayer,
    looking,
    losses_gradient,
    recurrent_layers,
    require_loss,
    require_recurrent,
    whole_tape,
)
from .flow import mean_of_rows

STEPS = 24  # at which the loss enters, if none are given
AGREEMENT = 1e-3  # of the parts' sum with the gradient itself, which is float32 perhaps


@brief
@dataclass(frozen=True, slots=True)
class LayerContributions:
    """One layer's part.

    Attributes
    ----------
    name, kind
        The layer's place in the network, and its class.
    steps
        The steps t at which the loss enters, ``(N,)``.
    matrix
        For ``"weight_ih"`` and ``"weight_hh"``: the norm of what the use of the weights at step k adds to the
        gradient of the loss at step t, ``(N, T)``; NaN where k > t.
    """

    name: str
    kind: str
    steps: NDArray[np.intp]
    matrix: dict[str, NDArray[np.float64]]

    def by_lag(self, weight: str = "weight_hh") -> NDArray[np.float64]:
        """The mean over t of the norms at k = t - lag, (T,); NaN where no t has such a step."""
        if weight not in self.matrix:
            raise ValueError(f"weight is {weight!r}, but one of {', '.join(self.matrix)} is wanted")
        norms = self.matrix[weight]
        place = self.steps[:, None] - np.arange(norms.shape[1])
        aligned = np.where(place >= 0, np.take_along_axis(norms, np.maximum(place, 0), axis=1), np.nan)
        return mean_of_rows(aligned.T)


@brief
@dataclass(frozen=True, slots=True)
class Contributions(ByLayer[LayerContributions]):
    """What `weight_contributions` measured: a `LayerContributions` for each recurrent layer, by name."""

    layers: dict[str, LayerContributions]


@keep_denormals()
def weight_contributions(
    net: Network,
    x: Array,
    target: Array,
    loss: Any,
    lengths: Any = None,
    state: Any = None,
    steps: Sequence[int] | None = None,
    weights: Any = None,
) -> Contributions:
    """Take apart, by step of use, the gradients of the weights of every recurrent layer.

    One forward pass and a backward pass for each of ``steps``. Dropout and clipping do not act, and the
    network is left as it was. Layers that read backwards are left out.

    Parameters
    ----------
    net, x, target, loss, lengths, state
        As `gradient_flow` takes them.
    steps
        The steps t whose losses are taken apart; up to 24, spread evenly, if they are not given. Behind a
        layer that pools the steps there is one loss alone, and its step is the last: that of the longest
        row, from which the lags of the others are counted as well.
    weights
        Of the rows in the loss, ``(B,)``; None where all count alike.

    Raises
    ------
    TypeError, ValueError
        If there is no recurrent layer, a step lies outside of x, or an argument is none that the network or
        the loss takes.
    """
    layers = recurrent_layers(net)
    layers = {name: layer for name, layer in layers.items() if not name.endswith(".reverse")}
    for layer in layers.values():
        require_recurrent(layer)
    require_loss(loss)
    with looking(net, layers, gates=True), one_blas_thread():
        y, _, tape = net.forward(x, state, lengths)
        _, dy = losses_gradient(loss, y, target, lengths, weights)
        chosen = _check_steps(steps, len(x), y.ndim == 2)
        rows: dict[str, list[dict[str, Array]]] = {name: [] for name in layers}
        for step in chosen:
            net.zero_grad()
            only = dy.copy()
            if y.ndim == 3:
                only[np.arange(len(dy)) != step] = 0
            net.backward(only, tape)
            for name, layer in layers.items():
                rows[name].append(_norms(name, layer, int(step)))
    found = {}
    for name, layer in layers.items():
        matrix = {weight: np.stack([row[weight] for row in rows[name]]) for weight in rows[name][0]}
        found[name] = LayerContributions(name, type(layer).__name__, chosen, matrix)
    return Contributions(found)


def _check_steps(steps: Sequence[int] | None, count: int, pooled: bool) -> NDArray[np.intp]:
    if pooled:
        if steps is not None and np.ravel(np.asarray(steps)).tolist() != [count - 1]:
            raise ValueError(
                f"steps are {steps!r}, but the network pools them: its one loss is at {count - 1}"
            )
        return np.array([count - 1])
    if steps is None:
        return np.unique(np.linspace(0, count - 1, min(STEPS, count)).round().astype(np.intp))
    chosen = np.atleast_1d(np.asarray(steps))
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1 or not len(chosen):
        raise TypeError(f"steps are {steps!r}, but a list of whole numbers is wanted")
    if chosen.min() < 0 or chosen.max() >= count:
        raise ValueError(f"steps are {steps!r}, but x has steps 0 to {count - 1}")
    return chosen.astype(np.intp)


def _norms(name: str, layer: Recurrent, step: int) -> dict[str, Array]:
    """Norms of the parts of both weights' gradients in the layer's latest pass, (T,) each, NaN behind the
    step."""
    flow = layer.flow
    assert flow is not None
    assert flow.dgates is not None
    assert flow.drecurrent is not None
    if layer.unit_by_unit:
        raise ValueError(f"layer {name}, {layer!r}, multiplies its weights by other than h[t-1]")
    before = flow.tape.hidden[:-1]
    # What each row of the weights is multiplied with: where the reset gate comes first, r h[t-1] for n.
    parts = [(flow.drecurrent, before)]
    if isinstance(layer, GRU) and not layer.reset_after:
        units = layer.hidden_size
        reset = whole_tape(layer, flow.tape).candidates  # type: ignore[attr-defined]
        parts = [(flow.drecurrent[:, :, : 2 * units], before), (flow.drecurrent[:, :, 2 * units :], reset)]
    total = np.concatenate([np.tensordot(d, with_, axes=([0, 1], [0, 1])) for d, with_ in parts])
    gradient = layer.grads["weight_hh"]  # under Dale's law with other signs
    if np.abs(np.abs(total) - np.abs(gradient)).max() > AGREEMENT * max(np.abs(gradient).max(), 1e-30):
        raise ValueError(f"layer {name}, {layer!r}, multiplies its weights by other than h[t-1]")
    x = flow.tape.x
    if flow.tape.lengths is not None:
        padding = np.arange(len(x))[:, None] >= flow.tape.lengths
        x = np.where(padding[:, :, None], 0, x)  # may hold NaN there
    norms = {
        "weight_ih": outer_norms(flow.dgates, x),
        "weight_hh": np.sqrt(sum(np.square(outer_norms(d, with_)) for d, with_ in parts)),
    }
    for values in norms.values():
        values[step + 1 :] = np.nan
    return norms


def outer_norms(left: Array, right: Array) -> Array:
    """Frobenius norms of sum_b left[t, b] right[t, b]', of (T, B, M) and (T, B, N): (T,)."""
    norms = np.zeros(len(left))
    for t in range(len(left)):
        a, b = left[t].astype(np.float64), right[t].astype(np.float64)
        norms[t] = np.sqrt(max(float(np.vdot(a @ a.T, b @ b.T)), 0.0))
    return norms
