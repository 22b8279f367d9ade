"""Kernels flush denormals and round to nearest whatever the caller does, and give the state back whole."""

import functools
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from processor import FLUSHING, HAPPENED, TRAPPED, UPWARD, computing, float_state

import rnncore
from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    LastStep,
    LeakyElman,
    MeanPool,
    Network,
    SkipElman,
    kernels,
)
from rnncore.clipping import ClipNorm, ClipValue
from rnncore.ctc import CTC
from rnncore.losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from rnncore.optimizers import SGD, AdamW, RMSprop
from rnncore.regularizers import L1, L2
from rnncore.trainer.gradient import average

UNITS = 136  # a pass over what `train` gives is worth two threads or more
CELLS = {
    "elman": lambda: Elman(33, UNITS),
    "relu": lambda: Elman(33, UNITS, activation="relu"),
    "lstm": lambda: LSTM(33, UNITS),
    "lstm variant": lambda: LSTM(33, UNITS, peepholes=True, coupled=True, zoneout=0.2),
    "gru": lambda: GRU(33, UNITS),
    "gru before": lambda: GRU(33, UNITS, reset_after=False, recurrent_dropout=0.3),
    "leaky": lambda: LeakyElman(33, UNITS, time_constants=(2, 9), zoneout=0.2),
    "skip": lambda: SkipElman(33, UNITS, delays=(1, 3)),
    "clockwork": lambda: Clockwork(33, UNITS, periods=(1, 2, 5)),
}
# What a caller may have set: bits that are set, bits that are cleared.
CALLERS = {
    "rounding up": (UPWARD, HAPPENED),
    "flushing, everything seen": (FLUSHING | HAPPENED, 0),
    "keeping, nothing seen": (0, FLUSHING | HAPPENED),
    "trapping": (0, TRAPPED | HAPPENED),
}
# Those that compute nothing: they count, copy or compare whole numbers.
IDLE = {"first_class_outside", "pack_dense", "pack_recurrent", "panels_size", "get_include"}
IDLE |= {name for name in kernels.__all__ if "scratch_size" in name or "search_sizes" in name}


@pytest.fixture(autouse=True)
def restored_threads():
    before = rnncore.get_num_threads()
    yield
    rnncore.set_num_threads(before)


def vanishing(shape, dtype):
    """Numbers on both sides of the smallest normal one."""
    rng = np.random.default_rng(3)
    tiny = float(np.finfo(dtype).tiny)
    return (tiny * 10.0 ** rng.uniform(-6, 6, shape) * rng.choice([-1, 1], shape)).astype(dtype)


def train(layers, dtype, seed=1, steps=40, rows=9):
    """All that a training step computes, on numbers that vanish; lists of arrays."""
    net = Network(*layers, dtype=dtype, seed=seed)
    x = vanishing((steps, rows, 33), dtype)
    lengths = [steps, 3, 17, 17, 1, 39, steps, 25, 8][:rows]
    y, _, tape = net.forward(x, lengths=lengths)
    made = [y]
    targets = np.random.default_rng(4)
    for loss, target in [
        (SquaredError(), vanishing(y.shape, dtype)),
        (BinaryCrossEntropy(), targets.integers(0, 2, y.shape).astype(dtype)),
        (CrossEntropy(), targets.integers(0, y.shape[2], y.shape[:2])),
        (CrossEntropy(label_smoothing=0.1), targets.integers(0, y.shape[2], y.shape[:2])),
    ]:
        value, dy = loss(y, target, lengths)
        made += [np.array(value), dy]
    dx, _ = net.backward(vanishing(y.shape, dtype), tape)
    grads = net.grads.flat
    made += [dx, grads.copy(), np.array([kernels.global_norm(grads), kernels.all_finite(grads)])]
    for penalty in (L1(1e-30), L2(1e-30)):
        made.append(np.array(penalty(net.params, net.grads)))
    for clip in (ClipNorm(1e-3), ClipValue(1e-4)):
        made.append(np.array(clip(net.grads.flat)))
    for optimizer in (SGD(0.1, momentum=0.9), RMSprop(1e-3), AdamW(1e-3)):
        optimizer.step(net.params.flat, net.grads.flat)
        made.append(net.params.flat.copy())
    return made


def search(dtype):
    loss = CTC()
    y = np.random.default_rng(2).standard_normal((12, 3, 5)).astype(dtype)
    value, dy = loss(y, [[1, 2], [3], [4, 4, 1]])
    found = loss.search(y, width=3)
    made = [np.array(value), dy, *(np.asarray(labels) for labels in found[0])]
    pairs = vanishing((12, 3, 9), dtype)
    tags = rnncore.CRFLoss()
    value, dy = tags(pairs, np.random.default_rng(2).integers(0, 3, (12, 3)))
    return [*made, np.array(value), dy, *tags.decode(pairs)]


def workloads(dtype):
    rng = np.random.default_rng(9)
    ids = rng.integers(0, 7, (6, 2))
    both = [Bidirectional(LSTM(33, 8), merge="sum"), Bidirectional(GRU(8, 8)), Dense(16, 4, "silu")]
    chains = [[cell(), Dense(UNITS, 4)] for cell in CELLS.values()]
    made = [array for chain in [*chains, both] for array in train(chain, dtype)] + search(dtype)
    net = Network(rnncore.Embedding(7, 4), Dense(4, 4), dtype=dtype, seed=1)
    y, _, tape = net.forward(ids)
    net.backward(vanishing(y.shape, dtype), tape)
    return [*made, y, net.grads.flat]


@functools.cache
def expected_workloads(dtype, threads, level):
    """What the kernels compute when nobody has changed anything."""
    rnncore.set_num_threads(threads)
    return workloads(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("caller", "threads"), [*((caller, 2) for caller in CALLERS), ("rounding up", 1)])
def test_kernels_compute_the_same_for_every_caller_and_give_the_state_back(
    caller, threads, dtype, level, monkeypatch
):
    expected = expected_workloads(dtype, threads, level)
    rnncore.set_num_threads(threads)
    called = set()

    def within(name, kernel):
        def call(*arguments, **named):
            called.add(name)
            with computing(*CALLERS[caller]):
                before = float_state()
                result = kernel(*arguments, **named)
                after = float_state()
            assert after == before, name
            return result

        return call

    for name in set(kernels.__all__) - IDLE:
        monkeypatch.setattr(kernels, name, within(name, getattr(kernels, name)))
    got = workloads(dtype)
    assert set(kernels.__all__) - IDLE <= called
    for one, other in zip(got, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_streams_give_the_state_back_and_compute_the_same_for_every_caller(level):
    net = Network(LSTM(3, 8), GRU(8, 8), Elman(8, 8, limit=2.0), Dense(8, 4), seed=1).eval()
    net.params.flat[:] = np.random.default_rng(1).normal(0, 0.3, net.params.flat.size)
    x = vanishing((30, 2, 3), "float32")
    expected = net.forward(x)[0]
    for caller in CALLERS.values():
        stream = net.stream(batch=2)
        out = np.empty((30, 2, 4), np.float32)
        with computing(*caller):
            before = float_state()
            stream.run(x[:20], out=out[:20])
            stream.step(x[20], out=out[20])
            after = float_state()
        stream.run(x[21:], out=out[21:])
        assert before == after
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("pooling", [MeanPool, LastStep])
def test_short_calls_give_the_state_back_and_compute_the_same_for_every_caller(pooling, level):
    net = Network(Bidirectional(LSTM(3, 8), merge="sum"), Dense(8, 8), Elman(8, 8), pooling(), seed=1).eval()
    x = vanishing((6, 2, 3), "float32")
    expected = net.forward(x)[0]
    net.infer(x)
    for caller in CALLERS.values():
        with computing(*caller):
            before = float_state()
            y = net.infer(x)
            after = float_state()
        assert before == after
        assert np.array_equal(y, expected)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("caller", ["rounding up", "flushing, everything seen"])
def test_leaks_are_the_same_for_every_caller(caller, learn):
    """They are computed in NumPy, from time constants or from their logits."""
    layer = LeakyElman(33, UNITS, time_constants=(2, 9), learn_leak=learn, noise=0.3)
    net = Network(layer, seed=1)
    x = np.random.default_rng(1).standard_normal((5, 2, 33)).astype(np.float32)
    expected, drawn = layer.leaks(), net.rng.bit_generator.state
    y = net.forward(x)[0]
    net.rng.bit_generator.state = drawn
    with computing(*CALLERS[caller]):
        leaks, again = layer.leaks(), net.forward(x)[0]
    assert np.array_equal(leaks, expected)
    assert np.array_equal(again, y)


def test_a_stream_that_raises_gives_the_state_back():
    net = Network(Elman(3, 8, activation="relu", limit=1.0), seed=1).eval()
    net.params.flat[:] = 1
    stream, x = net.stream(), np.ones((5, 3), np.float32)
    with computing(*CALLERS["rounding up"]):
        before = float_state()
        with pytest.raises(FloatingPointError) as raised:
            stream.run(x)
        after = float_state()
    assert raised
    assert [word & ~HAPPENED for word in before] == [word & ~HAPPENED for word in after]


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_denormal_comes_out_of_a_kernel(name, dtype, level):
    tiny = np.finfo(dtype).tiny
    *made, _ = train([CELLS[name](), Dense(UNITS, 4)], dtype)
    for array in made:
        assert not ((array != 0) & (np.abs(array) < tiny)).any()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_with_and_without_denormals_differ_by_nothing_that_float32_can_hold(name, dtype):
    """The loss is at the last step alone; relative to the largest entry."""
    net = Network(CELLS[name](), dtype=dtype, seed=1).eval()
    net.params.flat[:] *= 0.3  # the gradient goes down far below the smallest normal float32
    net.params["0.bias"][:] = 0.5
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((1000, 2, 33)).astype(dtype), np.zeros((1000, 2, UNITS), dtype)
    dy[-1] = rng.standard_normal((2, UNITS))
    y, _, tape = net.forward(x)
    flushed, _ = net.backward(dy.copy(), tape)
    flushed_grads = net.grads.flat.copy()
    net.zero_grad()
    with rnncore.keep_denormals():
        kept, _ = net.backward(dy.copy(), tape)
    assert dtype == "float64" or np.count_nonzero(flushed) < np.count_nonzero(kept)
    for one, other in ((flushed, kept), (flushed_grads, net.grads.flat)):
        assert np.abs(one - other).max() <= 1e-30 * np.abs(other).max()


@pytest.mark.parametrize("layer", [Dropout(0.5), MeanPool()])
def test_passes_in_numpy_flush_too(layer):
    net = Network(layer, dtype="float32", seed=1)
    x = vanishing((40, 9, 33), "float32")
    y, _, tape = net.forward(x)
    dx, _ = net.backward(vanishing(y.shape, "float32"), tape)
    for array in (y, dx):
        assert array.any()
        assert not ((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny)).any()


def test_keep_denormals_holds_for_its_thread_and_ends_with_its_block():
    net = Network(Elman(1, 1, activation="identity"), seed=1)
    net.params.flat[:] = 1
    x = np.full((1, 1, 1), 1e-40, np.float32)
    kept, elsewhere = [], []

    def look(into=kept):
        net.params.flat[2] = 0  # the bias
        into.append(bool(net.forward(x)[0][0, 0, 0]))

    decorated = rnncore.keep_denormals()(look)
    look()
    with rnncore.keep_denormals():
        with rnncore.keep_denormals():
            look()
        look()
        other = threading.Thread(target=look, args=(elsewhere,))
        other.start()
        other.join()
    look()
    decorated()
    look()
    with pytest.raises(KeyError), rnncore.keep_denormals():
        raise KeyError
    look()
    assert kept == [False, True, True, False, True, False, False]
    assert elsewhere == [False]


KEPT = "import numpy as np, rnncore.kernels as k; print(k.global_norm(np.array([1e-40], np.float32)) > 0)"


@pytest.mark.parametrize(("value", "kept"), [("1", "True"), ("0", "False"), ("", "False")])
def test_the_environment_keeps_denormals(value, kept):
    environment = {**os.environ, "RNNCORE_KEEP_DENORMALS": value}
    done = subprocess.run([sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == kept, done.stderr


def test_another_value_in_the_environment_is_refused():
    environment = {**os.environ, "RNNCORE_KEEP_DENORMALS": "yes"}
    done = subprocess.run([sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True)
    assert "RNNCORE_KEEP_DENORMALS is 'yes'; set it to 1 to keep denormal numbers, or to 0" in done.stderr


@pytest.mark.parametrize("caller", ["rounding up", "flushing, everything seen"])
def test_workers_compute_as_the_caller_does_and_not_as_the_thread_that_made_them(caller, tmp_path):
    code = f"""if True:
        import sys
        import numpy as np, rnncore
        sys.path.append({os.path.dirname(__file__)!r})
        from processor import computing
        net = rnncore.Network(rnncore.LSTM(33, 136), seed=1)
        x = np.random.default_rng(1).standard_normal((40, 9, 33)).astype(np.float32) * np.float32(1e-39)
        net.params.flat[-4 * 136:] = 0
        rnncore.set_num_threads(2)
        with computing{CALLERS[caller]}:
            net.forward(x)
        made = []
        for threads in (1, 2):
            rnncore.set_num_threads(threads)
            with rnncore.keep_denormals():
                y, _, tape = net.forward(x)
                made.append((y, net.backward(np.full_like(y, 1e-39), tape)[0]))
        assert all(np.array_equal(one, two) for one, two in zip(*made))
        assert made[0][1].any()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_means_of_accumulated_gradients_are_flushed():
    """Means over three steps of sums in which one step weighs 1."""
    for dtype in (np.float32, np.float64):
        tiny = np.finfo(dtype).tiny
        grads = np.array([2 * tiny, -2 * tiny, 6 * tiny, 1], dtype)
        assert average(grads, SimpleNamespace(unit=1.0, weight=3.0)) == 3.0
        assert grads.tolist() == [0, 0, 2 * tiny, dtype(1 / 3)]
