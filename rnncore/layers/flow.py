"""What a backward pass records for diagnostics: the gradients of states and of gates, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..brief import brief
from ..kernels.memory import empty
from .base import Array

Parts = tuple[Array | None, ...]  # what a state consists of, None where it is zero


@brief
@dataclass(slots=True)
class Flow:
    """Asks the next backward pass of a layer to keep what it computes on its way, and holds it then.

    ``layer.flow = Flow()`` before ``backward``; every later pass records anew, until ``layer.flow`` is None
    again. Costs one copy of each array kept.

    Attributes
    ----------
    gates
        Whether to keep ``dgates`` and ``drecurrent`` too.
    tape
        The tape that the pass went back along; None before the first one.
    states
        The gradient of the loss in each state of every step, ``(1+T, B, H)`` each, aligned with
        ``tape.states()``: row t belongs to ``hidden[t]``, row 0 to the initial state; 0 in the padding. Of a
        cell c[t] it counts the way through h[t] too, except in row 0.
    dgates, drecurrent
        The gradients of the gates' sums, and of the recurrent products in them, ``(T, B, G*H)``.
    """

    gates: bool = False
    tape: Any = None
    states: tuple[Array, ...] = ()
    dgates: Array | None = None
    drecurrent: Array | None = None

    def start(self, tape: Any, states: int, wide: int) -> Parts:
        """Make room for a pass along the tape; returns the arrays in the order in which kernels take them."""
        steps, rows, units = tape.hidden.shape
        dtype = tape.hidden.dtype
        self.tape = tape
        self.states = tuple(empty((steps, rows, units), dtype) for _ in range(states))
        if self.gates:
            self.dgates = empty((steps - 1, rows, wide), dtype)
            self.drecurrent = empty((steps - 1, rows, wide), dtype)
        return (*self.states, self.dgates, self.drecurrent)

    def finish(self, dstates: list[Array]) -> None:
        """Put the gradient of the initial state in front."""
        for states, initial in zip(self.states, dstates, strict=True):
            states[0] = initial if initial.ndim == 2 else initial[-1]
