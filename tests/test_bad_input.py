"""Bad input gets one error that names the argument, what came, what is wanted; nothing is changed before."""

import numpy as np
import pytest
from laws import assert_message, snapshot

from rnncore.layers import GRU, LSTM, Dense, Dropout, Elman, Embedding, LastStep, MeanPool
from rnncore.network import Network

T, B, I, H = 4, 3, 2, 5
F32 = np.float32


def array(*shape, dtype=F32):
    return np.ones(shape, dtype)


def spoiled(value, *place):
    x = array(T, B, I)
    x[place] = value
    return x


def cell_network():
    return Network(LSTM(I, H), Dropout(0.5), GRU(H, H), Dense(H, 2))


def id_network():
    return Network(Embedding(7, I), Dropout(0.5), Elman(I, H))


def ids(*shape, value=0, place=None, dtype=np.int64):
    x = np.zeros(shape, dtype)
    if place is not None:
        x[place] = value
    return x


STATE = ((array(B, H), array(B, H)), None, array(B, H), None)


def state(position, part):
    """A good state of ``cell_network`` with a bad entry."""
    return (*STATE[:position], part, *STATE[position + 1 :])


# name: network, arguments of forward, type of the error, and pieces that its message must have, in order
FORWARD = {
    "a list": (cell_network, ([[1.0]],), TypeError, ("x is a list", "NumPy array")),
    "float64": (
        cell_network,
        (array(T, B, I, dtype=np.float64),),
        TypeError,
        ("x is float64", "float32", "astype"),
    ),
    "integers": (cell_network, (array(T, B, I, dtype=int),), TypeError, ("x is int64", "float32")),
    "another byte order": (cell_network, (array(T, B, I).astype(">f4"),), TypeError, ("x is >f4", "float32")),
    "complex": (
        cell_network,
        (array(T, B, I, dtype=np.complex64),),
        TypeError,
        ("x is complex64", "float32"),
    ),
    "features": (cell_network, (array(T, B, 3),), ValueError, (r"x has shape (4, 3, 3)", "=2")),
    "two axes": (cell_network, (array(B, I),), ValueError, (r"x has shape (3, 2)", "(T, B, F=2)")),
    "four axes": (
        cell_network,
        (array(1, T, B, I),),
        ValueError,
        (r"x has shape (1, 4, 3, 2)", "(T, B, F=2)"),
    ),
    "no steps": (cell_network, (array(0, B, I),), ValueError, (r"x has shape (0, 3, 2)", "at least one")),
    "no rows": (cell_network, (array(T, 0, I),), ValueError, (r"x has shape (4, 0, 2)", "at least one")),
    "Fortran order": (
        cell_network,
        (np.asfortranarray(array(T, B, I)),),
        ValueError,
        ("x is not C-contiguous",),
    ),
    "a strided view": (cell_network, (array(2 * T, B, I)[::2],), ValueError, ("x is not C-contiguous",)),
    "NaN": (cell_network, (spoiled(np.nan, 2, 1, 0),), ValueError, ("x[2, 1, 0] is nan", "finite")),
    "infinity": (cell_network, (spoiled(-np.inf, 3, 2, 1),), ValueError, ("x[3, 2, 1] is -inf", "finite")),
    "NaN within the length": (
        cell_network,
        (spoiled(np.nan, 1, 1, 1), None, [1, 2, 4]),
        ValueError,
        ("x[1, 1, 1] is nan", "finite"),
    ),
    "fractional lengths": (
        cell_network,
        (array(T, B, I), None, [1.0, 2.0, 3.0]),
        TypeError,
        ("lengths are float64", "integers"),
    ),
    "Boolean lengths": (
        cell_network,
        (array(T, B, I), None, [True] * B),
        ValueError,
        ("lengths are a mask of shape (3,)", "T=4"),
    ),
    "too few lengths": (
        cell_network,
        (array(T, B, I), None, [4, 4]),
        ValueError,
        ("lengths have shape (2,)", "one per row", "(3,)"),
    ),
    "lengths in two axes": (
        cell_network,
        (array(T, B, I), None, [[4, 4, 4]]),
        TypeError,
        ("lengths are int64 (1, 3)", "mask"),
    ),
    "a length beyond T": (
        cell_network,
        (array(T, B, I), None, [4, 5, 1]),
        ValueError,
        ("lengths[1] is 5", "4 steps", "from 1 to 4"),
    ),
    "a length below zero": (
        cell_network,
        (array(T, B, I), None, [4, 4, -1]),
        ValueError,
        ("lengths[2] is -1", "from 1"),
    ),
    "a negative length": (
        cell_network,
        (array(T, B, I), None, [-1, 4, 4]),
        ValueError,
        ("lengths[0] is -1",),
    ),
    "a state that is no tuple": (
        cell_network,
        (array(T, B, I), array(B, H)),
        ValueError,
        ("state", "tuple of 4"),
    ),
    "states of too few layers": (
        cell_network,
        (array(T, B, I), STATE[:3]),
        ValueError,
        ("state", "tuple of 4"),
    ),
    "an LSTM's state of one": (
        cell_network,
        (array(T, B, I), state(0, array(B, H))),
        TypeError,
        ("state", "(h, c)"),
    ),
    "a state's rows": (
        cell_network,
        (array(T, B, I), state(0, (array(B, H), array(2, H)))),
        ValueError,
        ("state", "c", "(2, 5)", "B=3, H=5"),
    ),
    "a state's type": (
        cell_network,
        (array(T, B, I), state(2, array(B, H, dtype=np.float64))),
        TypeError,
        ("state", "float64", "float32"),
    ),
    "a state that is a list": (
        cell_network,
        (array(T, B, I), state(2, [1.0])),
        TypeError,
        ("state", "list", "NumPy array"),
    ),
    "a state's order": (
        cell_network,
        (array(T, B, I), state(2, np.asfortranarray(array(B, H)))),
        ValueError,
        ("state", "not C-contiguous"),
    ),
    "a state for a layer without": (
        cell_network,
        (array(T, B, I), state(1, array(B, H))),
        TypeError,
        ("state", "Dropout", "None"),
    ),
    "an id beyond the table": (
        id_network,
        (ids(T, B, value=7, place=(2, 1)),),
        ValueError,
        ("x[2, 1] is 7", "from 0 to 6"),
    ),
    "a negative id": (
        id_network,
        (ids(T, B, value=-1, place=(0, 2)),),
        ValueError,
        ("x[0, 2] is -1", "from 0 to 6"),
    ),
    "an id beyond any integer": (
        id_network,
        (ids(T, B, value=2**64 - 1, place=(1, 1), dtype=np.uint64),),
        ValueError,
        ("x[1, 1] is 18446744073709551615", "from 0 to 6"),
    ),
    "fractional ids": (id_network, (array(T, B),), TypeError, ("x is float32", "integer ids")),
    "ids in a list": (id_network, ([[1, 2]],), TypeError, ("x is list", "integer ids")),
    "ids in one axis": (id_network, (ids(T),), ValueError, ("x has shape (4,)", "(T, B)")),
    "no ids": (id_network, (ids(0, B),), ValueError, ("x has shape (0, 3)", "at least one")),
    "a length beyond the ids": (
        id_network,
        (ids(T, B), None, [5, 1, 1]),
        ValueError,
        ("lengths[0] is 5", "4 steps"),
    ),
    "NaN before dense": (
        lambda: Network(Dense(I, 2)),
        (spoiled(np.nan, 0, 0, 1)[0],),
        ValueError,
        ("x[0, 1] is nan", "finite"),
    ),
    "features of dense": (
        lambda: Network(Dense(I, 2)),
        (array(T, B, 3),),
        ValueError,
        ("x has shape", "=2"),
    ),
    "one axis for dense": (
        lambda: Network(Dense(I, 2)),
        (array(I),),
        ValueError,
        ("x has shape (2,)", "=2"),
    ),
    "a list for dropout": (
        lambda: Network(Dropout(0.5)),
        ([1.0],),
        TypeError,
        ("x is a list", "NumPy array"),
    ),
    "another type for dropout": (
        lambda: Network(Dropout(0.5)),
        (array(T, B, I, dtype=np.float64),),
        TypeError,
        ("x is float64", "float32"),
    ),
    "dropout before bad features": (
        lambda: Network(Dropout(0.5), GRU(I, H)),
        (array(T, B, 3),),
        ValueError,
        ("x has shape (4, 3, 3)", "=2"),
    ),
    "dropout before bad lengths": (
        lambda: Network(Dropout(0.5), GRU(I, H)),
        (array(T, B, I), None, [9, 1, 1]),
        ValueError,
        ("lengths[0] is 9",),
    ),
    "two axes for a pool": (
        lambda: Network(MeanPool()),
        (array(B, I),),
        ValueError,
        ("x has shape (3, 2)", "(T, B, F)"),
    ),
    "no steps for a pool": (
        lambda: Network(LastStep()),
        (array(0, B, I),),
        ValueError,
        ("x has shape (0, 3, 2)", "one"),
    ),
    "no steps for a mean": (
        lambda: Network(MeanPool()),
        (array(0, B, I),),
        ValueError,
        ("x has shape (0, 3, 2)", "one"),
    ),
}


@pytest.mark.parametrize("case", FORWARD)
def test_forward_refuses(case):
    make, arguments, kind, pieces = FORWARD[case]
    net = make()
    net.grads.flat.fill(3)
    before = snapshot(net)
    with pytest.raises(kind) as error:
        net.forward(*arguments)
    assert_message(error, pieces)
    assert snapshot(net) == before


def test_switches_are_true_or_false():
    net = cell_network()
    with pytest.raises(TypeError, match="mode is 'x', but True or False is wanted"):
        net.train("x")
    assert net.training
    with pytest.raises(TypeError, match="record is 'no', but True or False is wanted"):
        net.forward(array(T, B, I), record="no")


def test_nan_and_infinity_beyond_the_lengths_are_no_input():
    x = spoiled(np.nan, 3, 1, 0)
    x[2, 2] = np.inf
    assert np.isfinite(cell_network().forward(x, None, [4, 3, 2])[0]).all()


def test_large_finite_numbers_are_accepted():
    """Their sum of squares overflows, but they are finite."""
    net = Network(Dense(I, 2))
    net.params.flat.fill(1e-6)
    assert np.isfinite(net.forward(spoiled(1e30, 0, 0, 0))[0]).all()


DSTATE = STATE
GOOD_DY = array(T, B, 2)

# name: network, dy, what to do to the tape, dstate, type of the error, pieces of its message
BACKWARD = {
    "no tape": (cell_network, GOOD_DY, lambda tape: None, None, ValueError, ("tape is None", "record=True")),
    "the tape of another network": (
        cell_network,
        GOOD_DY,
        lambda tape: tape[:2],
        None,
        ValueError,
        ("tape", "4"),
    ),
    "dy in a list": (cell_network, [1.0], None, None, TypeError, ("dy is a list", "NumPy array")),
    "dy in float64": (
        cell_network,
        array(T, B, 2, dtype=float),
        None,
        None,
        TypeError,
        ("dy is float64", "float32"),
    ),
    "dy of another shape": (
        cell_network,
        array(T, B, 3),
        None,
        None,
        ValueError,
        ("dy has shape (4, 3, 3)", "O=2"),
    ),
    "dy of fewer axes": (cell_network, array(B, 2), None, None, ValueError, ("dy has shape (3, 2)", "T=4")),
    "dy of more axes": (
        cell_network,
        array(1, T, B, 2),
        None,
        None,
        ValueError,
        ("dy has shape (1, 4, 3, 2)", "T=4"),
    ),
    "dy of one number": (cell_network, np.float32(1), None, None, TypeError, ("dy is a float32", "array")),
    "dy of one axis": (cell_network, array(2), None, None, ValueError, ("dy has shape (2,)", "O=2")),
    "dy in Fortran order": (
        cell_network,
        np.asfortranarray(GOOD_DY),
        None,
        None,
        ValueError,
        ("dy is not C-contiguous",),
    ),
    "dy for the embedding": (
        lambda: Network(Embedding(7, I)),
        array(T, B, 3),
        None,
        None,
        ValueError,
        ("dy has shape (4, 3, 3)", "E=2"),
    ),
    "dy of too few steps for the embedding": (
        lambda: Network(Embedding(7, I)),
        array(1, B, I),
        None,
        None,
        ValueError,
        ("dy has shape (1, 3, 2)", "T=4"),
    ),
    "dy in float64 for the embedding": (
        lambda: Network(Embedding(7, I)),
        array(T, B, I, dtype=float),
        None,
        None,
        TypeError,
        ("dy is float64", "float32"),
    ),
    "dy for an Elman layer": (
        lambda: Network(Elman(I, H)),
        array(T, 1, H),
        None,
        None,
        ValueError,
        ("dy has shape (4, 1, 5)", "B=3"),
    ),
    "one row of dy for the last step": (
        lambda: Network(LastStep()),
        array(1, I),
        None,
        None,
        ValueError,
        ("dy has shape (1, 2)", "B=3"),
    ),
    "too many features of dy for the last step": (
        lambda: Network(LastStep()),
        array(B, 3),
        None,
        None,
        ValueError,
        ("dy has shape (3, 3)", "F=2"),
    ),
    "one row of dy for the mean": (
        lambda: Network(MeanPool()),
        array(1, I),
        None,
        None,
        ValueError,
        ("dy has shape (1, 2)", "B=3"),
    ),
    "dy for dropout": (
        lambda: Network(Dropout(0.5)),
        array(T, 1, I),
        None,
        None,
        ValueError,
        ("dy has shape (4, 1, 2)", "B=3"),
    ),
    "dstate that is no tuple": (
        cell_network,
        GOOD_DY,
        None,
        array(B, H),
        ValueError,
        ("dstate", "tuple of 4"),
    ),
    "dstate of too few layers": (
        cell_network,
        GOOD_DY,
        None,
        DSTATE[:1],
        ValueError,
        ("dstate", "tuple of 4"),
    ),
    "dstate of the first layer": (
        cell_network,
        GOOD_DY,
        None,
        state(0, (array(B, H), array(B, 1))),
        ValueError,
        ("dstate", "c", "(3, 1)", "H=5"),
    ),
    "dstate of the third layer": (
        cell_network,
        GOOD_DY,
        None,
        state(2, array(B, H, dtype=float)),
        TypeError,
        ("dstate", "float64", "float32"),
    ),
    "dstate for a layer without": (
        cell_network,
        GOOD_DY,
        None,
        state(3, array(B, H)),
        TypeError,
        ("dstate", "Dense", "None"),
    ),
}


@pytest.mark.parametrize("case", BACKWARD)
def test_backward_refuses(case):
    make, dy, change, dstate, kind, pieces = BACKWARD[case]
    net = make()
    _, _, tape = net.forward(ids(T, B) if net.layers[0].takes_ids else array(T, B, I))
    net.grads.flat.fill(3)
    before = snapshot(net)
    with pytest.raises(kind) as error:
        net.backward(dy, change(tape) if change else tape, dstate)
    assert_message(error, pieces)
    assert snapshot(net) == before


@pytest.mark.parametrize(
    "layer", [LSTM(2, 3), GRU(2, 3), Elman(2, 3), Dense(2, 3), Dropout(0.5), LastStep()], ids=repr
)
def test_a_layer_without_a_network_says_so(layer):
    with pytest.raises(RuntimeError, match=f"this {type(layer).__name__} belongs to no network"):
        layer.forward(array(T, B, 2))
