"""``rnncore train forecast``: the next steps of a time series."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..data import Forecast, Panel, Treatment, Windows, check_series, naive_forecasts, read_table
from ..data.dated import panel_of, season_of
from ..data.times import written
from ..losses import SquaredError
from ..metrics import mae, mase, rmse
from ..network import Network
from ..trainer import History, predict
from .build import build_network
from .options import COUNT, DELIMITER, ENCODING, ForecastOptions, training_options
from .running import announce, echo_table, end, run, training_axes, with_defaults, write
from .series import choose_columns, find_times, read_columns, treatments

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

LONGEST_WINDOW = 200  # steps that are read where --window is not given
DRAWN = 6  # forecasts, one behind the other, in the picture


@click.command("forecast", context_settings={"show_default": True})
@training_options(
    click.argument("file", type=click.Path()),
    click.option("--target", multiple=True, help="Column to forecast; may be given more than once."),
    click.option("--columns", help="Columns to read, with commas between.  [default: the targets]"),
    ENCODING,
    DELIMITER,
    click.option("--horizon", type=COUNT, default=1, help="Steps to forecast."),
    click.option("--season", type=COUNT, help="Steps of a period.  [default: by the times, or 1]"),
    click.option("--window", type=COUNT, help="Steps to read.  [default: 3 horizons or a season, up to 200]"),
    click.option("--stride", type=COUNT, default=1, help="Steps between two windows of the training part."),
    click.option("--time", help="Column of times.  [default: the first one that holds dates]"),
    click.option("--no-time", is_flag=True, help="Take each row as the step after the last."),
    click.option("--id", help="Column that says which series a row belongs to."),
    treatments,
    test=0.2,
    cell="gru",
    hidden=32,
)
@click.pass_context
def forecast(context: click.Context, /, **given: Any) -> None:
    """Train a network to forecast a time series, a CSV or TSV FILE with a header and a step on each line.

    What comes last is the test part, what comes before it the validation part. The network that was best in
    validation is kept, and compared in the test part with two forecasts: that the last season repeats itself
    and that nothing changes. Fields may be empty: their steps carry no loss, and inputs say where they are.

    A column of times is found by itself. Times that run backwards or occur twice end the command with a line
    that says where, and names the option that treats them. Missing ones are named, and count as missing
    values.
    """
    options = with_defaults(ForecastOptions(**given))
    data = read_series(options)
    panel, task = data.panel, data.task
    source = _windows(options, data, panel.begins, data.middle, shuffle=True)
    validation = _windows(options, data, data.middle, data.last) if options.validation else None
    test = _windows(options, data, data.last, panel.ends) if options.test else None
    net = build_network(options, None, task.features, task.outputs, "last")
    announce(options, net, **_describe(options, data, source))
    epoch = math.ceil(len(source) / options.accumulate)
    outcome = run(options, net, SquaredError(missing=True), source, validation, epoch, keep_best=True)
    parts = {"validation": (validation, data.middle), "test": (test, data.last)}
    said = ""
    if not outcome.interrupted:
        for name, (part, first) in parts.items():
            if part is not None:
                scores = _report(name, net, data, part, first)
                said = verdict(scores, name, options, data, outcome.history)
    click.echo(f"trained     {outcome.trainer.step:,} updates; {outcome.time}")

    def draw(path: str) -> None:
        part = None if outcome.interrupted else test or validation
        axes, beside = training_axes(None if part is None else (8.0, 6.0))
        axes = pictures.training_picture(outcome.history, axes, options.clip or None, label="loss, scaled")
        if part is not None:
            _draw_forecasts(net, data, part, beside)
        pictures.save_picture(path, axes)

    write(options, net, outcome, draw, task=task)
    if said:
        click.echo(f"verdict     {said}")
    end(outcome, context)


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


def read_series(options: ForecastOptions) -> Data:
    """The series, their task, and where the validation part and the test part begin."""
    table = read_table(options.file, options.encoding, options.delimiter)
    columns, targets = choose_columns(table, options.target, options.columns, {options.time, options.id})
    values = read_columns(table, columns)
    check_series(values, columns)
    time = find_times(table, columns, options.time, options.no_time, options.id)
    treatment = Treatment(options.order, options.duplicates, options.gaps)
    panel = panel_of(
        table, values, columns, time, options.id, treatment, options.day_first, stacked=not options.no_time
    )
    middle, last = panel.parts(options.validation, options.test)
    shortest = int((middle - panel.begins).min())
    places = [columns.index(target) for target in targets]
    season = options.season or season_of(panel, middle, places)
    if season >= shortest:
        part = f"the training part has only {shortest} steps"
        raise click.UsageError(f"--season is {season}, but {part}")
    window = options.window or max(3 * options.horizon, min(season, LONGEST_WINDOW))
    rows = np.arange(len(panel.values))
    training = panel.values[rows < middle[panel.series_of(rows)]]
    task = Forecast.fit(training, columns, targets, len(training), window, options.horizon, season)
    task = replace(
        task,
        masked=bool(np.isnan(panel.values).any()),
        time=time,
        series=options.id,
        frequency=panel.frequency,
    )
    return Data(panel, task, middle, last)


def _windows(
    options: ForecastOptions, data: Data, first: Index, last: Index, shuffle: bool = False
) -> Windows:
    stride = options.stride if shuffle else 1  # what is measured is measured everywhere
    origins = data.panel.origins(data.task.window, data.task.horizon, first, last, stride)
    return data.task.windows(
        data.values, int(first.min()), int(last.max()), batch_size=options.batch, seed=options.seed,
        shuffle=shuffle, dtype=options.dtype, origins=origins,
    )  # fmt: skip


def _describe(options: ForecastOptions, data: Data, source: Windows) -> dict[str, str]:
    panel, task = data.panel, data.task
    bounds = {"training": (panel.begins, data.middle), "validation": (data.middle, data.last)}
    bounds["test"] = (data.last, panel.ends)
    parts = {name: int((end - begin).sum()) for name, (begin, end) in bounds.items()}
    missing = int(np.isnan(data.values).sum())
    several = f" in {len(panel.names)} series by {task.series}" if task.series else ""
    lines = {
        "series": f"{options.file}: {len(data.values):,} steps of {', '.join(task.columns)}{several}; "
        f"{missing:,} missing",
        "parts": ", ".join(f"{name} {steps:,}" for name, steps in parts.items() if steps),
        "forecast": f"{task.horizon} steps of {', '.join(task.targets)} after {task.window} that are read, "
        f"season {task.season}",
        "windows": f"{len(source.origins):,} to train on",
    }
    if panel.times is not None:
        ends = f"from {written(panel.times.min())} to {written(panel.times.max())}"
        lines["times"] = f"{task.time}, {ends}, a row every {panel.frequency}"
    for number, note in enumerate(panel.notes):
        lines["note" + " " * number] = note
    return lines


Scores = dict[str, list[float]]


def _report(name: str, net: Network, data: Data, part: Windows, first: Index) -> Scores:
    """Errors of the network beside those of the naive forecasts, and scaled by what the past was like."""
    panel, task = data.panel, data.task
    part = part.at(_with_season(part.origins, panel, task.season))
    series = panel.filled()[:, task.places] if len(panel.names) > 1 else data.values[:, task.places]
    target = data.values[:, task.places][part.origins[:, None] + np.arange(task.horizon)]
    forecasts = {"this network": task.unscale(np.asarray(predict(net, part)))}
    forecasts["persistence"] = naive_forecasts(series, part.origins, task.horizon)
    if task.season > 1:
        naive = naive_forecasts(series, part.origins, task.horizon, task.season)
        forecasts[f"seasonal naive, {task.season}"] = naive
    history = [data.values[a:b, task.places] for a, b in zip(panel.begins, first, strict=True)]
    scales = np.stack([_scales(past, task.season) for past in history])[panel.series_of(part.origins)]
    rows = {}
    for who, said in reversed(forecasts.items()):
        rows[who] = [mae(said, target), rmse(said, target), _scaled(said, target, scales[:, None])]
    echo_table(f"{name}: {len(part.origins):,} forecasts", ["MAE", "RMSE", "MASE"], rows, 3)
    return rows


def _with_season(origins: Index, panel: Panel, season: int) -> Index:
    """Those that have a season of their own series before them; all, if none has."""
    inside = origins - panel.begins[panel.series_of(origins)] >= season
    return origins[inside] if inside.any() else origins


def _scales(history: Floats, season: int) -> Floats:
    """What MASE divides by, of each target; NaN where the past gives no scale."""
    return np.array([_scale(column, season) for column in history.T])


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
    if data.task.window == (options.window or 0) or not tries:
        tries.append("another --window")
    return f"loses to {rival} on the {name} part, MAE {own:.4g} against {best:.4g}; try {'; or '.join(tries)}"


def _draw_forecasts(net: Network, data: Data, part: Windows, axes: Any) -> None:
    """The latest forecasts of the last series' first target, one after the other, with the naive ones."""
    panel, task = data.panel, data.task
    own = part.origins[panel.series_of(part.origins) == panel.series_of(part.origins[-1:])]
    chosen = part.at(_with_season(own, panel, task.season)[::-1][:: task.horizon][:DRAWN][::-1])
    series = data.values[:, task.places]
    y = task.unscale(np.asarray(predict(net, chosen)))[:, :, 0]
    naive = naive_forecasts(series, chosen.origins, task.horizon, task.season)[:, :, 0]
    pictures.forecast_picture(
        series[:, 0], chosen.origins, y, naive, axes, label=task.targets[0],
        naive_label="nothing changes" if task.season == 1 else f"seasonal naive, {task.season}",
    )  # fmt: skip
