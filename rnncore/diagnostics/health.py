"""The health of cells: gates that no longer move, units that never fire, how long each unit remembers.

A sigmoid gate below 0.05 or above 0.95, and a tanh unit beyond ±0.95, lie where their slope is a tenth of the
largest or less: little gradient passes. A ReLU that is zero at every step of every row passes none at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blas import one_blas_thread
from ..brief import brief
from ..kernels.float_state import keep_denormals
from ..layers import GRU, LSTM, LeakyElman
from ..layers.recurrent import Recurrent, RecurrentTape
from ..network import Network
from .common import (
    Array,
    ByLayer,
    felt_weights,
    recurrent_layers,
    row_lengths,
    tapes_of,
    whole_tape,
    width_of_names,
)

SIGMOID_EDGE = 0.05
TANH_EDGE = 0.95
EDGES = {"sigmoid": (SIGMOID_EDGE, 1 - SIGMOID_EDGE), "tanh": (-TANH_EDGE, TANH_EDGE)}
CANDIDATES = ("g", "n", "h")  # the units that write; the other gates open and shut

Floats = NDArray[np.float64]


@brief
@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer; G gates by name, or the unit itself.

    Attributes
    ----------
    name, kind, gates
        The layer's place in the network, its class, and the names of its gates.
    saturated
        Share of saturated entries of each gate, ``(G,)``; ``saturated_by_step (T, G)`` and
        ``saturated_by_unit (G, H)`` say when and where. NaN at steps that no row has, for ReLU and identity
        units, and for gates that the layer does not name.
    activity
        The mean over rows of each gate's activation, ``(T, G, H)``.
    dead
        ReLU units that are 0 at every step of every row, ``(H,)``; None for other cells.
    time_constants
        -1 / (mean of ln f) of each unit in steps, ``(H,)``, f being the LSTM's forget gate or the GRU's
        update gate, which keeps h[t-1]; None for other cells.
    memory
        Each unit's effective memory: the first lag at which the autocorrelation of its state is below 1/e,
        ``(H,)``; infinite where it is not within the sequence, as for one that never moves.
    state_norm
        The mean over rows of ||h[t]||, ``(1+T,)``.
    eigenvalues, singular_values
        Of each gate's recurrent weights, ``(G, H)``; empty where weights were not looked at.
    """

    name: str
    kind: str
    gates: tuple[str, ...]
    saturated: Floats
    saturated_by_step: Floats
    saturated_by_unit: Floats
    activity: Floats
    dead: NDArray[np.bool_] | None
    time_constants: Floats | None
    memory: Floats
    state_norm: Floats
    eigenvalues: NDArray[np.complex128]
    singular_values: Floats

    @property
    def spectral_radius(self) -> Floats:
        """The largest eigenvalue modulus of each gate's recurrent weights, (G,)."""
        return np.asarray(np.abs(self.eigenvalues).max(axis=1))

    @property
    def saturated_units(self) -> float:
        """Share of saturated entries of what the units say, h, or write, g or n: without the gates that open
        and shut."""
        writing = self.saturated[[name in CANDIDATES for name in self.gates]]
        return float(writing.mean()) if len(writing) else math.nan

    @property
    def saturated_gates(self) -> float:
        """Share of saturated entries of the gates that open and shut; NaN for a cell that has none."""
        others = self.saturated[[name not in CANDIDATES for name in self.gates]]
        return float(others.mean()) if len(others) else math.nan

    @property
    def dead_share(self) -> float:
        """Share of units that are dead ReLUs."""
        return 0.0 if self.dead is None else float(self.dead.mean())


@brief
@dataclass(frozen=True, slots=True)
class Health(ByLayer[LayerHealth]):
    """A `LayerHealth` for each recurrent layer, by name."""

    layers: dict[str, LayerHealth]

    def __str__(self) -> str:
        wide = width_of_names(self)
        head = f"{'gate':>6}{'saturated':>11}{'dead':>7}{'spectral radius':>17}{'memory':>9}"
        lines = [f"{'layer':<{wide}}{head}"]
        for layer in self:
            for gate, name in enumerate(layer.gates):
                known = len(layer.eigenvalues) == len(layer.gates)
                radius = layer.spectral_radius[gate] if known else math.nan
                share = "-" if math.isnan(layer.saturated[gate]) else f"{layer.saturated[gate]:.1%}"
                dead = "-" if layer.dead is None else f"{layer.dead_share:.1%}"
                lines.append(
                    f"{layer.name + ' ' + layer.kind:<{wide}}{name:>6}{share:>11}"
                    f"{dead:>7}{radius:>17.3f}{np.median(layer.memory):>9.3g}"
                )
        return "\n".join(lines)


@keep_denormals()
def cell_health(net: Network, x: Array, lengths: Any = None, state: Any = None) -> Health:
    """Look at the gates, states and recurrent weights of every recurrent layer on a batch.

    One forward pass, without dropout; the network is left as it was.

    Raises
    ------
    TypeError, ValueError
        If there is no recurrent layer, or an argument is none that the network takes.
    """
    layers = recurrent_layers(net)
    training = net.training
    net.eval()
    try:
        _, _, tape = net.forward(x, state, lengths)
    finally:
        net.train(training)
    tapes = tapes_of(net, tape)
    return Health({name: layer_health(name, layer, tapes[name]) for name, layer in layers.items()})


@keep_denormals()
def layer_health(
    name: str, layer: Recurrent, tape: RecurrentTape, weights: bool = True, memory: bool = True
) -> LayerHealth:
    """The health of one layer on its tape; without eigenvalues, which cost H^3, or autocorrelations if so
    told."""
    tape = whole_tape(layer, tape)
    steps = len(tape.x)
    valid = np.arange(steps)[:, None] < row_lengths(tape)
    names = _gate_names(layer)
    activations = np.where(valid[:, :, None, None], _activations(layer, tape), 0)
    low, high = _edges(names, layer)
    outside = (activations < low[:, None]) | (activations > high[:, None])
    outside &= valid[:, :, None, None]
    # Means over valid entries; no row at all has the last steps of a segment.
    count = np.maximum(valid.sum(axis=1), 1)[:, None]
    by_step = outside.sum(axis=(1, 3)) / (count * layer.hidden_size)
    by_step[~valid.any(axis=1)] = np.nan
    by_unit = outside.sum(axis=(0, 1)) / valid.sum()
    unbounded = np.isinf(high)
    by_step[:, unbounded], by_unit[unbounded] = np.nan, np.nan
    hidden = tape.hidden[1:]
    dead = None
    if names == ("h",) and layer.activation == "relu":
        dead = ~(activations != 0).any(axis=(0, 1, 2))
    norms = np.sqrt(np.einsum("tbh,tbh->tb", tape.hidden, tape.hidden, dtype=np.float64))
    own = np.arange(steps + 1)[:, None] <= row_lengths(tape)
    eigenvalues, singular = _of_weights(layer) if weights else (np.empty((0, 0), complex), np.empty((0, 0)))
    return LayerHealth(
        name, type(layer).__name__, names, by_unit.mean(axis=1), by_step, by_unit,
        np.asarray(activations.sum(axis=1, dtype=np.float64) / count[:, :, None]), dead,
        _time_constants(layer, activations, valid), _memory(hidden, valid) if memory else np.empty(0),
        np.asarray((norms * own).sum(axis=1) / np.maximum(own.sum(axis=1), 1)), eigenvalues, singular,
    )  # fmt: skip


def _gate_names(layer: Recurrent) -> tuple[str, ...]:
    """The gates' names: those that the layer gives, else numbers; with one gate, the unit itself."""
    if len(layer.gate_names) == layer.gates:
        return layer.gate_names
    return ("h",) if layer.gates == 1 else tuple(map(str, range(layer.gates)))


def _activations(layer: Recurrent, tape: Any) -> Array:
    """The gates' activations (T, B, G, H); NaN where the tape keeps none of several gates."""
    shape = (*tape.x.shape[:2], layer.gates, layer.hidden_size)
    values = layer.gate_values(tape)
    if values is None and layer.gates == 1:
        values = tape.hidden[1:]  # where nothing but h is kept, it is what the unit says
    if values is None or values.size != math.prod(shape):
        return np.full(shape, np.nan, layer.dtype)
    activations: Array = values.reshape(shape)
    return activations


def _edges(names: tuple[str, ...], layer: Recurrent) -> tuple[Array, Array]:
    """Below and above what each gate counts as saturated, (G,) each; infinite where that cannot be said."""
    gate = getattr(layer, "gate_activation", "sigmoid")
    kinds = [
        layer.activation if name in CANDIDATES else "unknown" if name.isdecimal() else gate for name in names
    ]
    kinds = list(layer.gate_functions) or kinds
    edges = np.array([EDGES.get(kind, (-math.inf, math.inf)) for kind in kinds]).reshape(-1, 2)
    return edges[:, 0], edges[:, 1]


def _time_constants(layer: Recurrent, activations: Array, valid: Array) -> Floats | None:
    """-1 / (mean of ln f) of each unit, (H,), f what scales its state of the step before; infinite where it
    is always 1."""
    if isinstance(layer, LeakyElman):
        kept = 1 - layer.leaks().astype(np.float64)[None]
    elif isinstance(layer, LSTM) and layer.coupled:
        kept = 1 - activations[:, :, 0].astype(np.float64)[valid]
    elif isinstance(layer, (LSTM, GRU)):
        kept = activations[:, :, 1].astype(np.float64)[valid]
    else:
        return None
    mean = np.log(np.maximum(kept, 1e-300)).mean(axis=0)
    with np.errstate(divide="ignore"):
        return np.asarray(-1 / np.minimum(mean, -0.0))


def _memory(hidden: Array, valid: Array) -> Floats:
    """The first lag at which each unit's autocorrelation, over all rows, is below 1/e: (H,)."""
    mean = hidden[valid].mean(axis=0, dtype=np.float64)
    moved = np.where(valid[:, :, None], hidden - mean, 0.0)
    steps = len(hidden)
    size = 2 ** math.ceil(math.log2(2 * steps))
    power = np.square(np.abs(np.fft.rfft(moved, size, axis=0))).sum(axis=1)
    covariance = np.fft.irfft(power, size, axis=0)[:steps]
    # A row of n steps has n - lag pairs: not to divide by their number would make every memory short.
    lengths = valid.sum(axis=0)
    pairs = np.maximum(lengths - np.arange(steps)[:, None], 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = (covariance / pairs[:, None]) / (covariance[0] / pairs[0])
    below = correlation < 1 / math.e
    return np.where(below.any(axis=0), below.argmax(axis=0).astype(np.float64), np.inf)


def _of_weights(layer: Recurrent) -> tuple[NDArray[np.complex128], Floats]:
    """Eigenvalues and singular values of each gate's square, (G, H) each, largest first."""
    units = layer.hidden_size
    squares = felt_weights(layer).astype(np.float64).reshape(-1, units, units)
    with one_blas_thread():
        values = np.linalg.eigvals(squares).astype(np.complex128)
        singular = np.asarray(np.linalg.svd(squares, compute_uv=False), np.float64)
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), singular
