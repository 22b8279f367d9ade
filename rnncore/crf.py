"""The loss of a `CRF` layer, and its likeliest tags; the kernel is rnncore/kernels/crf.pyx."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .checks import check_array, check_finite, check_lengths, check_weights, is_mask, take_array
from .kernels.memory import empty
from .kernels.threads import get_num_threads
from .masking import find_kept

Array = NDArray[Any]
Lengths = NDArray[np.intp] | None


class CRFLoss:
    """Mean over the rows of -log p(tags | x), y being the potentials that a `CRF` layer gives.

    -log p = log of the sum over all sequences of tags of e^score, less the score of the true one; the score
    is the sum of the potentials y[t, tag before, tag].
    """

    backend: ModuleType = kernels

    def __call__(
        self, y: Array, target: Array, lengths: Any = None, weights: Any = None
    ) -> tuple[float, Array]:
        """The mean loss and its gradient.

        Parameters
        ----------
        y
            Potentials, ``(T, B, K K)``, float32 or float64.
        target
            The true tags, integers ``(T, B)``.
        lengths
            Steps of each row, ``(B,)``, or a mask, ``bool (T, B)``; None where all rows have T steps. Rows of
            no steps count for nothing.
        weights
            Of the rows in the mean, ``(B,)``, not negative; None where all count alike.

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
        tags = _check_y(y)
        if not isinstance(target, np.ndarray) or target.dtype.kind not in "iu":
            came = getattr(target, "dtype", type(target).__name__)
            raise TypeError(f"target is {came}; expected integer tags (T, B)")
        if target.shape != y.shape[:2]:
            raise ValueError(f"target has shape {target.shape}; expected a tag for each step: {y.shape[:2]}")
        if lengths is not None and is_mask(lengths):
            return self._masked(y, target, lengths, weights)
        steps, rows = target.shape
        checked = check_lengths(lengths, steps, rows, of="y", least=0)
        scales = self._shares(rows, checked, weights)
        ids = np.ascontiguousarray(target, np.intp)
        wrong = (ids < 0) | (ids >= tags)
        if checked is not None:
            wrong &= np.arange(steps)[:, None] < checked
        if wrong[:, scales > 0].any():
            t, b = (int(place[0]) for place in np.nonzero(wrong & (scales > 0)))
            raise ValueError(f"target[{t}, {b}] is {ids[t, b]}; expected a tag from 0 to {tags - 1}")
        losses, dy = np.empty(rows), empty(y.shape, y.dtype)
        scratch = self._scratch(steps, rows, tags)
        self.backend.crf_loss(y, ids, checked, tags, scales, losses, dy, scratch)
        return float(losses @ scales), dy

    def count(self, target: Array, lengths: Any = None, weights: Any = None) -> float:
        """Number of rows that have steps, or the sum of their weights: what a batch weighs among others."""
        rows = target.shape[1]
        given = check_weights(weights, rows)
        there = np.ones(rows) if lengths is None else _steps_of(lengths) > 0
        return float((there if given is None else given * there).sum())

    def decode(self, y: Array, lengths: Any = None) -> list[NDArray[np.intp]]:
        """The likeliest tags of each row (Viterbi), one array of its length a row.

        Parameters
        ----------
        y
            Potentials, ``(T, B, K K)``.
        lengths
            As in the call.
        """
        return self.best(y, lengths)[0]

    def best(self, y: Array, lengths: Any = None) -> tuple[list[NDArray[np.intp]], NDArray[np.float64]]:
        """The likeliest tags of each row, as `decode`, and their log-probabilities, ``(B,)``."""
        y = take_array("y", y)
        tags = _check_y(y)
        if lengths is not None and is_mask(lengths):
            kept = find_kept(y, lengths)
            assert kept is not None
            found = [np.empty(0, np.intp)] * y.shape[1]
            logs = np.zeros(y.shape[1])
            if len(kept.rows):
                some, logs[kept.rows] = self.best(kept.gather(y), kept.lengths)
                for place, row in enumerate(kept.rows.tolist()):
                    found[row] = some[place]
            return found, logs
        steps, rows = y.shape[:2]
        checked = check_lengths(lengths, steps, rows, of="y", least=0)
        check_finite("y", y, checked)
        best, scores = np.empty((steps, rows), np.intp), np.empty(rows)
        self.backend.crf_best(y, checked, tags, best, scores, self._scratch(steps, rows, tags))
        counts = np.full(rows, steps) if checked is None else checked
        return [best[:count, row].copy() for row, count in enumerate(counts.tolist())], scores

    def _masked(self, y: Array, target: Array, mask: Any, weights: Any) -> tuple[float, Array]:
        """The call on what a mask keeps."""
        kept = find_kept(y, mask)
        assert kept is not None
        if not len(kept.rows):
            return 0.0, np.zeros(y.shape, y.dtype)
        given = check_weights(weights, y.shape[1])
        some = None if given is None else given[kept.rows]
        value, dy = self(kept.gather(y), kept.gather(target), kept.lengths, some)
        return value, kept.scatter(dy)

    def _shares(self, rows: int, lengths: Lengths, weights: Any) -> NDArray[np.float64]:
        """What each row counts in the mean."""
        given = check_weights(weights, rows)
        shares = np.ones(rows) if given is None else given.copy()
        if lengths is not None:
            shares[lengths == 0] = 0
        total = float(shares.sum())
        return shares / total if total else shares

    def _scratch(self, steps: int, rows: int, tags: int) -> Array:
        size = self.backend.crf_scratch_size(steps, tags)
        scratch: Array = empty((min(rows, get_num_threads()), size), np.float64)
        return scratch

    def __repr__(self) -> str:
        return "CRFLoss()"


def _check_y(y: Any) -> int:
    """K; TypeError or ValueError unless y is ``(T, B, K K)``."""
    if not isinstance(y, np.ndarray) or y.dtype not in (np.float32, np.float64):
        came = getattr(y, "dtype", type(y).__name__)
        raise TypeError(f"y is {came}; expected a float32 or float64 array")
    tags = math.isqrt(y.shape[-1]) if y.ndim == 3 else 0
    if not y.size or tags * tags != y.shape[-1]:
        raise ValueError(f"y has shape {y.shape}; expected (T, B, K K), as a CRF layer gives it")
    check_array("y", y, y.dtype, "TBP", y.shape)
    return tags


def _steps_of(lengths: Any) -> NDArray[Any]:
    given = np.asarray(lengths)
    return given.sum(axis=0) if given.ndim == 2 else given
