"""Forward passes and gradients agree with PyTorch's RNN, LSTM and GRU, weights carried over by name."""

import numpy as np
import pytest
from laws import assert_close

from rnncore.layers import GRU, LSTM, Elman
from rnncore.network import Network

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # what is this small, threads only slow down

pytestmark = pytest.mark.usefixtures("backend")

T, B, I, H = 7, 5, 4, 6
LENGTHS = (3, 7, 1, 5, 7)  # unsorted
TOLERANCE = 1e-10

CELLS = {
    "tanh": (lambda i, h: Elman(i, h, "tanh"), torch.nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (lambda i, h: Elman(i, h, "relu"), torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, torch.nn.LSTM, {}),
    "gru": (GRU, torch.nn.GRU, {}),
}


def twins(cell, depth, seed=11):
    """The same network twice: ours with the weights of PyTorch's, whose two biases add up to our one."""
    layer, peer_type, options = CELLS[cell]
    torch.manual_seed(seed)
    peer = peer_type(I, H, num_layers=depth, dtype=torch.float64, **options)
    net = Network(*(layer(I if k == 0 else H, H) for k in range(depth)), dtype="float64")
    for k in range(depth):
        theirs = {n: getattr(peer, f"{n}_l{k}").detach().numpy() for n in PEER_NAMES}
        net.params[f"{k}.weight_ih"] = theirs["weight_ih"]
        net.params[f"{k}.weight_hh"] = theirs["weight_hh"]
        bias = theirs["bias_ih"] + theirs["bias_hh"]
        if cell == "gru":  # the candidate's recurrent bias stays inside the reset product
            bias[2 * H :] = theirs["bias_ih"][2 * H :]
            net.params[f"{k}.bias_hn"] = theirs["bias_hh"][2 * H :]
        net.params[f"{k}.bias"] = bias
    return net, peer


PEER_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def peer_gradients(cell, peer, depth):
    """PyTorch's gradients under our names. Each of its two biases has the gradient of their sum."""
    gradients = {}
    for k in range(depth):
        theirs = {n: getattr(peer, f"{n}_l{k}").grad.numpy() for n in PEER_NAMES}
        gradients |= {f"{k}.weight_ih": theirs["weight_ih"], f"{k}.weight_hh": theirs["weight_hh"]}
        gradients[f"{k}.bias"] = theirs["bias_ih"]
        if cell == "gru":
            gradients[f"{k}.bias_hn"] = theirs["bias_hh"][2 * H :]
    return gradients


def leaf(array):
    return torch.tensor(array, requires_grad=True)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "packed"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_forward_and_gradients_are_those_of_torch(cell, depth, lengths, rng):
    net, peer = twins(cell, depth)
    parts = 2 if cell == "lstm" else 1
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    initial, dfinal = rng.standard_normal((2, parts, depth, B, H))
    if lengths:
        dy[np.arange(T)[:, None] >= np.array(lengths)] = 0

    def ours(arrays):
        """(parts, layers, B, H) as the tuple of the layers' states."""
        return tuple(tuple(arrays[:, k]) if cell == "lstm" else arrays[0, k] for k in range(depth))

    def theirs(state):
        """A tuple of the layers' states as (parts, layers, B, H)."""
        return np.stack([np.stack(part if cell == "lstm" else (part,)) for part in state], axis=1)

    y, final, tape = net.forward(x, ours(initial), lengths)
    dx, dinitial = net.backward(dy, tape, ours(dfinal))

    peer_x, peer_initial = leaf(x), [leaf(part) for part in initial]
    entered = peer_x
    if lengths:
        entered = torch.nn.utils.rnn.pack_padded_sequence(peer_x, list(lengths), enforce_sorted=False)
    peer_y, peer_final = peer(entered, tuple(peer_initial) if cell == "lstm" else peer_initial[0])
    if lengths:
        peer_y, _ = torch.nn.utils.rnn.pad_packed_sequence(peer_y, total_length=T)
    peer_final = peer_final if cell == "lstm" else (peer_final,)
    outputs = (peer_y, *peer_final)
    torch.autograd.backward(outputs, [torch.tensor(array) for array in (dy, *dfinal)])

    assert_close(y, peer_y.detach().numpy(), TOLERANCE, "y")
    assert_close(theirs(final), np.stack([part.detach().numpy() for part in peer_final]), TOLERANCE, "state")
    assert_close(dx, peer_x.grad.numpy(), TOLERANCE, "dx")
    assert_close(
        theirs(dinitial), np.stack([part.grad.numpy() for part in peer_initial]), TOLERANCE, "dstate"
    )
    wanted = peer_gradients(cell, peer, depth)
    assert wanted.keys() == net.grads.keys()
    for name, gradient in wanted.items():
        assert_close(net.grads[name], gradient, TOLERANCE, f"d{name}")
