"""Cells whose units do not see each other from step to step: no recurrent product, and the speed of the
projection."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_flag, check_number
from .cell import Cell
from .functions import ACTIVATIONS, cos, exp, minimum, sigmoid, sin, sqrt, where
from .values import Value


class IndRNN(Cell):
    """Independently recurrent network (Li, Li, Cook, Zhu & Gao, 2018).

    h[t] = relu(W x[t] + u h[t-1] + b), u a vector

    Each unit has one recurrent weight, which is all that its gradient is multiplied by from step to step. Use
    it deep: several layers, over hundreds or thousands of steps.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    activation
        The name of a function of `rnncore.cells`, such as ``"tanh"``.
    longest
        The number of steps over which units should remember: u starts uniform in [0, 2^(1/longest)], so that
        nothing grows to more than twice itself over so many steps. None: in [0, 1].
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``; ``weight_u (H,)`` is u. The paper also keeps abs(u) below 2^(1/longest) while
    it trains; here nothing does.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "relu",
        longest: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.longest = None if longest is None else check_number("longest", longest)
        if self.longest is not None and self.longest < 1:
            raise ValueError(f"longest is {longest}; expected a number of steps, at least 1")

    def _recurrent(self, rng: np.random.Generator, size: int) -> NDArray[Any]:
        return rng.uniform(0.0, 1.0 if self.longest is None else 2.0 ** (1.0 / self.longest), size)

    def step(self, x: Value, h: Value) -> Value:
        u = self.vector("weight_u", self._recurrent)
        return ACTIVATIONS[self.activation](self.linear("a", x) + u * h)


class SRU(Cell):
    """Simple recurrent unit (Lei, Zhang, Wang, Dai & Artzi, 2018).

    f = sigmoid(W_f x[t] + v_f c[t-1] + b_f);
    r = sigmoid(W_r x[t] + v_r c[t-1] + b_r), v_f and v_r vectors;
    c[t] = f c[t-1] + (1 - f) W_c x[t];
    h[t] = r c[t] + (1 - r) alpha s[t], where s[t] is x[t] if I = H, else W_s x[t]

    A gated memory and a gated way around it, several times as fast as an LSTM on long sequences. Use it in
    stacks of several layers, which make up for what its units do not see of each other.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    peepholes
        Whether the gates see c[t-1]; False leaves out v_f and v_r, as in the paper's first version.
    highway_bias
        b, the initial bias of r, and alpha = sqrt(1 + 2 e^b); below 0, more of the input goes around the
        memory at first.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, c), each ``(B, H)``; no step reads h[t-1].
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        peepholes: bool = True,
        highway_bias: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.peepholes = check_flag("peepholes", peepholes)
        self.highway_bias = check_number("highway_bias", highway_bias)

    def step(self, x: Value, h: Value, c: Value) -> tuple[Value, Value]:
        f, r = self.linear("f", x), self.linear("r", x, bias=self.highway_bias)
        if self.peepholes:
            f, r = f + self.vector("weight_cf", _wide) * c, r + self.vector("weight_cr", _wide) * c
        f, r = sigmoid(f), sigmoid(r)
        c = f * c + (1 - f) * self.linear("c", x, bias=False)
        alpha = math.sqrt(1 + 2 * math.exp(self.highway_bias))
        s = x if self.input_size == self.hidden_size else self.linear("s", x, bias=False)
        return r * c + (1 - r) * (alpha * s), c


def _wide(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """What v_f and v_r start as in the authors' code: uniform with variance 1/2."""
    return rng.uniform(-math.sqrt(1.5), math.sqrt(1.5), size)


def _positive(v: Value) -> Value:
    """v + 1/2, or sigmoid(v) below 0: the function g of Feng et al., appendix B."""
    return where(v < 0, sigmoid(v), v + 0.5)


class _Minimal(Cell):
    """What MinGRU and MinLSTM share."""

    def __init__(self, input_size: int, hidden_size: int, positive: bool = False, **kwargs: Any) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.positive = check_flag("positive", positive)

    def _candidate(self, x: Value) -> Value:
        n = self.linear("n", x)
        return _positive(n) if self.positive else n


class MinGRU(_Minimal):
    """Minimal GRU (Feng et al., 2024): neither its gate nor its candidate sees the state.

    z = sigmoid(W_z x[t] + b_z);
    n = W_n x[t] + b_n;
    h[t] = (1 - z) h[t-1] + z n

    A learned weighted mean of the past, several times as fast as a GRU on long sequences. Use it in stacks
    with layers between that mix the units.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    positive
        Whether n goes through g(v) = v + 1/2, or sigmoid(v) below 0, as in the paper's version in log space:
        states that start at 0 or above stay there.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``.
    """

    def step(self, x: Value, h: Value) -> Value:
        z = sigmoid(self.linear("z", x))
        return (1 - z) * h + z * self._candidate(x)


class MinLSTM(_Minimal):
    """Minimal LSTM (Feng et al., 2024): gates of the input alone, which sum to 1.

    f = sigmoid(W_f x[t] + b_f); i = sigmoid(W_i x[t] + b_i);
    n = W_n x[t] + b_n;
    h[t] = f / (f + i) h[t-1] + i / (f + i) n

    Use it like MinGRU; its second gate lets it hold and take at once, at half as much again.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    positive
        As in MinGRU.
    forget_bias
        Initial bias of the forget gate.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``. f / (f + i) is computed as (1 + e^-b) / (2 + e^-a + e^-b), with f = sigmoid(a)
    and i = sigmoid(b), which does not divide 0 by 0 where both gates are shut.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        positive: bool = False,
        forget_bias: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, positive, **kwargs)
        self.forget_bias = check_number("forget_bias", forget_bias)

    def step(self, x: Value, h: Value) -> Value:
        a, b = self.linear("f", x, bias=self.forget_bias), self.linear("i", x)
        f, i = exp(minimum(-a, 80)), exp(minimum(-b, 80))
        keep = (1 + i) / (2 + f + i)
        return keep * h + (1 - keep) * self._candidate(x)


class DiagonalLRU(Cell):
    """Linear recurrent unit with a real diagonal (Orvieto et al., 2023).

    a = exp(-exp(nu)), a vector;
    h[t] = a h[t-1] + sqrt(1 - a^2) (W x[t] + b)

    Each unit is an exponential mean of its input with a learned decay, stable whatever nu is; the factor
    keeps the state's size whatever a is. Use it for long sequences, in stacks with nonlinear layers such as
    ``Dense`` between; `ComplexLRU` is the paper's own, whose units can also oscillate.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    r_min, r_max
        Decays a start between these, 0 <= r_min < r_max <= 1, uniform in their squares.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``. The paper learns the factor sqrt(1 - a^2) after the start; here it follows a.
    """

    def __init__(
        self, input_size: int, hidden_size: int, r_min: float = 0.5, r_max: float = 0.99, **kwargs: Any
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.r_min, self.r_max = check_number("r_min", r_min), check_number("r_max", r_max)
        if not 0 <= self.r_min < self.r_max <= 1:
            raise ValueError(f"r_min and r_max are {r_min} and {r_max}; expected 0 <= r_min < r_max <= 1")

    def _decays(self, rng: np.random.Generator, size: int) -> NDArray[Any]:
        """nu of decays uniform on the ring between r_min and r_max."""
        # One in each of H equal parts, and apart from 0 and 1, whose nu is infinite.
        share = rng.permutation((np.arange(size) + rng.uniform(0.1, 0.9, size)) / size)
        squares = self.r_min**2 + share * (self.r_max**2 - self.r_min**2)
        decays: NDArray[Any] = np.log(-0.5 * np.log(squares))
        return decays

    def step(self, x: Value, h: Value) -> Value:
        a = exp(-exp(self.vector("nu", self._decays)))
        return a * h + sqrt(1 - a * a) * self.linear("x", x)


class ComplexLRU(DiagonalLRU):
    """Linear recurrent unit with a complex diagonal (Orvieto et al., 2023).

    a = exp(-exp(nu)), phi = exp(theta), vectors;
    s[t] = a exp(i phi) s[t-1] + sqrt(1 - a^2) (W x[t] + b), s and W complex;
    h[t] = Re s[t]

    Each unit is a damped oscillator with a learned frequency, driven by the input. Use it for long sequences
    with rhythms in them, in stacks with nonlinear layers between.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    r_min, r_max
        Decays a start between these, 0 <= r_min < r_max <= 1, uniform in their squares.
    max_phase
        Phases start uniform in (0, max_phase], radians a step.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, imaginary), the parts of s, each ``(B, H)``; the output is the real part. The factor
    follows a, as in `DiagonalLRU`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        r_min: float = 0.5,
        r_max: float = 0.99,
        max_phase: float = math.pi,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, r_min, r_max, **kwargs)
        self.max_phase = check_number("max_phase", max_phase)
        if not self.max_phase > 0:
            raise ValueError(f"max_phase is {max_phase}; expected an angle above 0")

    def _phases(self, rng: np.random.Generator, size: int) -> NDArray[Any]:
        phases: NDArray[Any] = np.log(self.max_phase * (1 - rng.random(size)))
        return phases

    def step(self, x: Value, h: Value, imaginary: Value) -> tuple[Value, Value]:  # type: ignore[override]
        a = exp(-exp(self.vector("nu", self._decays)))
        phi = exp(self.vector("theta", self._phases))
        gain, real, turn = sqrt(1 - a * a), a * cos(phi), a * sin(phi)
        return (
            real * h - turn * imaginary + gain * self.linear("real", x),
            turn * h + real * imaginary + gain * self.linear("imaginary", x),
        )
