"""From a table to series: which column says when, which one says whose, and what is odd about them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .panel import Panel, Repeated, Treatment, make_panel
from .series import Floats
from .table import Table, listed
from .times import Frequency, NotTime, Times, looks_like_times, parse_times

#: names of columns that say which series a row belongs to
OWNERS = frozenset({
    "id", "unique_id", "series", "series_id", "shop", "shop_id", "store", "store_id", "item", "item_id",
    "sku", "product", "product_id", "station", "sensor", "sensor_id", "device", "customer", "region", "city",
    "country", "site", "meter", "name", "location", "branch",
})  # fmt: skip


def find_time(table: Table, columns: Sequence[str], ids: str | None = None) -> str | None:
    """The first column that holds dates, or counts steps, and is not read as numbers; None without one."""
    used = {*columns, ids}
    for name in table.header:
        if name not in used and looks_like_times(table.column(name), name):
            if _pattern_of_numbers(table, name) and not _counts(table, name, columns, ids):
                continue
            return name
    return None


def _pattern_of_numbers(table: Table, name: str) -> bool:
    return not any(character in field for field in table.column(name)[:50] for character in "-/.:QJFMASOND")


def _counts(table: Table, name: str, columns: Sequence[str], ids: str | None) -> bool:
    """Whether numbers say when: none occurs twice, within a series if a column tells some apart."""
    fields = table.column(name)
    if len(set(fields)) == len(fields):
        return True
    if ids is not None:
        return len(set(zip(table.column(ids), fields, strict=True))) == len(fields)
    return find_owner(table, fields, [name, *columns]) is not None


def read_times(table: Table, column: str, day_first: bool | None = None) -> Times:
    """A column as times; ValueError names the line of a field that is none."""
    try:
        return parse_times(table.column(column), day_first)
    except NotTime as error:
        line = table.ends[error.place]
        raise ValueError(
            f"{table.name}, line {line}: column {column!r} {error}; --time names the column of times, "
            "--no-time takes rows as steps"
        ) from None


def find_owner(table: Table, times: Sequence[object], used: Sequence[str]) -> str | None:
    """The first column that tells rows of the same time apart and has several rows for each value."""
    for name in table.header:
        if name in used:
            continue
        fields = table.column(name)
        different = len(set(fields))
        if 1 < different <= len(fields) // 2 and len(set(zip(fields, times, strict=True))) == len(fields):
            return name
    return None


def find_blocks(table: Table, used: Sequence[str]) -> str | None:
    """A column that names series stacked one below the other: each value has one block of rows."""
    for name in table.header:
        if name in used:
            continue
        fields = table.column(name)
        runs = 1 + sum(one != other for one, other in pairwise(fields))
        if not 1 < runs <= len(fields) // 4 or len(set(fields)) != runs:
            continue
        text = name not in table.number_columns()
        if name.strip().lower() in OWNERS or text:
            return name
    return None


def panel_of(
    table: Table,
    values: Floats,
    columns: Sequence[str],
    time: str | None,
    ids: str | None = None,
    treatment: Treatment | None = None,
    day_first: bool | None = None,
    frequency: Frequency | None = None,
    stacked: bool = True,
) -> Panel:
    """The columns of a table as series.

    Parameters
    ----------
    values
        ``(N, F)``, the columns' numbers.
    time, ids
        The columns that say when and whose; None for none.
    treatment, frequency
        As for :func:`make_panel`.
    stacked
        Whether to look for series one below the other, where no column says when or whose.

    Raises
    ------
    ValueError
        If a column is not there, times are not times, run backwards or occur twice, or series seem to be
        stacked; the message names the line, and the option that treats it.
    """
    owners = None if ids is None else table.column(ids)
    if owners is not None and not all(map(str.strip, owners)):
        line = table.ends[next(n for n, field in enumerate(owners) if not field.strip())]
        raise ValueError(
            f"{table.name}, line {line}: column {ids!r} is empty, but names the series of its row"
        )
    if time is None:
        if stacked and ids is None and (name := find_blocks(table, columns)) is not None:
            raise ValueError(_stacked(table, name, "one below the other"))
        return make_panel(values, None, owners, treatment)
    times = read_times(table, time, day_first)
    try:
        return make_panel(
            values, times, owners, treatment, frequency,
            where=lambda row: f"{table.name}, line {table.ends[row]}", what=f"{time!r}",
        )  # fmt: skip
    except Repeated as error:
        found = None if ids is not None else find_owner(table, times.tolist(), [time, *columns])
        if found is None:
            raise
        raise ValueError(f"{_stacked(table, found, f'with the same {time!r}')}; {error}") from None


def _stacked(table: Table, name: str, how: str) -> str:
    values = sorted(set(table.column(name)))
    shown = listed(values[:4]) + (", ..." if len(values) > 4 else "")
    return (
        f"{table.name} seems to hold {len(values)} series {how}: column {name!r} is {shown}; --id {name} "
        f"keeps them apart, --no-time takes all rows as one series"
    )


def season_of(panel: Panel, borders: np.ndarray, columns: Sequence[int]) -> int:
    """The season that goes with the data's frequency, if the training part has it; otherwise 1.

    It has where values at that distance are nearer to one another than those at half of it.
    """
    season = 1 if panel.frequency is None else panel.frequency.season
    if season < 2:
        return 1
    near, apart = [], []
    for begin, border in zip(panel.begins, borders, strict=True):
        part = panel.values[begin:border][:, list(columns)]
        if len(part) < 4 * season:
            continue
        spread = np.nanstd(part, axis=0)
        spread[~(spread > 0)] = 1
        near.append(np.nanmean(np.abs(part[season:] - part[:-season]) / spread))
        half = season // 2
        apart.append(np.nanmean(np.abs(part[half:] - part[:-half]) / spread))
    return season if near and float(np.mean(near)) < 0.95 * float(np.mean(apart)) else 1
