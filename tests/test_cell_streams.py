"""Cells written as their equations go step by step, with the bits of the whole sequence."""

import numpy as np
import pytest
from gallery import GALLERY_CASES, case_id

from rnncore import Bidirectional, Dense, Network, cells
from rnncore.cells import Cell, tanh
from rnncore.layers.base import ExplodingState


class Late(Cell):
    """A state three steps back, and one of another size."""

    def state_sizes(self):
        return self.hidden_size, 2

    def step(self, x, h, p):
        new = tanh(self.linear("n", x, h, self.delayed(h, 3), p) + self.noise(0.3))
        return new, tanh(self.linear("p", new, size=2))


def net_of(cell, rng, dtype="float32"):
    net = Network(cell, Dense(cell.features()[1], 2), seed=1, dtype=dtype).eval()
    net.params.flat += 0.2 * rng.standard_normal(net.params.flat.size).astype(dtype)
    return net


CASES = [
    (lambda name=name, options=options: cells.GALLERY[name](3, 18, **options))
    for name, options, *_ in GALLERY_CASES
]
CASES += [lambda: Late(3, 18), lambda: Late(3, 18, zoneout=(0.2, 0.1)), lambda: cells.MGU(3, 18, zoneout=0.3)]
NAMES = [*map(case_id, GALLERY_CASES), "delays", "delays and zoneout", "zoneout"]


@pytest.mark.parametrize("make", CASES, ids=NAMES)
@pytest.mark.parametrize("rows", [1, 5])
def test_a_stream_has_the_bits_of_the_sequence(make, rows, rng):
    net = net_of(make(), rng)
    x = rng.standard_normal((9, rows, 3)).astype(np.float32)
    y, state, _ = net.forward(x)
    stream = net.stream(batch=rows)
    np.testing.assert_array_equal(stream.run(x[:4]), y[:4])
    for t in range(4, 9):
        np.testing.assert_array_equal(stream.step(x[t]), y[t])
    flat = [
        array
        for part in state
        if part is not None
        for array in (part if isinstance(part, tuple) else (part,))
    ]
    mine = [
        a for part in stream.state if part is not None for a in (part if isinstance(part, tuple) else (part,))
    ]
    for one, other in zip(flat, mine, strict=True):
        np.testing.assert_array_equal(one, other)


def test_states_can_be_set_and_rows_cleared(rng):
    net = net_of(Late(3, 5), rng, "float64")
    x = rng.standard_normal((6, 3, 3))
    stream, fresh = net.stream(batch=3), net.stream(batch=3)
    stream.run(x)
    kept = stream.state
    after = stream.step(x[0])
    fresh.state = kept
    np.testing.assert_array_equal(fresh.step(x[0]), after)
    stream.reset([1])
    fresh.reset()
    np.testing.assert_array_equal(stream.step(x[2])[1], fresh.step(x[2])[1])
    assert not np.array_equal(stream.step(x[2])[0], fresh.step(x[2])[0])


def test_learned_weights_reach_a_stream_when_it_is_refreshed(rng):
    net = net_of(cells.MGU(3, 5), rng)
    x = rng.standard_normal((2, 1, 3)).astype(np.float32)
    stream = net.stream()
    before = stream.run(x)
    net.params.flat[:] *= np.float32(0.5)
    stream.reset()
    np.testing.assert_array_equal(stream.run(x), before)
    stream.refresh()
    stream.reset()
    np.testing.assert_array_equal(stream.run(x), net.forward(x)[0])
    np.testing.assert_array_equal(net.infer(x), net.forward(x)[0])


def test_learned_initial_states_are_refused_by_name(rng):
    net = net_of(cells.MGU(3, 5, learn_initial_state=True), rng)
    with pytest.raises(ValueError, match="learned initial states"):
        net.stream()


def test_short_calls_take_the_long_way(rng):
    net = Network(Bidirectional(cells.MGU(3, 5)), Dense(10, 2), seed=1).eval()
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(net.infer(x), net.forward(x)[0])


@pytest.mark.parametrize("make", CASES[:12:3], ids=NAMES[:12:3])
def test_inference_mode_changes_nothing(make, rng):
    net = net_of(make(), rng)
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    y = net.forward(x)[0]
    with net.inference_mode():
        np.testing.assert_array_equal(net.forward(x)[0], y)


def test_a_state_without_bound_that_explodes_is_named(rng):
    net = Network(cells.IndRNN(3, 5), seed=1).eval()
    net.params["0.weight_u"] = 10.0 * np.ones(5)
    with pytest.raises(ExplodingState, match="IndRNN"):
        net.forward(np.full((60, 1, 3), 1e3, np.float32))
