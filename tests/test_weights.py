"""Weights of sequences: in the kernels, the losses, the sources and in training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore.kernels.losses as compiled
import rnncore.reference.losses as reference
from rnncore import GRU, Dense, LastStep, Network, Trainer
from rnncore.ctc import CTC
from rnncore.data import Batch, RaggedSource
from rnncore.kernels import dispatch
from rnncore.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from rnncore.optimizers import SGD, Adam

LOSSES = [CrossEntropy, BinaryCrossEntropy, SquaredError]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def problem(loss, seed, dtype="float64", steps=4, rows=5, classes=3, ragged=True):
    """y (T, B, C), target, lengths or None, weights with a 0 among them."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((steps, rows, classes)).astype(dtype)
    target = rng.integers(0, classes, (steps, rows))
    if loss is not CrossEntropy:
        target = rng.random((steps, rows, classes)).astype(dtype)
    weights = rng.uniform(0.1, 3, rows)
    weights[rng.integers(rows)] = 0
    return y, target, rng.integers(1, steps + 1, rows) if ragged else None, weights


@pytest.mark.parametrize("level", dispatch.levels())
@pytest.mark.parametrize("loss", LOSSES)
@given(
    seed=st.integers(0, 2**32), dtype=st.sampled_from(list(TOLERANCE)), ragged=st.booleans(),
    steps=st.integers(1, 4), rows=st.integers(1, 5), classes=st.integers(1, 35),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_kernel_equals_reference(loss, level, seed, dtype, ragged, steps, rows, classes):
    y, target, lengths, weights = problem(loss, seed, dtype, steps, rows, classes, ragged)
    y[:, weights == 0] = np.nan  # is not read
    results, before = [], dispatch.level()
    dispatch.set_level(level)
    try:
        for module in (compiled, reference):
            dy = np.full_like(y, np.nan)
            results.append((getattr(module, loss.kernel)(y, target, lengths, 0.3, dy, weights[None]), dy))
    finally:
        dispatch.set_level(before)
    (value, dy), (expected, wanted) = results
    tolerance = TOLERANCE[dtype]
    assert value == pytest.approx(expected, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(dy, wanted, rtol=tolerance, atol=tolerance)
    assert not dy[:, weights == 0].any()


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_dy_is_the_derivative_of_value(loss, ragged):
    y, target, lengths, weights = problem(loss, 1, ragged=ragged)
    _, dy = loss()(y, target, lengths, weights)
    for place in np.ndindex(y.shape):
        values = []
        for step in (1e-5, -1e-5):
            near = y.copy()
            near[place] += step
            values.append(loss()(near, target, lengths, weights)[0])
        assert dy[place] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_whole_weights_are_repetitions_and_0_is_removal(loss, pooled):
    y, target, lengths, _ = problem(loss, 2)
    weights = np.array([2, 0, 1, 3, 0])
    again = np.repeat(np.arange(5), weights)
    if pooled:
        y, target, lengths = y[0], target[0], None
    rows = (again,) if pooled else (slice(None), again)
    value, dy = loss()(y, target, lengths, weights)
    repeated = np.ascontiguousarray(y[rows]), np.ascontiguousarray(target[rows])
    expected, wanted = loss()(*repeated, None if lengths is None else lengths[again])
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dy[rows] / np.maximum(weights, 1)[again][:, None], wanted, rtol=1e-12)
    count = loss().count(repeated[1], None if lengths is None else lengths[again])
    assert loss().count(target, lengths, weights) == pytest.approx(count)


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_proportions_count_and_1_is_none(loss):
    y, target, lengths, weights = problem(loss, 3)
    value, dy = loss()(y, target, lengths, weights)
    scaled, dy_scaled = loss()(y, target, lengths, 7 * weights)
    assert scaled == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(dy_scaled, dy, rtol=1e-12)
    np.testing.assert_array_equal(loss()(y, target, lengths, np.ones(5))[1], loss()(y, target, lengths)[1])
    value, dy = loss()(y, target, lengths, np.zeros(5))
    assert value == 0
    assert not dy.any()


@pytest.mark.parametrize(("weights", "error", "message"), [
    ([1, 2], ValueError, r"weights have shape \(2,\), but one per row is wanted: \(5,\)"),
    ([1, 2, -1, 0, 0], ValueError, r"weights\[2\] is -1"),
    ([1, np.nan, 1, 0, 0], ValueError, r"weights\[1\] is nan"),
    (["a"] * 5, TypeError, "numbers are wanted"),
])  # fmt: skip
def test_wrong_weights_get_one_clear_error(weights, error, message):
    y, target, lengths, _ = problem(SquaredError, 4)
    with pytest.raises(error, match=message):
        SquaredError()(y, target, lengths, weights)
    with pytest.raises(error, match=message):
        RaggedSource([np.ones(3, int)] * 5, np.arange(5), weights=weights)


def classifier(seed=0):
    return Network(GRU(2, 6), LastStep(), Dense(6, 3), seed=seed, dtype="float64")


def sequences(seed, n=12):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((rng.integers(2, 7), 2)) for _ in range(n)], rng.integers(0, 3, n)


def test_training_on_weights_is_training_on_repetitions():
    xs, ys = sequences(5)
    weights = np.random.default_rng(6).integers(1, 4, len(xs))
    again = np.repeat(np.arange(len(xs)), weights)
    nets = []
    for rows, counted in ((np.arange(len(xs)), weights), (again, None)):
        net = classifier()
        source = RaggedSource(
            [xs[i] for i in rows], ys[rows], batch_size=len(rows), dtype="float64", weights=counted, waste=0.9
        )
        assert len(source) == 1
        Trainer(net, CrossEntropy(), SGD(0.5), progress="off").fit(source, epochs=5)
        nets.append(net)
    np.testing.assert_allclose(nets[0].params.flat, nets[1].params.flat, rtol=1e-9, atol=1e-12)


def test_accumulated_minibatches_make_one_large_one():
    xs, ys = sequences(7)
    weights = np.random.default_rng(8).uniform(0.2, 5, len(xs))
    nets = []
    for size in (12, 4):
        net = classifier()
        source = RaggedSource(
            xs, ys, batch_size=size, dtype="float64", weights=weights, waste=0.9, shuffle=False
        )
        trainer = Trainer(net, CrossEntropy(), SGD(0.5), accumulate=12 // size, progress="off")
        trainer.fit(source, epochs=3)
        nets.append((net.params.flat, trainer.evaluate(source)))
    np.testing.assert_allclose(nets[0][0], nets[1][0], rtol=1e-9, atol=1e-12)
    assert nets[0][1] == pytest.approx(nets[1][1], rel=1e-9)


def test_segments_carry_the_weights_of_their_rows():
    rng = np.random.default_rng(9)
    x, target = rng.standard_normal((6, 3, 2)), rng.integers(0, 3, (6, 3))
    lengths = np.array([6, 2, 4])
    kept = []
    for weights, rows in ((np.array([1.0, 2.0, 0.0]), [0, 1]), (np.array([1.0, 2.0]), [0, 1])):
        net = Network(GRU(2, 6), Dense(6, 3), seed=1, dtype="float64")
        every = np.arange(len(weights)) if len(weights) == 3 else np.array(rows)
        batch = Batch(
            np.ascontiguousarray(x[:, every]),
            np.ascontiguousarray(target[:, every]),
            lengths[every],
            weights=weights,
        )
        Trainer(net, CrossEntropy(), Adam(0.1), bptt=2, progress="off").fit([batch], epochs=3)
        kept.append(net.params.flat)
    np.testing.assert_allclose(kept[0], kept[1], rtol=1e-9, atol=1e-12)


def test_a_batch_of_weight_0_and_a_sequence_of_weight_0_are_refused():
    xs, ys = sequences(10, 2)
    with pytest.raises(ValueError, match=r"weights\[1\] is 0: leave such a sequence out"):
        RaggedSource(xs, ys, weights=[1, 0])
    batch = Batch(np.zeros((2, 2, 2)), np.zeros(2, int), weights=np.zeros(2))
    with pytest.raises(ValueError, match="weights are all 0"):
        Trainer(classifier(), CrossEntropy(), SGD(0.1), progress="off").fit([batch], epochs=1)


def test_ctc_counts_weights_too():
    y = np.random.default_rng(11).standard_normal((5, 3, 4))
    labels = [[1], [2, 3], [1, 1]]
    weights = np.array([1.0, 0.0, 3.0])
    value, _ = CTC()(y, labels, None, weights)
    repeated = np.ascontiguousarray(y[:, [0, 2, 2, 2]])
    assert value == pytest.approx(CTC()(repeated, [labels[i] for i in (0, 2, 2, 2)])[0], rel=1e-12)
    assert CTC().count(labels, None, weights) == 4
    assert CTC()(y, labels, None, np.zeros(3))[0] == 0
