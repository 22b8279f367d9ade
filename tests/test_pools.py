"""MaxOverTime, AttentionPool and Reverse: what they compute, their gradients and files."""

import numpy as np
import pytest
from laws import assert_close
from layer_laws import check_file, check_gradients, drawn

from rnncore import GRU, LSTM, AttentionPool, Dense, MaxOverTime, Network, Reverse

LENGTHS = np.array([4, 1, 3])
T, B, F = 4, 3, 2
CHAINS = {
    "max": lambda: (GRU(F, 3), MaxOverTime(), Dense(3, 2)),
    "attention": lambda: (GRU(F, 3), AttentionPool(3, 4), Dense(3, 2)),
    "attention-first": lambda: (AttentionPool(F),),
    "reverse": lambda: (Reverse(), LSTM(F, 3), Reverse(), Dense(3, 2)),
}
chains = pytest.mark.parametrize("name", CHAINS)


@chains
def test_gradients(name, backend, rng):
    net = drawn(Network(*CHAINS[name](), dtype="float64"), seed=1)
    check_gradients(net, rng.standard_normal((T, B, F)), LENGTHS)


@chains
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_in_a_batch_is_the_row_alone(name, dtype, level, rng):
    """The same bits, and padding that is NaN is not read."""
    net = drawn(Network(*CHAINS[name](), dtype=dtype))
    x = rng.standard_normal((T, B, F)).astype(dtype)
    x[np.arange(T)[:, None] >= LENGTHS] = np.nan
    y, _, tape = net.forward(x, None, LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = net.forward(x[:length, [row]].copy())[0]
        mine = y[[row]] if y.ndim == 2 else y[:length, [row]]
        np.testing.assert_array_equal(mine, alone)
    assert np.isfinite(net.backward(np.ones_like(y), tape)[0]).all()
    assert net.infer(x, LENGTHS).tobytes() == y.tobytes() or y.ndim == 3


def test_what_they_compute(rng):
    x = rng.standard_normal((T, B, F))
    net = drawn(Network(AttentionPool(F, 3), dtype="float64"))
    weight, bias = net.params["0.hidden.weight"], net.params["0.hidden.bias"]
    score = net.params["0.score.weight"]
    y = net.forward(x, None, LENGTHS)[0]
    largest = Network(MaxOverTime(), dtype="float64").forward(x, None, LENGTHS)[0]
    turned = Network(Reverse(), dtype="float64").forward(x, None, LENGTHS)[0]
    for row, length in enumerate(LENGTHS):
        own = x[:length, row]
        share = np.exp(np.tanh(own @ weight.T + bias) @ score[0])
        assert_close(y[row], share @ own / share.sum(), 1e-12)
        np.testing.assert_array_equal(largest[row], own.max(axis=0))
        np.testing.assert_array_equal(turned[:length, row], own[::-1])
        assert not turned[length:, row].any()


@chains
def test_files_and_what_is_refused(name, tmp_path, rng):
    net = drawn(Network(*CHAINS[name]()))
    check_file(net, rng.standard_normal((T, B, F)).astype("f"), tmp_path / "net.safetensors", LENGTHS)
    with pytest.raises(ValueError, match=r"layer \d, (MaxOverTime|AttentionPool|Reverse), "):
        net.stream()
    pytest.importorskip("onnxruntime")
    export = pytest.importorskip("rnncore.interop.onnx").export
    with pytest.raises(ValueError, match="cannot be expressed in ONNX"):
        export(net, tmp_path / "net.onnx")
