"""The dropout layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_array, check_number
from ..kernels.memory import empty
from .base import Array, Layer, State


@dataclass(slots=True)
class DropoutTape:
    """The shape of x, and its factors, 0 or 1/(1-p) an entry; None where nothing was dropped."""

    shape: tuple[int, ...]
    mask: Array | None


class Dropout(Layer):
    """Zeroes entries with probability p while training, scales others by 1/(1-p) (Srivastava et al., 2014).

    Parameters
    ----------
    p
        In [0, 1). The draws come from the network's generator. In evaluation x passes unchanged.
    """

    takes_rows = True

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_number("p", p)
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}, but a probability in [0, 1) is wanted")
        self.p = float(p)

    def config(self) -> dict[str, Any]:
        return {"p": self.p}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, DropoutTape | None]:
        self.require_bound()
        axes = "BF" if getattr(x, "ndim", 3) == 2 else "TBF"
        check_array("x", x, self.dtype, axes, (None,) * len(axes))
        if not self.training or not self.p:
            return x, None, DropoutTape(x.shape, None) if record else None
        assert self.rng is not None
        # Sixteen random bits an entry are enough for p and cost a quarter of a random float; the scale is
        # that of the probability that they really give, so that the mean is kept exactly.
        kept = 65536 - round(self.p * 65536)
        bits = np.frombuffer(self.rng.bytes(2 * x.size), np.uint16)
        mask = empty(x.shape, self.dtype)
        np.multiply(bits.reshape(x.shape) < kept, self.dtype.type(65536 / max(kept, 1)), out=mask)
        y = np.multiply(x, mask, out=empty(x.shape, self.dtype))
        return y, None, DropoutTape(x.shape, mask) if record else None

    def backward(self, dy: Array, tape: Any, dstate: State = None) -> tuple[Array, State]:
        self.require_tape(tape)
        check_array("dy", dy, self.dtype, "TBF"[-len(tape.shape) :], tape.shape)
        if tape.mask is None:
            return dy, None
        return np.multiply(dy, tape.mask, out=empty(tape.shape, self.dtype)), None
