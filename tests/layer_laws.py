"""The laws of a layer without a cell's table: its gradient, its stream, its file, its way through ONNX."""

import numpy as np
from laws import assert_gradient, derivative

from rnncore import load, save


def drawn(net, seed=0, scale=0.5):
    """The network with all parameters drawn, biases too."""
    net.params.flat[:] = np.random.default_rng(seed).normal(0, scale, net.params.flat.size)
    return net


def valid_entries(y, lengths):
    """True where y (T, B, ...) is not padding; everywhere in (B, ...)."""
    if lengths is None or y.ndim == 2:
        return np.ones(y.shape, bool)
    kept = lengths if lengths.ndim == 2 else np.arange(len(y))[:, None] < lengths
    return np.broadcast_to(kept[:, :, None], y.shape)


def check_gradients(net, x, lengths=None, seed=0):
    """Every entry of every gradient agrees with finite differences; the padding of dy counts for nothing."""
    rng = np.random.default_rng(seed)
    y, _, tape = net.forward(x, None, lengths)
    dy = rng.standard_normal(y.shape)
    valid = valid_entries(y, lengths)

    def value():
        return (net.forward(x, None, lengths, record=False)[0] * dy)[valid].sum()

    net.zero_grad()
    dx, _ = net.backward(dy, tape)
    pairs = [(name, net.params[name], net.grads[name]) for name in net.params]
    if dx is not None:
        pairs.append(("x", x, dx))
    assert pairs
    for name, array, gradient in pairs:
        wanted = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            before = array[place]

            def moved(s, array=array, place=place, before=before):
                array[place] = before + s
                return value()

            wanted[place] = derivative(moved)
            array[place] = before
        assert_gradient(gradient, wanted, np.abs(wanted).max(initial=1.0), name)
    net.zero_grad()
    assert net.backward(dy, tape, input_gradient=False)[0] is None


def check_stream(net, x):
    """The stream, in pieces, and `infer` give the bits of the whole sequence."""
    with net.evaluating():
        y = net.forward(x, record=False)[0]
    stream = net.stream(batch=x.shape[1])
    cut = len(x) // 2
    pieces = [stream.run(x[:cut]), *(stream.step(row)[None] for row in x[cut:])]
    assert np.concatenate(pieces).tobytes() == y.tobytes()
    assert net.infer(x).tobytes() == y.tobytes()


def check_file(net, x, path, lengths=None):
    """What is loaded is the same network: layers, parameters, results."""
    save(net, path)
    again = load(path)
    assert again.config() == net.config()
    assert repr(again) == repr(net)
    with net.evaluating(), again.evaluating():
        got, want = (each.forward(x, None, lengths, record=False)[0] for each in (again, net))
    assert got.tobytes() == want.tobytes()
