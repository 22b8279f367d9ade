"""Every variant of a cell is looked into like the plain one."""

import numpy as np
import pytest
from laws import jacobian as differences

from rnncore import GRU, LSTM, Dense, Network, SquaredError
from rnncore.diagnostics import (
    cell_health,
    diagnose,
    gradient_flow,
    jacobian,
    lyapunov_exponents,
    weight_contributions,
)
from rnncore.layers import LeakyElman

T, B, I, H = 12, 2, 2, 4
VARIANTS = {
    "peepholes": lambda: LSTM(I, H, peepholes=True),
    "coupled": lambda: LSTM(I, H, coupled=True, peepholes=True),
    "other functions": lambda: LSTM(I, H, gate_activation="tanh", activation="sigmoid"),
    "reset before": lambda: GRU(I, H, reset_after=False),
    "leaky": lambda: LeakyElman(I, H, time_constants=(2, 10)),
    "learned leaks": lambda: LeakyElman(I, H, leak=0.3, learn_leak=True),
    "Dale": lambda: LeakyElman(I, H, leak=0.3, excitatory=0.75, noise=0.1),
}


def make(name):
    net = Network(VARIANTS[name](), Dense(H, 2), seed=3, dtype="float64")
    rng = np.random.default_rng(0)
    net.params.flat[:] += 0.4 * rng.standard_normal(net.params.flat.size)
    return net.eval(), rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 2))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_jacobian_is_the_derivative_of_the_state(name):
    net, x, _ = make(name)
    layer = net.layers[0]
    _, _, tape = layer.forward(x)
    states = [array[3].copy() for array in tape.states()]

    def later():
        _, final, _ = layer.forward(x[3:6].copy(), tuple(states) if len(states) > 1 else states[0])
        return (final[0] if len(states) > 1 else final).ravel()

    want = differences(later, states[0]).reshape(B, H, B, H)[np.arange(B), :, np.arange(B)]
    np.testing.assert_allclose(jacobian(layer, tape, 6, 3), want, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_that_is_measured_fails_on_it(name):
    net, x, target = make(name)
    loss = SquaredError()
    assert np.isfinite(gradient_flow(net, x, target, loss)[0].norms["h"]).all()
    parts = weight_contributions(net, x, target, loss, steps=[T - 1])[0]
    assert (parts.matrix["weight_hh"][0, 1:] > 0).all()
    health = cell_health(net, x)[0]
    assert health.activity.shape == (T, len(health.gates), H)
    assert (health.time_constants > 0).all() or name == "other functions"
    assert np.isfinite(lyapunov_exponents(net.layers[0], x, k=2).exponents).all()
    assert diagnose(net, (x, target), loss).measures["0"]


def test_leaky_units_have_the_time_constants_that_they_were_given():
    net, x, _ = make("leaky")
    leak = net.layers[0].leaks()
    np.testing.assert_allclose(cell_health(net, x)[0].time_constants, -1 / np.log(1 - leak))
