"""Time columns: dates as people write them, the step between rows, and the times of a forecast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fields import Fields

Times = NDArray[Any]  # datetime64[us] (N,), or float64 where the column counts steps or seconds

SAMPLE = 50  # fields that decide how a column is written
MONTH = 28  # days: from here on steps are looked for in months
#: names of columns of numbers that say when, not what
NUMBERED = frozenset({"t", "time", "timestamp", "step", "index", "ds", "date", "year", "hour", "day", ""})

_CLOCK = r"(?:[T ,]+(\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d+)?))?\s*([AaPp][Mm])?)?"
_ZONE = r"\s*(Z|UTC|[+-]\d{2}:?\d{2})?$"
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?" + _CLOCK + _ZONE)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})" + _CLOCK + _ZONE)
_COMPACT = re.compile(r"((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")
_QUARTER = re.compile(r"(\d{4})[- ]?[Qq]([1-4])$")
_NAMED = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %Y", "%B %Y", "%b-%Y", "%Y %b")


class NotTime(ValueError):
    """A field that says no time; ``place`` is its number."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def looks_like_times(fields: Sequence[str], name: str = "") -> bool:
    """Whether a column begins with dates, or with numbers and is called time, step or the like."""
    sample = [text for field in fields[:SAMPLE] if (text := field.strip())]
    if not sample:
        return False
    if all(_pattern(text) is not None for text in sample):
        return True
    return name.strip().lower() in NUMBERED and all(_is_number(text) for text in sample)


def parse_times(fields: Sequence[str], day_first: bool | None = None) -> Times:
    """Fields as times, ``(N,)``: datetime64 in microseconds, or float64 for a column of numbers.

    Understood are ISO 8601, years first or last with ``-``, ``/`` or ``.``, names of months in English,
    quarters (2020Q1), eight digits (20200131), hours with or without AM and PM. Times with an offset from UTC
    become UTC.

    Parameters
    ----------
    day_first
        Whether 1/2/2020 is in February; None to find out from the days above 12.

    Raises
    ------
    NotTime
        If a field is no time, or the column leaves open which number is the day.
    """
    try:  # what NumPy reads by itself, a million rows in a tenth of a second
        if all(re.match(r"\d{4}-\d\d", field) for field in fields[:SAMPLE]):
            blocks = fields.blocks() if isinstance(fields, Fields) else [fields]
            times = np.concatenate([np.array(block, "M8[us]") for block in blocks])
            if not np.isnat(times).any():
                return times
    except (ValueError, UserWarning, DeprecationWarning):
        pass
    texts = [field.strip() for field in fields]
    if all(map(_is_number, texts[:SAMPLE])) and not all(map(_COMPACT.match, texts[:SAMPLE])):
        return _numbers(texts)
    order = _day_first(texts) if day_first is None else day_first
    return np.array([_parse(place, text, order) for place, text in enumerate(texts)], "M8[us]")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", text) is not None


def _pattern(text: str) -> str | None:
    """How a date is written, or None if it is no date."""
    for name, pattern in (("first", _YEAR_FIRST), ("last", _YEAR_LAST), ("digits", _COMPACT)):
        if pattern.match(text):
            return name
    if _QUARTER.match(text):
        return "quarter"
    return "named" if _named(text) is not None else None


def _named(text: str) -> datetime | None:
    if not re.match(r"[A-Za-z\d][A-Za-z\d ,.-]{5,24}$", text) or not re.search(r"[A-Za-z]{3}", text):
        return None
    for form in _NAMED:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _numbers(texts: Sequence[str]) -> Times:
    for place, text in enumerate(texts):
        if not _is_number(text):
            raise NotTime(place, f"holds {text[:40]!r}, but numbers like those before it are expected")
    return np.array(texts, np.float64)


def _day_first(texts: Sequence[str]) -> bool:
    """Whether the first of two numbers is the day; ``NotTime`` if the column does not say."""
    found = [(match, place) for place, text in enumerate(texts) if (match := _YEAR_LAST.match(text))]
    if not found:
        return True
    if any(int(match[1]) > 12 for match, _ in found):
        return True
    if any(int(match[3]) > 12 for match, _ in found) or all(match[2] == "." for match, _ in found):
        return found[0][0][2] == "."
    match, place = found[0]
    raise NotTime(place, f"holds {match[0]!r}, where day and month could be either: --day-first or "
                  "--month-first (in Python day_first=) says which")  # fmt: skip


def _parse(place: int, text: str, day_first: bool) -> datetime:
    try:
        found = _read(text, day_first)
    except ValueError as error:
        raise NotTime(place, f"holds {text[:40]!r}, which is no time: {error}") from None
    if found is None:
        what = f"holds {text[:40]!r}, which is not a time" if text else "is empty, but a time is expected"
        raise NotTime(place, what)
    return found


def _read(text: str, day_first: bool) -> datetime | None:
    if match := _YEAR_FIRST.match(text):
        year, month, day, *clock = match.groups()
        return _moment(year, month, day or "1", *clock)
    if match := _YEAR_LAST.match(text):
        one, _, two, year, *clock = match.groups()
        return _moment(year, two if day_first else one, one if day_first else two, *clock)
    if match := _COMPACT.match(text):
        return datetime(int(match[1]), int(match[2]), int(match[3]))
    if match := _QUARTER.match(text):
        return datetime(int(match[1]), 3 * int(match[2]) - 2, 1)
    return _named(text)


def _moment(
    year: str, month: str, day: str, hour: str | None, minute: str | None, second: str | None,
    half: str | None, zone: str | None,
) -> datetime:  # fmt: skip
    seconds = float((second or "0").replace(",", "."))
    hours = int(hour or 0)
    if half:
        if not 1 <= hours <= 12:
            raise ValueError(f"hour {hours} of {half}")
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    moment = datetime(
        int(year), int(month), int(day), hours, int(minute or 0), int(seconds), round(seconds % 1 * 1e6)
    )
    if zone is None or zone in ("Z", "UTC"):
        return moment
    aware = datetime.fromisoformat(moment.isoformat() + zone)
    return aware.astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Frequency:
    """The step from row to row.

    Attributes
    ----------
    size
        Steps of ``unit``.
    unit
        ``"us"`` (microseconds), ``"month"``, ``"weekday"`` (Monday to Friday), or ``"number"`` for a column
        that counts.
    """

    size: float
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in ("us", "month", "weekday", "number"):
            raise ValueError(f"unit is {self.unit!r}, but one of us, month, weekday, number is expected")
        if not 0 < self.size < float("inf"):
            raise ValueError(f"size is {self.size}, but a number above 0 is expected")

    @classmethod
    def find(cls, times: Times) -> Frequency | None:
        """The most frequent step of sorted times without duplicates; None of fewer than two."""
        if len(times) < 2:
            return None
        if times.dtype.kind == "f":
            return cls(_most_frequent(np.round(np.diff(times), 9)), "number")
        step = _most_frequent(np.diff(times).astype(np.int64))
        days = times.astype("M8[D]")
        if step >= MONTH * 86_400_000_000 and _same_place_in_month(days):
            return cls(_most_frequent(np.diff(days.astype("M8[M]").astype(np.int64))), "month")
        whole = step == 86_400_000_000 and bool((times - days == times[0] - days[0]).all())
        if whole and len(times) >= 10 and bool(np.is_busday(days).all()):
            return cls(1, "weekday")
        return cls(step, "us")

    def places(self, times: Times) -> NDArray[np.float64]:
        """How many steps after the first each time is, ``(N,)``; not whole where it is off the grid."""
        if self.unit == "number":
            return np.asarray(np.round((times - times[0]) / self.size, 6), np.float64)
        if self.unit == "month":
            months = times.astype("M8[M]").astype(np.int64)
            return np.asarray((months - months[0]) / self.size, np.float64)
        if self.unit == "weekday":
            days = times.astype("M8[D]")
            return np.busday_count(days[0], days).astype(np.float64)
        return np.asarray((times - times[0]).astype(np.int64) / self.size, np.float64)

    def after(self, time: Any, steps: Any) -> Times:
        """The times so many steps after one, ``(n,)``."""
        steps = np.asarray(steps)
        if self.unit == "number":
            return np.asarray(time + steps * self.size)
        if self.unit == "weekday":
            day = time.astype("M8[D]")
            return np.asarray(np.busday_offset(day, steps).astype("M8[us]") + (time - day))
        if self.unit == "us":
            return np.asarray(time + (steps * int(self.size)).astype("m8[us]"))
        month = time.astype("M8[M]")
        there = month + steps * int(self.size)
        into = time - month.astype("M8[us]")
        last_day = time.astype("M8[D]") + 1 == (month + 1).astype("M8[D]")
        if last_day and into >= np.timedelta64(27, "D"):
            return np.asarray((there + 1).astype("M8[us]") - ((month + 1).astype("M8[us]") - time))
        return np.asarray(there.astype("M8[us]") + into)

    def __str__(self) -> str:
        """As a person says it: ``"1 hour"``, ``"15 minutes"``, ``"3 months"``."""
        if self.unit in ("number", "month", "weekday"):
            return (
                f"{self.size:g} {self.unit}{'s' * (self.size != 1)}"
                if self.unit != "number"
                else (f"{self.size:g}")
            )
        for name, length in (("week", 604_800_000_000), ("day", 86_400_000_000), ("hour", 3_600_000_000),
                             ("minute", 60_000_000), ("second", 1_000_000)):  # fmt: skip
            if self.size % length == 0:
                number = int(self.size // length)
                return f"{number} {name}{'s' * (number != 1)}"
        return f"{self.size / 1e6:g} seconds"

    @property
    def season(self) -> int:
        """Steps of the period that such data usually have: a day, a week, a year; 1 if there is none."""
        if self.unit == "month":
            return max(int(12 // self.size), 1)
        if self.unit == "weekday":
            return 5
        if self.unit == "us":
            for length in (86_400_000_000, 604_800_000_000):
                if self.size < length and length % self.size == 0:
                    return int(length // self.size)
            if self.size == 604_800_000_000:
                return 52
        return 1


def _most_frequent(steps: NDArray[Any]) -> float:
    values, counts = np.unique(steps, return_counts=True)
    return float(values[counts.argmax()])


def _same_place_in_month(days: Times) -> bool:
    months = days.astype("M8[M]")
    first, behind = days - months.astype("M8[D]"), (months + 1).astype("M8[D]") - days
    return bool((first == first[0]).all() or (behind == behind[0]).all())


def written(time: Any) -> str:
    """A time as ISO 8601 writes it; a day without its midnight."""
    return written_alike(np.array([time]))[0]


def written_alike(times: Times) -> list[str]:
    """Times as ISO 8601 writes them, all in one form: days alone where every time is a midnight."""
    if times.dtype.kind == "f":
        return [f"{time:.15g}" for time in times.tolist()]
    unit: Any = "D" if (times == times.astype("M8[D]")).all() else "s"
    if (times != times.astype("M8[s]")).any():
        unit = "us"
    return [text.replace("T", " ") for text in np.datetime_as_string(times, unit).tolist()]
