"""Records of arrays say what they hold, in a few lines however much it is."""

import re
from dataclasses import fields

import numpy as np
import pytest

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    CrossEntropy,
    Dense,
    Dropout,
    Elman,
    Embedding,
    LastStep,
    LeakyElman,
    Network,
    SkipElman,
)
from rnncore.data import Batch
from rnncore.diagnostics import diagnose, jacobian_spectrum, lyapunov_exponents


def test_arrays_are_shown_by_type_and_shape_and_short_ones_by_their_numbers():
    batch = Batch(np.zeros((500, 40, 3), "f"), np.zeros((500, 40), int), lengths=np.array([5, 7]))
    assert repr(batch) == (
        "Batch(x=float32 (500, 40, 3), target=int64 (500, 40), lengths=[5, 7], starts=None, weights=None)"
    )


LAYERS = [
    lambda: Elman(3, 16),
    lambda: LeakyElman(3, 16, leak=0.5, noise=0.1),
    lambda: SkipElman(3, 16, delays=(1, 4)),
    lambda: Clockwork(3, 16, periods=(1, 2)),
    lambda: LSTM(3, 16, recurrent_dropout=0.1, zoneout=0.1),
    lambda: LSTM(3, 16, checkpoint_every=10),
    lambda: Bidirectional(GRU(3, 8)),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_tape_names_what_it_holds(layer):
    net = Network(Embedding(5, 3), layer(), Dropout(0.5), LastStep(), Dense(16, 2))
    _, _, tapes = net.forward(np.zeros((30, 20), int))
    for tape in tapes:
        assert len(repr(tape)) < 600
        assert all(f"{entry.name}=" in repr(tape) for entry in fields(tape) if entry.repr)
    assert "hidden=float32 (" in repr(tapes[1])


def test_measurements_are_shown_without_their_arrays():
    net = Network(LSTM(3, 16), Dense(16, 2))
    x = np.random.default_rng(0).standard_normal((30, 20, 3)).astype("f")
    _, _, tape = net.forward(x)
    report = diagnose(net, (x, np.zeros((30, 20), int)), CrossEntropy())
    for measured in (report, report.flow, report.health, report.flow["0"], report.health["0"]):
        assert len(repr(measured)) < 2500
    assert re.match(r"Lyapunov\(exponents=\[-\d\S+, ", repr(lyapunov_exponents(net.layers[0], x, k=2)))
    assert "log_values=float64 (20, 32)" in repr(jacobian_spectrum(net.layers[0], tape[0], state="all"))
