"""Series with their times: sorted, without duplicates, on a regular grid, several of them end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .naive import Floats, Index, fill_forward
from .series import split_times
from .times import Frequency, Times, written

ORDERS = ("error", "sort")
DUPLICATES = ("error", "first", "last", "mean")
GAPS = ("error", "mask", "fill", "drop")

MOST_GAPS = 1.0  # rows put in, in rows that there are: beyond that a series is not regular


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done about times that are not one after the other.

    Attributes
    ----------
    order
        Times that run backwards: ``"error"`` or ``"sort"``.
    duplicates
        Times that occur twice: ``"error"``, or keep ``"first"``, ``"last"`` or ``"mean"``.
    gaps
        Times that are missing: ``"error"``; ``"mask"`` puts in rows without a value; ``"fill"`` repeats the
        last known value there and in every missing field; ``"drop"`` leaves them out, and no window crosses
        the gap.
    """

    order: str = "error"
    duplicates: str = "error"
    gaps: str = "mask"

    def __post_init__(self) -> None:
        for name, choices in (("order", ORDERS), ("duplicates", DUPLICATES), ("gaps", GAPS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")


class Repeated(ValueError):
    """Times occur twice within a series: several series may be stacked in the table."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Series with the same columns, end to end.

    Attributes
    ----------
    values
        ``(N, F)``; NaN is missing.
    names
        Of the series; one empty name where there is only one.
    begins
        First row of each series, ``(S,)``.
    pieces
        First row of each piece without a gap, ``(P,)``: windows do not cross their borders.
    times
        Of the rows, ``(N,)``; None where there are none.
    frequency
        The step between rows; None where there are no times.
    notes
        What was done to the rows, for the person who must know it.
    """

    values: Floats
    names: list[str]
    begins: Index
    pieces: Index
    times: Times | None = None
    frequency: Frequency | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ends(self) -> Index:
        """The row behind each series, ``(S,)``."""
        return np.append(self.begins[1:], len(self.values))

    def parts(self, validation: float, test: float) -> tuple[Index, Index]:
        """Where in each series the validation part and the test part begin, ``(S,)`` rows each."""
        splits = [split_times(int(n), validation, test) for n in self.ends - self.begins]
        borders = np.array(splits, np.intp).reshape(-1, 2) + self.begins[:, None]
        return borders[:, 0], borders[:, 1]

    def origins(self, window: int, horizon: int, first: Index, last: Index, stride: int = 1) -> Index:
        """First steps of horizons in the rows first..last-1 of their series, with a window before them."""
        found = []
        ends = np.append(self.pieces[1:], len(self.values))
        series = np.searchsorted(self.begins, self.pieces, side="right") - 1
        for begin, end, number in zip(self.pieces, ends, series, strict=True):
            lowest, highest = max(begin + window, first[number]), min(end, last[number]) - horizon
            found.append(np.arange(lowest, highest + 1, stride))
        return np.concatenate(found)

    def series_of(self, rows: Index) -> Index:
        """The number of the series that each row belongs to."""
        return np.asarray(np.searchsorted(self.begins, rows, side="right") - 1)

    def filled(self) -> Floats:
        """The values with each missing one replaced by the last known one of its series."""
        parts = [fill_forward(self.values[a:b]) for a, b in zip(self.begins, self.ends, strict=True)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def make_panel(
    values: Floats,
    times: Times | None = None,
    ids: Sequence[str] | None = None,
    treatment: Treatment | None = None,
    frequency: Frequency | None = None,
    where: Callable[[int], str] = "row {}".format,
    what: str = "time",
) -> Panel:
    """Rows of a table as series on a regular grid.

    Parameters
    ----------
    values
        ``(N, F)``.
    times
        ``(N,)``; None where each row is the step after the last.
    ids
        The series that each row belongs to, ``(N,)``; None if there is one.
    treatment
        Of what is not regular.
    frequency
        None to find it: the most frequent step.
    where, what
        How messages name a row and the column of times.

    Raises
    ------
    Repeated
        If a time occurs twice and the treatment does not say what to do.
    ValueError
        If times run backwards, are missing, or are off the grid, likewise.
    """
    treatment = treatment or Treatment()
    groups = _groups(ids, len(values))
    if times is None:
        order = np.concatenate([rows for _, rows in groups])
        begins = np.cumsum([0, *(len(rows) for _, rows in groups)])[:-1]
        ordered = values if ids is None else values[order]
        return Panel(ordered, [name for name, _ in groups], begins, begins)
    notes: list[str] = []
    put = [_in_order(name, rows, values, times, treatment, where, what, notes) for name, rows in groups]
    if frequency is None:
        frequency = Frequency.find(max(put, key=lambda part: len(part[1]))[1])
    parts = [_regular(*part, frequency, treatment, where, what, notes) for part in put]
    lengths = [len(part[0]) for part in parts]
    begins = np.cumsum([0, *lengths])[:-1]
    pieces = np.concatenate([part[2] + begin for part, begin in zip(parts, begins, strict=True)])
    return Panel(
        _joined([part[0] for part in parts]), [name for name, _ in groups], begins, pieces,
        _joined([part[1] for part in parts]), frequency, _merged(notes),
    )  # fmt: skip


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _merged(notes: list[str]) -> list[str]:
    """The first few notes, and how many more there are."""
    return notes if len(notes) <= 3 else [*notes[:2], f"the same of {len(notes) - 2} more series"]


def _groups(ids: Sequence[str] | None, n: int) -> list[tuple[str, Index]]:
    """The rows of each series, in order of first appearance."""
    if ids is None:
        return [("", np.arange(n))]
    numbers: dict[str, int] = {}
    of = np.fromiter((numbers.setdefault(name, len(numbers)) for name in ids), np.intp, n)
    order = np.argsort(of, kind="stable")
    return list(zip(numbers, np.split(order, np.cumsum(np.bincount(of))[:-1]), strict=True))


Part = tuple[Floats, Times, Index, str]


def _in_order(
    name: str, rows: Index, values: Floats, times: Times, treatment: Treatment,
    where: Callable[[int], str], what: str, notes: list[str],
) -> Part:  # fmt: skip
    """Rows of one series with times that rise: sorted, and each time once, as the treatment says."""
    own = times[rows] if len(rows) < len(times) else times
    steps = np.diff(own)
    zero = np.zeros((), steps.dtype)
    backwards = steps < zero
    order = np.argsort(own, kind="stable") if backwards.any() else np.arange(len(own))
    twice = np.diff(own[order]) == zero
    if twice.any() and treatment.duplicates == "error":
        place = int(twice.argmax())
        first, second = rows[order[place]], rows[order[place + 1]]
        raise Repeated(
            f"{where(int(second))}: {what} {written(times[second])} occurs again, after {where(int(first))}"
            f"{_of(name)}, and so do {int(twice.sum()):,} rows in all; --duplicates first, last or mean (in "
            "Python duplicates=) makes one row of them"
        )
    if backwards.any():
        row = int(backwards.argmax())
        if treatment.order == "error":
            raise ValueError(
                f"{where(int(rows[row + 1]))}: {what} runs backwards, from {written(own[row])} to "
                f"{written(own[row + 1])}{_of(name)}, {int(backwards.sum()):,} times in all; --order sort "
                "(in Python order='sort') sorts the rows by it, --no-time takes them as they are"
            )
        notes.append(f"{len(own):,} rows sorted by {what}{_of(name)} (--order sort)")
    rows = rows[order]
    chosen = values[rows] if backwards.any() or len(rows) < len(values) else values
    own = own[order] if backwards.any() else own
    if twice.any():
        chosen, own, rows = _once(chosen, own, rows, treatment.duplicates)
        notes.append(f"{int(twice.sum()):,} rows merged into others of the same {what}{_of(name)} "
                     f"(--duplicates {treatment.duplicates})")  # fmt: skip
    return chosen, own, rows, name


def _once(values: Floats, times: Times, rows: Index, keep: str) -> tuple[Floats, Times, Index]:
    """One row for each time of sorted ones."""
    new = np.append(True, times[1:] != times[:-1])
    first = np.flatnonzero(new)
    if keep == "last":
        first = np.append(first[1:], len(times)) - 1
    if keep != "mean":
        return values[first], times[first], rows[first]
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0), first, axis=0)
    counts = np.add.reduceat(known.astype(np.float64), first, axis=0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means, times[first], rows[first]


def _of(name: str) -> str:
    return f" in series {name!r}" if name else ""


def _regular(
    values: Floats, times: Times, rows: Index, name: str, frequency: Frequency | None, treatment: Treatment,
    where: Callable[[int], str], what: str, notes: list[str],
) -> tuple[Floats, Times, Index]:  # fmt: skip
    """Values and times of one series on the grid, and where its pieces begin."""
    start = np.zeros(1, np.intp)
    if frequency is None or len(times) < 2:
        return values, times, start
    places = frequency.places(times)
    off = (places != np.round(places)) | np.append(False, np.diff(places) < 1)
    if off.any():
        row = int(off.argmax())
        raise ValueError(
            f"{where(int(rows[row]))}: {what} {written(times[row])} is not a whole number of steps of "
            f"{frequency} after {written(times[0])}{_of(name)}, and so are {int(off.sum()):,} rows; bring "
            "them to regular times first, or take rows as steps with --no-time"
        )
    places = places.astype(np.int64)
    jumps = np.diff(places) > 1
    missing = int(places[-1]) + 1 - len(places)
    if not missing:
        return (fill_forward(values) if treatment.gaps == "fill" else values), times, start
    row = int(jumps.argmax())
    said = (f"{missing:,} of {int(places[-1]) + 1:,} rows are missing{_of(name)} in {int(jumps.sum()):,} "
            f"gaps, the first after {what} {written(times[row])}")  # fmt: skip
    if treatment.gaps == "error":
        raise ValueError(
            f"{where(int(rows[row + 1]))}: {said}; --gaps (in Python gaps=) mask, fill or drop treats them"
        )
    if treatment.gaps == "drop":
        notes.append(f"{said}: no window crosses one (--gaps drop)")
        return values, times, np.append(0, np.flatnonzero(jumps) + 1)
    if missing > MOST_GAPS * len(places) + 10:
        raise ValueError(
            f"{where(int(rows[row + 1]))}: {said}, more than there are, in steps of {frequency}; --gaps drop "
            "leaves them out, --no-time takes rows as steps"
        )
    whole = np.full((int(places[-1]) + 1, values.shape[1]), np.nan)
    whole[places] = values
    treated = "repeat the last known value" if treatment.gaps == "fill" else "count as missing"
    notes.append(f"{said}: they {treated} (--gaps {treatment.gaps})")
    grid = frequency.after(times[0], np.arange(len(whole)))
    return (fill_forward(whole) if treatment.gaps == "fill" else whole), grid, start
