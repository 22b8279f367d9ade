"""Contributions of single steps to the weights' gradients: they add up, and each is what differences say."""

import numpy as np
import pytest
from laws import assert_close, derivative, snapshot

from rnncore import GRU, LSTM, Bidirectional, Dense, Elman, LastStep, Network, SquaredError
from rnncore.diagnostics import weight_contributions
from rnncore.diagnostics.contributions import outer_norms

T, B, I, H = 6, 3, 2, 4
CELLS = {"elman": Elman, "lstm": LSTM, "gru": GRU}


def problem(cell, rng, lengths=None):
    net = Network(CELLS[cell](I, H), Dense(H, 3), seed=5, dtype="float64")
    net.params.flat[:] += 0.3 * rng.standard_normal(net.params.flat.size)
    return net, rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 3))


@pytest.mark.parametrize("cell", CELLS)
def test_a_part_is_the_derivative_in_the_weights_of_one_step(cell, rng):
    """Central differences along the part's own direction: weights moved in one step alone, B = 1."""
    net, x, target = problem(cell, rng)
    x, target, t, k = x[:, :1].copy(), target[:, :1].copy(), 4, 2
    norm = weight_contributions(net, x, target, SquaredError(), steps=[t])[0].matrix["weight_hh"][0, k]
    weight = net.params["0.weight_hh"]
    start = weight.copy()
    gradient = np.zeros_like(start)

    def loss(s, row, column):
        state = None
        for step in range(t + 1):
            if step == k:
                weight[row, column] = start[row, column] + s
            y, state, _ = net.forward(x[step : step + 1], state)
            weight[...] = start
        return 0.5 * float(((y[0] - target[t]) ** 2).sum()) / T

    for row in range(len(start)):
        for column in range(H):
            gradient[row, column] = derivative(lambda s, at=(row, column): loss(s, *at))
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-8)


@pytest.mark.parametrize("lengths", [None, [6, 3, 4]])
def test_behind_a_pooling_layer_there_is_one_loss(lengths, rng):
    net = Network(GRU(I, H), LastStep(), Dense(H, 2), seed=1, dtype="float64")
    x = rng.standard_normal((T, B, I))
    found = weight_contributions(net, x, rng.standard_normal((B, 2)), SquaredError(), lengths)[0]
    assert found.steps.tolist() == [T - 1]
    assert np.isfinite(found.matrix["weight_hh"]).all()


def test_the_lag_profile_is_the_mean_of_diagonals(rng):
    net, x, target = problem("lstm", rng)
    found = weight_contributions(net, x, target, SquaredError())[0]
    matrix = found.matrix["weight_ih"]
    assert found.steps.tolist() == list(range(T))
    for lag in range(T):
        assert found.by_lag("weight_ih")[lag] == pytest.approx(np.diagonal(matrix, -lag).mean())
    assert (
        len(
            weight_contributions(net, np.tile(x, (20, 1, 1)), np.tile(target, (20, 1, 1)), SquaredError())[
                0
            ].steps
        )
        == 24
    )


def test_the_norm_of_a_sum_of_outer_products_is_found_without_it(rng):
    left, right = rng.standard_normal((T, B, 7)), rng.standard_normal((T, B, 5))
    want = [np.linalg.norm(np.einsum("bi,bj->ij", a, b)) for a, b in zip(left, right, strict=True)]
    assert_close(outer_norms(left, right), np.array(want), 1e-12)


def test_a_look_leaves_the_network_as_it_was_and_padding_out(rng):
    net, x, target = problem("gru", rng)
    net.grads.flat[:] = 2
    before = snapshot(net)
    clean = weight_contributions(net, x, target, SquaredError(), [6, 2, 5])[0]
    x[2:, 1] = np.nan
    found = weight_contributions(net, x, target, SquaredError(), [6, 2, 5])[0]
    assert snapshot(net) == before
    np.testing.assert_array_equal(found.matrix["weight_ih"], clean.matrix["weight_ih"])


def test_a_layer_that_reads_backwards_is_left_out(rng):
    net = Network(Bidirectional(Elman(I, H)), Elman(2 * H, H), dtype="float64")
    found = weight_contributions(net, rng.standard_normal((T, B, I)), np.zeros((T, B, H)), SquaredError())
    assert [layer.name for layer in found] == ["0.layer", "1"]


def test_wrong_calls_are_refused(rng):
    net, x, target = problem("gru", rng)
    loss = SquaredError()
    with pytest.raises(ValueError, match="x has steps 0 to 5"):
        weight_contributions(net, x, target, loss, steps=[6])
    with pytest.raises(TypeError, match="whole numbers"):
        weight_contributions(net, x, target, loss, steps=[0.5])
    with pytest.raises(ValueError, match="no layer with a recurrent state"):
        weight_contributions(Network(Dense(I, 3), dtype="float64"), x, target, loss)
    with pytest.raises(ValueError, match="weight is 'bias'"):
        weight_contributions(net, x, target, loss)[0].by_lag("bias")
    pooled = Network(GRU(I, H), LastStep(), dtype="float64")
    with pytest.raises(ValueError, match="its one loss is at 5"):
        weight_contributions(pooled, x, np.zeros((B, H)), loss, steps=[2])
