"""Layers that turn a sequence into one row: its last step, its mean, its largest numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..brief import brief
from ..checks import check_array, check_flag, check_lengths, zero_padding
from ..kernels.float_state import flushing
from .base import Array, Layer, State


@brief
@dataclass(slots=True)
class PoolingTape:
    """Steps T, features F, and the rows' lengths (B,), filled in where none were given."""

    steps: int
    features: int
    lengths: NDArray[np.intp]


class _Pooling(Layer):
    pools = True
    tape_type = PoolingTape

    def _start(self, x: Array, lengths: Any) -> PoolingTape:
        self.require_bound()
        check_array("x", x, self.dtype, "TBF", (None, None, None))
        steps, rows = x.shape[:2]
        if not steps or not rows:
            raise ValueError(f"x has shape {x.shape}, but at least one step and one row are wanted")
        checked = check_lengths(lengths, steps, rows)
        return PoolingTape(steps, x.shape[2], np.full(rows, steps, np.intp) if checked is None else checked)

    def _check_upstream(self, dy: Array, tape: Any) -> None:
        self.check_tape("tape", tape)
        check_array("dy", dy, self.dtype, "BF", (len(tape.lengths), tape.features))


class LastStep(_Pooling):
    """y[b] = x[lengths[b] - 1, b]: each row at its own last step, (T, B, F) -> (B, F).

    Parameters
    ----------
    bidirectional
        Behind a ``Bidirectional`` layer that lays its halves side by side, where each of them ends: the first
        half of the features at the row's last step, the second at step 0, which are the final states h of
        both directions, as ``torch.cat((h[-2], h[-1]), 1)`` in PyTorch. F must be even then.
    """

    def __init__(self, bidirectional: bool = False) -> None:
        super().__init__()
        self.bidirectional = check_flag("bidirectional", bidirectional)

    def config(self) -> dict[str, Any]:
        return {"bidirectional": True} if self.bidirectional else {}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, PoolingTape | None]:
        tape = self._start(x, lengths)
        if self.bidirectional and tape.features % 2:
            raise ValueError(f"x has {tape.features} features, but {self} wants two halves of as many")
        y = x[tape.lengths - 1, np.arange(x.shape[1])]
        if self.bidirectional:
            half = tape.features // 2
            y[:, half:] = x[0, :, half:]
        return y, None, tape if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self._check_upstream(dy, tape)
        if not input_gradient:
            return None, None
        rows, features = dy.shape
        dx = np.zeros((tape.steps, rows, features), self.dtype)
        ends = features // 2 if self.bidirectional else features
        dx[tape.lengths - 1, np.arange(rows), :ends] = dy[:, :ends]
        dx[0, :, ends:] = dy[:, ends:]
        return dx, None


class MeanPool(_Pooling):
    """y[b] = mean of x[:lengths[b], b]: each row over its own steps, (T, B, F) -> (B, F)."""

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, PoolingTape | None]:
        tape = self._start(x, lengths)
        x = zero_padding(x, tape.lengths)
        # Step after step, as for many features: NumPy adds up a single column in another order.
        with flushing():
            y = x.sum(axis=0) if x[0].size > 1 else x.cumsum(axis=0)[-1]
            y /= tape.lengths[:, None].astype(self.dtype)
        return y, None, tape if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self._check_upstream(dy, tape)
        if not input_gradient:
            return None, None
        with flushing():
            share = dy / tape.lengths[:, None].astype(self.dtype)
        within = np.arange(tape.steps)[:, None] < tape.lengths
        return np.where(within[:, :, None], share, self.dtype.type(0)), None


@brief
@dataclass(slots=True)
class MaxTape(PoolingTape):
    """Beside these the step that each entry of y comes from, (B, F)."""

    places: NDArray[np.intp]


class MaxOverTime(_Pooling):
    """y[b, f] = max over t of x[t, b, f]: each row over its own steps, (T, B, F) -> (B, F)."""

    tape_type = MaxTape  # type: ignore[assignment]

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, MaxTape | None]:
        tape = self._start(x, lengths)
        if tape.lengths.min() < tape.steps:
            within = np.arange(tape.steps)[:, None] < tape.lengths
            x = np.where(within[:, :, None], x, self.dtype.type(-np.inf))
        places = x.argmax(axis=0)
        y = np.take_along_axis(x, places[None], axis=0)[0]
        return y, None, MaxTape(tape.steps, tape.features, tape.lengths, places) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self._check_upstream(dy, tape)
        if not input_gradient:
            return None, None
        dx = np.zeros((tape.steps, *dy.shape), self.dtype)
        np.put_along_axis(dx, tape.places[None], dy[None], axis=0)
        return dx, None
