"""Masks and weights finer than a row: in losses, networks and training."""

import numpy as np
import pytest
from laws import assert_close
from layer_laws import check_gradients, drawn

from rnncore import (
    GRU,
    LSTM,
    SGD,
    Bidirectional,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Embedding,
    LastStep,
    MeanPool,
    Network,
    SquaredError,
    Trainer,
    kernels,
    metrics,
    reference,
)
from rnncore.data import Batch

T, B, C = 5, 4, 3
MASK = np.array([[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 0, 1]], bool)
LOSSES = [CrossEntropy, BinaryCrossEntropy, SquaredError]


def problem(loss, rng, dtype="float64"):
    y = rng.standard_normal((T, B, C)).astype(dtype)
    if loss is CrossEntropy:
        return y, rng.integers(0, C, (T, B))
    return y, rng.random((T, B, C)).astype(dtype)


def by_hand(loss, y, target, shares, classes):
    """Sum of shares (T, B) times the loss of each step, and its gradient."""
    if loss is CrossEntropy:
        p = np.exp(y - y.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        onehot = np.eye(C)[target]
        shares = shares * classes[target]
        return -(shares * np.log((p * onehot).sum(-1))).sum(), shares[..., None] * (p - onehot)
    shares = shares[..., None] * classes
    if loss is SquaredError:
        return (shares * (y - target) ** 2).sum() / 2, shares * (y - target)
    p = 1 / (1 + np.exp(-y))
    losses = -target * np.log(p) - (1 - target) * np.log(1 - p)
    return (shares * losses).sum(), shares * (p - target)


@pytest.mark.parametrize("loss", LOSSES)
def test_step_weights_class_weights_and_masks_are_those_written_by_hand(loss, backend, rng):
    y, target = problem(loss, rng)
    classes = np.array([0.5, 0, 3])
    weights = rng.random((T, B)) * (rng.random((T, B)) < 0.8)
    made = loss(class_weights=classes)
    made.backend = backend
    value, dy = made(y, target, MASK, weights)
    shares = MASK * weights
    total = (shares * classes[target]).sum() if loss is CrossEntropy else shares.sum()
    want, dwant = by_hand(loss, y, target, shares / total, classes)
    assert_close(value, want, 1e-12)
    assert_close(dy, dwant, 1e-12)
    assert made.count(target, MASK, weights) == pytest.approx(total)
    y[(shares == 0)] = np.nan  # is not read
    assert made(y, target, MASK, weights)[0] == value


def test_an_ignored_label_is_a_step_that_does_not_count(backend, rng):
    y, target = problem(CrossEntropy, rng)
    loss, plain = CrossEntropy(ignored=-1), CrossEntropy()
    loss.backend = plain.backend = backend
    value, dy = loss(y, np.where(MASK, target, -1))
    want, dwant = plain(y, target, MASK)
    assert value == want
    np.testing.assert_array_equal(dy, dwant)
    assert loss.count(np.where(MASK, target, -1)) == MASK.sum()
    with pytest.raises(ValueError, match=r"target\[0, 1\] is -2"):
        loss(y, np.where(MASK, target, -2))


@pytest.mark.parametrize("classes", [None, (0.5, 2.0, 1.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_pytorchs(classes, smoothing, rng):
    torch = pytest.importorskip("torch")
    y, target = problem(CrossEntropy, rng)
    target[MASK] = -100
    ours = CrossEntropy(class_weights=classes, ignored=-100, label_smoothing=smoothing)
    value, dy = ours(y, target)
    tensor = torch.from_numpy(y.reshape(-1, C)).requires_grad_()
    weight = None if classes is None else torch.tensor(classes).double()
    theirs = torch.nn.functional.cross_entropy(
        tensor, torch.from_numpy(target.reshape(-1)), weight, label_smoothing=smoothing
    )
    theirs.backward()
    assert_close(value, theirs.item(), 1e-10)
    assert_close(dy, tensor.grad.numpy().reshape(y.shape), 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothing_is_the_reference(dtype, level, rng):
    y, target = problem(CrossEntropy, rng, dtype)
    results = []
    for side in (kernels, reference):
        dy = np.empty_like(y)
        weights, classes = MASK.astype(float), np.array([1.0, 0, 2])
        value = side.smoothed_cross_entropy(y, target, None, 0.3, dy, 0.1, weights, classes)
        results.append((value, dy))
    tolerance = 8 * np.finfo(dtype).eps
    assert_close(results[0][0], results[1][0], tolerance)
    assert_close(results[0][1], results[1][1], tolerance, scale=1.0)


NETWORKS = {
    "tagger": lambda: (Bidirectional(LSTM(2, 3)), GRU(6, 2), Dense(2, C)),
    "last": lambda: (LSTM(2, 4), LastStep(), Dense(4, C, "tanh")),
    "mean": lambda: (GRU(2, 4), MeanPool()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_mask_is_the_row_without_the_steps(name, rng):
    """Each row alone, with what the mask keeps of it, gives its results and states; an empty one gives 0."""
    net = drawn(Network(*NETWORKS[name](), dtype="float64"))
    x = rng.standard_normal((T, B, 2))
    state = None if name == "tagger" else net.forward(rng.standard_normal((2, B, 2)))[1]
    x[~MASK] = np.nan  # is not read
    y, final, _ = net.forward(x, state, MASK)
    for row in range(B):
        own = None if state is None else _row(state, row)
        if not MASK[:, row].any():
            assert not (y[row] if y.ndim == 2 else y[:, row]).any()
            if state is not None:
                _same(_row(final, row), own)
            continue
        alone, ended, _ = net.forward(x[MASK[:, row], row][:, None].copy(), own)
        _same(_row(final, row), ended)
        if y.ndim == 2:
            np.testing.assert_array_equal(y[[row]], alone)
        else:
            np.testing.assert_array_equal(y[MASK[:, row], row], alone[:, 0])
            assert not y[~MASK[:, row], row].any()
    assert net.infer(np.nan_to_num(x), MASK).tobytes() == net.forward(x, None, MASK)[0].tobytes()


def _row(state, row):
    if isinstance(state, tuple):
        return tuple(_row(part, row) for part in state)
    return None if state is None else state[..., [row], :]


def _same(a, b):
    if isinstance(a, tuple):
        for pair in zip(a, b, strict=True):
            _same(*pair)
    elif a is not None:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_under_a_mask(name, rng):
    net = drawn(Network(*NETWORKS[name](), dtype="float64"))
    check_gradients(net, rng.standard_normal((T, B, 2)), MASK)


def test_left_padding_is_a_mask(rng):
    """Rows that end together instead of beginning together."""
    net = drawn(Network(Embedding(9, 3), LSTM(3, 4), LastStep()))
    ids, lengths = rng.integers(1, 9, (T, 3)), np.array([2, 5, 3])
    left = np.zeros_like(ids)
    for row, length in enumerate(lengths):
        left[T - length :, row] = ids[:length, row]
    want = net.forward(ids, None, lengths)[0]
    np.testing.assert_array_equal(net.forward(left, None, left > 0)[0], want)


@pytest.mark.parametrize("pooled", [False, True])
def test_rows_of_no_steps_and_batches_of_padding_change_nothing(pooled, rng):
    layers = (GRU(2, 4), *([LastStep()] if pooled else []), Dense(4, C))
    net = drawn(Network(*layers, dtype="float64"))
    x, target = rng.standard_normal((T, B, 2)), rng.integers(0, C, B if pooled else (T, B))
    lengths = np.array([3, 0, 5, 0])
    few = (Ellipsis, [0, 2])
    results = []
    for batch in (
        (x, target, lengths),
        (x[:, [0, 2]].copy(), target[few].copy(), lengths[[0, 2]]),
    ):
        y, _, tape = net.forward(batch[0], None, batch[2])
        value, dy = CrossEntropy()(y, batch[1], batch[2])
        net.zero_grad()
        net.backward(dy, tape)
        results.append((value, net.grads.flat.copy()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
    assert_close(results[0][1], results[1][1], 1e-13)
    y, state, tape = net.forward(x, None, np.zeros(B, int))
    value, dy = CrossEntropy()(y, target, np.zeros(B, int))
    net.zero_grad()
    dx, _ = net.backward(dy, tape)
    assert value == 0
    assert not any(array.any() for array in (y, dy, dx, net.grads.flat))
    assert state == (None,) * len(net.layers)


@pytest.mark.parametrize("bptt", [None, 2])
def test_training_under_a_mask_is_training_on_what_it_keeps(bptt, rng):
    """The Trainer, with weights of steps and truncated BPTT, and a batch that keeps nothing in between."""
    x, target, weights = rng.standard_normal((T, B, 2)), rng.integers(0, C, (T, B)), rng.random((T, B))
    kept = [np.flatnonzero(MASK[:, row]) for row in (0, 2, 3)]
    longest = max(map(len, kept))
    steps = np.array([[part[min(t, len(part) - 1)] for part in kept] for t in range(longest)])
    rows = np.array([0, 2, 3])
    lengths = np.array([len(part) for part in kept])
    plain = Batch(x[steps, rows], target[steps, rows], lengths, weights=weights[steps, rows])
    masked = Batch(x, target, MASK, weights=weights)
    nothing = Batch(x, target, np.zeros((T, B), bool))
    results = []
    for batches in ([masked, nothing], [plain]):
        net = Network(LSTM(2, 3), Dense(3, C), dtype="float64", seed=2)
        trainer = Trainer(net, CrossEntropy(), SGD(lr=0.3), bptt=bptt)
        trainer.fit(batches, epochs=3)
        results.append(net.params.flat.copy())
    assert_close(results[0], results[1], 1e-12)
    assert trainer.evaluate([masked]) == pytest.approx(trainer.evaluate([plain]), rel=1e-12)


def test_metrics_take_masks(rng):
    y, target = problem(CrossEntropy, rng)
    assert metrics.accuracy(y, target, MASK) == (y.argmax(-1) == target)[MASK].mean()
    assert metrics.accuracy(y, target, np.array([0, 3, 5, 1])) == metrics.accuracy(
        y, target, np.arange(T)[:, None] < [0, 3, 5, 1]
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda y, t: CrossEntropy()(y, t, MASK[:, :2]), ValueError, "lengths are a mask of shape"),
        (lambda y, t: CrossEntropy()(y, t, MASK.astype(int)), TypeError, "as a mask bool"),
        (lambda y, t: CrossEntropy()(y, t, None, np.ones((2, 2))), ValueError, r"one per step, \(5, 4\)"),
        (lambda y, t: CrossEntropy()(y, t, None, -np.ones((T, B))), ValueError, r"weights\[0\] is -1"),
        (lambda y, t: CrossEntropy(class_weights=[1, 2])(y, t), ValueError, "are 2, but y has 3"),
        (lambda y, t: CrossEntropy(class_weights=[0, 0]), ValueError, "class_weights are all 0"),
        (lambda y, t: CrossEntropy(class_weights=[1, -1]), ValueError, r"class_weights\[1\] is -1"),
        (lambda y, t: CrossEntropy(ignored=0.5), TypeError, "ignored is 0.5"),
        (lambda y, t: CrossEntropy(label_smoothing=1), ValueError, "label_smoothing is 1"),
        (lambda y, t: Network(LSTM(C, 2)).forward(np.float32(y), None, MASK[:3]), ValueError, "a mask"),
    ],
)
def test_wrong_masks_and_weights(call, error, message, rng):
    with pytest.raises(error, match=message):
        call(*problem(CrossEntropy, rng))


@pytest.mark.parametrize("mask", [MASK, np.zeros_like(MASK)], ids=["mask", "nothing kept"])
@pytest.mark.parametrize(
    "wrong", [[0], {"h": 0}, 0.5, "h", (np.zeros((B, 2)),), (np.zeros((B - 1, 3)), None)]
)
def test_wrong_states_are_refused_under_a_mask_too(mask, wrong, rng):
    net = Network(GRU(2, 3), Dense(3, 1), dtype="float64")
    x = rng.standard_normal((T, B, 2))
    with pytest.raises((TypeError, ValueError), match=r"^state"):
        net.forward(x, wrong, lengths=mask)
    y, _, tape = net.forward(x, lengths=mask)
    with pytest.raises((TypeError, ValueError), match=r"^dstate"):
        net.backward(y, tape, wrong)
