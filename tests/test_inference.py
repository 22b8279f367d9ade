"""Inference mode: weights packed once, the same bits, parameters that nobody can change meanwhile."""

import threading

import numpy as np
import pytest

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    Network,
    get_num_threads,
    set_num_threads,
)
from rnncore.optimizers import SGD

CHAINS = {
    "elman": lambda: (Elman(5, 33, activation="relu"),),
    "leaky": lambda: (LeakyElman(5, 17, leak=0.3, excitatory=0.8, zoneout=0.2), Dense(17, 3)),
    "lstm": lambda: (LSTM(5, 16), LSTM(16, 9, coupled=True), Dense(9, 2)),
    "peepholes": lambda: (LSTM(5, 35, peepholes=True), LastStep(), Dense(35, 70)),
    "gru": lambda: (GRU(5, 40, zoneout=0.2),),
    "reset before": lambda: (GRU(5, 21, reset_after=False),),
    "both directions": lambda: (Bidirectional(GRU(5, 12), merge="sum"), Bidirectional(LSTM(12, 11))),
    "wide enough for threads": lambda: (LSTM(5, 256), Dense(256, 256)),
}


def network(chain, dtype="float32"):
    net = Network(*CHAINS[chain](), seed=3, dtype=dtype).eval()
    net.params.flat[:] += np.random.default_rng(4).normal(0, 0.2, net.params.flat.size)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_the_same_bits_and_no_tape(chain, dtype):
    net, rng = network(chain, dtype), np.random.default_rng(5)
    for rows in (1, 3, 9):
        x = rng.standard_normal((6, rows, 5)).astype(dtype)
        lengths = rng.integers(1, 7, rows)
        y, state, _ = net.forward(x, lengths=lengths)
        with net.inference_mode() as within:
            assert within is net
            for _ in range(2):
                again, final, tape = net.forward(x, lengths=lengths)
                assert tape is None
                np.testing.assert_array_equal(again, y)
                np.testing.assert_array_equal(np.hstack(flat(final)), np.hstack(flat(state)))


def flat(state):
    """All arrays of a state, or of a part of one, raveled."""
    if state is None:
        return []
    return [state.ravel()] if isinstance(state, np.ndarray) else [a for part in state for a in flat(part)]


def test_what_is_changed_before_and_after_counts():
    net, x = network("lstm"), np.ones((4, 2, 5), "f")
    with net.inference_mode():
        before = net.forward(x)[0]
    net.params.flat[:] *= 0.5
    expected = net.forward(x)[0]
    assert not np.array_equal(expected, before)
    with net.inference_mode():
        np.testing.assert_array_equal(net.forward(x)[0], expected)
    assert net.forward(x)[2] is not None


def test_nobody_writes_to_the_parameters_meanwhile():
    net = network("both directions")
    kept = net.params.flat.copy()
    with net.inference_mode():
        for write in (
            lambda: net.params.flat.fill(0),
            lambda: net.params["0.weight_hh_reverse"].fill(0),
            lambda: net.params.__setitem__("1.bias", np.zeros(44)),
            lambda: SGD(0.1).step(net.params.flat, net.grads.flat),
        ):
            with pytest.raises(ValueError, match=r"read-only|aligned and writable"):
                write()
        with pytest.raises(ValueError, match="tape is None"):
            net.backward(np.ones((4, 2, 22), "f"), net.forward(np.ones((4, 2, 5), "f"))[2])
    np.testing.assert_array_equal(net.params.flat, kept)


def test_an_error_ends_it_too_and_it_is_entered_once():
    net = network("gru")
    with net.inference_mode(), pytest.raises(RuntimeError, match="in inference mode already"):
        net.inference_mode().__enter__()
    with pytest.raises(KeyError), net.inference_mode():
        raise KeyError
    assert not net.packed
    assert net.layers[0].panels is None
    net.params.flat[0] = 1


def test_threads_share_the_packed_weights():
    net = Network(Embedding(7, 5), LSTM(5, 64), Dense(64, 7), seed=1).eval()
    ids = np.random.default_rng(2).integers(0, 7, (4, 30, 3))
    expected = [net.forward(part)[0] for part in ids]
    found, before = [None] * 4, get_num_threads()

    def run(k):
        for _ in range(20):
            found[k] = net.forward(ids[k])[0]

    set_num_threads(2)
    try:
        with net.inference_mode():
            threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        set_num_threads(before)
    for k in range(4):
        np.testing.assert_array_equal(found[k], expected[k])
