"""The dense layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import initializers, kernels
from ..brief import brief
from ..checks import check_array, check_lengths, check_size, zero_padding
from ..kernels.memory import empty
from .base import Array, Layer, State


@brief
@dataclass(slots=True)
class DenseTape:
    """The input, (T, B, I) or (B, I), zero in the padding, and the rows' lengths (B,) or None."""

    x: Array
    lengths: NDArray[np.intp] | None


class Dense(Layer):
    """y = x W' + b at every step.

    Parameters
    ----------
    in_features, out_features
        I and O, at least 1. ``weight (O, I)`` starts Glorot uniform, ``bias (O,)`` zero.

    Notes
    -----
    x is ``(T, B, I)`` or, behind a pooling layer, ``(B, I)``. In the padding y is the bias, and dy counts for
    nothing.
    """

    takes_rows = True
    tape_type = DenseTape
    backend: ModuleType = kernels
    #: weights packed for many forward passes, or None
    panels: Array | None = None

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = check_size("in_features", in_features)
        self.out_features = check_size("out_features", out_features)

    def config(self) -> dict[str, Any]:
        return {"in_features": self.in_features, "out_features": self.out_features}

    def features(self) -> tuple[int | None, int | None]:
        return self.in_features, self.out_features

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        initializers.glorot_uniform(params["weight"], rng)

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, DenseTape | None]:
        self.require_bound()
        steps = getattr(x, "ndim", 3) != 2
        axes = "TBI" if steps else "BI"
        check_array("x", x, self.dtype, axes, (*(None,) * (len(axes) - 1), self.in_features))
        checked = check_lengths(lengths, *x.shape[:2]) if steps else None
        x = zero_padding(x, checked)
        y = empty((*x.shape[:-1], self.out_features), self.dtype)
        rows = x.reshape(-1, self.in_features)
        panels = self.panels
        self.backend.dense_forward(
            rows, self.params["weight"], self.params["bias"], y.reshape(-1, self.out_features),
            self._scratch() if panels is None else panels, panels,
        )  # fmt: skip
        return y, None, DenseTape(x, checked) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        check_array("dy", dy, self.dtype, "TBO"[3 - tape.x.ndim :], (*tape.x.shape[:-1], self.out_features))
        dy = zero_padding(dy, tape.lengths)
        rows, x = dy.reshape(-1, self.out_features), tape.x.reshape(-1, self.in_features)
        dx = empty(tape.x.shape, self.dtype) if input_gradient else None
        self.backend.dense_backward(
            rows, x, self.params["weight"], None if dx is None else dx.reshape(-1, self.in_features),
            self.grads["weight"], self.grads["bias"], self._scratch(),
        )  # fmt: skip
        return dx, None

    def fits(self, tape: Any) -> bool:
        return bool(tape.x.shape[-1] == self.in_features and tape.x.dtype == self.dtype)

    def pack(self) -> None:
        panels = self._scratch()
        self.backend.pack_dense(self.params["weight"], self.params["bias"], panels)
        self.panels = panels

    def unpack(self) -> None:
        self.panels = None

    def _scratch(self) -> Array:
        """Working memory for the kernels, (N,)."""
        size = self.backend.dense_scratch_size(self.in_features, self.out_features, self.dtype)
        scratch: Array = empty((size,), self.dtype)
        return scratch
