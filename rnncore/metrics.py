"""Scores: ``metric(y, target, lengths=None)``, plain numbers that a person compares.

Arrays are those of the losses: ``(T, B, ...)``, or ``(B, ...)`` with one row per sequence. With ``lengths``
what lies beyond a row's own steps is not read. Where a metric wants classes, y is class ids of the target's
shape, or one number more per class in a last axis, of which the largest counts. Where it wants numbers, a
target that is NaN is unknown: the entry is left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import (
    check_lengths,
    check_mask,
    check_positive_integer,
    is_mask,
    padding_mask,
    refuse_masked,
)
from .losses import CrossEntropy

Array = NDArray[Any]
Ids = NDArray[np.intp]


def accuracy(y: Any, target: Any, lengths: Any = None) -> float:
    """Share of steps, or of sequences, whose class is right.

    >>> accuracy([0, 1, 1], [0, 1, 2])
    0.6666666666666666
    """
    predicted, wanted = _classes(y, target, lengths)
    return float((predicted == wanted).mean())


def confusion_matrix(y: Any, target: Any, lengths: Any = None, classes: int | None = None) -> Ids:
    """How often each class was taken for each other.

    Parameters
    ----------
    classes
        C; None for as many as y has in its last axis, or as the largest id asks for.

    Returns
    -------
    matrix, (C, C)
        ``matrix[i, j]`` steps of class i were said to be of class j.
    """
    predicted, wanted = _classes(y, target, lengths)
    largest = int(max(predicted.max(), wanted.max()))
    if classes is None:
        last = np.shape(y)[-1] if np.ndim(y) > np.ndim(target) else 0
        classes = max(largest + 1, last)
    elif largest >= check_positive_integer("classes", classes):
        raise ValueError(f"y or target hold class {largest}, but ids from 0 to {classes - 1} are wanted")
    counts = np.bincount(wanted * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def macro_f1(y: Any, target: Any, lengths: Any = None) -> float:
    """The mean of each class's F1 = 2 TP / (2 TP + FP + FN), over all classes in y's ids or the target.

    Each class weighs the same, however rare (van Rijsbergen, 1979, for F).
    """
    matrix = confusion_matrix(*_classes(y, target, lengths))
    right = np.diag(matrix)
    said_or_true = matrix.sum(axis=0) + matrix.sum(axis=1)
    there = said_or_true > 0
    return float((2 * right[there] / said_or_true[there]).mean())


def mae(y: Any, target: Any, lengths: Any = None) -> float:
    """Mean absolute error over all entries.

    >>> mae([[1.0], [2.0]], [[1.5], [2.0]])
    0.25
    """
    return float(np.abs(_errors(y, target, lengths)).mean())


def rmse(y: Any, target: Any, lengths: Any = None) -> float:
    """Root of the mean squared error over all entries."""
    return float(np.sqrt(np.square(_errors(y, target, lengths)).mean()))


def mase(y: Any, target: Any, history: Any, season: int = 1, lengths: Any = None) -> float:
    """Mean absolute scaled error: below 1 where y errs less than the seasonal naive forecast did in the past.

    mae(y, target) / mean over t of |history[t] - history[t - season]|         (Hyndman & Koehler, 2006)

    Parameters
    ----------
    history
        What was known before, in order, such as the training part: ``(N,)``, or ``(N, K)`` where y's last
        axis has the K series. NaN is unknown.
    season
        Steps of one period: 12 for months with a yearly pattern, 1 for the forecast that nothing changes.

    Raises
    ------
    ValueError
        If the history is not longer than a season, holds no two known values a season apart, or repeats
        itself exactly.
    """
    season = check_positive_integer("season", season)
    past = _numbers("history", history)
    if past.ndim not in (1, 2) or len(past) <= season:
        raise ValueError(f"history has shape {past.shape}, but more than a season of {season} is wanted")
    scales = np.atleast_1d(_mean_known(np.abs(past[season:] - past[:-season])))
    if not np.isfinite(scales).all():
        raise ValueError(f"history holds no two known values {season} steps apart in each series")
    if not (scales > 0).all():
        raise ValueError(f"history repeats itself every {season} steps: it gives no scale to compare with")
    if len(scales) == 1:
        return mae(y, target, lengths) / float(scales[0])
    if np.shape(y)[-1:] != scales.shape:
        raise ValueError(f"y has shape {np.shape(y)}, but {len(scales)} series, as in history, are wanted")
    return mae(np.asarray(y) / scales, np.asarray(target) / scales, lengths)


def seasonal_naive(history: Any, horizon: int, season: int = 1) -> Array:
    """The forecast that the last season repeats itself, ``(horizon, ...)``; with season 1: nothing changes.

    >>> seasonal_naive([1, 2, 3, 4, 5], horizon=4, season=3).tolist()
    [3.0, 4.0, 5.0, 3.0]
    """
    horizon, season = check_positive_integer("horizon", horizon), check_positive_integer("season", season)
    past = _numbers("history", history)
    if len(past) < season:
        raise ValueError(f"history has {len(past)} steps, but at least a season of {season} is wanted")
    return past[len(past) - season + np.arange(horizon) % season]


def perplexity(y: Any, target: Any, lengths: Any = None) -> float:
    """e to the mean cross-entropy: of how many equally likely classes the network is as unsure.

    y are logits ``(..., C)``, float32 or float64; target class ids.
    """
    with np.errstate(over="ignore"):
        return float(np.exp(CrossEntropy()(y, target, lengths)[0]))


def bits_per_character(y: Any, target: Any, lengths: Any = None) -> float:
    """The mean cross-entropy in bits, y and target as for :func:`perplexity`."""
    return CrossEntropy()(y, target, lengths)[0] / math.log(2)


def _classes(y: Any, target: Any, lengths: Any) -> tuple[Ids, Ids]:
    """Predicted and true classes of all valid steps, (N,) each."""
    for name, value in (("y", y), ("target", target)):
        refuse_masked(name, value)
    wanted, said = np.asarray(target), np.asarray(y)
    if wanted.dtype.kind not in "iu":
        raise TypeError(f"target is {wanted.dtype}, but integer class ids are wanted")
    if said.dtype.kind == "f":
        if said.ndim != wanted.ndim + 1 or not said.size:
            raise ValueError(f"y has shape {said.shape}, but {_shape(*wanted.shape, 'C')} is wanted")
        unknown = np.isnan(said).any(axis=-1)
        said = said.argmax(axis=-1)
    elif said.dtype.kind in "iu":
        unknown = np.zeros(said.shape, np.bool_)
    else:
        raise TypeError(f"y is {said.dtype}, but class ids or one number per class are wanted")
    _check_shape(said, wanted)
    valid = _valid(wanted, lengths)
    if unknown[valid].any():
        place = np.argwhere(unknown & valid)[0]
        raise ValueError(f"y[{', '.join(map(str, place))}] holds NaN, but numbers are wanted")
    said, wanted = said[valid].astype(np.intp), wanted[valid].astype(np.intp)
    for name, ids in (("y", said), ("target", wanted)):
        if ids.min() < 0:
            raise ValueError(f"{name} holds class {ids.min()}, but ids from 0 on are wanted")
    return said, wanted


def _errors(y: Any, target: Any, lengths: Any) -> Array:
    """y - target at all valid entries whose target is known, float64 (N,)."""
    said, wanted = _numbers("y", y), _numbers("target", target)
    _check_shape(said, wanted)
    valid = _valid(wanted, lengths) & ~np.isnan(wanted)
    if not valid.any():
        raise ValueError("target is NaN everywhere: there is nothing to measure")
    error = said[valid] - wanted[valid]
    if not np.isfinite(error).all():
        place = np.argwhere(valid)[int(np.argmin(np.isfinite(error)))]
        index, values = ", ".join(map(str, place)), (said[tuple(place)], wanted[tuple(place)])
        raise ValueError(f"y[{index}] is {values[0]} and target {values[1]}, but finite numbers are wanted")
    return error


def _numbers(name: str, value: Any) -> Array:
    refuse_masked(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {array.dtype}, but numbers are wanted")
    return array.astype(np.float64)


def _check_shape(y: Array, target: Array) -> None:
    if y.shape != target.shape or not y.size:
        raise ValueError(f"y has shape {y.shape} and target {target.shape}, but one shape is wanted")


def _shape(*sizes: Any) -> str:
    return f"({', '.join(map(str, sizes))})"


def _valid(target: Array, lengths: Any) -> NDArray[np.bool_]:
    """True where no padding is, in the target's shape."""
    valid = np.ones(target.shape, np.bool_)
    if lengths is not None:
        if target.ndim < 2:
            raise ValueError(f"lengths are given, but target has shape {target.shape}, not (T, B, ...)")
        steps, rows = target.shape[:2]
        if is_mask(lengths):
            valid[~check_mask(lengths, steps, rows, "target")] = False
            return valid
        checked = check_lengths(lengths, steps, rows, "target", least=0)
        assert checked is not None
        valid[padding_mask(checked, len(target))] = False
    return valid


def _mean_known(values: Array) -> Any:
    """The mean along the first axis of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
