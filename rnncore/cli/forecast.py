"""``rnncore train forecast``: the next steps of a time series."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..data import Forecast, Treatment, Windows, check_series, read_table
from ..data.choosing import choose, folds_of
from ..data.dated import panel_of, season_of
from ..data.scaling import NORMALIZATIONS
from ..data.times import written
from ..losses import SquaredError
from ..network import Network
from .build import build_network
from .options import COUNT, DECIMAL, DELIMITER, ENCODING, ForecastOptions, training_options
from .running import Outcome, announce, end, run, training_axes, with_defaults, write
from .scores import Data, draw_forecasts, report, verdict, yardstick
from .series import choose_columns, find_times, read_columns, treatments
from .terminal import echo

Index = NDArray[np.intp]

LONGEST_SEASON = 200  # steps of a season that is read whole where --window is not given,
LONGEST_WINDOW = 400  # and of the longest window that is tried
STEPS = 600_000  # in the windows of an epoch, about, where --stride is not given
WATCHED = 500  # windows that validation during training measures, evenly


@click.command("forecast", context_settings={"show_default": True})
@training_options(
    click.argument("file", type=click.Path()),
    click.option("--target", multiple=True, help="Column to forecast; may be given more than once."),
    click.option("--columns", help="Columns to read, with commas between.  [default: the targets]"),
    ENCODING,
    DELIMITER,
    DECIMAL,
    click.option("--horizon", type=COUNT, default=1, help="Steps to forecast."),
    click.option("--season", type=COUNT, help="Steps of a period.  [default: by the times, or 1]"),
    click.option("--window", type=COUNT, help="Steps to read.  [default: tried out, up to 400]"),
    click.option(
        "--stride", type=COUNT, help="Steps between two training windows.  [default: by their number]"
    ),
    click.option(
        "--normalize",
        type=click.Choice(("auto", *NORMALIZATIONS)),
        default="auto",
        help="By the training part, or each window by its own last value, or mean and deviation.",
    ),
    click.option(
        "--difference/--no-difference",
        default=False,
        help="Whether to learn what the seasonal naive forecast misses.",
    ),
    click.option(
        "--linear/--no-linear", default=True, help="Whether to add to a linear forecast from the window."
    ),
    click.option("--time", help="Column of times.  [default: the first one that holds dates]"),
    click.option("--no-time", is_flag=True, help="Take each row as the step after the last."),
    click.option("--id", help="Column that says which series a row belongs to."),
    treatments,
    test=0.2,
    clip=None,
    cell="gru",
    hidden=32,
)
@click.pass_context
def forecast(context: click.Context, /, **given: Any) -> None:
    """Train a network to forecast a time series, a CSV or TSV FILE with a header and a step on each line.

    What comes last is the test part, what comes before it the validation part. The network that was best in
    validation is kept, and compared in the test part with other forecasts: that the last season repeats
    itself, that nothing changes, and a ridge regression on the window. Fields may be empty: their steps carry
    no loss, and inputs say where they are.

    A column of times is found by itself. Times that run backwards or occur twice end the command with a line
    that says where, and names the option that treats them. Missing ones are named, and count as missing
    values.

    The network says what a linear forecast from the window, a ridge regression, leaves out. How long the
    window is and what is taken from it before it is read is tried out with such regressions on the validation
    part.
    --clip is the root of the number of outputs, if it is not given.
    """
    options = with_defaults(ForecastOptions(**given))
    data = read_series(options)
    panel, task = data.panel, data.task
    source = _windows(options, data, panel.begins, data.middle, shuffle=True)
    validation = _windows(options, data, data.middle, data.last) if options.validation else None
    test = _windows(options, data, data.last, panel.ends) if options.test else None
    options = replace(options, clip=math.sqrt(task.outputs) if options.clip is None else options.clip)
    net = build_network(options, None, task.features, task.outputs, "last")
    if task.linear is not None:
        _silence(net)
    announce(options, net, **_describe(options, data, source))
    outcome = _train(options, net, data, source, validation)
    parts = {"validation": (validation, data.middle), "test": (test, data.last)}
    said = ""
    if not outcome.interrupted:
        ridge = yardstick(data)
        for name, (part, first) in parts.items():
            if part is not None:
                scores = report(name, net, data, part, first, ridge)
                said = verdict(scores, name, options, data, outcome.history)
    echo(f"trained     {outcome.trainer.step:,} updates; {outcome.time}")

    def draw(path: str) -> None:
        part = None if outcome.interrupted else test or validation
        axes, beside = training_axes(None if part is None else (8.0, 6.0))
        axes = pictures.training_picture(outcome.history, axes, options.clip or None, label="loss, scaled")
        if part is not None:
            draw_forecasts(net, data, part, beside)
        pictures.save_picture(path, axes)

    write(options, net, outcome, draw, task=task)
    if said:
        echo(f"verdict     {said}")
    end(outcome, context)


def _train(
    options: ForecastOptions, net: Network, data: Data, source: Windows, validation: Windows | None
) -> Outcome:
    """Train; where no update brings the validation part nearer than the linear forecast, that stays alone."""
    loss = SquaredError(missing=True)
    epoch = math.ceil(len(source) / options.accumulate)
    watched = None
    if validation is not None:
        places = np.linspace(0, len(validation.origins) - 1, min(WATCHED, len(validation.origins)))
        watched = validation.at(validation.origins[np.unique(places.round().astype(np.intp))])
    outcome = run(options, net, loss, source, watched, epoch, keep_best=True)
    if data.task.linear is not None and watched is not None and len(outcome.history.validations):
        best = outcome.history.validations.column("loss").min()
        kept = net.params.flat.copy()
        _silence(net)
        if outcome.trainer.evaluate(watched) > best:
            net.params.flat[:] = kept
        else:
            echo("note        the network adds nothing to the linear forecast, which is kept alone")
    return outcome


def _silence(net: Network) -> None:
    """Let the network say 0, and the forecast be the linear one."""
    for name in net.params:
        if name.startswith(f"{len(net.layers) - 1}."):
            net.params[name][...] = 0


def read_series(options: ForecastOptions) -> Data:
    """The series, their task, and where the validation part and the test part begin."""
    table = read_table(options.file, options.encoding, options.delimiter, options.decimal)
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
    rows = np.arange(len(panel.values))
    training = panel.values[rows < middle[panel.series_of(rows)]]
    window = options.window or shortest_window(options.horizon, season)
    task = Forecast.fit(training, columns, targets, len(training), window, options.horizon, season)
    masked = bool(np.isnan(panel.values).any())
    task = replace(task, masked=masked, time=time, series=options.id, frequency=panel.frequency)
    return _with_choices(options, Data(panel, task, middle, last), shortest)


def shortest_window(horizon: int, season: int) -> int:
    """The first window that is tried: three horizons or a season."""
    return max(3 * horizon, min(season, LONGEST_SEASON))


def _with_choices(options: ForecastOptions, data: Data, shortest: int) -> Data:
    """The window, the normalization and the linear forecast that err least in the validation part."""
    task = data.task
    first = task.window
    tried = [first, 2 * first, 8 * task.season, 15 * task.season] if task.season > 1 else [first, 2 * first]
    room = min(LONGEST_WINDOW, shortest // 3 - options.horizon)
    windows = sorted({window for window in tried if task.season <= window <= room}) or [first]
    units = data.units(data.middle)
    units = np.where(np.isfinite(units), units, np.array(task.scale)[task.places])
    panel, folds = data.panel, folds_of(data.panel, data.middle, data.last)
    task, _ = choose(
        panel, replace(task, difference=options.difference), folds, units,
        NORMALIZATIONS if options.normalize == "auto" else [options.normalize],
        [options.window] if options.window else windows,
    )  # fmt: skip
    if not options.linear:
        task = replace(task, linear=None)
    return replace(data, task=task)


def _windows(
    options: ForecastOptions, data: Data, first: Index, last: Index, shuffle: bool = False
) -> Windows:
    task = data.task
    origins = data.panel.origins(task.window, task.horizon, first, last)
    if shuffle:  # what is measured is measured everywhere
        origins = origins[:: options.stride or max(len(origins) * task.window // STEPS, 1)]
    return task.windows(
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
        "relative to": {
            "series": "the mean of the training part",
            "last": "each window's last value",
            "window": "each window's mean and deviation",
        }[task.normalize]
        + (", to the seasonal naive forecast" if task.difference else "")
        + (", to a linear forecast from the window" if task.linear else ""),
        "windows": f"{len(source.origins):,} to train on",
    }
    if panel.times is not None:
        ends = f"from {written(panel.times.min())} to {written(panel.times.max())}"
        lines["times"] = f"{task.time}, {ends}, a row every {panel.frequency}"
    for number, note in enumerate(panel.notes):
        lines["note" + " " * number] = note
    return lines
