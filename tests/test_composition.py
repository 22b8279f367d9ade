"""Layers made of layers: branches, ways around, several inputs, sequences within steps."""

import copy
import pickle

import numpy as np
import pytest
from laws import assert_close
from layer_laws import check_file, check_gradients, drawn

import rnncore
from rnncore import (
    GRU,
    LSTM,
    SGD,
    Activation,
    Add,
    Bidirectional,
    Chain,
    ClipStep,
    Concat,
    CrossEntropy,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    MeanPool,
    Multiply,
    Network,
    Residual,
    Trainer,
    WithinStep,
)
from rnncore.data import Batch

LENGTHS = np.array([4, 2, 3])
T, B = 4, 3
COMPOSED = {
    "concat": lambda: (Concat(LSTM(2, 3), Dense(2, 2, "tanh"), Activation("identity")), Dense(7, 2)),
    "concat-pooled": lambda: (GRU(2, 3), Concat(LastStep(), MeanPool()), Dense(6, 2)),
    "add": lambda: (Add(Dense(2, 3), [Elman(2, 4), Dense(4, 3)], LSTM(2, 3)),),
    "multiply": lambda: (Multiply(Dense(2, 3, "sigmoid"), GRU(2, 3), Dense(2, 3)), Elman(3, 2)),
    "residual": lambda: (Residual(LSTM(2, 2)), Residual(GRU(2, 5), Dense(5, 2)), Dense(2, 3)),
    "nested": lambda: (
        Concat(Residual(Add(Dense(2, 2), Elman(2, 2))), [Bidirectional(GRU(2, 2)), Dense(4, 1)]),
        Residual(Multiply(Dense(3, 3), Dense(3, 3, "sigmoid"))),
    ),
}
composed = pytest.mark.parametrize("name", COMPOSED)


@composed
def test_gradients(name, backend, rng):
    net = drawn(Network(*COMPOSED[name](), dtype="float64"), seed=1)
    check_gradients(net, rng.standard_normal((T, B, 2)), LENGTHS)


@composed
def test_padding_is_not_read_and_a_row_is_the_row_alone(name, rng):
    net = drawn(Network(*COMPOSED[name](), dtype="float64"))
    x = rng.standard_normal((T, B, 2))
    x[np.arange(T)[:, None] >= LENGTHS] = np.nan
    y, _, tape = net.forward(x, None, LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = net.forward(x[:length, [row]].copy())[0]
        mine = y[[row]] if y.ndim == 2 else y[:length, [row]]
        np.testing.assert_array_equal(mine, alone)
    dx, _ = net.backward(np.ones_like(y), tape)
    assert np.isfinite(dx).all()
    assert not dx[np.arange(T)[:, None] >= LENGTHS].any()


@composed
def test_files_copies_and_onnx(name, tmp_path, rng):
    net = drawn(Network(*COMPOSED[name]()))
    x = rng.standard_normal((T, B, 2)).astype("f")
    check_file(net, x, tmp_path / "net.safetensors", LENGTHS)
    y = net.forward(x)[0]
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        again.params.flat[:] = net.params.flat
        assert again.forward(x)[0].tobytes() == y.tobytes()
        again.params.flat += 1
        assert again.forward(x)[0].tobytes() != y.tobytes(), "parameters are views of the buffer"
    with net.inference_mode():
        assert net.forward(x)[0].tobytes() == y.tobytes()
    assert net.infer(x).tobytes() == y.tobytes()
    pytest.importorskip("onnxruntime")
    export = pytest.importorskip("rnncore.interop.onnx").export
    for lengths in (False, True):
        if not lengths or name != "concat-pooled":
            assert export(net, tmp_path / "net.onnx", lengths=lengths).difference < 1e-6


def test_what_the_branches_give(rng):
    parts = [Dense(2, 3), Dense(2, 3, "tanh")]
    x = rng.standard_normal((T, B, 2))
    alone = [Network(Dense(2, 3), dtype="float64"), Network(Dense(2, 3, "tanh"), dtype="float64")]
    results = [net.forward(x)[0] for net in alone]
    joined = np.concatenate(results, -1), sum(results), results[0] * results[1]
    for kind, want in zip((Concat, Add, Multiply), joined, strict=True):
        net = Network(kind(*copy.deepcopy(parts)), dtype="float64")
        assert [*net.params] == ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias"]
        net.params.flat[:] = np.concatenate([other.params.flat for other in alone])
        np.testing.assert_array_equal(net.forward(x)[0], want)
    net = Network(Residual(Dense(2, 2)), dtype="float64")
    own = Network(Dense(2, 2), dtype="float64")
    net.params.flat[:] = own.params.flat
    np.testing.assert_array_equal(net.forward(x)[0], x + own.forward(x)[0])


def test_a_state_goes_on(rng):
    net = drawn(Network(Concat(LSTM(2, 3), [Dense(2, 2), Elman(2, 3)]), Residual(GRU(6, 6)), dtype="float64"))
    x = rng.standard_normal((6, B, 2))
    y, final, _ = net.forward(x)
    first, state, _ = net.forward(x[:2].copy())
    second, ended, tape = net.forward(x[2:].copy(), state)
    np.testing.assert_array_equal(np.concatenate([first, second]), y)
    np.testing.assert_array_equal(ended[1][0], final[1][0])
    _, dinitial = net.backward(np.ones_like(second), tape, ended)
    assert dinitial[0][1][1].shape == (B, 3)
    with pytest.raises(ValueError, match=r"state\[0\] is not a tuple of 2 entries"):
        net.forward(x, (np.zeros((B, 3)), None))


def test_parts_train_evaluate_and_clip_with_the_whole(rng):
    net = Network(Residual(Dropout(0.5), LSTM(2, 2)), dtype="float64")
    x = rng.standard_normal((T, B, 2))
    assert not np.array_equal(net.forward(x)[0], net.forward(x)[0])
    net.eval()
    np.testing.assert_array_equal(net.forward(x)[0], net.forward(x)[0])
    trainer = Trainer(net, CrossEntropy(), SGD(lr=0.1), clip=ClipStep(1e-6))
    trainer.fit([Batch(x, rng.integers(0, 2, (T, B)))], epochs=2)
    assert trainer.clips[0].clipped > 0


def words(rng, dtype="float64"):
    """Ids, numbers, and characters with their padding."""
    characters = rng.integers(1, 6, (T, B, 5)) * (np.arange(5) < rng.integers(0, 6, (T, B, 1)))
    shape = rng.random((T, B, 2)).astype(dtype)
    return {"word": rng.integers(0, 9, (T, B)), "shape": shape, "letters": characters}


def tagger(dtype="float64"):
    letters = WithinStep(Embedding(6, 2), Bidirectional(LSTM(2, 2)), LastStep(bidirectional=True))
    first = Concat(word=Embedding(9, 3), shape=Activation("identity", features=2), letters=letters)
    return drawn(Network(first, Bidirectional(GRU(9, 3)), Dense(6, 4), dtype=dtype))


def test_several_inputs(rng):
    """Gradients of words, features and characters, with lengths, by finite differences along directions."""
    net, x = tagger(), words(rng)
    y, _, tape = net.forward(x, None, LENGTHS)
    dy = rng.standard_normal(y.shape)
    valid = np.arange(T)[:, None] < LENGTHS
    net.zero_grad()
    dx, _ = net.backward(dy, tape)
    assert dx["word"] is None
    assert not dx["shape"][~valid].any()
    for name in net.params:
        direction = rng.standard_normal(net.params[name].shape)
        before, values = net.params[name].copy(), []
        for s in (2e-3, 1e-3, -1e-3, -2e-3):
            net.params[name] = before + s * direction
            values.append((net.forward(x, None, LENGTHS)[0] * dy)[valid].sum())
        net.params[name] = before
        want = (8 * (values[1] - values[2]) - (values[0] - values[3])) / 12e-3
        assert_close((net.grads[name] * direction).sum(), want, 1e-7, name, scale=1e-3)


def test_letters_are_each_steps_own_sequence(rng):
    """A word's vector is that of its letters alone; one of no letters is 0."""
    layers = Embedding(6, 2), Bidirectional(LSTM(2, 2)), LastStep(bidirectional=True)
    net, own = Network(WithinStep(*layers)), Network(*copy.deepcopy(layers))
    own.params.flat[:] = net.params.flat
    x = words(rng)["letters"]
    x[1, 1] = 0
    y = net.forward(x)[0]
    for t, b in np.ndindex(T, B):
        letters = x[t, b][x[t, b] != 0]
        want = own.forward(letters[:, None])[0][0] if letters.size else np.zeros(4, "f")
        np.testing.assert_array_equal(y[t, b], want)
    part = net.forward(x, None, LENGTHS)[0]
    assert not part[np.arange(T)[:, None] >= LENGTHS].any()


def test_one_trainer_and_one_file_for_several_inputs(tmp_path, rng):
    net = tagger("float32")
    batches = [Batch(words(rng, "float32"), rng.integers(0, 4, (T, B)), LENGTHS) for _ in range(2)]
    batches.append(Batch(words(rng, "float32"), rng.integers(0, 4, (T, B)), rng.random((T, B)) < 0.6))
    trainer = Trainer(net, CrossEntropy(), SGD(lr=0.5))
    before = trainer.evaluate(batches)
    trainer.fit(batches, epochs=30)
    assert trainer.evaluate(batches) < 0.7 * before
    rnncore.save(net, tmp_path / "net.safetensors")
    again = rnncore.load(tmp_path / "net.safetensors")
    x = batches[0].x
    net.eval()
    assert again.forward(x)[0].tobytes() == net.forward(x)[0].tobytes()
    assert again.infer(x, LENGTHS).tobytes() == net.forward(x, None, LENGTHS)[0].tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Concat(Dense(2, 3)), "Concat has 1 branches; expected at least two"),
        (lambda: Add(Dense(2, 3), Dense(2, 4)), r"give \[3, 4\] features; expected the same"),
        (lambda: Concat(Dense(2, 3), Dense(3, 3)), r"take \[2, 3\] features, but all read the same x"),
        (lambda: Concat(LSTM(2, 3), [LSTM(2, 3), LastStep()]), "some branches of Concat give one row"),
        (lambda: Concat(Embedding(5, 2), Dense(2, 3)), "some branches of Concat take ids"),
        (lambda: Concat(Dense(2, 3), a=Dense(2, 3)), "with and without names"),
        (lambda: Concat(a=Dense(2, 3), b=Activation("tanh")), "branch b does not say how many features"),
        (lambda: Residual(Dense(2, 3)), "takes 2 features and gives 3"),
        (lambda: Residual(), "needs what it goes around"),
        (lambda: WithinStep(Embedding(5, 2), LSTM(2, 2)), "end in one row per sequence"),
        (lambda: Network(Concat(Dense(2, 3), Dense(2, 3)), Dense(5, 2)), "takes 5 features"),
        (lambda: Network(Residual(GRU(2, 2))).stream(), "layer 0, Residual, has no kernel"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_layer_stands_in_one_place():
    layer = Dense(2, 2)
    with pytest.raises(ValueError, match="one layer stands in two places"):
        Add(layer, layer)
    with pytest.raises(TypeError, match="branch 1 is a str; expected a layer"):
        Concat(layer, "Dense")
    Network(layer)
    with pytest.raises(ValueError, match="belongs to a network already"):
        Chain(layer)


def test_wrong_dictionaries_are_named(rng):
    net, x = tagger(), words(rng)
    for wrong, error, message in [
        (x["word"], TypeError, "x is a ndarray; expected a dictionary with word, shape, letters"),
        ({"word": x["word"]}, ValueError, "x has word; expected word, shape, letters"),
        ({**x, "shape": x["shape"][:2].copy()}, ValueError, r"steps and rows \[\(2, 3\), \(4, 3\)\]"),
        ({**x, "shape": x["shape"] * np.nan}, ValueError, r"x\['shape'\]\[0, 0, 0\] is nan"),
        ({**x, "letters": x["word"]}, TypeError, r"expected integer ids \(T, B, L\)"),
    ]:
        with pytest.raises(error, match=message):
            net.forward(wrong)
