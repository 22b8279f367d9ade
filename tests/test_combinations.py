"""Options together: whatever a cell is told, kernels compute what the reference does, and a file keeps it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import assert_close, leaves

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Elman,
    LeakyElman,
    Network,
    SkipElman,
    kernels,
    load,
    reference,
    save,
)
from rnncore.layers.flow import Flow
from rnncore.layers.recurrent import ACTIVATIONS

BOUNDED = st.sampled_from(["tanh", "sigmoid"])
ANY = st.sampled_from(ACTIVATIONS)
SHARE = st.sampled_from([0.0, 0.3])
FLAG = st.booleans()
INIT = {"recurrent_init": st.sampled_from([None, "orthogonal:0.7", "identity:0.9", "spectral:0.8"])}
KEPT = {"checkpoint_every": st.sampled_from([None, 1, 2, 5]), "recurrent_dropout": SHARE} | INIT
ONE = KEPT | {"zoneout": SHARE}
LEAKS = st.sampled_from(
    [{"leak": 0.3}, {"time_constants": (1, 30)}, {"time_constants": (2.0, 9.0), "leak_seed": 5}]
)
OPTIONS = {
    Elman: ONE | {"activation": ANY},
    LSTM: KEPT | {
        "zoneout": st.tuples(SHARE, SHARE), "peepholes": FLAG, "coupled": FLAG,
        "gate_activation": BOUNDED, "activation": BOUNDED,
    },
    GRU: ONE | {
        "chrono": st.sampled_from([None, 30.0]), "reset_after": FLAG,
        "gate_activation": BOUNDED, "activation": ANY,
    },
    LeakyElman: INIT | {
        "activation": ANY, "learn_leak": FLAG, "noise": SHARE, "excitatory": st.sampled_from([None, 0.6]),
        "recurrent_dropout": SHARE, "zoneout": SHARE,
    },
    SkipElman: INIT | {"activation": ANY, "delays": st.sampled_from([(1,), (1, 3), (2,), (2, 3)])},
    Clockwork: INIT | {"periods": st.sampled_from([(1,), (1, 2), (2, 3)])},
}  # fmt: skip


@st.composite
def layers(draw, cell):
    """A layer of 3 inputs and some units with options drawn for it, in one direction or both."""
    options = draw(st.fixed_dictionaries(OPTIONS[cell]))
    more = draw(LEAKS) if cell is LeakyElman else {}
    layer = cell(3, draw(st.sampled_from([2, 5, 17])), **options, **more)
    return Bidirectional(layer) if draw(st.sampled_from([False, False, True])) else layer


def run(net, backend, x, lengths, seed, clip_step):
    """All that a pass in training computes there and back, in one order."""
    rng = np.random.default_rng(seed)
    net.rng.bit_generator.state = rng.bit_generator.state
    layer = net.layers[0]
    cells = [layer.layer, layer.reverse] if isinstance(layer, Bidirectional) else [layer]
    for cell in cells:
        cell.backend, cell.clip_step, cell.flow = backend, clip_step, Flow(gates=True)
    y, final, tape = net.forward(x, None, lengths)
    net.zero_grad()
    dx, dinitial = net.backward(rng.standard_normal(y.shape), tape)
    flows = [array for cell in cells for array in (*cell.flow.states, cell.flow.dgates, cell.flow.drecurrent)]
    return [y, dx, net.grads.flat.copy(), *leaves(final), *leaves(dinitial), *flows]


@pytest.mark.parametrize("cell", OPTIONS, ids=lambda cell: cell.__name__)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_kernels_compute_what_the_reference_computes(cell, data):
    net = Network(data.draw(layers(cell)), seed=1, dtype="float64")
    net.params.flat[:] *= 0.5  # so that no state explodes
    steps, rows, seed = (data.draw(st.integers(low, high)) for low, high in ((3, 8), (1, 5), (0, 999)))
    lengths = data.draw(st.none() | st.lists(st.integers(1, steps), min_size=rows, max_size=rows))
    x = np.random.default_rng(seed).standard_normal((steps, rows, 3))
    clip_step = data.draw(st.sampled_from([math.inf, 0.3]))
    got, want = (run(net, backend, x, lengths, seed, clip_step) for backend in (kernels, reference))
    for ours, theirs in zip(got, want, strict=True):
        assert_close(ours, theirs, 1e-11)


@pytest.mark.parametrize("cell", OPTIONS, ids=lambda cell: cell.__name__)
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_a_file_keeps_it(tmp_path_factory, cell, data):
    net = Network(data.draw(layers(cell)), seed=1)
    save(net, path := tmp_path_factory.mktemp("kept") / "net.safetensors")
    again = load(path)
    assert again.config() == net.config()
    x = np.random.default_rng(2).standard_normal((6, 3, 3)).astype(np.float32) / 4
    np.testing.assert_array_equal(again.eval().forward(x)[0], net.eval().forward(x)[0])
