"""Conditional random fields: all sequences of tags, one by one, are the oracle."""

import itertools

import numpy as np
import pytest
from laws import assert_close, derivative
from layer_laws import check_file, check_gradients, drawn

from rnncore import CRF, GRU, SGD, CRFLoss, Dense, Network, Trainer, get_num_threads, set_num_threads
from rnncore.data import Batch

T, B, K = 4, 3, 3
LENGTHS = np.array([4, 1, 3])


def drawn_case(rng, dtype="float64"):
    net = drawn(Network(CRF(K), dtype=dtype), scale=1.0)
    x = rng.standard_normal((T, B, K)).astype(dtype)
    return net, x, rng.integers(0, K, (T, B))


def scores(net, x, length, row):
    """Each sequence of tags with its score, from the equations."""
    transition, start, end = (net.params[f"0.{name}"] for name in ("transition", "start", "end"))
    for path in itertools.product(range(K), repeat=length):
        score = start[path[0]] + end[path[-1]] + sum(x[t, row, tag] for t, tag in enumerate(path))
        yield path, score + sum(transition[a, b] for a, b in itertools.pairwise(path))


def test_the_loss_and_the_likeliest_tags_are_those_of_all_sequences(backend, rng):
    net, x, target = drawn_case(rng)
    loss = CRFLoss()
    loss.backend = backend
    y = net.forward(x, None, LENGTHS)[0]
    weights = np.array([1.0, 3.0, 0.5])
    want = []
    found, logs = loss.best(y, LENGTHS)
    for row, length in enumerate(LENGTHS):
        every = dict(scores(net, x, length, row))
        log_z = np.log(sum(np.exp(score) for score in every.values()))
        want.append(log_z - every[tuple(target[:length, row])])
        best = max(every, key=every.get)
        assert tuple(found[row]) == best
        assert logs[row] == pytest.approx(every[best] - log_z)
    assert_close(loss(y, target, LENGTHS)[0], np.mean(want), 1e-12)
    assert_close(loss(y, target, LENGTHS, weights)[0], np.average(want, weights=weights), 1e-12)
    assert loss.count(target, LENGTHS, weights) == 4.5


def test_gradients(backend, rng):
    """Of the loss in the potentials, and of the layer in its input and parameters."""
    net, x, target = drawn_case(rng)
    check_gradients(net, x, LENGTHS)
    loss = CRFLoss()
    loss.backend = backend
    y = net.forward(x, None, LENGTHS)[0]
    _, dy = loss(y, target, LENGTHS)
    for place in np.ndindex(y.shape):
        before = y[place]

        def value(s, place=place, before=before):
            y[place] = before + s
            return loss(y, target, LENGTHS)[0]

        assert dy[place] == pytest.approx(derivative(value), rel=1e-7, abs=1e-11)
        y[place] = before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_padding_and_threads(dtype, level, rng):
    net, x, target = drawn_case(rng, dtype)
    loss = CRFLoss()
    y = net.forward(x, None, LENGTHS)[0]
    value, dy = loss(y, target, LENGTHS)
    beyond = np.arange(T)[:, None] >= LENGTHS
    y[beyond], target[beyond] = np.nan, 99
    assert loss(y, target, LENGTHS)[0] == value
    assert not dy[beyond].any()
    masked, dmasked = loss(y, target, ~beyond)
    assert masked == value
    np.testing.assert_array_equal(dmasked, dy)
    for one, other in zip(loss.decode(y, LENGTHS), loss.decode(y, ~beyond), strict=True):
        np.testing.assert_array_equal(one, other)
    empty = LENGTHS * np.array([1, 0, 1])
    assert not loss(y, target, empty)[1][:, 1].any()
    assert loss(y, target, np.zeros(B, int))[0] == 0
    large, tags = rng.standard_normal((50, 40, 100)).astype(dtype), rng.integers(0, 10, (50, 40))
    before, results = get_num_threads(), []
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            results.append([np.array(loss(large, tags)[0]), loss(large, tags)[1], *loss.decode(large)])
    finally:
        set_num_threads(before)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_potentials_and_forbidden_transitions(level):
    """Emissions of hundreds do not overflow; a transition of -1e4 is never taken."""
    net = Network(CRF(K))
    net.params["0.transition"][0, 1] = -1e4
    x = np.zeros((T, 1, K), "f")
    x[0, 0, 0], x[1, 0, 1], x[2, 0, 2] = 500, 300, -500
    y = net.forward(x)[0]
    loss = CRFLoss()
    path = loss.decode(y)[0]
    assert path[0] == 0
    assert path[1] != 1
    value, dy = loss(y, path[:, None])
    assert 0 <= value < 20
    assert np.isfinite(dy).all()


def test_a_tagger_learns_what_follows_what(tmp_path, rng):
    """Tags that only their neighbours tell apart; one Trainer, one file."""
    net = Network(Dense(2, K), CRF(K), seed=1)
    target = (np.arange(6)[:, None] + np.zeros(8, int)) % K  # 0 1 2 0 1 2: x says nothing
    x = rng.standard_normal((6, 8, 2)).astype("f")
    loss = CRFLoss()
    Trainer(net, loss, SGD(lr=0.5)).fit([Batch(x, target, np.full(8, 6))], epochs=60)
    assert all((row == np.arange(6) % K).all() for row in loss.decode(net.infer(x)))
    check_file(net, x, tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda y, t: CRFLoss()(y[:, :, :8].copy(), t), ValueError, r"expected \(T, B, K K\)"),
        (lambda y, t: CRFLoss()(y, t.astype(float)), TypeError, "expected integer tags"),
        (lambda y, t: CRFLoss()(y, t[:2]), ValueError, "expected a tag for each step"),
        (lambda y, t: CRFLoss()(y, t + 3), ValueError, r"target\[0, 0\] is .*; expected a tag from 0 to 2"),
        (lambda y, t: CRFLoss().decode(y * np.nan), ValueError, r"y\[0, 0, 0\] is nan"),
        (lambda y, t: Network(GRU(2, K), CRF(K)).stream(), ValueError, "layer 1, CRF, reads later steps"),
        (lambda y, t: Network(GRU(2, 4), CRF(K)), ValueError, "takes 3 features"),
    ],
)
def test_wrong_arguments(call, error, message, rng):
    net, x, target = drawn_case(rng)
    with pytest.raises(error, match=message):
        call(net.forward(x)[0], target)
