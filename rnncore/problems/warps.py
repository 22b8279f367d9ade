"""Recall under time warps: the symbol before the present one, while time is stretched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..checks import check_positive_integer
from ..data.batch import Batch
from ..losses import CrossEntropy, Loss
from .base import Array, Problem, Range, one_hot, ragged

WARPS = ("none", "uniform", "variable")
FILLERS = ("repeat", "blank")


class WarpedRecall(Problem):
    """At every step the symbol before the present one, in warped time (Tallec & Ollivier, 2018, section 3).

    A sequence of symbols is stretched: each lasts for some steps. Through all of them the answer is the
    symbol before it. A uniform warp, every symbol as long as the next, is a change of scale, which leaky
    units of the right time constant follow; a variable one asks for gates.

    Parameters
    ----------
    length, batch_size, batches, seed, dtype
        As for `Problem`; steps of the warped sequence, more than a symbol may last.
    warp
        ``"none"``: one step a symbol; ``"uniform"``: ``stretch`` steps; ``"variable"``: 1 to ``stretch``
        steps, drawn for each symbol.
    stretch
        At least 1.
    filler
        ``"repeat"``: the symbol is given in all its steps, and neighbours differ, or else nobody could tell
        where one ends; ``"blank"``: in its first step alone, then blanks.
    symbols
        Size of the alphabet, at least 3.

    Notes
    -----
    While there is no symbol before, the answer is the blank. The error is the share of wrong steps. Chance,
    any symbol or the blank, is 1 - 1/(symbols + 1); who answers any symbol but the present one, which is
    never right, has 1 - 1/(symbols - 1): 0.909 and 0.889 of 10 symbols, the first symbol's steps left out.
    Solved is below 0.05 (ours: the paper shows curves of the loss).
    """

    measure = "share of steps wrong"
    pools = False
    loss: Loss = CrossEntropy()

    def __init__(
        self,
        length: Range,
        batch_size: int = 20,
        batches: int = 100,
        seed: int = 0,
        dtype: DTypeLike = "float32",
        warp: str = "uniform",
        stretch: int = 10,
        filler: str = "repeat",
        symbols: int = 10,
    ) -> None:
        super().__init__(length, batch_size, batches, seed, dtype)
        for name, value, known in (("warp", warp, WARPS), ("filler", filler, FILLERS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, but one of {', '.join(known)} is wanted")
        self.warp, self.filler = warp, filler
        self.stretch = check_positive_integer("stretch", stretch)
        longest = 1 if warp == "none" else self.stretch
        if self.length[0] <= longest:
            raise ValueError(
                f"length is {length}, but more than {longest} is wanted, which the first symbol may last"
            )
        self.symbols = check_positive_integer("symbols", symbols)
        if self.symbols < 3:
            raise ValueError(f"symbols is {symbols}, but at least 3 are wanted")
        self.inputs = self.outputs = self.symbols + 1
        self.threshold = 0.05

    def draw(self, rng: np.random.Generator, rows: int) -> Batch:
        steps, lengths = self._draw_lengths(rng, rows)
        # Neighbours differ by 1 ... symbols - 1 around the alphabet.
        jumps = rng.integers(1, self.symbols, (steps, rows))
        jumps[0] = rng.integers(0, self.symbols, rows)
        symbols = np.cumsum(jumps, axis=0) % self.symbols
        if self.warp == "variable":
            durations = rng.integers(1, self.stretch, (steps, rows), endpoint=True)
        else:
            durations = np.full((steps, rows), self.stretch if self.warp == "uniform" else 1)
        # begins[t]: whether a symbol begins at step t; which[t]: how many have begun before it.
        begins = np.zeros((steps + 1, rows), np.bool_)
        ends = np.minimum(np.cumsum(durations, axis=0), steps)
        begins[0] = True
        begins[ends, np.arange(rows)] = True
        begins = begins[:steps]
        which = np.cumsum(begins, axis=0) - 1
        x = np.take_along_axis(symbols, which, axis=0)
        target = np.take_along_axis(symbols, np.maximum(which - 1, 0), axis=0)
        target[which == 0] = self.symbols
        if self.filler == "blank":
            x = np.where(begins, x, self.symbols)
        return Batch(one_hot(x, self.inputs, self.dtype), target, ragged(lengths, steps))

    def error(self, y: Array, target: Array, lengths: Any = None) -> float:
        wrong = y.argmax(axis=-1) != target
        if lengths is not None:
            wrong = wrong[np.arange(len(wrong))[:, None] < lengths]
        return float(wrong.mean())

    def naive(self) -> dict[str, float]:
        """Chance; and any symbol but the present one. Both leave out the first symbol's steps."""
        present = self.symbols - 1
        return {"chance": 1 - 1 / self.outputs, "not the present one": 1 - 1 / present}

    def nats(self) -> float:
        """Cross-entropy of a step for who knows only the present symbol."""
        return math.log(self.symbols - 1)
