"""Optimizers: ``step(params, grads)`` on two flat arrays, in place. Formulas and defaults are PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from . import kernels
from .checks import check_real
from .clipping import check_flat
from .params import Array


class Optimizer:
    """What all optimizers share: a learning rate, a count of updates, and buffers as long as the parameters.

    The buffers are allocated by the first ``step``.

    Parameters
    ----------
    lr
        Learning rate, finite and at least 0; may be set between steps.

    Attributes
    ----------
    steps : int
        Updates made so far.
    """

    #: names of the buffers, in the order in which a checkpoint lists them
    slots: tuple[str, ...] = ()
    backend: ModuleType = kernels

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.steps = 0
        self.buffers: dict[str, Array] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _within("lr", value, 0.0, math.inf)

    def step(self, params: Array, grads: Array) -> None:
        """Update ``params (P,)`` in place by ``grads (P,)``.

        Raises
        ------
        TypeError, ValueError
            If they are not two contiguous arrays of one length and of one type, float32 or float64, or not of
            the length and type of earlier calls.
        """
        check_flat("params", params)
        check_flat("grads", grads, params)
        for name in self.slots:
            buffer = self.buffers.get(name)
            if buffer is None:
                self.buffers[name] = np.zeros_like(params)
            elif buffer.size != params.size or buffer.dtype != params.dtype:
                raise ValueError(
                    f"params hold {params.size} numbers of {params.dtype}, but this optimizer has worked on "
                    f"{buffer.size} of {buffer.dtype}: make a new one for another network"
                )
        self.steps += 1
        self._update(params, grads)

    def _update(self, params: Array, grads: Array) -> None:
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint needs: ``lr``, ``steps`` and the buffers, which are copies."""
        buffers = {name: buffer.copy() for name, buffer in self.buffers.items()}
        return {"lr": self.lr, "steps": self.steps, **buffers}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; nothing is changed if it does not fit.

        Raises
        ------
        ValueError
            If an entry is missing, or there is one that this optimizer does not have.
        """
        names = set(state) - {"lr", "steps"}
        if not {"lr", "steps"} <= set(state) or names not in (set(), set(self.slots)):
            wanted = ", ".join(("lr", "steps", *self.slots))
            found = ", ".join(state) or "nothing"
            raise ValueError(f"state holds {found}, but {type(self).__name__} has {wanted}")
        for name in names:
            check_flat(name, state[name])
        lr, steps = _within("lr", state["lr"], 0.0, math.inf), int(state["steps"])
        self.buffers = {name: state[name].copy() for name in self.slots if name in names}
        self.lr, self.steps = lr, steps

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON can hold them."""
        return {"lr": self.lr}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + g; p -= lr v, with Nesterov p -= lr (g + momentum v).

    Parameters
    ----------
    lr
        Learning rate.
    momentum
        In [0, 1) (Polyak, 1964).
    nesterov
        Whether to look ahead (Sutskever, Martens, Dahl & Hinton, 2013); wants a momentum above 0.
    """

    slots: tuple[str, ...] = ("velocity",)

    def __init__(self, lr: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        self.momentum = _within("momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov is True, but momentum is 0: give a momentum above 0")
        if not self.momentum:
            self.slots = ()  # no buffer for a velocity that is never read

    def _update(self, params: Array, grads: Array) -> None:
        velocity = self.buffers.get("velocity", params[:0])
        self.backend.sgd_update(params, grads, velocity, self.lr, self.momentum, self.nesterov)

    def config(self) -> dict[str, Any]:
        return {"lr": self.lr, "momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """s = alpha s + (1 - alpha) g²; v = momentum v + g / (sqrt(s) + eps); p -= lr v.

    (Tieleman & Hinton, 2012)

    Parameters
    ----------
    lr
        Learning rate.
    alpha
        Memory of the squared gradient, in [0, 1).
    eps
        Above 0; it bounds the step where gradients vanish.
    momentum
        In [0, 1).
    """

    slots: tuple[str, ...] = ("square", "velocity")

    def __init__(
        self, lr: float = 1e-3, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0
    ) -> None:
        super().__init__(lr)
        self.alpha = _within("alpha", alpha, 0.0, 1.0)
        self.eps = _positive("eps", eps)
        self.momentum = _within("momentum", momentum, 0.0, 1.0)
        if not self.momentum:
            self.slots = ("square",)

    def _update(self, params: Array, grads: Array) -> None:
        square, velocity = self.buffers["square"], self.buffers.get("velocity", params[:0])
        self.backend.rmsprop_update(
            params, grads, square, velocity, self.lr, self.alpha, self.eps, self.momentum
        )

    def config(self) -> dict[str, Any]:
        return {"lr": self.lr, "alpha": self.alpha, "eps": self.eps, "momentum": self.momentum}


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015).

    m = beta1 m + (1 - beta1) g; s = beta2 s + (1 - beta2) g²;
    p -= lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)

    Parameters
    ----------
    lr
        Learning rate.
    betas
        Memories of the gradient and of its square, each in [0, 1).
    eps
        Above 0; it bounds the step where gradients vanish.
    """

    slots: tuple[str, ...] = ("mean", "square")
    weight_decay = 0.0

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(lr)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas are {betas!r}, but two numbers are wanted")
        self.betas = _within("betas[0]", betas[0], 0.0, 1.0), _within("betas[1]", betas[1], 0.0, 1.0)
        self.eps = _positive("eps", eps)

    def _update(self, params: Array, grads: Array) -> None:
        mean, square = self.buffers["mean"], self.buffers["square"]
        self.backend.adam_update(
            params, grads, mean, square, self.lr, *self.betas, self.eps, self.weight_decay, self.steps
        )

    def config(self) -> dict[str, Any]:
        return {"lr": self.lr, "betas": list(self.betas), "eps": self.eps}


class AdamW(Adam):
    """Adam whose weights also shrink by the factor 1 - lr weight_decay at each step.

    (Loshchilov & Hutter, 2019)

    Parameters
    ----------
    lr, betas, eps
        As in Adam.
    weight_decay
        At least 0; it acts on every parameter, as in PyTorch.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, betas, eps)
        self.weight_decay = _within("weight_decay", weight_decay, 0.0, math.inf)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "weight_decay": self.weight_decay}


def _within(name: str, value: float, low: float, high: float) -> float:
    """``value`` as a float in [low, high)."""
    if not low <= check_real(name, value) < high:
        bounded = f"a number in [{low:g}, {high:g})"
        wanted = bounded if high < math.inf else f"a finite number of at least {low:g}"
        raise ValueError(f"{name} is {value}, but {wanted} is wanted")
    return float(value)


def _positive(name: str, value: float) -> float:
    if not 0 < check_real(name, value) < math.inf:
        raise ValueError(f"{name} is {value}, but a finite number above 0 is wanted")
    return float(value)
