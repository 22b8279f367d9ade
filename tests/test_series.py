"""Time series: windows are the series, scaling knows the training part, what is missing carries no loss."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore import GRU, Adam, Dense, LastStep, Network, SquaredError
from rnncore.data import Forecast, Windows, check_series, naive_forecasts, split_times, task_from_dict
from rnncore.data.naive import fill_forward
from rnncore.metrics import seasonal_naive
from rnncore.trainer import Trainer

NAMES = ("a", "b")


def series(n=60, holes=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.standard_normal((n, 2)), axis=0) * [1, 40] + [5, -300]
    missing = rng.random(values.shape) < holes
    missing[0] = False  # no column is empty
    values[missing] = np.nan
    return values


def fit(values, targets=("b",), train=40, window=5, horizon=3):
    return Forecast.fit(values, NAMES, targets, train, window, horizon)


@given(
    st.integers(20, 60), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9),
    st.sampled_from([("a",), ("b",), ("b", "a")]), st.booleans(),
)  # fmt: skip
def test_a_window_is_the_series_before_and_a_target_the_series_behind(
    n, window, horizon, stride, rows, targets, shuffle
):
    values = series(n)
    task = fit(values, targets, 10, window, horizon)
    source = task.windows(values, 7, n - 1, stride, rows, seed=1, shuffle=shuffle, dtype="float64")
    wanted = {
        origin: (values[origin - window : origin], values[origin : origin + horizon])
        for origin in range(max(7, window), n - 1 - horizon + 1, stride)
    }
    batches = list(source.batches(2))
    assert len(batches) == len(source)
    assert source.origins.tolist() == list(wanted)
    found = []
    for batch in batches:
        back = batch.x * task.scale + task.center
        ahead = task.unscale(batch.target)
        for b in range(batch.x.shape[1]):
            # The first value behind the window finds the origin: no two values of the series are alike.
            origin = next(o for o, (x, _) in wanted.items() if np.allclose(x, back[:, b], rtol=1e-9, atol=0))
            np.testing.assert_allclose(ahead[b], wanted[origin][1][:, task.places])
            found.append(origin)
    assert sorted(found) == list(wanted)
    assert shuffle or found == list(wanted)


@given(st.integers(0, 9), st.integers(5, 50))
def test_scaling_does_not_look_beyond_the_training_part(seed, train):
    values = series(seed=seed, holes=0.2)
    other = values.copy()
    other[train:] = 1e9
    for task in (fit(values, train=train), fit(other, train=train)):
        np.testing.assert_allclose(task.center, np.nanmean(values[:train], axis=0))
        np.testing.assert_allclose(task.scale, np.nanstd(values[:train], axis=0))


def test_inputs_say_what_is_missing():
    values = series(holes=0.3)
    task = fit(values)
    assert task.masked
    assert task.features == 4
    inputs = task.inputs(values)
    known = ~np.isnan(values)
    np.testing.assert_array_equal(inputs[:, 2:], known)
    np.testing.assert_array_equal(inputs[:, :2][~known], 0)
    np.testing.assert_allclose((inputs[:, :2] * task.scale + task.center)[known], values[known])
    whole = fit(series())
    assert not whole.masked
    with pytest.raises(ValueError, match=r"column '[ab]' is missing at step"):
        whole.inputs(values)


def test_windows_without_any_known_target_are_left_out():
    values = series(30)
    values[10:20, 1] = np.nan
    origins = fit(values, train=10, horizon=2).windows(values).origins
    assert set(range(5, 29)) - set(origins.tolist()) == set(range(10, 19))


@given(st.integers(0, 99))
def test_missing_targets_carry_neither_loss_nor_gradient(seed):
    rng = np.random.default_rng(seed)
    y, target = rng.standard_normal((2, 4, 3, 2))
    lengths = rng.integers(1, 5, 3)
    unknown = rng.random(y.shape) < 0.4
    loss = SquaredError(missing=True)
    value, dy = loss(y, np.where(unknown, np.nan, target), lengths)
    same, dsame = loss(y, np.where(unknown, y, target), lengths)
    assert value == same
    np.testing.assert_array_equal(dy, dsame)
    assert not dy[unknown].any()
    assert loss(y, target, lengths)[0] == SquaredError()(y, target, lengths)[0]
    bad = np.where(unknown, np.nan, target)
    if unknown[0].any():
        with pytest.raises(ValueError, match="nan"):
            SquaredError()(y, bad)
    y[0, 0, 0] = np.nan
    assert np.isnan(loss(y, bad)[0])  # the network's fault, and no target's


def test_an_epoch_is_a_function_of_seed_and_number():
    source = fit(series()).windows(series(), batch_size=4, seed=2)
    whole = [batch.x for batch in source.batches(1)]
    for a, b in zip(whole[3:], source.batches(1, 3), strict=True):
        np.testing.assert_array_equal(a, b.x)
    assert not np.array_equal(whole[0], next(source.batches(0)).x)


@given(st.integers(1, 7), st.integers(1, 9), st.booleans())
def test_naive_forecasts_are_those_of_each_past(season, horizon, holes):
    values = series(holes=0.3 if holes else 0)
    origins = np.array([9, 20, 33])
    naive = naive_forecasts(values, origins, horizon, season)
    filled = fill_forward(values)
    for row, origin in enumerate(origins):
        np.testing.assert_array_equal(naive[row], seasonal_naive(filled[:origin], horizon, season))


@given(st.integers(3, 500), st.floats(0, 0.4), st.floats(0, 0.4))
def test_parts_follow_one_another_in_time(n, validation, test):
    middle, last = split_times(n, validation, test)
    assert 0 < middle <= last <= n
    assert n - last == int(n * test)
    assert last - middle == int(n * validation)


def test_a_task_is_its_json():
    task = fit(series(holes=0.1), ("b", "a"))
    assert task_from_dict(json.loads(json.dumps(task.to_dict()))) == task


def test_a_network_learns_a_sine_with_holes(rng):
    wave = np.sin(np.arange(400) / 3)[:, None]
    wave[rng.random(400) < 0.1] = np.nan
    task = Forecast.fit(wave, ["x"], ["x"], 300, window=20, horizon=4)
    net = Network(GRU(task.features, 12), LastStep(), Dense(12, task.outputs), seed=0)
    trainer = Trainer(net, SquaredError(missing=True), Adam(1e-2), progress="off")
    test = task.windows(wave, 300, shuffle=False)
    before = trainer.evaluate(test)
    trainer.fit(task.windows(wave, 0, 300), epochs=15)
    assert trainer.evaluate(test) < 0.1 * before


GOOD = fit(series()).to_dict()


@pytest.mark.parametrize(
    "damage",
    [
        {"columns": "ab"}, {"targets": []}, {"targets": ["c"]}, {"targets": ["a", "a"]}, {"window": 0},
        {"window": True}, {"horizon": 1.5}, {"season": None}, {"center": [1.0]}, {"center": [1.0, "x"]},
        {"scale": [1.0, 0.0]}, {"scale": [1.0, float("nan")]}, {"center": [1.0, float("inf")]}, {"masked": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_task_is_a_value_error(damage):
    with pytest.raises(ValueError, match=r" (are|is|hold|holds|none) "):
        task_from_dict({**GOOD, **damage})


def hollow(column=0, first=0, last=None):
    values = series()
    values[first:last, column] = np.nan
    return values


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: check_series([["a"]]), TypeError, "values are <U1"),
        (lambda: check_series(np.zeros((2, 3, 4))), ValueError, r"\(2, 3, 4\)"),
        (lambda: check_series(np.zeros((2, 2)), ["a"]), ValueError, "2 different names"),
        (lambda: check_series([1.0, np.inf]), ValueError, "column '0' is inf at step 1"),
        (lambda: check_series(hollow(1), NAMES), ValueError, "column 'b' holds no number"),
        (lambda: fit(hollow(1, 0, 40)), ValueError, "'b' holds no number in the first 40 steps"),
        (lambda: fit(series(), ["c"]), ValueError, "'c' is none of the columns 'a', 'b'"),
        (lambda: fit(series(), horizon=0), ValueError, "horizon is 0"),
        (lambda: fit(series()).windows(series(), 50, 52), ValueError, "steps 50 to 52"),
        (lambda: fit(series(9), train=9).windows(series(9)[:7]), ValueError, "steps 0 to 7"),
        (lambda: fit(series()).windows(series(), stride=0), ValueError, "stride is 0"),
        (lambda: Windows(*hollow()[None, :, :1].repeat(2, 0), [5], 2, 2), ValueError, "missing in every"),
        (lambda: Windows(series(), series(), [1], 2, 2), ValueError, "from 1 to 1"),
        (lambda: Windows(series(), series()[1:], [3], 2, 2), ValueError, "targets have shape"),
        (lambda: naive_forecasts(series(), np.array([5]), 2, 6), ValueError, "only 5 steps"),
        (lambda: naive_forecasts(hollow(0, 0, 9), np.array([5]), 2), ValueError, "nothing known"),
        (lambda: split_times(10, 0.5, 0.5), ValueError, "below 1"),
    ],
)
def test_what_cannot_be_forecast_is_one_error(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_what_is_masked_is_missing():
    values, _ = check_series(np.ma.masked_array([1, 2, 3], [False, True, False]))
    assert np.array_equal(values[:, 0], [1, np.nan, 3], equal_nan=True)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e9 + 0.1])
@pytest.mark.parametrize("train", [3, 7, 100, 173])
def test_a_column_that_is_constant_in_training_keeps_its_units(value, train):
    """Its mean may be off by a rounding: divided by a deviation of 1e-17 a later change would be 1e15."""
    values = np.full((200, 1), value)
    values[180:] += 1
    task = Forecast.fit(values, ["a"], ["a"], train, window=3)
    assert task.scale == (1.0,)
    assert np.allclose(task.inputs(values)[180:], 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": np.zeros(50)}, r"values have shape \(50,\), but \(N, 2\), the columns 'a', 'b'"),
        ({"values": np.zeros((50, 3))}, r"values have shape \(50, 3\)"),
        ({"values": [["x", "y"]]}, "values are <U1"),
        ({"targets": "a"}, "targets are 'a', but a list"),
        ({"train": 0}, "train is 0"),
        ({"train": 51}, "train is 51, but values have 50 steps"),
    ],
)
def test_what_does_not_fit_a_forecast_is_named(change, words):
    arguments = {"values": np.arange(100.0).reshape(50, 2), "targets": ["a"], "train": 40, **change}
    with pytest.raises((TypeError, ValueError), match=words):
        Forecast.fit(columns=["a", "b"], window=3, **arguments)


def test_a_series_with_other_columns_is_refused():
    """One column would be spread over two."""
    values = np.arange(100.0).reshape(50, 2)
    task = Forecast.fit(values, ["a", "b"], ["a"], 40, window=3)
    for run in (task.windows, task.inputs):
        with pytest.raises(ValueError, match=r"values have shape \(50, 1\)"):
            run(values[:, :1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"season": 0}, "season is 0"),
        ({"horizon": 0}, "horizon is 0"),
        ({"origins": [31]}, "origins have 31, but values have 30 steps"),
        ({"origins": [2.5]}, "origins are float64"),
        ({"values": np.zeros(30)}, r"values have shape \(30,\)"),
    ],
)
def test_wrong_arguments_of_naive_forecasts_are_named(change, words):
    arguments = {"values": np.zeros((30, 1)), "origins": np.array([10]), "horizon": 2, "season": 3, **change}
    with pytest.raises((TypeError, ValueError), match=words):
        naive_forecasts(**arguments)
