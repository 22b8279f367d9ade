"""The functions that a cell's equation may use, under the names of NumPy and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .values import CellError, Value


def _value(name: str, value: Any) -> Value:
    if not isinstance(value, Value):
        raise CellError(f"{name} of rnncore.cells takes a symbolic value of a cell's step, got {value!r}")
    return value


def _pair(name: str, a: Any, b: Any) -> Value:
    """The first symbolic one of two."""
    return _value(name, a if isinstance(a, Value) else b)


def sigmoid(v: Value) -> Value:
    """1 / (1 + e^-v)."""
    return _value("sigmoid", v).graph.make("sigmoid", v)


def tanh(v: Value) -> Value:
    """The hyperbolic tangent."""
    return _value("tanh", v).graph.make("tanh", v)


def relu(v: Value) -> Value:
    """max(v, 0)."""
    return _value("relu", v).graph.make("relu", v)


def leaky_relu(v: Value, negative_slope: float = 0.01) -> Value:
    """v, or ``negative_slope`` times v below 0."""
    return where(_value("leaky_relu", v) < 0, negative_slope * v, v)


def elu(v: Value, alpha: float = 1.0) -> Value:
    """v, or alpha (e^v - 1) below 0 (Clevert, Unterthiner & Hochreiter, 2016)."""
    return where(_value("elu", v) < 0, alpha * (exp(minimum(v, 0)) - 1), v)


def softplus(v: Value) -> Value:
    """log(1 + e^v), without overflow."""
    return maximum(_value("softplus", v), 0) + v.graph.make("log1p", exp(-abs_(v)))


def softsign(v: Value) -> Value:
    """v / (1 + |v|)."""
    return _value("softsign", v) / (1 + abs_(v))


def hard_sigmoid(v: Value, slope: float = 1 / 6) -> Value:
    """slope v + 1/2 within 0 and 1: 1/6 is the slope of PyTorch and Keras 3, 0.2 of Keras 1, 2 and ONNX."""
    return clip(slope * _value("hard_sigmoid", v) + 0.5, 0, 1)


def gelu(v: Value) -> Value:
    """v times the normal distribution function of v (Hendrycks & Gimpel, 2016)."""
    return 0.5 * _value("gelu", v) * (1 + v.graph.make("erf", v * math.sqrt(0.5)))


def silu(v: Value) -> Value:
    """v sigmoid(v)."""
    return _value("silu", v) * sigmoid(v)


def identity(v: Value) -> Value:
    """v."""
    return _value("identity", v)


def exp(v: Value) -> Value:
    """e^v; beyond ±87 (float32) or ±708 (float64) what it is there."""
    return _value("exp", v).graph.make("exp", v)


def log(v: Value) -> Value:
    """The natural logarithm."""
    return _value("log", v).graph.make("log", v)


def sqrt(v: Value) -> Value:
    """The square root."""
    return _value("sqrt", v).graph.make("sqrt", v)


def abs_(v: Value) -> Value:
    """The absolute value; ``abs(v)`` is the same."""
    return _value("abs_", v).graph.make("abs", v)


def sin(v: Value) -> Value:
    """The sine."""
    return _value("sin", v).graph.make("sin", v)


def cos(v: Value) -> Value:
    """The cosine."""
    return _value("cos", v).graph.make("cos", v)


def maximum(a: Value | float, b: Value | float) -> Value:
    """The larger of two; where both are equal, the gradient is the first one's."""
    return _pair("maximum", a, b).graph.make("maximum", a, b)


def minimum(a: Value | float, b: Value | float) -> Value:
    """The smaller of two; where both are equal, the gradient is the first one's."""
    return _pair("minimum", a, b).graph.make("minimum", a, b)


def clip(v: Value, low: float, high: float) -> Value:
    """v within low and high."""
    return minimum(maximum(_value("clip", v), low), high)


def where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """a where the condition, such as ``u < v``, holds, else b."""
    if not isinstance(condition, Value):
        raise CellError(f"where takes a comparison of symbolic values, such as u < v, got {condition!r}")
    return condition.graph.make("where", condition, a, b)


def mean(v: Value) -> Value:
    """The mean over the units, one number for all of them."""
    return _value("mean", v).graph.make("mean", v)


#: activations by name, for the options of cells
ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "relu": relu,
    "identity": identity,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "softplus": softplus,
    "softsign": softsign,
    "hard_sigmoid": hard_sigmoid,
    "gelu": gelu,
    "silu": silu,
}
