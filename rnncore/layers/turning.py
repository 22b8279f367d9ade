"""Steps the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from ..brief import brief
from ..checks import check_array, check_lengths, zero_padding
from ..kernels.memory import empty
from .base import Array, Layer, State


@brief
@dataclass(slots=True)
class ReverseTape:
    """The shape of x, and the rows' lengths (B,) or None."""

    shape: tuple[int, ...]
    lengths: NDArray[np.intp] | None


class Reverse(Layer):
    """Each row from its last step to its first; in front of a cell, recurrence that only goes backward.

    y[t, b] = x[n - 1 - t, b] for a row of n steps, and 0 in the padding. Two of them put the steps back.
    """

    looks_ahead = True
    tape_type = ReverseTape
    backend: ModuleType = kernels

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, ReverseTape | None]:
        self.require_bound()
        check_array("x", x, self.dtype, "TBF", (None, None, None))
        checked = check_lengths(lengths, *x.shape[:2])
        return self._turn(x, checked), None, ReverseTape(x.shape, checked) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        check_array("dy", dy, self.dtype, "TBF", tape.shape)
        return self._turn(dy, tape.lengths) if input_gradient else None, None

    def _turn(self, x: Array, lengths: NDArray[np.intp] | None) -> Array:
        y: Array = empty(x.shape, self.dtype)
        self.backend.reverse_rows(zero_padding(x, lengths), lengths, False, y)
        return y
