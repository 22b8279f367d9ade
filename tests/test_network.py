"""A network: one flat buffer, names, modes, seeds, and a configuration that rebuilds it."""

import json

import numpy as np
import pytest

import rnncore
from rnncore import layers
from rnncore.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    MeanPool,
    SkipElman,
)
from rnncore.network import Network

pytestmark = pytest.mark.usefixtures("backend")


def everything(**options):
    return Network(
        Embedding(11, 3),
        Elman(3, 4, activation="relu"),
        Dropout(0.4),
        LSTM(4, 5, forget_bias=2.5),
        GRU(5, 6),
        Dense(6, 7),
        LastStep(),
        **options,
    )


SHAPES = {
    "0.weight": (11, 3),
    "1.weight_ih": (4, 3),
    "1.weight_hh": (4, 4),
    "1.bias": (4,),
    "3.weight_ih": (20, 4),
    "3.weight_hh": (20, 5),
    "3.bias": (20,),
    "4.weight_ih": (18, 5),
    "4.weight_hh": (18, 6),
    "4.bias": (18,),
    "4.bias_hn": (6,),
    "5.weight": (7, 6),
    "5.bias": (7,),
}


def ids(seed=0, steps=5, rows=3):
    return np.random.default_rng(seed).integers(0, 11, (steps, rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_and_gradients_are_views_into_one_buffer_each(dtype):
    net = everything(dtype=dtype)
    for params in (net.params, net.grads):
        assert {name: array.shape for name, array in params.items()} == SHAPES
        assert params.names == tuple(SHAPES)
        assert params.flat.dtype == net.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(np.concatenate([a.ravel() for a in params.values()]), params.flat)
        params.flat[:] = np.arange(params.flat.size)
        np.testing.assert_array_equal(np.concatenate([a.ravel() for a in params.values()]), params.flat)
    assert not np.shares_memory(net.params.flat, net.grads.flat)


def test_a_layer_computes_with_what_stands_in_the_buffer():
    """Writing the flat buffer, as optimizers do, is writing the layers' weights."""
    net = everything()
    y = net.forward(ids())[0]
    net.params.flat[:] *= 0.5
    assert not np.array_equal(net.forward(ids())[0], y)
    net.params.flat.fill(0)
    assert not net.forward(ids())[0].any()


def test_gradients_arrive_in_the_buffer_and_zero_grad_clears_it():
    net = everything()
    y, _, tape = net.forward(ids())
    net.backward(np.ones_like(y), tape)
    assert all(gradient.any() for gradient in net.grads.values())
    net.zero_grad()
    assert not net.grads.flat.any()


def test_train_and_eval_reach_every_layer():
    net = everything()
    assert net.training
    assert all(layer.training for layer in net.layers)
    assert net.eval() is net
    assert not net.training
    assert not any(layer.training for layer in net.layers)
    np.testing.assert_array_equal(net.forward(ids())[0], net.forward(ids())[0])
    assert net.train() is net
    assert all(layer.training for layer in net.layers)
    assert not np.array_equal(net.forward(ids())[0], net.forward(ids())[0])
    assert not net.train(False).training


def test_all_randomness_comes_from_the_seed():
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = everything(seed=3)
    np.random.seed(2)  # noqa: NPY002
    again, other = everything(seed=3), everything(seed=4)
    np.testing.assert_array_equal(first.params.flat, again.params.flat)
    assert not np.array_equal(first.params.flat, other.params.flat)
    for _ in range(3):
        np.testing.assert_array_equal(first.forward(ids())[0], again.forward(ids())[0])
    assert first.seed == 3


def test_float32_starts_as_the_rounded_float64():
    single, double = everything(dtype="float32"), everything(dtype="float64")
    np.testing.assert_array_equal(single.params.flat, double.params.flat.astype(np.float32))


@pytest.mark.parametrize(
    "layer",
    [
        Elman(2, 3),
        Elman(2, 3, activation="sigmoid"),
        LSTM(2, 3, forget_bias=0.0),
        LSTM(2, 3, peepholes=True, chrono=40.0),
        LSTM(2, 3, coupled=True, gate_activation="tanh", activation="relu"),
        GRU(np.int64(2), np.int32(3)),
        GRU(2, 3, reset_after=False, activation="identity"),
        LeakyElman(2, 3, leak=0.25),
        LeakyElman(2, 3, leak=np.array([0.25, 0.5, 1], np.float32)),
        LeakyElman(2, 3, time_constants=np.array([2, 30]), leak_seed=np.int64(4)),
        LeakyElman(2, 3, "relu", time_constants=(2, 30), learn_leak=True, noise=0.1, excitatory=0.8),
        SkipElman(2, 3),
        SkipElman(2, 3, (4,), "relu", "identity:0.9"),
        Clockwork(2, 3, (1, 3)),
        Embedding(5, 2),
        Dense(3, 4),
        Dropout(0.25),
        Dropout(0.25, variational=True),
        layers.Activation("prelu", features=3, alpha=0.1),
        layers.Dense(2, 3, "leaky_relu", alpha=0.3),
        Bidirectional(LSTM(2, 3, forget_bias=0.5), merge="sum"),
        LastStep(),
        MeanPool(),
    ],
    ids=repr,
)
def test_a_layer_is_rebuilt_from_its_configuration(layer):
    config = layer.config()
    rebuilt = type(layer)(**json.loads(json.dumps(config)))
    assert rebuilt.config() == config
    assert rebuilt.parameter_shapes() == layer.parameter_shapes()
    assert eval(repr(layer), vars(layers)).config() == config, "repr is how it is made"


def test_every_layer_has_its_configuration_tested():
    """A new layer joins the network of this file."""
    made = {type(layer).__name__ for layer in everything().layers}
    made |= {"AttentionPool", "MaxOverTime", "Reverse"}
    made |= {"CRF", "Add", "Chain", "Concat", "Multiply", "Residual", "WithinStep", "register"}  # by others
    made |= {"Activation", "MeanPool", "Bidirectional", "LeakyElman", "SkipElman", "Clockwork"}
    assert made == set(layers.__all__) - {"Layer"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_is_rebuilt_from_its_configuration(dtype):
    net = everything(seed=42, dtype=dtype)
    config = json.loads(json.dumps(net.config()))
    parts = [
        getattr(layers, part["type"])(**{k: v for k, v in part.items() if k != "type"})
        for part in config["layers"]
    ]
    rebuilt = Network(*parts, seed=config["seed"], dtype=config["dtype"])
    assert rebuilt.config() == config
    np.testing.assert_array_equal(rebuilt.params.flat, net.params.flat)
    np.testing.assert_array_equal(rebuilt.forward(ids())[0], net.forward(ids())[0])
    assert eval(repr(net), {**vars(layers), "Network": Network}).config() == config


def test_a_chain_is_its_layers_one_after_another(rng):
    """And the gradient goes the same way back."""
    net = Network(GRU(2, 3), Dense(3, 4), dtype="float64")
    first, second = Network(GRU(2, 3), dtype="float64"), Network(Dense(3, 4), dtype="float64")
    for name, value in net.params.items():
        position, _, local = name.partition(".")
        (first, second)[int(position)].params[f"0.{local}"] = value
    x = rng.standard_normal((4, 3, 2))
    y, state, tape = net.forward(x)
    middle, first_state, first_tape = first.forward(x)
    last, _, second_tape = second.forward(middle)
    np.testing.assert_array_equal(y, last)
    np.testing.assert_array_equal(state[0], first_state[0])
    assert len(state) == len(tape) == 2
    dy = rng.standard_normal(y.shape)
    dx, dstate = net.backward(dy, tape)
    dmiddle, _ = second.backward(dy, second_tape)
    dx_alone, dstate_alone = first.backward(dmiddle, first_tape)
    np.testing.assert_array_equal(dx, dx_alone)
    np.testing.assert_array_equal(dstate[0], dstate_alone[0])


@pytest.mark.parametrize("shared", ["twice in one", "in another"])
def test_a_layer_belongs_to_one_network(shared):
    layer = LSTM(3, 3)
    if shared == "twice in one":
        with pytest.raises(ValueError, match=r"layer 1, LSTM.* belongs to a network already: make a new one"):
            Network(layer, layer)
        assert layer.rng is None, "the refused network has left no trace"
        return
    net = Network(layer)
    y = net.forward(np.ones((2, 2, 3), np.float32))[0]
    with pytest.raises(ValueError, match=r"layer 1, LSTM.* belongs to a network already: make a new one"):
        Network(Dense(3, 3), layer)
    np.testing.assert_array_equal(net.forward(np.ones((2, 2, 3), np.float32))[0], y)


def test_a_refused_network_leaves_its_layers_free():
    layer = LSTM(3, 3)
    with pytest.raises(TypeError, match="float16"):
        Network(layer, dtype="float16")
    Network(layer)


def test_public_names_are_the_layers():
    for name in (*layers.__all__, "Network"):
        if name != "Layer":
            assert getattr(rnncore, name).__name__ == name


def test_a_network_can_be_made_without_drawing_weights():
    """Its generator then stands where the seed puts it, and nothing but the weights differs."""
    drawn, bare = (Network(LSTM(3, 4), Dense(4, 2), seed=5, initialize=draws) for draws in (True, False))
    assert drawn.params.flat.any()
    assert not bare.params.flat.any()
    assert bare.config() == drawn.config()
    assert bare.rng.bytes(8) == np.random.default_rng(5).bytes(8)
    assert bare.vocabulary is None
