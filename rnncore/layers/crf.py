"""The output layer of a tagger whose tags depend on each other; its loss is `rnncore.CRFLoss`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..brief import brief
from ..checks import check_array, check_lengths, check_size, zero_padding
from ..kernels.float_state import flushing
from .base import Array, Layer, State


@brief
@dataclass(slots=True)
class CRFTape:
    """Steps T, tags K, the rows' last steps (B,), and their lengths (B,) or None."""

    steps: int
    tags: int
    last: NDArray[np.intp]
    lengths: NDArray[np.intp] | None


class CRF(Layer):
    """Potentials of neighbouring tags (Lafferty, McCallum & Pereira, 2001; Huang, Xu & Yu, 2015).

    x ``(T, B, K)`` has what each step says of its tag; y ``(T, B, K K)`` has at place i K + j what it says of
    tag j after tag i:

        y[t, i, j] = x[t, j] + transition[i, j];    y[0, i, j] = x[0, j] + start[j];
        at a row's last step end[j] is added

    `CRFLoss` takes y and the true tags, ``CRFLoss().decode(y)`` finds the likeliest ones.

    Parameters
    ----------
    tags
        K, at least 1. ``transition (K, K)``, ``start (K,)`` and ``end (K,)`` begin as 0.

    Notes
    -----
    A row's last step differs from the others, so that a CRF does not stream, and truncated BPTT refuses it.
    """

    looks_ahead = True
    tape_type = CRFTape

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.tags = check_size("tags", tags)

    def config(self) -> dict[str, Any]:
        return {"tags": self.tags}

    def features(self) -> tuple[int | None, int | None]:
        return self.tags, self.tags * self.tags

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"transition": (self.tags, self.tags), "start": (self.tags,), "end": (self.tags,)}

    def multiply_adds(self) -> int:
        return 0

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Nothing is drawn: all tags are alike at first."""

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, CRFTape | None]:
        self.require_bound()
        check_array("x", x, self.dtype, "TBK", (None, None, self.tags))
        steps, rows, tags = x.shape
        checked = check_lengths(lengths, steps, rows)
        x = zero_padding(x, checked)
        last = np.full(rows, steps - 1) if checked is None else checked - 1
        with flushing():
            y = x[:, :, None, :] + self.params["transition"]
            y[0] = (x[0] + self.params["start"])[:, None, :]
            y[last, np.arange(rows)] += self.params["end"]
        y = y.reshape(steps, rows, tags * tags)
        return y, None, CRFTape(steps, tags, last, checked) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        rows, tags = len(tape.last), self.tags
        check_array("dy", dy, self.dtype, "TBP", (tape.steps, rows, tags * tags))
        pairs = zero_padding(dy, tape.lengths).reshape(tape.steps, rows, tags, tags)
        with flushing():
            dx: Array = pairs.sum(axis=2)
            self.grads["transition"] += pairs[1:].sum(axis=(0, 1))
            self.grads["start"] += dx[0].sum(axis=0)
            self.grads["end"] += dx[tape.last, np.arange(rows)].sum(axis=0)
        return dx if input_gradient else None, None

    def fits(self, tape: Any) -> bool:
        return bool(tape.tags == self.tags)
