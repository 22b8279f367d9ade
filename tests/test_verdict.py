"""The verdict is right on networks that were made ill in one way, and on healthy ones."""

import json

import numpy as np
import pytest
from laws import snapshot

import rnncore
from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    CrossEntropy,
    Dense,
    Elman,
    LastStep,
    MeanPool,
    Network,
    SkipElman,
    SquaredError,
)
from rnncore.diagnostics import RULES, diagnose, gradient_flow
from rnncore.diagnostics.common import double
from rnncore.diagnostics.remedies import remedies
from rnncore.initializers import orthogonal, spectral_radius
from rnncore.layers import LeakyElman
from rnncore.regularizers import L2, Omega

T, B, I, H = 60, 4, 3, 32


def network(*layers, seed=1):
    return Network(*layers, Dense(layers[-1].hidden_size, 2), seed=seed)


def weights(net, fill, factor, seed=0):
    """Fill the recurrent weights of layer 0, gate by gate."""
    weight, rng = net.params["0.weight_hh"], np.random.default_rng(seed)
    for gate in np.split(weight, net.layers[0].gates):
        fill(gate, rng, factor)
    return net


def scaled(net, name, factor):
    net.params[f"0.{name}"][...] *= factor
    return net


def shut(net, name, value, rows):
    net.params[f"0.{name}"][rows] = value
    return net


# Name: (what it should be called, the network).
CASES = {
    "small weights": ("vanishing", lambda: weights(network(Elman(I, H)), orthogonal, 0.5)),
    "small weights, sigmoid": ("vanishing", lambda: network(Elman(I, H, "sigmoid"))),
    "an LSTM that forgets": (
        "vanishing",
        lambda: scaled(network(LSTM(I, H, forget_bias=-2.0)), "weight_hh", 0.3),
    ),
    "linear, beyond 1": ("exploding", lambda: weights(network(Elman(I, H, "identity")), orthogonal, 1.1)),
    "ReLU, beyond the identity": (
        "exploding",
        lambda: shut(scaled(network(Elman(I, H, "relu")), "weight_hh", 1.1), "bias", 0.3, ...),
    ),
    "linear, spectral radius 1.2": (
        "exploding",
        lambda: weights(network(Elman(I, H, "identity")), spectral_radius, 1.2),
    ),
    "large inputs": ("saturated", lambda: scaled(network(Elman(I, H)), "weight_ih", 50)),
    "large inputs, LSTM": ("saturated", lambda: scaled(network(LSTM(I, H)), "weight_ih", 50)),
    "large biases, GRU": ("saturated", lambda: shut(network(GRU(I, H)), "bias", 6.0, slice(2 * H, None))),
    "biases far below 0": ("dead", lambda: shut(network(Elman(I, H, "relu")), "bias", -30.0, slice(0, 20))),
    "all dead": ("dead", lambda: shut(network(Elman(I, H, "relu")), "bias", -100.0, ...)),
    "half dead": (
        "dead",
        lambda: shut(network(Elman(I, H, "relu", recurrent_init="orthogonal")), "bias", -30.0, slice(0, 16)),
    ),
    "gain 3": (
        "chaotic",
        lambda: weights(scaled(network(Elman(I, H)), "weight_ih", 0.1), spectral_radius, 3.0),
    ),
    "gain 2.5": (  # of 100 units: 32 settle down after some hundred steps
        "chaotic",
        lambda: weights(scaled(network(Elman(I, 100)), "weight_ih", 0.1), spectral_radius, 2.5, 3),
    ),
    "a wild GRU": (
        "chaotic",
        lambda: weights(scaled(network(GRU(I, 100)), "weight_ih", 0.1), spectral_radius, 12.0),
    ),
    "orthogonal": ("healthy", lambda: scaled(network(Elman(I, H)), "weight_ih", 0.1)),
    "linear, orthogonal": ("healthy", lambda: network(Elman(I, H, "identity"))),
    "an LSTM": ("healthy", lambda: network(LSTM(I, H))),
    "a chrono LSTM": ("healthy", lambda: network(LSTM(I, H, chrono=T))),
    "two GRUs": ("healthy", lambda: network(GRU(I, H, chrono=T), GRU(H, H, chrono=T))),
}


def verdict(name, seed=0):
    net = CASES[name][1]()
    x = np.random.default_rng(seed).standard_normal((T, B, I)).astype(np.float32)
    return diagnose(net, (x, np.zeros((T, B, 2), np.float32)), SquaredError())


def parting(layer, inputs, steps=1500):
    """How fast two trajectories a hair apart part, in nats per step, and the standard error of that.

    Forward passes in float64 alone: the distance is set back to 1e-8 after every step (Benettin, Galgani &
    Strelcyn, 1976).
    """
    twin, rows, hair = double(layer), inputs.shape[1], 1e-8
    names, units = twin.state_names, twin.hidden_size
    rng, x = np.random.default_rng(0), np.resize(inputs, (steps, *inputs.shape[1:])).astype(np.float64)
    x = np.concatenate([x, x], axis=1)
    near, away = np.zeros((len(names), rows, units)), rng.standard_normal((len(names), rows, units))
    away *= hair / np.sqrt(np.square(away).sum(axis=(0, 2)))[:, None]
    grown = []
    for t in range(steps):
        both = np.concatenate([near, near + away], axis=1)
        _, state, _ = twin.forward(x[t : t + 1].copy(), tuple(both) if len(names) > 1 else both[0])
        both = np.stack(state if len(names) > 1 else [state])
        near, away = both[:, :rows], both[:, rows:] - both[:, :rows]
        factor = np.sqrt(np.square(away).sum(axis=(0, 2))) / hair
        away = away / factor[:, None]
        grown.append(np.log(factor))
    blocks = np.array_split(np.array(grown[steps // 5 :]), 4)
    means = np.array([block.mean(axis=0) for block in blocks])
    return means.mean(), means.std(ddof=1) / np.sqrt(means.size)


@pytest.mark.parametrize("name", [name for name, (wanted, _) in CASES.items() if wanted == "chaotic"])
def test_what_is_made_chaotic_parts_from_its_neighbours(name):
    layer = CASES[name][1]().layers[0]
    inputs = np.random.default_rng(5).standard_normal((1500, B, I))
    rate, error = parting(layer, inputs)
    assert rate > max(0.05, 5 * error)


@pytest.mark.parametrize("name", [name for name, (wanted, _) in CASES.items() if wanted == "healthy"])
def test_what_is_made_healthy_does_not(name):
    layer = CASES[name][1]().layers[0]
    rate, _ = parting(layer, np.random.default_rng(5).standard_normal((1500, B, I)))
    assert rate < 0.001


def test_of_twenty_networks_nineteen_are_told_right():
    assert len(CASES) == 20
    told = {name: verdict(name).verdict for name in CASES}
    wrong = {name: (told[name], wanted) for name, (wanted, _) in CASES.items() if told[name] != wanted}
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("seed", [1, 2])
def test_other_data_does_not_change_the_verdict(seed):
    right = sum(verdict(name, seed).verdict == wanted for name, (wanted, _) in CASES.items())
    assert right >= 19


def test_a_finding_says_what_where_by_how_much_and_what_to_change():
    report = verdict("small weights")
    (finding,) = report.findings
    assert (finding.problem, finding.layer, finding.kind) == ("vanishing", "0", "Elman")
    assert finding.value < finding.threshold
    assert "6 of 60 steps" in finding.text
    assert finding.remedies[0].code == f"LSTM({I}, {H}, chrono={T})"
    text = str(report)
    assert all(part in text for part in ("verdict: vanishing", finding.text, finding.remedies[0].code))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["verdict"] == "vanishing"


@pytest.mark.parametrize("name", [name for name, (wanted, _) in CASES.items() if wanted != "healthy"])
def test_every_remedy_is_code_of_the_library(name):
    """Constructors are called; arguments of the Trainer are its own; statements on the network run."""
    names = {**vars(rnncore), **{name: getattr(rnncore, name) for name in rnncore.__all__}}
    names |= {"L2": L2, "Omega": Omega, "gradient_flow": gradient_flow}
    net = CASES[name][1]()
    x = np.ones((T, B, I), np.float32) * np.arange(1, 5, dtype=np.float32)[:, None]
    for finding in verdict(name).findings:
        assert finding.remedies
        for remedy in finding.remedies:
            assert remedy.why
            code = (
                remedy.code.replace("...", "net, loss, Adam()", 1)
                if "Trainer(..." in remedy.code
                else remedy.code
            )
            target = np.zeros((T, B, 2), np.float32)
            exec(code, {**names, "net": net, "loss": SquaredError(), "x": x, "target": target})


LAYERS = {
    "LSTM": lambda: LSTM(I, 4, forget_bias=-2.0, peepholes=True, coupled=True, zoneout=0.1),
    "GRU": lambda: GRU(I, 4, reset_after=False, activation="sigmoid"),
    "ReLU": lambda: Elman(I, 4, "relu", limit=1e4),
    "leaks": lambda: LeakyElman(I, 4, leak=0.3, excitatory=0.75, noise=0.1),
    "time constants": lambda: LeakyElman(I, 4, time_constants=(1, 5)),
    "delays": lambda: SkipElman(I, 4, delays=(2, 5), activation="relu"),
    "periods": lambda: Clockwork(I, 4, periods=(1, 3)),
}


@pytest.mark.parametrize("problem", [rule.problem for rule in RULES])
@pytest.mark.parametrize("name", LAYERS)
def test_a_remedy_of_the_same_kind_keeps_what_the_layer_was_told(name, problem):
    layer = Network(LAYERS[name]()).layers[0]
    _, _, tape = layer.forward(np.ones((9, 1, I), np.float32))
    config, kinds = layer.config(), {kind.__name__: kind for kind in (LSTM, GRU, Elman)}
    kinds |= {kind.__name__: kind for kind in (LeakyElman, SkipElman, Clockwork)}
    for remedy in remedies(problem, layer, "0", tape):
        if remedy.code.split("(")[0] not in kinds:
            continue
        cured = eval(remedy.code, kinds)
        if type(cured) is type(layer) and problem != "dead":
            changed = {key for key in config if cured.config().get(key) != config[key]}
            allowed = {"forget_bias", "leak", "time_constants"} if problem == "vanishing" else set()
            assert changed <= allowed, remedy.code


def test_connections_over_many_steps_bring_the_gradient_back():
    """Between two delays next to nothing is left, and yet it arrives."""
    net = network(SkipElman(I, H, delays=(15,)))
    x = np.random.default_rng(0).standard_normal((T, B, I)).astype(np.float32)
    report = diagnose(net, (0.1 * x, np.ones((T, B, 2), np.float32)), SquaredError())
    left = report.flow["0"].left()
    assert left[1:15].max() < 1e-6
    assert left[45] > 0.5
    assert report.measures["0"]["reach"] == 46
    assert report.verdict == "healthy"


def test_a_reverse_half_that_is_read_at_the_last_step_has_read_one_step():
    halves = (Bidirectional(LSTM(I, 16, chrono=T)), Bidirectional(LSTM(32, 16, chrono=T)))
    x = np.random.default_rng(0).standard_normal((T, B, I)).astype(np.float32)
    target = np.array([0, 1, 1, 0])
    report = diagnose(Network(*halves, LastStep(), Dense(32, 2), seed=1), (x, target), CrossEntropy())
    (finding,) = report.findings
    assert (finding.problem, finding.layer) == ("vanishing", "1.reverse")
    assert "no gradient" in finding.text
    assert finding.remedies[0].code == "MeanPool()"
    halves = (Bidirectional(LSTM(I, 16, chrono=T)), Bidirectional(LSTM(32, 16, chrono=T)))
    cured = Network(*halves, eval("MeanPool()", {"MeanPool": MeanPool}), Dense(32, 2), seed=1)
    assert diagnose(cured, (x, target), CrossEntropy()).verdict == "healthy"


@pytest.mark.parametrize("name", ["small weights", "linear, beyond 1", "gain 3", "all dead"])
def test_the_first_remedy_cures(name):
    net = CASES[name][1]()
    rng = np.random.default_rng(0)
    x = (0.1 * rng.standard_normal((T, B, I))).astype(np.float32)
    batch = (x, np.zeros((T, B, 2), np.float32))
    report = diagnose(net, batch, SquaredError())
    assert report.verdict == CASES[name][0]
    code = report.findings[0].remedies[0].code
    if code.startswith("net."):
        exec(code, {"net": net})
        cured = net
    else:
        cured = network(eval(code, {name: getattr(rnncore, name) for name in ("Elman", "LSTM", "GRU")}))
    assert report.verdict not in {f.problem for f in diagnose(cured, batch, SquaredError()).findings}


def test_a_state_that_overflows_is_called_exploding():
    net = weights(network(Elman(I, H, "identity")), orthogonal, 10.0)
    x = np.ones((T, B, I), np.float32)
    report = diagnose(net, (x, np.zeros((T, B, 2), np.float32)), SquaredError())
    assert report.verdict == "exploding"
    assert "step" in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_look_leaves_the_network_as_it_was(rng):
    net = Network(LSTM(I, 5), GRU(5, H), LastStep(), Dense(H, 2))
    net.grads.flat[:] = 1
    before = snapshot(net)
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    report = diagnose(net, (x, np.array([0, 1, 1, 0]), [60, 20, 12, 40]), CrossEntropy())
    assert snapshot(net) == before
    assert set(report.measures) == {"0", "1"}


def test_every_rule_is_met_by_some_case():
    assert {rule.problem for rule in RULES} == {wanted for wanted, _ in CASES.values()} - {"healthy"}
    for wanted in {rule.problem for rule in RULES}:
        assert sum(wanted == other for other, _ in CASES.values()) == 3


def test_wrong_calls_are_refused():
    net = network(GRU(I, H))
    with pytest.raises(TypeError, match="batch is a int"):
        diagnose(net, 3, SquaredError())
    with pytest.raises(ValueError, match="no layer with a recurrent state"):
        diagnose(Network(Dense(I, 2)), (np.zeros((3, 1, I), np.float32),) * 2, SquaredError())
