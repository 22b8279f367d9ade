"""Cells that the machine's C compiler has built have the interpreter's bits, and go on without a compiler."""

import copy
import pickle

import numpy as np
import pytest

import rnncore as rc
from rnncore import cells
from rnncore.cells import Cell, clip, exp, log, sigmoid, sin, softplus, sqrt, tanh, where
from rnncore.kernels.dispatch import level, levels, set_level


class Functions(Cell):
    """What the gallery has no use for."""

    def step(self, x, h):
        a = self.linear("a", x, h)
        b = where(a <= h, sin(a), clip(a, -0.5, 0.5)) + log(1.5 + sigmoid(a)) - sqrt(softplus(h))
        return tanh(self.linear("b", exp(-abs(b)), h) / (2 + b * b))


class Delayed(Cell):
    """With noise and a state of three steps back."""

    def step(self, x, h):
        return tanh(self.linear("a", x, h, self.delayed(h, 3)) + self.noise(0.1))


CASES = {
    "functions": (lambda: Functions(3, 21, zoneout=0.2), "float32"),
    "doubles": (lambda: Functions(3, 21), "float64"),
    "means": (lambda: cells.LayerNormGRU(3, 21, recurrent_dropout=0.3), "float32"),
    "sizes": (lambda: cells.ProjectedLSTM(3, 21, proj_size=5), "float64"),
    "delays": (lambda: Delayed(3, 21), "float32"),
    "segments": (lambda: cells.MGU(3, 20, checkpoint_every=2), "float32"),
}


def everything(cell, dtype="float32"):
    """All that a pass forward and back computes."""
    net = rc.Network(cell, seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5, 3)).astype(dtype)
    y, final, tape = net.forward(x, lengths=np.array([7, 2, 5, 1, 7]))
    dx, _ = net.backward(rng.standard_normal(y.shape).astype(dtype), tape)
    quiet = net.eval().forward(x)[0]
    stream = np.stack([part.copy() for part in map(net.stream(5).step, x)])
    finals = final[0] if isinstance(final[0], tuple) else final
    return [y, *finals, dx, net.grads.flat.copy(), quiet, stream]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_cell_gives_the_bits_of_the_interpreter(name):
    make, dtype = CASES[name]
    assert same(everything(make().compile(), dtype), everything(make(), dtype))


def test_a_level_or_type_chosen_later_is_compiled_for_when_it_is_used():
    best, cell = level(), cells.MGU(3, 9).compile()
    try:
        for name in levels():
            set_level(name)
            for dtype in ("float64", "float32"):
                assert same(everything(copy.copy(cell), dtype), everything(cells.MGU(3, 9), dtype))
    finally:
        set_level(best)


def test_copies_run_without_the_library():
    cell = cells.MGU(3, 9).compile()
    assert same(everything(pickle.loads(pickle.dumps(cell))), everything(cells.MGU(3, 9)))


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("no-such-compiler", r"compile\(\) cannot run the C compiler 'no-such-compiler'.*set CC to"),
        ("false", r"the C compiler 'false' failed with code 1.*runs without it"),
    ],
)
def test_without_a_compiler_the_cell_goes_on_as_before(compiler, message, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    cell = cells.UGRNN(3, 9)
    with pytest.raises(OSError, match=f"(?s){message}"):
        cell.compile()
    assert same(everything(cell), everything(cells.UGRNN(3, 9)))
