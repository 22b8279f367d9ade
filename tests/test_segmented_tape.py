"""Laws of ``checkpoint_every``: the same results from a tape that is kept in segments."""

import numpy as np
import pytest

from rnncore import GRU, LSTM, Elman, Network
from rnncore.kernels.memory import memory_in_use

CELLS = (Elman, LSTM, GRU)
STEPS, ROWS, INPUTS, UNITS = 23, 5, 4, 9


def run(cell, every, lengths, dtype="float64"):
    """y, final state, dx, gradient of the initial state, and all gradients, from one seed."""
    rng = np.random.default_rng(7)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    net = Network(cell(INPUTS, UNITS, checkpoint_every=every), seed=3, dtype=dtype)
    parts = 2 if cell is LSTM else 1
    state = tuple(draw(ROWS, UNITS) for _ in range(parts)) if parts > 1 else draw(ROWS, UNITS)
    dstate = tuple(draw(ROWS, UNITS) for _ in range(parts)) if parts > 1 else draw(ROWS, UNITS)
    x, dy = draw(STEPS, ROWS, INPUTS), draw(STEPS, ROWS, UNITS)
    y, final, tape = net.forward(x, (state,), lengths)
    dx, dinitial = net.backward(dy, tape, (dstate,))
    return [np.array(y), np.array(final[0]), dx, np.array(dinitial[0]), net.grads.flat.copy()]


@pytest.mark.parametrize("lengths", [None, [1, 23, 10, 7, 20]], ids=["full", "ragged"])
@pytest.mark.parametrize("every", [1, 5, 7, 23, 100])
@pytest.mark.parametrize("cell", CELLS)
def test_segments_give_what_the_whole_tape_gives(backend, cell, every, lengths):
    whole, segmented = run(cell, None, lengths), run(cell, every, lengths)
    for got, want in zip(segmented, whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_forward_is_the_same_to_the_bit(level, cell):
    whole, segmented = run(cell, None, None, "float32"), run(cell, 5, None, "float32")
    assert np.array_equal(segmented[0], whole[0])
    assert np.array_equal(segmented[1], whole[1])


def test_clipping_per_step_acts_in_segments_as_in_the_whole():
    counts = []
    for every in (None, 5):
        layer = LSTM(INPUTS, UNITS, checkpoint_every=every)
        net = Network(layer, seed=3)
        layer.clip_step = 0.5
        x = np.random.default_rng(0).standard_normal((STEPS, ROWS, INPUTS)).astype(np.float32)
        y, _, tape = net.forward(x)
        net.backward(np.ones_like(y), tape)
        counts.append((layer.clipped_steps, net.grads.flat.copy()))
    assert counts[0][0] == counts[1][0] > 0
    np.testing.assert_allclose(counts[1][1], counts[0][1], rtol=1e-4, atol=1e-4)


def test_a_segmented_tape_holds_a_tenth_beside_its_output():
    steps, rows, units = 2000, 4, 64
    x = np.zeros((steps, rows, units), np.float32)
    beside = []
    for every in (None, 50):
        net = Network(LSTM(units, units, checkpoint_every=every))
        before = memory_in_use()[0]
        y, _, tape = net.forward(x)
        beside.append(memory_in_use()[0] - before - y.nbytes)
        del y, tape
    assert beside[1] < 0.1 * beside[0]


@pytest.mark.parametrize(
    ("every", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError), ("5", TypeError)]
)
def test_a_wrong_number_of_steps_is_refused(every, error):
    with pytest.raises(error, match="checkpoint_every is"):
        LSTM(3, 4, checkpoint_every=every)


def test_the_setting_is_part_of_the_configuration():
    assert LSTM(**LSTM(3, 4, checkpoint_every=6).config()).checkpoint_every == 6
    assert "checkpoint_every" not in LSTM(3, 4).config()
