"""LSTM and GRU with layer normalization, and the LSTM with a projection."""

from __future__ import annotations

from typing import Any

from ..checks import check_flag, check_number, check_size
from .cell import Cell
from .functions import sigmoid, tanh
from .values import Value


class _Normalized(Cell):
    """A cell whose gates' sums are normalized over the units."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        separate: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.separate = check_flag("separate", separate)

    def _sum(self, name: str, x: Value, h: Value, bias: float = 0.0) -> Value:
        """LN(W x) + LN(U h), or LN(W x + U h)."""
        if not self.separate:
            return self.layer_norm(name, self.linear(name, x, h, bias=False), bias=bias)
        above = self.layer_norm(f"{name}_x", self.linear(f"{name}_x", x, bias=False), bias=bias)
        return above + self.layer_norm(f"{name}_h", self.linear(f"{name}_h", h, bias=False))


class LayerNormLSTM(_Normalized):
    """LSTM with layer normalization (Ba, Kiros & Hinton, 2016).

    i, f, g, o = LN(W x[t]) + LN(U h[t-1]) for each gate;
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g);
    h[t] = sigmoid(o) tanh(LN(c[t]))

    where LN(v) = gain (v - mean(v)) / sqrt(var(v) + 1e-5) + bias over the units. Use it where an LSTM trains
    slowly or its states drift on long sequences; it bears higher learning rates and needs no tuned initial
    weights.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    forget_bias
        Initial bias of the forget gate.
    separate
        True: the two products are normalized one by one, as in the paper. False: their sum is, LN(W x + U h),
        as in TensorFlow's ``LayerNormBasicLSTMCell``, with four normalizations less a step.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, c), each ``(B, H)``; c is kept as it is before its normalization. Each gate has
    statistics of its own, where the paper takes them over all four gates at once.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        separate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, separate, **kwargs)
        self.forget_bias = check_number("forget_bias", forget_bias)

    def step(self, x: Value, h: Value, c: Value) -> tuple[Value, Value]:
        i = sigmoid(self._sum("i", x, h))
        f = sigmoid(self._sum("f", x, h, self.forget_bias))
        g = tanh(self._sum("g", x, h))
        o = sigmoid(self._sum("o", x, h))
        c = f * c + i * g
        return o * tanh(self.layer_norm("c", c)), c


class LayerNormGRU(_Normalized):
    """GRU with layer normalization (Ba, Kiros & Hinton, 2016).

    r = sigmoid(LN(W_r x[t]) + LN(U_r h[t-1]));
    z = sigmoid(LN(W_z x[t]) + LN(U_z h[t-1]));
    n = tanh(LN(W_n x[t]) + r LN(U_n h[t-1]));
    h[t] = (1 - z) n + z h[t-1]

    where LN(v) = gain (v - mean(v)) / sqrt(var(v) + 1e-5) + bias over the units. Use it where a GRU trains
    slowly or depends on its initial weights.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    separate
        True: the two products of r and z are normalized one by one, as in the paper. False: their sums are,
        LN(W x + U h), with two normalizations less a step. Those of n always are one by one.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``; z keeps the old state, as in `GRU`, where the paper's keeps the new one.
    """

    def __init__(self, input_size: int, hidden_size: int, separate: bool = True, **kwargs: Any) -> None:
        super().__init__(input_size, hidden_size, separate, **kwargs)

    def step(self, x: Value, h: Value) -> Value:
        r, z = sigmoid(self._sum("r", x, h)), sigmoid(self._sum("z", x, h))
        from_x = self.layer_norm("n_x", self.linear("n_x", x, bias=False))
        from_h = self.layer_norm("n_h", self.linear("n_h", h, bias=False))
        n = tanh(from_x + r * from_h)
        return (1 - z) * n + z * h


class ProjectedLSTM(Cell):
    """LSTM with a recurrent projection (Sak, Senior & Beaufays, 2014): PyTorch's ``proj_size``.

    i, f, g, o = W x[t] + U h[t-1] + b, one after the other;
    c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g);
    h[t] = W_hr (sigmoid(o) tanh(c[t]))

    A large memory behind a narrow output: recurrent products shrink from 4 H^2 to 5 H P. Use it from some
    hundreds of units on, where an LSTM's products are what costs.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    proj_size
        P, the units of h and of the output.
    forget_bias
        Initial bias of the forget gate.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, c), ``(B, P)`` and ``(B, H)``. ``weight_hh`` is ``(4 H, P)``, ``weight_hr`` ``(P, H)``,
    as in PyTorch.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        proj_size: int,
        forget_bias: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.proj_size = check_size("proj_size", proj_size)
        self.forget_bias = check_number("forget_bias", forget_bias)

    def state_sizes(self) -> tuple[int, ...]:
        return self.proj_size, self.hidden_size

    def step(self, x: Value, h: Value, c: Value) -> tuple[Value, Value]:
        i = sigmoid(self.linear("i", x, h))
        f = sigmoid(self.linear("f", x, h, bias=self.forget_bias))
        g = tanh(self.linear("g", x, h))
        o = sigmoid(self.linear("o", x, h))
        c = f * c + i * g
        return self.linear("hr", o * tanh(c), size=self.proj_size, bias=False), c
