"""Cell health: counts that a loop would find, and closed forms."""

import math

import numpy as np
import pytest
from laws import assert_close, snapshot

from rnncore import GRU, LSTM, Bidirectional, Dense, Elman, Embedding, Network
from rnncore.diagnostics import cell_health

T, B, I, H = 9, 4, 3, 5
LENGTHS = {"full": None, "ragged": [9, 2, 5, 7]}
GATES = {LSTM: "ifgo", GRU: "rzn"}


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_saturated_gates_are_counted_one_by_one(cell, lengths, rng):
    net = Network(cell(I, H), seed=2, dtype="float64")
    net.params.flat[:] *= 6
    x = rng.standard_normal((T, B, I))
    _, _, tape = net.forward(x, lengths=LENGTHS[lengths])
    own = LENGTHS[lengths] or [T] * B
    found = cell_health(net, x, LENGTHS[lengths])[0]
    assert "".join(found.gates) == GATES[cell]
    gates = tape[0].gates.reshape(T, B, -1, H)
    for gate, name in enumerate(found.gates):
        low, high = (-0.95, 0.95) if name in "gn" else (0.05, 0.95)
        flags = [
            [[not low <= gates[t, b, gate, u] <= high for u in range(H)] for b in range(B) if t < own[b]]
            for t in range(T)
        ]
        assert found.saturated[gate] == pytest.approx(np.mean([row for step in flags for row in step]))
        for t in range(T):
            assert found.saturated_by_step[t, gate] == pytest.approx(np.mean(flags[t]))
        for unit in range(H):
            want = np.mean([row[unit] for step in flags for row in step])
            assert found.saturated_by_unit[gate, unit] == pytest.approx(want)
        for t in range(T):
            rows = [b for b in range(B) if t < own[b]]
            assert_close(found.activity[t, gate], gates[t, rows, gate].mean(axis=0), 1e-12)
    assert found.saturated.max() > 0.1


def test_forget_gates_of_a_constant_give_their_time_constant(rng):
    net = Network(LSTM(I, H), GRU(H, H), dtype="float64")
    for layer, gates in (("0", 4), ("1", 3)):
        net.params[f"{layer}.weight_ih"][...] = 0
        net.params[f"{layer}.weight_hh"][...] = 0
        net.params[f"{layer}.bias"][H : 2 * H] = math.log(0.9 / 0.1)
        assert len(net.params[f"{layer}.bias"]) == gates * H
    for layer in cell_health(net, rng.standard_normal((T, B, I))):
        np.testing.assert_allclose(layer.time_constants, -1 / math.log(0.9), rtol=1e-6)


def test_dead_units_are_those_that_never_fire(rng):
    net = Network(Elman(I, H, "relu"), dtype="float64")
    net.params["0.bias"][...] = [-100, 1, -100, 1, 1]
    x = rng.standard_normal((T, B, I))
    found = cell_health(net, x)[0]
    y, _, _ = net.forward(x)
    assert found.dead.tolist() == (~(y > 0).any(axis=(0, 1))).tolist()
    assert found.dead[[0, 2]].all()
    assert np.isnan(found.saturated).all()
    assert cell_health(Network(Elman(I, H), dtype="float64"), x)[0].dead is None


@pytest.mark.parametrize("decay", [0.5, 0.8, 0.95])
def test_a_leaky_average_of_noise_remembers_as_long_as_it_decays(decay, rng):
    """The autocorrelation of h' = a h + noise is a^lag."""
    net = Network(Elman(1, 1, "identity"), dtype="float64")
    net.params["0.weight_hh"][...] = decay
    net.params["0.weight_ih"][...] = 1
    found = cell_health(net, rng.standard_normal((4000, 8, 1)))[0]
    assert found.memory[0] == pytest.approx(math.ceil(-1 / math.log(decay)), rel=0.15, abs=1)


def test_a_unit_that_never_moves_remembers_for_ever():
    net = Network(Elman(1, 2), dtype="float64")
    net.params.flat[:] = 0
    assert np.isinf(cell_health(net, np.ones((T, B, 1)))[0].memory).all()


def test_weights_have_the_eigenvalues_of_each_gate(rng):
    net = Network(GRU(I, H), seed=1, dtype="float64")
    net.params.flat[:] += rng.standard_normal(net.params.flat.size)
    found = cell_health(net, rng.standard_normal((T, B, I)))[0]
    for gate in range(3):
        square = net.params["0.weight_hh"][gate * H : (gate + 1) * H]
        values = np.linalg.eigvals(square)
        assert found.spectral_radius[gate] == pytest.approx(np.abs(values).max())
        np.testing.assert_allclose(np.abs(found.eigenvalues[gate]), -np.sort(-np.abs(values)), rtol=1e-9)
        np.testing.assert_allclose(found.singular_values[gate], np.linalg.svd(square)[1], rtol=1e-9)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_the_norm_of_the_state_is_that_of_rows_that_have_the_step(lengths, rng):
    net = Network(LSTM(I, H), dtype="float64")
    x = rng.standard_normal((T, B, I))
    y, _, _ = net.forward(x, lengths=LENGTHS[lengths])
    found = cell_health(net, x, LENGTHS[lengths])[0]
    own = np.array(LENGTHS[lengths] or [T] * B)
    for t in range(T):
        assert found.state_norm[t + 1] == pytest.approx(np.linalg.norm(y[t, own > t], axis=1).mean())
    assert found.state_norm[0] == 0


def test_segments_and_both_directions_are_looked_at(rng):
    net = Network(Embedding(4, I), Bidirectional(GRU(I, H)), LSTM(2 * H, H, checkpoint_every=2), seed=3)
    net.grads.flat[:] = 1
    before = snapshot(net)
    ids = rng.integers(0, 4, (T, B))
    found = cell_health(net, ids, [9, 3, 9, 5])
    assert snapshot(net) == before
    assert [layer.name for layer in found] == ["1.layer", "1.reverse", "2"]
    whole = Network(Embedding(4, I), Bidirectional(GRU(I, H)), LSTM(2 * H, H), seed=3)
    for cut, same in zip(found, cell_health(whole, ids, [9, 3, 9, 5]), strict=True):
        np.testing.assert_allclose(cut.activity, same.activity, rtol=1e-5)
    assert all(name in str(found) for name in ("1.layer GRU", "2 LSTM", "saturated"))


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="no layer with a recurrent state"):
        cell_health(Network(Dense(I, 2)), np.zeros((T, B, I), np.float32))
