"""Cells that are differential equations, taken in steps of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_flag, check_number, check_size
from .cell import Cell
from .functions import clip, relu, sigmoid, tanh
from .values import Value


def _check_positive(name: str, value: float) -> float:
    """``value`` as a float above 0."""
    if not check_number(name, value) > 0:
        raise ValueError(f"{name} is {value}; expected a number above 0")
    return float(value)


class AntisymmetricRNN(Cell):
    """Antisymmetric RNN (Chang, Chen, Haber & Chi, 2019).

    n[t] = tanh((W - W' - gamma I) h[t-1] + V x[t] + b); h[t] = h[t-1] + epsilon n[t];
    gated: n[t] times sigmoid((W - W' - gamma I) h[t-1] + V_z x[t] + b_z)

    The matrix has imaginary eigenvalues alone, so that the step neither amplifies nor forgets; use it for
    long sequences where the order of events matters.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    epsilon
        The step of time, above 0.
    gamma
        The damping, at least 0.
    gated
        Whether a gate, which shares the matrix, opens and shuts the change.
    **kwargs
        See `Cell`. ``recurrent_init`` is that of W; the paper draws it with variance 1 / H.

    Notes
    -----
    The state is h, ``(B, H)``; ``weight_hh (H, H)`` is W.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        epsilon: float = 0.1,
        gamma: float = 0.01,
        gated: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("recurrent_init", "critical")
        super().__init__(input_size, hidden_size, **kwargs)
        self.epsilon = _check_positive("epsilon", epsilon)
        self.gamma = check_number("gamma", gamma)
        if self.gamma < 0:
            raise ValueError(f"gamma is {gamma}; expected a number of at least 0")
        self.gated = check_flag("gated", gated)

    def step(self, x: Value, h: Value) -> Value:
        a = self.antisymmetric("a", h, damping=self.gamma)
        n = tanh(a + self.linear("n", x))
        if self.gated:
            n = n * sigmoid(a + self.linear("z", x))
        return h + self.epsilon * n


class CoRNN(Cell):
    """Coupled oscillatory RNN (Rusch & Mishra, 2021).

    z[t] = z[t-1] + dt (tanh(W x[t] + U h[t-1] + V z[t-1] + b) - gamma h[t-1] - epsilon z[t-1]);
    h[t] = h[t-1] + dt z[t]

    Each unit is a damped oscillator with position h and velocity z, driven by the others. Gradients neither
    explode nor vanish while dt is small, so use it for sequences of thousands of steps.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    dt
        The step of time, above 0.
    gamma, epsilon
        Frequency and damping, at least 0. The three defaults are the paper's for sequential MNIST.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, z), each ``(B, H)``; ``weight_a (H, H)`` is V.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.dt = _check_positive("dt", dt)
        self.gamma, self.epsilon = check_number("gamma", gamma), check_number("epsilon", epsilon)

    def step(self, x: Value, h: Value, z: Value) -> tuple[Value, Value]:
        force = tanh(self.linear("a", x, h, z)) - self.gamma * h - self.epsilon * z
        z = z + self.dt * force
        return h + self.dt * z, z


class LEM(Cell):
    """Long expressive memory (Rusch, Mishra, Erichson & Mahoney, 2022).

    p = dt sigmoid(W_p x[t] + U_p h[t-1] + b_p);
    q = dt sigmoid(W_q x[t] + U_q h[t-1] + b_q);
    z[t] = (1 - p) z[t-1] + p tanh(W_z x[t] + U_z h[t-1] + b_z);
    h[t] = (1 - q) h[t-1] + q tanh(W_h x[t] + V z[t] + b_h)

    Two states with a learned time scale each, for signals with several time scales. It has an LSTM's
    parameters and keeps gradients bounded; try it where an LSTM does not learn a long series.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    dt
        The longest step of time, above 0.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, z), each ``(B, H)``, y and z in the paper; ``weight_h (H, H)`` is V.
    """

    def __init__(self, input_size: int, hidden_size: int, dt: float = 1.0, **kwargs: Any) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.dt = _check_positive("dt", dt)

    def step(self, x: Value, h: Value, z: Value) -> tuple[Value, Value]:
        p = self.dt * sigmoid(self.linear("p", x, h))
        q = self.dt * sigmoid(self.linear("q", x, h))
        z = (1 - p) * z + p * tanh(self.linear("z", x, h))
        return (1 - q) * h + q * tanh(self.linear("h", x, z)), z


class CfC(Cell):
    """Closed-form continuous-time cell (Hasani et al., 2022).

    u = 1.7159 tanh(2/3 (W_u x[t] + U_u h[t-1] + b_u)), or x[t] and h[t-1] themselves;
    g = tanh(W_g u + b_g); k = tanh(W_k u + b_k);
    s = sigmoid((W_f u + b_f) interval + W_s u + b_s);
    h[t] = (1 - s) g + s k

    The solution of a liquid time-constant network's equation as a formula, without a solver. Use it for
    signals from physical systems; a trained one can run at another sampling interval.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    backbone
        Units of u. None: there is no u, and g, k and s see x[t] and h[t-1].
    interval
        Time from step to step, above 0.
    gated
        False: h[t] = g + s k, the authors' "no gate".
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        backbone: int | None = None,
        interval: float = 1.0,
        gated: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.backbone = None if backbone is None else check_size("backbone", backbone)
        self.interval = _check_positive("interval", interval)
        self.gated = check_flag("gated", gated)

    def step(self, x: Value, h: Value) -> Value:
        seen: tuple[Value, ...] = (x, h)
        if self.backbone is not None:
            seen = (1.7159 * tanh(2 / 3 * self.linear("u", x, h, size=self.backbone)),)
        g, k = tanh(self.linear("g", *seen)), tanh(self.linear("k", *seen))
        s = sigmoid(self.linear("f", *seen) * self.interval + self.linear("s", *seen))
        return (1 - s) * g + s * k if self.gated else g + s * k


class PlasticRate(Cell):
    """Rate network with short-term synaptic plasticity (Masse, Yang, Song, Wang & Freedman, 2019).

    d[t] = clip(d[t-1] + s (U + v[t-1]) (1 - d[t-1]) h[t-1] - recovery d[t-1], 0, 1);
    v[t] = clip(v[t-1] + s U (1 - U - v[t-1]) h[t-1] - decay v[t-1], -U, 1 - U);
    h[t] = relu((1 - a) h[t-1] + a (W x[t] + V ((U + v[t]) (1 - d[t]) h[t-1]) + b) + noise)

    Synapses run out of transmitter (d) and release more of it after use (v), so that they hold a memory while
    the units are silent. Use it to model working memory.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    dt, time_constant
        Step and time constant of the units in milliseconds, 0 < dt <= time_constant; a = dt / time_constant,
        and s is dt in seconds.
    noise_level
        Standard deviation of the noise in training, times sqrt(2 a) in a step; the paper's is 0.5.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is (h, d, v), each ``(B, H)``. With the paper's x and u, d = 1 - x and v = u - U, so that zeros
    are synapses at rest; ``weight_a (H, H)`` is V. U, recovery and decay (``release``, ``recovery``,
    ``decay``, each ``(H,)``) start as in the paper: units 0, 2, 4 ... facilitate (U 0.15, time constants of x
    200 and of u 1500 ms), units 1, 3, 5 ... depress (0.45, 1500 and 200 ms). The paper does not learn them:
    ``net.freeze("*.release", "*.recovery", "*.decay")``. Its units are excitatory or inhibitory; here weights
    have any sign.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dt: float = 10.0,
        time_constant: float = 100.0,
        noise_level: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.dt = _check_positive("dt", dt)
        self.time_constant = _check_positive("time_constant", time_constant)
        if self.dt > self.time_constant:
            raise ValueError(f"dt is {dt}; expected at most time_constant, which is {time_constant}")
        self.noise_level = check_number("noise_level", noise_level)
        if self.noise_level < 0:
            raise ValueError(f"noise_level is {noise_level}; expected a number of at least 0")

    def _alternating(self, facilitating: float, depressing: float) -> Callable[..., NDArray[Any]]:
        """What a vector starts as: one number for units 0, 2, 4 ..., another for units 1, 3, 5 ..."""
        return lambda rng, size: np.where(np.arange(size) % 2, depressing, facilitating)

    def step(self, x: Value, h: Value, d: Value, v: Value) -> tuple[Value, Value, Value]:
        release = self.vector("release", self._alternating(0.15, 0.45))
        recovery = self.vector("recovery", self._alternating(self.dt / 200, self.dt / 1500))
        decay = self.vector("decay", self._alternating(self.dt / 1500, self.dt / 200))
        a, seconds, u = self.dt / self.time_constant, self.dt / 1000, release + v
        d = clip(d + seconds * u * (1 - d) * h - recovery * d, 0, 1)
        u = clip(u + seconds * release * (1 - u) * h - decay * v, 0, 1)
        total = (1 - a) * h + a * self.linear("a", x, u * (1 - d) * h)
        if self.noise_level:
            total = total + self.noise(math.sqrt(2 * a) * self.noise_level)
        return relu(total), d, u - release
