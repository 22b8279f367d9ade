"""A state that explodes ends the pass with a message that says where, before NaN spreads."""

import json
import math

import numpy as np
import pytest

import rnncore
from rnncore import GRU, LSTM, SGD, Dense, Elman, LeakyElman, Network, SquaredError, Trainer
from rnncore.layers.base import ExplodingState

pytestmark = pytest.mark.usefixtures("backend")


def doubling(**more):
    """h[t] = 2 h[t-1] + x[t], behind a dense layer that passes x on."""
    activation = more.pop("activation", "relu")
    net = Network(Dense(1, 1), Elman(1, 1, activation, **more))
    net.params["0.weight"] = [[1]]
    net.params["1.weight_ih"], net.params["1.weight_hh"] = [[1]], [[2]]
    return net


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("record", [True, False])
def test_the_message_names_layer_row_and_step(activation, every, record):
    net = doubling(activation=activation, limit=100.0, checkpoint_every=every)
    x = np.zeros((20, 3, 1), np.float32)
    x[2, 1] = 1  # h = 2^(t-2): beyond 100 after step 9
    with pytest.raises(
        ExplodingState, match=r"layer 1, Elman\(.*: unit 0 of row 1 is 128 after step 9, beyond"
    ):
        net.forward(x, record=record)
    net.forward(x[:9].copy(), record=record)


def test_negative_states_are_seen():
    net = doubling(activation="identity", limit=100.0)
    x = np.full((20, 2, 1), -1, np.float32)
    with pytest.raises(FloatingPointError, match="row 0 is -127 after step 6"):
        net.forward(x)


def test_without_a_limit_what_is_not_finite_is_seen():
    x = np.ones((140, 2, 1), np.float32)
    with (
        np.errstate(over="ignore"),
        pytest.raises(ExplodingState, match="row 0 is inf after step 127: smaller"),
    ):
        doubling().forward(x)
    doubling().forward(x[:120].copy())


def test_the_padding_is_not_looked_at():
    net = doubling(limit=100.0)
    x = np.ones((20, 2, 1), np.float32)
    net.forward(x, lengths=[5, 6])
    with pytest.raises(ExplodingState, match="row 1 is 127 after step 6"):
        net.forward(x, lengths=[5, 7])


@pytest.mark.parametrize(
    "layer",
    [
        LSTM(1, 1, activation="relu"),
        GRU(1, 1, gate_activation="identity", activation="identity"),
        LeakyElman(1, 1, "relu", leak=0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_cell_with_an_unbounded_activation_is_guarded(layer):
    net = Network(type(layer)(**layer.config()))
    net.params.flat[:] = 9
    with np.errstate(all="ignore"), pytest.raises(ExplodingState, match=f"layer 0, {type(layer).__name__}"):
        net.forward(np.ones((400, 2, 1), np.float32))


@pytest.mark.parametrize("every", [None, 7])
def test_a_cell_that_explodes_behind_a_bounded_output_is_seen(every):
    """c[t] = 2 c[t-1] + 2 tanh(2) x[t], h[t] = 2 tanh(c[t])."""
    net = Network(LSTM(1, 1, gate_activation="relu", checkpoint_every=every))
    net.params.flat[:] = 0
    net.params["0.weight_ih"] = np.full((4, 1), 2)
    x = np.zeros((140, 3, 1), np.float32)
    x[:, 1] = 1
    net.forward(x[:100].copy())
    with (
        np.errstate(over="ignore"),
        pytest.raises(ExplodingState, match=r"LSTM\(.*: the cell of unit 0 of row 1 is inf in the end"),
    ):
        net.forward(x)


def test_bounded_states_are_not_looked_at():
    assert Elman(1, 1).limit is None
    assert Elman(1, 1, "sigmoid").limit is None
    assert Elman(1, 1, "sigmoid", limit=0.9).limit == 0.9


@pytest.mark.parametrize("limit", [None, math.inf, 5.0])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_file_keeps_the_limit(tmp_path, activation, limit):
    """In JSON that every reader takes: it knows no infinity."""
    net, path = Network(Elman(2, 3, activation, limit=limit)), tmp_path / "model.safetensors"
    rnncore.save(net, path)
    layer = rnncore.load(path).layers[0]
    assert (layer.limit, layer.bound()) == (limit, net.layers[0].bound())
    assert repr(layer) == repr(net.layers[0])
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    json.loads(header["__metadata__"]["rnncore"], parse_constant=pytest.fail)


def test_an_infinite_limit_sees_what_is_not_finite_in_a_bounded_cell():
    net = doubling(activation="tanh", limit=math.inf)
    net.params["1.bias"] = [math.nan]
    with pytest.raises(ExplodingState, match="unit 0 of row 0 is nan after step 0: smaller"):
        net.forward(np.ones((3, 2, 1), np.float32))


def test_training_stops_with_the_message():
    net = doubling(limit=1e6)
    x = np.ones((30, 2, 1), np.float32)
    batches = [type("Batch", (), {"x": x, "target": np.zeros_like(x)})]
    before = net.params.flat.copy()
    with pytest.raises(FloatingPointError, match="layer 1, Elman"):
        Trainer(net, SquaredError(), SGD(0.1), progress="off").fit(batches, steps=1)
    np.testing.assert_array_equal(net.params.flat, before)
