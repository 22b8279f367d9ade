"""Jacobians and contributions of every cell are what PyTorch's autograd makes of the cell's equation."""

import numpy as np
import pytest

from rnncore import GRU, LSTM, Dense, Elman, Network, SquaredError
from rnncore.diagnostics import jacobian, weight_contributions
from rnncore.layers import LeakyElman

torch = pytest.importorskip("torch")

T, B, I, H = 6, 3, 2, 4
CELLS = {
    **{
        f"elman {name}": lambda name=name: Elman(I, H, name)
        for name in ("tanh", "sigmoid", "relu", "identity")
    },
    "leaky": lambda: LeakyElman(I, H, time_constants=(2, 10)),
    "learned leaks": lambda: LeakyElman(I, H, leak=0.3, learn_leak=True),
    "lstm": lambda: LSTM(I, H),
    "peepholes": lambda: LSTM(I, H, peepholes=True),
    "coupled": lambda: LSTM(I, H, coupled=True),
    "coupled peepholes": lambda: LSTM(I, H, coupled=True, peepholes=True),
    "other functions": lambda: LSTM(I, H, gate_activation="tanh", activation="sigmoid"),
    "gru": lambda: GRU(I, H),
    "reset before": lambda: GRU(I, H, reset_after=False),
}
FUNCTIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "identity": lambda a: a}


def elman(layer, p, x, weight_ih, weight_hh, state):
    (h,) = state
    new = FUNCTIONS[layer.activation](x @ weight_ih.T + h @ weight_hh.T + p["bias"])
    leak = torch.tensor(layer.leaks()) if isinstance(layer, LeakyElman) else 1.0
    return ((1 - leak) * h + leak * new,)


def lstm(layer, p, x, weight_ih, weight_hh, state):
    h, c = state
    gate, function = FUNCTIONS[layer.gate_activation], FUNCTIONS[layer.activation]
    peep = {name: p.get(f"weight_c{name}", 0.0) for name in "ifo"}
    parts = (x @ weight_ih.T + h @ weight_hh.T + p["bias"]).split(H, dim=1)
    i = gate(parts[0] + peep["i"] * c)
    f = 1 - i if layer.coupled else gate(parts[1] + peep["f"] * c)
    c = f * c + i * function(parts[-2])
    return gate(parts[-1] + peep["o"] * c) * function(c), c


def gru(layer, p, x, weight_ih, weight_hh, state):
    (h,) = state
    (xr, xz, xn), (wr, wz, wn) = (x @ weight_ih.T + p["bias"]).split(H, dim=1), weight_hh.split(H)
    r, z = torch.sigmoid(xr + h @ wr.T), torch.sigmoid(xz + h @ wz.T)
    inner = r * (h @ wn.T + p["bias_hn"]) if layer.reset_after else (r * h) @ wn.T
    return ((1 - z) * torch.tanh(xn + inner) + z * h,)


def problem(name, rng):
    net = Network(CELLS[name](), Dense(H, 3), seed=5, dtype="float64")
    net.params.flat[:] += 0.4 * rng.standard_normal(net.params.flat.size)
    layer = net.layers[0]
    own = {key[2:]: torch.tensor(net.params[key]) for key in net.params.names if key.startswith("0.")}
    equation = {LSTM: lstm, GRU: gru}.get(type(layer), elman)

    def step(x, state, weight_ih=own["weight_ih"], weight_hh=own["weight_hh"]):
        return equation(layer, own, torch.tensor(x), weight_ih, weight_hh, state)

    return net, own, step, rng.standard_normal((T, B, I))


@pytest.mark.parametrize("name", CELLS)
def test_the_jacobian_of_all_states_equals_autograd(name, rng):
    net, _, step, x = problem(name, rng)
    layer = net.layers[0]
    states = tuple(rng.standard_normal((B, H)) for _ in layer.state_names)
    _, _, tape = layer.forward(x, states if len(states) > 1 else states[0])
    for row in range(B):

        def later(joined, row=row):
            state = joined.reshape(-1, 1, H).unbind()
            for t in range(1, 5):
                state = step(x[t, row : row + 1], state)
            return torch.cat(state, dim=1)[0]

        before = torch.tensor(np.concatenate([array[1, row] for array in tape.states()]))
        want = torch.autograd.functional.jacobian(later, before).numpy()
        np.testing.assert_allclose(jacobian(layer, tape, 5, 1, state="all")[row], want, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(jacobian(layer, tape, 5, 1)[row], want[:H, :H], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_each_contribution_is_the_gradient_of_one_steps_copy_of_the_weights(name, rng):
    net, own, step, x = problem(name, rng)
    target = rng.standard_normal((T, B, 3))
    found = weight_contributions(net, x, target, SquaredError(), steps=range(T))[0]
    weight, bias = (torch.tensor(net.params[f"1.{key}"]) for key in ("weight", "bias"))
    for t in range(T):
        copies = [
            [own[key].clone().requires_grad_() for key in ("weight_ih", "weight_hh")] for _ in range(t + 1)
        ]
        state = tuple(torch.zeros(B, H, dtype=torch.float64) for _ in net.layers[0].state_names)
        for k in range(t + 1):
            state = step(x[k], state, *copies[k])
        error = state[0] @ weight.T + bias - torch.tensor(target[t])
        (0.5 * (error**2).sum() / (T * B)).backward()
        for place, key in enumerate(("weight_ih", "weight_hh")):
            want = [np.linalg.norm(copy[place].grad.numpy()) for copy in copies]
            np.testing.assert_allclose(found.matrix[key][t, : t + 1], want, rtol=1e-8, atol=1e-14)
            assert np.isnan(found.matrix[key][t, t + 1 :]).all()
