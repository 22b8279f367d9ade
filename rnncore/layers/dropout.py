"""The dropout layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.memory import empty
from .base import Array, Layer, State


@dataclass(slots=True)
class DropoutTape:
    """What x was multiplied with: 0 or 1/(1-p) in each entry, or None where nothing was dropped."""

    mask: Array | None


class Dropout(Layer):
    """Sets each entry to 0 with probability p while training and scales the others by 1/(1-p) (Srivastava et al., 2014).

    Parameters
    ----------
    p
        In [0, 1). The draws come from the network's generator. In evaluation x passes unchanged.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}, but a probability in [0, 1) is wanted")
        self.p = float(p)

    def config(self) -> dict[str, Any]:
        return {"p": self.p}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, DropoutTape | None]:
        self.require_bound()
        if not self.training or not self.p:
            return x, None, DropoutTape(None) if record else None
        assert self.rng is not None
        # Sixteen random bits an entry are enough for p and cost a quarter of a random float; the scale is that of the
        # probability that they really give, so that the mean is kept exactly.
        kept = 65536 - round(self.p * 65536)
        bits = np.frombuffer(self.rng.bytes(2 * x.size), np.uint16)
        mask = empty(x.shape, self.dtype)
        np.multiply(bits.reshape(x.shape) < kept, self.dtype.type(65536 / max(kept, 1)), out=mask)
        return x * mask, None, DropoutTape(mask) if record else None

    def backward(self, dy: Array, tape: Any, dstate: State = None) -> tuple[Array, State]:
        self.require_tape(tape)
        return dy if tape.mask is None else dy * tape.mask, None
