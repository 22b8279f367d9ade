"""``net.objective``: value and gradient as one function of all parameters, for SciPy's minimizers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from laws import assert_close, derivative
from scipy.optimize import minimize

from rnncore import GRU, LSTM, CrossEntropy, Dense, Dropout, Network, SquaredError
from rnncore.data.batch import Batch

T, B, I, H = 5, 4, 2, 3
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "lbfgs.py"


def problem(rng, dtype="float64", **more):
    net = Network(LSTM(I, H), Dropout(0.5), GRU(H, H), Dense(H, 2), dtype=dtype)
    x, target = rng.standard_normal((T, B, I)).astype(dtype), rng.standard_normal((T, B, 2)).astype(dtype)
    return net, Batch(x=x, target=target, lengths=np.array([5, 2, 1, 3]), **more)


def test_the_gradient_is_that_of_the_value(rng):
    """Along a random direction, with ragged rows; dropout is off, and comes back on."""
    net, batch = problem(rng)
    f = net.objective(batch, SquaredError())
    start, direction = rng.standard_normal((2, net.params.flat.size))
    gradient = f(start)[1]
    wanted = derivative(lambda s: f(start + s * direction)[0])
    assert_close(gradient @ direction, wanted, 1e-8)
    assert net.training
    again = f(start)
    assert np.array_equal(again[1], gradient)
    assert not np.shares_memory(gradient, net.grads.flat)
    assert np.array_equal(net.params.flat, start)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_minimizer_trains_the_network(dtype, rng):
    """SciPy speaks float64, whatever the network computes in."""
    net, batch = problem(rng, dtype)
    f = net.objective(batch, SquaredError())
    before, gradient = f(net.params.flat)
    assert gradient.dtype == np.float64
    result = minimize(f, net.params.flat, jac=True, method="L-BFGS-B", options={"maxiter": 60})
    net.params.flat[:] = result.x
    assert result.fun < 0.1 * before
    assert f(net.params.flat)[0] == result.fun


def test_what_is_no_point_or_no_batch_is_refused(rng):
    net, batch = problem(rng)
    f = net.objective(batch, SquaredError())
    before = net.params.flat.copy()
    with pytest.raises(ValueError, match=r"flat has shape \(3,\), but"):
        f(np.zeros(3))
    assert np.array_equal(net.params.flat, before)
    _, resetting = problem(rng, starts=np.zeros((T, B), bool))
    with pytest.raises(ValueError, match="batch has starts"):
        net.objective(resetting, CrossEntropy())
    with pytest.raises(TypeError, match="batch is a ndarray, but a Batch"):
        net.objective(batch.x, SquaredError())
    tupled = net.objective((batch.x, batch.target, batch.lengths), SquaredError())
    assert tupled(before)[0] == f(before)[0]
    with net.inference_mode():
        for ask in (lambda: net.objective(batch, SquaredError()), lambda: f(before)):
            with pytest.raises(RuntimeError, match="in inference mode, which an objective"):
                ask()
    assert net.training


@pytest.mark.skipif(not EXAMPLE.exists(), reason="no examples beside the tests")
def test_the_example_learns():
    before, after = runpy.run_path(str(EXAMPLE))["main"]()
    assert after < 0.02 * before
