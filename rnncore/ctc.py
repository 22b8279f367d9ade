"""Connectionist temporal classification: labels for a sequence that nobody has aligned with its steps."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .checks import (
    LARGEST_SIZE,
    check_array,
    check_finite,
    check_lengths,
    check_size,
    check_weights,
    take_array,
)
from .kernels.memory import empty
from .kernels.threads import get_num_threads

Array = NDArray[Any]
Ids = NDArray[np.intp]

MOST_ROOM = 2**46  # bytes: half of what a process can address on the processors of today
INFINITE = ("error", "zero", "keep")


class CTC:
    """-log p(labels | y), summed over all alignments (Graves, Fernández, Gomez & Schmidhuber, 2006).

    An alignment gives each of a row's n steps a label or the blank; repetitions are merged, then blanks left
    out: with blank 0, 0 1 1 0 1 2 says 1 1 2. y are logits (softmax inside).

    The value is the mean over the B rows, a row's loss being that of its whole sequence. PyTorch's
    ``CTCLoss`` gives B times that with ``reduction="sum"``; its ``"mean"`` divides by each row's number of
    labels first.

    Parameters
    ----------
    blank
        The class that stands for no label.
    infinite
        What becomes of a row with fewer steps than labels and the blanks between equal neighbours, which has
        no alignment: ``"error"`` raises ValueError; ``"zero"`` counts it with loss 0 and no gradient, as
        PyTorch's ``zero_infinity`` does; ``"keep"`` makes the value infinite, its gradient being 0 too.
    """

    backend: ModuleType = kernels

    def __init__(self, blank: int = 0, infinite: str = "error") -> None:
        if isinstance(blank, bool) or not isinstance(blank, (int, np.integer)):
            raise TypeError(f"blank is {blank!r}, but a whole number is wanted")
        if blank < 0:
            raise ValueError(f"blank is {blank}, but a class id from 0 is wanted")
        if infinite not in INFINITE:
            raise ValueError(f"infinite is {infinite!r}, but one of {', '.join(INFINITE)} is wanted")
        self.blank, self.infinite = int(blank), infinite

    def __call__(
        self, y: Array, target: Any, lengths: Any = None, weights: Array | None = None
    ) -> tuple[float, Array]:
        """The mean loss and its gradient.

        Parameters
        ----------
        y
            Logits, ``(T, B, C)``, float32 or float64.
        target
            The labels of each row, class ids other than the blank: a list of B integer arrays; a tuple
            (flat, target lengths) of all rows' labels one after the other, ``(N,)``, and how many each has,
            ``(B,)``; or an array ``(B, U)``, -1 behind a row's last label. A row may have none.
        lengths
            Steps of each row, ``(B,)``; None where all have T. In the padding y is not read, and dy is 0.
        weights
            Of the rows in the mean, ``(B,)``, not negative; None where all count alike. If all are 0, so are
            value and gradient.

        Returns
        -------
        value : float
            Not finite where y is not.
        dy : ndarray, shape of y

        Raises
        ------
        TypeError, ValueError
            If an argument has another type, shape, memory order or range than wanted.
        """
        y, target = take_array("y", y), take_array("target", target)
        lengths = self._check_y(y, lengths)
        steps, rows, classes = y.shape
        labels, offsets = _flatten(target, rows)
        self._check_labels(labels, offsets, classes)
        impossible = self._impossible(labels, offsets, np.full(rows, steps) if lengths is None else lengths)
        shares = _shares(rows, check_weights(weights, rows))
        losses, dy = np.empty(rows), empty(y.shape, y.dtype)
        size = self.backend.ctc_scratch_size(steps, int(np.diff(offsets).max()))
        scratch = empty((min(rows, get_num_threads()), size), np.float64)
        self.backend.ctc_loss(y, labels, offsets, lengths, self.blank, shares, losses, dy, scratch)
        if self.infinite == "zero":
            losses[impossible | (losses == np.inf)] = 0
        counted = shares > 0  # 0 times infinity would be NaN
        return float(losses[counted] @ shares[counted]), dy

    def count(self, target: Any, lengths: Any = None, weights: Any = None) -> float:
        """Number of rows, or the sum of their weights: what this batch weighs among others."""
        rows = len(target[1]) if isinstance(target, tuple) else len(target)
        weights = check_weights(weights, rows)
        return rows if weights is None else float(weights.sum())

    def decode(self, y: Array, lengths: Any = None) -> list[Ids]:
        """Labels of each row's likeliest alignment: its likeliest class at every step (greedy).

        ``y (T, B, C)`` are logits; the result has one array of ids a row.
        """
        y = take_array("y", y)
        lengths = self._check_y(y, lengths)
        best = y.argmax(axis=2)
        kept = best != self.blank
        kept[1:] &= best[1:] != best[:-1]
        if lengths is not None:
            kept &= np.arange(len(y))[:, None] < lengths
        return np.split(best.T[kept.T], np.cumsum(kept.sum(axis=0))[:-1])

    def search(self, y: Array, lengths: Any = None, width: int = 16) -> tuple[list[Ids], Array]:
        """Likeliest labels of each row, by prefix beam search (Graves & Jaitly, 2014; Hannun et al., 2014).

        Unlike `decode` it adds up all alignments that say the same. It is exact if ``width`` is not smaller
        than the number of prefixes.

        Parameters
        ----------
        y
            Logits, ``(T, B, C)``.
        lengths
            Steps of each row, ``(B,)``; None where all rows have T.
        width
            How many prefixes are kept after each step, at least 1.

        Returns
        -------
        labels : list of ndarray
            One array of ids a row.
        scores : ndarray, shape (B,)
            log p of these labels, over the alignments that were kept.
        """
        y = take_array("y", y)
        lengths = self._check_y(y, lengths)
        width = check_size("width", width)
        check_finite("y", y, lengths)
        steps, rows, classes = y.shape
        width = min(width, _prefixes(steps, classes))
        found, found_lengths = np.empty((rows, steps), np.intp), np.empty(rows, np.intp)
        scores, threads = np.empty(rows), min(rows, get_num_threads())
        numbers, places = self.backend.ctc_search_sizes(steps, classes, width)
        room = 8 * threads * (numbers + places)
        if room > MOST_ROOM:
            raise ValueError(
                f"width is {width}, for which {steps} steps (T) take {room} bytes of working memory; "
                "pass a smaller one"
            )
        self.backend.ctc_search(
            y, lengths, self.blank, width, found, found_lengths, scores,
            np.empty((threads, numbers)), np.empty((threads, places), np.intp),
        )  # fmt: skip
        return [row[:count].copy() for row, count in zip(found, found_lengths, strict=True)], scores

    def _check_y(self, y: Any, lengths: Any) -> NDArray[np.intp] | None:
        if not isinstance(y, np.ndarray):
            raise TypeError(f"y is a {type(y).__name__}, but a NumPy array is wanted")
        if y.dtype not in (np.float32, np.float64):
            raise TypeError(f"y is {y.dtype}, but float32 or float64 is wanted")
        if y.ndim != 3 or not y.size:
            raise ValueError(f"y has shape {y.shape}, but (T, B, C), none of them 0, is wanted")
        check_array("y", y, y.dtype, "TBC", y.shape)
        if self.blank >= y.shape[2]:
            raise ValueError(f"blank is {self.blank}, but y has {y.shape[2]} classes (C)")
        return check_lengths(lengths, y.shape[0], y.shape[1], of="y")

    def _check_labels(self, labels: Ids, offsets: Ids, classes: int) -> None:
        """Raise ValueError for a label that is no class, or the blank."""
        wrong = (labels < 0) | (labels >= classes) | (labels == self.blank)
        if wrong.any():
            place = int(wrong.argmax())
            row = int(np.searchsorted(offsets, place, "right")) - 1
            raise ValueError(
                f"label {place - offsets[row]} of target's row {row} is {labels[place]}, but ids from 0 to "
                f"{classes - 1} other than the blank, {self.blank}, are wanted"
            )

    def _impossible(self, labels: Ids, offsets: Ids, lengths: Ids) -> NDArray[np.bool_]:
        """True for the rows that have no alignment; ValueError with ``infinite="error"``."""
        again = np.zeros(len(labels) + 2, np.intp)  # one more: the last row may be empty
        again[2:-1] = labels[1:] == labels[:-1]
        again[offsets[:-1] + 1] = 0  # the first of a row follows nothing
        needed = np.diff(offsets) + np.diff(np.cumsum(again)[offsets])
        impossible: NDArray[np.bool_] = needed > lengths
        if self.infinite == "error" and impossible.any():
            row = int(impossible.argmax())
            count = offsets[row + 1] - offsets[row]
            raise ValueError(
                f"target's row {row} has {count} labels, which take {needed[row]} steps with the blanks "
                f"between equal neighbours, but y has {lengths[row]} there; CTC(infinite='zero') leaves such "
                "rows out"
            )
        return impossible

    def __repr__(self) -> str:
        return f"CTC(blank={self.blank}, infinite={self.infinite!r})"


def _flatten(target: Any, rows: int) -> tuple[Ids, Ids]:
    """All rows' labels one after the other, (N,), and where each row's begin and end, (B + 1,)."""
    if isinstance(target, tuple):
        if len(target) != 2:
            raise TypeError(f"target is a tuple of {len(target)}, but (flat, target lengths) is wanted")
        labels, counts = _integers("target's labels", target[0]), _integers("target's lengths", target[1])
        if counts.shape != (rows,):
            raise ValueError(f"target's lengths have shape {counts.shape}, but ({rows},) is wanted")
        if counts.min() < 0 or counts.sum() != len(labels):
            raise ValueError(
                f"target's lengths, from {counts.min()} to {counts.max()}, add up to {counts.sum()}, but "
                f"there are {len(labels)} labels"
            )
    elif isinstance(target, np.ndarray) and target.ndim == 2:
        table = _integers("target", target, axes=2)
        there = table != -1
        counts = there.sum(axis=1)
        if len(table) == rows and not (there == (np.arange(table.shape[1]) < counts[:, None])).all():
            row = int((there != (np.arange(table.shape[1]) < counts[:, None])).any(axis=1).argmax())
            raise ValueError(f"target[{row}] has a label behind a -1, which ends a row")
        labels = table[there]
    elif isinstance(target, (list, np.ndarray)):
        parts = [_integers(f"target[{row}]", part) for row, part in enumerate(target)]
        counts = np.array([len(part) for part in parts], np.intp)
        labels = np.concatenate([np.zeros(0, np.intp), *parts])
    else:
        raise TypeError(
            f"target is a {type(target).__name__}, but a list of id arrays, (flat, target lengths) or an "
            "array (B, U) is wanted"
        )
    if len(counts) != rows:
        raise ValueError(f"target has {len(counts)} rows, but y has {rows} (B)")
    return labels, np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)


def _integers(name: str, value: Any, axes: int = 1) -> Ids:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} are {array.dtype}, but integers are wanted")
    if array.ndim != axes:
        raise ValueError(f"{name} has shape {array.shape}, but {axes} axes are wanted")
    return np.array(array, np.intp)  # a copy, which nobody else can change between the check and the kernel


def _prefixes(steps: int, classes: int) -> int:
    """How many different labels T steps can have, or as many as any beam may have."""
    total, level = 1, 1
    for _ in range(steps):
        level *= classes - 1
        total += level
        if total >= LARGEST_SIZE or not level:
            break
    return min(total, LARGEST_SIZE)


def _shares(rows: int, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """What each row weighs in the mean, (B,)."""
    if weights is None:
        return np.full(rows, 1 / rows)
    total = float(weights.sum())
    return weights / total if total else weights
