"""What is taken from a window before a network reads it, and given back to its forecast."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: "series": mean and deviation of the training part; "last": a window's own last value (NLinear: Zeng et al.,
#: 2023); "window": its own mean and deviation (reversible instance normalization: Kim et al., 2022)
NORMALIZATIONS = ("series", "last", "window")

FLOOR = 0.05  # of the series' deviation: what a window's own is at least, so that a flat one does not explode


def level_and_spread(
    past: Floats, kind: str, center: Floats, scale: Floats, own: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """What (x - level) / spread takes from each window.

    Parameters
    ----------
    past
        Windows, ``(T, B, F)``; NaN is missing.
    kind
        One of `NORMALIZATIONS`.
    center, scale
        Of the series, ``(F,)``: for the columns that are not normalized by the window, and where it is empty.
    own
        Which columns are normalized by the window, ``(F,)``.

    Returns
    -------
    level, spread
        ``(B, F)`` each.
    """
    shape = past.shape[1:]
    level, spread = np.broadcast_to(center, shape).copy(), np.broadcast_to(scale, shape).copy()
    if kind == "series":
        return level, spread
    part = past[:, :, own]
    if kind == "last":
        found = _last_known(part)
    else:
        with warnings.catch_warnings():  # of windows without a known value, which keep the series' own
            warnings.simplefilter("ignore", RuntimeWarning)
            found, deviation = np.nanmean(part, axis=0), np.nanstd(part, axis=0)
        wide = np.hypot(deviation, FLOOR * scale[own])
        spread[:, own] = np.where(np.isnan(wide), spread[:, own], wide)
    level[:, own] = np.where(np.isnan(found), level[:, own], found)
    return level, spread


def _last_known(part: Floats) -> Floats:
    """The last value of each window that is known, ``(B, K)`` of ``(T, B, K)``; NaN where none is."""
    last: Floats = part[-1]
    if not np.isnan(last).any():
        return last
    steps = np.arange(len(part))[:, None, None]
    place = np.where(np.isnan(part), 0, steps).max(axis=0, keepdims=True)
    return np.asarray(np.take_along_axis(part, place, axis=0)[0], np.float64)


def season_ahead(part: Floats, horizon: int, season: int) -> Floats:
    """The seasonal naive forecast that windows hold: ``(B, horizon, K)`` of ``(T, B, K)``; NaN is unknown."""
    steps = len(part) - season + np.arange(horizon) % season
    return np.asarray(part[steps].transpose(1, 0, 2))


def check_normalization(kind: Any) -> str:
    """``kind``, if it is one of `NORMALIZATIONS`."""
    if kind not in NORMALIZATIONS:
        raise ValueError(f"normalize is {kind!r}; expected one of {', '.join(NORMALIZATIONS)}")
    return str(kind)
