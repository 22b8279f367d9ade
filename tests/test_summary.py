"""The table of a network, and facts of a user's own in its file."""

import numpy as np
import pytest

import rnncore
from rnncore import GRU, Bidirectional, Dense, Dropout, Embedding, LastStep, Network


def test_the_table_adds_up():
    net = Network(Embedding(30, 8), Bidirectional(GRU(8, 8)), LastStep(True), Dropout(), Dense(16, 2, "relu"))
    lines = net.freeze("0.*").summary().splitlines()
    assert len(lines) == 2 + len(net.layers) + 2
    cells = [line.split() for line in lines]
    assert cells[2][-3:] == ["240", "frozen", "0"]
    assert "(T, B, 16)" in lines[3]
    assert "(B, 2)" in lines[6]
    assert cells[3][-1] == str(2 * (3 * 8 * 8 + 3 * 8 * 8))
    assert cells[-1] == ["float32", f"{net.params.flat.size:,}", "800"]
    assert max(map(len, lines)) <= 110


def test_facts_are_saved_and_loaded(tmp_path):
    net, path = Network(Dense(2, 1)), tmp_path / "net.safetensors"
    assert net.metadata == {}
    facts = {"rate": 16000, "labels": ["yes", "no"], "who": {"name": "Ada"}, "none": None}
    rnncore.save(net, path, metadata=facts)
    again = rnncore.load(path)
    assert again.metadata == facts
    rnncore.save(again, path)
    assert rnncore.load(path).metadata == facts
    rnncore.save(again, path, metadata={})
    assert rnncore.load(path).metadata == {}


@pytest.mark.parametrize(
    ("facts", "error", "message"),
    [
        (["a"], TypeError, "metadata is a list; expected a dictionary"),
        ({"a": {1, 2}}, ValueError, "metadata cannot be written as JSON"),
        ({"a": float("nan")}, ValueError, "metadata cannot be written as JSON"),
        ({1: "a"}, ValueError, "expected strings as keys"),
        ({"a": (1, 2)}, ValueError, "lists for tuples"),
    ],
)
def test_facts_that_would_not_come_back_are_refused(facts, error, message, tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(error, match=message):
        rnncore.save(Network(Dense(2, 1)), path, metadata=facts)
    assert not path.exists()


def test_what_is_loaded_is_in_evaluation(tmp_path):
    rnncore.save(Network(Dropout(0.9), Dense(2, 1)), tmp_path / "net.safetensors")
    again = rnncore.load(tmp_path / "net.safetensors")
    assert not again.training
    x = np.ones((3, 2, 2), "f")
    np.testing.assert_array_equal(again.forward(x)[0], again.forward(x)[0])
