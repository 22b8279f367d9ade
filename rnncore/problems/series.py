"""Sines of unknown period and phase, noiseless and noisy, slow and fast: what comes next?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..checks import check_number, check_positive_integer
from ..data.batch import Batch
from ..losses import Loss, SquaredError
from .base import Array, Problem, Range, ragged

PERIODS = {"fast": (5.0, 10.0), "slow": (50.0, 100.0), "both": (5.0, 100.0)}


class Sine(Problem):
    """The noiseless value of a sine ``ahead`` steps later, at every step.

    x[t] = sin(2 pi t / period + phase) + noise. Each sequence has a period of its own, drawn log-uniformly,
    and a phase: the network must find both from what it sees.

    Parameters
    ----------
    length, batch_size, batches, seed, dtype
        As for `Problem`.
    periods
        ``"fast"`` (5 to 10 steps), ``"slow"`` (50 to 100), ``"both"`` (5 to 100), or (shortest, longest),
        above 2.
    noise
        Standard deviation of what is added to x, at least 0.
    ahead
        At least 1.

    Notes
    -----
    The error is the mean squared one over the second half of the steps, when there has been something to see.
    Chance: who always answers the mean, 0, has 1/2. Who answers with the latest x has, with d for ``ahead``,
    the mean over the periods of 1 - cos(2 pi d / period), and noise^2: with the defaults 0.0043. Solved
    is below a tenth of the smaller of the two (ours).
    """

    shortest = 2
    measure = "mean squared error"
    pools = False
    loss: Loss = SquaredError()
    inputs = outputs = 1

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
        periods: str | tuple[float, float] = "slow",
        noise: float = 0.0,
        ahead: int = 1,
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        self.periods = _check_periods(periods)
        self.noise = check_number("noise", noise)
        if self.noise < 0:
            raise ValueError(f"noise is {noise}, but at least 0 is wanted")
        self.ahead = check_positive_integer("ahead", ahead)
        self.threshold = min(self.naive().values()) / 10

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        steps, lengths = self._draw_lengths(rng, rows)
        low, high = self.periods
        period = np.exp(rng.uniform(math.log(low), math.log(high), rows))
        angle = 2 * np.pi * np.arange(steps + self.ahead)[:, None] / period + rng.uniform(0, 2 * np.pi, rows)
        clean = np.sin(angle)[:, :, None]
        x = clean[:steps] + self.noise * rng.standard_normal((steps, rows, 1))
        target = np.ascontiguousarray(clean[self.ahead :], self.dtype)
        return Batch(x.astype(self.dtype), target, ragged(lengths, steps))

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        steps = np.arange(len(y))[:, None]
        ends = np.full(y.shape[1], len(y)) if lengths is None else np.asarray(lengths)
        seen = (steps >= ends // 2) & (steps < ends)
        return float(np.mean(np.square(np.asarray(y, np.float64) - target)[seen]))

    def naive(self) -> dict[str, float]:
        """The mean, which is 0; the latest value again."""
        # E (s(t + d) - s(t))^2 = 1 - cos(2 pi d / period), the period log-uniform.
        low, high = self.periods
        period = np.exp(np.linspace(math.log(low), math.log(high), 1001))
        again = float(np.mean(1 - np.cos(2 * np.pi * self.ahead / period)))
        return {"the mean": 0.5, "the latest value": again + self.noise**2}


def _check_periods(periods: Any) -> tuple[float, float]:
    if isinstance(periods, str):
        if periods not in PERIODS:
            raise ValueError(f"periods are {periods!r}, but one of {', '.join(PERIODS)} is wanted")
        return PERIODS[periods]
    if not isinstance(periods, (tuple, list)) or len(periods) != 2:
        raise ValueError(f"periods are {periods!r}, but a name or (shortest, longest) is wanted")
    low, high = (check_number("periods", end) for end in periods)
    if not 2 < low <= high:
        raise ValueError(f"periods are {periods}, but more than 2 steps, shortest first, are wanted")
    return low, high
