"""What lies beside an array is neither read nor written: vectors are whole, arrays are not.

The sanitizers do not see a vector's masked loads and stores; a fence of NaN around each array does.
"""

import functools

import numpy as np
import pytest
from cells import CELLS, Call, Shape

from rnncore import kernels

pytestmark = pytest.mark.usefixtures("level")

FENCE = 64  # numbers: more than a vector or a panel's width has of doubles
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 50, 63, 65, 100, 127, 130)
DTYPES = ("float32", "float64")


def fenced(array):
    """A copy between two fences, and the memory that it lies in."""
    memory = np.full(array.size + 2 * FENCE, np.nan, array.dtype)
    inside = memory[FENCE:-FENCE].reshape(array.shape)
    inside[...] = array
    return inside, memory


class Fenced:
    """The kernels, each call on fenced copies of its arrays, and looked through afterwards."""

    def __getattr__(self, name):
        kernel = getattr(kernels, name)
        return functools.partial(self.call, kernel) if name.endswith("ward") else kernel

    def call(self, kernel, *given, **named):
        arrays = {}

        def take(name, value):
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                return value
            inside, memory = fenced(value)
            arrays[name] = value, inside, memory
            return inside

        inside = [take(place, value) for place, value in enumerate(given)]
        result = kernel(*inside, **{name: take(name, value) for name, value in named.items()})
        for name, (array, inside, memory) in arrays.items():
            fences = np.concatenate([memory[:FENCE], memory[-FENCE:]])
            assert np.isnan(fences).all(), f"{name} was written beyond its end"
            array[...] = inside
        return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [1, 3, 9, 17, 35, 50])
@pytest.mark.parametrize("cell", CELLS)
def test_cells_stay_within_their_arrays(cell, units, dtype):
    call = Call(cell, Shape(6, 7, units, units, (6, 5, 6, 2, 6, 6, 3)), dtype, seed=0, clip_step=0.5)
    want, got = call.forward(kernels), call.forward(Fenced())
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    (want, clipped), (got, other) = call.backward(kernels, want), call.backward(Fenced(), want)
    assert clipped == other
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wide", ["inputs", "outputs"])
def test_dense_layers_stay_within_their_arrays(wide, size, dtype):
    inputs, outputs = (size, 11) if wide == "inputs" else (11, size)
    rng = np.random.default_rng(size)
    x, dy, weight = (
        rng.standard_normal(shape).astype(dtype) for shape in ((9, inputs), (9, outputs), (outputs, inputs))
    )
    bias, scratch = dy[0].copy(), np.empty(kernels.dense_scratch_size(inputs, outputs, dtype), dtype)
    results = []
    for backend in (kernels, Fenced()):
        y, dx, dweight, dbias = (np.zeros_like(array) for array in (dy, x, weight, bias))
        backend.dense_forward(x, weight, bias, y, scratch)
        backend.dense_backward(dy, x, weight, dx, dweight, dbias, scratch)
        results.append((y, dx, dweight, dbias))
    for want, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kernel", "arrays", "numbers"),
    [
        (kernels.sgd_update, 3, (0.1, 0.9, True)),
        (kernels.rmsprop_update, 4, (0.1, 0.9, 1e-8, 0.5)),
        (kernels.adam_update, 4, (0.1, 0.9, 0.99, 1e-8, 0.1, 3)),
        (kernels.l1_penalty, 2, (0.1,)),
        (kernels.l2_penalty, 2, (0.1,)),
        (kernels.clip_norm, 1, (0.5,)),
        (kernels.clip_value, 1, (0.5,)),
        (kernels.global_norm, 1, ()),
        (kernels.all_finite, 1, ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_flat_kernels_stay_within_their_arrays(kernel, arrays, numbers, size, dtype):
    rng = np.random.default_rng(size)
    plain = [abs(rng.standard_normal(size)).astype(dtype) for _ in range(arrays)]
    within = [array.copy() for array in plain]
    assert Fenced().call(kernel, *within, *numbers) == kernel(*plain, *numbers)
    np.testing.assert_array_equal(within, plain)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error"])
def test_losses_stay_within_their_arrays(name, size, dtype):
    rng = np.random.default_rng(size)
    y, target = rng.standard_normal((2, 3, size)).astype(dtype), rng.random((2, 3, size)).astype(dtype)
    if name == "softmax_cross_entropy":
        target = rng.integers(0, size, (2, 3))
    kernel, plain, within = getattr(kernels, name), np.empty_like(y), np.empty_like(y)
    assert Fenced().call(kernel, y, target, None, 0.5, within) == kernel(y, target, None, 0.5, plain)
    np.testing.assert_array_equal(within, plain)
