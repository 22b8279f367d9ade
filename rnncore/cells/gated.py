"""Gated cells of one state: fewer gates than a GRU has, or simpler ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import initializers
from ..checks import check_number, check_size
from .cell import Cell
from .functions import sigmoid, tanh
from .values import Value


class MGU(Cell):
    """Minimal gated unit (Zhou, Wu, Zhang & Zhou, 2016).

    f = sigmoid(W_f x[t] + U_f h[t-1] + b_f);
    n = tanh(W_n x[t] + U_n (f h[t-1]) + b_n);
    h[t] = (1 - f) h[t-1] + f n

    A GRU whose one gate both resets and updates, with two thirds of its parameters. Use it where a GRU works
    and has to be smaller or faster. The state is h ``(B, H)``.
    """

    def step(self, x: Value, h: Value) -> Value:
        f = sigmoid(self.linear("f", x, h))
        n = tanh(self.linear("n", x, f * h))
        return (1 - f) * h + f * n


class UGRNN(Cell):
    """Update gate RNN (Collins, Sohl-Dickstein & Sussillo, 2017).

    g = sigmoid(W_g x[t] + U_g h[t-1] + b_g);
    c = tanh(W_c x[t] + U_c h[t-1] + b_c);
    h[t] = g h[t-1] + (1 - g) c

    An Elman RNN with one gate that can hold each unit. It trains far more easily than an Elman RNN at twice
    its cost, and its paper recommends it for shallow networks.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    gate_bias
        Initial bias of the gate; above 0, units keep more than they take at first.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``.
    """

    def __init__(self, input_size: int, hidden_size: int, gate_bias: float = 1.0, **kwargs: Any) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.gate_bias = check_number("gate_bias", gate_bias)

    def step(self, x: Value, h: Value) -> Value:
        g = sigmoid(self.linear("g", x, h, bias=self.gate_bias))
        c = tanh(self.linear("c", x, h))
        return g * h + (1 - g) * c


class JANET(Cell):
    """Just another network: an LSTM with the forget gate only (van der Westhuizen & Lasenby, 2018).

    s = W_f x[t] + U_f h[t-1] + b_f;
    c = tanh(W_c x[t] + U_c h[t-1] + b_c);
    h[t] = sigmoid(s) h[t-1] + (1 - sigmoid(s - beta)) c

    Use it, with ``chrono``, where a memory must last for hundreds of steps: half an LSTM's parameters, and
    better than it on the paper's long tasks.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    beta
        How much more the cell lets in than it forgets.
    forget_bias
        Initial bias of the forget gate.
    chrono
        The longest delay in steps, above 2, that the task may ask for: forget biases start as log(u), u
        uniform in [1, chrono - 1] (Tallec & Ollivier, 2018), in place of ``forget_bias``.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``, the paper's c.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        beta: float = 1.0,
        forget_bias: float = 1.0,
        chrono: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.beta = check_number("beta", beta)
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.chrono = None if chrono is None else initializers.check_longest(chrono)
        if chrono is not None and self.forget_bias != 1:
            raise ValueError(
                f"forget_bias is {forget_bias}, but chrono {chrono} sets that bias too; give one"
            )

    def _forget_biases(self, rng: np.random.Generator, size: int) -> NDArray[Any]:
        if self.chrono is None:
            return np.full(size, self.forget_bias)
        return initializers.chrono(rng, size, self.chrono)

    def step(self, x: Value, h: Value) -> Value:
        s = self.linear("f", x, h, bias=self._forget_biases)
        c = tanh(self.linear("c", x, h))
        return sigmoid(s) * h + (1 - sigmoid(s - self.beta)) * c


class ChaosFree(Cell):
    """Chaos-free network, CFN (Laurent & von Brecht, 2017).

    f = sigmoid(W_f x[t] + U_f h[t-1] + b_f);
    i = sigmoid(W_i x[t] + U_i h[t-1] + b_i);
    h[t] = f tanh(h[t-1]) + i tanh(W_n x[t])

    Without input its state goes to 0 and nowhere else: no chaos, no cycles. Use it where a network's behavior
    has to stay predictable, or to ask whether a task needs rich dynamics at all.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    forget_bias, input_bias
        Initial biases of f and i, theta and eta in the paper.
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
        forget_bias: float = 1.0,
        input_bias: float = -1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.input_bias = check_number("input_bias", input_bias)

    def step(self, x: Value, h: Value) -> Value:
        f = sigmoid(self.linear("f", x, h, bias=self.forget_bias))
        i = sigmoid(self.linear("i", x, h, bias=self.input_bias))
        return f * tanh(h) + i * tanh(self.linear("n", x, bias=False))


class FastGRNN(Cell):
    """FastGRNN (Kusupati et al., 2018).

    a = W x[t] + U h[t-1];
    z = sigmoid(a + bias_z);
    n = tanh(a + bias_n);
    h[t] = (sigmoid(zeta) (1 - z) + sigmoid(nu)) n + z h[t-1]

    Gate and candidate share their matrices, so that it costs an Elman RNN's products. Use it on small
    devices, with ``rank`` where memory is scarce.

    Parameters
    ----------
    input_size, hidden_size
        I and H, at least 1.
    rank
        r: W and U are products of two matrices each, (H, r) (r, I) and (H, r) (r, H). None: of full rank.
    **kwargs
        See `Cell`.

    Notes
    -----
    The state is h ``(B, H)``. ``zeta`` and ``nu``, one number each, are held before the sigmoid, and start at
    1 and -4 as in the authors' code, whose biases start at 1.
    """

    def __init__(self, input_size: int, hidden_size: int, rank: int | None = None, **kwargs: Any) -> None:
        super().__init__(input_size, hidden_size, **kwargs)
        self.rank = None if rank is None else check_size("rank", rank)

    def step(self, x: Value, h: Value) -> Value:
        if self.rank is None:
            a = self.linear("a", x, h, bias=False)
        else:
            x = self.linear("x", x, size=self.rank, bias=False)
            a = self.linear("a", x, self.linear("h", h, size=self.rank, bias=False), bias=False)
        z = sigmoid(a + self.vector("bias_z", 1.0))
        n = tanh(a + self.vector("bias_n", 1.0))
        zeta, nu = sigmoid(self.scalar("zeta", 1.0)), sigmoid(self.scalar("nu", -4.0))
        return (zeta * (1 - z) + nu) * n + z * h
