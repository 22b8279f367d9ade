"""Laws that all layers keep: lengths, padding, segments, clipping on the way back."""

import itertools
import math

import numpy as np
import pytest
from cells import ACTIVATIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import assert_close
from laws import leaves as parts
from laws import like as states_like

from rnncore.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    MeanPool,
)
from rnncore.network import Network

pytestmark = pytest.mark.usefixtures("backend")

LENGTHS = (3, 6, 1, 4)
T, B, I, H = 6, 4, 3, 5


OTHERS = {"gate_activation": "tanh", "activation": "sigmoid"}
# By name, a recurrent layer of so many inputs and units. `SkipElman` keeps several states: test_skips.py.
CELLS = {
    **{f"elman-{a}": lambda i, h, a=a: Elman(i, h, a) for a in ACTIVATIONS},
    "leaky": lambda i, h: LeakyElman(i, h, "relu", leak=0.3),
    "leaky, learned": lambda i, h: LeakyElman(i, h, time_constants=(1, T), learn_leak=True),
    "lstm": LSTM,
    "lstm, peepholes": lambda i, h: LSTM(i, h, peepholes=True),
    "lstm, coupled": lambda i, h: LSTM(i, h, coupled=True, peepholes=True),
    "lstm, others": lambda i, h: LSTM(i, h, **OTHERS),
    "gru": GRU,
    "gru, before": lambda i, h: GRU(i, h, reset_after=False),
    "gru, others": lambda i, h: GRU(i, h, **OTHERS),
    "clockwork": lambda i, h: Clockwork(i, h, (1, 2, 3)),
}
# Those that carry all they know in their state: a clockwork layer counts its steps as well.
STATEFUL = [cell for cell in CELLS if cell != "clockwork"]


def recurrent(cell, inputs=I, units=H):
    return CELLS[cell](inputs, units)


def both_ways(cell):
    """Three layers that read in both directions, their halves side by side, added, and side by side."""
    return [
        Bidirectional(recurrent(cell)),
        Bidirectional(recurrent(cell, 2 * H, 4), merge="sum"),
        Bidirectional(recurrent(cell, 4, 2)),
    ]


# Every layer, and chains of them; each makes from (T, B, I) or ids something with a gradient.
CHAINS = {
    **{cell: lambda cell=cell: [recurrent(cell)] for cell in CELLS},
    **{f"both ways {cell}": lambda cell=cell: both_ways(cell) for cell in ("elman-tanh", "lstm", "gru")},
    "embedding": lambda: [Embedding(7, I)],
    "dense": lambda: [Dense(I, 2)],
    "last step": lambda: [LastStep()],
    "both ends": lambda: [Bidirectional(GRU(I, H)), LastStep(bidirectional=True)],
    "mean": lambda: [MeanPool()],
    "dropout off": lambda: [Dropout(0.0), Dense(I, 2)],
    "dropout off, recurrent": lambda: [Dropout(0.0), GRU(I, H), Dropout(0.0), LSTM(H, 2), MeanPool()],
    "deep": lambda: [Embedding(7, I), LSTM(I, H), Dense(H, H), GRU(H, 4), MeanPool(), Dense(4, 2)],
    "three": lambda: [Elman(I, H), GRU(H, 4), LSTM(4, 2), LastStep()],
    "tagger": lambda: [Embedding(7, I), Bidirectional(GRU(I, H)), Dropout(0.0), LSTM(2 * H, 4), Dense(4, 2)],
}
# Those that can be run in segments of the sequence.
CAUSAL = [
    chain
    for chain, make in CHAINS.items()
    if chain != "clockwork" and not any(layer.looks_ahead or layer.pools for layer in make())
]


def network(chain, seed=5):
    """The chain in float64, its parameters moved away from their regular start."""
    net = Network(*CHAINS[chain](), seed=seed, dtype="float64")
    net.params.flat[:] += np.random.default_rng(seed).uniform(-0.3, 0.3, net.params.flat.size)
    return net


def draw_input(net, rng, steps=T, rows=B):
    if net.layers[0].takes_ids:
        return rng.integers(0, net.layers[0].num_embeddings, (steps, rows))
    return rng.standard_normal((steps, rows, I))


def draw_state(net, x, rng):
    """Non-zero initial states, in the form in which the network returns them."""
    return states_like(net.forward(x)[1], lambda a: rng.standard_normal(a.shape))


def padding(lengths, steps=T):
    return np.arange(steps)[:, None] >= np.array(lengths)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_padded_row_is_the_row_alone(chain, rng):
    """Outputs, final states and all gradients of a ragged batch are those of its rows, run one by one."""
    net = network(chain)
    x = draw_input(net, rng)
    state = draw_state(net, x, rng)
    y, final, tape = net.forward(x, state, LENGTHS)
    dy = rng.standard_normal(y.shape)
    dfinal = states_like(final, lambda a: rng.standard_normal(a.shape))
    net.zero_grad()
    dx, dinitial = net.backward(dy, tape, dfinal)
    gradients = net.grads.flat.copy()

    net.zero_grad()
    for row, length in enumerate(LENGTHS):
        cut = slice(row, row + 1)
        alone = states_like(state, lambda a, cut=cut: a[cut].copy())
        y_row, final_row, tape_row = net.forward(x[:length, cut].copy(), alone)
        dy_row = dy[:length, cut] if y.ndim == 3 else dy[cut]
        dfinal_row = states_like(dfinal, lambda a, cut=cut: a[cut].copy())
        dx_row, dinitial_row = net.backward(np.ascontiguousarray(dy_row), tape_row, dfinal_row)
        assert_close(y[:length, cut] if y.ndim == 3 else y[cut], y_row, 1e-12, "y")
        for whole, single in ((final, final_row), (dinitial, dinitial_row)):
            for layer, layer_row in zip(whole, single, strict=True):
                for array, array_row in zip(parts(layer), parts(layer_row), strict=True):
                    assert_close(array[cut], array_row, 1e-12, "state")
        if dx is not None:
            assert_close(dx[:length, cut], dx_row, 1e-12, "dx")
            assert not dx[length:, cut].any()
    if gradients.size:
        assert_close(net.grads.flat, gradients, 1e-12, "gradients")


@pytest.mark.parametrize("chain", CHAINS)
def test_padding_never_reaches_a_result(chain, rng):
    """Not even NaN, nor an id out of range: the results are, bit for bit, those of padding with zeros."""
    net = network(chain)
    x = draw_input(net, rng)
    state = draw_state(net, x, rng)
    beyond = padding(LENGTHS)
    results = []
    for bad_x, bad_dy in ((0, 0.0), (-99 if x.dtype.kind == "i" else np.nan, np.nan), (99, np.inf)):
        x[beyond] = bad_x
        y, final, tape = net.forward(x, state, LENGTHS)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        if y.ndim == 3:
            dy[beyond] = bad_dy
        net.zero_grad()
        dx, dinitial = net.backward(dy, tape, final)
        arrays = [array for states in (final, dinitial) for part in states for array in parts(part)]
        y = y[~beyond] if y.ndim == 3 else y
        results.append([y, net.grads.flat.copy(), *arrays] + ([] if dx is None else [dx]))
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            assert np.isfinite(want).all()
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("chain", CAUSAL)
@given(data=st.data())
@settings(max_examples=8)
def test_segments_with_carried_state_are_the_whole(chain, data):
    """Truncation alone truncates: with state and gradient carried over the borders, nothing is lost."""
    steps = data.draw(st.integers(2, 7), label="T")
    borders = [
        0,
        *data.draw(st.lists(st.integers(1, steps - 1), unique=True).map(sorted), label="borders"),
        steps,
    ]
    rng = np.random.default_rng(data.draw(st.integers(0, 99), label="seed"))
    net = network(chain)
    x = draw_input(net, rng, steps)
    state = draw_state(net, x, rng)
    y, final, tape = net.forward(x, state)
    dy = rng.standard_normal(y.shape)
    dfinal = states_like(final, lambda a: rng.standard_normal(a.shape))
    net.zero_grad()
    dx, dinitial = net.backward(dy, tape, dfinal)
    gradients = net.grads.flat.copy()

    segments, carried = [], state
    for start, stop in itertools.pairwise(borders):
        y_segment, carried, tape = net.forward(np.ascontiguousarray(x[start:stop]), carried)
        assert_close(y_segment, y[start:stop], 1e-12, "y")
        segments.append((start, stop, tape))
    net.zero_grad()
    dcarried = dfinal
    for start, stop, tape in reversed(segments):
        dx_segment, dcarried = net.backward(np.ascontiguousarray(dy[start:stop]), tape, dcarried)
        if dx is not None:
            assert_close(dx_segment, dx[start:stop], 1e-12, "dx")
    for whole, parted in ((final, carried), (dinitial, dcarried)):
        for want, got in zip(whole, parted, strict=True):
            for a, b in zip(parts(want), parts(got), strict=True):
                assert_close(b, a, 1e-12, "state")
    assert_close(net.grads.flat, gradients, 1e-12, "gradients")


@pytest.mark.parametrize("chain", CHAINS)
def test_backward_adds(chain, rng):
    """Two passes leave the sum of their gradients; that is how minibatches accumulate."""
    net = network(chain)
    x = draw_input(net, rng)
    y, _, tape = net.forward(x)
    dy = rng.standard_normal(y.shape)
    net.backward(dy, tape)
    once = net.grads.flat.copy()
    net.backward(dy, tape)
    assert once.any() or not once.size
    np.testing.assert_allclose(net.grads.flat, 2 * once, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("chain", CHAINS)
def test_without_an_input_gradient_all_others_are_the_same(chain, rng):
    net = network(chain)
    x = draw_input(net, rng)
    y, final, tape = net.forward(x, None, LENGTHS)
    dy, dfinal = rng.standard_normal(y.shape), states_like(final, lambda a: rng.standard_normal(a.shape))
    _, want = net.backward(dy, tape, dfinal)
    gradients = net.grads.flat.copy()
    net.zero_grad()
    dx, got = net.backward(dy, tape, dfinal, input_gradient=False)
    assert dx is None
    np.testing.assert_array_equal(net.grads.flat, gradients)
    for layer, layer_want in zip(got, want, strict=True):
        for array, array_want in zip(parts(layer), parts(layer_want), strict=True):
            np.testing.assert_array_equal(array, array_want)


@pytest.mark.parametrize("chain", CHAINS)
def test_inference_gives_the_same_without_a_tape(chain, rng):
    net = network(chain)
    x = draw_input(net, rng)
    y, final, _ = net.forward(x, None, LENGTHS)
    y_inference, final_inference, tape = net.forward(x, None, LENGTHS, record=False)
    assert tape is None
    assert_close(y_inference, y, 1e-14, "y")
    for a, b in zip(final, final_inference, strict=True):
        for part, part_inference in zip(parts(a), parts(b), strict=True):
            assert_close(part_inference, part, 1e-14, "state")


@pytest.mark.parametrize("chain", CHAINS)
def test_arguments_are_left_as_they_came(chain, rng):
    net = network(chain)
    x = draw_input(net, rng)
    state = draw_state(net, x, rng)
    lengths = np.array(LENGTHS)
    kept = x.copy(), states_like(state, np.copy), lengths.copy()
    y, final, tape = net.forward(x, state, lengths)
    dy, dfinal = rng.standard_normal(y.shape), states_like(final, np.ones_like)
    dy_kept = dy.copy()
    net.backward(dy, tape, dfinal)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(lengths, kept[2])
    np.testing.assert_array_equal(dy, dy_kept)
    for before, after in zip(kept[1], state, strict=True):
        for a, b in zip(parts(before), parts(after), strict=True):
            np.testing.assert_array_equal(a, b)
    assert all((array == 1).all() for part in dfinal for array in parts(part))


@pytest.mark.parametrize("chain", CHAINS)
def test_two_passes_do_not_share_their_tapes(chain, rng):
    """Going back along an earlier tape gives what it would have given before the later pass."""
    net = network(chain)
    first, second = draw_input(net, rng), draw_input(net, rng)
    y, _, tape = net.forward(first)
    dy = rng.standard_normal(y.shape)
    net.backward(dy, tape)
    want = net.grads.flat.copy()
    y, _, tape = net.forward(first)
    net.forward(second)
    net.zero_grad()
    net.backward(dy, tape)
    np.testing.assert_array_equal(net.grads.flat, want)


# --- states and lengths of the recurrent layers


@pytest.mark.parametrize("cell", CELLS)
def test_the_final_state_is_that_of_the_last_step(cell, rng):
    """h is y at each row's own last step, and a copy: what is done to it is not done to y."""
    net = Network(recurrent(cell), dtype="float64")
    y, (state,), _ = net.forward(rng.standard_normal((T, B, I)), None, LENGTHS)
    h = parts(state)[0]
    np.testing.assert_array_equal(h, y[np.array(LENGTHS) - 1, np.arange(B)])
    for array in parts(state):
        assert not np.shares_memory(array, y)


@pytest.mark.parametrize("cell", CELLS)
def test_no_state_is_the_zero_state(cell, rng):
    net = Network(recurrent(cell), dtype="float64")
    x = rng.standard_normal((T, B, I))
    y, state, _ = net.forward(x)
    zero = states_like(state, np.zeros_like)
    np.testing.assert_array_equal(net.forward(x, zero)[0], y)


# --- clipping per step


def carried_gradients(net, x, dy, dfinal):
    """What each step hands on to the one before, (T, B, parts*H): BPTT in segments of one step."""
    carried, states = [], None
    tapes = []
    for t in range(len(x)):
        _, states, tape = net.forward(x[t : t + 1].copy(), states)
        tapes.append(tape)
    dstate = dfinal
    for t in reversed(range(len(x))):
        _, dstate = net.backward(dy[t : t + 1].copy(), tapes[t], dstate)
        carried.append(np.concatenate(parts(dstate[0]), axis=1))
    return np.stack(carried[::-1])


@pytest.mark.parametrize("cell", STATEFUL)
@pytest.mark.parametrize("threshold", [0.05, 0.8])
def test_clip_step_bounds_what_every_step_hands_on(cell, threshold, rng):
    net = Network(recurrent(cell), dtype="float64")
    layer = net.layers[0]
    layer.clip_step = threshold
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    _, final, tape = net.forward(x)
    dfinal = states_like(final, lambda a: rng.standard_normal(a.shape))
    carried = carried_gradients(net, x, dy, dfinal)
    norms = np.linalg.norm(carried, axis=2)
    assert norms.max() <= threshold * (1 + 1e-14)
    # One pass over the whole sequence clips at the same places, and counts them.
    in_segments = layer.clipped_steps
    assert in_segments == np.count_nonzero(np.isclose(norms, threshold, rtol=1e-12))
    assert in_segments > 0
    _, dinitial = net.backward(dy, tape, dfinal)
    assert layer.clipped_steps == 2 * in_segments
    assert_close(np.concatenate(parts(dinitial[0]), axis=1), carried[0], 1e-12, "dstate")


@pytest.mark.parametrize("cell", CELLS)
def test_clip_step_keeps_the_direction_and_leaves_small_gradients(cell, rng):
    """At the first border back a clipped gradient is the unclipped one, scaled, row by row."""
    net = Network(recurrent(cell), dtype="float64")
    layer = net.layers[0]
    x, dy = rng.standard_normal((1, B, I)), rng.standard_normal((1, B, H))
    _, _, tape = net.forward(x, states_like(net.forward(x)[1], lambda a: rng.standard_normal(a.shape)))
    free = np.concatenate(parts(net.backward(dy, tape)[1][0]), axis=1)
    norms = np.linalg.norm(free, axis=1, keepdims=True)
    layer.clip_step = float(np.median(norms))
    clipped = np.concatenate(parts(net.backward(dy, tape)[1][0]), axis=1)
    assert_close(clipped, free * np.minimum(1, layer.clip_step / norms), 1e-14)
    over = norms > layer.clip_step
    assert layer.clipped_steps == np.count_nonzero(over) == B // 2
    assert layer.clipped_factors == pytest.approx((layer.clip_step / norms[over]).sum(), rel=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_clip_step_off_and_out_of_reach_are_the_same(cell, rng):
    net = Network(recurrent(cell), dtype="float64")
    layer = net.layers[0]
    assert layer.clip_step == math.inf
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    _, _, tape = net.forward(x, None, LENGTHS)
    net.backward(dy, tape)
    off = net.grads.flat.copy()
    net.zero_grad()
    layer.clip_step = 1e300
    net.backward(dy, tape)
    np.testing.assert_array_equal(net.grads.flat, off)
    assert layer.clipped_steps == 0
