"""An LSTM and a GRU that a user writes are the built-in ones: whatever the options, to rounding."""

import copy
import pickle

import numpy as np
import pytest
from test_cell_diagnostics import OwnGRU, OwnLSTM

import rnncore
from rnncore import GRU, LSTM, Adam, CrossEntropy, Dense, Network, Trainer
from rnncore.cells import MGU, Cell, CellError, tanh

T, B, I, H = 11, 5, 3, 18
LENGTHS = np.array([11, 4, 7, 1, 11])
OPTIONS = {
    "plain": {},
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.3},
    "both": {"recurrent_dropout": 0.2, "zoneout": 0.1},
    "segments": {"checkpoint_every": 4},
    "segments and masks": {"checkpoint_every": 3, "recurrent_dropout": 0.2, "zoneout": 0.1},
}


def pair(builtin, own, options):
    nets = [Network(kind(I, H, **options), seed=3, dtype="float64") for kind in (builtin, own)]
    for name in nets[1].params.names:
        nets[1].params[name] = nets[0].params[name]
    for net in nets:
        net.rng.bit_generator.state = np.random.default_rng(7).bit_generator.state
    return nets


def everything(net, rng, clip):
    """All that a forward and a backward pass return."""
    layer = net.layers[0]
    layer.clip_step = clip
    x = rng.standard_normal((T, B, I))
    count = len(layer.state_names)
    state = tuple(0.5 * rng.standard_normal((B, H)) for _ in range(count))
    dstate = tuple(rng.standard_normal((B, H)) for _ in range(count))
    dy = rng.standard_normal((T, B, H)) * (np.arange(T)[:, None, None] < LENGTHS[:, None])
    y, final, tape = layer.forward(x, state if count > 1 else state[0], LENGTHS)
    net.grads.flat[:] = 0
    dx, dinitial = layer.backward(dy, tape, dstate if count > 1 else dstate[0])
    parts = [*(final if count > 1 else (final,)), *(dinitial if count > 1 else (dinitial,))]
    return [y, dx, *parts, *net.grads.values(), np.array([layer.clipped_steps, layer.clipped_factors])]


@pytest.mark.parametrize(("builtin", "own"), [(LSTM, OwnLSTM), (GRU, OwnGRU)], ids=["LSTM", "GRU"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("clip", [np.inf, 0.5], ids=["", "clipped"])
def test_a_cell_of_ones_own_is_the_built_in_one(builtin, own, options, clip, level):
    found = [everything(net, np.random.default_rng(5), clip) for net in pair(builtin, own, options)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_it_trains_is_copied_and_pickled(rng):
    net = Network(MGU(I, H, learn_initial_state=True), Dense(H, 2), seed=1)
    x = rng.standard_normal((T, 32, I)).astype(np.float32)
    target = (np.cumsum(x[:, :, 0], axis=0) > 0).astype(int)
    before = CrossEntropy()(net.forward(x)[0], target)[0]
    Trainer(net, CrossEntropy(), Adam(1e-2), progress="off").fit([(x, target)], steps=60)
    net.eval()
    y = net.forward(x)[0]
    assert CrossEntropy()(y, target)[0] < 0.7 * before
    assert net.params["0.initial_h"].any()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.forward(x)[0], y)


def test_learned_initial_states_get_their_gradient(rng):
    net = Network(OwnLSTM(I, 4, learn_initial_state=True), seed=1, dtype="float64")
    layer = net.layers[0]
    net.params.flat += 0.3 * rng.standard_normal(net.params.flat.size)
    x, dy = rng.standard_normal((5, 3, I)), rng.standard_normal((5, 3, 4))
    tape = layer.forward(x)[2]
    layer.backward(dy, tape)
    for name in ("0.initial_h", "0.initial_c"):
        for unit in range(4):
            values = []
            for step in (1e-6, -1e-6):
                net.params[name][unit] += step
                values.append(np.vdot(layer.forward(x)[0], dy))
                net.params[name][unit] -= step
            assert net.grads[name][unit] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)
    given = np.zeros((3, 4))
    net.grads.flat[:] = 0
    layer.backward(dy, layer.forward(x, (given, given))[2])
    assert not net.grads["0.initial_h"].any()


def test_a_cell_says_its_equation_its_gradients_and_its_cost():
    cell = MGU(3, 4)
    assert str(cell).splitlines() == [
        "MGU(input_size=3, hidden_size=4)",
        "    a_f = W_f0 x[t] + W_f1 h[t-1] + b_f",
        "    f = sigmoid(a_f)",
        "    a_n = W_n0 x[t] + W_n1 (f * h[t-1]) + b_n",
        "    n = tanh(a_n)",
        "    h[t] = (1 - f) * h[t-1] + f * n",
    ]
    assert "da_n = dn * (1 - n**2)" in cell.gradient()
    assert cell.cost().flops == 2 * (8 * 3 + 8 * 4)
    assert f"{cell}" == repr(cell) == "MGU(input_size=3, hidden_size=4)"


class Noisy(Cell):
    def step(self, x, h):
        return tanh(self.linear("a", x)) + self.noise(0.5)


def test_noise_is_drawn_in_training_alone_and_options_that_act_on_nothing_are_refused(rng):
    net = Network(Noisy(I, H), seed=1)
    x = rng.standard_normal((200, 4, I)).astype(np.float32)
    drawn = net.forward(x)[0] - net.eval().forward(x)[0]
    assert abs(drawn.std() - 0.5) < 0.02
    with pytest.raises(ValueError, match=r"recurrent_dropout is 0.2.*no matrix of Noisy"):
        Network(Noisy(I, H, recurrent_dropout=0.2))
    with pytest.raises(ValueError, match=r"checkpoint_every is 3.*noise"):
        Network(Noisy(I, H, checkpoint_every=3))


def test_linear_outside_of_step_is_refused():
    cell = MGU(3, 4)
    cell.trace()
    with pytest.raises(RuntimeError, match="belong into step"):
        cell.linear("z", None)
    with pytest.raises(CellError, match="no equation"):
        rnncore.cells.Cell(3, 4)
