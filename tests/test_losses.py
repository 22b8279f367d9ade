"""Losses against their reference, central differences, PyTorch, and the laws of softmax and padding."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncore.kernels.losses as compiled
import rnncore.reference.losses as reference
from rnncore.kernels import dispatch
from rnncore.losses import BinaryCrossEntropy, CrossEntropy, SquaredError

LOSSES = [CrossEntropy, BinaryCrossEntropy, SquaredError]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@contextmanager
def at_level(name):
    before = dispatch.level()
    dispatch.set_level(name)
    try:
        yield
    finally:
        dispatch.set_level(before)


def targets_for(loss, rng, shape, dtype):
    if issubclass(loss, CrossEntropy):
        return rng.integers(0, shape[-1], shape[:-1]).astype(rng.choice([np.int32, np.int64]))
    if issubclass(loss, BinaryCrossEntropy):
        return rng.choice([0.0, 0.25, 1.0], shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def poison(array, lengths):
    """Fill the padding with what no result may show: NaN, or an impossible class id."""
    array[np.arange(len(array))[:, None] >= lengths] = np.nan if array.dtype.kind == "f" else -(10**6)


@st.composite
def problems(draw, loss, dtype=None):
    """y (T, B, C), target, lengths or None; the padding is poisoned."""
    dtype = dtype or draw(st.sampled_from(["float32", "float64"]))
    steps, rows = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    classes = draw(st.integers(1, 40))  # every tail, and more than two of the widest vectors
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    y = (draw(st.sampled_from([0.1, 3.0, 30.0])) * rng.standard_normal((steps, rows, classes))).astype(dtype)
    target = targets_for(loss, rng, y.shape, dtype)
    lengths = None
    if draw(st.booleans()):
        lengths = rng.integers(1, steps + 1, rows)
        poison(y, lengths)
        poison(target, lengths)
    return y, target, lengths


@pytest.mark.parametrize("level", dispatch.levels())
@pytest.mark.parametrize("loss", LOSSES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_kernel_equals_reference(loss, level, data):
    y, target, lengths = data.draw(problems(loss))
    scale = data.draw(st.floats(0.01, 2))
    results = []
    with at_level(level):
        for module in (compiled, reference):
            dy = np.full_like(y, np.nan)
            value = getattr(module, loss.kernel)(y, target, lengths, scale, dy)
            results.append((value, dy))
    (value, dy), (expected, wanted) = results
    tolerance = TOLERANCE[y.dtype.name]
    assert isinstance(value, float)
    assert value == pytest.approx(expected, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(dy, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("module", [compiled, reference])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_first_class_outside_is_the_first_in_order_of_memory(module, data):
    target = np.array(data.draw(st.lists(st.integers(-2, 6), min_size=1, max_size=12)), np.int32)
    rows = data.draw(st.sampled_from([n for n in range(1, target.size + 1) if target.size % n == 0]))
    target = target.reshape(-1, rows)
    lengths = data.draw(st.none() | st.lists(st.integers(1, len(target)), min_size=rows, max_size=rows))
    expected = -1
    for t, b in reversed(list(np.ndindex(target.shape))):
        if not 0 <= target[t, b] < 4 and (lengths is None or t < lengths[b]):
            expected = t * rows + b
    lengths = None if lengths is None else np.array(lengths)
    assert module.first_class_outside(target, lengths, 4) == expected


@pytest.mark.parametrize("loss", LOSSES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_dy_is_the_derivative_of_value(loss, data):
    y, target, lengths = data.draw(problems(loss, "float64"))
    value, dy = loss()(y, target, lengths)
    valid = np.ones(y.shape[:2], bool) if lengths is None else np.arange(len(y))[:, None] < lengths
    numeric = np.zeros_like(y)
    step = 2.0**-9
    for place in zip(*np.nonzero(np.broadcast_to(valid[:, :, None], y.shape)), strict=True):
        # Five points: the error is step^4, and a step this long keeps the rounding of the value small.
        for weight, steps in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
            moved = y.copy()
            moved[place] += steps * step
            numeric[place] += weight * loss()(moved, target, lengths)[0] / (12 * step)
    rounding = 1e-15 * (1 + value) / step  # 1: where softmax is certain, the value is the log of nearly 1
    np.testing.assert_allclose(dy, numeric, rtol=0, atol=1e-8 * np.abs(dy).max() + rounding)


@pytest.mark.parametrize("loss", LOSSES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_padding_never_reaches_a_result(loss, data):
    """The value is the step-weighted mean of the rows alone, and dy is theirs; 0 in the padding."""
    y, target, lengths = data.draw(problems(loss, "float64"))
    value, dy = loss()(y, target, lengths)
    steps = np.full(y.shape[1], len(y)) if lengths is None else lengths
    expected = 0.0
    for b, n in enumerate(steps):
        row_y, row_target = (np.ascontiguousarray(array[:n, b : b + 1]) for array in (y, target))
        alone, dalone = loss()(row_y, row_target)
        weight = n / steps.sum()
        expected += weight * alone
        np.testing.assert_allclose(dy[:n, b], weight * dalone[:, 0], rtol=1e-12, atol=1e-15)
        assert not dy[n:, b].any()
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_counts_make_the_mean_of_batches_that_of_their_union(loss):
    rng = np.random.default_rng(0)
    lengths = np.array([4, 2, 1, 3, 4])
    y = rng.standard_normal((4, 5, 3))
    target = targets_for(loss, rng, y.shape, "float64")
    whole, dwhole = loss()(y, target, lengths)
    total, mean = loss().count(target, lengths), 0.0
    for part in (slice(0, 2), slice(2, 5)):
        part_y, part_target = (np.ascontiguousarray(array[:, part]) for array in (y, target))
        value, dy = loss()(part_y, part_target, lengths[part])
        weight = loss().count(part_target, lengths[part]) / total
        mean += weight * value
        np.testing.assert_allclose(weight * dy, dwhole[:, part], rtol=1e-12, atol=1e-15)
    assert total == lengths.sum()
    assert mean == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_per_sequence_is_one_step(loss):
    rng = np.random.default_rng(1)
    y = rng.standard_normal((6, 5))
    target = targets_for(loss, rng, y.shape, "float64")
    value, dy = loss()(y, target, lengths=np.arange(1, 7))
    expected, wanted = loss()(y[None], target[None])
    assert value == expected
    assert np.array_equal(dy, wanted[0])
    assert loss().count(target) == 6
    assert loss().count(target[None]) == 6


@pytest.mark.parametrize("loss", LOSSES)
def test_dy_belongs_to_the_caller(loss):
    rng = np.random.default_rng(2)
    y = rng.standard_normal((50, 8, 30)).astype("float32")
    target = targets_for(loss, rng, y.shape, "float32")
    _, first = loss()(y, target)
    kept = first.copy()
    _, second = loss()(y + 1, target)
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)


@given(data=st.data(), shift=st.floats(-1e3, 1e3))
@settings(max_examples=60, deadline=None)
def test_softmax_does_not_feel_a_shift(data, shift):
    y, target, lengths = data.draw(problems(CrossEntropy, "float64"))
    value, dy = CrossEntropy()(y, target, lengths)
    shifted_value, shifted_dy = CrossEntropy()(y + shift, target, lengths)
    assert shifted_value == pytest.approx(value, rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(shifted_dy, dy, rtol=0, atol=1e-12)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_softmax_gradient_of_a_step_sums_to_zero(data):
    y, target, lengths = data.draw(problems(CrossEntropy))
    _, dy = CrossEntropy()(y, target, lengths)
    np.testing.assert_allclose(dy.sum(axis=2), 0, atol=20 * np.finfo(y.dtype).eps)


@pytest.mark.parametrize("level", dispatch.levels())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 19])
def test_extreme_logits_stay_finite(dtype, classes, level):
    rng = np.random.default_rng(3)
    y = rng.choice([-1e4, 0.0, 1e4], (7, 9, classes)).astype(dtype)
    target = rng.integers(0, classes, (7, 9))
    with at_level(level):
        value, dy = CrossEntropy()(y, target)
        assert np.isfinite(value)
        assert 1e3 < value < 2e4 + 10
        assert np.abs(dy).max() <= 1 / 63 * 1.001
        value, dy = BinaryCrossEntropy()(y, (y > 0).astype(dtype))  # confident and right
        assert value <= classes * np.log(2)
        assert np.isfinite(dy).all()
        value, _ = BinaryCrossEntropy()(np.full_like(y, -1e4), np.ones_like(y))  # confident and wrong
        assert value == pytest.approx(classes * 1e4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_logit_of_minus_infinity_excludes_its_class(dtype):
    rng = np.random.default_rng(4)
    y = rng.standard_normal((3, 4, 21)).astype(dtype)
    target = rng.integers(0, 20, (3, 4))
    excluded = np.concatenate([y, np.full((3, 4, 9), -np.inf, dtype)], axis=2)
    value, dy = CrossEntropy()(y, target)
    excluded_value, excluded_dy = CrossEntropy()(excluded, target)
    assert excluded_value == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(excluded_dy[:, :, :21], dy, rtol=0, atol=1e-7)
    assert not excluded_dy[:, :, 21:].any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", dispatch.levels())
def test_a_network_gone_astray_shows_in_the_value(loss, bad, dtype, level):
    rng = np.random.default_rng(5)
    y = rng.standard_normal((3, 4, 21)).astype(dtype)
    target = np.zeros((3, 4), np.int64) if loss is CrossEntropy else np.full_like(y, 0.5)
    for place in [(0, 0, 0), (1, 2, 20), (2, 3, 7)]:
        broken = y.copy()
        broken[place] = bad
        with at_level(level):
            assert not np.isfinite(loss()(broken, target)[0])


@pytest.mark.parametrize("loss", [BinaryCrossEntropy, SquaredError])
def test_a_long_float32_sum_keeps_its_digits(loss):
    rng = np.random.default_rng(6)
    y = rng.standard_normal((1000, 10, 100)).astype("float32")
    target = np.zeros_like(y)
    exact, _ = loss()(y.astype("float64"), target.astype("float64"))
    assert loss()(y, target)[0] == pytest.approx(exact, rel=1e-7)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_losses_agree_with_pytorch(data):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    for loss in LOSSES:
        y, target, _ = data.draw(problems(loss, "float64"))
        y, target = np.nan_to_num(y), np.maximum(np.nan_to_num(target), 0)
        value, dy = loss()(y, target)
        logits = torch.tensor(y, requires_grad=True)
        steps = y.shape[0] * y.shape[1]
        wanted = torch.tensor(target)
        if loss is CrossEntropy:
            theirs = functional.cross_entropy(logits.reshape(steps, -1), wanted.reshape(steps).long())
        elif loss is BinaryCrossEntropy:
            theirs = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / steps
        else:
            theirs = 0.5 * functional.mse_loss(logits, wanted, reduction="sum") / steps
        theirs.backward()
        assert value == pytest.approx(theirs.item(), rel=1e-12, abs=1e-14)
        np.testing.assert_allclose(dy, logits.grad.numpy(), rtol=1e-11, atol=1e-14)


Y = np.zeros((3, 2, 4), np.float32)
IDS = np.zeros((3, 2), np.int64)
LAST = (2, 1, 0)


def with_entry(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("loss", "y", "target", "lengths", "error", "message"),
    [
        (CrossEntropy, Y.tolist(), IDS, None, TypeError, "y is a list"),
        (CrossEntropy, Y.astype(np.float16), IDS, None, TypeError, "y is float16"),
        (CrossEntropy, Y[0, 0], IDS[0, 0], None, ValueError, r"y has shape \(4,\)"),
        (CrossEntropy, Y[:0], IDS[:0], None, ValueError, r"y has shape \(0, 2, 4\)"),
        (CrossEntropy, Y.transpose(1, 0, 2), IDS.T, None, ValueError, "y is not C-contiguous"),
        (CrossEntropy, Y, IDS.tolist(), None, TypeError, "target is a list"),
        (CrossEntropy, Y, IDS.astype(float), None, TypeError, "target is float64"),
        (CrossEntropy, Y, IDS[:2], None, ValueError, r"target has shape \(2, 2\)"),
        (CrossEntropy, Y, IDS.reshape(2, 3).T, None, ValueError, "target is not C-contiguous"),
        (CrossEntropy, Y, with_entry(IDS, (2, 1), 4), None, ValueError, r"target\[2, 1\] is 4, but y has 4"),
        (CrossEntropy, Y, with_entry(IDS, (1, 0), -1), [3, 1], ValueError, r"target\[1, 0\] is -1"),
        (CrossEntropy, Y[0], with_entry(IDS[0], 1, 9), None, ValueError, r"target\[1\] is 9"),
        (CrossEntropy, Y, with_entry(IDS, (0, 0), -1).astype(np.uint64), None, ValueError, r"target\[0, 0\]"),
        (CrossEntropy, Y, IDS, [3, 4], ValueError, r"lengths\[1\] is 4, but y has 3 steps"),
        (CrossEntropy, Y, IDS, [3, -1], ValueError, r"lengths\[1\] is -1"),
        (CrossEntropy, Y, IDS, [3], ValueError, "lengths have shape"),
        (SquaredError, Y, Y[:2], None, ValueError, r"target has shape \(2, 2, 4\)"),
        (SquaredError, Y, Y.astype(np.float64), None, TypeError, "target is float64"),
        (SquaredError, Y, with_entry(Y, (1, 0, 3), np.nan), None, ValueError, r"target\[1, 0, 3\] is nan"),
        (SquaredError, Y[1], with_entry(Y, (1, 0, 3), np.inf)[1], None, ValueError, r"target\[0, 3\] is inf"),
        (BinaryCrossEntropy, Y, with_entry(Y, LAST, 1.5), [3, 3], ValueError, r"\[2, 1, 0\] is 1\.5"),
        (BinaryCrossEntropy, Y, with_entry(Y, LAST, -1e-3), None, ValueError, r"\[2, 1, 0\] is -0\.001"),
        (BinaryCrossEntropy, Y, with_entry(Y, LAST, np.nan), None, ValueError, r"\[2, 1, 0\] is nan"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error(loss, y, target, lengths, error, message):
    with pytest.raises(error, match=message) as caught:
        loss()(y, target, lengths)
    assert "\n" not in str(caught.value)
