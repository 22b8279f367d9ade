"""The dense kernels compute what the reference computes, at every level, on any shape, with any threads."""

import numpy as np
import pytest
from cells import SIZES, TOLERANCE, seeds
from hypothesis import example, given, settings
from laws import assert_all_close

from rnncore import kernels, reference
from rnncore.kernels import threads

pytestmark = pytest.mark.usefixtures("level")


@pytest.fixture(params=[1, 2, 3], scope="module")
def thread_count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


class Call:
    """One forward and one backward call; what is to be written is NaN, gradients start non-zero."""

    def __init__(self, rows, inputs, outputs, dtype, seed):
        rng = np.random.default_rng(seed)

        def draw(*size):
            return rng.standard_normal(size).astype(dtype)

        self.x, self.dy, self.weight, self.bias = (
            draw(rows, inputs),
            draw(rows, outputs),
            draw(outputs, inputs) / np.asarray(inputs**0.5, dtype),
            draw(outputs),
        )
        self.start = {"dweight": draw(outputs, inputs), "dbias": draw(outputs)}

    def run(self, backend):
        """Every array that the kernels write, by name."""
        outputs, inputs = self.weight.shape
        size = backend.dense_scratch_size(inputs, outputs, self.x.dtype)

        def unwritten(*shape):
            return np.full(shape, np.nan, self.x.dtype)

        y, dx = unwritten(*self.dy.shape), unwritten(*self.x.shape)
        backend.dense_forward(x=self.x, weight=self.weight, bias=self.bias, y=y, scratch=unwritten(size))
        out = {"dx": dx, **{name: array.copy() for name, array in self.start.items()}}
        backend.dense_backward(dy=self.dy, x=self.x, weight=self.weight, scratch=unwritten(size), **out)
        return {"y": y, **out}

    def scale(self, name):
        """Natural size of an array, whatever cancels in it: a gradient of weights is a sum over rows."""
        return len(self.x) ** 0.5 if name in self.start else 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(rows=SIZES, inputs=SIZES, outputs=SIZES, seed=seeds)
@example(1, 1, 1, 0)
@example(1500, 7, 5, 1)  # more rows than are packed at a time
@example(2100, 33, 65, 2)  # and worth three threads
@example(1, 300, 200, 3)
@settings(max_examples=12)
def test_dense_kernel_equals_reference(thread_count, dtype, rows, inputs, outputs, seed):
    call = Call(rows, inputs, outputs, dtype, seed)
    assert_all_close(call.run(kernels), call.run(reference), TOLERANCE[dtype], call.scale)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(rows=SIZES, inputs=SIZES, outputs=SIZES, seed=seeds)
@settings(max_examples=6)
def test_a_row_does_not_depend_on_its_company(dtype, rows, inputs, outputs, seed):
    call = Call(rows, inputs, outputs, dtype, seed)
    together = call.run(kernels)
    call.x, call.dy = call.x[-1:].copy(), call.dy[-1:].copy()
    alone = call.run(kernels)
    np.testing.assert_array_equal(together["y"][-1:], alone["y"])
    np.testing.assert_array_equal(together["dx"][-1:], alone["dx"])
