"""Model files: ``rnncore.load``, and then the network runs."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from numpy.random import Generator

import rnncore
from campaign import nets
from campaign.formats import tensors
from campaign.formats.reading import read
from campaign.subjects import Subject
from rnncore import GRU, Dense, Embedding, LastStep, Network
from rnncore.data import Classification, Forecast, Tokens, Vocabulary


def sound(rng: Generator) -> bytes:
    """A model file with whatever it may hold."""
    kind = int(rng.integers(4))
    if kind == 0:
        vocabulary = Vocabulary("abcdeé\n ")
        net = Network(Embedding(8, 3), GRU(3, 4), Dense(4, 8), seed=1)
        return written(net, vocabulary=vocabulary)
    if kind == 1:
        task = Classification(Tokens("words", ("good", "bad")), ("yes", "no"), "text", "label")
        return written(Network(Embedding(3, 2), GRU(2, 4), LastStep(), Dense(4, 2), seed=1), task=task)
    if kind == 2:
        forecast = Forecast(("a", "b"), ("a",), 4, 2, 1, (0.0, 1.0), (1.0, 2.0), False)
        return written(
            Network(GRU(forecast.features, 4), LastStep(), Dense(4, forecast.outputs)), task=forecast
        )
    net = nets.draw_network(rng, nets.one(rng, ("float32", "float64")), masks=True)
    if rng.random() < 0.2:
        net.freeze(next(iter(net.params)))
    return written(net)


def written(net: Network, **more: object) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        rnncore.save(net, path, **more)
        return path.read_bytes()


def make(rng: Generator) -> bytes:
    return tensors.mutate(rng, sound(rng))


def run(rng: Generator, path: Path) -> None:
    net = read(lambda: rnncore.load(path), path)
    repr(net), io.StringIO(str(net.task))
    nets.exercise(net)


SUBJECT = Subject("models", "model files, read and run", run, make, tensors.mutate, ".safetensors", weight=2)
