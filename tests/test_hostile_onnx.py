"""ONNX files that a stranger wrote: one clear error, no other file touched, no memory for a claim."""

import os
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnncore import GRU, Dense, Elman, Embedding, LastStep, MeanPool, Network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from rnncore.interop.onnx import export, load  # noqa: E402

I, H = 2, 3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small exported model: its path and its bytes."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export(Network(Embedding(4, I), GRU(I, H), LastStep(), Dense(H, 2), seed=3), path)
    return path, path.read_bytes()


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read: ")
    assert "\n" not in message
    assert len(message) < 800


def floats(name, shape=None):
    """The declaration of an input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def gru(*nodes, initializers=(), initial="", x="x", lengths="", attributes=None, inputs=(), outputs=("y",),
        weights="W", rows="B"):  # fmt: skip
    """A graph with one GRU behind the nodes."""
    rng = np.random.default_rng(0)
    arrays = {"W": rng.standard_normal((1, 3 * H, I)), "R": rng.standard_normal((1, 3 * H, H))}
    given = {"hidden_size": H, "linear_before_reset": 1, **(attributes or {})}
    names = [x, weights, "R", "", lengths, initial]
    graph = helper.make_graph(
        [*nodes, helper.make_node("GRU", names, ["y"], name="the GRU", **given)],
        "g",
        [floats("x", ["T", rows, I]), *inputs],
        [floats(name) for name in outputs],
        [numpy_helper.from_array(array.astype("f4"), name) for name, array in arrays.items()],
    )
    graph.initializer.extend(initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tensor(name, dims, kind=TensorProto.FLOAT, raw=b"", **fields):
    made = TensorProto(name=name, dims=dims, data_type=kind, raw_data=raw)
    for field, value in fields.items():
        getattr(made, field).extend(value) if isinstance(value, list) else setattr(made, field, value)
    return made


def integers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def external(name, location):
    made = tensor(name, [1, 1, H], data_location=TensorProto.EXTERNAL)
    made.external_data.add(key="location", value=location)
    return made


def doubling():
    """A constant that doubles forty times."""
    nodes = [helper.make_node("Concat", [f"c{k}", f"c{k}"], [f"c{k + 1}"], axis=0) for k in range(40)]
    return gru(*nodes, initializers=[integers("c0", 0)], initial="c40")


def expand(*sizes):
    node = helper.make_node("Expand", ["zero", "sizes"], ["initial"])
    zero = numpy_helper.from_array(np.zeros((), "f4"), "zero")
    return gru(node, initializers=[zero, integers("sizes", *sizes)], initial="initial")


def starting(initial):
    """A GRU whose initial state is this tensor."""
    return gru(initializers=[initial], initial="initial")


def fixed(steps, rows):
    """A GRU whose input has all its sizes."""
    model = gru()
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (steps, rows), strict=False):
        dim.dim_value = size
    return model


def divided():
    """A GRU whose initial state is 0 / 0."""
    zeros = numpy_helper.from_array(np.zeros((1, 3, H), "f4"), "zeros")
    node = helper.make_node("Div", ["zeros", "zeros"], ["initial"])
    return gru(node, initializers=[zeros], initial="initial")


def typed(kind):
    """A GRU whose input is of another type."""
    model = gru()
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


def written_out(start):
    """A recurrence of one step that is written out, in front of the GRU."""
    rows = numpy_helper.from_array(np.full(start, 0.5, "f4"), "start")
    return gru(
        helper.make_node("Slice", ["x", "zero", "one", "zero"], ["part"]),
        helper.make_node("Squeeze", ["part", "zero"], ["step"]),
        helper.make_node("Add", ["start", "step"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["h"], name="the step"),
        initializers=[integers("zero", 0), integers("one", 1), rows], x="h",
    )  # fmt: skip


CASES = {
    "outside the folder": (
        lambda: starting(external("initial", "../../secret")), "in another file"
    ),
    "beside it": (lambda: starting(external("initial", "w.bin")), "in another file"),
    "a huge claim": (
        lambda: starting(tensor("initial", [2**40, 2**40])), "numbers, but holds 0"
    ),
    "an overflowing claim": (
        lambda: starting(tensor("initial", [2**32, 2**32, 4], raw=b"\0" * 4)), "holds 1"
    ),
    "a negative size": (lambda: starting(tensor("initial", [-1])), "claims shape"),
    "too few bytes": (
        lambda: starting(tensor("initial", [4], raw=b"\0" * 15)), "claims 4 numbers"
    ),
    "a text tensor": (
        lambda: starting(tensor("initial", [0], kind=TensorProto.STRING)), "is of type 8"
    ),
    "an expansion": (lambda: expand(2**20, 2**20, 2**20), "larger than the file gives reason for"),
    "a negative expansion": (lambda: expand(-5), "cannot be imported"),
    "a filling": (
        lambda: gru(
            helper.make_node("ConstantOfShape", ["sizes"], ["initial"]),
            initializers=[integers("sizes", 2**31, 2**31)], initial="initial",
        ),
        "larger than the file gives reason for",
    ),
    "forty doublings": (doubling, "larger than the file gives reason for"),
    "a path for a name": (
        lambda: gru(initializers=[tensor("../../etc/passwd", [2], raw=b"\0")], initial="../../etc/passwd"),
        "'../../etc/passwd' claims 2 numbers",
    ),
    "a value from nowhere": (lambda: gru(initial="nowhere"), "'the GRU' .* its input 'nowhere' is not there"),
    "a circle": (
        lambda: gru(helper.make_node("Identity", ["b"], ["a"]), helper.make_node("Identity", ["a"], ["b"]),
                    initial="a"),
        "its input 'b' is not there",
    ),
    "a stranger": (
        lambda: gru(helper.make_node("Einsum", ["x"], ["z"], equation="i"), x="z"), r"\(Einsum\) cannot"
    ),
    "another domain": (
        lambda: gru(helper.make_node("Identity", ["x"], ["z"], domain="evil"), x="z"), "of the domain 'evil'"
    ),
    "weights as input": (
        lambda: gru(x="W"), "its input is a constant"
    ),
    "initial states that differ": (
        lambda: starting(numpy_helper.from_array(np.arange(9, dtype="f4").reshape(1, 3, H), "initial")),
        "initial state is fixed in the file, and not the same for each row",
    ),
    "an initial state of another size": (
        lambda: gru(initializers=[numpy_helper.from_array(np.ones((1, 3, 2), "f4"), "h")], initial="h"),
        r"its initial state has shape \(1, 3, 2\), but \(1, B, 3\)",
    ),
    "an initial state from the input": (
        lambda: gru(helper.make_node("Tanh", ["x"], ["h"]), x="h", initial="h"), "computed by other layers"
    ),
    "a part of states that is no layer's": (
        lambda: gru(
            helper.make_node("Slice", ["h", "zero", "one", "two"], ["part"]), initial="part",
            inputs=[floats("h", [1, "B", 2 * H])],
            initializers=[integers("zero", 1), integers("one", 1 + H), integers("two", 2)],
        ),
        "its initial state is no layer's part of the input 'h'",
    ),
    "an unknown attribute": (
        lambda: gru(attributes={"output_sequence": 1}), "it has the attribute 'output_sequence'"
    ),
    "weights from outside": (
        lambda: gru(inputs=[floats("w", [1, 9, 2])], weights="w"), "W are not in the file; pass values="
    ),
    "rows that do not agree": (
        lambda: gru(inputs=[floats("h", [1, 2, H])], initial="h", rows=4), "rows of different numbers"
    ),
    "fixed lengths": (
        lambda: gru(initializers=[numpy_helper.from_array(np.array([1, 2, 3], "i4"), "n")], lengths="n"),
        "sequence_lens are fixed",
    ),
    "other sizes": (lambda: gru(attributes={"hidden_size": H + 1}), r"W has shape \(1, 9, 2\), but"),
    "a clip": (lambda: gru(attributes={"clip": 3.0}), "it clips its gates"),
    "backwards": (lambda: gru(attributes={"direction": "reverse"}), "direction is reverse"),
    "an unknown way": (lambda: gru(attributes={"direction": "up"}), "direction is"),
    "other activations": (
        lambda: gru(attributes={"activations": ["HardSigmoid", "Tanh"]}), "'hardsigmoid' is not known"
    ),
    "a huge input": (
        lambda: gru(inputs=[floats("z", [2**40, 3, 4])], initial="z"), "too large"
    ),
    "a long trial": (lambda: fixed(2**20, 2), "too large to be tried: leave its steps and rows free"),
    "a type that is none": (lambda: typed(99), "its input 'x' is of type 99"),
    "an input of texts": (lambda: typed(TensorProto.STRING), "its input 'x' is of type 8"),
    "no number": (divided, "initial state is fixed"),
    "an operator of two lines": (
        lambda: gru(helper.make_node("a\nb", ["x"], ["z"]), x="z"), r"\('a\\nb'\) cannot"
    ),
    "an input of four axes": (
        lambda: gru(helper.make_node("Identity", ["z"], ["a"]), x="a", inputs=[floats("z", [2, 3, 4, 5])]),
        "its input 'z' has 4 axes",
    ),
    "an output from nowhere": (lambda: gru(outputs=("y", "z")), "output 'z' does not follow"),
    "no output": (lambda: gru(outputs=()), "no graph with outputs"),
    "a step that is written out": (lambda: written_out((1, 1, I)), "'the step' .* that is written out"),
    "a step of another size": (lambda: written_out((2**20, 1)), "'the step' .* that is written out"),
    "a function of nothing": (lambda: gru(helper.make_node("Tanh", [], ["z"]), x="z"), r"\(Tanh\) cannot be"),
    "a name of ours": (
        lambda: gru(helper.make_node("LastStep", ["x"], ["z"]), x="z"), r"\(LastStep\) cannot be"
    ),
    "half of the rows": (
        lambda: gru(
            helper.make_node("Slice", ["x", "one", "two", "one"], ["z"]),
            initializers=[integers("one", 1), integers("two", 2)], x="z",
        ),
        "cuts off steps, rows or features",
    ),
    "axes mixed up": (
        lambda: gru(helper.make_node("Transpose", ["x"], ["z"], perm=[2, 0, 1]), x="z"), "steps, rows and"
    ),
    "an impossible transpose": (
        lambda: gru(helper.make_node("Transpose", ["x"], ["z"], perm=[0, 7]), x="z"), "perm is"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_graph_gets_one_clear_error_and_no_memory(case, tmp_path):
    make, message = CASES[case]
    path = tmp_path / "hostile.onnx"
    path.write_bytes(make().SerializeToString())
    tracemalloc.start()
    refused(path, message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize("pool", [LastStep, MeanPool])
def test_a_pool_over_other_lengths_or_numbers_is_refused(pool, tmp_path):
    path = tmp_path / "model.onnx"
    export(Network(GRU(I, H), pool()), path, lengths=True)
    whole = onnx.load(path)
    whole.graph.node[0].input[4] = ""  # the GRU reads all steps
    path.write_bytes(whole.SerializeToString())
    refused(path, "it does not follow the lengths that the layers before it take")
    export(Network(GRU(I, H), pool()), path, lengths=True)
    for name in ("next", "zero") if pool is MeanPool else ("next", "one"):
        other = onnx.load(path)
        (constant,) = (tensor for tensor in other.graph.initializer if tensor.name == name)
        constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) + 2, name))
        path.with_name("other.onnx").write_bytes(other.SerializeToString())
        refused(path.with_name("other.onnx"), "cannot be")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    net, path = Network(Elman(I, H, "relu")), tmp_path / "model.onnx"
    export(net, path)
    other = onnx.load(path)
    for part in other.graph.initializer:
        if part.data_type == TensorProto.FLOAT:
            part.raw_data = np.full(len(part.raw_data) // 4, np.nan, "f4").tobytes()
    path.write_bytes(other.SerializeToString())
    refused(path, "unit 0 of row 0 is nan")


def test_the_two_reset_conventions_are_told_apart(tmp_path):
    """linear_before_reset is 0 where nothing is said: then it is not the layer that it would be with 1."""
    path = tmp_path / "model.onnx"
    path.write_bytes(gru().SerializeToString())
    after = load(path)
    path.write_bytes(gru(attributes={"linear_before_reset": 0}).SerializeToString())
    before = load(path)
    assert after.net.layers[0].reset_after
    assert not before.net.layers[0].reset_after
    assert "0.bias_hn" not in before.net.params


OPENED = []
WATCH = [False]


def watch(event, arguments):
    if WATCH[0] and event in ("open", "os.open"):
        OPENED.append(os.fspath(arguments[0]) if not isinstance(arguments[0], int) else arguments[0])


sys.addaudithook(watch)


def test_no_file_but_the_named_one_is_touched(model, tmp_path):
    """Python's audit events, for a model that is read and for one that points elsewhere."""
    path, _ = model
    load(path)  # what is imported on the first call is imported now
    hostile = tmp_path / "hostile.onnx"
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 12)
    hostile.write_bytes(gru(initializers=[external("h", "secret")], initial="h").SerializeToString())
    OPENED.clear()
    WATCH[0] = True
    try:
        load(path)
        refused(hostile, "another file")
    finally:
        WATCH[0] = False
    # A descriptor that is opened once more was opened by its name before.
    assert {name for name in OPENED if isinstance(name, str)} == {str(path), str(hostile)}


def test_what_is_no_model_gets_one_clear_error(model, tmp_path):
    _, original = model
    path = tmp_path / "file.onnx"
    for data in (b"", b"\xff" * 100, b"PK\x03\x04", original[:200], original[:-50]):
        path.write_bytes(data)
        refused(path, "cannot be read")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "it is no regular file")
    with open(tmp_path / "huge", "wb") as file:
        os.truncate(file.fileno(), 2**31)
    refused(tmp_path / "huge", "are the limit")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_refused_or_are_a_model(model, tmp_path, data):
    _, original = model
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(len(damaged) - 1, 0)))
        kind = data.draw(st.sampled_from(["flip", "set", "truncate", "insert", "delete"]))
        if kind == "flip" and damaged:
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set" and damaged:
            damaged[place] = data.draw(st.integers(0, 255))
        elif kind == "truncate":
            del damaged[place:]
        elif kind == "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            del damaged[place : place + data.draw(st.integers(1, 16))]
    target = tmp_path / "damaged.onnx"
    target.write_bytes(damaged)
    try:
        loaded = load(target)
    except ValueError as error:
        assert str(error).startswith(f"{target} cannot be read: ")  # noqa: PT017
    else:
        assert loaded.report.difference <= 1e-3
