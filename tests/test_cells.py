"""A compiled cell computes what the NumPy reference computes: every array, at every level, on any shape."""

import concurrent.futures
import math

import numpy as np
import pytest
from cells import CELLS, TOLERANCE, Call, Shape, seeds, shapes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from laws import assert_all_close, assert_close

from rnncore import kernels, reference
from rnncore.kernels import threads

pytestmark = pytest.mark.usefixtures("level")
DTYPES = ("float64", "float32")
SINGLE = Shape(1, 1, 1, 1)
RAGGED = Shape(4, 5, 3, 6, (1, 4, 2, 4, 3))
# Wider than any tile, in every direction, and no multiple of one.
WIDE = Shape(3, 37, 70, 131, tuple(1 + row % 3 for row in range(37)))
# A single step, for which weights are not packed, of more rows than a tile, and of few with many units.
STEP = Shape(1, 20, 70, 131)
THIN_STEP = Shape(1, 3, 12, 300)
# More rows than the kernels take at a time, so that steps come in several chunks; no row has the last.
MANY_ROWS = Shape(11, 130, 5, 6, tuple(1 + 7 * row % 9 for row in range(130)))
MORE_ROWS_THAN_A_CHUNK = Shape(3, 600, 2, 3)
# Worth more than one thread, above sixteen million operations a pass: by rows of the batch, and by units.
HEAVY = Shape(13, 41, 70, 97, tuple(1 + 5 * row % 13 for row in range(41)))
FEW_ROWS = Shape(90, 3, 64, 161, (77, 90, 30))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@example(SINGLE, 0)
@example(RAGGED, 1)
@example(WIDE, 2)
@example(STEP, 5)
@example(THIN_STEP, 6)
@example(MANY_ROWS, 3)
@example(MORE_ROWS_THAN_A_CHUNK, 4)
@settings(max_examples=10)
def test_forward_kernel_equals_reference(cell, dtype, shape, seed):
    call = Call(cell, shape, dtype, seed)
    assert_all_close(call.forward(kernels), call.forward(reference), TOLERANCE[dtype], call.scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds, clip_step=st.sampled_from([math.inf, 10.0, 0.5, 1e-3]))
@example(SINGLE, 0, math.inf)
@example(SINGLE, 0, 1e-3)
@example(RAGGED, 1, math.inf)
@example(RAGGED, 1, 0.5)
@example(WIDE, 2, math.inf)
@example(WIDE, 2, 3.0)
@example(STEP, 5, 1.0)
@example(THIN_STEP, 6, math.inf)
@example(MANY_ROWS, 3, 1.0)
@example(MORE_ROWS_THAN_A_CHUNK, 4, math.inf)
@settings(max_examples=10)
def test_backward_kernel_equals_reference(cell, dtype, shape, seed, clip_step):
    call = Call(cell, shape, dtype, seed, clip_step)
    tape = call.forward(reference)  # one tape for both: at a ReLU's kink a last bit decides over the slope
    got, clipped = call.backward(kernels, tape)
    want, clipped_reference = call.backward(reference, tape)
    assert_all_close(got, want, TOLERANCE[dtype], call.scale)
    # In float32 a norm may lie on the threshold to the last bit.
    assert abs(clipped[0] - clipped_reference[0]) <= (dtype == "float32")
    assert abs(clipped[1] - clipped_reference[1]) <= (dtype == "float32") + 1e-12 * clipped[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds, clip_step=st.sampled_from([math.inf, 0.5]))
@example(RAGGED, 1, math.inf)
@example(MANY_ROWS, 3, 1.0)
@settings(max_examples=5)
def test_recorded_gradients_equal_the_reference_and_change_nothing(cell, dtype, shape, seed, clip_step):
    call = Call(cell, shape, dtype, seed, clip_step)
    tape = call.forward(reference)
    got, _ = call.backward(kernels, tape, record=True)
    want, _ = call.backward(reference, tape, record=True)
    plain, _ = call.backward(kernels, tape)
    assert all(np.array_equal(got[name], plain[name]) for name in plain)
    for name in got.keys() - plain.keys():
        first = name in ("dhidden", "dcells")  # row 0, of the initial state, is no business of the kernel's
        assert_close(got[name][first:], want[name][first:], TOLERANCE[dtype], name, call.scale(name))
        assert not got[name][first:][shape.padding()].any()


@pytest.mark.parametrize("backend", [kernels, reference])
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@example(MANY_ROWS, 3)
@settings(max_examples=4)
def test_without_dx_all_else_is_the_same(cell, backend, shape, seed):
    call = Call(cell, shape, "float32", seed)
    tape = call.forward(backend)
    want, got = call.backward(backend, tape)[0], call.backward(backend, tape, dx=False)[0]
    assert got.keys() == want.keys() - {"dx"}
    assert all(np.array_equal(got[name], want[name]) for name in got)


@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=5)
def test_states_are_the_same_without_a_tape(cell, shape, seed):
    call = Call(cell, shape, "float64", seed)
    with_tape, without = call.forward(kernels), call.forward(kernels, record=False)
    for name in call.states:
        assert_close(without[name], with_tape[name], 1e-14, name, call.scale(name))


@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=5)
def test_full_lengths_are_no_lengths(cell, shape, seed):
    without = Call(cell, Shape(shape.T, shape.B, shape.I, shape.H), "float64", seed)
    full = Call(cell, Shape(shape.T, shape.B, shape.I, shape.H, (shape.T,) * shape.B), "float64", seed)
    tape = without.forward(kernels)
    assert_all_close(full.forward(kernels), tape, 1e-14, full.scale)
    assert_all_close(full.backward(kernels, tape)[0], without.backward(kernels, tape)[0], 1e-13, full.scale)


@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=5)
def test_padding_of_every_output_is_zero(cell, shape, seed):
    call = Call(cell, shape, "float32", seed)
    tape = call.forward(kernels)
    for array in (*(tape[name][call.past :] for name in call.states), call.backward(kernels, tape)[0]["dx"]):
        assert not array[shape.padding()].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds)
@settings(max_examples=5)
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
    clean = call.forward(kernels)["hidden"][call.past - 1 :]
    call.x[2, 1, 0] = np.nan
    hidden = call.forward(kernels)["hidden"][call.past - 1 :]
    others = [0, 2, 3]
    assert np.array_equal(hidden[:, others], clean[:, others])
    assert np.array_equal(hidden[:3, 1], clean[:3, 1])
    reached = np.isnan(hidden[3 :: call.delays[0], 1])
    assert reached.any(axis=1).all() if call.cell == "clockwork" else reached.all()


@pytest.fixture
def _threads_restored():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.usefixtures("_threads_restored")
@pytest.mark.parametrize("lengths", ["full", "ragged"])
@pytest.mark.parametrize("split", [HEAVY, FEW_ROWS], ids=["batch", "units"])
@pytest.mark.parametrize("cell", ["elman-tanh", "skip-tanh-13", "lstm", "gru", "gru-before"])
def test_any_number_of_threads_computes_the_same(cell, split, lengths):
    """Forward and dx to the bit, for an entry is one thread's; the weights', sums over rows, to rounding."""
    shape = split if lengths == "ragged" else Shape(split.T, split.B, split.I, split.H)
    call = Call(cell, shape, "float64", 4, clip_step=1.0)
    threads.set_num_threads(1)
    tape = call.forward(kernels)
    want, clipped = call.backward(kernels, tape)
    assert clipped[0]
    for number in (2, 3, 7):
        threads.set_num_threads(number)
        got = call.forward(kernels)
        assert all(np.array_equal(got[name], tape[name]) for name in tape)
        got, clipped_too = call.backward(kernels, tape)
        assert clipped_too[0] == clipped[0]
        assert clipped_too[1] == pytest.approx(clipped[1], rel=1e-12)
        assert all(np.array_equal(got[name], want[name]) for name in ("dx", *call.dfinal))
        assert_all_close(got, want, 1e-13, call.scale)
        again = call.backward(kernels, tape)[0]
        assert all(np.array_equal(got[name], again[name]) for name in got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@given(shape=shapes(), seed=seeds, data=st.data())
@settings(max_examples=5)
def test_a_row_does_not_depend_on_its_company(cell, dtype, shape, seed, data):
    """Bit for bit the same alone as in the batch: outputs, tapes, dx, the initial state's gradient."""
    row = data.draw(st.integers(0, shape.B - 1))
    call, alone = Call(cell, shape, dtype, seed, 0.7), Call(cell, shape, dtype, seed, 0.7)
    own = slice(row, row + 1)
    alone.shape = Shape(shape.T, 1, shape.I, shape.H, shape.lengths and shape.lengths[own])
    alone.x, alone.dy = alone.x[:, own].copy(), alone.dy[:, own].copy()
    alone.noise = None if call.noise is None else call.noise[:, own].copy()
    for arrays in (alone.initial, alone.dfinal):
        arrays.update({name: array[..., own, :].copy() for name, array in arrays.items()})
    batch_tape, row_tape = call.forward(kernels), alone.forward(kernels)
    for name, array in row_tape.items():
        np.testing.assert_array_equal(batch_tape[name][:, own], array, name)
    batch, single = call.backward(kernels, batch_tape)[0], alone.backward(kernels, row_tape)[0]
    np.testing.assert_array_equal(batch["dx"][:, own], single["dx"])
    for name in call.dfinal:
        np.testing.assert_array_equal(batch[name][..., own, :], single[name], name)


@pytest.mark.parametrize("cell", ["elman-tanh", "lstm", "gru"])
def test_calls_from_several_python_threads_do_not_meet(cell):
    calls = [Call(cell, HEAVY, "float32", seed) for seed in range(4)]

    def both(call):
        tape = call.forward(kernels)
        return {**tape, **call.backward(kernels, tape)[0]}

    alone = [both(call) for call in calls]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(both, calls * 3))
    for got, want in zip(together, alone * 3, strict=True):
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], name)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_kernel_and_reference_are_two(cell, way):
    """Or the comparison would compare nothing."""
    kernel, plain = (getattr(module, f"{cell}_{way}") for module in (kernels, reference))
    assert type(kernel) is not type(plain)
