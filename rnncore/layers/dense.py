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
from .activation import Function
from .base import Array, Layer, State


@brief
@dataclass(slots=True)
class DenseTape:
    """The input, (T, B, I) or (B, I), zero in the padding, and the rows' lengths (B,) or None."""

    x: Array
    lengths: NDArray[np.intp] | None
    values: Array | None = None  # (T, B, O) or (B, O): what the activation's derivative follows from


class Dense(Layer):
    """y = f(x W' + b) at every step: what other libraries call a time-distributed dense layer.

    Parameters
    ----------
    in_features, out_features
        I and O, at least 1. ``weight (O, I)`` starts Glorot uniform, ``bias (O,)`` zero.
    activation, alpha
        f and its alpha, as of `Activation`. With ``"prelu"`` there are slopes ``slope (O,)`` too.

    Notes
    -----
    x is ``(T, B, I)`` or, after a pooling layer, ``(B, I)``. In the padding y is that of x = 0, and dy
    counts for nothing. With an activation the tape may hold y itself; leave it as it is until
    `backward` is done. `CrossEntropy` and `BinaryCrossEntropy` have softmax and sigmoid inside: use
    identity with them (a log_softmax changes nothing).
    """

    takes_rows = True
    tape_type = DenseTape
    backend: ModuleType = kernels
    #: weights packed for many forward passes, or None
    panels: Array | None = None

    def __init__(
        self, in_features: int, out_features: int, activation: str = "identity", alpha: float | None = None
    ) -> None:
        super().__init__()
        self.in_features = check_size("in_features", in_features)
        self.out_features = check_size("out_features", out_features)
        self.function = Function(activation, alpha)

    def config(self) -> dict[str, Any]:
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        return sizes | ({} if self.function.name == "identity" else self.function.config())

    def features(self) -> tuple[int | None, int | None]:
        return self.in_features, self.out_features

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        slopes = {"slope": (self.out_features,)} if self.function.learned else {}
        return {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)} | slopes

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        initializers.glorot_uniform(params["weight"], rng)
        if self.function.learned:
            params["slope"].fill(self.function.alpha)

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, DenseTape | None]:
        self.require_bound()
        steps = getattr(x, "ndim", 3) != 2
        axes = "TBI" if steps else "BI"
        x = check_array("x", x, self.dtype, axes, (*(None,) * (len(axes) - 1), self.in_features))
        checked = check_lengths(lengths, *x.shape[:2]) if steps else None
        x = zero_padding(x, checked)
        y = empty((*x.shape[:-1], self.out_features), self.dtype)
        rows = x.reshape(-1, self.in_features)
        panels = self.panels
        self.backend.dense_forward(
            rows, self.params["weight"], self.params["bias"], y.reshape(-1, self.out_features),
            self._scratch() if panels is None else panels, panels,
        )  # fmt: skip
        y, values = self.function.forward(self.backend, y, self.params, record)
        return y, None, DenseTape(x, checked, values) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        shape = *tape.x.shape[:-1], self.out_features
        dy = check_array("dy", dy, self.dtype, "TBO"[3 - tape.x.ndim :], shape)
        dy = zero_padding(dy, tape.lengths)
        dy = self.function.backward(self.backend, tape.values, dy, self.params, self.grads)
        rows, x = dy.reshape(-1, self.out_features), tape.x.reshape(-1, self.in_features)
        dx = empty(tape.x.shape, self.dtype) if input_gradient else None
        self.backend.dense_backward(
            rows, x, self.params["weight"], None if dx is None else dx.reshape(-1, self.in_features),
            self.grads["weight"], self.grads["bias"], self._scratch(),
        )  # fmt: skip
        return dx, None

    def fits(self, tape: Any) -> bool:
        same = (tape.values is None) == (self.function.name == "identity")
        if tape.values is not None:
            same = same and tape.values.shape == (*tape.x.shape[:-1], self.out_features)
        return bool(same and tape.x.shape[-1] == self.in_features and tape.x.dtype == self.dtype)

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
