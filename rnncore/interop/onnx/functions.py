"""Activations as ONNX nodes, and ONNX nodes as activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...layers import Activation
from ...layers.activation import Function

#: activations that are one operator, without and with our alpha
SIMPLE = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softplus": "Softplus", "softsign": "Softsign",
}  # fmt: skip
WITH_ALPHA = {"leaky_relu": "LeakyRelu", "elu": "Elu", "hard_sigmoid": "HardSigmoid"}
OVER_ROWS = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}

# ONNX's own alphas, where a node does not say one.
ALPHAS = {"LeakyRelu": 0.01, "Elu": 1.0, "HardSigmoid": 0.2}
#: attributes of the operators that are activations
ATTRIBUTES: dict[str, set[str]] = {
    **{name: set() for name in (*SIMPLE.values(), "PRelu")}, "LeakyRelu": {"alpha"}, "Elu": {"alpha"},
    "HardSigmoid": {"alpha", "beta"}, "LogSoftmax": {"axis"}, "Gelu": {"approximate"},
}  # fmt: skip


def make_activation(operator: str, attributes: dict[str, Any], features: int | None) -> Activation:
    """The layer of an operator of `ATTRIBUTES`; ``features`` are those of a PRelu.

    Raises
    ------
    ValueError
        If there is none with these attributes.
    """
    if operator == "PRelu":
        return Activation("prelu", features)
    if operator == "Gelu":
        way = attributes.get("approximate", b"none")
        if way not in (b"none", b"tanh"):
            raise ValueError(f"approximate is {way!r}, but 'none' or 'tanh' is expected")
        return Activation("gelu" if way == b"none" else "gelu_tanh")
    if operator in ALPHAS:
        if attributes.get("beta", 0.5) != 0.5:
            raise ValueError(f"beta is {attributes['beta']}, and the hard_sigmoid here has 0.5")
        name = next(ours for ours, theirs in WITH_ALPHA.items() if theirs == operator)
        return Activation(name, alpha=float(attributes.get("alpha", ALPHAS[operator])))
    names = {theirs: ours for ours, theirs in {**SIMPLE, **OVER_ROWS}.items()}
    return Activation(names[operator])


def add_function(writer: Any, function: Function, slope: str | None) -> None:
    """The nodes of an activation of ``writer.value``; ``slope`` names the slopes of a prelu."""
    name, x = function.name, writer.value
    if name in SIMPLE:
        writer.node(SIMPLE[name], [x])
    elif name in WITH_ALPHA:
        writer.node(WITH_ALPHA[name], [x], alpha=function.alpha)  # a HardSigmoid's beta is 1/2 by default
    elif name in OVER_ROWS:
        writer.node(OVER_ROWS[name], [x], axis=-1)
    elif name == "prelu":
        writer.node("PRelu", [x, slope])
    elif name == "silu":
        writer.node("Mul", [x, writer.node("Sigmoid", [x])])
    elif name == "gelu":
        scaled = writer.node("Mul", [x, _number(writer, "root_half", math.sqrt(0.5))])
        below = writer.node("Add", [writer.node("Erf", [scaled]), _number(writer, "whole", 1)])
        writer.node("Mul", [writer.node("Mul", [x, below]), _number(writer, "half", 0.5)])
    elif name == "gelu_tanh":
        square = writer.node("Mul", [x, x])
        cube = writer.node("Mul", [writer.node("Mul", [square, x]), _number(writer, "gelu_cube", 0.044715)])
        scale = _number(writer, "gelu_scale", 2 * math.sqrt(2 / math.pi))
        gate = writer.node("Sigmoid", [writer.node("Mul", [writer.node("Add", [x, cube]), scale])])
        writer.node("Mul", [x, gate])


def _number(writer: Any, name: str, value: float) -> str:
    constant: str = writer.constant(name, value, np.float32)
    return constant
