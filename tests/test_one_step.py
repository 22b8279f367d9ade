"""A single step reads the weights where they are, longer calls pack them: both give the same bits."""

import numpy as np
import pytest
from cells import CELLS, Call, Shape
from laws import assert_all_close

from rnncore import kernels
from rnncore.kernels import threads

pytestmark = pytest.mark.usefixtures("level", "one_thread")
DTYPES = ("float64", "float32")
# One row, a tile of rows and more of them; units and inputs of one panel, of several, and single ones. The
# last has panels that the second-level cache does not hold.
SHAPES = [(1, 1, 1), (1, 17, 33), (2, 3, 1), (3, 1, 70), (6, 70, 65), (9, 5, 16)]
SHAPES += [(20, 64, 131), (70, 3, 7), (8, 33, 700)]


@pytest.fixture
def one_thread():
    before = threads.get_num_threads()
    threads.set_num_threads(1)
    yield
    threads.set_num_threads(before)


def one_step(cell, shape, dtype):
    """A call of a single step, and one of two steps that is over after the first, with the same numbers."""
    B, I, H = shape
    single = Call(cell, Shape(1, B, I, H), dtype, 3)
    padded = Call(cell, Shape(2, B, I, H, (1,) * B), dtype, 3)
    for name in ("weights", "initial", "dfinal", "start"):
        setattr(padded, name, getattr(single, name))
    for name in ("x", "dy", "noise"):
        if (array := getattr(single, name)) is not None:
            setattr(padded, name, np.concatenate([array, np.full_like(array, np.nan)]))
    return single, padded


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.startswith("clockwork")])
def test_a_single_step_has_the_bits_of_a_longer_call(cell, shape, dtype):
    single, padded = one_step(cell, shape, dtype)
    got, want = single.forward(kernels), padded.forward(kernels)
    for name, array in got.items():
        np.testing.assert_array_equal(want[name][: len(array)], array, name)
    got, want = single.backward(kernels, got)[0], padded.backward(kernels, want)[0]
    np.testing.assert_array_equal(want["dx"][:1], got["dx"])
    for name in got.keys() - {"dx"}:
        np.testing.assert_array_equal(want[name], got[name], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("B", [1, 5, 20, 64])
@pytest.mark.parametrize("cell", ["elman-tanh", "skip-tanh-13", "lstm", "gru", "gru-before"])
def test_a_single_step_is_the_same_on_any_number_of_threads(cell, B, dtype):
    call = Call(cell, Shape(1, B, 130, 450), dtype, 4)
    tape = call.forward(kernels)
    want = call.backward(kernels, tape)[0]
    for number in (2, 3, 7):
        threads.set_num_threads(number)
        again = call.forward(kernels)
        assert all(np.array_equal(again[name], tape[name]) for name in tape)
        got = call.backward(kernels, tape)[0]
        assert all(np.array_equal(got[name], want[name]) for name in ("dx", *call.dfinal))
        assert_all_close(got, want, {"float64": 1e-13, "float32": 1e-5}[dtype], call.scale)
