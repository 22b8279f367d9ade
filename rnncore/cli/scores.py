"""What a forecast is worth: its errors beside those of others, a verdict, a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..blas import one_blas_thread
from ..data import Forecast, Panel, Windows, naive_forecasts
from ..data.choosing import fit_linear, folds_of
from ..metrics import mae, mase, rmse
from ..network import Network
from ..trainer import History, predict
from .options import ForecastOptions
from .running import echo_table

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

DRAWN = 6  # forecasts, one after the other, in the picture


@dataclass(frozen=True, slots=True)
class Data:
    """What is learned from: series, what a model must know of them, and where their parts begin, ``(S,)``."""

    panel: Panel
    task: Forecast
    middle: Index
    last: Index

    @property
    def values(self) -> Floats:
        """All rows, ``(N, F)``."""
        return self.panel.values

    def units(self, first: Index) -> Floats:
        """What MASE divides by, of each series and target, from what came before ``first``; NaN is none."""
        parts = [self.values[a:b, self.task.places] for a, b in zip(self.panel.begins, first, strict=True)]
        return np.array([[_scale(column, self.task.season) for column in part.T] for part in parts])


def yardstick(data: Data) -> Forecast | None:
    """Ridge regression on the window as it is, in the scaling of the series; None where there is none."""
    plain = replace(data.task, normalize="series", difference=False, linear=None)
    units = np.array(plain.scale)[plain.places] * np.ones((len(data.panel.names), 1))
    try:
        with one_blas_thread():
            linear, _ = fit_linear(
                data.panel, plain, *folds_of(data.panel, data.middle, data.last)[-1], units
            )
    except ValueError:
        return None
    return replace(plain, linear=linear)


Scores = dict[str, list[float]]


def report(
    name: str, net: Network, data: Data, part: Windows, first: Index, ridge: Forecast | None
) -> Scores:
    """Errors of the network beside those of simpler forecasts, and scaled by what the past was like."""
    panel, task = data.panel, data.task
    part = part.at(_with_season(part.origins, panel, task.season))
    series = panel.filled()[:, task.places] if len(panel.names) > 1 else data.values[:, task.places]
    target = data.values[:, task.places][part.origins[:, None] + np.arange(task.horizon)]
    forecasts = {"this network": task.unscale(np.asarray(predict(net, part)), part)}
    if ridge is not None:
        forecasts["ridge on the window"] = ridge.unscale(np.zeros((len(part.origins), ridge.outputs)), part)
    forecasts["persistence"] = naive_forecasts(series, part.origins, task.horizon)
    if task.season > 1:
        naive = naive_forecasts(series, part.origins, task.horizon, task.season)
        forecasts[f"seasonal naive, {task.season}"] = naive
    scales = data.units(first)[panel.series_of(part.origins)]
    rows = {}
    for who, said in reversed(forecasts.items()):
        rows[who] = [mae(said, target), rmse(said, target), _scaled(said, target, scales[:, None])]
    echo_table(f"{name}: {len(part.origins):,} forecasts", ["MAE", "RMSE", "MASE"], rows, 3)
    return rows


def _with_season(origins: Index, panel: Panel, season: int) -> Index:
    """Those that have a season of their own series before them; all, if none has."""
    inside = origins - panel.begins[panel.series_of(origins)] >= season
    return origins[inside] if inside.any() else origins


def _scale(history: Floats, season: int) -> float:
    try:
        return 1 / mase([1.0], [0.0], history, season)
    except ValueError:
        return math.nan  # it repeats itself to the digit, or too little of it is known


def _scaled(said: Floats, target: Floats, scales: Floats) -> float:
    """MASE over the series whose past gives a scale; NaN if none does."""
    usable = np.isfinite(scales).all(axis=(1, 2)) & ~np.isnan(target).all(axis=(1, 2))
    if not usable.any():
        return math.nan
    return mae(said[usable] / scales[usable], target[usable] / scales[usable])


def verdict(scores: Scores, name: str, options: ForecastOptions, data: Data, history: History) -> str:
    """Whether the network is worth having: its error beside the best naive one, or what to try."""
    own = scores["this network"][0]
    rival, (best, *_) = min(((who, row) for who, row in scores.items() if who != "this network"),
                            key=lambda entry: entry[1][0])  # fmt: skip
    if math.isclose(own, best, rel_tol=1e-3):
        return f"as good as {rival} on the {name} part, and no better: MAE {own:.4g} against {best:.4g}"
    if own < best:
        return f"MAE {1 - own / best:.0%} below {rival}'s on the {name} part" if best else ""
    tries = []
    if data.task.season == 1:
        tries.append("--season (24 for hours with a daily pattern, 7 for days, 12 for months)")
    elif data.task.window < data.task.season:
        tries.append(f"--window {data.task.season} or more, a whole season")
    losses = history.validations.column("loss") if len(history.validations) else np.zeros(0)
    if len(losses) > 2 and losses.argmin() >= len(losses) - 2:
        tries.append("more --epochs: validation was still getting better")
    elif len(losses) > 2 and losses.argmin() <= len(losses) // 3:
        tries.append("a smaller --lr or --hidden, or --dropout-output 0.2: validation was best early")
    norms = history.steps.column("grad_norm")
    if options.clip and len(norms) and np.mean(norms > options.clip) > 0.9:
        tries.append(
            f"--clip {float(np.median(norms)):.2g}: nearly every update exceeds --clip {options.clip:g}"
        )
    if options.normalize != "auto" or not options.linear:
        tries.append("--normalize auto and --linear")
    if not tries:
        tries.append("another --window")
    return f"loses to {rival} on the {name} part, MAE {own:.4g} against {best:.4g}; try {'; or '.join(tries)}"


def draw_forecasts(net: Network, data: Data, part: Windows, axes: Any) -> None:
    """The latest forecasts of the last series' first target, one after the other, with the naive ones."""
    panel, task = data.panel, data.task
    own = part.origins[panel.series_of(part.origins) == panel.series_of(part.origins[-1:])]
    chosen = part.at(_with_season(own, panel, task.season)[::-1][:: task.horizon][:DRAWN][::-1])
    series = data.values[:, task.places]
    y = task.unscale(np.asarray(predict(net, chosen)), chosen)[:, :, 0]
    naive = naive_forecasts(series, chosen.origins, task.horizon, task.season)[:, :, 0]
    pictures.forecast_picture(
        series[:, 0], chosen.origins, y, naive, axes, label=task.targets[0],
        naive_label="nothing changes" if task.season == 1 else f"seasonal naive, {task.season}",
    )  # fmt: skip
