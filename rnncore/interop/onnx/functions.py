"""Activations as ONNX nodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...layers.activation import Function

#: activations that are one operator, without and with our alpha
SIMPLE = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softplus": "Softplus", "softsign": "Softsign",
}  # fmt: skip
WITH_ALPHA = {"leaky_relu": "LeakyRelu", "elu": "Elu", "hard_sigmoid": "HardSigmoid"}
OVER_ROWS = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}


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
