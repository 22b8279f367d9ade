"""What each layer without recurrence computes: Embedding, Dense, Dropout, pooling."""

import math

import numpy as np
import pytest
from cells import shapes
from hypothesis import given, settings
from laws import assert_close

from rnncore.layers import GRU, Dense, Dropout, Embedding, LastStep, MeanPool
from rnncore.network import Network

pytestmark = pytest.mark.usefixtures("backend")

LENGTHS = (3, 6, 1, 4)
T, B, I, H = 6, 4, 3, 5


def padding(lengths, steps=T):
    return np.arange(steps)[:, None] >= np.array(lengths)


# --- Embedding


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_embedding_looks_rows_up_for_every_integer_type(kind, rng):
    net = Network(Embedding(7, 4))
    ids = rng.integers(0, 7, (T, B))
    y, state, _ = net.forward(ids.astype(kind))
    np.testing.assert_array_equal(y, net.params["0.weight"][ids])
    assert state == (None,)


def test_embedding_scatters_its_gradient(rng):
    """Row v gets the sum of dy wherever v stood; a row that never came gets nothing."""
    net = Network(Embedding(7, 4), dtype="float64")
    ids = rng.integers(0, 6, (T, B))
    y, _, tape = net.forward(ids, None, LENGTHS)
    assert not y[padding(LENGTHS)].any()
    dy = rng.standard_normal(y.shape)
    dx, _ = net.backward(dy, tape)
    assert dx is None
    one_hot = (ids[:, :, None] == np.arange(7)) & ~padding(LENGTHS)[:, :, None]
    assert_close(net.grads["0.weight"], np.einsum("tbv,tbe->ve", one_hot, dy), 1e-14)
    assert not net.grads["0.weight"][6].any()


def test_embedding_takes_ids_in_any_memory_order(rng):
    net = Network(Embedding(7, 4))
    ids = rng.integers(0, 7, (B, T))
    np.testing.assert_array_equal(net.forward(ids.T)[0], net.forward(np.ascontiguousarray(ids.T))[0])


# --- Dense


@given(shape=shapes(steps=5))
@settings(max_examples=15)
def test_dense_is_the_same_map_at_every_step(shape):
    net = Network(Dense(shape.I, shape.H), dtype="float64")
    rng = np.random.default_rng(0)
    net.params["0.bias"] = rng.standard_normal(shape.H)
    x = rng.standard_normal((shape.T, shape.B, shape.I))
    y = net.forward(x)[0]
    assert_close(
        y, np.einsum("tbi,oi->tbo", x, net.params["0.weight"]) + net.params["0.bias"], 1e-13, scale=1.0
    )
    for t in range(shape.T):
        assert_close(net.forward(x[t])[0], y[t], 1e-13, scale=1.0)


# --- Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_with_probability_p(p):
    net = Network(Dropout(p), seed=3)
    n = 400_000
    y = net.forward(np.ones((n // 100, 100, 1), np.float32))[0]
    kept = np.unique(y[y != 0])
    assert kept.size == 1
    assert abs(kept[0] * (1 - p) - 1) < 1e-4  # p is kept to 2^-16
    deviation = math.sqrt(p * (1 - p) / n)
    assert abs((y == 0).mean() - p) < 5 * deviation
    assert abs(y.mean(dtype=np.float64) - 1) < 5 * deviation / (1 - p)


def test_dropout_drops_each_entry_on_its_own():
    """Neighbours in any direction are no more alike than chance."""
    net = Network(Dropout(0.5), seed=1)
    y = net.forward(np.ones((64, 64, 64), np.float32))[0].astype(np.float64) - 1
    for axis in range(3):
        together = np.take(y, range(63), axis) * np.take(y, range(1, 64), axis)
        assert abs(together.mean()) < 5 / math.sqrt(together.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_of_the_same_seed_gives_the_same_bits(dtype):
    x = np.ones((T, B, 33), dtype)

    def draws(seed):
        net = Network(Dropout(0.4), seed=seed, dtype=dtype)
        return [net.forward(x)[0] for _ in range(2)]

    first, again, other = draws(8), draws(8), draws(9)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(*first), "each pass draws anew"


def test_variational_dropout_drops_the_same_at_every_step(rng):
    """One draw for each row and feature a pass, with the probability and the mean of plain dropout."""
    rows, features = 100, 400
    net = Network(Dropout(0.3, variational=True), seed=3, dtype="float64")
    x = rng.standard_normal((T, rows, features))
    factors = net.forward(x)[0] / x
    np.testing.assert_allclose(factors, np.broadcast_to(factors[0], factors.shape), rtol=1e-15)
    deviation = math.sqrt(0.3 * 0.7 / (rows * features))
    assert abs((factors[0] == 0).mean() - 0.3) < 5 * deviation
    assert abs(factors[0].mean() - 1) < 5 * deviation / 0.7
    assert not np.array_equal(net.forward(x)[0] / x, factors), "each pass draws anew"
    together = (factors[0, 1:] > 0) == (factors[0, :-1] > 0)
    assert abs(together.mean() - 0.58) < 0.01, "rows draw for themselves"
    assert net.forward(x[0])[0].shape == (rows, features)


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_goes_back_through_its_own_mask(variational, rng):
    net = Network(Dropout(0.5, variational), dtype="float64")
    x, dy = rng.standard_normal((2, T, B, I))
    y, _, tape = net.forward(x)
    np.testing.assert_allclose(net.backward(dy, tape)[0], dy * (y / x), rtol=1e-15)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_passes_everything_in_evaluation(p, rng):
    net = Network(Dropout(p), dtype="float64").eval()
    generator = net.rng.bit_generator.state
    x, dy = rng.standard_normal((2, T, B, I))
    y, _, tape = net.forward(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(net.backward(dy, tape)[0], dy)
    assert net.rng.bit_generator.state == generator, "nothing is drawn"


# --- pooling


@given(shape=shapes(steps=6))
@settings(max_examples=20)
def test_pooling_is_last_and_mean_of_each_row(shape):
    x = np.random.default_rng(0).standard_normal((shape.T, shape.B, shape.I))
    lengths = shape.lengths or (shape.T,) * shape.B
    last = Network(LastStep(), dtype="float64").forward(x, None, shape.lengths)[0]
    mean = Network(MeanPool(), dtype="float64").forward(x, None, shape.lengths)[0]
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(last[row], x[length - 1, row])
        assert_close(mean[row], x[:length, row].mean(axis=0), 1e-13, scale=1.0)


def test_layers_behind_a_pool_need_no_lengths(rng):
    net = Network(GRU(I, H), LastStep(), Dense(H, 2), dtype="float64")
    assert net.forward(rng.standard_normal((T, B, I)), None, LENGTHS)[0].shape == (B, 2)
