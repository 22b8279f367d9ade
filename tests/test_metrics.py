"""Metrics: they are what they are called, know no padding, and say what is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnncore.metrics import (
    accuracy,
    bits_per_character,
    confusion_matrix,
    macro_f1,
    mae,
    mase,
    perplexity,
    rmse,
    seasonal_naive,
)

CLASSES = 4
ids = arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(0, CLASSES - 1))


@st.composite
def pairs(draw, elements=None):
    """y and target (T, B) and lengths."""
    steps, rows = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    kind = np.int64 if elements is None else np.float64
    elements = st.integers(0, CLASSES - 1) if elements is None else elements
    y, target = (draw(arrays(kind, (steps, rows), elements=elements)) for _ in range(2))
    return y, target, np.array(draw(st.lists(st.integers(1, steps), min_size=rows, max_size=rows)))


def within(array, lengths):
    """The valid steps, row by row."""
    return np.concatenate([array[:n, b] for b, n in enumerate(lengths)])


numbers = pairs(st.floats(-100, 100))


@given(pairs())
def test_class_metrics_are_their_definitions(drawn):
    y, target, lengths = drawn
    matrix = confusion_matrix(y, target, lengths, classes=CLASSES)
    said, true = within(y, lengths), within(target, lengths)
    counted = [[np.sum((true == i) & (said == j)) for j in range(CLASSES)] for i in range(CLASSES)]
    np.testing.assert_array_equal(matrix, counted)
    assert accuracy(y, target, lengths) == pytest.approx(np.trace(matrix) / matrix.sum())
    scores = []
    for c in {*said.tolist(), *true.tolist()}:
        hit = np.sum((said == c) & (true == c))
        scores.append(0 if not hit else 2 / (np.sum(said == c) / hit + np.sum(true == c) / hit))
    assert macro_f1(y, target, lengths) == pytest.approx(np.mean(scores))


@given(pairs())
def test_scikit_learn_agrees(drawn):
    reference = pytest.importorskip("sklearn.metrics")
    y, target, lengths = drawn
    said, true = within(y, lengths), within(target, lengths)
    assert macro_f1(y, target, lengths) == pytest.approx(reference.f1_score(true, said, average="macro"))
    matrix = reference.confusion_matrix(true, said, labels=range(CLASSES))
    np.testing.assert_array_equal(confusion_matrix(y, target, lengths, CLASSES), matrix)


@given(ids, st.integers(0, 99))
def test_one_number_per_class_stands_for_the_largest(target, seed):
    logits = np.random.default_rng(seed).standard_normal((*target.shape, CLASSES))
    said = logits.argmax(-1)
    for metric in (accuracy, macro_f1):
        assert metric(logits, target) == metric(said, target)
    counts = confusion_matrix(said, target, classes=CLASSES)
    np.testing.assert_array_equal(confusion_matrix(logits, target), counts)


@given(numbers)
def test_errors_are_their_definitions(drawn):
    y, target, lengths = drawn
    error = within(y, lengths) - within(target, lengths)
    assert mae(y, target, lengths) == pytest.approx(np.abs(error).mean())
    assert rmse(y, target, lengths) == pytest.approx(np.sqrt((error**2).mean()))


@given(numbers, st.integers(0, 99))
def test_padding_and_unknown_targets_never_reach_a_result(drawn, seed):
    y, target, lengths = drawn
    beyond = np.arange(len(y))[:, None] >= lengths
    unknown = np.random.default_rng(seed).random(y.shape) < 0.3
    known = ~(beyond | unknown)
    if not known.any():
        return
    dirty, holes = np.where(beyond, np.nan, y), np.where(beyond | unknown, np.nan, target)
    assert mae(dirty, holes, lengths) == pytest.approx(np.abs(y - target)[known].mean())
    logits = np.random.default_rng(seed).standard_normal((*y.shape, 3)).astype(np.float32)
    classes = np.zeros(y.shape, int)
    metrics = accuracy, perplexity, bits_per_character
    clean = [metric(logits, classes, lengths) for metric in metrics]
    logits[beyond], classes[beyond] = np.nan, 99
    assert clean == [metric(logits, classes, lengths) for metric in metrics]


@given(st.integers(2, 12), st.integers(1, 5), st.integers(1, 3))
def test_equal_logits_are_as_unsure_as_there_are_classes(classes, steps, rows):
    y, target = np.zeros((steps, rows, classes)), np.ones((steps, rows), int)
    assert perplexity(y, target) == pytest.approx(classes)
    assert bits_per_character(y, target) == pytest.approx(math.log2(classes))


@given(st.integers(1, 6), st.integers(0, 99))
def test_the_seasonal_naive_forecast_of_the_history_itself_has_mase_one(season, seed):
    past = np.random.default_rng(seed).standard_normal((30, 2))
    assert mase(past[:-season], past[season:], past, season) == pytest.approx(1)
    assert mase(past[:-season, 0], past[season:, 0], past[:, 0], season) == pytest.approx(1)
    scaled = mase(past[:-season] * [1, 50], past[season:] * [1, 50], past * [1, 50], season)
    assert scaled == pytest.approx(1)  # no series outweighs another by its unit


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 10))
def test_the_naive_forecast_goes_on_as_the_season_did(season, horizon, more):
    past = np.tile(np.arange(season), 3)[: 2 * season + more % season]
    wave = np.arange(len(past), len(past) + horizon) % season
    np.testing.assert_array_equal(seasonal_naive(past, horizon, season), wave)


def test_unknown_history_is_left_out():
    assert mase([1.0], [2.0], [0, 1, np.nan, 5, 7], 1) == pytest.approx(1 / 1.5)


A = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: accuracy([0.5], [0.5]), TypeError, "target is float64"),
        (lambda: accuracy(["a"], [0]), TypeError, "y is <U1"),
        (lambda: accuracy([0, 1], [0]), ValueError, r"\(2,\) and target \(1,\)"),
        (lambda: accuracy([0.1, 0.2], [0, 1]), ValueError, r"\(2, C\) is wanted"),
        (lambda: accuracy([], np.zeros(0, int)), ValueError, "wanted"),
        (lambda: accuracy([-1], [0]), ValueError, "y holds class -1"),
        (lambda: accuracy([[np.nan, 1.0]], [0]), ValueError, r"y\[0\] holds NaN"),
        (lambda: accuracy([0], [0], [1]), ValueError, "not .T, B"),
        (lambda: confusion_matrix([0, 3], [0, 1], classes=3), ValueError, "class 3, .* 0 to 2"),
        (lambda: mae(A, A[:2]), ValueError, r"\(3, 2\) and target \(2, 2\)"),
        (lambda: mae(A, A * np.nan), ValueError, "NaN everywhere"),
        (lambda: mae(A + np.inf, A), ValueError, r"y\[0, 0\] is inf"),
        (lambda: mae("ab", A), TypeError, "y is <U2"),
        (lambda: mae(A, A, [4, 1]), ValueError, r"lengths\[0\] is 4"),
        (lambda: mase(A, A, [1.0, 2.0], 2), ValueError, "more than a season of 2"),
        (lambda: mase(A, A, [1.0, 1.0, 1.0]), ValueError, "repeats itself every 1"),
        (lambda: mase(A, A, [1.0, np.nan, 1.0]), ValueError, "no two known values"),
        (lambda: mase(A, A, np.arange(9.0).reshape(3, 3) ** 2), ValueError, "3 series"),
        (lambda: mase(A, A, [1.0, 2.0], 0), ValueError, "season is 0"),
        (lambda: seasonal_naive([1.0], 2, 2), ValueError, "a season of 2"),
    ],
)
def test_what_cannot_be_measured_is_one_error(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_perplexity_beyond_all_numbers_is_infinite():
    assert perplexity(np.array([[0.0, 1e4]]), np.array([0])) == np.inf


@pytest.mark.parametrize("metric", [accuracy, macro_f1, mae, rmse])
def test_a_mask_is_not_lost_without_a_word(metric):
    masked = np.ma.masked_array([0, 1], [False, True])
    for arguments, name in (((masked, [0, 1]), "y"), (([0, 1], masked), "target")):
        with pytest.raises(TypeError, match=f"{name} is a masked array"):
            metric(*arguments)
