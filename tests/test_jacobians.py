"""Jacobians: equal to finite differences; their products' singular values to 100 digits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import assert_close, snapshot
from laws import jacobian as differences

from rnncore import GRU, LSTM, Dense, Elman, Network
from rnncore.diagnostics import jacobian, jacobian_spectrum
from rnncore.diagnostics.common import double
from rnncore.diagnostics.linearize import linearize, step_forward
from rnncore.diagnostics.product import rotate
from rnncore.initializers import orthogonal

T, B, I, H = 7, 3, 2, 5
ACTIVATIONS = ("tanh", "sigmoid", "relu", "identity")
CELLS = {
    **{f"elman-{name}": lambda i, h, name=name: Elman(i, h, name) for name in ACTIVATIONS},
    "lstm": LSTM,
    "gru": GRU,
}


def run(cell, steps=T, units=H, seed=3, dtype="float64", every=None, scale=0.4):
    rng = np.random.default_rng(seed)
    net = Network(CELLS[cell](I, units), seed=seed, dtype=dtype)
    net.layers[0].checkpoint_every = every
    net.params.flat[:] += scale * rng.standard_normal(net.params.flat.size)
    x = rng.standard_normal((steps, B, I)).astype(dtype)
    states = tuple(rng.standard_normal((B, units)).astype(dtype) for _ in net.layers[0].state_names)
    _, _, tape = net.forward(x, (states if len(states) > 1 else states[0],))
    return net, x, net.layers[0], tape[0]


def explicit(layer, tape, first, last, row, digits=100):
    """The product of the single steps' Jacobians in mpmath, of all states."""
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = digits
    product = mp.eye(layer.hidden_size * len(layer.state_names))
    for t in range(first + 1, last + 1):
        product = mp.matrix(jacobian(layer, tape, t, state="all", rows=[row])[0].tolist()) * product
    return mp, product


def log_values(mp, product):
    return np.array([float(mp.log(value)) for value in mp.svd_r(product, compute_uv=False)])


@pytest.mark.parametrize(("t", "k"), [(4, 1), (T, T - 1), (3, 0), (2, 2)])
@pytest.mark.parametrize("cell", CELLS)
def test_the_jacobian_is_the_derivative_of_the_state(cell, t, k):
    net, x, layer, tape = run(cell)
    states = [array[k].copy() for array in tape.states()]

    def later():
        if t == k:
            return np.stack(states, axis=1)
        state = tuple(states) if len(states) > 1 else states[0]
        final = net.forward(x[k:t].copy(), (state,))[1][0]
        return np.stack(final, axis=1) if len(states) > 1 else final[:, None]

    want = np.zeros((B, len(states), H, len(states), H))
    for part, array in enumerate(states):
        moved = differences(lambda: later().ravel(), array).reshape(B, len(states), H, B, H)
        want[:, :, :, part] = moved[np.arange(B), :, :, np.arange(B)]
    full = want.reshape(B, len(states) * H, len(states) * H)
    np.testing.assert_allclose(jacobian(layer, tape, t, k, state="all"), full, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(jacobian(layer, tape, t, k), want[:, 0, :, 0], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("state", ["h", "all"])
@pytest.mark.parametrize("cell", CELLS)
def test_singular_values_of_twenty_steps_to_a_hundred_digits(cell, state):
    """Each of them, to a millionth of itself, though the smallest lie many decades below the largest."""
    _, _, layer, tape = run(cell, steps=21)
    spectrum = jacobian_spectrum(layer, tape, 20, state=state)
    mp, product = explicit(layer, tape, 0, 20, 1)
    want = log_values(mp, product[:H, :H] if state == "h" else product)
    exists = want > -200  # a ReLU that is off maps a direction to zero
    assert exists.any()
    np.testing.assert_allclose(spectrum.log_values[1][exists], want[exists], rtol=0, atol=1e-6)
    assert (spectrum.log_values[1][~exists] < -200).all()


@pytest.mark.parametrize("cell", ["elman-tanh", "lstm", "gru"])
def test_two_thousand_steps_are_as_right_as_twenty(cell):
    """The plain product underflows: its largest singular value is below every double."""
    steps = 2000
    _, _, layer, tape = run(cell, steps=steps, units=2, scale=0.1)
    spectrum = jacobian_spectrum(layer, tape, state="all", bounds=False)
    assert np.isfinite(spectrum.log_values).all()
    want = log_values(*explicit(layer, tape, 0, steps, 0, digits=4000))
    assert want[-1] < -750
    np.testing.assert_allclose(spectrum.log_values[0], want, rtol=0, atol=1e-6)


@given(st.integers(1, 9), st.floats(0, 400), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_rotations_find_the_singular_values_of_a_graded_matrix(size, spread, seed):
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 500
    rng = np.random.default_rng(seed)
    u = np.eye(size) + np.triu(rng.uniform(-0.5, 0.5, (size, size)), 1)
    logs = -np.sort(rng.uniform(0, spread, size))
    matrix = mp.diag([mp.exp(value) for value in logs]) * mp.matrix(u.tolist())
    got = -np.sort(-rotate(u.copy(), logs.copy()))
    np.testing.assert_allclose(got, log_values(mp, matrix), rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [1, -1])
def test_a_diagonal_network_keeps_each_direction_apart(order):
    """Nothing mixes the directions here, so that the product's factors could overflow in 2,000 steps."""
    net = Network(Elman(I, 3, "identity"), dtype="float64")
    rates = np.array([0.1, 0.5, 1.2])[::order]
    net.params["0.weight_hh"][...] = np.diag(rates)
    _, _, tape = net.forward(np.zeros((2000, 1, I)))
    spectrum = jacobian_spectrum(net.layers[0], tape[0], bounds=False)
    np.testing.assert_allclose(spectrum.per_step()[0], np.log(np.sort(rates)[::-1]), atol=1e-9)


def test_dead_units_give_zeros_and_no_nan():
    net = Network(Elman(I, 4, "relu"), dtype="float64")
    net.params["0.bias"][...] = [-100, 1, 1, 1]
    _, _, tape = net.forward(np.ones((50, B, I)))
    spectrum = jacobian_spectrum(net.layers[0], tape[0])
    assert (spectrum.values[:, -1] == 0).all()
    assert not np.isnan(spectrum.log_values).any()


@pytest.mark.parametrize("cell", CELLS)
def test_truth_lies_below_the_product_of_norms_and_that_below_the_textbook(cell):
    _, _, layer, tape = run(cell)
    spectrum = jacobian_spectrum(layer, tape, state="all")
    assert (spectrum.log_norm <= spectrum.log_stepwise + 1e-9).all()
    assert (spectrum.log_stepwise <= spectrum.log_textbook + 1e-9).all()


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_the_textbook_bound_is_weights_times_slope(activation, rng):
    net = Network(Elman(I, H, activation), dtype="float64")
    orthogonal(net.params["0.weight_hh"], rng, 0.7)
    _, _, tape = net.forward(rng.standard_normal((9, B, I)))
    slope = {"tanh": 1, "sigmoid": 0.25}[activation]
    spectrum = jacobian_spectrum(net.layers[0], tape[0], 8, 3)
    assert spectrum.log_textbook == pytest.approx(5 * math.log(0.7 * slope), rel=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_a_segmented_or_single_tape_gives_the_same(cell):
    _, _, layer, tape = run(cell)
    want = jacobian(layer, tape, 6, 2)
    _, _, layer, tape = run(cell, every=3)
    assert_close(jacobian(layer, tape, 6, 2), want, 1e-12)
    _, _, layer, tape = run(cell, dtype="float32")
    assert_close(jacobian(layer, tape, 6, 2), want, 1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_forming_applying_and_single_units_agree(cell, rng):
    """The three ways to a Jacobian: from slopes, without forming it, and unit by unit."""
    from rnncore.diagnostics.linearize import _unit_by_unit

    _, x, layer, tape = run(cell)
    twin = double(layer)
    step = step_forward(twin, x[2], tuple(array[2].copy() for array in tape.states()))
    linear = linearize(twin, step)
    assert linear.dense is None
    assert_close(linear.matrices(), _unit_by_unit(twin, step), 1e-12)
    vectors = rng.standard_normal((B, linear.matrices().shape[2], 4))
    assert_close(linear.apply(vectors), linear.matrices() @ vectors, 1e-12)


def test_a_cell_that_mixes_its_units_otherwise_is_noticed(rng):
    """Backward of a cell whose state is rotated beside the product: no slopes tell its Jacobian."""
    rotation = np.linalg.qr(rng.standard_normal((H, H)))[0]

    class Mixed(Elman):
        def backward(self, dy, tape, dstate=None):
            dx, dh = super().backward(dy, tape, dstate)
            return dx, dh + (dstate @ rotation)

    net = Network(Mixed(I, H), dtype="float64", seed=2)
    twin = double(net.layers[0])
    step = step_forward(twin, rng.standard_normal((B, I)), (rng.standard_normal((B, H)),))
    linear = linearize(twin, step)
    assert linear.dense is not None
    slope = 1 - step.hidden[1] ** 2
    assert_close(linear.matrices(), slope[:, :, None] * net.params["0.weight_hh"] + rotation, 1e-12)


def test_a_look_leaves_the_network_as_it_was():
    net, _, layer, tape = run("lstm")
    net.grads.flat[:] = 3
    before = snapshot(net)
    jacobian_spectrum(layer, tape)
    assert snapshot(net) == before


def test_wrong_calls_are_refused(rng):
    net = Network(GRU(I, H), Dense(H, 2), dtype="float64")
    x = rng.standard_normal((T, B, I))
    _, _, tape = net.forward(x, lengths=[7, 4, 6])
    layer = net.layers[0]
    with pytest.raises(TypeError, match="Dense, which has no recurrent state"):
        jacobian(net.layers[1], tape[1], 1)
    with pytest.raises(TypeError, match="tape is a DenseTape"):
        jacobian(layer, tape[1], 1)
    with pytest.raises(
        ValueError, match="t=5 lies outside of the tape: 0 <= k <= t <= 4, the steps of row 1"
    ):
        jacobian(layer, tape[0], 5)
    with pytest.raises(ValueError, match="k=3 to t=2"):
        jacobian(layer, tape[0], 2, 3)
    with pytest.raises(ValueError, match="k=-1"):
        jacobian(layer, tape[0], 0)
    with pytest.raises(ValueError, match="rows 0 to 2"):
        jacobian(layer, tape[0], 2, rows=[3])
    with pytest.raises(ValueError, match="state is 'c'"):
        jacobian(layer, tape[0], 2, state="c")
    with pytest.raises(TypeError, match=r"t is 2\.0"):
        jacobian(layer, tape[0], 2.0)
    with pytest.raises(ValueError, match="5 units over 2 features, but layer has 3 over 2"):
        jacobian(Network(GRU(I, 3), dtype="float64").layers[0], tape[0], 2)
    with pytest.raises(RuntimeError, match="no network"):
        jacobian(GRU(I, H), tape[0], 2)
    assert jacobian(layer, tape[0], 6, rows=[0, 2]).shape == (2, H, H)
