"""Activations: the layer, and what a dense layer shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from ..brief import brief
from ..checks import check_array, check_lengths, check_number, check_size, zero_padding
from ..kernels.memory import empty
from .base import Array, Layer, State

#: in the order in which the kernels number them
FUNCTIONS = (
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus",
    "softsign", "hard_sigmoid", "prelu", "softmax", "log_softmax",
)  # fmt: skip
#: those that have an alpha, and its default
ALPHAS = {"leaky_relu": 0.01, "elu": 1.0, "hard_sigmoid": 1 / 6, "prelu": 0.25}
#: those whose derivative follows from y, so that x need not be kept
FROM_OUTPUT = frozenset({"sigmoid", "tanh", "relu", "hard_sigmoid", "softmax", "log_softmax"})


class Function:
    """An activation with its alpha, as the kernels take it."""

    def __init__(self, name: Any, alpha: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"activation is {name!r}; expected one of {', '.join(FUNCTIONS)}")
        if name not in FUNCTIONS:
            raise ValueError(f"activation is {name!r}; expected one of {', '.join(FUNCTIONS)}")
        if alpha is not None and name not in ALPHAS:
            raise ValueError(f"alpha is {alpha!r}, but {name} has none; only {', '.join(ALPHAS)} have")
        self.name = name
        self.number = FUNCTIONS.index(name)
        self.alpha = ALPHAS.get(name, 0.0) if alpha is None else check_number("alpha", alpha)
        self.from_output = name in FROM_OUTPUT
        self.learned = name == "prelu"

    def config(self) -> dict[str, Any]:
        """The arguments that make it, without alpha where that is the default."""
        given = self.alpha != ALPHAS.get(self.name, 0.0)
        return {"activation": self.name} | ({"alpha": self.alpha} if given else {})

    def forward(
        self, backend: ModuleType, x: Array, params: Mapping[str, Array], keep: bool
    ) -> tuple[Array, Array | None]:
        """y of x's shape, in x itself unless ``keep``; and what `backward` wants to see."""
        if self.name == "identity":
            return x, None
        y = empty(x.shape, x.dtype) if keep and not self.from_output else x
        backend.activate(self.number, self.alpha, _rows(x), _rows(y), params.get("slope"))
        return y, (y if self.from_output else x).view()  # the caller's own may be given another shape

    def backward(
        self,
        backend: ModuleType,
        values: Array | None,
        dy: Array,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
    ) -> Array:
        """A new dx; adds into ``grads["slope"]``, where there are such."""
        if values is None:
            return dy
        dx = empty(dy.shape, dy.dtype)
        slopes = params.get("slope"), grads.get("slope")
        backend.activate_backward(self.number, self.alpha, _rows(values), _rows(dy), _rows(dx), *slopes)
        return dx


def _rows(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


@brief
@dataclass(slots=True)
class ActivationTape:
    """x or, where the derivative follows from it, y, (T, B, F) or (B, F); the rows' lengths (B,) or None."""

    values: Array
    lengths: NDArray[np.intp] | None


class Activation(Layer):
    """y = f(x), entry by entry, at every step; softmax and log_softmax over the features of a step.

    Parameters
    ----------
    activation
        ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"gelu"``, ``"gelu_tanh"`` (its
        approximation by tanh), ``"silu"`` (swish), ``"softplus"``, ``"softsign"``, ``"hard_sigmoid"``,
        ``"prelu"``, ``"softmax"``, ``"log_softmax"`` or ``"identity"``. docs/equations.md has them.
    features
        F; None for any number. A prelu, whose slopes are parameters, ``slope (F,)``, needs it.
    alpha
        The slope below 0 of a leaky_relu (0.01), the height of an elu (1), the slope of a hard_sigmoid (1/6
        as in PyTorch and Keras 3; 0.2 in Keras 2 and ONNX's default), the initial slopes of a prelu (0.25).
        None for the defaults; the other functions have none.

    Notes
    -----
    x is ``(T, B, F)`` or, after a pooling layer, ``(B, F)``. In the padding x counts as 0, so that y is f(0)
    there, and dy counts for nothing. The tape of some functions holds y itself: leave it as it is until
    `backward` is done.
    """

    takes_rows = True
    tape_type = ActivationTape
    backend: ModuleType = kernels

    def __init__(self, activation: str, features: int | None = None, alpha: float | None = None) -> None:
        super().__init__()
        self.function = Function(activation, alpha)
        self.in_features = None if features is None else check_size("features", features)
        if self.function.learned and features is None:
            raise ValueError("features is None, but a prelu has a slope for each feature: say how many")

    def config(self) -> dict[str, Any]:
        given = {} if self.in_features is None else {"features": self.in_features}
        return self.function.config() | given

    def features(self) -> tuple[int | None, int | None]:
        return self.in_features, self.in_features

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"slope": (self.in_features or 0,)} if self.function.learned else {}

    def initialize(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        if self.function.learned:
            params["slope"].fill(self.function.alpha)

    def forward(
        self, x: Array, state: State = None, lengths: Any = None, record: bool = True
    ) -> tuple[Array, State, ActivationTape | None]:
        self.require_bound()
        steps = getattr(x, "ndim", 3) != 2
        axes = "TBF" if steps else "BF"
        x = check_array("x", x, self.dtype, axes, (*(None,) * (len(axes) - 1), self.in_features))
        checked = check_lengths(lengths, *x.shape[:2]) if steps else None
        x = zero_padding(x, checked)
        y = empty(x.shape, self.dtype)
        number, alpha = self.function.number, self.function.alpha
        self.backend.activate(number, alpha, _rows(x), _rows(y), self.params.get("slope"))
        values = (y if self.function.from_output else x).view()
        return y, None, ActivationTape(values, checked) if record else None

    def backward(
        self, dy: Array, tape: Any, dstate: State = None, input_gradient: bool = True
    ) -> tuple[Array | None, State]:
        self.check_tape("tape", tape)
        dy = check_array("dy", dy, self.dtype, "TBF"[3 - tape.values.ndim :], tape.values.shape)
        if not input_gradient and not self.params:
            return None, None
        dy = zero_padding(dy, tape.lengths)
        dx = self.function.backward(self.backend, tape.values, dy, self.params, self.grads)
        return dx if input_gradient else None, None

    def fits(self, tape: Any) -> bool:
        return bool(self.in_features in (None, tape.values.shape[-1]) and tape.values.dtype == self.dtype)
