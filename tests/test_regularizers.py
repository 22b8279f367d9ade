"""Weight penalties: kernels against the reference, gradients against differences, and what they act on."""

import numpy as np
import pytest

from rnncore import LSTM, Dense, Network, SkipElman, kernels, reference
from rnncore.regularizers import L1, L2

both = pytest.mark.parametrize("penalty", [L1, L2])


def network(dtype="float64"):
    return Network(LSTM(3, 4), Dense(4, 2), seed=3, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["l1_penalty", "l2_penalty"])
def test_kernel_equals_reference(level, name, dtype):
    tolerance = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    for size in (0, *range(1, 36), 1000):
        params = np.random.default_rng(size).standard_normal(size).astype(dtype)
        params[::5] = 0
        ours, theirs = np.ones(size, dtype), np.ones(size, dtype)
        value = getattr(kernels, name)(params, ours, 0.3)
        assert value == pytest.approx(getattr(reference, name)(params, theirs, 0.3), rel=tolerance)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@both
def test_gradient_is_that_of_the_value(penalty):
    net, reg = network(), penalty(0.3, parameters=["*"])
    net.params.flat[...] += 0.05 * np.sign(net.params.flat)  # away from the kink of |w|
    net.params.flat[net.params.flat == 0] = 0.1
    net.zero_grad()
    reg(net.params, net.grads)
    gradient = net.grads.flat.copy()
    for i in range(0, gradient.size, 7):
        before = net.params.flat[i]
        net.params.flat[i] = before + 1e-4
        high = reg(net.params, net.grads)
        net.params.flat[i] = before - 1e-4
        low = reg(net.params, net.grads)
        net.params.flat[i] = before
        assert gradient[i] == pytest.approx((high - low) / 2e-4, rel=1e-7, abs=1e-9)


@both
def test_gradient_is_added(penalty):
    net, reg = network(), penalty(0.3)
    net.zero_grad()
    reg(net.params, net.grads)
    once = net.grads.flat.copy()
    reg(net.params, net.grads)
    np.testing.assert_allclose(net.grads.flat, 2 * once)


@both
@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (None, {"0.weight_ih", "0.weight_hh", "1.weight"}),
        (["*.weight_hh"], {"0.weight_hh"}),
        ("0.*", {"0.weight_ih", "0.weight_hh", "0.bias"}),
        (["1.bias", "*.weight_ih"], {"1.bias", "0.weight_ih"}),
    ],
)
def test_acts_on_the_chosen_parameters_alone(penalty, patterns, wanted):
    net, reg = network(), penalty(0.3, patterns)
    net.params.flat[...] = 1
    net.zero_grad()
    value = reg(net.params, net.grads)
    assert {name for name, grad in net.grads.items() if grad.any()} == wanted == set(reg.names(net.params))
    size = sum(net.params[name].size for name in wanted)
    assert value == pytest.approx(0.3 * size * (1 if penalty is L1 else 0.5))


@both
def test_the_weights_of_every_delay_are_matrices_too(penalty):
    net = Network(SkipElman(3, 4, (1, 2, 5)), Dense(4, 2))
    wanted = ["0.weight_ih", "0.weight_hh", "0.weight_skip", "1.weight"]
    assert penalty(0.3).names(net.params) == wanted


@both
def test_follows_when_another_network_comes(penalty):
    """The views of one network are kept between calls, but never used for another."""
    reg = penalty(0.3)
    first, second = network(), network("float32")
    reg(first.params, first.grads)
    second.zero_grad()
    reg(second.params, second.grads)
    assert second.grads.flat.any()


@both
def test_pattern_that_matches_nothing_is_an_error(penalty):
    net = network()
    net.zero_grad()
    with pytest.raises(ValueError, match=r"'\*\.weigth', which matches none of 0\.weight_ih"):
        penalty(0.1, ["0.weight_ih", "*.weigth"])(net.params, net.grads)
    assert not net.grads.flat.any()


@both
@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_strength_out_of_range_is_refused(penalty, strength):
    with pytest.raises(ValueError, match="strength is"):
        penalty(strength)


def test_l1_passes_nan_on():
    params, dparams = np.array([1.0, np.nan, -1.0]), np.zeros(3)
    assert np.isnan(kernels.l1_penalty(params, dparams, 0.5))
    np.testing.assert_array_equal(dparams, [0.5, np.nan, -0.5])
