"""``rnncore train forecast``: the next steps of a time series."""

from __future__ import annotations

import math
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..data import Forecast, Windows, check_series, naive_forecasts, read_table, split_times
from ..data.table import Table, listed
from ..losses import SquaredError
from ..metrics import mae, mase, rmse
from ..network import Network
from ..trainer import predict
from .build import build_network
from .options import COUNT, DELIMITER, ENCODING, ForecastOptions, training_options
from .running import announce, echo_table, end, run, training_axes, with_defaults, write

Floats = NDArray[np.float64]

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
    click.option("--season", type=COUNT, default=1, help="Steps of a period: the seasonal naive forecast."),
    click.option("--window", type=COUNT, help="Steps to read.  [default: 3 horizons or a season, up to 200]"),
    click.option("--stride", type=COUNT, default=1, help="Steps between two windows of the training part."),
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
    """
    options = with_defaults(ForecastOptions(**given))
    values, task, middle, last = read_series(options)
    source = _windows(options, task, values[:middle], 0, middle, shuffle=True)
    validation = _windows(options, task, values, middle, last) if options.validation else None
    test = _windows(options, task, values, last, len(values)) if options.test else None
    net = build_network(options, None, task.features, task.outputs, "last")
    announce(options, net, **_describe(options, values, task, (middle, last), source))
    loss = SquaredError(missing=True)
    epoch = math.ceil(len(source) / options.accumulate)
    outcome = run(options, net, loss, source, validation, epoch, keep_best=True)
    parts = {"validation": (validation, middle), "test": (test, last)}
    measured = {name: (part, first) for name, (part, first) in parts.items() if part is not None}
    if not outcome.interrupted:
        for name, (part, first) in measured.items():
            _report(name, net, task, values, part, first)
    click.echo(f"trained     {outcome.trainer.step:,} updates; {outcome.time}")

    def draw(path: str) -> None:
        part = None if outcome.interrupted else test or validation
        axes, beside = training_axes(None if part is None else (8.0, 6.0))
        axes = pictures.training_picture(outcome.history, axes, options.clip or None, label="loss, scaled")
        if part is not None:
            _draw_forecasts(net, task, values, part, beside)
        pictures.save_picture(path, axes)

    write(options, net, outcome, draw, task=task)
    end(outcome, context)


def read_series(options: ForecastOptions) -> tuple[Floats, Forecast, int, int]:
    """The series, its task, and where the validation part and the test part begin."""
    table = read_table(options.file, options.encoding, options.delimiter)
    targets = list(options.target) or _only_column(table)
    named = [] if options.columns is None else [name.strip() for name in options.columns.split(",")]
    known = set(named)
    columns = [*named, *(target for target in targets if target not in known)]
    values, _ = check_series(read_columns(table, columns), columns)
    middle, last = split_times(len(values), options.validation, options.test)
    if options.season >= middle:
        raise click.UsageError(
            f"--season is {options.season}, but the training part has only {middle} steps"
        )
    window = options.window or max(3 * options.horizon, min(options.season, LONGEST_WINDOW))
    task = Forecast.fit(values, columns, targets, middle, window, options.horizon, options.season)
    return values, task, middle, last


def read_columns(table: Table, columns: list[str]) -> Floats:
    """Columns of numbers side by side, ``(N, F)``."""
    for column in columns:
        table.column(column)  # a wrong name is missed before a wrong number
    return np.stack([table.numbers(column) for column in columns], axis=1)


def _only_column(table: Table) -> list[str]:
    numbers = table.number_columns()
    if len(numbers) != 1:
        found = f"{listed(numbers) or 'none'} of {listed(table.header)} hold numbers"
        raise click.UsageError(f"--target wants the column to forecast: in {table.name} {found}")
    return numbers


def _windows(
    options: ForecastOptions, task: Forecast, values: Floats, first: int, last: int, shuffle: bool = False
) -> Windows:
    stride = options.stride if shuffle else 1  # what is measured is measured everywhere
    return task.windows(
        values, first, last, stride, options.batch, options.seed, shuffle=shuffle, dtype=options.dtype
    )


def _describe(
    options: ForecastOptions, values: Floats, task: Forecast, borders: tuple[int, int], source: Windows
) -> dict[str, str]:
    middle, last = borders
    parts = {"training": middle, "validation": last - middle, "test": len(values) - last}
    missing = int(np.isnan(values).sum())
    return {
        "series": f"{options.file}: {len(values):,} steps of {', '.join(task.columns)}; {missing:,} missing",
        "parts": ", ".join(f"{name} {steps:,}" for name, steps in parts.items() if steps),
        "forecast": f"{task.horizon} steps of {', '.join(task.targets)} after {task.window} that are read",
        "windows": f"{len(source.origins):,} to train on",
    }


def _report(name: str, net: Network, task: Forecast, values: Floats, part: Windows, first: int) -> None:
    """Errors of the network beside those of the naive forecasts, and scaled by what the past was like."""
    series = values[:, task.places]
    steps = part.origins[:, None] + np.arange(task.horizon)
    y = task.unscale(np.asarray(predict(net, part)))
    forecasts = {"this network": y, "persistence": naive_forecasts(series, part.origins, task.horizon)}
    if task.season > 1:
        naive = naive_forecasts(series, part.origins, task.horizon, task.season)
        forecasts[f"seasonal naive, {task.season}"] = naive
    history = series[:first] if len(task.targets) > 1 else series[:first, 0]
    rows = {}
    for who, said in reversed(forecasts.items()):
        scaled = _scaled(said, series[steps], history, task.season)
        rows[who] = [mae(said, series[steps]), rmse(said, series[steps]), scaled]
    echo_table(f"{name}: {len(part.origins):,} forecasts", ["MAE", "RMSE", "MASE"], rows, 3)


def _scaled(said: Floats, target: Floats, history: Floats, season: int) -> float:
    """MASE; NaN where the past repeats itself to the digit, or is too little known, and gives no scale."""
    try:
        return mase(said, target, history, season)
    except ValueError:
        return math.nan


def _draw_forecasts(net: Network, task: Forecast, values: Floats, part: Windows, axes: Any) -> None:
    """The latest forecasts of the first target, one behind the other, with the naive ones."""
    every = part.origins[::-1][:: task.horizon][:DRAWN][::-1]
    chosen = Windows(
        part.inputs, part.targets, every, task.window, task.horizon, shuffle=False, dtype=part.dtype
    )
    series = values[:, task.places]
    y = task.unscale(np.asarray(predict(net, chosen)))[:, :, 0]
    naive = naive_forecasts(series, chosen.origins, task.horizon, task.season)[:, :, 0]
    pictures.forecast_picture(
        series[:, 0], chosen.origins, y, naive, axes, label=task.targets[0],
        naive_label="nothing changes" if task.season == 1 else f"seasonal naive, {task.season}",
    )  # fmt: skip
