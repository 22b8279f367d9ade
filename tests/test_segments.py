"""Segments: cutting a batch changes where the gradient stops, and nothing else."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training import batch, draw_batch, text_network

from rnncore.losses import CrossEntropy
from rnncore.trainer.segments import Walk

shapes = st.tuples(st.integers(1, 14), st.integers(1, 4), st.integers(1, 16), st.integers(0, 10**6))


def outputs(net, walk, rows):
    """Each step's logits (T, B, C) as a walk computes them; NaN where it computes none."""
    y_all = np.full((walk.steps, walk.rows, 7), np.nan)
    for first, last in walk.segments():
        done = np.full(walk.rows, first)
        for piece in walk.pieces(first, last):
            y, state, _ = net.forward(piece.x, walk.enter(piece), piece.lengths)
            walk.leave(piece, state)
            for place, row in enumerate(range(walk.rows) if piece.rows is None else piece.rows):
                n = len(y) if piece.lengths is None else piece.lengths[place]
                begin = done[row]
                np.testing.assert_array_equal(piece.target[:n, place], walk.target[begin : begin + n, row])
                y_all[begin : begin + n, row] = y[:n, place]
                done[row] += n
    return y_all


def documents(given, row):
    """The spans of one row between its borders and its end."""
    end = len(given.x) if given.lengths is None else given.lengths[row]
    borders = [0, end] if given.starts is None else [0, *(np.flatnonzero(given.starts[:end, row])), end]
    borders = sorted(set(borders))
    return itertools.pairwise(borders)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
@given(shapes, st.booleans(), st.booleans())
def test_segments_equal_each_document_alone(cell, shape, ragged, bordered):
    """Whatever the segments, lengths and borders: every document gives what it gives alone."""
    steps, rows, bptt, seed = shape
    rng = np.random.default_rng(seed)
    given = draw_batch(
        steps, rows, seed,
        starts=rng.random((steps, rows)) < 0.3 if bordered else None,
        lengths=rng.integers(1, steps + 1, rows) if ragged else None,
    )  # fmt: skip
    net = text_network(cell, dtype="float64")
    found = outputs(net, Walk(given, bptt), rows)
    wanted = np.full_like(found, np.nan)
    for row in range(rows):
        for first, last in documents(given, row):
            alone = np.ascontiguousarray(given.x[first:last, row : row + 1])
            wanted[first:last, row : row + 1] = net.forward(alone)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@given(shapes)
def test_one_segment_gives_the_gradient_of_the_documents(shape):
    """Pieces of one segment, weighed by their steps, add up to the gradient of all documents alone."""
    steps, rows, _, seed = shape
    starts = np.random.default_rng(seed).random((steps, rows)) < 0.3
    given = draw_batch(steps, rows, seed, starts=starts)
    net, loss = text_network(dtype="float64"), CrossEntropy()

    def gradient(parts):
        net.zero_grad()
        for x, target, lengths in parts:
            y, _, tape = net.forward(x, None, lengths)
            _, dy = loss(y, target, lengths)
            net.backward(dy * loss.count(target, lengths), tape)
        return net.grads.flat.copy()

    walk = Walk(given, steps)
    found = gradient((piece.x, piece.target, piece.lengths) for piece in walk.pieces(0, steps))
    wanted = gradient(
        (
            np.ascontiguousarray(given.x[first:last, row : row + 1]),
            np.ascontiguousarray(given.target[first:last, row : row + 1]),
            None,
        )
        for row in range(rows)
        for first, last in documents(given, row)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_no_step_is_run_twice():
    """The pieces of a segment hold its valid steps, each once."""
    starts = np.random.default_rng(0).random((40, 5)) < 0.1
    walk = Walk(draw_batch(40, 5, starts=starts, lengths=[40, 1, 17, 30, 11]), 9)
    pieces = [piece for first, last in walk.segments() for piece in walk.pieces(first, last)]
    counts = [piece.x.size if piece.lengths is None else piece.lengths.sum() for piece in pieces]
    assert sum(counts) == 40 + 1 + 17 + 30 + 11


def test_steps_behind_the_longest_row_are_no_segments():
    walk = Walk(draw_batch(40, 3, lengths=[5, 11, 2]), 4)
    assert list(walk.segments()) == [(0, 4), (4, 8), (8, 11)]


def test_whole_batches_and_plain_segments_are_views():
    """No copy is made where none is needed."""
    given = draw_batch(12, 3)
    assert Walk(given, None).pieces(0, 12)[0].x is given.x
    piece = Walk(given, 5).pieces(5, 10)[0]
    assert np.shares_memory(piece.x, given.x)
    assert piece.lengths is None


def test_strided_streams_are_taken():
    """A long text cut into rows is a transposed view: its segments are made contiguous."""
    ids = np.arange(60) % 7
    given = batch(ids.reshape(3, 20).T, ids.reshape(3, 20).T)
    for first, last in (walk := Walk(given, 6)).segments():
        (piece,) = walk.pieces(first, last)
        assert piece.x.flags.c_contiguous
        np.testing.assert_array_equal(piece.x, given.x[first:last])


ids = np.zeros((6, 2), int)


@pytest.mark.parametrize(
    ("given", "bptt", "error", "message"),
    [
        (ids, None, TypeError, r"batch is a ndarray, but a Batch, or a tuple \(x, target\)"),
        ((ids,), None, TypeError, "batch is a tuple, but a Batch"),
        (([[1]], ids), None, TypeError, "batch's x is a list"),
        (batch([[1]], ids), None, TypeError, "batch's x is a list"),
        (batch(ids, None), None, TypeError, "batch's target is a NoneType"),
        (batch(ids[:0], ids[:0]), None, ValueError, r"batch's x has shape \(0, 2\)"),
        (batch(ids[:, 0], ids), None, ValueError, r"batch's x has shape \(6,\)"),
        (batch(ids, ids, lengths=[6, 7]), None, ValueError, r"lengths\[1\] is 7"),
        (batch(ids, ids, lengths=[6, -1]), 3, ValueError, r"lengths\[1\] is -1"),
        (batch(ids, ids, starts=ids), None, TypeError, "batch's starts are int64"),
        (batch(ids, ids, starts=ids[1:] > 0), None, ValueError, r"batch's starts have shape \(5, 2\)"),
        (batch(ids, ids[0]), 3, ValueError, r"target has shape \(2,\), but one target per step"),
        (batch(ids, ids[0], starts=ids > 0), None, ValueError, r"\(2,\), but one target per step"),
        (batch(ids, np.zeros(3, int)), None, ValueError, r"target has shape \(3,\), but x has T=6, B=2"),
    ],
)
def test_a_batch_that_cannot_be_walked_is_refused(given, bptt, error, message):
    with pytest.raises(error, match=message):
        Walk(given, bptt)
