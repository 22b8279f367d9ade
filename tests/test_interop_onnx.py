"""ONNX: exported models run elsewhere and agree; imported ones are networks; what is neither is refused."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from rnncore import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, LastStep, MeanPool, Network
from rnncore.layers import Layer, LeakyElman

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from rnncore.interop.onnx import export, load  # noqa: E402
from rnncore.interop.onnx.runtime import difference, run  # noqa: E402

MODELS = Path(__file__).parent / "onnx_models"
I, H = 3, 5

CELLS = {
    **{f"elman-{name}": (lambda i, h, name=name: Elman(i, h, name)) for name in ("tanh", "sigmoid", "relu")},
    "elman-identity": lambda i, h: Elman(i, h, "identity"),
    "lstm": LSTM,
    "lstm-peepholes": lambda i, h: LSTM(i, h, peepholes=True),
    "lstm-coupled": lambda i, h: LSTM(i, h, coupled=True),
    "lstm-coupled-peepholes": lambda i, h: LSTM(i, h, coupled=True, peepholes=True),
    "lstm-gates": lambda i, h: LSTM(i, h, gate_activation="tanh", activation="sigmoid"),
    "gru": GRU,
    "gru-before": lambda i, h: GRU(i, h, reset_after=False),
    "gru-gates": lambda i, h: GRU(i, h, gate_activation="tanh", activation="sigmoid"),
}


def draw(net, seed=0):
    """Fill a network so that nothing vanishes or explodes; returns it."""
    rng = np.random.default_rng(seed)
    net.params.flat[:] = 0.4 * rng.standard_normal(net.params.flat.size)
    return net


def chain(cell, merge, depth, dtype="float32"):
    make = CELLS[cell]
    layers, wide = [], I
    for _ in range(depth):
        layers.append(make(wide, H) if merge is None else Bidirectional(make(wide, H), merge=merge))
        wide = layers[-1].features()[1]
    return draw(Network(*layers, dtype=dtype))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("merge", [None, "concat", "sum"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_exported_agrees_and_comes_back_with_the_same_bits(cell, merge, depth, tmp_path):
    net = chain(cell, merge, depth)
    path = tmp_path / "model.onnx"
    for lengths in (False, True)[depth == 3 :]:
        report = export(net, path, lengths=lengths)
        assert report.runtime == "onnxruntime"
        assert report.difference <= 1e-5
        model = load(path)
        assert model.report.difference <= 1e-5
        assert model.inputs == (("x", "lengths") if lengths else ("x",))
        assert model.net.config()["layers"] == net.config()["layers"]
        assert model.net.params.flat.tobytes() == net.params.flat.tobytes()


def test_lengths_mean_the_same_in_the_file(tmp_path, rng):
    """The report's comparison is no formality: ragged rows, run beside ONNX Runtime by hand."""
    net = chain("lstm", "concat", 2)
    path = tmp_path / "model.onnx"
    export(net, path, lengths=True)
    x, lengths = rng.standard_normal((6, 4, I)).astype("f4"), np.array([6, 1, 3, 5], np.int32)
    (theirs,) = run(onnx.load(path), {"x": x, "lengths": lengths}, "onnxruntime")
    ours, _, _ = net.forward(x, lengths=lengths)
    beyond = np.arange(6)[:, None] >= lengths
    assert difference([np.where(beyond[:, :, None], 0, ours)], [theirs]) < 1e-5
    assert not np.allclose(net.forward(x)[0], ours)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("pool", [None, LastStep, MeanPool])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_networks_are_exported(pool, lengths, dtype, tmp_path):
    """Ids in, probabilities out; dropout is gone; a float64 network is written as float32."""
    layers = Embedding(7, I), GRU(I, H), Dropout(0.5), *([pool()] if pool else []), Dense(H, 4)
    net = draw(Network(*layers, dtype=dtype))
    path = tmp_path / "model.onnx"
    assert export(net, path, lengths=lengths, softmax=True).difference <= 1e-5
    model = load(path)
    kinds = [type(layer) for layer in model.net.layers]
    assert kinds == [type(layer) for layer in layers if not isinstance(layer, Dropout)]
    assert model.report.difference <= 1e-5
    assert model.net.params.flat.tobytes() == net.params.flat.astype("f4").tobytes()
    x, counts = np.random.default_rng(0).integers(0, 7, (6, 4)), np.array([6, 1, 3, 5], np.int32)
    given = {"x": x, "lengths": counts} if lengths else {"x": x}
    (theirs,) = run(onnx.load(path), given, "onnxruntime")
    (ours,) = model.run(given)
    if pool is None and lengths:
        theirs[np.arange(6)[:, None] >= counts] = ours[np.arange(6)[:, None] >= counts] = 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", [False, True])
def test_both_ends_are_exported(lengths, tmp_path):
    layers = Bidirectional(LSTM(I, H)), Dropout(0.5), LastStep(bidirectional=True), Dense(2 * H, 2)
    path = tmp_path / "model.onnx"
    assert export(draw(Network(*layers)), path, lengths=lengths).difference <= 1e-5
    model = load(path)
    assert model.net.layers[1].bidirectional
    assert model.report.difference <= 1e-5


def test_what_cannot_be_expressed_is_refused_by_name_and_writes_nothing(tmp_path):
    class Stranger(Layer):
        pass

    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match=r"LeakyElman.* in ONNX: it has no such operator"):
        export(Network(LeakyElman(I, H, leak=0.5)), path)
    with pytest.raises(ValueError, match=r"layer 1, Stranger\(\), cannot be expressed in ONNX"):
        export(Network(GRU(I, H), Stranger()), path)
    with pytest.raises(ValueError, match="lengths is True, but"):
        export(Network(Dense(2, 2)), path, lengths=True)
    broken = Network(GRU(I, H))
    broken.params.flat[:] = np.nan
    with pytest.raises(ValueError, match=r"is not written: .*differ"):
        export(broken, path)
    assert not list(tmp_path.iterdir())


# Models that others wrote.

IMPORTS = {
    "torch_script_lstm": "LSTM Dense",
    "torch_script_gru_bidirectional": "Bidirectional Bidirectional Dense",
    "torch_script_rnn_batch_first": "Embedding Elman LastStep Dense",
    "torch_export_gru_bidirectional": "Bidirectional Bidirectional Dense",
    "torch_export_lstm_last_step": "Bidirectional Bidirectional LastStep Dense",
    "torch_export_rnn": "Elman Dense",
    "torch_export_rnn_bidirectional": "Embedding Bidirectional Bidirectional LastStep Dense",
    "keras_lstm": "LSTM Dense",
    "keras_bidirectional": "Bidirectional Dense",
}


@pytest.mark.parametrize("name", IMPORTS)
def test_models_of_other_exporters_are_imported_and_agree(name):
    model = load(MODELS / f"{name}.onnx")
    assert " ".join(type(layer).__name__ for layer in model.net.layers) == IMPORTS[name]
    assert model.report.runtime == "onnxruntime"
    assert model.report.difference <= 1e-5


def test_a_layer_that_an_exporter_wrote_as_a_loop_is_refused_by_name():
    with pytest.raises(ValueError, match=r"node '.*while_loop' \(Loop\) cannot be imported"):
        load(MODELS / "keras_gru_loop.onnx")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("dynamo", [False, True])
def test_what_torch_exports_today_is_imported(dynamo, kind, reverse, tmp_path):
    """The newer exporter writes every step of an RNN out."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    module = getattr(torch.nn, kind)(I, H, num_layers=2, bidirectional=reverse)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more = {"external_data": False, "verbose": False} if dynamo else {}
        torch.onnx.export(Outputs(module), (torch.zeros(4, 2, I),), path, dynamo=dynamo, **more)
    from rnncore.interop.torch import load_state_dict

    model, twin = load(path), load_state_dict(module)
    assert model.net.config()["layers"] == twin.config()["layers"]
    assert model.net.params.flat.tobytes() == twin.params.flat.tobytes()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_final_state_that_torch_reads_on_is_the_last_step(kind, depth, tmp_path):
    """``Linear(h[-1])``, the usual way from a sequence to one answer."""
    torch = pytest.importorskip("torch")

    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = getattr(torch.nn, kind)(I, H, num_layers=depth), torch.nn.Linear(H, 2)

        def forward(self, x):
            state = self.cell(x)[1]
            return self.head((state[0] if kind == "LSTM" else state)[-1])

    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Last().eval(), (torch.zeros(4, 2, I),), path, dynamo=False)
    model = load(path)
    assert [type(layer) for layer in model.net.layers[-2:]] == [LastStep, Dense]
    assert model.report.difference <= 1e-5


@pytest.mark.parametrize(("kind", "dynamo"), [("RNN", False), ("LSTM", False), ("GRU", False), ("RNN", True)])
def test_the_final_states_of_both_directions_side_by_side_are_both_ends(kind, dynamo, tmp_path):
    """``torch.cat((h[-2], h[-1]), 1)``."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")

    class Ends(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = getattr(torch.nn, kind)(I, H, num_layers=2, bidirectional=True)
            self.head = torch.nn.Linear(2 * H, 2)

        def forward(self, x):
            y, state = self.cell(x)
            h = state[0] if kind == "LSTM" else state
            return self.head(torch.cat((h[-2], h[-1]), 1)), h

    path, module, x = tmp_path / "model.onnx", Ends().eval(), torch.randn(4, 2, I)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more = {"external_data": False, "verbose": False} if dynamo else {}
        torch.onnx.export(module, (x,), path, dynamo=dynamo, **more)
    model = load(path)
    assert model.net.layers[-2].bidirectional
    assert model.report.difference <= 1e-5
    for ours, theirs in zip(model.run({model.inputs[0]: x.numpy()}), module(x), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_final_states_of_all_layers_are_outputs_as_torch_stacks_them(kind, reverse, tmp_path):
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, kind)(I, H, num_layers=2, bidirectional=reverse).eval()
    path, x = tmp_path / "model.onnx", torch.randn(4, 2, I)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=False)
    model = load(path)
    y, state = module(x)
    wanted = [y, *state] if kind == "LSTM" else [y, state]
    got = model.run({model.inputs[0]: x.numpy()})
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        assert np.allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-5)


def Outputs(module):
    """A module that gives the first output alone."""
    import torch

    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x)[0]

    return First().eval()


# The onnx package's own cases.

# What a case's name says of why it is refused.
REFUSED = {"reverse": "its direction is reverse, and no layer here reads backwards only"}
WEIGHTS = {1: "W", 2: "R", 3: "B", 7: "P"}


def node_cases():
    """The cases of the three operators; to collect those of all operators takes half a minute."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node
        from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: F401
    return {
        case.name: case
        for case in node._NodeTestCases
        if {"RNN", "LSTM", "GRU"} & {part.op_type for part in case.model.graph.node}
    }


def test_every_node_case_of_onnx_passes_or_is_refused_with_its_reason(tmp_path):
    """Weights, which the cases give as inputs, are put into the file; all else is as it is there."""
    cases = node_cases()
    assert len(cases) >= 18
    for name, case in cases.items():
        ((inputs, wanted),) = case.data_sets
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        weights = {model.graph.node[0].input[k] for k in WEIGHTS if k < len(model.graph.node[0].input)}
        given = {}
        for value, array in zip(list(model.graph.input), inputs, strict=True):
            if value.name in weights:
                model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
                model.graph.input.remove(value)
            else:
                given[value.name] = array
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        reason = next((text for key, text in REFUSED.items() if key in name), None)
        if reason:
            with pytest.raises(ValueError, match=re.escape(reason)):
                load(path)
            continue
        imported = load(path)
        got = imported.run(given)
        for ours, theirs in zip(got, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6, err_msg=name)
