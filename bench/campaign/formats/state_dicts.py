"""Weights of PyTorch in .safetensors files: ``rnncore.interop.torch.load_state_dict``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator

from campaign import nets
from campaign.formats import tensors
from campaign.formats.reading import read
from campaign.subjects import Subject
from rnncore import GRU, LSTM, Dense, Elman, Embedding, Network
from rnncore.interop.torch import load_state_dict

GATES = {"gru": 3, "lstm": 4, "rnn": 1}


def module(rng: Generator, prefix: str, gates: int, levels: int, ways: int) -> dict[str, np.ndarray]:
    """The state dict of an nn.RNN, nn.GRU or nn.LSTM of 2 inputs and 3 units."""
    found = {}
    for level in range(levels):
        inputs = 2 if level == 0 else 3 * ways
        for way in ("", "_reverse")[:ways]:
            shapes = {"weight_ih": (3 * gates, inputs), "weight_hh": (3 * gates, 3)}
            shapes |= {"bias_ih": (3 * gates,), "bias_hh": (3 * gates,)}
            for name, shape in shapes.items():
                found[f"{prefix}{name}_l{level}{way}"] = rng.standard_normal(shape).astype("f4")
    return found


def make(rng: Generator) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    if rng.random() < 0.5:
        arrays["embedding.weight"] = rng.standard_normal((5, 2)).astype("f4")
    prefix = nets.one(rng, ("", "rnn."))
    arrays |= module(rng, prefix, nets.one(rng, tuple(GATES.values())), *rng.integers(1, 3, 2).tolist())
    if rng.random() < 0.5:
        arrays |= {"head.weight": rng.standard_normal((2, 3)).astype("f4"), "head.bias": np.zeros(2, "f4")}
    return tensors.mutate(rng, tensors.put_together(arrays, None))


def run(rng: Generator, path: Path) -> None:
    whole = lambda cell: Network(Embedding(5, 2), cell(2, 3), Dense(3, 2))  # noqa: E731
    given = nets.one(rng, (None, None, *(lambda cell=cell: whole(cell) for cell in (Elman, LSTM, GRU))))
    net = None if given is None else given()
    nets.exercise(read(lambda: load_state_dict(path, net, nonlinearity=nets.one(rng, (None, "tanh"))), path))


SUBJECT = Subject("state_dicts", "PyTorch's weights", run, make, tensors.mutate, ".safetensors")
