"""Regularizers: each adds the gradient of its penalty to a network's gradients and returns the penalty."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, ClassVar

from . import kernels
from .params import Array, Params


class _WeightPenalty:
    """A penalty on the numbers of chosen parameters, one by one."""

    kernel: ClassVar[str]
    backend: ModuleType = kernels

    def __init__(self, strength: float, parameters: Iterable[str] | None = None) -> None:
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength is {strength}, but a finite number of at least 0 is wanted")
        if isinstance(parameters, str):
            parameters = (parameters,)
        self.strength = float(strength)
        self.parameters = None if parameters is None else tuple(parameters)
        self._chosen: tuple[Params, Params, list[tuple[Array, Array]]] | None = None

    def names(self, params: Params) -> list[str]:
        """The parameters it acts on.

        Raises
        ------
        ValueError
            If a pattern matches none.
        """
        if self.parameters is None:
            return [name for name, view in params.items() if view.ndim == 2]
        for pattern in self.parameters:
            if not any(fnmatchcase(name, pattern) for name in params):
                raise ValueError(f"parameters hold {pattern!r}, which matches none of {', '.join(params)}")
        return [name for name in params if any(fnmatchcase(name, pattern) for pattern in self.parameters)]

    def __call__(self, params: Params, grads: Params) -> float:
        # The same two Params come at every step: their views are looked up once.
        if self._chosen is None or self._chosen[0] is not params or self._chosen[1] is not grads:
            views = [(params[name].reshape(-1), grads[name].reshape(-1)) for name in self.names(params)]
            self._chosen = params, grads, views
        penalty = getattr(self.backend, self.kernel)
        return float(sum(penalty(weights, dweights, self.strength) for weights, dweights in self._chosen[2]))

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON can hold them."""
        return {
            "strength": self.strength,
            "parameters": None if self.parameters is None else list(self.parameters),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.strength!r}, parameters={self.parameters!r})"


class L1(_WeightPenalty):
    """strength sum |w|; its gradient is strength sign(w), 0 at w = 0.

    Parameters
    ----------
    strength
        Finite, at least 0.
    parameters
        Name patterns such as ``"*.weight_hh"`` or ``"0.*"``; None means every matrix, that is no bias.
    """

    kernel = "l1_penalty"


class L2(_WeightPenalty):
    """strength / 2 sum w²; its gradient is strength w, which PyTorch calls weight decay.

    Parameters as for L1.
    """

    kernel = "l2_penalty"
