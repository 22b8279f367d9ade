"""Wrong settings of layers and networks get one error: the argument, what came, what is wanted."""

import numpy as np
import pytest
from laws import assert_message

from rnncore.layers import (
    GRU,
    LSTM,
    Clockwork,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    SkipElman,
)
from rnncore.network import Network

CONSTRUCTORS = {
    "no units": (lambda: LSTM(3, 0), ValueError, ("hidden_size is 0", "at least 1")),
    "negative inputs": (lambda: GRU(-3, 2), ValueError, ("input_size is -3", "at least 1")),
    "fractional units": (lambda: Elman(3, 2.5), TypeError, ("hidden_size is 2.5", "whole number")),
    "units in words": (lambda: Elman("3", 2), TypeError, ("input_size is '3'", "whole number")),
    "Boolean units": (lambda: GRU(3, True), TypeError, ("hidden_size is True", "whole number")),
    "an unknown activation": (
        lambda: Elman(3, 2, "tahn"),
        ValueError,
        ("activation is 'tahn'", "tanh, sigmoid, relu, identity"),
    ),
    "a forget bias of NaN": (
        lambda: LSTM(3, 2, forget_bias=np.nan),
        ValueError,
        ("forget_bias is nan", "finite"),
    ),
    "a forget bias in words": (
        lambda: LSTM(3, 2, forget_bias="1"),
        TypeError,
        ("forget_bias is '1'", "number"),
    ),
    "an empty table": (lambda: Embedding(0, 2), ValueError, ("num_embeddings is 0", "at least 1")),
    "no features": (lambda: Embedding(2, 0), ValueError, ("embedding_dim is 0", "at least 1")),
    "no outputs": (lambda: Dense(2, 0), ValueError, ("out_features is 0", "at least 1")),
    "fractional inputs": (lambda: Dense(2.0, 1), TypeError, ("in_features is 2.0", "whole number")),
    "dropping everything": (lambda: Dropout(1.0), ValueError, ("p is 1.0", "[0, 1)")),
    "a negative probability": (lambda: Dropout(-0.1), ValueError, ("p is -0.1", "[0, 1)")),
    "a probability of NaN": (lambda: Dropout(np.nan), ValueError, ("p is nan", "finite number")),
    "a probability in words": (lambda: Dropout("half"), TypeError, ("p is 'half'", "number")),
    "no layers": (lambda: Network(), ValueError, ("at least one layer",)),
    "layers in a list": (lambda: Network([Dense(2, 2)]), TypeError, ("layer 0 is a list", "layer is wanted")),
    "a class for a layer": (
        lambda: Network(Dense(2, 2), LastStep),
        TypeError,
        ("layer 1", "layer is wanted"),
    ),
    "half precision": (
        lambda: Network(Dense(2, 2), dtype="float16"),
        TypeError,
        ("dtype is float16", "float32 or"),
    ),
    "integers": (
        lambda: Network(Dense(2, 2), dtype=int),
        TypeError,
        ("dtype is int64", "float32 or float64"),
    ),
    "no type": (lambda: Network(Dense(2, 2), dtype=None), TypeError, ("dtype is None", "float32 or float64")),
    "another byte order": (lambda: Network(Dense(2, 2), dtype=">f8"), TypeError, ("dtype is >f8", "float64")),
    "an unknown type": (lambda: Network(Dense(2, 2), dtype="single-ish"), TypeError, ("dtype", "single-ish")),
    "a negative seed": (lambda: Network(Dense(2, 2), seed=-1), ValueError, ("seed is -1", "0")),
    "no seed": (lambda: Network(Dense(2, 2), seed=None), TypeError, ("seed is None", "whole number")),
    "a fractional seed": (lambda: Network(Dense(2, 2), seed=0.5), TypeError, ("seed is 0.5", "whole number")),
    "layers that do not fit": (
        lambda: Network(LSTM(3, 4), Dropout(0.1), Dense(5, 2)),
        ValueError,
        ("layer 2", "Dense", "5", "4"),
    ),
    "an embedding behind a layer": (
        lambda: Network(LSTM(3, 4), Embedding(5, 2)),
        ValueError,
        ("layer 1", "Embedding", "ids"),
    ),
    "steps behind a pool": (
        lambda: Network(LastStep(), LSTM(3, 4)),
        ValueError,
        ("layer 1", "LSTM", "steps"),
    ),
}


@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_constructors_refuse(case):
    make, kind, pieces = CONSTRUCTORS[case]
    with pytest.raises(kind) as error:
        make()
    assert_message(error, pieces)


SIZES = {
    "hidden_size": lambda n: LSTM(2, n),
    "input_size": lambda n: GRU(n, 2),
    "in_features": lambda n: Dense(n, 2),
    "out_features": lambda n: Dense(2, n),
    "num_embeddings": lambda n: Embedding(n, 2),
    "embedding_dim": lambda n: Embedding(2, n),
    "a delay": lambda n: SkipElman(2, 4, delays=(1, n)),
    "a period": lambda n: Clockwork(2, 4, periods=(1, n)),
    "batch": lambda n: Network(Elman(2, 2)).stream(n),
}


@pytest.mark.parametrize("value", [2**31, 2**32 + 1, 2**63 - 1, 2**63, 2**64 + 1, 10**4000])
@pytest.mark.parametrize("name", SIZES)
def test_a_size_beyond_all_memories_is_refused_where_it_is_given(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*, but at most 2147483647 can be used"):
        SIZES[name](value)


@pytest.mark.parametrize("make", [
    lambda n: LeakyElman(2, 3, leak=n), lambda n: Elman(2, 3, limit=n), lambda n: Dropout(n),
    lambda n: LSTM(2, 3, forget_bias=n), lambda n: GRU(2, 3, zoneout=n),
])  # fmt: skip
def test_a_number_beyond_all_floats_is_refused_where_it_is_given(make):
    with pytest.raises(ValueError, match="is too large for a float"):
        make(10**400)


def test_parameters_beyond_all_memories_are_refused():
    with pytest.raises(ValueError, match="more than any memory holds"):
        Network(Dense(2**31 - 1, 2**31 - 1))
