"""Forward passes and gradients agree with PyTorch's RNN, LSTM and GRU, weights carried over by name."""

import numpy as np
import pytest
from laws import assert_close, leaves

from rnncore.layers import GRU, LSTM, Bidirectional, Elman
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


def names(depth, directions):
    """Our prefix and suffix, and PyTorch's suffix, of each layer and direction in PyTorch's order."""
    for k in range(depth):
        for suffix in ("", "_reverse")[:directions]:
            yield f"{k}.", suffix, f"l{k}{suffix}"


def twins(cell, depth, directions=1, seed=11):
    """The same network twice: ours with the weights of PyTorch's, whose two biases add up to our one."""
    make, peer_type, options = CELLS[cell]
    torch.manual_seed(seed)
    peer = peer_type(I, H, num_layers=depth, bidirectional=directions == 2, dtype=torch.float64, **options)
    layers = [make(I if k == 0 else directions * H, H) for k in range(depth)]
    net = Network(*(Bidirectional(layer) if directions == 2 else layer for layer in layers), dtype="float64")
    for prefix, suffix, theirs in names(depth, directions):
        weights = {n: getattr(peer, f"{n}_{theirs}").detach().numpy() for n in PEER_NAMES}
        bias = weights["bias_ih"] + weights["bias_hh"]
        if cell == "gru":  # the candidate's recurrent bias stays inside the reset product
            bias[2 * H :] = weights["bias_ih"][2 * H :]
            net.params[f"{prefix}bias_hn{suffix}"] = weights["bias_hh"][2 * H :]
        net.params[f"{prefix}bias{suffix}"] = bias
        for name in ("weight_ih", "weight_hh"):
            net.params[f"{prefix}{name}{suffix}"] = weights[name]
    return net, peer


PEER_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def peer_gradients(cell, peer, depth, directions):
    """PyTorch's gradients under our names. Each of its two biases has the gradient of their sum."""
    gradients = {}
    for prefix, suffix, theirs in names(depth, directions):
        found = {n: getattr(peer, f"{n}_{theirs}").grad.numpy() for n in PEER_NAMES}
        gradients |= {f"{prefix}{n}{suffix}": found[n] for n in ("weight_ih", "weight_hh")}
        gradients[f"{prefix}bias{suffix}"] = found["bias_ih"]
        if cell == "gru":
            gradients[f"{prefix}bias_hn{suffix}"] = found["bias_hh"][2 * H :]
    return gradients


def leaf(array):
    return torch.tensor(array, requires_grad=True)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "packed"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_forward_and_gradients_are_those_of_torch(cell, directions, depth, lengths, rng):
    net, peer = twins(cell, depth, directions)
    parts, runs = 2 if cell == "lstm" else 1, depth * directions
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, directions * H))
    initial, dfinal = rng.standard_normal((2, parts, runs, B, H))
    if lengths:
        dy[np.arange(T)[:, None] >= np.array(lengths)] = 0

    def ours(arrays):
        """(parts, runs, B, H) as the tuple of the layers' states."""
        states = [tuple(arrays[:, k]) if cell == "lstm" else arrays[0, k] for k in range(runs)]
        return tuple(states) if directions == 1 else tuple(zip(states[::2], states[1::2], strict=True))

    def theirs(state):
        """A tuple of the layers' states as (parts, runs, B, H)."""
        return np.stack(leaves(state)).reshape(runs, parts, B, H).swapaxes(0, 1)

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
    wanted = peer_gradients(cell, peer, depth, directions)
    assert wanted.keys() == net.grads.keys()
    for name, gradient in wanted.items():
        assert_close(net.grads[name], gradient, TOLERANCE, f"d{name}")
