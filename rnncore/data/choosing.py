"""Which window and which normalization a forecast reads best with: ridge regressions tell, in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..blas import one_blas_thread
from .linear import MOST_INPUTS, MOST_NUMBERS, Linear, fit_ridge, flatten, some_of
from .naive import Floats, Index
from .panel import Panel
from .series import Forecast

MEASURED = 500  # windows that a choice is measured on
SKETCH = 1_000_000  # numbers that each pair is tried with


def fit_linear(
    panel: Panel,
    task: Forecast,
    middle: Index,
    last: Index,
    units: Floats,
    numbers: int = MOST_NUMBERS,
) -> tuple[Linear, float]:
    """The ridge regression of a task, fitted before ``middle``, its strength chosen from there to ``last``.

    Parameters
    ----------
    task
        With its window and normalization; what it has linear is not looked at.
    middle, last
        Rows at which these parts of each series end, ``(S,)``.
    units
        Of the errors in each series, ``(S, K)``.
    numbers
        Of the matrix that is fitted: windows are left out evenly until it has no more.

    Returns
    -------
    The regression, and its mean absolute error from ``middle`` to ``last`` in these units.

    Raises
    ------
    ValueError
        If there are no windows in either part, or more inputs than the normal equations are good for.
    """
    task = replace(task, linear=None)
    inputs = task.window * task.features
    if inputs > MOST_INPUTS:
        raise ValueError(
            f"a window has {inputs} inputs; expected at most {MOST_INPUTS} for a linear forecast"
        )
    kept = panel.origins(task.window, task.horizon, middle, last)
    train = panel.origins(task.window, task.horizon, panel.begins, middle)
    targets = panel.filled()[:, task.places]
    train = train[~np.isnan(targets[train]).any(axis=1)]  # before the first known value nothing is learned
    if len(train) < 2 or not len(kept):
        raise ValueError(f"{len(train)} windows to fit and {len(kept)} to measure; expected some of each")
    train = some_of(train, inputs, numbers)
    kept = kept[np.linspace(0, len(kept) - 1, min(MEASURED, len(kept))).round().astype(np.intp)]
    x, y, *_ = _rows(panel, task, train, targets)
    xv, _, base, spread = _rows(panel, task, kept, targets)
    truth = (
        panel.values[:, task.places][kept[:, None] + np.arange(task.horizon)]
        / units[panel.series_of(kept)][:, None]
    )
    spread, base = (
        spread / units[panel.series_of(kept)][:, None],
        base / units[panel.series_of(kept)][:, None],
    )

    def error(weight: Floats, bias: Floats) -> float:
        said = (xv @ weight + bias).reshape(truth.shape) * spread + base
        return float(np.nanmean(np.abs(said - truth)))

    return fit_ridge(x, y, error)


def _rows(
    panel: Panel, task: Forecast, origins: Index, targets: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Windows as rows ``(W, D)``, their targets ``(W, O)``, and base and units ``(W, horizon, K)``."""
    source = task.windows(panel.values, origins=origins, shuffle=False)
    past = source.past(slice(None))
    x, level, spread = task.read(past)
    base, units = task.base(past, x, level, spread)
    # A window whose targets are missing is not left out here: it has a value, the last known one.
    ahead = targets[source.origins[:, None] + np.arange(task.horizon)]
    return flatten(x), ((ahead - base) / units).reshape(len(ahead), -1), np.array(base), np.array(units)


Fold = tuple[Index, Index]


def folds_of(panel: Panel, middle: Index, last: Index) -> list[Fold]:
    """Where linear forecasts are fitted up to and measured up to: twice in the training part, then after it.

    The third and the last quarter of the training part, each after what came before it, and the validation
    part, if there is one. One part alone would reward what its own level happens to favour.
    """
    lengths = middle - panel.begins
    quarters = [panel.begins + lengths * n // 4 for n in (2, 3, 4)]
    folds = [(quarters[0], quarters[1]), (quarters[1], quarters[2])]
    return [*folds, (middle, last)] if (last > middle).any() else folds


def choose(
    panel: Panel,
    task: Forecast,
    folds: Sequence[Fold],
    units: Floats,
    normalizations: Iterable[str],
    windows: Iterable[int],
) -> tuple[Forecast, dict[tuple[str, int], float]]:
    """The task with the normalization and window whose ridge regression errs least, and with that regression.

    Parameters
    ----------
    folds
        Rows of each series that a regression is fitted and measured up to, as `folds_of` gives them; the task
        keeps that of the last.
    units
        As for :func:`fit_linear`.

    Returns
    -------
    The task, and the mean error over the folds of each pair that was tried: all windows with one
    normalization, then the other normalizations with the best. Of pairs that cannot be fitted there is none;
    without any the task comes back with the first of both, and nothing linear.
    """
    kinds, lengths = list(normalizations), list(windows)
    errors: dict[tuple[str, int], float] = {}

    def attempt(kind: str, window: int) -> None:
        candidate = replace(task, normalize=kind, window=window, linear=None)
        found = []
        for middle, last in folds:
            with suppress(ValueError):  # too few windows, or too long ones
                found.append(fit_linear(panel, candidate, middle, last, units, SKETCH)[1])
        if len(found) == len(folds):
            errors[kind, window] = float(np.mean(found))

    with one_blas_thread():  # whose products are small; several threads would wait for one another
        for window in lengths:
            attempt("last" if "last" in kinds else kinds[0], window)
        if not errors:
            return replace(task, normalize=kinds[0], window=lengths[0], linear=None), errors
        window = min(errors, key=errors.__getitem__)[1]
        for kind in kinds:
            if (kind, window) not in errors:
                attempt(kind, window)
        kind, window = min(errors, key=errors.__getitem__)
        best = replace(task, normalize=kind, window=window, linear=None)
        return replace(best, linear=fit_linear(panel, best, *folds[-1], units)[0]), errors
