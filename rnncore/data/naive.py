"""What a forecast must beat: that nothing changes, and that the last season repeats itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..checks import check_positive_integer, refuse_masked

Floats = NDArray[np.float64]
Index = NDArray[np.intp]


def fill_forward(values: Floats) -> Floats:
    """Each missing value becomes the last one known before it, (N, K); NaN stays where there is none."""
    steps = np.arange(len(values))[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(values), 0, steps), axis=0)
    return np.take_along_axis(values, latest, axis=0)


def naive_forecasts(values: Floats, origins: Index, horizon: int, season: int = 1) -> Floats:
    """What repeating the last season says at each origin: ``(W, horizon, K)`` of a series ``(N, K)``.

    Season 1 repeats the last step: the persistence forecast. A missing value counts as the last known one.

    Raises
    ------
    TypeError, ValueError
        If values are not ``(N, K)``, an origin has less than a season before it, or nothing known, or lies
        behind the end.
    """
    horizon, season = check_positive_integer("horizon", horizon), check_positive_integer("season", season)
    refuse_masked("values", values)
    values, origins = np.asarray(values), np.asarray(origins)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"values are {values.dtype}, but numbers are wanted")
    if values.ndim != 2:
        raise ValueError(f"values have shape {values.shape}, but (N, K) is wanted")
    if origins.dtype.kind not in "iu" or origins.ndim != 1:
        raise TypeError(f"origins are {origins.dtype} {origins.shape}, but integers (W,) are wanted")
    if len(origins) and origins.max() > len(values):
        raise ValueError(f"origins have {origins.max()}, but values have {len(values)} steps (N)")
    if len(origins) and origins.min() < season:
        raise ValueError(f"season is {season}, but only {origins.min()} steps come before the first forecast")
    steps = origins[:, None] - season + np.arange(horizon) % season
    naive: Floats = fill_forward(values.astype(np.float64, copy=False))[steps]
    if np.isnan(naive).any():
        raise ValueError("values hold nothing known before the first forecast")
    return naive
