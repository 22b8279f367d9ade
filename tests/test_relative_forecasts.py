"""Forecasts relative to their windows: what is taken is given back, levels move forecasts, ridge is ridge."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore import GRU, Dense, LastStep, Network
from rnncore.data import Forecast, make_panel, task_from_dict
from rnncore.data.choosing import choose, fit_linear, folds_of
from rnncore.data.linear import STRENGTHS, Linear, fit_ridge, flatten
from rnncore.data.scaling import NORMALIZATIONS

pytest.importorskip("click")
pytest.importorskip("matplotlib")

from commands import run


def make_task(values, normalize, difference=False, linear=False, window=6, horizon=3):
    columns = ["load", "price"][: values.shape[1]]
    task = Forecast.fit(values, columns, ["load"], len(values), window, horizon, 4, normalize, difference)
    if linear:
        rng = np.random.default_rng(1)
        sizes = window * task.features, task.outputs
        gain = rng.uniform(0.5, 2, task.outputs)
        task = replace(
            task, linear=Linear.of(rng.standard_normal(sizes), rng.standard_normal(sizes[1]), gain)
        )
    return task


def waves(n=60, columns=2, holes=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = 50 + np.cumsum(rng.standard_normal((n, columns)), axis=0)
    values[rng.random(values.shape) < holes] = np.nan
    return values


@settings(max_examples=40)
@given(
    st.sampled_from(NORMALIZATIONS), st.booleans(), st.booleans(), st.sampled_from([0, 0.3, 0.9]),
    st.integers(0, 99),
)  # fmt: skip
def test_what_is_taken_from_a_window_is_given_back(normalize, difference, linear, holes, seed):
    values = waves(holes=holes, seed=seed)
    values[0] = 50
    task = make_task(values, normalize, difference, linear)
    source = task.windows(np.nan_to_num(values, nan=51.0), shuffle=False)
    past, ahead = values[np.arange(-6, 0)[:, None] + source.origins], source.ahead(slice(None))
    x, target = task.prepare(past, ahead)
    assert np.isfinite(x).all()
    assert x.shape == (6, len(source.origins), task.features)
    np.testing.assert_allclose(task.unscale(target.reshape(len(target), -1), past), ahead, rtol=1e-6)


@pytest.mark.parametrize("linear", [False, True])
def test_a_level_that_the_network_has_never_seen_moves_its_forecast(linear):
    """The whole point: with "last" and "window" a forecast follows the level; with "window" the scale too."""
    values = waves(columns=1)
    for normalize, factor in (("last", 1.0), ("window", 1.0), ("window", 1000.0)):
        task = make_task(values, normalize, linear=linear)
        net = Network(GRU(1, 4), LastStep(), Dense(4, 3), seed=0, dtype="float64")
        before = task.forecast(net, values)
        # The floor of a window's deviation does not grow with it: a large factor leaves only the deviation.
        wide = values if factor == 1 else np.tile([[0.0], [1e6]], (30, 1))
        if factor != 1:
            before = task.forecast(net, wide)
        after = task.forecast(net, factor * wide + 1e5)
        np.testing.assert_allclose(after, factor * before + 1e5, rtol=1e-7)


def test_a_difference_is_that_to_the_seasonal_naive_forecast():
    values = waves(columns=1)
    task = make_task(values, "series", difference=True)
    said = task.unscale(np.zeros((1, 3)), values[-6:, None])
    np.testing.assert_allclose(said[0], values[-4:-1])
    with pytest.raises(ValueError, match="season of 4 steps in a window of 3"):
        make_task(values, "series", difference=True, window=3)
    with pytest.raises(ValueError, match="past is None, but this forecast is relative"):
        task.unscale(np.zeros((1, 3)))


def test_a_ridge_regression_solves_its_normal_equations():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 7)) + 3, rng.standard_normal((50, 2))
    tried = []

    def error(weight, bias):
        tried.append((weight, bias))
        return abs(len(tried) - 3.0)  # the third strength is best

    linear, found = fit_ridge(x, y, error)
    assert found == 0
    assert len(tried) == len(STRENGTHS)
    weight, bias = linear.matrix[:-2], linear.matrix[-2]
    np.testing.assert_allclose(weight, tried[2][0], rtol=1e-5)
    centred = x - x.mean(axis=0)
    strength = STRENGTHS[2] * np.square(centred).sum() / centred.size
    residual = y - x @ weight - bias
    np.testing.assert_allclose(centred.T @ residual / 50, strength * weight, atol=1e-6)
    np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(linear.gain, residual.std(axis=0), rtol=1e-5)


def test_a_linear_forecast_reads_windows_as_the_network_does():
    values = waves(columns=2, holes=0.1)
    panel = make_panel(values)
    task = make_task(values, "window")
    middle, last = panel.parts(0.2, 0.2)
    linear, error = fit_linear(panel, task, middle, last, np.ones((1, 1)))
    whole = replace(task, linear=linear)
    part = whole.windows(values, int(middle[0]), int(last[0]), shuffle=False)
    said = whole.unscale(np.zeros((len(part.origins), 3)), part)
    assert np.nanmean(np.abs(said - part.ahead(slice(None)))) == pytest.approx(error, rel=1e-5)
    x = whole.read(part.past(slice(None)))[0]
    np.testing.assert_allclose(linear(x), flatten(x) @ linear.matrix[:-2] + linear.matrix[-2], rtol=1e-5)
    again = task_from_dict(json.loads(json.dumps(whole.to_dict())))
    assert again == whole


@pytest.mark.parametrize(
    "damage",
    [
        {"linear": 3}, {"linear": {"inputs": 6, "outputs": 3, "numbers": "*"}}, {"normalize": "none"},
        {"linear": {"inputs": 6, "outputs": 3, "numbers": ""}}, {"difference": 1}, {"window": 5},
        {"linear": {**make_task(waves(columns=1), "last", linear=True).linear.to_dict(), "outputs": 2}},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_linear_forecast_is_an_error(damage):
    data = make_task(waves(columns=1), "last", linear=True).to_dict()
    with pytest.raises((TypeError, ValueError), match=r"linear|normalize|difference"):
        task_from_dict({**data, **damage})


def drifting(n=900, seed=0):
    """Hours with a level that wanders off, by far more in the end than in the beginning."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return 10 * np.sin(2 * np.pi * t / 24) + np.cumsum(rng.standard_normal(n)) + 1e-4 * t**2


def test_a_level_that_drifts_is_taken_from_each_window():
    values = drifting()[:, None]
    panel = make_panel(values)
    task = Forecast.fit(values, ["x"], ["x"], 600, 24, 6, 24)
    folds = folds_of(panel, *panel.parts(0.1, 0.2))
    assert [(int(a[0]), int(b[0])) for a, b in folds] == [(315, 472), (472, 630), (630, 720)]
    best, errors = choose(panel, task, folds, np.ones((1, 1)), NORMALIZATIONS, [24, 48])
    assert best.normalize != "series"
    assert errors[best.normalize, best.window] == min(errors.values())
    assert best.linear is not None
    few, errors = choose(panel, task, folds, np.ones((1, 1)), ["last"], [700])
    assert (few.linear, few.window, errors) == (None, 700, {})


def test_the_defaults_beat_naive_forecasts_and_ridge_where_the_level_drifts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load.csv").write_text("load\n" + "\n".join(f"{y:.4f}" for y in drifting()))
    words = [
        "--horizon",
        24,
        "--season",
        24,
        "--steps",
        60,
        "--hidden",
        8,
        "--progress",
        "off",
        "--no-picture",
    ]
    test = run("train", "forecast", "load.csv", *words).output.split("test: ")[1]
    scores = {line[:24].strip(): float(line.split()[-1]) for line in test.splitlines()[1:5]}
    own = scores.pop("this network")
    assert list(scores) == ["ridge on the window", "seasonal naive, 24", "persistence"] or len(scores) == 3
    assert own < min(scores.values())
    plain = run("train", "forecast", "load.csv", *words, "--normalize", "series", "--no-linear").output
    assert "loses to" in plain.splitlines()[-1]
    assert "--normalize auto" in plain.splitlines()[-1]


def test_a_network_that_adds_nothing_leaves_the_linear_forecast_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.csv").write_text("x\n" + "\n".join(map(repr, waves(400, 1, seed=3)[:, 0].tolist())))
    words = "--steps 2 --lr 3 --schedule constant --hidden 8 --progress off --no-picture --normalize last"
    output = run("train", "forecast", "walk.csv", *words.split()).output
    assert "the network adds nothing to the linear forecast, which is kept alone" in output
