"""Initial weights: their distributions, and what a fresh layer starts with."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from rnncore import initializers, load, save
from rnncore.blas import one_blas_thread
from rnncore.layers import GRU, LSTM, Clockwork, Dense, Elman, Embedding, LeakyElman
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


@pytest.mark.parametrize(
    ("layer", "solver"), [(LSTM(3, 64), "qr"), (Elman(2, 65, recurrent_init="spectral:0.9"), "eigvals")]
)
def test_one_thread_factors_the_weights(layer, solver, monkeypatch):
    """Several meet at barriers, for which a busy machine has them wait: a hundred times the work itself."""
    solve, threads = getattr(np.linalg, solver), []

    def counting(matrix):
        threads.extend(blas_threads())
        return solve(matrix)

    monkeypatch.setattr(np.linalg, solver, counting)
    with threadpool_limits(2, user_api="blas"):
        Network(layer)
    assert set(threads) == {1}


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_threads_of_blas_come_back_whoever_leaves_first():
    with threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


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


RECURRENT = [LSTM, GRU, Elman]


def gates(net):
    """The recurrent weights, gate by gate: squares."""
    weight = net.params["0.weight_hh"]
    return weight.reshape(-1, weight.shape[1], weight.shape[1])


@pytest.mark.parametrize("layer", RECURRENT)
@pytest.mark.parametrize("radius", [1.0, 0.3])
def test_spectral_radius_is_the_largest_eigenvalue(layer, radius):
    for square in gates(Network(layer(3, 20, recurrent_init=f"spectral:{radius}"), dtype="float64")):
        assert np.abs(np.linalg.eigvals(square)).max() == pytest.approx(radius, rel=1e-12)


@pytest.mark.parametrize("excitatory", [0.0, 0.5, 0.8, 1.0])
def test_under_dales_law_the_spectral_radius_is_that_of_the_signed_weights(excitatory):
    layer = LeakyElman(3, 40, leak=0.5, excitatory=excitatory, recurrent_init="spectral:0.9")
    Network(layer, dtype="float64")
    assert np.abs(np.linalg.eigvals(layer.recurrent_weight())).max() == pytest.approx(0.9, rel=1e-12)


def test_of_a_clockwork_network_it_is_that_of_the_blocks_that_are_heard():
    (weight,) = gates(Network(Clockwork(3, 40, (1, 2, 4), recurrent_init="spectral:0.9"), dtype="float64"))
    assert np.abs(np.linalg.eigvals(weight)).max() == pytest.approx(0.9, rel=1e-12)
    assert not weight[-1, :26].any()


@pytest.mark.parametrize("layer", RECURRENT)
def test_orthogonal_and_identity_by_name(layer):
    for square in gates(Network(layer(3, 9, recurrent_init="orthogonal:0.5"), dtype="float64")):
        np.testing.assert_allclose(square @ square.T, 0.25 * np.eye(9), atol=1e-14)
    for square in gates(Network(layer(3, 9, recurrent_init="identity:0.25"))):
        np.testing.assert_array_equal(square, 0.25 * np.eye(9, dtype=np.float32))


@pytest.mark.parametrize(("activation", "gain"), initializers.CRITICAL_GAINS.items())
def test_at_the_critical_gain_small_signals_neither_grow_nor_die(activation, gain):
    """The variance of g(W v) about its resting value is that of v, for a small random v."""
    size = 700
    square = gates(Network(Elman(1, size, activation, recurrent_init="critical"), dtype="float64"))[0]
    assert square.std() == pytest.approx(gain / math.sqrt(size), rel=0.01)
    v = 1e-3 * np.random.default_rng(0).standard_normal(size)
    g = {
        "tanh": np.tanh,
        "identity": lambda a: a,
        "relu": lambda a: np.maximum(a, 0),
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)) - 0.5,
    }[activation]
    assert np.square(g(square @ v)).mean() == pytest.approx(np.square(v).mean(), rel=0.3)


def test_chrono_biases_forget_after_the_drawn_delays():
    """1 / (1 - gate) is one more than a delay in 1..longest-1; what enters is as rare as what leaves."""
    delays = np.exp(initializers.chrono(np.random.default_rng(0), 4000, 200))
    assert delays.min() >= 1
    assert delays.max() <= 199
    assert delays.mean() == pytest.approx(100, abs=5 * 199 / math.sqrt(12 * 4000))
    i, f, g, o = Network(LSTM(3, 50, chrono=200), dtype="float64").params["0.bias"].reshape(4, -1)
    assert 1 <= np.exp(f).min() < 40 < 160 < np.exp(f).max() <= 199
    np.testing.assert_array_equal(i, -f)
    assert not g.any()
    assert not o.any()
    r, z, n = Network(GRU(3, 50, chrono=200), dtype="float64").params["0.bias"].reshape(3, -1)
    assert 1 <= np.exp(z).min() < 40 < 160 < np.exp(z).max() <= 199
    assert not r.any()
    assert not n.any()


CHOSEN = [
    Elman(3, 4, "relu", recurrent_init="orthogonal"),
    Elman(3, 4, "identity", limit=1e3),
    LSTM(3, 4, chrono=40.0),
    GRU(3, 4, recurrent_init="critical:1.5", chrono=9.0),
]


@pytest.mark.parametrize("layer", CHOSEN, ids=repr)
def test_choices_survive_a_file_and_give_the_same_bits(layer, tmp_path):
    config = layer.config()
    again = type(layer)(**config)
    assert again.config() == config
    one = Network(type(layer)(**config), seed=5)
    assert one.params.flat.tobytes() == Network(again, seed=5).params.flat.tobytes()
    save(one, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors")
    assert loaded.config() == one.config()
    assert loaded.layers[0].limit == layer.limit


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTM(3, 4, recurrent_init="ortogonal"), ValueError, "'ortogonal', but one of orthogonal, "),
        (lambda: GRU(3, 4, recurrent_init="identity:x"), ValueError, "'identity:x', but a number above 0"),
        (
            lambda: Elman(3, 4, recurrent_init="identity:-1"),
            ValueError,
            "'identity:-1', but a number above 0",
        ),
        (lambda: Elman(3, 4, recurrent_init=1.0), TypeError, "recurrent_init is 1.0"),
        (lambda: LSTM(3, 4, chrono=2), ValueError, "chrono is 2"),
        (lambda: GRU(3, 4, chrono="long"), TypeError, "chrono is 'long'"),
        (lambda: LSTM(3, 4, forget_bias=2, chrono=50), ValueError, "forget_bias is 2, but chrono 50"),
        (lambda: Elman(3, 4, limit=0), ValueError, "limit is 0"),
        (lambda: Elman(3, 4, limit="5"), ValueError, "limit is '5', but a number above 0 is wanted"),
    ],
)
def test_impossible_choices_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
