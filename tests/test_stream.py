"""A stream gives the bits of the whole-sequence forward, in whatever pieces, rows and threads it is asked."""

import copy
import gc
import inspect
import itertools
import pickle
import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore import GRU, LSTM, Bidirectional, Dense, Dropout, Elman, Embedding, LastStep, MeanPool, Network
from rnncore.kernels import dispatch
from rnncore.layers import Clockwork, LeakyElman, SkipElman
from rnncore.stream import KINDS, KNOWN

SIZES = st.sampled_from([1, 3, 8, 16, 17, 33, 65])
CELLS = {
    **{name: partial(Elman, activation=name) for name in ("tanh", "sigmoid", "relu", "identity")},
    "LSTM": LSTM,
    "LSTM-zoneout": partial(LSTM, zoneout=(0.1, 0.4)),
    "LSTM-zoneout-c": partial(LSTM, coupled=True, zoneout=(0, 0.2)),
    "LSTM-peepholes": partial(LSTM, peepholes=True),
    "LSTM-coupled": partial(LSTM, coupled=True),
    "LSTM-coupled-peepholes": partial(LSTM, coupled=True, peepholes=True, activation="relu"),
    "LSTM-activations": partial(LSTM, gate_activation="tanh", activation="identity"),
    "leaky": partial(LeakyElman, leak=0.3, noise=0.5),
    "leaky-spread": partial(LeakyElman, activation="relu", time_constants=(2, 50)),
    "leaky-drawn": partial(LeakyElman, time_constants=(2, 50), leak_seed=1),
    "leaky-learned": partial(LeakyElman, leak=0.5, learn_leak=True, excitatory=0.7),
    "leaky-zoneout": partial(LeakyElman, leak=0.5, zoneout=0.2),
    "skip": SkipElman,
    "skip-dilated": partial(SkipElman, delays=(3,), activation="relu"),
    "skip-two": partial(SkipElman, delays=(1, 2), activation="sigmoid"),
    "GRU": GRU,
    "GRU-before": partial(GRU, reset_after=False),
    "GRU-zoneout": partial(GRU, zoneout=0.3, recurrent_dropout=0.5),
    "GRU-before-zoneout": partial(GRU, reset_after=False, zoneout=0.3),
    "GRU-before-activations": partial(GRU, reset_after=False, gate_activation="tanh", activation="relu"),
    "GRU-activations": partial(GRU, gate_activation="tanh", activation="relu"),
}
DTYPES = st.sampled_from(["float32", "float64"])


def filled(net, seed=0):
    """The network in evaluation, with all parameters drawn, biases too; small, for cells without bounds."""
    flat = net.params.flat
    flat[:] = np.random.default_rng(seed).normal(0, 0.2, flat.size)
    return net.eval()


def leaves(state):
    return [leaf for part in state for leaf in (leaves(part) if isinstance(part, tuple) else [part])]


def assert_same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.tobytes() == b.tobytes()


@st.composite
def cases(draw):
    """A network over numbers or ids, x (T, B, ...), and where x is cut."""
    sizes, steps, rows = [draw(SIZES) for _ in range(4)], draw(st.integers(1, 40)), draw(SIZES)
    first, second = (CELLS[draw(st.sampled_from([*CELLS]))] for _ in range(2))
    takes_ids = draw(st.booleans())
    chain = [first(*sizes[:2]), Dropout(0.5), second(*sizes[1:3])]
    chain = ([Embedding(7, sizes[0])] if takes_ids else []) + chain
    if draw(st.booleans()):
        chain.append(Dense(*sizes[2:]))
    net = filled(Network(*chain, dtype=draw(DTYPES)), draw(st.integers(0, 99)))
    rng = np.random.default_rng(steps)
    x = rng.integers(0, 7, (steps, rows)) if takes_ids else rng.normal(0, 1, (steps, rows, sizes[0]))
    cuts = sorted(draw(st.sets(st.integers(1, steps), max_size=4)) | {0, steps})
    return net, x if takes_ids else x.astype(net.dtype), cuts


@given(cases())
def test_pieces_give_the_bits_of_the_whole(level, case):
    net, x, cuts = case
    stream = net.stream(batch=x.shape[1])
    y, state, _ = net.forward(x, stream.state, record=False)
    for start, stop in itertools.pairwise(cuts):
        piece = stream.run(x[start:stop]) if stop - start > 1 else stream.step(x[start])[None]
        assert_same_bits(piece, y[start:stop])
    for mine, theirs in zip(leaves(stream.state), leaves(state), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_same_bits(mine, theirs)


@given(cases())
def test_a_state_goes_out_and_in(case):
    net, x, _ = case
    stream, other = net.stream(batch=x.shape[1]), net.stream(batch=x.shape[1])
    stream.run(x)
    other.state = stream.state
    assert_same_bits(other.step(x[0]), stream.step(x[0]))
    y, _, _ = net.forward(x, state=stream.state, record=False)
    assert_same_bits(stream.run(x), y)
    stream.state = None
    assert not any(leaf.any() for leaf in leaves(stream.state) if leaf is not None)
    y, _, _ = net.forward(x, state=stream.state, record=False)
    assert_same_bits(stream.run(x), y)


def small(batch=1, cell="LSTM", **options):
    net = filled(Network(CELLS[cell](5, 17), Dense(17, 3)))
    return net, net.stream(batch, **options), np.random.default_rng(1).normal(0, 1, (9, batch, 5)).astype("f")


def test_a_row_is_reset_alone():
    net, stream, x = small(batch=4)
    stream.run(x)
    before = stream.state[0]
    stream.reset(rows=[1, 3])
    for part, earlier in zip(stream.state[0], before, strict=True):
        assert not part[[1, 3]].any()
        assert_same_bits(part[[0, 2]], earlier[[0, 2]])
    stream.reset(2)
    stream.reset(rows=())
    assert stream.state[0][0][0].any()
    stream.reset()
    assert_same_bits(stream.run(x), net.forward(x, record=False)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_begins_anew_beside_others(cell):
    """Whatever its state consists of."""
    net, stream, x = small(batch=4, cell=cell)
    fresh, other = stream.run(x), net.stream()
    stream.reset(rows=[1, 3])
    again = stream.run(x)
    assert_same_bits(again[:, [1, 3]], fresh[:, [1, 3]])
    for row in (0, 2):
        other.reset()
        alone = other.run(np.concatenate([x, x])[:, [row]].copy())
        assert_same_bits(again[:, [row]], alone[9:])


def test_softmax_of_the_last_layer(level):
    net, stream, x = small(batch=3, softmax=True)
    y = np.float64(net.forward(x, record=False)[0])
    e = np.exp(y - y.max(-1, keepdims=True))
    p = stream.run(x)
    np.testing.assert_allclose(p, e / e.sum(-1, keepdims=True), rtol=3e-6)
    stream.reset()
    assert_same_bits(np.stack([stream.step(row) for row in x]), p)


def test_softmax_of_certain_and_impossible_classes():
    """No overflow, and what is impossible is exactly so."""
    net = Network(Dense(3, 3))
    net.params["0.weight"] = np.eye(3)
    stream = net.stream(softmax=True)
    assert stream.step(np.array([1000, 1000, -1000], "f")).tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "u4", "i8", "u8", ">i4"])
def test_ids_of_any_integer_type(dtype):
    net = filled(Network(Embedding(11, 6), GRU(6, 9), Dense(9, 11)))
    ids = np.arange(11).astype(dtype)[:, None]
    expected = net.forward(np.arange(11)[:, None], record=False)[0]
    stream = net.stream()
    assert_same_bits(stream.run(ids), expected)
    stream.reset()
    assert_same_bits(np.stack([stream.step(row) for row in ids]), expected)
    stream.reset()
    assert_same_bits(np.stack([stream.step(i) for i in range(11)]), expected[:, 0])
    stream.reset()
    assert_same_bits(stream.run(ids[:, 0]), expected[:, 0])


def test_out_is_written_and_returned():
    net, stream, x = small(batch=2)
    expected = net.forward(x, record=False)[0]
    out = np.empty_like(expected)
    assert stream.run(x, out=out) is out
    assert_same_bits(out, expected)
    stream.reset()
    row = np.empty((2, 3), "f")
    for t in range(9):
        assert stream.step(x[t], out=row) is row
        assert_same_bits(row, expected[t])


def test_one_row_may_leave_its_axis_out():
    net, stream, x = small()
    expected = net.forward(x, record=False)[0]
    assert_same_bits(np.stack([stream.step(row[0]) for row in x]), expected[:, 0])
    stream.reset()
    assert_same_bits(stream.run(x[:, 0]), expected[:, 0])


BAD_X = [
    ([0.0] * 5, TypeError, "x is a list, but a NumPy array"),
    (np.zeros((2, 5)), TypeError, "x is float64, but this network computes in float32"),
    (np.zeros((3, 5), "f"), ValueError, r"x has shape \(3, 5\), but \(B=2, F=5\)"),
    (np.zeros((2, 4), "f"), ValueError, r"x has shape \(2, 4\), but \(B=2, F=5\)"),
    (np.zeros(5, "f"), ValueError, r"x has shape \(5,\)"),
    (np.zeros((5, 2), "f").T, ValueError, "x is not C-contiguous"),
    (np.array([[0, 0, np.nan, 0, 0]] * 2, "f"), ValueError, r"x\[0, 2\] is nan"),
    (np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, np.inf]], "f"), ValueError, r"x\[1, 4\] is inf"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD_X)
def test_a_wrong_x_is_named_and_changes_nothing(x, error, message):
    _, stream, good = small(batch=2)
    stream.run(good)
    before = leaves(stream.state)
    with pytest.raises(error, match=message):
        stream.step(x)
    with pytest.raises(error, match=r"x"):
        stream.run(x if isinstance(x, list) else x[None])
    for part, earlier in zip(leaves(stream.state), before, strict=True):
        assert part is earlier is None or np.array_equal(part, earlier)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([0], TypeError, "out is a list"),
        (np.zeros((2, 3)), TypeError, "out is float64, but this network computes in float32: pass one"),
        (np.zeros((2, 4), "f"), ValueError, r"out has shape \(2, 4\), but \(B=2, O=3\)"),
        (np.zeros((3, 2), "f").T, ValueError, "out is not C-contiguous, but memory"),
        (np.broadcast_to(np.zeros((2, 3), "f"), (2, 3)), ValueError, "out cannot be written"),
    ],
)
def test_a_wrong_out_is_named(out, error, message):
    _, stream, x = small(batch=2)
    with pytest.raises(error, match=message):
        stream.step(x[0], out=out)
    assert not stream.state[0][0].any()


def test_out_over_x_is_refused():
    stream = filled(Network(Dense(4, 4))).stream(batch=2)
    x = np.ones((2, 4), "f")
    with pytest.raises(ValueError, match="shares memory"):
        stream.step(x, out=x)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (7, ValueError, "id 7, but ids from 0 to 6"),
        (-1, ValueError, "id -1"),
        (10**30, TypeError, "integer ids"),
        (1.0, TypeError, "integer ids"),
        (True, TypeError, "integer ids"),
        (np.array([2**40]), ValueError, "id 1099511627776"),
        (np.array([2**63], "u8"), ValueError, "id 9223372036854775808"),
        (np.array([1, 2]), ValueError, "shape"),
        (np.array(["a"]), TypeError, "integer ids"),
    ],
)
def test_wrong_ids_are_named(ids, error, message):
    stream = filled(Network(Embedding(7, 3), Elman(3, 4))).stream()
    with pytest.raises(error, match=message):
        stream.step(ids)
    assert not stream.state[1].any()


def test_a_chain_that_ends_in_the_last_step_gives_what_it_would_say_after_each_step(level):
    """Every prefix of x is a sequence, whose result is that of its last step."""
    net = filled(Network(Elman(3, 17), LSTM(17, 5), LastStep(), Dropout(0.5), Dense(5, 2, "sigmoid")))
    x = np.random.default_rng(0).normal(0, 1, (6, 2, 3)).astype("f")
    y = net.stream(batch=2).run(x)
    for t in range(6):
        assert_same_bits(y[t], net.forward(x[: t + 1], record=False)[0])


@pytest.mark.parametrize("pool", [MeanPool, lambda: LastStep(bidirectional=True)])
def test_layers_that_want_whole_sequences_are_refused_by_name(pool):
    with pytest.raises(ValueError, match=f"layer 1, {type(pool()).__name__}, turns a whole sequence"):
        Network(LSTM(3, 4), pool(), Dense(4, 2)).stream()
    with pytest.raises(ValueError, match="layer 0, Bidirectional, reads later steps"):
        Network(Bidirectional(LSTM(3, 4))).stream()
    with pytest.raises(ValueError, match="nothing to run"):
        Network(Dropout()).stream()


@pytest.mark.parametrize(
    "variant",
    [
        lambda: Clockwork(3, 4),
    ],
)
def test_a_variant_is_refused_by_name(variant):
    net = filled(Network(variant()))
    x = np.random.default_rng(0).normal(0, 1, (9, 1, 3)).astype("f")
    refusal = f"layer 0, {type(net.layers[0]).__name__}"
    with pytest.raises(ValueError, match=refusal):
        net.stream().run(x)


def test_wrong_arguments_are_named():
    net, stream, _ = small(batch=2)
    for batch, error in ((0, ValueError), (1.5, TypeError), (2**62, ValueError)):
        with pytest.raises(error):
            net.stream(batch)
    with pytest.raises(TypeError, match="softmax is 1"):
        net.stream(softmax=1)
    for rows, error in ((2, ValueError), (-1, ValueError), ("a", TypeError), (0.5, TypeError)):
        with pytest.raises(error, match="rows"):
            stream.reset(rows)
    for state, error in ((3, ValueError), ((None,), ValueError), ((np.zeros((2, 17), "f"), None), TypeError)):
        with pytest.raises(error, match="state"):
            stream.state = state


def test_an_exploding_state_is_named():
    net = Network(Elman(1, 2, "identity"))
    net.params["0.weight_hh"] = np.eye(2) * 1e20
    net.params["0.weight_ih"] = np.ones((2, 1))
    stream = net.stream()
    stream.step(np.ones(1, "f"))
    stream.step(np.ones(1, "f"))
    with pytest.raises(FloatingPointError, match=r"layer 0, Elman.*the state is not finite any more: reset"):
        stream.step(np.ones(1, "f"))
    stream.reset()
    stream.step(np.ones(1, "f"))


def test_a_stream_says_what_it_is_and_is_not_copied():
    net = Network(Elman(1, 2))
    stream = net.stream(batch=3)
    assert repr(stream) == f"<Stream of {net}, batch=3>"
    for again in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a Stream is not copied or pickled: make one of the network"):
            again(stream)


def test_weights_are_those_of_the_making_until_refreshed():
    net, stream, x = small()
    before = net.forward(x, record=False)[0]
    net.params.flat[:] *= 1.5
    assert_same_bits(stream.run(x), before)
    state = stream.state
    stream.refresh()
    assert_same_bits(stream.run(x), net.forward(x, state=state, record=False)[0])


def test_what_a_layers_attributes_say_reaches_the_next_stream():
    net = filled(Network(LeakyElman(5, 17, leak=0.5)))
    x = np.random.default_rng(0).normal(0, 1, (9, 1, 5)).astype("f")
    stream = net.stream()
    net.layers[0].leak = 0.25
    assert_same_bits(net.stream().run(x), net.forward(x, record=False)[0])
    stream.refresh()
    assert_same_bits(stream.run(x), net.forward(x, record=False)[0])
    net.layers[0].zoneout = [0.5]
    assert_same_bits(net.stream().run(x), net.forward(x, record=False)[0])
    net = filled(Network(SkipElman(5, 17, delays=(1, 3))))
    stream, net.layers[0].delays, net.layers[0].depth = net.stream(), (1, 40), 40
    with pytest.raises(ValueError, match="make another one"):
        stream.refresh()


@pytest.mark.parametrize("cell", CELLS)
def test_a_stream_made_while_weights_are_read_only(cell):
    net, stream, x = small(batch=2, cell=cell)
    with net.inference_mode():
        assert_same_bits(net.stream(batch=2).run(x), stream.run(x))


def test_streams_of_one_network_share_its_packed_weights():
    import resource

    net = Network(LSTM(512, 512))
    net.stream()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    streams = [net.stream() for _ in range(16)]
    assert len(streams) == 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < net.params.flat.nbytes / 1024


def test_a_stream_keeps_its_level():
    before = dispatch.level()
    net, stream, x = small()
    expected = net.forward(x, record=False)[0]
    try:
        dispatch.set_level("baseline")
        assert_same_bits(stream.run(x), expected)
        other = net.stream()
        assert_same_bits(other.run(x), net.forward(x, record=False)[0])
    finally:
        dispatch.set_level(before)


CHAINS = [
    lambda: (LSTM(64, 128), Dense(128, 5)),
    lambda: (
        LSTM(64, 96, peepholes=True, zoneout=0.1),
        GRU(96, 96, reset_after=False, zoneout=0.2),
        LeakyElman(96, 64, leak=0.3),
        SkipElman(64, 32, delays=(1, 7)),
    ),
]


@pytest.mark.parametrize("chain", CHAINS, ids=["plain", "variants"])
def test_threads_stream_one_network_at_once(chain):
    net = filled(Network(*chain()))
    xs = np.random.default_rng(0).normal(0, 1, (4, 120, 64)).astype("f")
    expected = [net.forward(x[:, None], record=False)[0][:, 0] for x in xs]
    found = [None] * 4

    def work(place):
        stream = net.stream()
        found[place] = np.concatenate(
            [stream.run(xs[place][:60]), np.stack([stream.step(row) for row in xs[place][60:]])]
        )

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, theirs in zip(found, expected, strict=True):
        assert_same_bits(mine, theirs)


def test_a_stream_in_use_says_so():
    stream = filled(Network(LSTM(256, 512))).stream()
    x = np.zeros((20_000, 256), "f")
    thread = threading.Thread(target=stream.run, args=(x,))
    thread.start()
    met = False
    while thread.is_alive() and not met:
        try:
            stream.step(x[0])
        except RuntimeError as error:
            met = "in use by another thread" in str(error)
    thread.join()
    assert met
    stream.step(x[0])


def test_a_million_steps_leave_memory_as_it_was_and_the_bits_of_the_whole():
    import resource

    net = filled(Network(GRU(2, 4)))
    stream, x = net.stream(), np.random.default_rng(0).normal(0, 1, (1000, 1, 2)).astype("f")
    y = stream.step(x[0])
    stream.reset()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = list(x)
    for _ in range(1000):
        for row in steps:
            stream.step(row, out=y)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024
    state = None
    for _ in range(1000):
        whole, state, _ = net.forward(x, state=state, record=False)
    assert_same_bits(y, whole[-1])


@pytest.mark.parametrize("cell", [Elman, LSTM, GRU])
def test_recurrent_dropout_is_off_in_a_stream_as_in_evaluation(cell):
    net = Network(cell(3, 8, recurrent_dropout=0.5), Dense(8, 2), seed=0)
    x = np.random.default_rng(0).standard_normal((6, 1, 3), dtype=np.float32)
    assert np.array_equal(net.stream().run(x), net.eval().forward(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_of_a_layer_that_streams_is_known(kind):
    assert {*inspect.signature(kind).parameters} <= KNOWN


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", [Elman, LSTM, GRU])
def test_few_units_in_blocks_give_the_bits_of_the_whole(level, cell, dtype):
    """Around the sizes at which a row's states fit into vectors; more steps than are projected at once."""
    for units in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33):
        net = Network(cell(2, units), seed=units, dtype=dtype).eval()
        rng = np.random.default_rng(units)
        net.params.flat[:] = rng.normal(0, 0.5, net.params.flat.size)
        x = rng.standard_normal((600, 1, 2)).astype(dtype)
        y, state, _ = net.forward(x)
        stream = net.stream()
        pieces = [stream.run(x[:3]), stream.step(x[3])[None], stream.run(x[4:301]), stream.run(x[301:])]
        np.testing.assert_array_equal(np.concatenate(pieces), y)
        np.testing.assert_array_equal(np.stack(stream.state), np.stack(state))
