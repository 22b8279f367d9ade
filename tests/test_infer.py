"""`Network.infer`: the bits of ``forward`` in evaluation, whatever way a call takes."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    MeanPool,
    Network,
    SkipElman,
    reference,
)
from rnncore.kernels import dispatch
from rnncore.kernels.chain import Chain
from rnncore.layers.base import ExplodingState

T, B, I = 7, 3, 5
CHAINS = {
    "elman": lambda: (Elman(I, 33, activation="relu"),),
    "leaky": lambda: (LeakyElman(I, 17, leak=0.3, excitatory=0.8, zoneout=0.2, noise=0.1), Dense(17, 3)),
    "learned leak": lambda: (LeakyElman(I, 8, time_constants=(1, 9), learn_leak=True),),
    "skip": lambda: (SkipElman(I, 6, delays=(2, 5)), Dense(6, 2)),
    "lstm": lambda: (
        LSTM(I, 16, recurrent_dropout=0.2),
        Dropout(0.5),
        LSTM(16, 9, coupled=True),
        Dense(9, 2),
    ),
    "peepholes": lambda: (LSTM(I, 35, peepholes=True), LastStep(), Dense(35, 70)),
    "gru": lambda: (GRU(I, 40, zoneout=0.2),),
    "reset before": lambda: (
        Dropout(0.1),
        GRU(I, 21, reset_after=False),
        MeanPool(),
        Dropout(),
        Dense(21, 2),
    ),
    "added": lambda: (Bidirectional(GRU(I, 12), merge="sum"), Bidirectional(LSTM(12, 11))),
    "skip in both": lambda: (Bidirectional(SkipElman(I, 4)), MeanPool()),
    "ends of both": lambda: (
        Bidirectional(LSTM(I, 6, zoneout=(0.1, 0.3))),
        LastStep(bidirectional=True),
        Dense(12, 3),
    ),
    "dense first": lambda: (Dense(I, 4), Dense(4, 4), Elman(4, 3)),
    "tagger": lambda: (Embedding(9, 5), Bidirectional(LSTM(5, 6)), Dense(12, 4), Dense(4, 2)),
    "no cell": lambda: (Embedding(9, 5), MeanPool()),
    "clockwork": lambda: (Clockwork(I, 8, periods=(1, 2)), Dense(8, 2)),
    "pooled at once": lambda: (MeanPool(), Dense(I, 2)),
    "beyond the chain's size": lambda: (LSTM(I, 400),),
}
BY_LAYERS = {"no cell", "clockwork", "pooled at once", "beyond the chain's size"}
LENGTHS = {"full": None, "ragged": [7, 4, 5], "short": [1, 2, 1]}


def network(chain, dtype="float32"):
    net = Network(*CHAINS[chain](), seed=3, dtype=dtype)
    net.params.flat[:] += np.random.default_rng(4).normal(0, 0.2, net.params.flat.size)
    return net


def data(net, rng, steps=T, rows=B):
    if net.layers[0].takes_ids:
        return rng.integers(0, 9, (steps, rows))
    return rng.standard_normal((steps, rows, I)).astype(net.dtype)


def by_forward(net, x, lengths=None):
    with net.evaluating():
        return net.forward(x, None, lengths, record=False)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("chain", CHAINS)
def test_the_bits_of_forward_in_evaluation(chain, lengths, dtype, rng):
    net, own = network(chain, dtype), LENGTHS[lengths]
    x = data(net, rng)
    want = by_forward(net, x, own)
    for _ in range(2):
        np.testing.assert_array_equal(net.infer(x, own), want)
        assert net.training
    with net.inference_mode():
        for _ in range(2):
            np.testing.assert_array_equal(net.infer(x, own), want)
    assert isinstance(net.chain, Chain) == (chain not in BY_LAYERS)


@pytest.mark.parametrize("chain", CHAINS)
def test_padding_reaches_no_result(chain, rng):
    net = network(chain)
    x = data(net, rng)
    want = net.infer(x, LENGTHS["ragged"])
    for b, length in enumerate(LENGTHS["ragged"]):
        x[length:, b] = 77 if net.layers[0].takes_ids else math.nan
    np.testing.assert_array_equal(net.infer(x, LENGTHS["ragged"]), want)


@pytest.mark.parametrize("level", dispatch.levels())
def test_another_level_is_seen(level, rng):
    net, before = network("tagger"), dispatch.level()
    x = data(net, rng)
    net.infer(x)
    try:
        dispatch.set_level(level)
        np.testing.assert_array_equal(net.infer(x), by_forward(net, x))
    finally:
        dispatch.set_level(before)


@pytest.mark.parametrize("chain", sorted(CHAINS.keys() - BY_LAYERS))
def test_every_change_of_a_parameter_is_seen(chain, rng):
    net = network(chain)
    x = data(net, rng)
    net.infer(x)
    for name, array in net.params.items():
        array.flat[rng.integers(array.size)] += 0.5
        np.testing.assert_array_equal(net.infer(x), by_forward(net, x), err_msg=name)


def test_changed_attributes_are_seen(rng):
    net = Network(LeakyElman(I, 4, leak=[0.1, 0.2, 0.3, 0.4], zoneout=0.2), Bidirectional(LSTM(4, 3)))
    x, (leaky, both) = data(net, rng), net.layers

    def check():
        np.testing.assert_array_equal(net.infer(x), by_forward(net, x))

    check()
    leaky.leak[2] = 0.9
    check()
    leaky.activation = "relu"
    check()
    both.reverse.gate_activation = "tanh"
    check()
    both.layer.limit = 1e-6
    with pytest.raises(ExplodingState, match="layer 1"):
        net.infer(x)
    both.layer.limit = None
    check()
    for layer in (leaky, both.layer, both.reverse, both):
        layer.backend = reference
        np.testing.assert_allclose(net.infer(x), by_forward(net, x), rtol=0, atol=1e-6)
    assert not isinstance(net.chain, Chain)


def test_a_state_that_explodes_raises_as_in_forward(rng):
    net = Network(Elman(I, 4, activation="relu"), seed=1)
    x = data(net, rng)
    net.infer(x)
    net.params["0.weight_hh"][...] = 1e20
    with pytest.raises(ExplodingState, match="after step"):
        net.infer(x)


@pytest.mark.parametrize("chain", ["lstm", "tagger", "ends of both"])
@pytest.mark.parametrize("wrong", ["dtype", "shape", "axes", "lengths", "length", "empty", "list", "nan"])
def test_wrong_arguments_raise_what_forward_raises(chain, wrong, rng):
    net, lengths = network(chain), None
    x = data(net, rng)
    net.infer(x)
    ids = net.layers[0].takes_ids
    if wrong == "dtype":
        x = x.astype(np.float64)
    elif wrong == "shape":
        x = x + 20 if ids else x[:, :, 1:].copy()
    elif wrong == "axes":
        x = x[0]
    elif wrong == "lengths":
        lengths = [T] * (B + 1)
    elif wrong == "length":
        lengths = [T + 1, 0, 3]
    elif wrong == "empty":
        x = x[:0]
    elif wrong == "list":
        x = x.tolist()
    elif ids:
        x[3, 1] = -1
    else:
        x[3, 1, 2] = math.nan
    with pytest.raises((TypeError, ValueError)) as raised:
        net.forward(x, lengths=lengths)
    with pytest.raises(raised.type) as again:
        net.infer(x, lengths)
    assert str(again.value) == str(raised.value)


def test_what_forward_takes_is_taken(rng):
    net = network("tagger").eval()
    x = data(net, rng)
    want = net.forward(x)[0]
    for other in (x.astype(np.uint8), np.asfortranarray(x), x.astype(np.int32), memoryview(x)):
        np.testing.assert_array_equal(net.infer(other), want)
    net = network("lstm").eval()
    x = data(net, rng)
    np.testing.assert_array_equal(net.infer(memoryview(x)), net.forward(x)[0])


def test_copies_have_chains_of_their_own(rng):
    net = network("tagger")
    x = data(net, rng)
    want = net.infer(x)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin.params.flat[:] = 0
        assert not twin.infer(x).any()
    np.testing.assert_array_equal(net.infer(x), want)


def test_threads_may_share_a_network():
    net = network("tagger").eval()
    inputs = [data(net, np.random.default_rng(seed), steps, 1) for seed, steps in enumerate((1, 30, 3, 17))]
    wanted = [net.forward(x)[0] for x in inputs]
    wrong = []

    def work(place):
        for _ in range(300):
            if not np.array_equal(net.infer(inputs[place]), wanted[place]):
                wrong.append(place)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(len(inputs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
