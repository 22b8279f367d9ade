"""Reading a file of time series, the same way for every command: its times, its series, what is odd in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ..data import Forecast, Panel, Treatment, check_series, read_table
from ..data.dated import find_time, panel_of
from ..data.panel import DUPLICATES, GAPS, ORDERS
from ..data.table import Table, listed

Floats = NDArray[np.float64]

ORDER = click.option(
    "--order", type=click.Choice(ORDERS), default="error", help="Of times that run backwards."
)
TWICE = click.option(
    "--duplicates",
    type=click.Choice(DUPLICATES),
    default="error",
    help="Of times that occur twice: what to keep.",
)
MISSING_ROWS = click.option(
    "--gaps", type=click.Choice(GAPS), default="mask",
    help="Of times that are missing: put in rows without values, or with the last known ones, or cut there.",
)  # fmt: skip
DAY = click.option("--day-first/--month-first", default=None, help="How 1/2/2020 is read.  [default: found]")


def treatments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that treat times."""
    for option in (DAY, MISSING_ROWS, TWICE, ORDER):
        command = option(command)
    return command


def read_columns(table: Table, columns: list[str]) -> Floats:
    """Columns of numbers side by side, ``(N, F)``."""
    for column in columns:
        table.column(column)  # a wrong name is missed before a wrong number
    return np.stack([table.numbers(column) for column in columns], axis=1)


def choose_columns(
    table: Table, targets: Sequence[str], columns: str | None, others: set[str | None]
) -> tuple[list[str], list[str]]:
    """The columns that are read and those that are forecast; a single column of numbers needs no name."""
    chosen = list(targets) or _only_column(table, others)
    named = [] if columns is None else [name.strip() for name in columns.split(",")]
    known = set(named)
    return [*named, *(target for target in chosen if target not in known)], chosen


def _only_column(table: Table, others: set[str | None]) -> list[str]:
    numbers = [name for name in table.number_columns() if name not in others]
    if len(numbers) > 1:  # one of them may be what counts the steps
        time = find_time(table, [])
        numbers = [name for name in numbers if name != time]
    if len(numbers) != 1:
        found = f"{listed(numbers) or 'none'} of {listed(table.header)} hold numbers"
        raise click.UsageError(f"--target wants the column to forecast: in {table.name} {found}")
    return numbers


def find_times(table: Table, columns: Sequence[str], time: str | None, no_time: bool, ids: str | None) -> Any:
    """The column of times: the one that is named, or found, or None."""
    if time is not None and no_time:
        raise click.UsageError("--time and --no-time are both given, but one of them is expected")
    for name, column in (("--time", time), ("--id", ids)):
        if column is not None:
            table.column(column)
            if column in columns:
                raise click.UsageError(f"{name} is {column}, which is one of the columns to read as numbers")
    return None if no_time else time or find_time(table, columns, ids)


def read_again(
    task: Forecast, file: str, encoding: str, delimiter: str | None, treatment: Treatment,
    day_first: bool | None = None, decimal: str | None = None,
) -> Panel:  # fmt: skip
    """The series of a file for a model that knows its columns.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, lacks a column, or has another step between its rows than in training.
    """
    table = read_table(file, encoding, delimiter, decimal)
    columns = list(task.columns)
    values = read_columns(table, columns)
    check_series(values, columns)
    panel = panel_of(
        table, values, columns, task.time, task.series, treatment, day_first, task.frequency,
        stacked=task.series is None and task.time is not None,
    )  # fmt: skip
    return panel
