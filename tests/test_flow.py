"""Gradient flow: equal to PyTorch's autograd, to finite differences, and to closed forms."""

import math
from functools import partial

import numpy as np
import pytest
from laws import assert_close, derivative, snapshot

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    CrossEntropy,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    MeanPool,
    Network,
    SquaredError,
)
from rnncore.diagnostics import gradient_flow
from rnncore.diagnostics.flow import fit_rate
from rnncore.initializers import orthogonal
from rnncore.layers.flow import Flow

T, B, I, H = 7, 3, 2, 4
CELLS = {"elman": Elman, "lstm": LSTM, "gru": GRU}
LENGTHS = {"full": None, "ragged": [3, 7, 5]}


def arrays(state):
    return state if isinstance(state, tuple) else (state,)


def packed(parts):
    return tuple(parts) if len(parts) > 1 else parts[0]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("cell", CELLS)
def test_recorded_gradients_are_those_of_the_state_that_goes_on(cell, lengths, rng):
    """dL/dh[t] by finite differences: the sequence is cut behind step t, and the state moved in the cut.

    A cell's state is moved there without the output of its own step, which ``dcells`` counts too: that part
    is the slope of h in c, taken from the tape.
    """
    net = Network(CELLS[cell](I, H), seed=3, dtype="float64")
    layer, lengths = net.layers[0], LENGTHS[lengths]
    own = np.array(lengths or [T] * B)
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    dy[np.arange(T)[:, None] >= own] = 0
    initial = packed([rng.standard_normal((B, H)) for _ in layer.state_names])
    layer.flow = Flow()
    _, _, tape = net.forward(x, (initial,), lengths)
    _, (dinitial,) = net.backward(dy, tape)
    gates = tape[0].gates if cell == "lstm" else None

    def moved_loss(cut, part, state, start, direction, s):
        """What the loss owes to h[cut] and all that comes after it, when a state is moved there."""
        state[part][...] = start + s * direction
        rows = np.flatnonzero(own > cut)
        goes_on = (packed([array[rows] for array in state]),)
        y, _, _ = net.forward(np.ascontiguousarray(x[cut:, rows]), goes_on, own[rows] - cut)
        value = float((y * dy[cut:, rows]).sum())
        if part == 0 and cut:  # h[cut] is an output too
            value += float((state[0] * dy[cut - 1])[rows].sum())
        return value

    for cut in range(T):
        on = own > cut  # rows that go on
        state = [states[cut].copy() for states in tape[0].states()]
        for part, (recorded, moved) in enumerate(zip(layer.flow.states, state, strict=True)):
            direction = rng.standard_normal(moved.shape) * on[:, None]
            start = moved.copy()

            want = derivative(partial(moved_loss, cut, part, state, start, direction))
            got = recorded[cut].copy()
            if part == 1 and cut:
                o, tanh_c = gates[cut - 1, :, 3 * H :], np.tanh(tape[0].cells[cut])
                got -= layer.flow.states[0][cut] * o * (1 - tanh_c**2)
            assert np.vdot(got, direction) == pytest.approx(want, rel=1e-8, abs=1e-10)
            moved[...] = start
    for recorded, first in zip(layer.flow.states, arrays(dinitial), strict=True):
        assert np.array_equal(recorded[0], first)


@pytest.mark.parametrize("cell", CELLS)
def test_flow_equals_autograd(cell, rng):
    torch = pytest.importorskip("torch")
    net = Network(CELLS[cell](I, H), Dense(H, 3), seed=5, dtype="float64")
    x, target = rng.standard_normal((T, B, I)), rng.integers(0, 3, (T, B))
    kind = {"elman": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[cell]
    twin = kind(I, H, dtype=torch.float64)
    weights = {name: torch.tensor(net.params[f"0.{name}"]) for name in ("weight_ih", "weight_hh", "bias")}
    hidden_bias = torch.zeros_like(weights["bias"])
    if cell == "gru":
        hidden_bias[2 * H :] = torch.tensor(net.params["0.bias_hn"])
    twin.load_state_dict(
        {"weight_ih": weights["weight_ih"], "weight_hh": weights["weight_hh"], "bias_ih": weights["bias"],
         "bias_hh": hidden_bias}
    )  # fmt: skip
    zeros = [torch.zeros(B, H, dtype=torch.float64, requires_grad=True) for _ in net.layers[0].state_names]
    state = packed(zeros)
    kept, loss = [arrays(state)], 0
    for t in range(T):
        state = twin(torch.tensor(x[t]), state)
        kept.append(arrays(state))
        for part in arrays(state):
            part.retain_grad()
        weight, bias = (torch.tensor(net.params[f"1.{name}"]) for name in ("weight", "bias"))
        logits = arrays(state)[0] @ weight.T + bias
        loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor(target[t])) / T
    loss.backward()
    flow = gradient_flow(net, x, target, CrossEntropy())
    assert flow.value == pytest.approx(loss.item(), rel=1e-12)
    for part, name in enumerate(net.layers[0].state_names):
        want = np.stack([np.linalg.norm(states[part].grad.numpy(), axis=1) for states in kept])
        assert_close(flow[0].norms[name], want, 1e-10, name)


@pytest.mark.parametrize("scale", [0.8, 0.9, 0.95, 1.05])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_orthogonal_weights_give_the_half_life_of_their_scale(scale, dtype, rng):
    """A linear network with s Q: each step back multiplies every norm by s."""
    net = Network(Elman(I, 20, "identity"), seed=1, dtype=dtype)
    orthogonal(net.params["0.weight_hh"], rng, scale)
    x = rng.standard_normal((200, B, I)).astype(dtype)
    y, _, _ = net.forward(x)
    flow = gradient_flow(net, x, np.zeros_like(y), SquaredError())[0]
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    assert flow.rate() == pytest.approx(math.log(scale), rel=tolerance)
    if scale < 1:
        assert flow.half_life() == pytest.approx(math.log(2) / -math.log(scale), rel=tolerance)
        assert flow.reach() == math.ceil(math.log(0.01) / math.log(scale))
        assert flow.doubling() == math.inf
    else:
        assert flow.doubling() == pytest.approx(math.log(2) / math.log(scale), rel=tolerance)
        assert flow.half_life() == flow.reach() == math.inf


@pytest.mark.parametrize("scale", [0.8, 0.9, 0.95])
def test_tanh_units_with_little_input_keep_the_half_life(scale, rng):
    net = Network(Elman(I, 20), seed=1, dtype="float64")
    orthogonal(net.params["0.weight_hh"], rng, scale)
    x = 1e-4 * rng.standard_normal((100, B, I))
    y, _, _ = net.forward(x)
    flow = gradient_flow(net, x, np.ones_like(y), SquaredError())[0]
    assert flow.half_life() == pytest.approx(math.log(2) / -math.log(scale), rel=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_a_segmented_tape_flows_alike(cell, rng):
    x, target = rng.standard_normal((23, B, I)), rng.standard_normal((23, B, H))
    flows = []
    for every in (None, 5):
        net = Network(CELLS[cell](I, 5, checkpoint_every=every), CELLS[cell](5, H), seed=2, dtype="float64")
        flows.append(gradient_flow(net, x, target, SquaredError(), [23, 4, 15]))
    for whole, cut in zip(*flows, strict=True):
        for state in whole.norms:
            np.testing.assert_allclose(cut.norms[state], whole.norms[state], rtol=1e-11)
            np.testing.assert_allclose(cut.lags[state], whole.lags[state], rtol=1e-11)


def test_a_look_leaves_the_network_as_it_was(rng):
    net = Network(Embedding(5, I), LSTM(I, H), Dropout(0.5), GRU(H, H), LastStep(), Dense(H, 2), seed=4)
    net.layers[1].clip_step = 1e-3
    net.grads.flat[:] = 7
    before = snapshot(net)
    flow = gradient_flow(net, rng.integers(0, 5, (T, B)), np.array([0, 1, 1]), CrossEntropy(), [7, 2, 4])
    assert snapshot(net) == before
    assert net.layers[1].flow is None
    assert net.layers[1].clip_step == 1e-3
    assert [layer.kind for layer in flow] == ["LSTM", "GRU"]
    assert np.isnan(flow[1].norms["h"][3:, 1]).all()
    assert np.isfinite(flow[1].norms["h"][:3, 1]).all()


def test_the_loss_at_one_step_reaches_no_later_state(rng):
    """And each row is counted from its own end."""
    net = Network(GRU(I, H), Dense(H, 2), seed=4, dtype="float64")
    x, target = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 2))
    lags = gradient_flow(net, x, target, SquaredError(), [7, 4, 5], step=-2)[0].lags["h"]
    assert np.isfinite(lags).sum(axis=0).tolist() == [6, 3, 4]
    alone = gradient_flow(net, x[:4, 1:2].copy(), target[:4, 1:2].copy(), SquaredError(), step=2)[0].lags["h"]
    assert_close(lags[:3, 1] * 16 / 4, alone[:, 0], 1e-12)


def test_a_mean_over_steps_is_followed_from_one_of_them(rng):
    net = Network(Elman(I, H, "identity"), MeanPool(), Dense(H, 2), seed=4, dtype="float64")
    orthogonal(net.params["0.weight_hh"], rng, 0.5)
    flow = gradient_flow(net, rng.standard_normal((30, B, I)), np.zeros((B, 2)), SquaredError())
    assert flow[0].half_life() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_each_direction_is_followed_from_where_it_ends(lengths, rng):
    """The reversed layer has read all when it comes to the first step."""
    net = Network(Bidirectional(Elman(I, H, "identity")), seed=4, dtype="float64")
    orthogonal(net.params["0.weight_hh"], rng, 0.9)
    orthogonal(net.params["0.weight_hh_reverse"], rng, 0.5)
    x = rng.standard_normal((T, B, I))
    flow = gradient_flow(net, x, rng.standard_normal((T, B, 2 * H)), SquaredError(), LENGTHS[lengths])
    assert [layer.name for layer in flow] == ["0.layer", "0.reverse"]
    assert flow["0.layer"].rate() == pytest.approx(math.log(0.9))
    assert flow["0.reverse"].rate() == pytest.approx(math.log(0.5))


def test_the_table_and_the_dictionary_name_every_layer(rng):
    import json

    net = Network(LSTM(I, H), GRU(H, 2), seed=4)
    x = rng.standard_normal((T, B, I)).astype(np.float32)
    flow = gradient_flow(net, x, np.zeros((T, B, 2), np.float32), SquaredError())
    text = json.dumps(flow.to_dict(), allow_nan=False)
    assert "half_life" in text
    assert all(name in str(flow) for name in ("0 LSTM", "1 GRU", "half-life", "reach"))
    assert len(flow) == 2


def test_a_fitted_line_withstands_a_burst():
    norms = 0.9 ** np.arange(100.0)[:, None] * [1, 1e3]
    norms[40:50] *= 1e6
    assert fit_rate(norms) == pytest.approx(math.log(0.9), rel=0.05)
    assert math.isnan(fit_rate(np.zeros((5, 2))))
    assert fit_rate(0.99 ** np.arange(5000.0)[:, None]) == pytest.approx(math.log(0.99), rel=1e-6)


def test_a_row_that_ends_early_leaves_no_jump():
    norms = 0.9 ** np.arange(30.0)[:, None] * [1, 1e6]
    norms[10:, 1] = np.nan
    assert fit_rate(norms) == pytest.approx(math.log(0.9))


def test_wrong_calls_are_refused(rng):
    loss, x = SquaredError(), rng.standard_normal((T, B, I))
    net = Network(GRU(I, H), dtype="float64")
    target = np.zeros((T, B, H))
    with pytest.raises(ValueError, match="no layer with a recurrent state"):
        gradient_flow(Network(Dense(I, 2), dtype="float64"), x, target, loss)
    with pytest.raises(TypeError, match="a Network is wanted"):
        gradient_flow(GRU(I, H), x, target, loss)
    with pytest.raises(ValueError, match="step is 7, but row 0 has 7 steps"):
        gradient_flow(net, x, target, loss, step=7)
    with pytest.raises(ValueError, match="step is -3, but row 1 has 2 steps"):
        gradient_flow(net, x, target, loss, [7, 2, 7], step=-3)
    with pytest.raises(ValueError, match="state is 'c', but this GRU has h"):
        gradient_flow(net, x, target, loss)[0].half_life("c")
    with pytest.raises(ValueError, match="x has shape"):
        gradient_flow(net, x[:, :, :1].copy(), target, loss)
    assert net.layers[0].flow is None
