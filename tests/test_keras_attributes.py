"""Every attribute and every connection of a Keras file is understood or refused by its name."""

import numpy as np
import pytest
from laws import assert_close

h5py = pytest.importorskip("h5py")

from keras_layouts import cell, draw, layer, recurrent, write_h5, write_keras  # noqa: E402

from rnncore import Activation, Dense  # noqa: E402
from rnncore.interop.keras import load  # noqa: E402

I, H = 3, 4
T, B = 5, 2


def changed(rng, kind="LSTM", **config):
    """One recurrent layer with other attributes; None takes one away."""
    described = cell(kind, H, "a", **({"reset_after": True} if kind == "GRU" else {}))
    own = {**described["config"], **config}
    described["config"] = {name: value for name, value in own.items() if value is not None}
    return [(described, recurrent(rng, kind, I, H, "both" if kind == "GRU" else "own"))]


def dense(rng, name="d", inputs=H, **config):
    return layer("Dense", **{"name": name, "units": 2, **config}), [draw(rng, inputs, 2), draw(rng, 2)]


def both(rng, merge="concat", backward=None, **config):
    """A Bidirectional LSTM with the options of its backward layer."""
    wrapped = layer("Bidirectional", name="b", merge_mode=merge, layer=cell("LSTM", H, "forward"), **config)
    if backward is not None:
        own = cell("LSTM", H, "backward")
        own["config"] = {**own["config"], "go_backwards": True, **backward}
        wrapped["config"]["backward_layer"] = own
    return [(wrapped, [*recurrent(rng, "LSTM", I, H), *recurrent(rng, "LSTM", I, H)])]


def pool(rng, **config):
    return [*changed(rng), (layer("GlobalAveragePooling1D", name="p", **config), None)]


CASES = {
    "hard_sigmoid of Keras 3": (
        lambda rng: changed(rng, recurrent_activation="hard_sigmoid"), r"clip\(x / 6 .* in Keras 3"
    ),
    "hard_sigmoid of Keras 1": (
        lambda rng: changed(rng, recurrent_activation=None, inner_activation="hard_sigmoid"), "hard_sigmoid"
    ),
    "gates that are not said": (
        lambda rng: changed(rng, recurrent_activation=None), r"'a' \(LSTM\) does not say its recurrent_act"
    ),
    "an activation of its own": (
        lambda rng: changed(rng, activation={"class_name": "LeakyReLU"}), "has activation .*LeakyReLU"
    ),
    "an unknown attribute": (lambda rng: changed(rng, forgetful=True), "has forgetful=True, which is not"),
    "time-major": (lambda rng: changed(rng, time_major=True), "has time_major=True, which no layer"),
    "other units": (lambda rng: changed(rng, units=H + 1), f"has units={H + 1}, .* arrays of {H} units"),
    "no bias": (lambda rng: changed(rng, use_bias=False), "use_bias=False, but 3 arrays"),
    "a flag that is none": (lambda rng: changed(rng, return_sequences="no"), "='no', but true"),
    "a precision": (lambda rng: changed(rng, dtype="float8"), "computes in 'float8'"),
    "backwards": (lambda rng: changed(rng, go_backwards=True), "reads backwards only"),
    "a backward layer of other gates": (
        lambda rng: both(rng, backward={"recurrent_activation": "tanh"}), "backward_layer LSTM.* that differs"
    ),
    "a backward layer of other results": (
        lambda rng: both(rng, backward={"return_sequences": False}), "backward_layer .* that differs"
    ),
    "a backward layer forwards": (lambda rng: both(rng, backward={"go_backwards": False}), "reads forwards"),
    "a product of directions": (lambda rng: both(rng, merge="mul"), "merge_mode 'mul'"),
    "a bidirectional layer with more": (lambda rng: both(rng, weights_of=3), "has weights_of=3"),
    "features averaged": (
        lambda rng: pool(rng, data_format="channels_first"), "has data_format='channels_first'"
    ),
    "axes kept": (lambda rng: pool(rng, keepdims=True), "has keepdims=True, which no layer"),
    "a dense layer of other units": (lambda rng: [dense(rng, units=3)], "claims sizes"),
    "a dense layer without bias": (lambda rng: [dense(rng, use_bias=False)], "use_bias=False, but 2 arrays"),
    "an adapter": (lambda rng: [dense(rng, lora_rank=4)], "has lora_rank=4"),
    "four axes": (
        lambda rng: [(layer("InputLayer", name="x", batch_shape=[None, 2, 3, 4]), None), *changed(rng)],
        "'x' .* has shape",
    ),
    "ragged rows": (
        lambda rng: [(layer("InputLayer", name="x", ragged=True), None), *changed(rng)], "has ragged=True"
    ),
    "a distributed pool": (
        lambda rng: [(layer("TimeDistributed", name="t", layer=layer("Flatten")), [draw(rng, 2, 2)])],
        "distributes a Flatten",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_attribute_that_is_not_understood_is_refused_by_name(case, rng, tmp_path):
    make, message = CASES[case]
    path = write_keras(tmp_path / "m.keras", make(rng))
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(error.value).startswith(f"{path} cannot be read: its layer ")


def test_what_acts_in_training_or_speed_alone_is_no_reason_to_refuse(rng, tmp_path):
    plain = load(write_keras(tmp_path / "m.keras", changed(rng)))
    more = changed(
        np.random.default_rng(0), dropout=0.5, recurrent_dropout=0.5, unroll=True, implementation=1,
        stateful=True, trainable=False, kernel_initializer={"class_name": "Zeros"},
        bias_constraint={"class_name": "NonNeg"},
        dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
    )  # fmt: skip
    more.append((layer("GaussianNoise", name="n", stddev=0.3), None))
    net = load(write_keras(tmp_path / "m.keras", more))
    assert net.config() == plain.config()


def called(described, *inputs, **options):
    """A layer of a functional model, in Keras 3's notation."""
    args = [
        {"class_name": "__keras_tensor__", "config": {"keras_history": [*place]}}
        if len(place) == 3
        else place[0]
        for place in inputs
    ]
    return {
        **described,
        "name": described["config"]["name"],
        "inbound_nodes": [{"args": args, "kwargs": options}] if inputs else [],
    }


def functional(rng, cell_options=None, index=0, outputs=(("d", 0, 0),), x=("x", 0, 0), shared=False, **own):
    """An input, a recurrent layer and a dense one."""
    (lstm, arrays), head = changed(rng, **own)[0], dense(rng)
    inner = called(lstm, x, **(cell_options or {}))
    if shared:
        inner["inbound_nodes"] = [*inner["inbound_nodes"], *called(lstm, ("d", 0, 0))["inbound_nodes"]]
    return [
        (called(layer("InputLayer", name="x", batch_shape=[None, None, I])), None),
        (inner, arrays),
        (called(head[0], ("a", 1 if shared == "second" else 0, index)), head[1]),
    ], {"kind": "Functional", "output_layers": [list(place) for place in outputs]}


EDGES = {
    "the cell state": ({"index": 2, "return_state": True}, r"'a' \(LSTM\) is read for its cell state"),
    "a state of a GRU that gives none": ({"index": 1, "kind": "GRU"}, "'a' .* is read for its result 1"),
    "two outputs": ({"outputs": (("a", 0, 0), ("d", 0, 0))}, r"2 outputs, \['a', 'd'\]"),
    "no outputs": ({"outputs": ()}, "does not say which layers its outputs are"),
    "given states": (
        {"cell_options": {"initial_state": [called(layer("x", name="x"), ("x", 0, 0))]}},
        r"'a' .* starts from states that another layer gives",
    ),
    "always training": ({"cell_options": {"training": True}}, "always in training"),
    "another argument": ({"cell_options": {"reverse": True}}, "'a' .* is called with reverse=True"),
    "a mask from elsewhere": (
        {"cell_options": {"mask": called(layer("x", name="x"), ("x", 0, 0))["inbound_nodes"][0]["args"][0]}},
        "'a' .* is given a mask of its own",
    ),
    "a layer from nowhere": ({"x": ("y", 0, 0)}, "'y' is read, but has no call 0"),
    "a call from nowhere": ({"x": ("x", 1, 0)}, "'x' is read, but has no call 1"),
    "a circle": ({"x": ("d", 0, 0)}, "'d' .* is used twice"),
    "a layer used twice": ({"shared": "second"}, "is used twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", EDGES)
def test_a_connection_that_is_not_understood_is_refused_by_name(case, rng, tmp_path):
    options, message = EDGES[case]
    layers, more = functional(rng, **options)
    path = write_keras(tmp_path / "m.keras", layers, **more)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(error.value).startswith(f"{path} cannot be read: it")


def test_the_hidden_state_that_is_read_is_the_last_step(rng, tmp_path):
    layers, more = functional(rng, index=1, return_state=True, cell_options={"training": False, "mask": None})
    net = load(write_keras(tmp_path / "m.keras", layers, **more))
    x = draw(rng, T, B, I)
    y, states, _ = net.forward(x)
    hidden = states[0][0]
    assert_close(y, hidden @ net.params["2.weight"].T + net.params["2.bias"], 1e-6)


def test_two_branches_are_refused_and_layers_beside_the_line_count(rng, tmp_path):
    """The folders of a weights file are numbered over all layers, also those that are not asked for."""
    layers, more = functional(rng)
    other = dense(rng, "other", inputs=I)
    layers.insert(1, (called(other[0], ("x", 0, 0)), other[1]))
    path = write_keras(tmp_path / "m.keras", layers, **more)
    net = load(path)
    assert np.array_equal(net.params["1.weight"], layers[-1][1][0].T)
    assert np.array_equal(load(path, output="other").params["0.weight"], other[1][0].T)
    joined = called(layer("Concatenate", name="j", axis=-1), ("d", 0, 0), ("other", 0, 0))
    path = write_keras(
        tmp_path / "m.keras", [*layers, (joined, None)], **{**more, "output_layers": ["j", 0, 0]}
    )
    with pytest.raises(
        ValueError, match=r"'j' \(Concatenate\) reads \['d', 'other'\], but a network is a chain"
    ):
        load(path)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_the_many_arrays_of_keras_1(kind, rng, tmp_path):
    """One array for each gate, in another order than later; the attributes have other names."""
    own = layer(
        kind, name="a", output_dim=H, activation="tanh", inner_activation="sigmoid", input_dim=I,
        consume_less="cpu", init="glorot_uniform", inner_init="orthogonal", return_sequences=True,
    )  # fmt: skip
    gates, later = ("icfo", "ifco") if kind == "LSTM" else ("zrh", "zrh")
    arrays = {
        f"{stem}_{gate}": draw(rng, *shape)
        for gate in gates
        for stem, shape in [("W", (I, H)), ("U", (H, H)), ("b", (H,))]
    }
    path = write_h5(tmp_path / "old.h5", [(own, None)], version="1.2.2")
    with h5py.File(path, "a") as file:
        group = file["model_weights/a"]
        group.attrs["weight_names"] = [f"a_{name}" for name in arrays]
        for name, array in arrays.items():
            group[f"a_{name}"] = array
    new = cell(kind, H, "a", **({"reset_after": False} if kind == "GRU" else {}))
    joint = [np.concatenate([arrays[f"{stem}_{gate}"] for gate in later], axis=-1) for stem in "WUb"]
    net = load(write_keras(tmp_path / "m.keras", [(new, joint)]))
    assert load(path).config() == net.config()
    assert load(path).params.flat.tobytes() == net.params.flat.tobytes()


ACTIVATIONS = {
    "relu": ("relu", None), "swish": ("silu", None), "leaky_relu": ("leaky_relu", 0.2),
    "gelu": ("gelu", None), "softplus": ("softplus", None), "softmax": ("softmax", None),
    "linear": ("identity", None),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_inside_the_chain(name, rng, tmp_path):
    function, alpha = ACTIVATIONS[name]
    layers = [*changed(rng), dense(rng, activation=name), dense(rng, "last", inputs=2, activation="sigmoid")]
    net = load(write_keras(tmp_path / "m.keras", layers))
    assert repr(net.layers[1]) == repr(Dense(H, 2, function, alpha))
    assert repr(net.layers[2]) == repr(Dense(2, 2))
    assert repr(load(tmp_path / "m.keras", logits=False).layers[2]) == repr(Dense(2, 2, "sigmoid"))
    apart = [*changed(rng), dense(rng), (layer("Activation", name="f", activation=name), None), layers[2]]
    chain = load(write_keras(tmp_path / "m.keras", apart)).layers
    assert [repr(part) for part in chain[2:-1]] == (
        [] if name == "linear" else [repr(Activation(function, alpha=alpha))]
    )


def test_hard_sigmoid_is_that_of_the_version(rng, tmp_path):
    layers = [*changed(rng), dense(rng, activation="hard_sigmoid")]
    for write, version, alpha in [
        (write_keras, "3.1", 1 / 6),
        (write_h5, "2.2.4", 0.2),
        (write_h5, "1.2", 0.2),
    ]:
        net = load(write(tmp_path / "m", layers, version=version))
        assert repr(net.layers[1]) == repr(Dense(H, 2, "hard_sigmoid", alpha))
    with pytest.raises(ValueError, match=r"'d' .* has activation 'hard_sigmoid'"):  # nobody says of which
        load(write_h5(tmp_path / "m", layers, version=""))


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [("ReLU", {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}, ("relu", None)),
     ("LeakyReLU", {"alpha": 0.25}, ("leaky_relu", 0.25)), ("ELU", {}, ("elu", 1.0)),
     ("Softmax", {}, ("softmax", None)),
     ("ReLU", {"max_value": 6.0}, "max_value=6.0"), ("Softmax", {"axis": 1}, "axis=1")],
)  # fmt: skip
def test_activations_that_are_layers_of_their_own(kind, attributes, expected, rng, tmp_path):
    layers = [*changed(rng), (layer(kind, name="f", **attributes), None), dense(rng)]
    path = write_keras(tmp_path / "m.keras", layers)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=rf"'f' \({kind}\) has {expected}"):
            load(path)
    else:
        assert repr(load(path).layers[1]) == repr(Activation(expected[0], alpha=expected[1]))
