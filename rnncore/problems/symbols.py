"""Temporal order, copy memory, random permutation: symbols to be kept across steps that mean nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checks import check_flag, check_positive_integer
from ..data.batch import Batch
from ..losses import CrossEntropy, Loss
from .base import Array, Classification, Problem, Range, log_softmax, one_hot, ragged

# Where the symbols stand: tenths of the length, each place drawn from the tenth (or so) behind.
PLACES = {2: (0.1, 0.5), 3: (0.1, 0.33, 0.66)}


class TemporalOrder(Classification):
    """Which of X and Y came first, second (and third), among distractors (Hochreiter & Schmidhuber, 1997, 6).

    Two symbols stand within [T/10, 2T/10) and [5T/10, 6T/10); three within [0.1 T, 0.2 T), [0.33 T, 0.43 T)
    and [0.66 T, 0.76 T). All else is drawn from four distractors; one-hot. The answer is one of 4 or 8
    classes.

    Parameters
    ----------
    length, batch_size, batches, seed, dtype
        As for `Problem`; Hochreiter & Schmidhuber's lengths are (100, 110).
    symbols
        2 (experiment 6a) or 3 (6b).
    original
        True: as in 1997 the sequence begins with E and ends with B, and an answer is right only if every
        class's probability is within 0.3 of 0 or 1. False: neither (Pascanu, Mikolov & Bengio, 2013).

    Notes
    -----
    The error is the share of wrong answers. Chance is 3/4 with 2 symbols and 7/8 with 3; who knows only the
    last of the symbols has 1/2 and 3/4. Solved is below 0.01 (of 10,000 sequences, Pascanu et al.).
    """

    shortest = 10

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
        symbols: int = 2,
        original: bool = False,
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        self.symbols = check_positive_integer("symbols", symbols)
        if self.symbols not in PLACES:
            raise ValueError(f"symbols is {symbols!r}, but 2 or 3 is wanted")
        self.original = check_flag("original", original)
        self.inputs, self.outputs = 8 if original else 6, 2**self.symbols
        self.threshold = 0.01

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        steps, lengths = self._draw_lengths(rng, rows)
        every = np.arange(rows)
        ids = rng.integers(2, 6, (steps, rows))
        answer = np.zeros(rows, np.int64)
        for part in PLACES[self.symbols]:
            # At least one place to choose from, and never the last step, where the trigger stands.
            width = np.maximum(1, lengths // 10)
            places = (lengths * part).astype(np.intp) + (rng.random(rows) * width).astype(np.intp)
            symbol = rng.integers(0, 2, rows)
            ids[places, every] = symbol
            answer = 2 * answer + symbol
        if self.original:
            ids[0] = 6
            ids[lengths - 1, every] = 7
        return Batch(one_hot(ids, self.inputs, self.dtype), answer, ragged(lengths, steps))

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        if not self.original:
            return super().error(y, target, lengths)
        off = np.abs(np.exp(log_softmax(y)) - one_hot(target, self.outputs, np.dtype(np.float64)))
        return float(np.mean(off.max(axis=-1) >= 0.3))

    def naive(self) -> dict[str, float]:
        return {"chance": 1 - 1 / self.outputs, "the last symbol alone": 1 - 2 / self.outputs}


class CopyMemory(Problem):
    """Ten symbols, T blanks, a signal: then the ten again (Arjovsky, Shah & Bengio, 2016).

    Sequences have T + 20 steps: the symbols, drawn from 8; T - 1 blanks; the signal; ten blanks, during which
    they are to be given. Before, blanks are to be given.

    Parameters
    ----------
    length
        T, the steps between the symbols and their recall; (shortest, longest) draws one for a batch.
    batch_size, batches, seed, dtype
        As for `Problem`.

    Notes
    -----
    The error is the mean cross-entropy of a step, in nats. Chance, all nine answers alike, is ln(9) = 2.197;
    who remembers nothing but knows when to answer has 10 ln(8) / (T + 20), its mean over a range. Solved is
    below a tenth of that (ours: in the papers whatever lies clearly below has learned to remember).
    """

    measure = "cross-entropy"
    pools = False
    loss: Loss = CrossEntropy()
    symbols, recalled = 8, 10
    inputs, outputs = 10, 9

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        self.threshold = self.naive()["memoryless"] / 10

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        delay = int(rng.integers(*self.length, endpoint=True))
        symbols = rng.integers(0, self.symbols, (self.recalled, rows))
        ids = np.full((delay + 2 * self.recalled, rows), self.symbols)
        target = np.full(ids.shape, self.symbols)
        ids[: self.recalled] = symbols
        ids[delay + self.recalled - 1] = self.symbols + 1
        target[-self.recalled :] = symbols
        return Batch(one_hot(ids, self.inputs, self.dtype), target)

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        return float(-np.take_along_axis(log_softmax(y), target[..., None], axis=-1).mean())

    def naive(self) -> dict[str, float]:
        steps = np.arange(self.length[0], self.length[1] + 1) + 2 * self.recalled
        memoryless = self.recalled * math.log(self.symbols) * float(np.mean(1 / steps))
        return {"chance": math.log(self.outputs), "memoryless": memoryless}


class RandomPermutation(Classification):
    """The first symbol comes again at the end, among symbols that say nothing (Martens & Sutskever, 2011).

    The first of T symbols is one of two, the others are drawn from the rest of the alphabet; the answer is
    the symbol that follows: the first one again.

    Parameters
    ----------
    length, batch_size, batches, seed, dtype
        As for `Problem`.
    alphabet
        Number of symbols, at least 3.

    Notes
    -----
    The error is the share of wrong answers. Chance among all symbols is 1 - 1/alphabet, 0.99 of 100; who
    answers one of the two that can be right has 1/2. Solved is below 0.01 (Pascanu, Mikolov & Bengio, 2013).
    """

    shortest = 2

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
        alphabet: int = 100,
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        if check_positive_integer("alphabet", alphabet) < 3:
            raise ValueError(f"alphabet is {alphabet}, but at least 3 symbols are wanted")
        self.inputs = self.outputs = int(alphabet)
        self.threshold = 0.01

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        steps, lengths = self._draw_lengths(rng, rows)
        ids = rng.integers(2, self.inputs, (steps, rows))
        ids[0] = rng.integers(0, 2, rows)
        answer: NDArray[np.int64] = ids[0].copy()
        return Batch(one_hot(ids, self.inputs, self.dtype), answer, ragged(lengths, steps))

    def naive(self) -> dict[str, float]:
        return {"chance": 1 - 1 / self.outputs, "one of the two": 0.5}
