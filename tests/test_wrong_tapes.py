"""A tape of another layer is refused before anything is changed: kernels trust its shapes."""

import numpy as np
import pytest

from rnncore import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, MeanPool, Network, SkipElman

STEPS, ROWS = 9, 4
X = np.random.default_rng(0).standard_normal((STEPS, ROWS, 3), dtype=np.float32)

PAIRS = {
    "more units": (LSTM(3, 64), LSTM(3, 8)),
    "fewer units": (LSTM(3, 8), LSTM(3, 64)),
    "another cell": (LSTM(3, 8), GRU(3, 8)),
    "peepholes": (LSTM(3, 8, peepholes=True), LSTM(3, 8)),
    "reset before": (GRU(3, 8, reset_after=False), GRU(3, 8)),
    "longer delays": (SkipElman(3, 8, delays=(1, 4)), SkipElman(3, 8, delays=(1, 3))),
    "segments": (LSTM(3, 8), LSTM(3, 8, checkpoint_every=2)),
    "other segments": (LSTM(3, 8, checkpoint_every=4), LSTM(3, 8, checkpoint_every=2)),
    "both directions": (Bidirectional(LSTM(3, 64)), Bidirectional(LSTM(3, 8))),
    "one direction": (Bidirectional(LSTM(3, 8)), LSTM(3, 8)),
    "other outputs": (Dropout(0.5), Dense(3, 3)),
    "no steps": (MeanPool(), Elman(3, 3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_tape_of_another_layer_is_refused(name):
    net, other = (Network(layer, seed=0) for layer in PAIRS[name])
    y, _, _ = net.forward(X)
    _, _, tape = other.forward(X)
    with pytest.raises(ValueError, match=r"tape\[0\], a \w+, is no tape of"):
        net.backward(np.ones_like(y), tape)
    assert not net.grads.flat.any()


def test_a_wrong_tape_below_is_refused_before_the_layers_above_act():
    net, other = Network(LSTM(3, 8), Dense(8, 2)), Network(LSTM(3, 9), Dense(9, 2))
    tapes = net.forward(X)[2], other.forward(X)[2]
    with pytest.raises(ValueError, match=r"tape\[0\]"):
        net.backward(np.ones((STEPS, ROWS, 2), np.float32), (tapes[1][0], tapes[0][1]))
    assert not net.grads.flat.any()


def test_ids_of_a_larger_table_are_refused():
    net, other = Network(Embedding(5, 3)), Network(Embedding(500, 3))
    _, _, tape = other.forward(np.full((2, 1), 499))
    with pytest.raises(ValueError, match="is no tape of Embedding"):
        net.backward(np.ones((2, 1, 3), np.float32), tape)


def test_a_tape_of_the_other_precision_is_refused():
    net, other = Network(Elman(3, 8), dtype="float64"), Network(Elman(3, 8))
    _, _, tape = other.forward(X)
    with pytest.raises(ValueError, match="is no tape of Elman"):
        net.backward(np.ones((STEPS, ROWS, 8)), tape)


def test_a_tape_of_an_equal_network_is_taken():
    """What counts is the shape: a copy goes back along the original's tape."""
    net, twin = (Network(LSTM(3, 8), Dense(8, 2), seed=1) for _ in range(2))
    y, _, tape = net.forward(X)
    for each in (net, twin):
        each.backward(np.ones_like(y), tape)
    assert net.grads.flat.any()
    assert np.array_equal(net.grads.flat, twin.grads.flat)


@pytest.mark.parametrize("layer", [LSTM(3, 8), Dense(3, 8), MeanPool(), Bidirectional(GRU(3, 4))], ids=repr)
def test_lengths_that_change_after_the_pass_change_nothing(layer):
    """A loader may use its array again; kernels go by the tape's."""
    net, lengths = Network(layer), np.array([3, STEPS, 1, 5])
    y, _, tape = net.forward(X, lengths=lengths)
    before = net.backward(np.ones_like(y), tape)[0]
    lengths[:] = 10**9
    assert np.array_equal(net.backward(np.ones_like(y), tape)[0], before)


def test_no_gradient_at_all_is_named():
    net = Network(Elman(3, 8))
    _, _, tape = net.forward(X)
    with pytest.raises(TypeError, match="dy is None"):
        net.backward(None, tape)
