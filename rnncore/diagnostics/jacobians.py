"""Jacobians of the state: how a small change at step k is found again at step t.

h[t] is row t of the tape: h[0] the initial state, h[t] the state after step t. The Jacobian dh[t]/dh[k] is
the product of one matrix per step; its singular values say by how much directions grow and shrink on the
way. All is computed in float64 at the states that the tape holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blas import one_blas_thread
from ..brief import brief
from ..kernels.float_state import keep_denormals
from ..layers import Elman
from ..layers.recurrent import Recurrent, RecurrentTape
from .common import Array, felt_weights, require_recurrent, require_tape, row_lengths
from .linearize import Linearization, walk
from .product import Product

STATES = ("h", "all")
LARGEST_SLOPE = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "identity": 1.0}


@brief
@dataclass(frozen=True, slots=True)
class Spectrum:
    """The Jacobian over a span of steps, by the logarithms of its singular values.

    Attributes
    ----------
    t, k
        The span: from h[k] to h[t].
    log_values
        Natural logarithms of the singular values, ``(B, n)``, falling; -inf for 0.
    log_textbook
        Logarithm of the bound (sigma_max(W) * largest slope)^(t-k) of Pascanu, Mikolov & Bengio (2013). For
        gated cells the slopes are the largest ones met in the span, and what is carried beside the product is
        added. NaN for a cell that mixes its units otherwise, and where bounds were not asked for.
    log_stepwise
        Logarithm of the product of the norms of the single steps' Jacobians, ``(B,)``: between the truth and
        the textbook.
    """

    t: int
    k: int
    log_values: NDArray[np.float64]
    log_textbook: float
    log_stepwise: NDArray[np.float64]

    @property
    def values(self) -> NDArray[np.float64]:
        """The singular values, (B, n); 0 or infinite where a double cannot hold them."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(self.log_values))

    @property
    def log_norm(self) -> NDArray[np.float64]:
        """Logarithm of the spectral norm, the largest singular value, (B,)."""
        return self.log_values[:, 0]

    def per_step(self) -> NDArray[np.float64]:
        """Growth of each direction per step in nats, (B, n): finite-time Lyapunov exponents."""
        return np.asarray(self.log_values / max(self.t - self.k, 1))


@keep_denormals()
def jacobian(
    layer: Recurrent,
    tape: RecurrentTape,
    t: int,
    k: int | None = None,
    state: str = "h",
    rows: Sequence[int] | None = None,
) -> Array:
    """The exact dh[t]/dh[k] of any recurrent layer, ``(B, H, H)``: [b, i, j] is d h[t, b, i] / d h[k, b, j].

    Parameters
    ----------
    layer, tape
        A layer of a network, and what its forward pass left: ``net.layers[0], tape[0]``.
    t, k
        0 <= k <= t <= T; k is t-1 if it is not given.
    state
        ``"h"``; or ``"all"`` for all states in a row, (h, c) of an LSTM: ``(B, 2H, 2H)``. With ``"h"`` the
        other states at k stay as they are, and all that happens after k counts.
    rows
        Of the batch; None for all.

    Raises
    ------
    TypeError, ValueError
        If the layer has no state, the tape is another layer's, or the span lies outside of it.
    """
    k = t - 1 if k is None and isinstance(t, (int, np.integer)) else k
    chosen, first, last = _check(layer, tape, t, k, state, rows)
    size = sum(layer.state_widths)
    start = np.eye(size, layer.state_widths[0] if state == "h" else size)
    product = np.broadcast_to(start, (len(chosen), *start.shape)).copy()
    with one_blas_thread():
        for step in walk(layer, tape, first, last, chosen):
            product = step.apply(product)
    return product[:, : layer.state_widths[0]] if state == "h" else product


@keep_denormals()
def jacobian_spectrum(
    layer: Recurrent,
    tape: RecurrentTape,
    t: int | None = None,
    k: int = 0,
    state: str = "h",
    rows: Sequence[int] | None = None,
    bounds: bool = True,
) -> Spectrum:
    """The singular values of dh[t]/dh[k], however long the span and however small they are.

    The matrices are multiplied in factored form (`rnncore.diagnostics.product`), where nothing overflows or
    underflows, so that spans of 10,000 steps are as exact as those of ten.

    Parameters
    ----------
    layer, tape, t, k, state, rows
        As `jacobian` takes them; t is the shortest row's length if it is not given.
    bounds
        Whether to compute the two bounds as well.

    Raises
    ------
    TypeError, ValueError
        As `jacobian` does.
    """
    if t is None:
        chosen, _, _ = _check(layer, tape, 0, 0, state, rows)
        t = int(row_lengths(tape)[chosen].min())
    chosen, first, last = _check(layer, tape, t, k, state, rows)
    with one_blas_thread():
        return _spectrum(layer, tape, chosen, (first, last), state, bounds)


def _spectrum(
    layer: Recurrent, tape: RecurrentTape, chosen: Array, span: tuple[int, int], state: str, bounds: bool
) -> Spectrum:
    """The product over the span, its singular values, and the bounds on it."""
    first, last = span
    units, whole = layer.state_widths[0], sum(layer.state_widths)
    only = state == "h" and whole > units
    product = Product(len(chosen), units if only else whole, units if only else whole)
    if only:  # begin with a change of h alone, end with the one in h alone
        zeros = np.zeros((len(chosen), whole - units, units))
        product.q = np.concatenate([product.q, zeros], axis=1)
    stepwise, through, beside = np.zeros(len(chosen)), 0.0, 0.0
    for step in walk(layer, tape, first, last, chosen):
        product.multiply(step.apply)
        if bounds:
            stepwise += np.log(np.maximum(spectral_norms(step), 1e-300))
            if step.dense is not None:
                through = beside = math.nan
                continue
            slopes = step.largest_slopes()
            through, beside = max(through, slopes[0]), max(beside, slopes[1])
    if only:
        product.multiply(lambda q: q[:, :units])
    textbook = _textbook(layer, through, beside) * (last - first) if bounds else math.nan
    values = product.log_singular_values()
    return Spectrum(last, first, values, textbook, stepwise if bounds else np.full(len(chosen), math.nan))


def spectral_norms(step: Linearization) -> Array:
    """The largest singular value of each Jacobian, (N,)."""
    from scipy.linalg import eigvalsh

    norms = []
    for matrix in step.matrices():
        last = len(matrix) - 1
        scale = float(np.abs(matrix).max()) or 1.0
        square = (matrix / scale) @ (matrix / scale).T
        norms.append(scale * math.sqrt(max(float(eigvalsh(square, subset_by_index=[last, last])[0]), 0.0)))
    return np.array(norms)


def _textbook(layer: Recurrent, through: float, beside: float) -> float:
    """Logarithm of the bound on the norm of one step's Jacobian."""
    if math.isnan(through):  # no such bound where units meet elsewhere than in the product
        return math.nan
    largest = float(np.linalg.norm(felt_weights(layer).astype(np.float64), 2))
    if type(layer) is Elman and not beside > 1e-6:
        through, beside = LARGEST_SLOPE[layer.activation], 0.0
    bound = largest * through + beside
    return math.log(bound) if bound > 0 else -math.inf


def _check(
    layer: Any, tape: Any, t: Any, k: Any, state: str, rows: Sequence[int] | None
) -> tuple[NDArray[np.intp], int, int]:
    """The rows and the span, checked."""
    require_tape(require_recurrent(layer), tape)
    if state not in STATES:
        raise ValueError(f"state is {state!r}, but one of {', '.join(STATES)} is wanted")
    lengths = row_lengths(tape)
    chosen = np.arange(len(lengths)) if rows is None else np.atleast_1d(np.asarray(rows))
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1 or not len(chosen):
        raise ValueError(f"rows are {rows!r}, but a list of rows of the batch is wanted")
    if chosen.min() < 0 or chosen.max() >= len(lengths):
        raise ValueError(f"rows are {rows!r}, but the tape has rows 0 to {len(lengths) - 1}")
    for name, value in (("t", t), ("k", k)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} is {value!r}, but a whole number is wanted")
    shortest = int(chosen[np.argmin(lengths[chosen])])
    if not 0 <= k <= t <= lengths[shortest]:
        raise ValueError(
            f"the span from k={k} to t={t} lies outside of the tape: 0 <= k <= t <= {lengths[shortest]}, the "
            f"steps of row {shortest}, is wanted"
        )
    return chosen.astype(np.intp), int(k), int(t)
