"""Times as people write them, regular grids, and series end to end: nothing irregular passes in silence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.data import Frequency, Treatment, make_panel, parse_times
from rnncore.data.times import NotTime, looks_like_times, written_alike

DAY = np.datetime64("2020-02-01", "us")


@pytest.mark.parametrize(
    "fields",
    [
        ["2020-02-01", "2020-02-02"], ["2020-02", "2020-03"], ["2020/02/01 00:00", "2020/2/2 0:00"],
        ["01.02.2020", "02.02.2020"], ["1/2/2020 12:00 AM", "13/2/2020 1:30 pm"], ["2/1/2020", "2/13/2020"],
        ["20200201", "20200202"], ["2020-02-01T00:00:00Z", "2020-02-01T03:00:00+01:00"],
        ["1-Feb-2020", "02-Feb-2020"], ["Feb 2020", "Mar 2020"], ["1 February 2020", "2 February 2020"],
        ["2020-02-01 00:00:00.000", "2020-02-01 00:00:00,5"], ["2020-02-01T00:00", "2020-02-01T00:15"],
    ],
    ids=lambda fields: fields[0],
)  # fmt: skip
def test_dates_as_people_write_them(fields):
    times = parse_times(fields)
    assert looks_like_times(fields)
    assert times.dtype == "M8[us]"
    assert times[0] == DAY
    assert times[1] > DAY


def test_halves_of_the_day_quarters_and_offsets():
    assert parse_times(["2020-02-01 12:05 AM", "2020-02-01 12:05 PM"]).tolist() == [
        (DAY + np.timedelta64(5, "m")).tolist(), (DAY + np.timedelta64(725, "m")).tolist(),
    ]  # fmt: skip
    assert parse_times(["2020Q1", "2020-Q2"]).astype("M8[M]").astype(str).tolist() == ["2020-01", "2020-04"]
    assert parse_times(["2020-02-01T01:00+01:00"])[0] == DAY
    assert parse_times(["1/2/2020"], day_first=True)[0] == DAY
    assert parse_times(["2/1/2020"], day_first=False)[0] == DAY
    assert parse_times(["3", "4.5"]).tolist() == [3, 4.5]


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        (["1/2/2020", "2/2/2020"], 0, "day and month could be either: --day-first or --month-first"),
        (["2020-02-01", ""], 1, "is empty"),
        (["2020-02-01", "2020-02-30"], 1, "'2020-02-30', which is no time: day"),
        (["2020-02-01", "soon"], 1, "'soon', which is not a time"),
        (["1"] * 60 + ["x"], 60, "'x', but numbers"),
        (["13.1.2020", "13:00"], 1, "'13:00'"),
        (["2020-02-01 13:00 PM"], 0, "hour 13 of PM"),
    ],
)
def test_what_is_no_time_is_named_with_its_place(fields, place, message):
    with pytest.raises(NotTime, match=message) as error:
        parse_times(fields)
    assert error.value.place == place


@pytest.mark.parametrize("fields", [["d0", "d1"], ["1.5", "2"], ["", " "], ["may", "june"], ["12:00"]])
def test_other_columns_are_not_taken_for_times(fields):
    assert not looks_like_times(fields, "load")


GRIDS = [
    ("2020-01-31 05:00", Frequency(3600e6, "us"), "1 hour", 24),
    ("2020-01-31 05:00", Frequency(900e6, "us"), "15 minutes", 96),
    ("2020-01-31", Frequency(86400e6, "us"), "1 day", 7),
    ("2020-01-01", Frequency(1, "month"), "1 month", 12),
    ("2020-01-31", Frequency(1, "month"), "1 month", 12),
    ("2020-02-29 12:00", Frequency(3, "month"), "3 months", 4),
    ("2020-01-31", Frequency(1, "weekday"), "1 weekday", 5),
    ("2020-01-31", Frequency(7 * 86400e6, "us"), "1 week", 52),
]


@pytest.mark.parametrize(("start", "frequency", "text", "season"), GRIDS, ids=[grid[2] for grid in GRIDS])
def test_a_grid_is_found_again_and_goes_on(start, frequency, text, season):
    times = frequency.after(np.datetime64(start, "us"), np.arange(40))
    assert Frequency.find(times) == frequency
    np.testing.assert_array_equal(frequency.places(times), np.arange(40))
    np.testing.assert_array_equal(frequency.after(times[29], np.arange(1, 11)), times[30:])
    assert str(frequency) == text
    assert frequency.season == season
    np.testing.assert_array_equal(parse_times(written_alike(times)), times)


@given(st.integers(2, 60), st.integers(0, 2**32 - 1), st.sampled_from(["mask", "fill", "drop"]))
def test_rows_in_any_order_with_any_missing_come_back_on_the_grid(n, seed, gaps):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, 2))
    kept = rng.random(n) < 0.7
    kept[[0, -1]] = True
    rows = rng.permutation(np.flatnonzero(kept))
    grid = Frequency(3600e6, "us")
    times = grid.after(DAY, np.arange(n))
    panel = make_panel(values[rows], times[rows], treatment=Treatment("sort", gaps=gaps), frequency=grid)
    if gaps == "drop":
        np.testing.assert_array_equal(panel.values, values[kept])
        np.testing.assert_array_equal(panel.times, times[kept])
        inside = panel.origins(2, 1, panel.begins, panel.ends)
        assert all((np.diff(panel.times[o - 2 : o + 1]) == np.timedelta64(1, "h")).all() for o in inside)
        assert len(inside) == sum(kept[i : i + 3].all() for i in range(n - 2))
    elif kept.sum() >= n // 2 - 5:
        np.testing.assert_array_equal(panel.times, times)
        np.testing.assert_array_equal(panel.values[kept], values[kept])
        last = values[np.maximum.accumulate(np.where(kept, np.arange(n), 0))]
        wanted = last if gaps == "fill" else np.where(kept[:, None], values, np.nan)
        np.testing.assert_array_equal(panel.values, wanted)
    assert len(panel.notes) == int((np.diff(rows) < 0).any()) + int(not kept.all())


@pytest.mark.parametrize(("keep", "wanted"), [("first", [1, 3]), ("last", [2, 3]), ("mean", [1.5, 3])])
def test_a_time_that_occurs_twice_becomes_one_row(keep, wanted):
    times = parse_times(["2020-02-01", "2020-02-01", "2020-02-02"])
    panel = make_panel(np.array([[1.0], [2], [3]]), times, treatment=Treatment(duplicates=keep))
    assert panel.values[:, 0].tolist() == wanted
    with pytest.raises(ValueError, match="2020-02-01 occurs again, after row 0"):
        make_panel(np.zeros((3, 1)), times)


def test_windows_do_not_cross_from_one_series_to_the_next():
    owners = ["a", "b"] * 10 + ["b"] * 5
    values = np.arange(25.0)[:, None]
    panel = make_panel(values, None, owners)
    assert panel.names == ["a", "b"]
    own = [[float(i) for i, name in enumerate(owners) if name == owner] for owner in "ab"]
    assert [panel.values[a:b, 0].tolist() for a, b in zip(panel.begins, panel.ends, strict=True)] == own
    windows = {tuple(panel.values[o - 3 : o + 2, 0]) for o in panel.origins(3, 2, panel.begins, panel.ends)}
    assert windows == {tuple(part[i : i + 5]) for part in own for i in range(len(part) - 4)}
    middle, last = panel.parts(0.2, 0.2)
    assert (middle - panel.begins).tolist() == [6, 9]
    assert (panel.ends - last).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("places", "treatment", "message"),
    [
        ([0, 2, 1, 3], {}, "row 2: time runs backwards, from 2020-02-03 to 2020-02-02.*--order sort"),
        ([0, 1, 3, 4], {"gaps": "error"}, "row 2: 1 of 5 rows are missing in 1 gaps, the first after time"),
        ([0, 1, 2, 3.5, 5], {}, "row 3: time 2020-02-04 12:00:00 is not a whole number of steps of 1 day"),
        ([0, 1, 2, 99], {}, "more than there are, in steps of 1 day; --gaps drop"),
    ],
)
def test_what_is_irregular_is_named_with_its_treatment(places, treatment, message):
    times = DAY + (np.array(places) * 86400e6).astype("m8[us]")
    with pytest.raises(ValueError, match=message):
        make_panel(np.zeros((len(places), 1)), times, treatment=Treatment(**treatment))


@pytest.mark.parametrize("wrong", [{"order": "up"}, {"duplicates": "sum"}, {"gaps": "zero"}])
def test_an_unknown_treatment_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .* expected one of error, "):
        Treatment(**wrong)


@pytest.mark.parametrize("wrong", [(1, "year"), (0, "us"), (float("nan"), "month")])
def test_an_impossible_frequency_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Frequency(*wrong)
