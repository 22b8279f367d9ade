"""Arrays come in through the buffer protocol and ``__array__``, and go out through DLPack."""

import array

import numpy as np
import pytest

from rnncore import GRU, LSTM, CrossEntropy, Dense, Embedding, Network, SquaredError
from rnncore.checks import take_array

T, B, I, H = 4, 3, 2, 5


class Offers:
    """An object of another library, as far as NumPy can see."""

    def __init__(self, inner):
        self.inner = inner

    def __array__(self, dtype=None, copy=None):
        return self.inner


def as_memoryview(numpy_array):
    """The numbers in an ``array.array``, in shape: neither NumPy nor a copy of NumPy's."""
    flat = array.array(numpy_array.dtype.char, numpy_array.ravel().tolist())
    return memoryview(flat).cast("B").cast(numpy_array.dtype.char, numpy_array.shape)


OFFERS = {"buffer": as_memoryview, "__array__": Offers}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_offers_an_array_is_the_array(offer, dtype, rng):
    """Forward, loss and backward give the same bits for all that offers the same numbers."""
    results = []
    x, dstate = rng.standard_normal((T, B, I)).astype(dtype), rng.standard_normal((B, H)).astype(dtype)
    h, c = rng.standard_normal((2, B, H)).astype(dtype)
    target = rng.standard_normal((T, B, H)).astype(dtype)
    for give in (lambda a: a, offer):
        net = Network(LSTM(I, H), dtype=dtype)
        y, _, tape = net.forward(give(x), ((give(h), give(c)),))
        value, dy = SquaredError()(give(y), give(target))
        dx, _ = net.backward(give(dy), tape, ((give(dstate), give(dstate)),))
        results.append((y.tobytes(), value, dx.tobytes(), net.grads.flat.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_ids_and_classes_may_be_offered_too(offer):
    net = Network(Embedding(5, I), GRU(I, H), Dense(H, 5))
    ids = np.arange(T * B).reshape(T, B) % 5
    y, _, _ = net.forward(offer(ids))
    assert np.array_equal(y, net.forward(ids)[0])
    assert CrossEntropy()(y, offer(ids))[0] == CrossEntropy()(y, ids)[0]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_nothing_is_converted_on_the_way(offer, rng):
    """Another dtype is refused as it is of a NumPy array; what is taken shares its memory."""
    net = Network(GRU(I, H))
    with pytest.raises(TypeError, match="x is float64, but this network computes in float32"):
        net.forward(offer(rng.standard_normal((T, B, I))))
    offered = offer(np.ones((T, B, I), np.float32))
    taken = take_array("x", offered)
    assert np.shares_memory(taken, take_array("x", offered))


def test_an_offer_that_fails_is_named():
    class Refuses:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("not on this device\nand more")

    with pytest.raises(TypeError, match=r"x is a Refuses that gives no NumPy array: not on this device$"):
        Network(GRU(I, H)).forward(Refuses())


def test_results_go_out_without_a_copy(rng):
    """NumPy arrays speak DLPack: another library sees the same memory."""
    torch = pytest.importorskip("torch")
    net = Network(GRU(I, H))
    y, _, _ = net.forward(torch.from_numpy(rng.standard_normal((T, B, I)).astype(np.float32)))
    theirs = torch.from_dlpack(y)
    y[1, 2, 3] = 7
    assert theirs[1, 2, 3] == 7
    weights = torch.from_dlpack(net.params.flat)
    weights.zero_()
    assert not net.params.flat.any()
    tracked = torch.ones(T, B, I, requires_grad=True)
    with pytest.raises(TypeError, match=r"x is a Tensor that gives no NumPy array: .*requires grad"):
        net.forward(tracked)


def test_a_masked_array_is_refused():
    """Its mask would be lost without a word."""
    net = Network(GRU(3, 4))
    x = np.zeros((2, 1, 3), np.float32)
    y, _, tape = net.forward(x)
    for name, call in {
        "x": lambda masked: net.forward(masked),
        "dy": lambda masked: net.backward(masked, tape),
        "y": lambda masked: SquaredError()(masked, y),
    }.items():
        with pytest.raises(TypeError, match=f"{name} is a masked array, whose mask is not read"):
            call(np.ma.masked_array(y if name != "x" else x, False))
