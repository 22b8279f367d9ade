"""Cells with more in a step than one layer: several layers deep, or gates that are exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_number, check_positive_integer
from .cell import Cell
from .functions import exp, maximum, sigmoid, softplus, tanh
from .values import Value


class RHN(Cell):
    """Recurrent highway network (Zilly, Srivastava, Koutnik & Schmidhuber, 2017).

    s = h[t-1]; then, for each level l = 0 ... levels - 1:
    n = tanh(W_n x[t] (l = 0 only) + U_nl s + b_nl);
    g = sigmoid(W_g x[t] (l = 0 only) + U_gl s + b_gl);
    s = g n + (1 - g) s;
    h[t] = s of the last level

    Several gated layers from one step to the next. Use it for text and music, where what follows from a
    symbol takes more than one layer to work out. A step takes two products a level, one after the other.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    levels
        The recurrence depth, at least 1.
    gate_bias
        Initial bias of the gates; below 0, most of the state is carried on at first.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``. The carry gate is 1 - g, as in the paper's experiments.
    """

    def __init__(
        self, input_size: int, hidden_size: int, levels: int = 3, gate_bias: float = -2.0, **kwargs: Any
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.levels = check_positive_integer("levels", levels)
        self.gate_bias = check_number("gate_bias", gate_bias)

    def step(self, x: Value, h: Value) -> Value:
        for level in range(self.levels):
            seen = (x, h) if level == 0 else (h,)
            n = tanh(self.linear(f"n{level}", *seen))
            g = sigmoid(self.linear(f"g{level}", *seen, bias=self.gate_bias))
            h = g * n + (1 - g) * h
        return h


class SLSTM(Cell):
    """LSTM with exponential gates and a stabilizer, sLSTM (Beck et al., 2024).

    i, f, g, o = W x[t] + U h[t-1] + b, one after the other;
    m[t] = max(log(sigmoid(f)) + m[t-1], i);
    p = exp(log(sigmoid(f)) + m[t-1] - m[t]); q = exp(i - m[t]);
    c[t] = p c[t-1] + q tanh(g); n[t] = p n[t-1] + q;
    h[t] = sigmoid(o) c[t] / max(n[t], 1e-6)

    The input gate e^i has no upper bound, so that the cell can revise what it stored, and c is divided by the
    sum n of its weights. Use it where an LSTM does and what is to be kept becomes clear only later.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    forget_bias
        Pair of numbers: biases of the forget gates start evenly spaced from one to the other.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, c, n, m), each ``(B, H)``. m only keeps numbers in range and leaves h as it is; where n
    starts as 0 and the first input is very faint, 1e-6 stands for n. The paper's heads are not here: each
    gate sees all units.
    """

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: tuple[float, float] = (3.0, 6.0), **kwargs: Any
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        try:
            low, high = forget_bias
        except (TypeError, ValueError):
            raise ValueError(f"forget_bias is {forget_bias!r}; expected a pair of numbers") from None
        self.forget_bias = check_number("forget_bias[0]", low), check_number("forget_bias[1]", high)

    def _forget_biases(self, rng: np.random.Generator, size: int) -> NDArray[Any]:
        return np.linspace(*self.forget_bias, size)

    def step(self, x: Value, h: Value, c: Value, n: Value, m: Value) -> tuple[Value, Value, Value, Value]:
        i = self.linear("i", x, h)
        f = m - softplus(-self.linear("f", x, h, bias=self._forget_biases))  # log(sigmoid(f)) + m[t-1]
        g, o = tanh(self.linear("g", x, h)), sigmoid(self.linear("o", x, h))
        m = maximum(f, i)
        p, q = exp(f - m), exp(i - m)
        c, n = p * c + q * g, p * n + q
        return o * c / maximum(n, 1e-6), c, n, m
