"""A compiled cell computes what the NumPy reference computes: every array, at every level, on any shape."""

import math

import numpy as np
import pytest
from cells import CELLS, TOLERANCE, Call, Shape, seeds, shapes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from laws import assert_all_close, assert_close

from rnncore import kernels, reference

pytestmark = pytest.mark.usefixtures("level")
DTYPES = ("float64", "float32")
SINGLE = Shape(1, 1, 1, 1)
RAGGED = Shape(4, 5, 3, 6, (1, 4, 2, 4, 3))
# Wider than any tile, in every direction, and no multiple of one.
WIDE = Shape(3, 37, 70, 131, tuple(1 + row % 3 for row in range(37)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@example(SINGLE, 0)
@example(RAGGED, 1)
@example(WIDE, 2)
@settings(max_examples=25)
def test_forward_kernel_equals_reference(cell, dtype, shape, seed):
    call = Call(cell, shape, dtype, seed)
    assert_all_close(call.forward(kernels), call.forward(reference), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds, clip_step=st.sampled_from([math.inf, 10.0, 0.5, 1e-3]))
@example(SINGLE, 0, math.inf)
@example(SINGLE, 0, 1e-3)
@example(RAGGED, 1, math.inf)
@example(RAGGED, 1, 0.5)
@example(WIDE, 2, math.inf)
@example(WIDE, 2, 3.0)
@settings(max_examples=25)
def test_backward_kernel_equals_reference(cell, dtype, shape, seed, clip_step):
    call = Call(cell, shape, dtype, seed, clip_step)
    tape = call.forward(reference)  # one tape for both: at a ReLU's kink a last bit decides over the slope
    got, clipped = call.backward(kernels, tape)
    want, clipped_reference = call.backward(reference, tape)
    assert_all_close(got, want, TOLERANCE[dtype])
    # In float32 a norm may lie on the threshold to the last bit.
    assert abs(clipped - clipped_reference) <= (dtype == "float32")


@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=10)
def test_states_are_the_same_without_a_tape(cell, shape, seed):
    call = Call(cell, shape, "float64", seed)
    with_tape, without = call.forward(kernels), call.forward(kernels, record=False)
    for name in call.states:
        assert_close(without[name], with_tape[name], 1e-14, name)


@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=10)
def test_full_lengths_are_no_lengths(cell, shape, seed):
    without = Call(cell, Shape(shape.T, shape.B, shape.I, shape.H), "float64", seed)
    full = Call(cell, Shape(shape.T, shape.B, shape.I, shape.H, (shape.T,) * shape.B), "float64", seed)
    tape = without.forward(kernels)
    assert_all_close(full.forward(kernels), tape, 1e-14)
    assert_all_close(full.backward(kernels, tape)[0], without.backward(kernels, tape)[0], 1e-13)


@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=10)
def test_padding_of_every_output_is_zero(cell, shape, seed):
    call = Call(cell, shape, "float32", seed)
    tape = call.forward(kernels)
    for array in (*(tape[name][1:] for name in call.states), call.backward(kernels, tape)[0]["dx"]):
        assert not array[shape.padding()].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=10)
def test_the_same_call_gives_the_same_bits(cell, dtype, shape, seed):
    call = Call(cell, shape, dtype, seed)
    first, second = call.forward(kernels), call.forward(kernels)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    first, second = call.backward(kernels, first)[0], call.backward(kernels, first)[0]
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("cell", CELLS)
def test_a_nan_in_a_row_stays_in_its_row(cell):
    """NaN is passed on, never clamped away, and no other row sees it."""
    shape = Shape(5, 4, 3, 17)
    call = Call(cell, shape, "float32", 3)
    clean = call.forward(kernels)["hidden"]
    call.x[2, 1, 0] = np.nan
    hidden = call.forward(kernels)["hidden"]
    others = [0, 2, 3]
    assert np.array_equal(hidden[:, others], clean[:, others])
    assert np.array_equal(hidden[:3, 1], clean[:3, 1])
    assert np.isnan(hidden[3:, 1]).all()
