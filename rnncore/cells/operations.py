"""What values are made of: each operation beside its derivative and its meaning in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .values import Value

# Of a value y = f(a, b, ...) and the gradient d in it: the gradient in each argument, None where there is
# none.
Back = Callable[..., tuple[Value | None, ...]]


@dataclass(frozen=True, slots=True)
class Operation:
    """``back(d, y, *args)`` is the derivative; ``evaluate(*arrays)`` the same in NumPy."""

    back: Back
    evaluate: Callable[..., Any]
    #: whether to compute it again on the way back costs more than to keep it
    dear: bool = False


def _where(condition: Value, a: Any, b: Any) -> Value:
    return condition.graph.make("where", condition, a, b)


def _make(op: str, *args: Any) -> Value:
    graph = next(arg.graph for arg in args if isinstance(arg, Value))
    return graph.make(op, *args)


def _only_backward(*args: Any) -> tuple[Value | None, ...]:
    raise NotImplementedError("the end of a derivation, which is not derived once more")


_erf = np.vectorize(math.erf, otypes=[float])

OPERATIONS: dict[str, Operation] = {
    "add": Operation(lambda d, y, a, b: (d, d), np.add),
    "subtract": Operation(lambda d, y, a, b: (d, -d), np.subtract),
    "multiply": Operation(lambda d, y, a, b: (d * b, d * a), np.multiply),
    "divide": Operation(lambda d, y, a, b: (d / b, -(d / b) * y), np.divide, dear=True),
    "negate": Operation(lambda d, y, a: (-d,), np.negative),
    "maximum": Operation(lambda d, y, a, b: (_where(a < b, 0, d), _where(a < b, d, 0)), np.maximum),
    "minimum": Operation(lambda d, y, a, b: (_where(b < a, 0, d), _where(b < a, d, 0)), np.minimum),
    "less": Operation(lambda d, y, a, b: (None, None), lambda a, b: (a < b) * 1.0),
    "where": Operation(
        lambda d, y, c, a, b: (None, _where(c, d, 0), _where(c, 0, d)), lambda c, a, b: np.where(c, a, b)
    ),
    "sigmoid": Operation(
        lambda d, y, a: (_make("sigmoid_back", d, y),), lambda a: np.exp(-np.logaddexp(0, -a)), dear=True
    ),
    "tanh": Operation(lambda d, y, a: (_make("tanh_back", d, y),), np.tanh, dear=True),
    "sigmoid_back": Operation(_only_backward, lambda a, b: a * b * (1 - b)),
    "tanh_back": Operation(_only_backward, lambda a, b: a * (1 - b * b)),
    "relu": Operation(lambda d, y, a: (_where(y > 0, d, 0),), lambda a: np.maximum(a, 0)),
    "exp": Operation(lambda d, y, a: (d * y,), np.exp, dear=True),
    "log": Operation(lambda d, y, a: (d / a,), np.log, dear=True),
    "log1p": Operation(lambda d, y, a: (d / (1 + a),), np.log1p, dear=True),
    "sqrt": Operation(lambda d, y, a: (0.5 * d / y,), np.sqrt, dear=True),
    "abs": Operation(lambda d, y, a: (_where(a < 0, -d, d),), np.abs),
    "sin": Operation(lambda d, y, a: (d * _make("cos", a),), np.sin, dear=True),
    "cos": Operation(lambda d, y, a: (-d * _make("sin", a),), np.cos, dear=True),
    "erf": Operation(
        lambda d, y, a: (d * (2 / math.sqrt(math.pi)) * _make("exp", -(a * a)),), _erf, dear=True
    ),
    # The gradient that arrives is of the one number; each of the units has its share of it.
    "mean": Operation(
        lambda d, y, a: (d * (1 / a.width),), lambda a: np.mean(a, -1, keepdims=True), dear=True
    ),
}
