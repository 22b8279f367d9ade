"""States that go in and come out of ONNX models, constants in their place; the cases of the onnx package."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from laws import assert_close

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from rnncore import Activation, Dense, Elman, Network  # noqa: E402
from rnncore.interop.onnx import export, load  # noqa: E402

MODELS = Path(__file__).parent / "onnx_models"
I, H = 3, 4


def run(path, inputs):
    """What ONNX Runtime gives."""
    return onnxruntime.InferenceSession(str(path)).run(None, inputs)


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("way", ["script", "export"])
def test_states_of_several_layers_in_one_array_go_in_and_come_out(way, rng):
    path = MODELS / f"torch_{way}_carried_states.onnx"
    model = load(path)
    assert model.inputs == ("x", "h", "c")
    x, h, c = draw(rng, 5, 3, I), draw(rng, 2, 3, H), draw(rng, 2, 3, H)
    ours = model.run({"x": x, "h": h, "c": c})
    for got, want in zip(ours, run(path, {"x": x, "h": h, "c": c}), strict=True):
        assert_close(got, want, 1e-5)
    _, middle, memory = model.run({"x": x[:3], "h": h, "c": c})  # two calls, as one streams
    y, *_ = model.run({"x": x[3:], "h": middle, "c": memory})
    assert_close(y, ours[0][3:], 1e-5)
    with pytest.raises(ValueError, match="inputs lack 'c'"):
        model.run({"x": x, "h": h})


@pytest.mark.parametrize("way", ["script", "export"])
def test_states_that_are_fixed_in_the_file(way, rng):
    path = MODELS / f"torch_{way}_learned_states.onnx"
    model = load(path)
    assert model.inputs == ("x",)
    for rows in (1, 4):
        x = draw(rng, rows, 5, I)
        (want,) = run(path, {"x": x})
        assert_close(model.run({"x": x})[0], want, 1e-5)
        y, _, _ = model.net.forward(x.swapaxes(0, 1).copy(), state=model.state(rows))
        assert_close(y.swapaxes(0, 1), want, 1e-5)


def lstm(rng, *nodes, states=("h", "c"), inputs=(), outputs=("y",), initializers=(), rows="B", **attributes):
    """One LSTM whose states are these values."""
    way = 2 if attributes.get("direction") == "bidirectional" else 1
    weights = {"W": draw(rng, way, 4 * H, I), "R": draw(rng, way, 4 * H, H), "B": draw(rng, way, 8 * H)}
    first = ["B", "T"] if attributes.get("layout") else ["T", "B"]
    shape = [rows if name == "B" else name for name in first]
    names = ["x", "W", "R", "B", "", *states]
    graph = helper.make_graph(
        [*nodes, helper.make_node("LSTM", names, ["y", "hn", "cn"], hidden_size=H, **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*shape, I]), *inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    graph.initializer.extend(initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def state(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def save(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def test_both_states_in_one_input(rng, tmp_path):
    """As Silero's detector has them: h and c are the two places of one array; B is 1."""
    parts = [
        helper.make_node("Gather", ["state", "first"], ["h0"]),
        helper.make_node("Unsqueeze", ["h0", "0"], ["h"]),
        helper.make_node("Slice", ["state", "1", "2", "0"], ["c"]),
    ]
    first = numpy_helper.from_array(np.array(0), "first")
    path = save(tmp_path / "m.onnx", lstm(
        rng, *parts, inputs=[state("state", 2, 1, H)], outputs=("y", "hn", "cn"), rows="B",
        initializers=[first, *(numbers(str(k), k) for k in range(3))],
    ))  # fmt: skip
    model = load(path)
    x, given = draw(rng, 5, 1, I), draw(rng, 2, 1, H)
    for got, want in zip(
        model.run({"x": x, "state": given}), run(path, {"x": x, "state": given}), strict=True
    ):
        assert_close(got, want, 1e-5)


def test_states_in_both_directions_and_rows_first(rng, tmp_path):
    path = save(tmp_path / "m.onnx", lstm(
        rng, helper.make_node("Transpose", ["given"], ["c"], perm=[1, 0, 2]), states=("h", "c"),
        inputs=[state("h", "T", 2, H), state("given", "U", 2, H)], direction="bidirectional",
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"initial state has shape \(5, 2, 4\), but \(2, B, 4\) is expected"):
        load(path)
    path = save(tmp_path / "m.onnx", lstm(
        rng, helper.make_node("Transpose", ["given"], ["c"], perm=[1, 0, 2]), states=("h", "c"),
        inputs=[state("h", 2, "B", H), state("given", "B", 2, H)], direction="bidirectional",
        outputs=("y", "hn", "cn"),
    ))  # fmt: skip
    model = load(path)
    x, h, c = draw(rng, 5, 6, I), draw(rng, 2, 6, H), draw(rng, 6, 2, H)
    inputs = {"x": x, "h": h, "given": c}
    for got, want in zip(model.run(inputs), run(path, inputs), strict=True):
        assert_close(got, want, 1e-5)


def test_what_no_output_depends_on_is_not_looked_at(rng, tmp_path):
    """Inputs of any type, weights of any type, operators of any kind."""
    texts = helper.make_tensor("words", TensorProto.STRING, [1], [b"a"])
    nodes = [
        helper.make_node("StringNormalizer", ["words"], ["more"]),
        helper.make_node("Einsum", ["x"], ["z"]),
    ]
    unused = [helper.make_tensor_value_info("rate", TensorProto.STRING, [])]
    path = save(tmp_path / "m.onnx", lstm(rng, *nodes, states=(), inputs=unused, initializers=[texts]))
    model = load(path)
    assert model.inputs == ("x",)
    assert model.state(3) is None


def test_inputs_that_are_always_the_same_become_constants(rng, tmp_path):
    path = save(tmp_path / "m.onnx", lstm(rng, inputs=[state("h", 1, "B", H), state("c", 1, "B", H)]))
    h = np.repeat(draw(rng, 1, 1, H), 3, axis=1)
    model = load(path, values={"h": h, "c": np.zeros((1, 3, H))})
    assert model.inputs == ("x",)
    x = draw(rng, 5, 3, I)
    (want,) = run(path, {"x": x, "h": h, "c": np.zeros_like(h)})
    assert_close(model.run({"x": x})[0], want, 1e-5)
    for wrong, message in [
        ({"g": h}, "'g', but its inputs are x, h, c"),
        ({"h": h[:, :, :2]}, r"'h' of shape \(1, 3, 2\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            load(path, values=wrong)


def node_cases():
    """The cases of the onnx package for recurrent operators: name to model, inputs, outputs."""
    package = importlib.import_module("onnx.backend.test.case.node")
    found = {}
    for name in ("rnn", "lstm", "gru"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(f"onnx.backend.test.case.node.{name}")
    for case in package._NodeTestCases:
        if {node.op_type for node in case.model.graph.node} & {"RNN", "LSTM", "GRU"}:
            found[case.name] = case
    return found


def test_the_cases_of_the_onnx_package(tmp_path):
    """All of them, their weights being inputs that are always the same."""
    cases = node_cases()
    assert len(cases) >= 14
    refused = {}
    for name, case in cases.items():
        path = save(tmp_path / f"{name}.onnx", case.model)
        for inputs, outputs in case.data_sets:
            given = dict(zip([value.name for value in case.model.graph.input], inputs, strict=True))
            fixed = {key: given.pop(key) for key in [*given] if key not in ("X", "sequence_lens")}
            try:
                model = load(path, values=fixed)
            except ValueError as error:
                refused[name] = str(error)
                continue
            for got, want in zip(model.run(given), outputs, strict=True):
                assert_close(got, want, 1e-5, name)
    assert all("reverse" in name for name in refused), refused


FUNCTIONS = {
    "Relu": ({}, ("relu", None)), "Sigmoid": ({}, ("sigmoid", None)), "Tanh": ({}, ("tanh", None)),
    "LeakyRelu": ({}, ("leaky_relu", 0.01)), "Elu": ({"alpha": 0.5}, ("elu", 0.5)),
    "HardSigmoid": ({}, ("hard_sigmoid", 0.2)), "Softplus": ({}, ("softplus", None)),
    "Softsign": ({}, ("softsign", None)), "LogSoftmax": ({"axis": -1}, ("log_softmax", None)),
    "Softmax": ({"axis": -1}, ("softmax", None)),
}  # fmt: skip


@pytest.mark.parametrize("operator", FUNCTIONS)
def test_activations_between_and_after_layers(operator, rng, tmp_path):
    attributes, (name, alpha) = FUNCTIONS[operator]
    nodes = [
        helper.make_node(operator, ["x"], ["f"], **attributes),
        helper.make_node("RNN", ["f", "W", "R"], ["r"], hidden_size=H),
        helper.make_node("Squeeze", ["r", "one"], ["s"]), helper.make_node("Sigmoid", ["s"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [state("x", "T", "B", I)], [state("y", "T", "B", H)],
        [*(numpy_helper.from_array(draw(rng, 1, H, size), key) for key, size in (("W", I), ("R", H))),
         numbers("one", 1)],
    )  # fmt: skip
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = load(save(tmp_path / "m.onnx", whole))
    first, _, last = model.net.layers
    assert repr(first) == repr(Activation(name, alpha=alpha))
    assert repr(last) == repr(Activation("sigmoid"))
    assert not model.net.training


def test_a_prelu_with_slopes_and_a_hard_sigmoid_of_another_height(rng, tmp_path):
    net = Network(Elman(I, H), Dense(H, 2, "prelu"), Activation("prelu", 2), seed=1)
    export(net, tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    assert np.array_equal(model.net.params.flat, net.params.flat)
    export(Network(Elman(I, H), Activation("hard_sigmoid", alpha=0.25)), tmp_path / "m.onnx")
    other = onnx.load(tmp_path / "m.onnx")
    (node,) = (node for node in other.graph.node if node.op_type == "HardSigmoid")
    node.attribute.append(helper.make_attribute("beta", 0.25))
    with pytest.raises(ValueError, match=r"\(HardSigmoid\) cannot be imported: beta is 0.25"):
        load(save(tmp_path / "m.onnx", other))
