"""Modes of a network end with their block, also after an interrupt at any place."""

import contextlib
import copy
import pickle
import signal
import threading

import numpy as np
import pytest
from interrupting import places

from rnncore import modes, network, params
from rnncore.layers import GRU, Dense, Dropout, Elman
from rnncore.network import Network
from rnncore.trainer.interrupts import CtrlC

FILES = {contextlib.__file__, modes.__file__, network.__file__, params.__file__}


def make():
    return Network(Elman(2, 4), Dropout(0.5), GRU(4, 3), Dense(3, 2), seed=1)


def assert_writable(net, x):
    """Out of inference mode altogether: what is written counts."""
    assert net.params.flat.flags.writeable
    assert all(view.flags.writeable for view in net.params.values())
    before = net.eval().forward(x)[0]
    net.params.flat[:] *= 2
    after = net.forward(x)[0]
    net.params.flat[:] /= 2
    assert not np.array_equal(before, after)


def test_an_interrupt_anywhere_in_inference_mode_leaves_it(rng):
    net = make()
    x = rng.standard_normal((3, 2, 2)).astype("f4")

    def call():
        with net.inference_mode():
            net.layers[0].forward(x, record=False)

    for arrived in places(FILES, call):
        assert arrived
        assert_writable(net, x)
        with net.inference_mode():
            assert not net.params.flat.flags.writeable


@pytest.mark.parametrize("training", [False, True])
def test_an_interrupt_anywhere_in_evaluation_leaves_it(training):
    net = make().train(training)

    def call():
        with net.evaluating():
            pass

    for arrived in places(FILES, call):
        assert arrived
        assert net.training is training
        assert all(layer.training is training for layer in net.layers)


def test_of_several_threads_one_enters_inference_mode(rng):
    x = rng.standard_normal((3, 2, 2)).astype("f4")
    for _ in range(50):
        net = make()
        start, entered, refused = threading.Barrier(4), [], []
        leave = threading.Event()

        def enter():
            start.wait()  # noqa: B023
            try:
                with net.inference_mode():  # noqa: B023
                    entered.append(1)  # noqa: B023
                    leave.wait(5)  # noqa: B023
            except RuntimeError:
                refused.append(1)  # noqa: B023
                leave.set()  # noqa: B023

        threads = [threading.Thread(target=enter) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Who comes after the first has left may enter as well.
        assert len(entered) + len(refused) == 4
        assert entered
        assert refused
        assert_writable(net, x)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_is_not_in_inference_mode(duplicate, rng):
    net = make()
    with net.inference_mode():
        other = duplicate(net)
        assert_writable(other, rng.standard_normal((3, 2, 2)).astype("f4"))
        with other.inference_mode():
            pass


def test_ctrl_c_is_held_back_also_where_a_handler_of_ours_was_left_or_is_at_work():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outer = CtrlC()
        outer.__enter__()  # and not left, as after a second Ctrl-C at the wrong moment
        with CtrlC() as inner:
            signal.raise_signal(signal.SIGINT)
            assert inner.pressed
        assert not outer.pressed
        signal.raise_signal(signal.SIGINT)
        assert outer.pressed
        outer.__exit__(None, None, None)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
