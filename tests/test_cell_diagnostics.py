"""The diagnostics look into cells that are written as their equations."""

import numpy as np
import pytest
from gallery import GALLERY_CASES, case_id

from rnncore import GRU, LSTM, CrossEntropy, Dense, Network, cells, diagnostics
from rnncore.cells import Cell, sigmoid, tanh


class OwnLSTM(Cell):
    def step(self, x, h, c):
        i = sigmoid(self.linear("i", x, h))
        f = sigmoid(self.linear("f", x, h))
        g = tanh(self.linear("g", x, h))
        o = sigmoid(self.linear("o", x, h))
        c = f * c + i * g
        return o * tanh(c), c


class OwnGRU(Cell):
    def step(self, x, h):
        r = sigmoid(self.linear("r", x, h))
        z = sigmoid(self.linear("z", x, h))
        n = tanh(self.linear("n", x) + r * self.linear("hn", h))
        return (1 - z) * n + z * h


def twins(builtin, own, rng):
    """A built-in layer and a user's of the same arithmetic and weights, in networks, with a batch."""
    nets = [Network(layer, Dense(6, 3), seed=2, dtype="float64").eval() for layer in (builtin, own)]
    for name in nets[1].params.names:
        nets[1].params[name] = nets[0].params[name]
    batch = rng.standard_normal((12, 4, 5)), rng.integers(0, 3, (12, 4)), np.array([12, 5, 9, 1])
    return nets, batch


PAIRS = [(LSTM, OwnLSTM), (GRU, OwnGRU)]


@pytest.mark.parametrize(("builtin", "own"), PAIRS, ids=["LSTM", "GRU"])
def test_they_say_the_same_of_equal_cells(builtin, own, rng):
    nets, (x, target, lengths) = twins(builtin(5, 6), own(5, 6), rng)
    loss = CrossEntropy()
    tapes = [net.forward(x, lengths=lengths)[2][0] for net in nets]
    matrices = [
        diagnostics.jacobian(net.layers[0], tape, 4, 1, rows=[0, 2], state=state)
        for net, tape in zip(nets, tapes, strict=True)
        for state in ("h", "all")
    ]
    np.testing.assert_allclose(matrices[0], matrices[2], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(matrices[1], matrices[3], rtol=1e-9, atol=1e-12)
    flows = [diagnostics.gradient_flow(net, x, target, loss, lengths) for net in nets]
    for one, other in zip(flows[0]["0"].norms.values(), flows[1]["0"].norms.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    growths = [diagnostics.lyapunov_exponents(net.layers[0], x[:, :1].copy()) for net in nets]
    np.testing.assert_allclose(growths[0].exponents, growths[1].exponents, rtol=1e-6)
    spectra = [
        diagnostics.jacobian_spectrum(net.layers[0], tape, 4, 1, rows=[0])
        for net, tape in zip(nets, tapes, strict=True)
    ]
    np.testing.assert_allclose(spectra[0].log_values, spectra[1].log_values, rtol=1e-7)
    healths = [diagnostics.cell_health(net, x, lengths)["0"] for net in nets]
    assert healths[1].gates == (("i", "f", "g", "o") if builtin is LSTM else ("r", "z", "n"))
    np.testing.assert_allclose(healths[0].saturated, healths[1].saturated)


@pytest.mark.parametrize("case", GALLERY_CASES, ids=case_id)
def test_the_gallery_is_diagnosed(case, rng):
    name, options, *_ = case
    layer = cells.GALLERY[name](3, 5, **options)
    net = Network(layer, Dense(layer.features()[1], 2), seed=1)
    batch = rng.standard_normal((12, 4, 3)).astype(np.float32), rng.integers(0, 2, (12, 4))
    report = diagnostics.diagnose(net, batch, CrossEntropy())
    assert name in str(report)
