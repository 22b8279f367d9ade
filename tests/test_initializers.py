"""Initial weights: their distributions, and what a fresh layer starts with."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore import initializers
from rnncore.layers import GRU, LSTM, Dense, Elman, Embedding
from rnncore.network import Network

SIZES = st.integers(1, 40)
DTYPES = st.sampled_from(["float32", "float64"])


def assert_uniform_within(values, bound):
    """Within the bounds, and with the moments of the uniform distribution, to five standard errors."""
    n = values.size
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert np.abs(values).max() > bound * (1 - 20 / n)
    assert abs(values.mean()) < 5 * bound / math.sqrt(3 * n)
    assert abs((values**2).mean() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / n)


@pytest.mark.parametrize("shape", [(300, 200), (50, 900)])
@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_glorot_is_uniform_within_its_bound(shape, gain, rng):
    weight = np.empty(shape)
    initializers.glorot_uniform(weight, rng, gain)
    assert_uniform_within(weight, gain * math.sqrt(6 / sum(shape)))


def test_uniform_is_uniform(rng):
    weight = np.empty((300, 200))
    initializers.uniform(weight, rng, 0.25)
    assert_uniform_within(weight, 0.25)


def test_normal_is_normal(rng):
    weight = np.empty(90_000)
    initializers.normal(weight, rng, 2.0)
    n = weight.size
    assert abs(weight.mean()) < 5 * 2 / math.sqrt(n)
    assert abs((weight**2).mean() / 4 - 1) < 5 * math.sqrt(2 / n)
    assert abs((weight**4).mean() / 48 - 1) < 0.1


@given(rows=SIZES, columns=SIZES, gain=st.floats(0.1, 3), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_orthogonal_keeps_lengths(rows, columns, gain, seed):
    weight = np.empty((rows, columns))
    initializers.orthogonal(weight, np.random.default_rng(seed), gain)
    gram = weight @ weight.T if rows <= columns else weight.T @ weight
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(rows, columns)), atol=1e-13 * gain**2 * 40)


def test_orthogonal_is_uniform_among_all():
    """Under Haar's measure the trace has mean 0 and variance 1, and a 1x1 matrix is a fair coin."""
    rng = np.random.default_rng(5)
    weight, traces, signs = np.empty((4, 4)), [], []
    single = np.empty((1, 1))
    for _ in range(2000):
        initializers.orthogonal(weight, rng)
        traces.append(np.trace(weight))
        initializers.orthogonal(single, rng)
        signs.append(single[0, 0])
    assert abs(np.mean(traces)) < 5 / math.sqrt(2000)
    assert abs(np.var(traces) - 1) < 5 * math.sqrt(2 / 2000)
    assert abs(np.mean(signs)) < 5 / math.sqrt(2000)


@given(rows=SIZES, columns=SIZES)
def test_identity_is_the_identity(rows, columns):
    weight = np.full((rows, columns), np.nan)
    initializers.identity(weight, gain=0.5)
    np.testing.assert_array_equal(weight, 0.5 * np.eye(rows, columns))


FUNCTIONS = {
    "glorot_uniform": lambda w, rng: initializers.glorot_uniform(w, rng),
    "orthogonal": lambda w, rng: initializers.orthogonal(w, rng),
    "identity": lambda w, rng: initializers.identity(w, rng),
    "normal": lambda w, rng: initializers.normal(w, rng),
    "uniform": lambda w, rng: initializers.uniform(w, rng, 0.1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(rows=SIZES, columns=SIZES, seed=st.integers(0, 99))
@settings(max_examples=15)
def test_every_entry_is_filled_in_place_from_the_generator(name, rows, columns, seed):
    """The same generator gives the same numbers, in float32 those of float64 rounded."""
    drawn = []
    for dtype in ("float64", "float64", "float32"):
        weight = np.full((rows, columns), np.nan, dtype)
        assert FUNCTIONS[name](weight, np.random.default_rng(seed)) is None
        drawn.append(weight)
    assert np.isfinite(drawn[0]).all()
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0].astype(np.float32), drawn[2])


@pytest.mark.parametrize("layer", [LSTM, GRU, Elman])
def test_recurrent_layers_start_glorot_and_orthogonal_gate_by_gate(layer):
    net = Network(layer(90, 70), dtype="float64")
    weight_ih, weight_hh = net.params["0.weight_ih"], net.params["0.weight_hh"]
    for start in range(0, len(weight_hh), 70):
        square = weight_hh[start : start + 70]
        np.testing.assert_allclose(square @ square.T, np.eye(70), atol=1e-13)
        assert_uniform_within(weight_ih[start : start + 70], math.sqrt(6 / 160))


@pytest.mark.parametrize("forget_bias", [1.0, 0.0, -2.5])
def test_lstm_starts_with_its_forget_bias(forget_bias):
    bias = Network(LSTM(3, 4, forget_bias=forget_bias)).params["0.bias"]
    np.testing.assert_array_equal(bias, np.repeat([0, forget_bias, 0, 0], 4))


def test_forget_bias_is_one_unless_told():
    assert LSTM(3, 4).forget_bias == 1


def test_relu_networks_start_as_the_identity():
    net = Network(Elman(3, 6, activation="relu"))
    np.testing.assert_array_equal(net.params["0.weight_hh"], np.eye(6))


@pytest.mark.parametrize("layer", [GRU(3, 4), Elman(3, 4), Dense(3, 4)], ids=repr)
def test_other_biases_start_at_zero(layer):
    net = Network(layer)
    assert not any(array.any() for name, array in net.params.items() if "bias" in name)


def test_embedding_starts_standard_normal_and_dense_glorot():
    net = Network(Embedding(300, 200), Dense(200, 300), dtype="float64")
    table = net.params["0.weight"]
    assert abs(table.mean()) < 5 / math.sqrt(table.size)
    assert abs(table.var() - 1) < 5 * math.sqrt(2 / table.size)
    assert_uniform_within(net.params["1.weight"], math.sqrt(6 / 500))
