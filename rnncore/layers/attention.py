"""Pooling by attention: a weighted mean over a row's own steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_array, check_lengths, check_size, padding_mask, zero_padding
from ..kernels.float_state import flushing
from .activation import FUNCTIONS
from .base import Array, State
from .dense import Dense
from .nested import Nested, NestedTape

SOFTMAX = FUNCTIONS.index("softmax")


class AttentionPool(Nested):
    """y[b] = sum_t a[t, b] x[t, b] over a row's own steps (Yang et al., 2016).

    a is the softmax over t of ``score(tanh(hidden(x)))``, two dense layers, F to A and A to 1.

    Parameters
    ----------
    features
        F, of x ``(T, B, F)`` and of y ``(B, F)``.
    units
        A; None for F.
    """

    pools = True

    def __init__(self, features: int, units: int | None = None) -> None:
        self.size = check_size("features", features)
        self.units = self.size if units is None else check_size("units", units)
        super().__init__({"hidden": Dense(self.size, self.units, "tanh"), "score": Dense(self.units, 1)})

    def config(self) -> dict[str, Any]:
        return {"features": self.size} | ({} if self.units == self.size else {"units": self.units})

    def features(self) -> tuple[int | None, int | None]:
        return self.size, self.size

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, NestedTape | None]:
        self._enter(None)
        check_array("x", x, self.dtype, "TBF", (None, None, self.size))
        steps, rows = x.shape[:2]
        checked = check_lengths(lengths, steps, rows)
        x = zero_padding(x, checked)
        hidden, score = self.children
        between, _, first = hidden.forward(x, None, checked, record)
        scores, _, second = score.forward(between, None, checked, record)
        scores = np.ascontiguousarray(scores[:, :, 0].T)  # (B, T): a row of the kernel is a sequence
        if checked is not None:
            scores[padding_mask(checked, steps).T] = -np.inf
        backend = self.children[0].backend  # type: ignore[attr-defined]
        backend.activate(SOFTMAX, 0.0, scores, scores)
        share = np.ascontiguousarray(scores.T)
        with flushing():
            parts = share[:, :, None] * x
            # Step after step: NumPy adds up a single column in another order.
            y = parts.sum(axis=0) if parts[0].size > 1 else parts.cumsum(axis=0)[-1]
        return y, None, NestedTape((first, second), (x, share), lengths=checked) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        x, share = tape.kept
        check_array("dy", dy, self.dtype, "BF", x.shape[1:])
        hidden, score = self.children
        with flushing():
            dshare = (x * dy).sum(axis=2)
            dscores = share * (dshare - (share * dshare).sum(axis=0))
        between, _ = score.backward(np.ascontiguousarray(dscores[:, :, None]), tape.parts[1])
        assert between is not None
        dx, _ = hidden.backward(between, tape.parts[0], None, input_gradient)
        if dx is None:
            return None, None
        with flushing():
            dx += share[:, :, None] * dy
        return dx, None
