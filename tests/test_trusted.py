"""What kernels trust cannot be changed behind their back: it is read-only, a copy, or looked at again."""

import numpy as np
import pytest

import rnncore
from rnncore import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Clockwork,
    Dense,
    Elman,
    Embedding,
    LeakyElman,
    Network,
    SkipElman,
    kernels,
)
from rnncore.clipping import ClipNorm
from rnncore.ctc import CTC
from rnncore.losses import CrossEntropy, SquaredError
from rnncore.optimizers import Adam

STEPS, ROWS = 7, 3
LENGTHS = [2, STEPS, 5]
X = np.random.default_rng(1).standard_normal((STEPS, ROWS, 3), dtype=np.float32)
CELLS = [
    lambda: Elman(3, 5),
    lambda: LSTM(3, 5, zoneout=0.2),
    lambda: LSTM(3, 5, checkpoint_every=2),
    lambda: GRU(3, 5, recurrent_dropout=0.2),
    lambda: LeakyElman(3, 5, leak=0.3, noise=0.1),
    lambda: SkipElman(3, 5, delays=(1, 3)),
    lambda: Clockwork(3, 5, periods=(1, 2)),
    lambda: Bidirectional(GRU(3, 5)),
]


def misaligned(array):
    """The same numbers, a byte off."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    copy = memory[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


def passed(layer, x=X, lengths=LENGTHS):
    net = Network(layer, seed=1)
    y, _, tape = net.forward(x, lengths=lengths)
    return net, y, tape


@pytest.mark.parametrize("cell", CELLS)
def test_lengths_in_a_tape_are_read_only(cell):
    _, _, (tape,) = passed(cell())
    for half in (tape.forward, tape.reverse) if hasattr(tape, "reverse") else (tape,):
        with pytest.raises(ValueError, match="read-only"):
            half.lengths[0] = 1


@pytest.mark.parametrize("wrong", [STEPS + 1, 10**9, -1])
@pytest.mark.parametrize(
    "cell", [cell for cell in CELLS if not isinstance(cell(), (Clockwork, Bidirectional))]
)
def test_lengths_that_were_made_wrong_are_refused(cell, wrong):
    """By the kernel, which goes by a copy; Clockwork only compares them."""
    net, y, (tape,) = passed(cell())
    tape.lengths.flags.writeable = True
    tape.lengths[1] = wrong
    if tape.__class__.__name__ == "SegmentedTape":
        net.backward(np.ones_like(y), (tape,))  # each segment clips them to its steps
        return
    with pytest.raises(ValueError, match=rf"lengths\[1\] is {wrong}, but x has {STEPS} steps"):
        net.backward(np.ones_like(y), (tape,))
    assert not net.grads.flat.any()


def test_lengths_of_both_directions_that_were_made_wrong_are_refused():
    net, y, (tape,) = passed(Bidirectional(GRU(3, 5)))
    tape.forward.lengths.flags.writeable = True
    tape.forward.lengths[1] = 10**9
    with pytest.raises(ValueError, match=r"lengths\[1\] is 1000000000, but x has"):
        net.backward(np.ones_like(y), (tape,))


def test_ids_in_a_tape_are_read_only_and_looked_at_again():
    net = Network(Embedding(5, 3), seed=1)
    y, _, (tape,) = net.forward(np.arange(4).reshape(2, 2))
    with pytest.raises(ValueError, match="read-only"):
        tape.ids[0, 0] = 4
    tape.ids.flags.writeable = True
    tape.ids[1, 0] = 10**8
    with pytest.raises(ValueError, match=r"ids\[1, 0\] is 100000000, but the table has 5 rows"):
        net.backward(np.ones_like(y), (tape,))
    assert not net.grads.flat.any()


@pytest.mark.parametrize("cell", CELLS)
def test_an_array_of_another_shape_in_a_tape_is_refused(cell):
    net, y, (tape,) = passed(cell())
    half = tape.reverse if hasattr(tape, "reverse") else tape
    arrays = [name for name in half.__dataclass_fields__ if isinstance(getattr(half, name), np.ndarray)]
    assert {"x", "hidden", "lengths"} <= set(arrays)
    for name in arrays:
        before = getattr(half, name)
        setattr(half, name, before[:-1].copy())
        with pytest.raises(ValueError, match="is no tape of"):
            net.backward(np.ones_like(y), (tape,))
        setattr(half, name, before)
    if half.masks is not None and half.masks.keep:
        half.masks.keep = tuple(array[:-1].copy() for array in half.masks.keep)
        with pytest.raises(ValueError, match="is no tape of"):
            net.backward(np.ones_like(y), (tape,))
    assert not net.grads.flat.any()


@pytest.mark.filterwarnings("ignore:.*shape.*:DeprecationWarning")  # of NumPy 2.5
@pytest.mark.parametrize(
    "layer",
    [lambda: LSTM(3, 5), lambda: Dense(3, 5), lambda: Dense(3, 3, "tanh"), lambda: Activation("gelu")],
)
def test_another_shape_of_x_and_y_after_the_pass_changes_nothing(layer):
    x = X.copy()
    net, y, tape = passed(layer(), x, None)
    dy = np.cos(y)
    expected, _ = net.backward(dy, tape)
    x.shape = (ROWS, STEPS, 3)
    y.shape = (-1, y.shape[-1])
    got, _ = net.backward(dy, tape)
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("cell", [*CELLS, lambda: Dense(3, 4, "silu"), lambda: Activation("tanh")])
def test_misaligned_arrays_are_copied(cell):
    results = []
    for given in (np.copy, misaligned):
        net = Network(cell(), seed=1)
        y, state, tape = net.forward(given(X))
        parts = state[0] if isinstance(state[0], tuple) else (state[0],)
        if all(isinstance(part, np.ndarray) for part in parts):
            off = tuple(map(given, parts))
            y, _, tape = net.forward(given(X), (off if len(off) > 1 else off[0],))
        dx, _ = net.backward(given(np.cos(y)), tape)
        layer = net.layers[0]
        alone, _, tape = layer.forward(given(X))
        layer.backward(given(alone), tape)
        results.append([y, dx, alone, net.grads.flat, net.eval().infer(given(X))])
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()


def test_misaligned_targets_and_states_of_streams_are_copied():
    y = np.random.default_rng(2).standard_normal((STEPS, ROWS, 4))
    ids = np.arange(STEPS * ROWS).reshape(STEPS, ROWS) % 4
    for loss, target in ((SquaredError(), np.sin(y)), (CrossEntropy(), ids)):
        assert loss(misaligned(y), misaligned(target))[0] == loss(y, target)[0]
    assert CTC()(misaligned(y), [[1], [2, 1], []])[0] == CTC()(y, [[1], [2, 1], []])[0]
    net = Network(LSTM(3, 4), seed=1).eval()
    assert np.array_equal(net.stream(ROWS).run(misaligned(X)), net.stream(ROWS).run(X))
    with pytest.raises(ValueError, match="out is not aligned"):
        net.stream(ROWS).run(X, out=misaligned(np.zeros((STEPS, ROWS, 4), np.float32)))


def test_what_is_changed_in_place_must_be_aligned():
    flat = misaligned(np.ones(9, np.float32))
    with pytest.raises(ValueError, match="grads is not contiguous, aligned and writable"):
        ClipNorm(1.0)(flat)
    with pytest.raises(ValueError, match="params is not contiguous, aligned and writable"):
        Adam().step(flat, np.ones(9, np.float32))


def test_a_class_that_changes_after_its_check_is_not_looked_up():
    """As by another thread: the kernel looks again, and the value is NaN."""
    y = np.zeros((2, 1, 3), np.float32)
    dy = np.ones_like(y)
    value = kernels.softmax_cross_entropy(y, np.array([[1], [10**12]]), None, 1.0, dy)
    assert np.isnan(value)
    assert not dy[1].any()


@pytest.mark.parametrize("width", [3074457345618258603, 2**63 - 1, 2**31])
def test_a_beam_is_no_wider_than_can_be_counted(width):
    with pytest.raises(ValueError, match=r"width is .*, but at most 2147483647"):
        CTC().search(np.zeros((3, 1, 2), np.float32), width=width)


def test_a_beam_wider_than_there_are_prefixes_takes_no_more_memory():
    y = np.random.default_rng(3).standard_normal((4, 2, 3)).astype(np.float32)
    for one, other in zip(
        CTC().search(y, width=2**31 - 1), CTC().search(y, width=1 + 2 + 4 + 8 + 16), strict=True
    ):
        assert all(map(np.array_equal, one, other))
    with pytest.raises(ValueError, match=r"width is 2147483647, for which 3000 steps .* pass a smaller one"):
        CTC().search(np.zeros((3000, 1, 3), np.float32), width=2**31 - 1)


def test_the_number_of_threads_may_change_at_any_time():
    before = rnncore.get_num_threads()
    rnncore.set_num_threads(10**6)
    assert rnncore.get_num_threads() == 64
    rnncore.set_num_threads(before)
