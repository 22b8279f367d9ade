"""Truncated BPTT in the form (k1, k2): an update every k1 steps, gradients through k2."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training import CLASSES, Source, draw_batch, make_trainer, measured, text_network

from rnncore.losses import CrossEntropy
from rnncore.trainer.checkpoint import Position
from rnncore.trainer.gradient import Gradient
from rnncore.trainer.segments import Walk

shapes = st.tuples(
    st.integers(1, 17), st.integers(1, 3), st.integers(1, 6), st.integers(0, 9), st.integers(0, 10**6)
)


def gradients(net, batch, bptt):
    """The gradient of every minibatch of a batch, the parameters as they are."""
    gradient = Gradient(net, CrossEntropy(), [], bptt)
    walk = Walk(batch, bptt[0] if isinstance(bptt, tuple) else bptt)
    found = []
    for first, last in walk.segments():
        position = Position()
        gradient.add(walk, first, last, position)
        found.append(net.grads.flat * position.unit / position.weight)
    return found


def explicit(net, batch, k1, k2):
    """Each row by itself: from zero up to the window without a tape, through it with one, losses at its end.

    Where a document begins, the state is zero and nothing goes back beyond.
    """
    steps, rows = batch.x.shape
    ends = [steps] * rows if batch.lengths is None else batch.lengths
    for first in range(0, steps, k1):
        last = min(first + k1, steps)
        net.zero_grad()
        total = 0
        for row in range(rows):
            borders = {0, ends[row]}
            if batch.starts is not None:
                borders |= set(np.flatnonzero(batch.starts[: ends[row], row]))
            for begin, end in itertools.pairwise(sorted(borders)):
                low, high = max(begin, first), min(end, last)
                if low >= high:
                    continue
                cut = max(begin, first + k1 - k2)
                state = None
                if cut > begin:
                    state = net.forward(np.ascontiguousarray(batch.x[begin:cut, row : row + 1]))[1]
                y, _, tape = net.forward(np.ascontiguousarray(batch.x[cut:high, row : row + 1]), state)
                dy = np.zeros_like(y)
                target = np.ascontiguousarray(batch.target[low:high, row : row + 1])
                part = np.ascontiguousarray(y[low - cut :])
                dy[low - cut :] = CrossEntropy()(part, target)[1] * (high - low)
                net.backward(dy, tape)
                total += high - low
        yield net.grads.flat / max(total, 1)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
@given(shapes, st.booleans(), st.booleans())
@settings(max_examples=30)
def test_a_window_is_what_it_says_row_by_row(cell, shape, ragged, bordered):
    steps, rows, k1, more, seed = shape
    rng = np.random.default_rng(seed)
    given = draw_batch(
        steps, rows, seed,
        starts=rng.random((steps, rows)) < 0.2 if bordered else None,
        lengths=rng.integers(1, steps + 1, rows) if ragged else None,
    )  # fmt: skip
    net = text_network(cell, dtype="float64")
    found = gradients(net, given, (k1, k1 + more))
    for got, want in zip(found, list(explicit(net, given, k1, k1 + more)), strict=False):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@given(shapes)
@settings(max_examples=20)
def test_windows_that_do_not_overlap_are_segments(shape):
    steps, rows, k, _, seed = shape
    given = draw_batch(steps, rows, seed)
    net = text_network(dtype="float64")
    for got, want in zip(gradients(net, given, (k, k)), gradients(net, given, k), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_window_over_the_whole_past_is_the_full_gradient():
    given = draw_batch(12, 3, 1)
    net = text_network(dtype="float64")
    whole = gradients(net, given, None)[0]
    parts = gradients(net, given, (4, 12))
    np.testing.assert_allclose(np.mean(parts, axis=0), whole, rtol=1e-9)


def test_training_with_equal_windows_is_training_in_segments():
    runs = []
    for bptt in (5, (5, 5)):
        trainer = make_trainer(bptt=bptt)
        history = trainer.fit(Source(starts=True, ragged=True), epochs=2)
        runs.append((trainer.net.params.flat.tobytes(), measured(history)))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("stop", [1, 4, 7, 10])
def test_a_resumed_run_is_the_uninterrupted_one(stop, tmp_path):
    def run(steps, resume=False):
        trainer = make_trainer(bptt=(3, 8), checkpoint=tmp_path / "run.safetensors", checkpoint_every=1)
        trainer.fit(Source(starts=True), steps=steps, resume=resume)
        return trainer.net.params.flat.tobytes()

    whole = run(14)
    run(stop)
    assert run(14, resume=True) == whole


def test_a_longer_window_makes_a_difference():
    given = draw_batch(12, 3, 1)
    net = text_network(dtype="float64")
    short, long = (gradients(net, given, bptt)[2] for bptt in ((4, 4), (4, 8)))
    assert np.abs(short - long).max() > 1e-6
    assert CLASSES == 7


@pytest.mark.parametrize(
    ("bptt", "error", "message"),
    [
        ((5, 4), ValueError, r"bptt is \(5, 4\), but k2"),
        ((5,), ValueError, r"bptt is \(5,\), but k or"),
        ((0, 4), ValueError, "bptt is 0"),
        ((2.5, 4), TypeError, "bptt is 2.5"),
    ],
)
def test_impossible_windows_are_refused(bptt, error, message):
    with pytest.raises(error, match=message):
        make_trainer(bptt=bptt)
