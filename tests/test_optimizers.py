"""Optimizers: kernels against the reference, against PyTorch, and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore import reference
from rnncore.optimizers import SGD, Adam, AdamW, RMSprop

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}

CASES = {
    "sgd": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: RMSprop(0.01, alpha=0.9, eps=1e-6),
    "rmsprop-momentum": lambda: RMSprop(0.01, momentum=0.5),
    "adam": lambda: Adam(0.01),
    "adam-betas": lambda: Adam(0.01, betas=(0.5, 0.9), eps=1e-4),
    "adamw": lambda: AdamW(0.01, weight_decay=0.1),
}
cases = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def numbers(size, dtype, seed):
    return np.random.default_rng(seed).standard_normal(size).astype(dtype)


def run(optimizer, size, dtype, steps=5):
    params = numbers(size, dtype, 0)
    for step in range(steps):
        optimizer.step(params, numbers(size, dtype, step + 1))
    return params


@cases
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_equals_reference(level, make, dtype):
    for size in [*range(1, 20), 33, 1000]:
        compiled, plain = make(), make()
        plain.backend = reference
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(
            run(compiled, size, dtype), run(plain, size, dtype), rtol=tolerance, atol=tolerance
        )
        for name in compiled.buffers:
            np.testing.assert_allclose(
                compiled.buffers[name], plain.buffers[name], rtol=tolerance, atol=tolerance
            )


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(make, dtype):
    torch = pytest.importorskip("torch")
    ours = make()
    config = ours.config()
    theirs_type = getattr(torch.optim, type(ours).__name__)
    dtype = np.dtype(dtype)
    params = numbers(101, dtype, 0)
    tensor = torch.tensor(params.copy(), requires_grad=True)
    theirs = theirs_type([tensor], **config)
    for step in range(20):
        grads = numbers(101, dtype, step + 1) if step != 7 else np.zeros(101, dtype)
        ours.step(params, grads)
        tensor.grad = torch.tensor(grads)
        theirs.step()
    tolerance = TOLERANCE[dtype.type]
    np.testing.assert_allclose(params, tensor.detach().numpy(), rtol=tolerance, atol=tolerance)


@cases
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_place_is_treated_alike(level, make, dtype):
    """A permutation of the parameters permutes the result, bit for bit: in vectors and in the tail."""
    size = 37
    order = np.random.default_rng(5).permutation(size)
    straight, shuffled = make(), make()
    params = numbers(size, dtype, 0)
    permuted = params[order]
    for step in range(3):
        grads = numbers(size, dtype, step + 1)
        straight.step(params, grads)
        shuffled.step(permuted, np.ascontiguousarray(grads[order]))
    np.testing.assert_array_equal(params[order], permuted)


@cases
@given(split=st.integers(0, 6))
def test_state_carries_a_run_over(make, split):
    """Stopped anywhere and gone on with in a new optimizer: the same numbers, bit for bit."""
    whole = run(make(), 23, np.float32, steps=6)
    first, second = make(), make()
    params = numbers(23, np.float32, 0)
    for step in range(6):
        if step == split:
            second.load_state(first.state())
        (first if step < split else second).step(params, numbers(23, np.float32, step + 1))
    np.testing.assert_array_equal(params, whole)


@cases
def test_zero_rate_changes_no_parameter(make):
    optimizer = make()
    optimizer.lr = 0.0
    np.testing.assert_array_equal(run(optimizer, 11, np.float64), numbers(11, np.float64, 0))


@cases
def test_quadratic_is_descended(make):
    """On f(p) = |p|²/2, whose gradient is p, every optimizer comes down."""
    optimizer, params = make(), numbers(10, np.float64, 3)
    before = float(params @ params)
    for _ in range(100):
        optimizer.step(params, params.copy())
    assert params @ params < before / 2


@cases
def test_gradients_are_only_read(make):
    optimizer, params, grads = make(), numbers(9, np.float32, 0), numbers(9, np.float32, 1)
    optimizer.step(params, grads)
    np.testing.assert_array_equal(grads, numbers(9, np.float32, 1))


@cases
def test_nan_is_not_hidden(make):
    optimizer, params, grads = make(), numbers(9, np.float32, 0), numbers(9, np.float32, 1)
    grads[4] = math.nan
    optimizer.step(params, grads)
    assert np.flatnonzero(np.isnan(params)).tolist() == [4]


@cases
def test_network_without_parameters_is_no_error(make):
    make().step(np.empty(0, np.float32), np.empty(0, np.float32))


@cases
def test_config_rebuilds(make):
    optimizer = make()
    again = type(optimizer)(**optimizer.config())
    np.testing.assert_array_equal(run(optimizer, 9, np.float64), run(again, 9, np.float64))


def test_another_length_or_type_is_refused_before_anything_changes():
    optimizer = Adam()
    optimizer.step(np.ones(3), np.ones(3))
    params = np.ones(3)
    for grads, error in [
        (np.ones(4), ValueError),
        (np.ones(3, np.float32), TypeError),
        (np.ones(6)[::2], ValueError),
        (np.ones((3, 1)), ValueError),
        ([1.0, 1.0, 1.0], TypeError),
    ]:
        with pytest.raises(error, match="grads"):
            optimizer.step(params, grads)
    with pytest.raises(ValueError, match="make a new one"):
        optimizer.step(np.ones(4), np.ones(4))
    assert optimizer.steps == 1
    np.testing.assert_array_equal(params, 1)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SGD(-1), "lr"),
        (lambda: SGD(math.nan), "lr"),
        (lambda: Adam(math.inf), "lr"),
        (lambda: SGD(0.1, momentum=1.0), "momentum"),
        (lambda: SGD(0.1, nesterov=True), "nesterov"),
        (lambda: RMSprop(alpha=1.5), "alpha"),
        (lambda: RMSprop(eps=0), "eps"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas\[1\]"),
        (lambda: Adam(betas=(0.9,)), "betas"),
        (lambda: AdamW(weight_decay=-0.1), "weight_decay"),
    ],
)
def test_settings_out_of_range_are_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        make()


def test_state_of_another_optimizer_is_refused():
    adam, rmsprop = Adam(), RMSprop()
    adam.step(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="RMSprop has lr, steps, square"):
        rmsprop.load_state(adam.state())
    assert rmsprop.steps == 0


@pytest.mark.parametrize(
    ("argument", "value"), [("betas", 0.9), ("betas", (0.9, "a")), ("lr", "a"), ("eps", None)]
)
def test_what_is_no_number_is_named(argument, value):
    with pytest.raises((TypeError, ValueError), match=f"{argument}.*wanted"):
        Adam(**{argument: value})
