"""Variants of the cells: where each becomes another cell, and what each must refuse."""

import numpy as np
import pytest
from laws import assert_close

import rnncore
from rnncore.layers import GRU, LSTM, Bidirectional, Elman, LeakyElman
from rnncore.network import Network

pytestmark = pytest.mark.usefixtures("backend")

T, B, I, H = 7, 3, 4, 5
LENGTHS = (7, 2, 5)


def run(layer, parameters=None, seed=3):
    """Outputs, final states and every gradient of a layer with the given parameters, else its own."""
    net = Network(layer, seed=seed, dtype="float64")
    rng = np.random.default_rng(seed)
    for name, value in (parameters or {}).items():
        net.params[f"0.{name}"][...] = value
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, layer.hidden_size))
    y, state, tape = net.forward(x, lengths=LENGTHS)
    dx, dstate = net.backward(dy, tape)
    flat = [part for part in (state[0], dstate[0]) for part in (part if isinstance(part, tuple) else (part,))]
    return net, [y, dx, *flat]


def drawn(layer, seed=5):
    """Parameters of a layer, drawn away from their regular first values."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) / 2 for name, shape in layer.parameter_shapes().items()}


def assert_same(first, second):
    for got, want in zip(first, second, strict=True):
        assert_close(got, want, 1e-13)


def test_a_leak_of_one_is_an_elman_network():
    parameters = drawn(Elman(I, H))
    assert_same(run(LeakyElman(I, H, leak=1.0), parameters)[1], run(Elman(I, H), parameters)[1])


def test_a_learned_leak_starts_at_its_value_and_one_stays_one():
    for leak in (0.05, 0.5, 1.0):
        fixed, learned = LeakyElman(I, H, leak=leak), LeakyElman(I, H, leak=leak, learn_leak=True)
        assert_same(run(learned)[1], run(fixed)[1])
        np.testing.assert_allclose(learned.leaks(), leak, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_learned_leak_may_run_away_in_silence(dtype):
    layer = LeakyElman(I, 4, leak=0.5, learn_leak=True)
    net = Network(layer, dtype=dtype)
    net.params["0.leak_logit"] = [-1e4, -30, 30, 1e4]
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(layer.leaks(), [0, np.exp(-30), 1, 1], rtol=1e-5)


def test_without_input_and_weights_a_leaky_state_decays_by_its_leak():
    layer = LeakyElman(I, H, "identity", time_constants=(2, 50))
    net = Network(layer, dtype="float64")
    net.params.flat[:] = 0
    start = np.random.default_rng(0).standard_normal((B, H))
    y, _, _ = net.forward(np.zeros((T, B, I)), (start,))
    for t in range(T):
        np.testing.assert_allclose(y[t], start * (1 - layer.leaks()) ** (t + 1), rtol=1e-12)


def test_time_constants_are_spread_evenly_in_the_logarithm():
    tau = 1 / LeakyElman(I, 64, time_constants=(2, 200))._first_leaks()
    assert np.all((tau > 2) & (tau < 200))
    np.testing.assert_allclose(np.diff(np.log(tau)), np.log(100) / 64)


def test_drawn_time_constants_are_log_uniform_and_the_seed_s_own():
    taus = [
        1 / LeakyElman(I, 4000, time_constants=(2, 200), leak_seed=seed)._first_leaks() for seed in (7, 7, 8)
    ]
    np.testing.assert_array_equal(taus[0], taus[1])
    assert (taus[0] != taus[2]).all()
    assert np.all((taus[0] >= 2) & (taus[0] <= 200))
    shares = np.histogram(np.log(taus[0]), 5, (np.log(2), np.log(200)))[0] / 4000
    np.testing.assert_allclose(shares, 0.2, atol=0.03)
    assert not (np.diff(taus[0]) > 0).all(), "in no order"


def test_leaks_given_for_each_unit_are_those_of_the_same_time_constants():
    for more in ({}, {"learn_leak": True}):
        spread = LeakyElman(I, H, time_constants=(1.5, 40), **more)
        given = LeakyElman(I, H, leak=spread._first_leaks(), **more)
        parameters = drawn(Elman(I, H))
        assert_same(run(given, parameters)[1], run(spread, parameters)[1])


@pytest.mark.parametrize(
    "leak", [0.5, [0.5], (0.5,), np.array([0.5]), np.array([0.5], np.float32), [np.float32(0.5)]]
)
def test_leaks_are_kept_as_plain_numbers(leak):
    kept = LeakyElman(I, 1, leak=leak).config()["leak"]
    assert kept in (0.5, [0.5])
    assert all(type(number) is float for number in np.atleast_1d(kept).tolist())


def test_a_file_holds_the_leaks_of_every_unit(tmp_path):
    leaks = np.random.default_rng(0).uniform(0.01, 1, H)
    for options in (
        {"leak": leaks, "excitatory": np.float32(0.6)},
        {"time_constants": np.array([2, 30]), "leak_seed": 5},
    ):
        net = Network(Bidirectional(LeakyElman(I, H, **options)), dtype="float64")
        rnncore.save(net, tmp_path / "net.safetensors")
        loaded = rnncore.load(tmp_path / "net.safetensors")
        x = np.random.default_rng(1).standard_normal((T, B, I))
        np.testing.assert_array_equal(loaded.forward(x)[0], net.forward(x)[0])
        np.testing.assert_array_equal(loaded.layers[0].layer.leaks(), net.layers[0].reverse.leaks())


def test_the_text_of_many_leaks_is_short():
    assert len(repr(LeakyElman(I, 500, leak=np.full(500, 1 / 3)))) < 150


def test_noise_acts_in_training_alone_and_has_its_variance():
    layer = LeakyElman(I, 400, "identity", leak=0.2, noise=0.5)
    net = Network(layer, dtype="float64")
    net.params.flat[:] = 0
    x = np.zeros((1, 50, I))
    y = net.forward(x)[0]
    np.testing.assert_allclose(y.std(), np.sqrt(2 * 0.2) * 0.5, rtol=0.03)
    assert not net.eval().forward(x)[0].any()


def test_under_dales_law_a_unit_excites_or_inhibits_whatever_its_weights():
    layer = LeakyElman(I, H, leak=0.5, excitatory=0.6)
    net = Network(layer, dtype="float64")
    net.params.flat[:] = np.random.default_rng(1).standard_normal(net.params.flat.size)
    felt = layer.recurrent_weight()
    assert (felt[:, :3] >= 0).all()
    assert (felt[:, 3:] <= 0).all()
    np.testing.assert_array_equal(np.abs(felt), np.abs(net.params["0.weight_hh"]))
    plain = LeakyElman(I, H, leak=0.5)
    names = ("weight_ih", "bias")
    parameters = {name: net.params[f"0.{name}"] for name in names} | {"weight_hh": felt}
    assert_same(run(LeakyElman(I, H, leak=0.5, excitatory=0.6), parameters)[1], run(plain, parameters)[1])


def test_peepholes_of_zero_are_none():
    parameters = drawn(LSTM(I, H))
    assert_same(run(LSTM(I, H, peepholes=True), parameters)[1], run(LSTM(I, H), parameters)[1])


def test_a_coupled_lstm_is_one_whose_forget_gate_mirrors_its_input_gate():
    """sigmoid(-a) = 1 - sigmoid(a)."""
    coupled = drawn(LSTM(I, H, coupled=True))
    whole = {name: np.concatenate([array[:H], -array[:H], array[H:]]) for name, array in coupled.items()}
    assert_same(run(LSTM(I, H, coupled=True), coupled)[1], run(LSTM(I, H), whole)[1])


def test_of_one_unit_the_reset_gate_may_come_before_or_after():
    """r (w h) = w (r h) for numbers."""
    before = drawn(GRU(I, 1, reset_after=False))
    after = before | {"bias_hn": np.zeros(1)}
    assert_same(run(GRU(I, 1, reset_after=False), before)[1], run(GRU(I, 1), after)[1])


def test_named_activations_are_the_default_ones():
    for cell in (LSTM, GRU):
        parameters = drawn(cell(I, H))
        named = cell(I, H, gate_activation="sigmoid", activation="tanh")
        assert_same(run(named, parameters)[1], run(cell(I, H), parameters)[1])


def test_the_forget_bias_of_a_coupled_lstm_opens_by_closing_the_input():
    net = Network(LSTM(I, H, coupled=True, forget_bias=2.0))
    np.testing.assert_array_equal(net.params["0.bias"][:H], -2)
    assert not net.params["0.bias"][H:].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyElman(I, H), "just one"),
        (lambda: LeakyElman(I, H, leak=0.5, time_constants=(1, 2)), "just one"),
        (lambda: LeakyElman(I, H, leak=0.0), "leak is 0.0"),
        (lambda: LeakyElman(I, H, leak=1.5), "leak is 1.5"),
        (lambda: LeakyElman(I, H, leak=float("nan")), "leak is nan"),
        (lambda: LeakyElman(I, H, time_constants=(0.5, 2)), "time_constants"),
        (lambda: LeakyElman(I, H, time_constants=(3, 2)), "time_constants"),
        (lambda: LeakyElman(I, H, time_constants=(1,)), "time_constants"),
        (lambda: LeakyElman(I, H, time_constants=5), "time_constants are 5, but a pair"),
        (lambda: LeakyElman(I, H, time_constants="ab"), "time_constants are 'ab', but a pair"),
        (lambda: LeakyElman(I, H, time_constants=(True, 5)), r"time_constants\[0\] is True"),
        (lambda: LeakyElman(I, H, time_constants=(1, np.inf)), "1 <= least <= largest"),
        (lambda: LeakyElman(I, H, time_constants=np.array([0.5, 2])), "1 <= least <= largest"),
        (lambda: LeakyElman(I, H, time_constants=np.ones((2, 2))), r"time_constants\[0\] is array"),
        (lambda: LeakyElman(I, H, leak=[0.5] * (H - 1)), f"leak has {H - 1} numbers"),
        (lambda: LeakyElman(I, 2, leak=[0.5, 0.0]), r"leak\[1\] is 0.0"),
        (lambda: LeakyElman(I, 2, leak=["a", 0.5]), r"leak\[0\] is 'a'"),
        (lambda: LeakyElman(I, 2, leak=np.full((2, 2), 0.5)), r"leak\[0\] is array"),
        (lambda: LeakyElman(I, H, leak="half"), "leak is 'half', but a number"),
        (lambda: LeakyElman(I, H, leak=0.5, leak_seed=1), "leak_seed is 1, but without time_constants"),
        (lambda: LeakyElman(I, H, time_constants=(1, 2), leak_seed=-1), "leak_seed is -1"),
        (lambda: LeakyElman(I, H, leak=0.5, noise=-1.0), "noise"),
        (lambda: LeakyElman(I, H, leak=0.5, noise=1.0, checkpoint_every=2), "noise"),
        (lambda: LeakyElman(I, H, leak=0.5, excitatory=1.5), "excitatory"),
        (lambda: LeakyElman(I, H, "softsign", leak=0.5), "activation"),
        (lambda: LSTM(I, H, peepholes="yes"), "peepholes"),
        (lambda: LSTM(I, H, gate_activation="hard"), "gate_activation"),
        (lambda: GRU(I, H, reset_after=2), "reset_after"),
        (lambda: GRU(I, H, activation="hard"), "activation"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
