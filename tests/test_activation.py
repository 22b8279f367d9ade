"""Activations: alone and in a dense layer, whole and step by step, here and in other tools."""

import math

import numpy as np
import pytest
from laws import assert_close
from layer_laws import check_file, check_gradients, check_stream, drawn

from rnncore import LSTM, Activation, CrossEntropy, Dense, Embedding, LastStep, Network, kernels, reference
from rnncore.interop.torch import state_dict
from rnncore.layers.activation import ALPHAS, FROM_OUTPUT, FUNCTIONS
from rnncore.reference import activations

LENGTHS = np.array([4, 2, 3])
names = pytest.mark.parametrize("name", FUNCTIONS)


def activation(name, features=None, alpha=None):
    return Activation(name, features=features or (3 if name == "prelu" else None), alpha=alpha)


def test_both_sides_number_the_functions_alike():
    assert activations.NAMES == FUNCTIONS


@names
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_equal_the_reference(name, dtype, level, rng):
    """Values and slopes, of all sizes of rows, wide ranges of numbers, and in place."""
    number, alpha, eps = FUNCTIONS.index(name), 0.3, np.finfo(dtype).eps
    for features in (1, 7, 16, 33):
        x = (rng.standard_normal((5, features)) * rng.choice([0.1, 1, 10], (5, features))).astype(dtype)
        slopes = rng.normal(0, 1, features).astype(dtype) if name == "prelu" else None
        got, want = np.empty_like(x), np.empty_like(x)
        kernels.activate(number, alpha, x, got, slopes)
        reference.activate(number, alpha, x, want, slopes)
        assert_close(got, want, 16 * eps, scale=1.0)
        values, dy = want if name in FROM_OUTPUT else x, rng.standard_normal(x.shape).astype(dtype)
        results = []
        for side in (kernels, reference):
            dx, dslopes = np.empty_like(x), None if slopes is None else np.ones_like(slopes)
            side.activate_backward(number, alpha, values, dy, dx, slopes, dslopes)
            results.append((dx, dslopes))
        assert_close(results[0][0], results[1][0], 64 * eps, scale=1.0)
        if slopes is not None:
            assert_close(results[0][1], results[1][1], 64 * eps, scale=1.0)
        kernels.activate(number, alpha, x, x, slopes)
        assert x.tobytes() == got.tobytes()


@names
def test_numbers_without_bounds_give_limits_and_nan_stays(name, level):
    """No overflow on the way gives NaN; NaN goes in and comes out, and stays at its place."""
    for dtype, large in (("float32", 3e38), ("float64", 1e308)):
        x = np.array([[-large, -1e20, -200, 0, 200, 1e20, large]], dtype).T.copy()
        values, y, dx = x.copy(), np.empty_like(x), np.empty_like(x)
        slopes = np.full(1, 0.25, dtype) if name == "prelu" else None
        dslopes = None if slopes is None else slopes.copy()
        kernels.activate(FUNCTIONS.index(name), 0.25, x, y, slopes)
        assert np.isfinite(y).all()
        if name in FROM_OUTPUT:
            values = y
        kernels.activate_backward(FUNCTIONS.index(name), 0.25, values, np.ones_like(x), dx, slopes, dslopes)
        assert np.isfinite(dx).all()
        x[3] = np.nan
        kernels.activate(FUNCTIONS.index(name), 0.25, x, y, slopes)
        assert np.isnan(y[3, 0])
        assert np.isfinite(np.delete(y, 3)).all()


@names
def test_gradients(name, backend, rng):
    """Dense with its activation, and the layer, of rows of different lengths."""
    net = drawn(Network(Dense(2, 3, name), activation(name), dtype="float64"), seed=3)
    check_gradients(net, rng.standard_normal((4, 3, 2)), LENGTHS)


def test_padding_counts_as_zero(rng):
    """What is there does not matter, and nothing goes back to it."""
    net = Network(Activation("softplus"), dtype="float64")
    x = rng.standard_normal((4, 3, 2))
    y, _, tape = net.forward(x, None, LENGTHS)
    beyond = np.arange(4)[:, None] >= LENGTHS
    assert_close(y[beyond], np.full((3, 2), math.log(2)), 1e-15)
    assert not net.backward(np.ones_like(y), tape)[0][beyond].any()


@names
def test_equal_to_pytorch(name, rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    alpha = {"leaky_relu": 0.2, "elu": 0.7, "prelu": 0.25}.get(name)
    theirs = {
        "identity": lambda x: x,
        "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
        "elu": lambda x: functional.elu(x, 0.7),
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "hard_sigmoid": lambda x: functional.relu6(x + 3) / 6,  # their own has 1/6 in float32 on the way back
        "prelu": lambda x: functional.prelu(x.reshape(-1, 3), torch.full((3,), 0.25).double()).reshape(
            x.shape
        ),
        "softmax": lambda x: functional.softmax(x, -1),
        "log_softmax": lambda x: functional.log_softmax(x, -1),
    }.get(name) or getattr(functional, name)
    net = Network(activation(name, alpha=alpha), dtype="float64")
    x, dy = 2 * rng.standard_normal((2, 5, 4, 3))
    y, _, tape = net.forward(x)
    dx, _ = net.backward(dy, tape)
    tensor = torch.from_numpy(x).requires_grad_()
    result = theirs(tensor)
    result.backward(torch.from_numpy(dy))
    assert_close(y, result.detach().numpy(), 1e-10)
    assert_close(dx, tensor.grad.numpy(), 1e-10)


def test_hard_sigmoid_in_both_conventions():
    """PyTorch and Keras 3 have x/6 + 1/2, Keras 2 has 0.2 x + 1/2."""
    x = np.array([[-3, -2.5, -1, 0, 1, 2.5, 3]]).T.copy()
    y = [
        Network(Activation("hard_sigmoid", alpha=a), dtype="float64").forward(x)[0].ravel()
        for a in (None, 0.2)
    ]
    np.testing.assert_allclose(y[0], [0, 0.5 / 6, 2 / 6, 0.5, 4 / 6, 5.5 / 6, 1], atol=1e-15)
    np.testing.assert_allclose(y[1], [0, 0, 0.3, 0.5, 0.7, 1, 1], atol=1e-15)


@names
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_by_step_is_the_same_bits(name, dtype, level, rng):
    layers = Dense(3, 17, name), LSTM(17, 6), activation(name, 6), Dense(6, 4, name)
    check_stream(drawn(Network(*layers, dtype=dtype)), rng.standard_normal((9, 2, 3)).astype(dtype))


def test_short_calls_with_lengths_are_the_same_bits(rng):
    net = drawn(Network(Embedding(7, 4), Activation("sigmoid"), LSTM(4, 5), Dense(5, 3, "gelu"), LastStep()))
    ids = rng.integers(0, 7, (4, 3))
    with net.evaluating():
        want = net.forward(ids, None, LENGTHS, record=False)[0]
    assert net.infer(ids, LENGTHS).tobytes() == want.tobytes()


def test_a_first_activation_streams_once_its_features_are_known(rng):
    x = rng.standard_normal((5, 2, 3)).astype("f")
    check_stream(drawn(Network(Activation("tanh"), LSTM(3, 4))), x)
    check_stream(Network(Activation("tanh", features=3)), x)
    with pytest.raises(ValueError, match="pass Activation"):
        Network(Activation("tanh")).stream()
    with pytest.raises(ValueError, match="F=3"):
        Network(Activation("tanh"), LSTM(3, 4)).stream(2).run(x[:, :, :2].copy())


@names
def test_files_and_onnx(name, tmp_path, rng):
    layers = Dense(3, 5, name, alpha=0.4 if name in ALPHAS else None), activation(name, 5), Dense(5, 3)
    net = drawn(Network(*layers))
    check_file(net, rng.standard_normal((4, 3, 3)).astype("f"), tmp_path / "net.safetensors")
    pytest.importorskip("onnxruntime")
    export = pytest.importorskip("rnncore.interop.onnx").export
    assert export(net, tmp_path / "net.onnx").difference < 1e-6


def test_threads_change_no_bit(rng):
    from rnncore import get_num_threads, set_num_threads

    net = drawn(Network(Dense(8, 200, "gelu"), Activation("softmax")))
    x = rng.standard_normal((60, 50, 8)).astype("f")
    before, results = get_num_threads(), []
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            y, _, tape = net.forward(x)
            net.zero_grad()
            dx, _ = net.backward(y, tape)
            results.append((y.tobytes(), dx.tobytes(), net.grads.flat.tobytes()))
    finally:
        set_num_threads(before)
    assert results[0] == results[1]


def test_a_log_softmax_changes_no_cross_entropy(rng):
    """Its logits are normalized already."""
    plain, normalized = (
        Network(Dense(3, 4), dtype="float64"),
        Network(Dense(3, 4, "log_softmax"), dtype="float64"),
    )
    x, target = rng.standard_normal((5, 2, 3)), rng.integers(0, 4, (5, 2))
    gradients = []
    for net in (plain, normalized):
        y, _, tape = net.forward(x)
        value, dy = CrossEntropy()(y, target)
        net.backward(dy, tape)
        gradients.append([value, *net.grads.flat])
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Activation("rely"), ValueError, "activation is 'rely'; expected one of identity, sigmoid"),
        (lambda: Dense(2, 3, None), TypeError, "activation is None; expected one of identity"),
        (lambda: Dense(2, 3, "relu", alpha=0.1), ValueError, "alpha is 0.1, but relu has none"),
        (lambda: Activation("elu", alpha=math.inf), ValueError, "alpha is inf"),
        (lambda: Activation("prelu"), ValueError, "features is None, but a prelu has a slope for each"),
        (lambda: Network(Dense(2, 3), Activation("tanh", features=4)), ValueError, "takes 4 features"),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_tapes_of_other_layers_are_refused(rng):
    x = rng.standard_normal((4, 3, 2))
    plain, bent = Network(Dense(2, 3), dtype="float64"), Network(Dense(2, 3, "tanh"), dtype="float64")
    y, _, tape = plain.forward(x)
    with pytest.raises(ValueError, match=r"tape\[0\]"):
        bent.backward(y, tape)
    with pytest.raises(ValueError, match=r"tape\[0\]"):
        plain.backward(y, bent.forward(x)[2])


def test_what_pytorch_has_no_module_for_is_refused():
    with pytest.raises(ValueError, match="PReLU is a module"):
        state_dict(Network(Dense(2, 3, "prelu")))
    assert {*state_dict(Network(Dense(2, 3, "relu")))} == {"weight", "bias"}
