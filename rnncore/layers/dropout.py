"""The dropout layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..brief import brief
from ..checks import check_array
from ..kernels.float_state import flushing
from ..kernels.memory import empty
from .base import Array, Layer, State
from .masks import check_probability, draw_mask


@brief
@dataclass(slots=True)
class DropoutTape:
    """The shape of x, and its factors, 0 or 1/(1-p) an entry; None where nothing was dropped."""

    shape: tuple[int, ...]
    mask: Array | None  # of x's shape, or (B, F) where it is the same at every step


class Dropout(Layer):
    """Zeroes entries with probability p while training, scales others by 1/(1-p) (Srivastava et al., 2014).

    Parameters
    ----------
    p
        In [0, 1). The draws come from the network's generator. In evaluation x passes unchanged.
    variational
        Draw once a forward pass for each row and feature, and drop the same ones at every step (Gal &
        Ghahramani, 2016); else every step draws anew.
    """

    takes_rows = True
    tape_type = DropoutTape

    def __init__(self, p: float = 0.5, variational: bool = False) -> None:
        super().__init__()
        self.p = check_probability("p", p)
        if not isinstance(variational, bool):
            raise TypeError(f"variational is {variational!r}, but True or False is wanted")
        self.variational = variational

    def config(self) -> dict[str, Any]:
        return {"p": self.p, "variational": True} if self.variational else {"p": self.p}

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, DropoutTape | None]:
        self.require_bound()
        axes = "BF" if getattr(x, "ndim", 3) == 2 else "TBF"
        x = check_array("x", x, self.dtype, axes, (None,) * len(axes))
        if not self.training or not self.p:
            return x, None, DropoutTape(x.shape, None) if record else None
        assert self.rng is not None
        mask = draw_mask(x.shape[-2:] if self.variational else x.shape, self.p, self.dtype, self.rng)
        with flushing():
            y = np.multiply(x, mask, out=empty(x.shape, self.dtype))
        return y, None, DropoutTape(x.shape, mask) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        dy = check_array("dy", dy, self.dtype, "TBF"[-len(tape.shape) :], tape.shape)
        if not input_gradient:
            return None, None
        if tape.mask is None:
            return dy, None
        with flushing():
            return np.multiply(dy, tape.mask, out=empty(tape.shape, self.dtype)), None
