"""What the tests of training share: small networks, data, and runs to compare."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from rnncore import GRU, LSTM, Dense, Dropout, Elman, Embedding, LeakyElman, Network, SkipElman
from rnncore.losses import CrossEntropy
from rnncore.optimizers import Adam
from rnncore.trainer import Trainer

CLASSES = 7
CELLS = {
    "lstm": LSTM,
    "gru": GRU,
    "elman": Elman,
    "skip": lambda inputs, units: SkipElman(inputs, units, (1, 3)),
    "noisy": lambda inputs, units: LeakyElman(
        inputs, units, time_constants=(1, 9), learn_leak=True, noise=0.2, excitatory=0.6,
        recurrent_dropout=0.1, zoneout=0.1,
    ),
}  # fmt: skip


def batch(x, target, lengths=None, starts=None):
    return SimpleNamespace(x=x, target=target, lengths=lengths, starts=starts)


def draw_batch(steps=12, rows=3, seed=0, **more):
    """Ids and their successors in a noisy cycle, (T, B)."""
    rng = np.random.default_rng(seed)
    cycle = np.arange(steps + 1)[:, None] + rng.integers(0, CLASSES, rows)
    ids = (cycle + (rng.random((steps + 1, rows)) < 0.2)) % CLASSES
    return batch(np.ascontiguousarray(ids[:-1]), np.ascontiguousarray(ids[1:]), **more)


class Source:
    """Three batches an epoch, drawn from (seed, epoch, index); counts what is asked of it."""

    def __init__(self, batches=3, steps=12, rows=3, seed=0, starts=False, ragged=False):
        self.n, self.steps, self.rows, self.seed = batches, steps, rows, seed
        self.starts, self.ragged = starts, ragged

    def __len__(self):
        return self.n

    def batches(self, epoch, start=0):
        for index in range(start, self.n):
            rng = np.random.default_rng((self.seed, epoch, index))
            starts = rng.random((self.steps, self.rows)) < 0.15 if self.starts else None
            lengths = rng.integers(1, self.steps + 1, self.rows) if self.ragged else None
            yield draw_batch(self.steps, self.rows, int(rng.integers(2**31)), starts=starts, lengths=lengths)


def text_network(cell="lstm", dropout=0.0, dtype="float32", seed=1):
    """Ids in, logits out."""
    recurrent = CELLS[cell](4, 5)
    layers = Embedding(CLASSES, 4), recurrent, Dropout(dropout), Dense(5, CLASSES)
    return Network(*layers, seed=seed, dtype=dtype)


def make_trainer(net=None, optimizer=None, **more):
    """A silent trainer of a character network."""
    net = text_network() if net is None else net
    return Trainer(net, CrossEntropy(), optimizer or Adam(1e-2), **{"progress": "off", **more})


def measured(history):
    """A history without its times."""
    steps = [{name: value for name, value in row.items() if name != "seconds"} for row in history.steps]
    return steps, list(history.validations)
