"""The flat buffer and its named views are one memory under two faces."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore import LSTM, Bidirectional, Dense, Dropout, Network
from rnncore.params import Params

SHAPES = st.dictionaries(
    st.text("abc.0", min_size=1, max_size=5), st.lists(st.integers(1, 4), max_size=3).map(tuple), max_size=6
)
DTYPES = st.sampled_from([np.float32, np.float64])


@given(shapes=SHAPES, dtype=DTYPES)
def test_the_views_tile_the_buffer_in_order(shapes, dtype):
    params = Params(shapes, dtype)
    assert params.flat.shape == (sum(map(math.prod, shapes.values())),)
    assert params.flat.dtype == dtype
    assert not params.flat.any()
    params.flat[:] = np.arange(params.flat.size)
    start = 0
    for name, shape in shapes.items():
        view = params[name]
        assert view.shape == shape
        assert view.flags.c_contiguous
        assert view.base is not None
        np.testing.assert_array_equal(view.ravel(), np.arange(start, start + view.size))
        start += view.size


@given(shapes=SHAPES, dtype=DTYPES)
def test_it_is_a_mapping(shapes, dtype):
    params = Params(shapes, dtype)
    assert list(params) == list(params.keys()) == list(params.names) == list(shapes)
    assert len(params) == len(shapes)
    assert all(view is params[name] for name, view in params.items())
    assert "nowhere" not in params


@given(shapes=SHAPES, dtype=DTYPES)
def test_setting_copies_into_the_buffer(shapes, dtype):
    params = Params(shapes, dtype)
    flat = params.flat
    for number, (name, shape) in enumerate(shapes.items()):
        view = params[name]
        params[name] = np.full(shape, number + 1.0)
        assert params[name] is view
    assert params.flat is flat
    np.testing.assert_array_equal(
        flat, np.repeat(np.arange(len(shapes)) + 1.0, [*map(math.prod, shapes.values())])
    )


@given(shapes=SHAPES, dtype=DTYPES)
def test_what_is_assigned_to_flat_goes_into_the_buffer(shapes, dtype):
    params = Params(shapes, dtype)
    flat = params.flat
    params.flat = np.arange(flat.size)
    params.flat += 1
    assert params.flat is flat
    for place, number in enumerate(flat):
        assert params[params.at(place)].ravel()[0] <= number == place + 1
    with pytest.raises(ValueError, match=rf"flat is given shape \(\), but it has shape \({flat.size},\)"):
        params.flat = 0


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@given(shapes=SHAPES, dtype=DTYPES)
def test_a_copy_of_parameters_is_whole_and_apart(again, shapes, dtype):
    params = Params(shapes, dtype)
    params.flat = np.arange(params.flat.size)
    copied = again(params)
    np.testing.assert_array_equal(copied.flat, params.flat)
    assert copied.flat.dtype == dtype
    assert {name: view.shape for name, view in copied.items()} == shapes
    copied.flat.fill(-1)
    assert all((view == -1).all() for view in copied.values())
    assert (params.flat >= 0).all()


def test_parameters_say_what_they_are():
    assert repr(Network(Dense(3, 2)).params) == "<Params of 8 float32: 0.weight (2, 3), 0.bias (2,)>"


@given(shapes=SHAPES)
def test_at_finds_the_name_of_every_entry(shapes):
    params = Params(shapes)
    names = [name for name, shape in shapes.items() for _ in range(math.prod(shape))]
    assert [params.at(index) for index in range(params.flat.size)] == names
    assert [params.at(index) for index in range(-params.flat.size, 0)] == names
    for index in (params.flat.size, -params.flat.size - 1):
        with pytest.raises(IndexError, match=rf"index is {index}, but there are {params.flat.size} entries"):
            params.at(index)


def test_an_unknown_name_is_told_the_known_ones():
    params = Params({"0.weight": (2, 3), "0.bias": (2,)})
    with pytest.raises(KeyError, match=r"no parameter '0\.wieght'; there are 0\.weight, 0\.bias"):
        params["0.wieght"]
    with pytest.raises(KeyError, match=r"no parameter '0\.b'"):
        params["0.b"] = np.zeros(2)
    with pytest.raises(KeyError, match="there are none"):
        Params({})["x"]


@pytest.mark.parametrize("value", [np.zeros((3, 2)), np.zeros(6), np.zeros((1, 3)), 1.0])
def test_a_value_of_another_shape_is_refused_not_broadcast(value):
    params = Params({"weight": (2, 3)})
    params.flat[:] = 5
    with pytest.raises(ValueError, match=r"weight is given shape .*, but it has shape \(2, 3\)"):
        params["weight"] = value
    assert np.all(params.flat == 5)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copied_network_is_whole_and_apart(again):
    net = Network(Bidirectional(LSTM(3, 4)), Dropout(0.3), Dense(8, 2), seed=1).freeze("2.bias")
    x = np.ones((5, 2, 3), "f")
    net.grads.flat.fill(7)
    copied = again(net)
    np.testing.assert_array_equal(copied.forward(x)[0], net.forward(x)[0])  # the same random state, too
    assert copied.frozen == net.frozen
    assert (copied.grads["0.bias_reverse"] == 7).all()
    assert np.shares_memory(copied.layers[0].reverse.params["weight_hh"], copied.params.flat)
    before = net.params.flat.copy()
    copied.params.flat.fill(0)
    np.testing.assert_array_equal(net.params.flat, before)
    assert not copied.forward(x)[0].any()
    assert net.forward(x)[0].any()
