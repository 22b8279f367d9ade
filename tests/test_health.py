"""Cell health: counts that a loop would find, and closed forms."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from laws import assert_close, snapshot

from rnncore import GRU, LSTM, Bidirectional, Dense, Elman, Embedding, Network, SquaredError
from rnncore.diagnostics import cell_health, diagnose
from rnncore.diagnostics.remedies import recurrent_sums, remedies
from rnncore.layers import LeakyElman, SkipElman
from rnncore.layers.recurrent import Recurrent, RecurrentTape

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


@dataclass(slots=True)
class MinimalTape(RecurrentTape):
    gates: np.ndarray


class Minimal(Recurrent):
    """A minimal gated unit (Zhou, Wu, Zhang & Zhou, 2016) in NumPy: f, n = split(W x + b) and of U h; h' =
    f h + (1 - f) tanh(n + f m), m the second half of U h."""

    gates = 2
    tape_type = MinimalTape

    def _new_tape(self, x, lengths, hidden, others, record):
        return MinimalTape(x, lengths, hidden, np.empty((*x.shape[:2], 2 * self.hidden_size), self.dtype))

    def _run_forward(self, tape, scratch):
        units = self.hidden_size
        for t, x in enumerate(tape.x):
            a = x @ self.params["weight_ih"].T + self.params["bias"]
            m = tape.hidden[t] @ self.params["weight_hh"].T
            f = 1 / (1 + np.exp(-a[:, :units] - m[:, :units]))
            n = np.tanh(a[:, units:] + f * m[:, units:])
            tape.gates[t] = np.hstack([f, n])
            tape.hidden[t + 1] = f * tape.hidden[t] + (1 - f) * n

    def _run_backward(self, dy, tape, dstates, dx, scratch, flow):
        units, dh = self.hidden_size, dstates[0]
        for t in reversed(range(len(dy))):
            h, f, n = tape.hidden[t], tape.gates[t, :, :units], tape.gates[t, :, units:]
            m = h @ self.params["weight_hh"][units:].T
            total = dh + dy[t]
            dn = total * (1 - f) * (1 - n * n)
            df = (total * (h - n) + dn * m) * f * (1 - f)
            da, dm = np.hstack([df, dn]), np.hstack([df, dn * f])
            for record, value in zip(flow, (total, da, dm), strict=False):
                if record is not None:
                    record[t + (len(record) > len(dy))] = value
            self.grads["weight_ih"] += da.T @ tape.x[t]
            self.grads["weight_hh"] += dm.T @ h
            self.grads["bias"] += da.sum(axis=0)
            if dx is not None:
                dx[t] = da @ self.params["weight_ih"]
            dh[...] = total * f + dm @ self.params["weight_hh"]
        return 0, 0.0


class NamedMinimal(Minimal):
    gate_names = ("f", "n")


@pytest.mark.parametrize("layer", [Minimal, NamedMinimal])
def test_a_layer_of_ones_own_has_as_many_gates_as_its_weights(layer, rng):
    net = Network(layer(I, H), seed=3, dtype="float64")
    net.params.flat[:] *= 4
    x = rng.standard_normal((T, B, I))
    gates = net.forward(x)[2][0].gates.reshape(T, B, 2, H)
    found = cell_health(net, x)[0]
    assert found.gates == (("0", "1") if layer is Minimal else ("f", "n"))
    for array in (found.saturated, found.spectral_radius, found.saturated_by_unit):
        assert len(array) == layer.gates
    assert_close(found.activity, gates.mean(axis=1), 1e-12)
    if layer is Minimal:  # nobody knows which of them writes
        assert np.isnan([*found.saturated, found.saturated_units, found.saturated_gates]).all()
    else:
        assert found.saturated_units == pytest.approx((np.abs(gates[:, :, 1]) > 0.95).mean())
        assert found.saturated_gates == pytest.approx((np.abs(gates[:, :, 0] - 0.5) > 0.45).mean())
    assert len(str(cell_health(net, x)).splitlines()) == 1 + layer.gates


@pytest.mark.parametrize("layer", [Minimal, NamedMinimal])
def test_a_layer_of_ones_own_is_diagnosed(layer, rng):
    net = Network(layer(I, H), Dense(H, 1), seed=3, dtype="float64")
    batch = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 1))
    report = diagnose(net, batch, SquaredError())
    assert str(report)


SUMMED = {
    "Elman": lambda: Elman(I, H),
    "LeakyElman": lambda: LeakyElman(I, H, leak=0.5),
    "LeakyElman, Dale": lambda: LeakyElman(I, H, leak=0.5, excitatory=0.6),
    "SkipElman": lambda: SkipElman(I, H, delays=(1, 4)),
    "SkipElman, later": lambda: SkipElman(I, H, delays=(2, 3)),
}


@pytest.mark.parametrize("cell", SUMMED)
def test_the_recurrent_sums_of_a_remedy_are_those_that_units_feel(cell, rng):
    net = Network(SUMMED[cell](), seed=4, dtype="float64")
    layer, x = net.layers[0], rng.standard_normal((T, B, I))
    tape = net.forward(x)[2][0]
    of_input = x @ layer.params["weight_ih"].T + layer.params["bias"]
    squashed = getattr(tape, "gates", tape.hidden[1:])
    assert_close(np.tanh(of_input + recurrent_sums(layer, tape)), squashed, 1e-12)


def test_the_remedy_under_dales_law_counts_the_weights_with_their_signs(rng):
    """Stored with random signs the recurrent weights cancel; as the units feel them they add up."""
    layer = LeakyElman(I, H, leak=0.5, excitatory=1.0)
    net = Network(layer, dtype="float64")
    net.params["0.weight_hh"][...] = 2 * np.array([1, -1, 1, -1, 0])
    tape = net.forward(rng.standard_normal((T, B, I)))[2][0]
    tape.hidden[...] = 1
    assert "recurrent weights" in remedies("saturated", layer, "0", tape)[0].why
