"""A wrong call of the diagnostics gets one sentence with the argument, what came and what is wanted, and
changes nothing."""

import re

import numpy as np
import pytest
from laws import snapshot

from rnncore import (
    CTC,
    GRU,
    LSTM,
    Adam,
    Bidirectional,
    CrossEntropy,
    Dense,
    Elman,
    LastStep,
    Network,
    SkipElman,
    SquaredError,
    Trainer,
)
from rnncore.data import Batch
from rnncore.diagnostics import (
    GradientMonitor,
    cell_health,
    diagnose,
    fixed_points,
    gradient_flow,
    jacobian,
    jacobian_spectrum,
    lyapunov_exponents,
    weight_contributions,
)

T, B, I, H = 8, 3, 2, 4
rng = np.random.default_rng(0)
X, TARGET = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 2))
NET = Network(LSTM(I, H), Dense(H, 2), seed=1, dtype="float64")
POOLED = Network(GRU(I, H), LastStep(), Dense(H, 2), seed=1, dtype="float64")
LAYER, TAPE = NET.layers[0], NET.forward(X)[2][0]
PLAIN = Network(Elman(I, H), seed=1, dtype="float64")
SKIPS = Network(SkipElman(I, H, delays=(1, 2)), seed=1, dtype="float64")
KEPT = Network(LSTM(I, H, checkpoint_every=3), seed=1, dtype="float64")
LOSS, CLASSES = SquaredError(), np.array([0, 1, 1])


def holding(array, value):
    array = array.copy()
    array[2, 1] = value
    return array


def on_batch(net, x, target, loss, lengths=None, **more):
    return diagnose(net, (x, target) if lengths is None else (x, target, lengths), loss, **more)


MEASURES = {"flow": gradient_flow, "contributions": weight_contributions, "verdict": on_batch}
# What is passed: a network, x, target and a loss; lengths, state; and what the error says.
BATCHES = {
    "no recurrent layer": (
        (Network(Dense(I, 2), dtype="float64"), X, TARGET, LOSS),
        {},
        "no layer with a rec",
    ),
    "no network": ((LAYER, X, TARGET, LOSS), {}, "net is a LSTM, but a Network is wanted"),
    "x of other features": ((NET, X[:, :, :1].copy(), TARGET, LOSS), {}, "x has shape (8, 3, 1), but"),
    "a target of other rows": ((NET, X, TARGET[:, :2].copy(), LOSS), {}, "target has shape (8, 2, 2), but"),
    "another dtype": ((NET, X.astype(np.float32), TARGET, LOSS), {}, "x is float32, but"),
    "a target's dtype": ((NET, X, TARGET.astype(np.float32), LOSS), {}, "target is float32, but"),
    "a list": ((NET, X.tolist(), TARGET, LOSS), {}, "x is a list, but a NumPy array"),
    "one row": ((NET, X[:, 0].copy(), TARGET, LOSS), {}, "x has shape (8, 2), but"),
    "every second step": ((NET, X[::2], TARGET[::2].copy(), LOSS), {}, "x is not C-contiguous"),
    "no step": ((NET, X[:0].copy(), TARGET[:0].copy(), LOSS), {}, "x has shape (0, 3, 2), but"),
    "a length beyond x": ((NET, X, TARGET, LOSS), {"lengths": [8, 9, 1]}, "lengths[1] is 9, but"),
    "a length of 0": ((NET, X, TARGET, LOSS), {"lengths": [8, 0, 1]}, "lengths[1] is 0, but"),
    "lengths of other rows": ((NET, X, TARGET, LOSS), {"lengths": [8, 1]}, "lengths have shape (2,), but"),
    "lengths that are fractions": (
        (NET, X, TARGET, LOSS),
        {"lengths": [8, 2.5, 1]},
        "lengths are float64, but",
    ),
    "NaN in x": ((NET, holding(X, np.nan), TARGET, LOSS), {}, "x[2, 1, 0] is nan, but"),
    "NaN as a target": ((NET, X, holding(TARGET, np.nan), LOSS), {}, "target[2, 1, 0] is nan, but"),
    "a loss of classes": ((NET, X, TARGET, CrossEntropy()), {}, "target is float64, but integer"),
    "a loss of numbers": ((POOLED, X, CLASSES, LOSS), {}, "target is int64, but"),
    "a class that there is not": ((POOLED, X, CLASSES + 4, CrossEntropy()), {}, "target[0] is 4, but"),
    "no loss": ((NET, X, TARGET, None), {}, "loss is None, but an object to call is wanted"),
    "a class as loss": ((NET, X, TARGET, SquaredError), {}, "loss is <class"),
    "a state of other rows": (
        (NET, X, TARGET, LOSS),
        {"state": ((np.zeros((1, H)),) * 2, None)},
        "has shape (1, 4), but",
    ),
}
OTHERS = {
    "a step that is none": (
        lambda: gradient_flow(NET, X, TARGET, LOSS, step=1.5),
        "step is 1.5, but a whole",
    ),
    "a step beyond": (
        lambda: gradient_flow(NET, X, TARGET, LOSS, step=8),
        "step is 8, but row 0 has 8 steps",
    ),
    "a step of losses beyond": (
        lambda: weight_contributions(NET, X, TARGET, LOSS, steps=[8]),
        "steps are [8], but",
    ),
    "one loss alone": (
        lambda: weight_contributions(POOLED, X, CLASSES, CrossEntropy(), steps=3),
        "steps are 3, but",
    ),
    "contributions of several ways": (
        lambda: weight_contributions(SKIPS, X, rng.standard_normal((T, B, H)), LOSS),
        "layer is a SkipElman",
    ),
    "no batch": (lambda: diagnose(NET, X, LOSS), "batch is a ndarray, but a Batch, or"),
    "half a batch": (lambda: diagnose(NET, (X,), LOSS), "batch is a tuple, but a Batch, or"),
    "exponents of no layer": (
        lambda: lyapunov_exponents(NET, X),
        "layer is a Network, which has no recurrent state",
    ),
    "exponents of several ways": (lambda: lyapunov_exponents(SKIPS.layers[0], X), "layer is a SkipElman"),
    "too many exponents": (
        lambda: lyapunov_exponents(LAYER, X, k=9),
        "k is 9, but the state has 8 dimensions",
    ),
    "a drive of other features": (
        lambda: lyapunov_exponents(LAYER, X[:, :, :1].copy()),
        "x has shape (8, 3, 1), but",
    ),
    "a drive with NaN": (lambda: lyapunov_exponents(LAYER, holding(X, np.nan)), "x[2, 1, 0] is nan, but"),
    "a drive as a list": (
        lambda: lyapunov_exponents(LAYER, X.tolist()),
        "x is a list, but a NumPy array (T, B, I) or",
    ),
    "a drive of no step": (lambda: lyapunov_exponents(LAYER, X[:0].copy()), "x has shape (0, 3, 2), but"),
    "h without c": (
        lambda: lyapunov_exponents(LAYER, X, np.zeros((B, H))),
        "state is a ndarray, but a tuple (h, c)",
    ),
    "all steps discarded": (lambda: lyapunov_exponents(LAYER, X, discard=8), "discard is 8, but"),
    "points of no layer": (
        lambda: fixed_points(NET.layers[1], X),
        "layer is a Dense, which has no recurrent state",
    ),
    "points from NaN": (lambda: fixed_points(LAYER, holding(X, np.nan)), "x[2, 1, 0] is nan, but"),
    "points from no step": (lambda: fixed_points(LAYER, X[:0].copy()), "x has shape (0, 3, 2), but"),
    "another input held": (
        lambda: fixed_points(LAYER, X, at=np.zeros(5)),
        "at has shape (5,), but (2,) is wanted",
    ),
    "NaN held": (lambda: fixed_points(LAYER, X, at=np.array([0, np.nan])), "at[1] is nan, but"),
    "a word held": (lambda: fixed_points(LAYER, X, at="mean"), "at is 'mean', but 2 numbers are wanted"),
    "no start": (lambda: fixed_points(LAYER, X, starts=0), "starts is 0, but"),
    "a speed below 0": (lambda: fixed_points(LAYER, X, slow=-1.0), "slow is -1.0, but 0 or more"),
    "a distance of NaN": (lambda: fixed_points(LAYER, X, same=np.nan), "same is nan, but a finite number"),
    "a word as seed": (lambda: fixed_points(LAYER, X, seed="a"), "seed is 'a', but a whole number"),
    "health of none": (
        lambda: cell_health(Network(Dense(I, 2), dtype="float64"), X),
        "no layer with a recurrent",
    ),
    "health on NaN": (lambda: cell_health(NET, holding(X, np.nan)), "x[2, 1, 0] is nan, but"),
    "health of other lengths": (lambda: cell_health(NET, X, [9, 1, 1]), "lengths[0] is 9, but"),
    "a look at no update": (lambda: GradientMonitor(every=0), "every is 0, but at least 1"),
    "a look at no row": (lambda: GradientMonitor(rows=0), "rows is 0, but at least 1"),
    "a word for warn": (lambda: GradientMonitor(warn="no"), "warn is 'no', but True or False"),
    "nothing to monitor": (
        lambda: Trainer(Network(Dense(I, 2)), LOSS, Adam(), monitor=GradientMonitor()),
        "no layer with a recurrent",
    ),
}
# Of jacobian and jacobian_spectrum alike: layer, tape, t, k, options.
SPANS = {
    "no recurrent layer": ((NET.layers[1], TAPE, 3, 1), {}, "layer is a Dense, which has no recurrent state"),
    "both directions": ((Bidirectional(GRU(I, H)), TAPE, 3, 1), {}, "layer is a Bidirectional, which has no"),
    "several ways": (
        (SKIPS.layers[0], TAPE, 3, 1),
        {},
        "layer is a SkipElman: its steps are no one function",
    ),
    "in no network": ((LSTM(I, H), TAPE, 3, 1), {}, "belongs to no network yet"),
    "no tape": ((LAYER, None, 3, 1), {}, "tape is a NoneType, but what LSTM("),
    "the network's tape": ((LAYER, NET.forward(X)[2], 3, 1), {}, "tape is a tuple, but what LSTM("),
    "a tape of another width": (
        (Network(LSTM(I, 5), dtype="float64").layers[0], TAPE, 3, 1),
        {},
        "tape is of 4 units over 2 features, but",
    ),
    "an LSTM's tape": ((POOLED.layers[0], TAPE, 3, 1), {}, "tape is a LSTMTape that another layer left"),
    "a GRU's tape": ((LAYER, POOLED.forward(X)[2][0], 3, 1), {}, "tape is a GRUTape that another layer left"),
    "a gated tape": ((PLAIN.layers[0], POOLED.forward(X)[2][0], 3, 1), {}, "tape is a GRUTape that another"),
    "a tape in segments": ((PLAIN.layers[0], KEPT.forward(X)[2][0], 3, 1), {}, "that another layer left"),
    "beyond the end": ((LAYER, TAPE, 9, 1), {}, "the span from k=1 to t=9 lies outside of the tape"),
    "before the beginning": ((LAYER, TAPE, 3, -1), {}, "the span from k=-1 to t=3 lies outside of the tape"),
    "backwards": ((LAYER, TAPE, 3, 5), {}, "the span from k=5 to t=3 lies outside of the tape"),
    "a fraction": ((LAYER, TAPE, 3.0, 1), {}, "t is 3.0, but a whole number is wanted"),
    "another state": ((LAYER, TAPE, 3, 1), {"state": "c"}, "state is 'c', but one of h, all is wanted"),
    "a row beyond": ((LAYER, TAPE, 3, 1), {"rows": [3]}, "rows are [3], but the tape has rows 0 to 2"),
    "half a row": ((LAYER, TAPE, 3, 1), {"rows": [0.5]}, "rows are [0.5], but a list of rows"),
}


def refused(call, says):
    networks = (NET, POOLED, PLAIN, SKIPS, KEPT)
    before = [snapshot(net) for net in networks]
    with pytest.raises((ValueError, TypeError, RuntimeError), match=re.escape(says)) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert [snapshot(net) for net in networks] == before
    assert all(net.layers[0].flow is None for net in networks)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_that_does_not_fit(name, measure):
    arguments, more, says = BATCHES[name]
    refused(lambda: MEASURES[measure](*arguments, **more), says)


@pytest.mark.parametrize("name", OTHERS)
def test_an_argument_that_does_not_fit(name):
    refused(*OTHERS[name])


@pytest.mark.parametrize("function", [jacobian, jacobian_spectrum])
@pytest.mark.parametrize("name", SPANS)
def test_a_span_that_there_is_not(name, function):
    arguments, more, says = SPANS[name]
    refused(lambda: function(*arguments, **more), says)


def test_a_row_beyond_the_tape_is_seen_without_a_span():
    refused(lambda: jacobian_spectrum(LAYER, TAPE, rows=[7]), "rows are [7], but the tape has rows 0 to 2")


def test_rows_count_as_they_are_weighted():
    """A row of weight 0 is as if it were not there."""
    weights = np.array([2.0, 0.0, 1.0])
    some = X[:, ::2].copy(), TARGET[:, ::2].copy()
    found = gradient_flow(NET, X, TARGET, LOSS, weights=weights)["0"]
    want = gradient_flow(NET, *some, LOSS, weights=weights[::2])["0"]
    np.testing.assert_allclose(found.norms["c"][:, ::2], want.norms["c"], rtol=1e-12)
    assert (found.norms["c"][:, 1] == 0).all()
    found = weight_contributions(NET, X, TARGET, LOSS, steps=[T - 1], weights=weights)["0"]
    want = weight_contributions(NET, *some, LOSS, steps=[T - 1], weights=weights[::2])["0"]
    np.testing.assert_allclose(found.matrix["weight_hh"], want.matrix["weight_hh"], rtol=1e-12)
    report = diagnose(NET, Batch(X, TARGET, weights=weights), LOSS)
    assert report.loss == pytest.approx(diagnose(NET, Batch(*some, weights=weights[::2]), LOSS).loss)


def test_a_monitor_looks_at_weighted_rows_and_at_labels_without_alignment():
    net, batch = (
        Network(LSTM(I, H), Dense(H, 2), dtype="float64"),
        Batch(X, TARGET, weights=np.array([0, 2, 1.0])),
    )
    monitor = GradientMonitor(rows=2, warn=False)
    Trainer(net, LOSS, Adam(), monitor=monitor, progress="off").fit([batch], steps=2)
    assert len(monitor.history) == 1
    net, labels = Network(LSTM(I, H), Dense(H, 3), dtype="float64"), np.array([[1, 2], [2, -1], [1, 1]])
    monitor = GradientMonitor(rows=2, warn=False)
    Trainer(net, CTC(), Adam(), monitor=monitor, progress="off").fit([Batch(X, labels)], steps=2)
    assert np.isfinite(monitor.column("0.growth")).all()
    assert np.isfinite(diagnose(net, Batch(X, labels), CTC()).loss)
