"""Activations and their gradients: x, y, dy, dx (N, F); the kinds are numbered as in ``NAMES``.

    sigmoid        1 / (1 + e^-x)                     tanh          tanh x
    relu           max(x, 0)                          leaky_relu    x, or alpha x below 0  (Maas et al., 2013)
    elu            x, or alpha (e^x - 1) below 0      (Clevert et al., 2016)
    gelu           x P(N(0, 1) <= x)                  (Hendrycks & Gimpel, 2016)
    gelu_tanh      x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), its approximation in the same paper
    silu           x sigmoid(x)                       softplus      log(1 + e^x)
    softsign       x / (1 + |x|)                      hard_sigmoid  alpha x + 1/2 within 0..1
    prelu          x, or slope[f] x below 0           (He et al., 2015)
    softmax        e^x[f] / sum over the row          log_softmax   x[f] - log sum e^x
"""

import math

import numpy as np

from .recurrence import sigmoid

NAMES = (
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus",
    "softsign", "hard_sigmoid", "prelu", "softmax", "log_softmax",
)  # fmt: skip
erfc = np.vectorize(math.erfc, otypes=[float])
ROOT = math.sqrt(2 / math.pi)


def activate(kind, alpha, x, y, slopes=None):
    """y = f(x)."""
    y[...] = VALUES[NAMES[kind]](x, alpha if slopes is None else slopes)


def activate_backward(kind, alpha, values, dy, dx, slopes=None, dslopes=None):
    """dx = f'(x) dy, and sums into dslopes; values are y where ``rnncore.layers.activation`` keeps that, else
    x."""
    name = NAMES[kind]
    if name == "softmax":
        dx[...] = values * (dy - (dy * values).sum(axis=1, keepdims=True))
    elif name == "log_softmax":
        dx[...] = dy - np.exp(values) * dy.sum(axis=1, keepdims=True)
    else:
        if dslopes is not None:
            dslopes += np.where(values < 0, values * dy, 0).sum(axis=0)
        dx[...] = dy * SLOPES[name](values, alpha if slopes is None else slopes)


def normal_below(x):
    """P(N(0, 1) <= x)."""
    return 0.5 * erfc(-x / math.sqrt(2))


def softmax(x, _):
    """e^x over its sum, row by row."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_softmax(x, _):
    """The logarithm of softmax."""
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def gelu_tanh_slope(x, _):
    """The derivative of gelu_tanh."""
    t = np.tanh(ROOT * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * x * x)


VALUES = {
    "identity": lambda x, a: x,
    "sigmoid": lambda x, a: sigmoid(x),
    "tanh": lambda x, a: np.tanh(x),
    "relu": lambda x, a: np.where(x < 0, 0, x),
    "leaky_relu": lambda x, a: np.where(x < 0, a * x, x),
    "elu": lambda x, a: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
    "gelu": lambda x, a: x * normal_below(x),
    "gelu_tanh": lambda x, a: 0.5 * x * (1 + np.tanh(ROOT * (x + 0.044715 * x**3))),
    "silu": lambda x, a: x * sigmoid(x),
    "softplus": lambda x, a: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "softsign": lambda x, a: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x, a: np.clip(a * x + 0.5, 0, 1),
    "prelu": lambda x, a: np.where(x < 0, a * x, x),
    "softmax": softmax,
    "log_softmax": log_softmax,
}
SLOPES = {
    "identity": lambda x, a: 1,
    "sigmoid": lambda y, a: y * (1 - y),
    "tanh": lambda y, a: 1 - y * y,
    "relu": lambda y, a: y > 0,
    "leaky_relu": lambda x, a: np.where(x > 0, 1, a),
    "elu": lambda x, a: np.where(x > 0, 1, a * np.exp(np.minimum(x, 0))),
    "gelu": lambda x, a: normal_below(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
    "gelu_tanh": gelu_tanh_slope,
    "silu": lambda x, a: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    "softplus": lambda x, a: sigmoid(x),
    "softsign": lambda x, a: 1 / (1 + np.abs(x)) ** 2,
    "hard_sigmoid": lambda y, a: np.where((y > 0) & (y < 1), a, 0),
    "prelu": lambda x, a: np.where(x > 0, 1, a),
}
