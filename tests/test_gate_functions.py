"""tanh and sigmoid as the kernels compute them, through Elman layers of one step with weight 1.

With a zero initial state and no bias the unit is g(1 x + 0), exact but for g. Seventeen units read one input,
so that each number passes through every lane of a vector, and through the tail.
"""

import numpy as np
import pytest

from rnncore import kernels

pytestmark = pytest.mark.usefixtures("level")

UNITS = 17
DTYPES = (np.float32, np.float64)
# Where e^x leaves the normal numbers, and the kernels' exponential stands still.
EXP_LIMIT = {np.float32: 87.0, np.float64: 708.0}


def unit(activation, x):
    """g(x) from every one of the units: (x.size, UNITS)."""
    dtype, n = x.dtype, x.size
    hidden = np.zeros((2, n, UNITS), dtype)
    scratch = np.empty(kernels.scratch_size(1, n, 1, UNITS, 1, dtype), dtype)
    kernels.elman_forward(
        x=x.reshape(1, n, 1),
        lengths=None,
        weight_ih=np.ones((UNITS, 1), dtype),
        weight_hh=np.zeros((UNITS, UNITS), dtype),
        bias=np.zeros(UNITS, dtype),
        activation=activation,
        hidden=hidden,
        scratch=scratch,
    )
    return hidden[1]


def everywhere(dtype, largest):
    """Both signs, from the smallest normal number to ``largest``, dense where the function bends."""
    info = np.finfo(dtype)
    magnitudes = np.concatenate(
        [
            np.geomspace(info.tiny, 1, 4001),
            np.linspace(0, 12, 8001),
            np.linspace(12, largest, 2001),
            np.log(2) / 4 * np.arange(1, 100),  # the borders of the exponential's reduction
        ]
    )
    magnitudes = magnitudes.astype(dtype)
    return np.concatenate([-magnitudes, magnitudes])


def units_in_the_last_place(got, want, dtype):
    """Deviation in units of the last place of the true value, ``want`` being of a wider type."""
    return np.abs(got - want) / np.spacing(np.abs(want).astype(dtype))


def wide(x):
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_exact_to_four_units_in_the_last_place(dtype):
    """Relative to the value even where it is tiny: vanishing signals keep all their digits."""
    x = everywhere(dtype, 1000)
    error = units_in_the_last_place(unit("tanh", x), np.tanh(wide(x))[:, None], dtype)
    worst = np.unravel_index(error.argmax(), error.shape)
    assert error[worst] <= 4, f"tanh({x[worst[0]]}) is off by {error[worst]:.1f} units"


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_is_exact_to_four_units_in_the_last_place(dtype):
    x = everywhere(dtype, EXP_LIMIT[dtype])
    error = units_in_the_last_place(unit("sigmoid", x), sigmoid(wide(x))[:, None], dtype)
    worst = np.unravel_index(error.argmax(), error.shape)
    assert error[worst] <= 4, f"sigmoid({x[worst[0]]}) is off by {error[worst]:.1f} units"


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_vanishes_beyond_the_smallest_normal_number(dtype):
    x = -np.geomspace(EXP_LIMIT[dtype], np.finfo(dtype).max / 2, 1001).astype(dtype)
    got = unit("sigmoid", x)
    assert np.all((got >= np.finfo(dtype).tiny) & (got <= 2 * np.finfo(dtype).tiny))
    assert np.all(unit("sigmoid", -x) == 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_values_stay_within_their_bounds(activation, dtype):
    """No rounding carries a gate beyond 1: 1 - h^2 and h (1 - h) are slopes and must not be negative."""
    got = unit(activation, everywhere(dtype, 1000))
    assert got.max() == 1
    assert got.min() >= {"tanh": -1, "sigmoid": 0}[activation]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "identity"])
def test_a_result_does_not_depend_on_its_place(activation, dtype):
    got = unit(activation, everywhere(dtype, 30))
    np.testing.assert_array_equal(got, np.broadcast_to(got[:, :1], got.shape))


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_and_identity_are_exact(dtype):
    x = everywhere(dtype, np.finfo(dtype).max)
    np.testing.assert_array_equal(unit("identity", x)[:, 0], x)
    np.testing.assert_array_equal(unit("relu", x)[:, 0], np.maximum(x, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("activation", "at_infinity"),
    [("tanh", (-1, 1)), ("sigmoid", (0, 1)), ("relu", (0, np.inf)), ("identity", (-np.inf, np.inf))],
)
def test_nan_passes_and_infinities_saturate(activation, at_infinity, dtype):
    got = unit(activation, np.array([np.nan, -np.inf, np.inf, 0.5], dtype))
    assert np.isnan(got[0]).all()
    np.testing.assert_allclose(got[1], at_infinity[0], atol=2 * np.finfo(dtype).tiny)
    np.testing.assert_allclose(got[2], at_infinity[1])
    assert np.isfinite(got[3]).all()
