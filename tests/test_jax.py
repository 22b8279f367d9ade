"""rnncore.jax's functions are lax.scan's recurrence, in outputs and gradients, under jit, grad and vmap."""

import re
from pathlib import Path

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import rnncore.jax as ours  # noqa: E402
from rnncore import cells, layers  # noqa: E402

T, B, I, H = 6, 3, 4, 5


def scanned(params, x, state):
    """The LSTM's equations."""

    def step(carry, x_t):
        h, c = carry
        a = x_t @ params["weight_ih"].T + h @ params["weight_hh"].T + params["bias"]
        i, f, g, o = jnp.split(a, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    final, y = jax.lax.scan(step, state, x)
    return y, final


def loss(function):
    def value(*inputs):
        found = jax.tree.leaves(function(*inputs))
        return sum((part * jnp.cos(jnp.arange(part.size)).reshape(part.shape)).sum() for part in found)

    return value


def problem():
    keys = jax.random.split(jax.random.key(0), 4)
    params = ours.Recurrent(layers.LSTM(I, H)).init(keys[0])
    x = jax.random.normal(keys[1], (T, B, I))
    return params, x, (jax.random.normal(keys[2], (B, H)), jax.random.normal(keys[3], (B, H)))


def assert_close(found, expected):
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_outputs_and_gradients_are_those_of_scan():
    inputs = problem()
    assert_close(ours.lstm(*inputs), scanned(*inputs))
    gradients = [jax.jit(jax.grad(loss(function), (0, 1, 2)))(*inputs) for function in (ours.lstm, scanned)]
    assert_close(*gradients)


def test_vmap_maps():
    params, x, state = problem()
    many = jnp.stack([x, 2 * x])
    found = jax.vmap(ours.lstm, (None, 0, None))(params, many, state)
    assert_close(found, jax.vmap(scanned, (None, 0, None))(params, many, state))


@pytest.mark.parametrize(
    "layer", [cells.MGU(2, 3, learn_initial_state=True), layers.Bidirectional(layers.GRU(2, 3))], ids=repr
)
def test_gradients_of_any_layer(layer):
    function = ours.Recurrent(layer)
    params = function.init(jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (4, 2, 2))
    check_grads(lambda *a: function(*a), (params, x), order=1, modes=["rev"], eps=1e-2)


class Noisy(cells.Cell):
    def step(self, x, h):
        return cells.tanh(self.linear("h", x, h) + self.noise(0.1))


def test_what_does_not_fit_is_refused_by_name():
    params, x, _ = problem()
    with pytest.raises(ValueError, match=r"x has shape \(6, 3, 3\); expected \(T, B, 4\)"):
        ours.lstm(params, x[..., :3])
    with pytest.raises(TypeError, match="x is bfloat16"):
        ours.lstm(params, x.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match="layer has zoneout"):
        ours.Recurrent(layers.GRU(I, H, zoneout=0.1))
    for noisy in (Noisy(I, H), layers.LeakyElman(I, H, leak=0.5, noise=0.1)):
        with pytest.raises(ValueError, match="layer has noise"):
            ours.Recurrent(noisy)
    with pytest.raises(TypeError, match="layer is a Dense"):
        ours.Recurrent(layers.Dense(I, H))


def test_the_page_runs_as_printed():
    page = Path(__file__).resolve().parents[1] / "docs" / "jax.md"
    namespace = {"__name__": "__main__"}
    for source in re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        exec(source, namespace)
    assert namespace["grads"].keys() == namespace["params"].keys()
    assert namespace["y"].shape == (50, 8, 32)
