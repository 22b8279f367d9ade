"""Lyapunov exponents agree with closed forms; fixed points are where the network rests."""

import math

import numpy as np
import pytest
from laws import snapshot

from rnncore import GRU, LSTM, Dense, Elman, Network
from rnncore.diagnostics import fixed_points, jacobian_spectrum, lyapunov_exponents
from rnncore.initializers import orthogonal, spectral_radius
from rnncore.layers import LeakyElman


def linear(matrix):
    net = Network(Elman(2, len(matrix), "identity"), dtype="float64")
    net.params["0.weight_hh"][...] = matrix
    return net.layers[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_linear_network_has_the_moduli_of_its_eigenvalues(seed):
    """Also where they come in complex pairs and the eigenvectors are far from orthogonal."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((6, 6)) / 6**0.5
    want = np.sort(np.log(np.abs(np.linalg.eigvals(matrix))))[::-1]
    found = lyapunov_exponents(linear(matrix), rng.standard_normal((3000, 2, 2)))
    np.testing.assert_allclose(found.exponents, want, atol=1e-6)
    np.testing.assert_allclose(found.running[-1], want, atol=0.01)
    assert found.rows.shape == (2, 6)
    assert found.regime == ("chaos" if want[0] > 0.01 else "order" if want[0] < -0.01 else "edge")


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.2])
def test_an_orthogonal_network_has_one_exponent_for_all(scale, rng):
    matrix = np.empty((8, 8))
    orthogonal(matrix, rng, scale)
    found = lyapunov_exponents(linear(matrix), 50)
    np.testing.assert_allclose(found.exponents, math.log(scale), atol=1e-12)
    assert found.regime == {0.7: "order", 1.0: "edge", 1.2: "chaos"}[scale]


def test_the_first_exponents_are_those_of_the_whole_spectrum(rng):
    net = Network(LSTM(2, 4), seed=1, dtype="float64")
    net.params.flat[:] += rng.standard_normal(net.params.flat.size)
    x = rng.standard_normal((1500, 2, 2))
    whole, some = lyapunov_exponents(net.layers[0], x), lyapunov_exponents(net.layers[0], x, k=2)
    assert whole.exponents.shape == (8,)
    assert (np.diff(whole.exponents) <= 0).all()
    np.testing.assert_allclose(some.exponents, whole.exponents[:2], atol=5e-3)


@pytest.mark.parametrize("cell", [Elman, LSTM, GRU])
def test_the_sum_of_exponents_is_the_mean_log_volume(cell, rng):
    """And each lies where the singular values of the whole product put it."""
    net = Network(cell(2, 3), seed=1, dtype="float64")
    net.params.flat[:] += 0.5 * rng.standard_normal(net.params.flat.size)
    x = rng.standard_normal((800, 1, 2))
    found = lyapunov_exponents(net.layers[0], x, discard=0)
    _, _, tape = net.forward(x)
    spectrum = jacobian_spectrum(net.layers[0], tape[0], state="all", bounds=False).per_step()[0]
    assert found.running[-1].sum() == pytest.approx(spectrum.sum(), abs=1e-9)
    np.testing.assert_allclose(found.running[-1], spectrum, atol=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_random_tanh_networks_leave_order_at_gain_one(seed):
    """h' = tanh(g J h) of 500 units (Sompolinsky, Crisanti & Sommers, 1988).

    Below, the exponent is that of the resting network, log(g |largest eigenvalue of J|), and crosses zero
    where it does, at 1 but for the finite size; above, perturbations never die again. 500 units
    oscillate first, with the exponent 0; at 1.6 there is chaos.
    """
    rng, units = np.random.default_rng(seed), 500
    coupling = rng.standard_normal((units, units)) / units**0.5
    largest = {}
    for gain in (0.9, 1.1, 1.6):
        net = Network(Elman(1, units), dtype="float64")
        net.params["0.weight_hh"][...] = gain * coupling
        state = rng.standard_normal((1, units))
        found = lyapunov_exponents(net.layers[0], 600, state, k=1, discard=300)
        largest[gain] = found.exponents[0]
    assert largest[0.9] < -0.03
    assert largest[1.1] > -0.01
    assert largest[1.6] > 0.03
    crossing = 0.9 * math.exp(-largest[0.9])
    assert crossing == pytest.approx(1, abs=0.1)


def test_free_running_is_running_on_zeros(rng):
    net = Network(GRU(2, 5), seed=1, dtype="float64")
    state = rng.standard_normal((3, 5))
    free = lyapunov_exponents(net.layers[0], 40, state)
    driven = lyapunov_exponents(net.layers[0], np.zeros((40, 3, 2)), state)
    np.testing.assert_array_equal(free.exponents, driven.exponents)
    assert free.discarded == 4
    assert "nats per step" in str(free)


def test_the_error_shrinks_with_the_length(rng):
    net = Network(Elman(2, 5), seed=1, dtype="float64")
    x = rng.standard_normal((3200, 1, 2))
    short, long = (lyapunov_exponents(net.layers[0], x[:steps], k=1) for steps in (100, 3200))
    assert long.error[0] < short.error[0]
    assert abs(short.exponents[0] - long.exponents[0]) < 6 * short.error[0]


def test_the_error_is_the_scatter_of_repeated_measurements():
    """Also of slow units, whose blocks of steps are not independent: within a factor of two."""
    net = Network(LeakyElman(5, 80, leak=0.5), seed=1)
    spectral_radius(net.params["0.weight_hh"], np.random.default_rng(7), 4.0)
    found = []
    for seed in range(16):
        x = (0.1 * np.random.default_rng(seed).standard_normal((600, 2, 5))).astype(np.float32)
        found.append(lyapunov_exponents(net.layers[0], x, k=1))
    scatter = np.std([one.exponents[0] for one in found], ddof=1)
    error = np.sqrt(np.mean([one.error[0] ** 2 for one in found]))
    assert error / 2 < scatter < 2 * error


def memory():
    """Two units that keep their sign: stable points near (±a, ±a), saddles between, the origin repelling."""
    net = Network(Elman(1, 2), dtype="float64")
    net.params["0.weight_hh"][...] = 2 * np.eye(2)
    return net


def test_a_memory_of_two_bits_has_nine_fixed_points(rng):
    net = memory()
    x = 2 * rng.standard_normal((12, 30, 1))
    net.params["0.weight_ih"][...] = [[1], [-1]]
    before = snapshot(net)
    found = fixed_points(net.layers[0], x, at=np.zeros(1), starts=300)
    assert snapshot(net) == before
    a = 0.9575040240772687  # tanh(2 a) = a
    assert found.fixed.all()
    assert len({tuple(point) for point in np.round(found.points, 6)}) == len(found)
    for point in found.points:
        assert all(min(abs(value - other) for other in (-a, 0, a)) < 1e-6 for value in point)
        index = int((np.abs(point) < 1e-6).sum())
        assert found.unstable_dimensions[np.argwhere((found.points == point).all(1))[0, 0]] == index
    stable = found.points[found.stable]
    assert {tuple(np.sign(point)) for point in stable} >= {(1, -1), (-1, 1)}
    assert found.found.sum() == 300
    assert "fixed" in str(found)


@pytest.mark.parametrize("cell", [Elman, LSTM, GRU])
def test_a_point_found_is_one_where_the_layer_rests(cell, rng):
    net = Network(cell(2, 6), seed=3, dtype="float64")
    x = rng.standard_normal((20, 4, 2))
    found = fixed_points(net.layers[0], x, [20, 5, 10, 20], starts=8)
    assert found.fixed.any()
    for point in found.points[found.fixed]:
        state = tuple(point.reshape(-1, 1, 6))
        state = state if len(state) > 1 else state[0]
        _, final, _ = net.forward(found.x[None, None].repeat(5, axis=0), (state,))
        np.testing.assert_allclose(np.ravel(final[0]), point, atol=1e-6)


def test_a_slow_point_is_reported_with_its_speed():
    """h' = h + 0.01 is slow everywhere and rests nowhere."""
    turn = Network(Elman(1, 1, "relu"), dtype="float64")
    turn.params["0.weight_hh"][...] = 1.0
    turn.params["0.weight_ih"][...] = 0
    turn.params["0.bias"][...] = 0.01
    slow = fixed_points(turn.layers[0], np.ones((5, 2, 1)), starts=4)
    assert not slow.fixed.any()
    np.testing.assert_allclose(slow.speeds, 0.5e-4, rtol=1e-6)
    assert "slow" in str(slow)
    assert len(fixed_points(turn.layers[0], np.ones((5, 2, 1)), starts=4, slow=1e-5)) == 0


def test_wrong_calls_are_refused(rng):
    net = Network(GRU(2, 5), Dense(5, 2), dtype="float64")
    layer, x = net.layers[0], rng.standard_normal((6, 3, 2))
    for function in (lyapunov_exponents, fixed_points):
        with pytest.raises(TypeError, match="Dense, which has no recurrent state"):
            function(net.layers[1], x)
        with pytest.raises(ValueError, match=r"x has shape \(6, 3, 4\)"):
            function(layer, np.zeros((6, 3, 4)))
        with pytest.raises(TypeError, match="float32"):
            function(layer, x.astype(np.float32))
    with pytest.raises(ValueError, match="k is 6, but the state has 5 dimensions"):
        lyapunov_exponents(layer, x, k=6)
    with pytest.raises(ValueError, match="state has shape"):
        lyapunov_exponents(layer, x, np.zeros((2, 5)))
    with pytest.raises(ValueError, match="discard is 6"):
        lyapunov_exponents(layer, x, discard=6)
    with pytest.raises(TypeError, match="number of steps"):
        lyapunov_exponents(layer, 2.5)
    with pytest.raises(ValueError, match="at has shape"):
        fixed_points(layer, x, at=np.zeros(3))
