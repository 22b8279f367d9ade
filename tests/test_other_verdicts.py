"""Verdicts on networks that no rule was made with: other sizes, cells, tasks and seeds, and trained ones."""

import numpy as np
import pytest
from test_verdict import parting, scaled, shut, weights

from rnncore import (
    GRU,
    LSTM,
    Adam,
    Bidirectional,
    ClipNorm,
    CrossEntropy,
    Dense,
    Elman,
    LastStep,
    Network,
    SquaredError,
    Trainer,
)
from rnncore.data import Batch
from rnncore.diagnostics import diagnose
from rnncore.initializers import orthogonal, spectral_radius
from rnncore.layers import LeakyElman

I = 5


def last(layer, seed):
    return Network(layer, LastStep(), Dense(layer.hidden_size, 3), seed=seed)


def each(*layers, seed):
    return Network(*layers, Dense(layers[-1].hidden_size, 1), seed=seed)


def task(steps, rows, rng):
    """A symbol is shown at the first step, then comes noise."""
    symbol = rng.integers(0, 3, rows)
    x = 0.3 * rng.standard_normal((steps, rows, I)).astype(np.float32)
    x[0] = np.eye(I, dtype=np.float32)[symbol]
    return Batch(x, symbol)


def trained(layer, steps, seed):
    net, rng = last(layer, seed), np.random.default_rng(seed)
    batches = [task(steps, 32, rng) for _ in range(100)]
    trainer = Trainer(net, CrossEntropy(), Adam(lr=3e-3), clip=ClipNorm(1.0), progress="off")
    trainer.fit(batches, steps=300)
    return net, task(steps, 200, rng)


def wild(net, gain):
    return weights(net, spectral_radius, gain, 7)


# What it should be called; the network; steps, rows and seed of its data, their scale and mean.
CASES = [
    ("vanishing", lambda: weights(last(Elman(I, 100), 11), orthogonal, 0.8, 7), 100, 6, 1, 0.5, 0),
    ("vanishing", lambda: last(Elman(I, 40, recurrent_init="uniform:0.1"), 5), 80, 3, 2, 1, 0),
    ("vanishing", lambda: shut(last(GRU(I, 24), 4), "bias", -3.0, slice(24, 48)), 90, 5, 3, 1, 0),
    ("vanishing", lambda: each(LSTM(I, 50, forget_bias=-1.0), seed=4), 150, 5, 3, 1, 0),
    ("vanishing", lambda: weights(last(Elman(I, 30, "identity"), 4), orthogonal, 0.9, 7), 200, 5, 3, 1, 0),
    ("exploding", lambda: wild(last(Elman(I, 70, "identity"), 2), 1.15), 90, 4, 5, 0.3, 0),
    ("exploding", lambda: wild(each(Elman(I, 80, "relu"), seed=2), 2.5), 50, 4, 5, 0.3, 0),
    ("exploding", lambda: scaled(last(Elman(I, 20, "relu", recurrent_init="identity"), 2), "weight_hh", 1.08),
     120, 4, 5, 1, 0),
    ("exploding", lambda: weights(last(Elman(I, 16, "identity"), 2), orthogonal, 3.0, 7), 25, 4, 5, 1, 0),
    ("saturated", lambda: last(Elman(I, 60), 8), 40, 7, 9, 100, 0),
    ("saturated", lambda: last(GRU(I, 30), 8), 40, 7, 9, 1, 50),
    ("saturated", lambda: scaled(each(LSTM(I, 48), seed=8), "weight_ih", 60), 70, 7, 9, 1, 0),
    ("saturated", lambda: shut(last(Elman(I, 60), 8), "bias", 4.0, ...), 40, 7, 9, 1, 0),
    ("saturated", lambda: scaled(last(Elman(I, 60, "sigmoid"), 8), "weight_ih", 40), 45, 7, 9, 1, 0),
    ("dead", lambda: shut(last(Elman(I, 64, "relu"), 6), "bias", -20.0, slice(29)), 50, 6, 2, 1, 0),
    ("dead", lambda: shut(each(LeakyElman(I, 32, leak=0.3, activation="relu"), seed=6), "bias", -50.0,
     slice(20)), 60, 6, 2, 1, 0),
    ("dead", lambda: shut(last(Elman(I, 40, "relu"), 1), "weight_ih", 0.5, ...), 50, 6, 2, 1, -10),
    ("chaotic", lambda: wild(last(Elman(I, 100), 1), 2.0), 120, 5, 4, 0.1, 0),
    ("chaotic", lambda: wild(each(Elman(I, 200), seed=1), 4.0), 80, 4, 4, 0.1, 0),
    ("chaotic", lambda: wild(last(LSTM(I, 64), 1), 10.0), 120, 4, 4, 0.1, 0),
    ("chaotic", lambda: wild(each(GRU(I, 64), seed=1), 12.0), 100, 4, 4, 0.1, 0),
    ("chaotic", lambda: wild(each(LeakyElman(I, 80, leak=0.5), seed=1), 4.0), 150, 4, 4, 0.1, 0),
    ("healthy", lambda: last(Elman(I, 100, recurrent_init="orthogonal"), 1), 60, 6, 1, 0.1, 0),
    ("healthy", lambda: each(LSTM(I, 80, chrono=150), seed=1), 150, 4, 1, 1, 0),
    ("healthy", lambda: last(GRU(I, 40, chrono=100), 1), 100, 4, 1, 1, 0),
    ("healthy", lambda: last(Elman(I, 40, "relu", recurrent_init="identity"), 1), 40, 4, 1, 0.1, 0),
    ("healthy", lambda: Network(Bidirectional(LSTM(I, 20, chrono=50)), Dense(40, 1), seed=2), 50, 4, 1, 1, 0),
]  # fmt: skip
# Their perturbations grow for a while after the symbol, and die in the long run.
TRAINED = [
    (lambda: Elman(I, 40, recurrent_init="orthogonal"), 30, 21),
    (lambda: LSTM(I, 24, chrono=50), 50, 22),
    (lambda: GRU(I, 24, chrono=40), 40, 23),
]


def verdict(make, steps, rows, seed, scale, mean):
    rng, net = np.random.default_rng(seed), make()
    x = (scale * rng.standard_normal((steps, rows, I)) + mean).astype(np.float32)
    if any(layer.pools for layer in net.layers):
        return diagnose(net, Batch(x, rng.integers(0, 3, rows)), CrossEntropy()).verdict
    target = rng.standard_normal((steps, rows, 1)).astype(np.float32)
    return diagnose(net, (x, target), SquaredError()).verdict


def test_nineteen_of_twenty_networks_are_told_right():
    told = [(wanted, verdict(*case), number) for number, (wanted, *case) in enumerate(CASES)]
    wrong = [entry for entry in told if entry[0] != entry[1]]
    assert len(wrong) <= 0.05 * len(CASES), wrong


@pytest.mark.parametrize("number", [n for n, (wanted, *_) in enumerate(CASES) if wanted == "chaotic"])
def test_what_is_made_chaotic_parts_from_its_neighbours(number):
    _, make, _, rows, seed, scale, _ = CASES[number]
    inputs = scale * np.random.default_rng(seed).standard_normal((1500, rows, I))
    rate, error = parting(make().layers[0], inputs)
    assert rate > max(0.04, 5 * error)


def test_networks_that_have_learned_their_task_are_healthy():
    for make, steps, seed in TRAINED:
        net, batch = trained(make(), steps, seed)
        y, _, _ = net.forward(batch.x, record=False)
        assert (y.argmax(axis=1) == batch.target).mean() > 0.9
        assert diagnose(net, batch, CrossEntropy()).verdict == "healthy"
