"""The readout of an echo-state network: the least squares fit, found in one pass."""

import numpy as np
import pytest

from rnncore import LSTM, Dense, Dropout, Elman, LastStep, Network
from rnncore.losses import SquaredError
from rnncore.problems import Sine, TemporalOrder
from rnncore.reservoir import ridge_readout


def reservoir(outputs=2, *more, dtype="float64"):
    layers = Elman(3, 12, recurrent_init="spectral:0.9"), *more, Dense(12, outputs)
    return Network(*layers, seed=4, dtype=dtype)


def batches(steps=30, rows=4, count=3, outputs=2, lengths=None, seed=0):
    rng = np.random.default_rng(seed)
    return [
        type("Batch", (), {
            "x": rng.standard_normal((steps, rows, 3)),
            "target": rng.standard_normal((steps, rows, outputs)),
            "lengths": lengths,
        })
        for _ in range(count)
    ]  # fmt: skip


def loss(net, data, strength, washout=0):
    """Squared distance summed over the steps that count, and the penalty."""
    total = strength * np.sum(net.params[f"{len(net.layers) - 1}.weight"] ** 2)
    for batch in data:
        y = net.forward(batch.x, None, batch.lengths)[0]
        ends = [len(y)] * y.shape[1] if batch.lengths is None else batch.lengths
        for row, end in enumerate(ends):
            total += np.sum((y[washout:end, row] - batch.target[washout:end, row]) ** 2)
    return total


@pytest.mark.parametrize("strength", [0.0, 0.1, 50.0])
@pytest.mark.parametrize("lengths", [None, np.array([30, 12, 5, 21])])
@pytest.mark.parametrize("washout", [0, 6])
def test_the_readout_is_the_minimum(strength, lengths, washout):
    """No step in any direction makes it better: the gradient is 0, and what it costs is what is said."""
    net, data = reservoir(), batches(lengths=lengths)
    reservoir_weights = net.params["0.weight_hh"].copy()
    value = ridge_readout(net, data, strength, washout)
    best = loss(net, data, strength, washout)
    rng = np.random.default_rng(1)
    for name in ("1.weight", "1.bias"):
        view = net.params[name]
        direction = rng.standard_normal(view.shape)
        view += 1e-4 * direction
        more = loss(net, data, strength, washout)
        view -= 2e-4 * direction
        less = loss(net, data, strength, washout)
        view += 1e-4 * direction
        assert more > best < less
        assert abs(more - less) < 1e-5 * (more + less - 2 * best + 1e-12) + 1e-9 * best
    np.testing.assert_array_equal(net.params["0.weight_hh"], reservoir_weights)
    steps = sum(
        max(0, (30 if lengths is None else n) - washout)
        for n in (lengths if lengths is not None else [30] * 4)
    )
    assert value == pytest.approx(loss(net, data, 0.0, washout) / (2 * 3 * steps), rel=1e-9)


def test_the_value_is_that_of_the_loss():
    net, data = reservoir(), batches(count=1)
    value = ridge_readout(net, data, 1e-3)
    assert value == pytest.approx(SquaredError()(net.forward(data[0].x)[0], data[0].target)[0], rel=1e-9)


def test_a_reservoir_predicts_a_sine():
    problem = Sine(120, periods=(10.0, 12.0), batches=5, dtype="float64")
    net = problem.network(lambda inputs: Elman(inputs, 80, recurrent_init="spectral:0.9"))
    ridge_readout(net, problem, 1e-6, washout=30)
    assert problem.evaluate(net, 200) < problem.threshold


def test_class_ids_behind_a_pooling_layer():
    problem = TemporalOrder(12, batches=20)
    net = problem.network(lambda inputs: Elman(inputs, 100, recurrent_init="spectral:0.95"))
    ridge_readout(net, problem, 1e-2)
    assert problem.evaluate(net, 500) < 0.5 * problem.naive()["the last symbol alone"]


def test_dropout_is_off_and_the_mode_comes_back():
    net, other = reservoir(2, Dropout(0.5)), reservoir(2, Dropout(0.5))
    assert ridge_readout(net, batches(), 0.1) == ridge_readout(other, batches(), 0.1)
    assert net.training


@pytest.mark.parametrize(
    ("net", "arguments", "message"),
    [
        (lambda: Network(LSTM(3, 2), dtype="float64"), (0.1,), "the last layer is LSTM"),
        (reservoir, (-1,), "strength is -1"),
        (reservoir, (0.1, -1), "washout is -1"),
        (reservoir, (0.1, 30), "no step beyond washout 30"),
        (lambda: reservoir(3), (0.1,), r"target has shape \(30, 4, 2\), but the network gives \(30, 4, 3\)"),
        (lambda: reservoir(2, LastStep()), (0.1,), r"the network gives \(4, 2\)"),
    ],
)
def test_what_cannot_be_solved_is_refused(net, arguments, message):
    net = net()
    before = net.params.flat.copy()
    with pytest.raises(ValueError, match=message):
        ridge_readout(net, batches(), *arguments)
    np.testing.assert_array_equal(net.params.flat, before)


@pytest.mark.parametrize(("source", "name"), [(3, "source is a int"), ([3], "batch is a int, but a Batch")])
def test_what_holds_no_batches_is_refused(source, name):
    with pytest.raises(TypeError, match=name):
        ridge_readout(reservoir(), source, 0.1)


def test_a_fit_that_is_not_unique_is_refused():
    with pytest.raises(ValueError, match=r"with strength 0\.0 the fit is not unique"):
        ridge_readout(reservoir(), batches(steps=2, rows=2, count=1), 0.0)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_a_class_that_no_output_stands_for_is_named(wrong):
    net, (batch,) = reservoir(), batches(count=1, lengths=np.array([30, 12, 3, 1]))
    batch.target = np.zeros((30, 4), np.int64)
    batch.target[5, 3] = wrong  # padding
    ridge_readout(net, [batch], 1.0)
    batch.target[5, 1] = wrong
    before = net.params.flat.copy()
    with pytest.raises(ValueError, match=f"target has {wrong}, but class ids from 0 to 1"):
        ridge_readout(net, [batch], 1.0)
    assert np.array_equal(net.params.flat, before)


@pytest.mark.parametrize("name", ["starts", "weights"])
def test_what_the_fit_would_not_heed_is_refused(name):
    net, (batch,) = reservoir(), batches(count=1)
    setattr(batch, name, np.ones((30, 4), bool) if name == "starts" else np.array([1, 0, 2, 1]))
    with pytest.raises(ValueError, match=f"source has {name}, but"):
        ridge_readout(net, [batch], 1.0)


@pytest.mark.parametrize("name", ["x", "target"])
def test_a_number_that_is_not_finite_is_named(name):
    net, (batch,) = reservoir(), batches(count=1)
    getattr(batch, name)[7, 2, 1] = np.nan
    before = net.params.flat.copy()
    with pytest.raises(ValueError, match=rf"{name}\[.*\] is nan"):
        ridge_readout(net, [batch], 1.0)
    assert np.array_equal(net.params.flat, before)
