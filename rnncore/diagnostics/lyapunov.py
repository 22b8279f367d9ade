"""Lyapunov exponents: how fast nearby trajectories of a recurrent layer part, in nats per step.

The method of Benettin, Galgani, Giorgilli & Strelcyn (1980): an orthonormal frame is carried along by the
Jacobians and made orthonormal again after every step; the exponents are the mean logarithms of the factors by
which its vectors grew. Averages are weighed by exp(-1 / (u (1 - u))), u running from 0 to 1 over the steps:
on regular trajectories that converges faster than any power of their number (Das, Saiki, Sander & Yorke,
2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blas import one_blas_thread
from ..brief import brief
from ..checks import check_array, check_finite, check_positive_integer
from ..kernels.float_state import keep_denormals
from ..layers.recurrent import Recurrent
from .common import Array, double, require_recurrent
from .linearize import walk
from .product import Product

# Of the steps, whose scatter tells the standard error: the largest of these numbers' errors counts, as blocks
# shorter than what a state remembers seem more certain than they are (Flyvbjerg & Petersen, 1989).
BLOCKS = (16, 8, 4)
EDGE = 0.01  # nats per step, within which neither order nor chaos is claimed


@brief
@dataclass(frozen=True, slots=True)
class Lyapunov:
    """Exponents, largest first, and how well they have converged.

    Attributes
    ----------
    exponents
        In nats per step, ``(k,)``: the mean over rows.
    rows
        Of each row, ``(B, k)``.
    running
        The plain mean over the first steps, for each number of them, ``(N, k)``: it should have settled.
    error
        Standard error of the exponents, ``(k,)``, from the scatter among blocks of steps and rows; too small
        where a state remembers for more than an eighth of the steps.
    discarded
        Steps at the beginning that were not counted.
    """

    exponents: NDArray[np.float64]
    rows: NDArray[np.float64]
    running: NDArray[np.float64]
    error: NDArray[np.float64]
    discarded: int

    @property
    def regime(self) -> str:
        """``"order"`` (perturbations die), ``"chaos"`` (they grow), or ``"edge"``: within two standard
        errors, or 0.01, of zero."""
        largest, band = float(self.exponents[0]), max(EDGE, 2 * float(self.error[0]))
        if abs(largest) <= band:
            return "edge"
        return "chaos" if largest > 0 else "order"

    def __str__(self) -> str:
        shown = ", ".join(f"{value:.4f}" for value in self.exponents[:6])
        more = ", ..." if len(self.exponents) > 6 else ""
        return f"{self.regime}: {shown}{more} nats per step (largest: standard error {self.error[0]:.2g})"


@keep_denormals()
def lyapunov_exponents(
    layer: Recurrent, x: Array | int, state: Any = None, k: int | None = None, discard: int | None = None
) -> Lyapunov:
    """The Lyapunov exponents of a recurrent layer, of all its states together.

    Parameters
    ----------
    layer
        A recurrent layer of a network.
    x
        Input that drives it, ``(T, B, I)``; or a number of steps, for the layer running free on zeros.
    state
        To begin with, as ``layer.forward`` takes it; zero if it is not given.
    k
        How many, largest first; None for all H (LSTM: 2H).
    discard
        Steps at the beginning that do not count, while the frame turns to where things grow; a tenth if it is
        not given.

    Raises
    ------
    TypeError, ValueError
        If the layer has no state, or an argument is not as wanted.
    """
    require_recurrent(layer)
    size = sum(layer.state_widths)
    count = size if k is None else check_positive_integer("k", k)
    if count > size:
        raise ValueError(f"k is {k}, but the state has {size} dimensions")
    if not isinstance(x, (np.ndarray, int, np.integer)) or isinstance(x, bool):
        came = type(x).__name__
        raise TypeError(f"x is a {came}, but a NumPy array (T, B, I) or a number of steps is wanted")
    if not isinstance(x, np.ndarray):
        parts = state if isinstance(state, tuple) else (state,)
        rows = parts[0].shape[0] if isinstance(parts[0], np.ndarray) and parts[0].ndim == 2 else 1
        x = np.zeros(
            (check_positive_integer("x, the number of steps,", x), rows, layer.input_size), layer.dtype
        )
    check_array("x", x, layer.dtype, "TBI", (None, None, layer.input_size))
    check_finite("x", x)
    layer.check_state("state", state, x.shape[1])
    steps = len(x)
    if not steps or not x.shape[1]:
        raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
    skipped = steps // 10 if discard is None else discard
    if isinstance(skipped, bool) or not isinstance(skipped, (int, np.integer)) or not 0 <= skipped < steps:
        raise ValueError(f"discard is {discard!r}, but a number of steps from 0 to {steps - 1} is wanted")
    with one_blas_thread():
        growth = _growth(layer, x, state, size, count)
    return _summary(growth[skipped:], int(skipped))


def _growth(layer: Recurrent, x: Array, state: Any, size: int, count: int) -> Array:
    """Logarithms of the growth of the frame's vectors at each step, (T, B, k)."""
    twin = double(layer)
    if state is not None:
        parts = state if isinstance(state, tuple) else (state,)
        parts = tuple(part.astype(np.float64) for part in parts)
        state = parts if len(parts) > 1 else parts[0]
    _, _, tape = twin.forward(x.astype(np.float64), state)
    product = Product(x.shape[1], size, count)
    rows = np.arange(x.shape[1])
    growth = [product.multiply(step.apply, keep=False) for step in walk(twin, tape, 0, len(x), rows)]
    return np.stack(growth)


def _summary(growth: Array, discarded: int) -> Lyapunov:
    """Weighted and plain means of the growth, (N, B, k), exponents in falling order."""
    steps = len(growth)
    u = (np.arange(steps) + 1) / (steps + 1)
    weight = np.exp(-1 / (u * (1 - u)))
    weight /= weight.sum()
    with np.errstate(invalid="ignore"):
        rows = np.einsum("t,tbk->bk", weight, growth)
        order = np.argsort(-rows.mean(axis=0), kind="stable")
        rows, growth = rows[:, order], growth[:, :, order]
        running = np.cumsum(growth.mean(axis=1), axis=0) / np.arange(1, steps + 1)[:, None]
        error = np.max([_error(growth, weight, count) for count in BLOCKS], axis=0)
    return Lyapunov(rows.mean(axis=0), rows, running, error, discarded)


def _error(growth: Array, weight: Array, count: int) -> Array:
    """The weighted mean's standard error, (k,), if so many blocks of steps are independent; NaN of one
    alone."""
    count = min(count, len(growth))
    if count * growth.shape[1] < 2:
        return np.full(growth.shape[2], np.nan)
    blocks = np.stack([block.mean(axis=0) for block in np.array_split(growth, count)])
    spread = blocks.reshape(-1, growth.shape[2]).std(axis=0, ddof=1)
    shares = np.array([block.sum() for block in np.array_split(weight, count)])
    return np.asarray(spread * np.sqrt(np.square(shares).sum() / growth.shape[1]))
