"""Learning-rate schedules: ``lr = schedule(step)``, where ``step`` counts updates from 0.

All but Plateau are functions of the step alone; their state is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .checks import check_positive_integer


class Schedule:
    """What all schedules are: callable, and restored from a checkpoint."""

    def __call__(self, step: int) -> float:
        """The learning rate of update number ``step``, counted from 0."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {}

    def __repr__(self) -> str:
        own = {name: value for name, value in vars(self).items() if name not in self.state()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in own.items())})"

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""
        if set(state) != set(self.state()):
            raise ValueError(
                f"state holds {', '.join(state) or 'nothing'}, but {type(self).__name__} has "
                f"{', '.join(self.state()) or 'none'}"
            )


class Constant(Schedule):
    """Always ``lr``."""

    def __init__(self, lr: float) -> None:
        self.lr = _rate("lr", lr)

    def __call__(self, step: int) -> float:
        return self.lr


class Step(Schedule):
    """lr factor^floor(step / every)."""

    def __init__(self, lr: float, every: int, factor: float) -> None:
        self.lr = _rate("lr", lr)
        self.every = check_positive_integer("every", every)
        self.factor = _factor(factor)

    def __call__(self, step: int) -> float:
        return self.lr * self.factor ** (step // self.every)


class _Decay(Schedule):
    """From ``lr`` at the end of the warm-up to ``final`` at ``steps``, and ``final`` ever after.

    In the warm-up, update number s has lr (s + 1) / warmup: the first update is not lost to a rate of 0.
    """

    def __init__(self, lr: float, steps: int, final: float = 0.0, warmup: int = 0) -> None:
        self.lr, self.final = _rate("lr", lr), _rate("final", final)
        self.steps = check_positive_integer("steps", steps)
        self.warmup = check_positive_integer("warmup", warmup) if warmup else 0
        if self.warmup >= self.steps:
            raise ValueError(f"warmup is {warmup}, but it must be below steps, {steps}")

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.lr * ((step + 1) / self.warmup)
        progress = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        return self.final + (self.lr - self.final) * self._left(progress)

    def _left(self, progress: float) -> float:
        """The share of the decay that is still to come, 1 at progress 0 and 0 at 1."""
        raise NotImplementedError


class Cosine(_Decay):
    """final + (lr - final) (1 + cos(pi progress)) / 2, after an optional linear warm-up.

    (Loshchilov & Hutter, 2017)

    Parameters
    ----------
    lr, final
        The highest rate, and the one reached at ``steps`` and kept.
    steps
        Length of the whole schedule in updates.
    warmup
        Updates of linear rise at its beginning, below ``steps``.
    """

    def _left(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


class Linear(_Decay):
    """final + (lr - final) (1 - progress), after an optional linear warm-up; parameters as for Cosine."""

    def _left(self, progress: float) -> float:
        return 1.0 - progress


class Plateau(Schedule):
    """Multiplies the rate by ``factor`` after more than ``patience`` validations without a new lowest loss.

    Parameters
    ----------
    lr
        Rate to begin with.
    factor
        In (0, 1].
    patience
        Validations without a new lowest loss that are waited for, at least 0.
    min_lr
        The rate never falls below it.
    """

    def __init__(self, lr: float, factor: float = 0.1, patience: int = 10, min_lr: float = 0.0) -> None:
        self.lr, self.min_lr = _rate("lr", lr), _rate("min_lr", min_lr)
        self.factor = _factor(factor)
        self.patience = check_positive_integer("patience", patience) if patience else 0
        self.current = self.lr
        self.best = math.inf
        self.waited = 0

    def __call__(self, step: int) -> float:
        return self.current

    def observe(self, value: float) -> None:
        """Take note of a validation loss; a NaN counts as no improvement."""
        if value < self.best:
            self.best, self.waited = float(value), 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.current = max(self.current * self.factor, min(self.min_lr, self.current))
            self.waited = 0

    def state(self) -> dict[str, Any]:
        return {"current": self.current, "best": self.best, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        current, best, waited = _rate("current", state["current"]), float(state["best"]), int(state["waited"])
        self.current, self.best, self.waited = current, best, waited


def _rate(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, but a finite number of at least 0 is wanted")
    return float(value)


def _factor(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"factor is {value}, but a number in (0, 1] is wanted")
    return float(value)
