"""Adding and multiplication: two numbers far apart are marked, and the answer is their sum or product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import check_flag
from ..data.batch import Batch
from .base import Array, Range, Regression, ragged

WRONG = 0.04  # how far off an answer may be (Hochreiter & Schmidhuber, 1997)


class _Marked(Regression):
    """x[t] = (number, mark): the marks are 1 at two places, one in each half of the sequence."""

    shortest = 4
    inputs = 2

    def _draw_values(
        self, rng: np.random.Generator, steps: int, rows: int, low: float
    ) -> tuple[Array, NDArray[Any]]:
        """x (T, B, 2) with numbers from [low, 1] and without marks, and the index of every row."""
        x = np.zeros((steps, rows, 2), self.dtype)
        x[:, :, 0] = rng.uniform(low, 1, (steps, rows))
        return x, np.arange(rows)

    def _halves(
        self, rng: np.random.Generator, lengths: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """A place in each half of every row."""
        first = (rng.random(len(lengths)) * (lengths // 2)).astype(np.intp)
        second = lengths // 2 + (rng.random(len(lengths)) * (lengths - lengths // 2)).astype(np.intp)
        return first, second


class Adding(_Marked):
    """The sum of two marked numbers (Hochreiter & Schmidhuber, 1997, experiment 4).

    Parameters
    ----------
    length, batch_size, batches, seed, dtype
        As for `Problem`; Hochreiter & Schmidhuber's lengths are (T, T + T // 10).
    original
        False: numbers uniform in [0, 1], one mark in each half, the answer is the sum (Arjovsky, Shah &
        Bengio, 2016). True, as in 1997: numbers uniform in [-1, 1], the first mark among the first ten steps,
        the second in the first half, -1 as the mark of the first and the last step, the answer 0.5 + sum / 4.

    Notes
    -----
    The error is the mean squared one. Chance, and the best without memory: who always answers the mean, 1,
    has 1/6, the sum's variance. Solved is below 0.01 (ours: the papers show curves).

    With ``original`` the error is the share of answers more than 0.04 off. Who always answers the mean, 0.5,
    has (1 - 0.08)^2 = 0.846. Solved is below 0.01 (ours; the paper had 1 of 2,560 wrong in the end).
    """

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
        original: bool = False,
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        self.original = check_flag("original", original)
        if self.original:
            self.tolerance, self.measure = WRONG, Multiplication.measure
        self.threshold = 0.01

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        steps, lengths = self._draw_lengths(rng, rows)
        x, every = self._draw_values(rng, steps, rows, -1.0 if self.original else 0.0)
        if self.original:
            first = (rng.random(rows) * np.minimum(10, lengths // 2)).astype(np.intp)
            # Among the first half, but not at the first mark's place, which is stepped over.
            second = (rng.random(rows) * (lengths // 2 - 1)).astype(np.intp)
            second += second >= first
            x[0, :, 1] = -1
            x[lengths - 1, every, 1] = -1
        else:
            first, second = self._halves(rng, lengths)
        values = x[:, :, 0].copy()
        if self.original:
            # A number at the first step would lose its -1: there it counts as 0, as in 1997.
            values[0] = 0
            x[0, (first == 0) | (second == 0), 0] = 0
        x[first, every, 1] = 1
        x[second, every, 1] = 1
        total = values[first, every] + values[second, every]
        target = 0.5 + total / 4 if self.original else total
        return Batch(x, np.ascontiguousarray(target[:, None], self.dtype), ragged(lengths, steps))

    def naive(self) -> dict[str, float]:
        if not self.original:
            return {"the mean": 1 / 6}
        # The sum S of the two is triangular on [-2, 2]: P(|S| > s) = (1 - s/2)^2, and s is 4 times 0.04.
        return {"the mean": (1 - 4 * WRONG / 2) ** 2}


class Multiplication(_Marked):
    """The product of two marked numbers, uniform in [0, 1] (Hochreiter & Schmidhuber, 1997, experiment 5).

    One mark in each half.

    Notes
    -----
    The error is the share of answers more than 0.04 off. Chance: who always answers the mean, 1/4, has 0.889.
    The best naive answer is 0.04, for small products are many: 0.718. Solved is below 0.01 (in 1997 training
    stopped when 13 of 2,000 were wrong).
    """

    tolerance = WRONG
    threshold = 0.01
    measure = "share wrong by more than 0.04"

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        steps, lengths = self._draw_lengths(rng, rows)
        x, every = self._draw_values(rng, steps, rows, 0.0)
        first, second = self._halves(rng, lengths)
        x[first, every, 1] = 1
        x[second, every, 1] = 1
        product = x[first, every, 0] * x[second, every, 0]
        return Batch(x, np.ascontiguousarray(product[:, None]), ragged(lengths, steps))

    def naive(self) -> dict[str, float]:
        # P(product <= p) = p - p log p: the share that lies within 0.04 of the mean 1/4.
        def below(p: float) -> float:
            return float(p - p * np.log(p))

        mean = 1 - (below(0.25 + WRONG) - below(0.25 - WRONG))
        return {"the mean": mean, "the best constant, 0.04": 1 - below(2 * WRONG)}
