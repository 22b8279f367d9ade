"""Estimators and the command line take any cell: by name, class, function, or from a file that is named."""

import functools
import pickle

import numpy as np
import pytest

pytest.importorskip("click")

from commands import complaint, run

import rnncore
from rnncore import cells
from rnncore.cells import Cell, sigmoid, tanh
from rnncore.cells.choosing import choose_cell, named_cells

SOURCE = """
from rnncore.cells import LEM, Cell, sigmoid, tanh

class Mine(Cell):
    def step(self, x, h):
        f = sigmoid(self.linear("f", x, h))
        return (1 - f) * h + f * tanh(self.linear("n", x))

def slow(input_size, hidden_size):
    return LEM(input_size, hidden_size, dt=0.25)

number = 3
"""


class Own(Cell):
    """At the top of a module, where pickle finds it."""

    def step(self, x, h):
        f = sigmoid(self.linear("f", x, h))
        return (1 - f) * h + f * tanh(self.linear("n", x, f * h))


def test_names_are_those_of_the_built_in_cells_and_the_gallery():
    known = named_cells()
    assert {"Elman", "LSTM", "GRU", "MGU", "SRU", "LEM"} <= set(known)
    for name, kind in known.items():
        assert choose_cell(name) is choose_cell(name.lower()) is kind
        assert kind(2, 4).features()[0] == 2
    assert not {"LeakyElman", "StoredCell"} & set(known)
    for name in set(cells.GALLERY) - set(known):  # not made from two sizes
        with pytest.raises(ValueError, match=rf"is {name}, which needs .*functools.partial\({name}, "):
            choose_cell(name)


@pytest.mark.parametrize(("cell", "error", "message"), [
    ("mgru", ValueError, "cell is 'mgru'; expected the class of a cell or one of .*MGU"),
    ("Dense", ValueError, "cell is 'Dense'"),
    (3, TypeError, "cell is 3; expected the name of a cell, its class, or a function"),
    (rnncore.Dense, TypeError, "the class Dense; expected a subclass of rnncore.cells.Cell"),
    (Own(2, 3), TypeError, "is a layer, Own.*expected its class, Own"),
    (cells.ProjectedLSTM, ValueError, r"needs proj_size .*functools.partial\(ProjectedLSTM, proj_size=...\)"),
])  # fmt: skip
def test_what_is_no_cell_is_refused(cell, error, message):
    with pytest.raises(error, match=message):
        choose_cell(cell)


def test_a_function_must_make_a_layer():
    with pytest.raises(TypeError, match="cell made None of the sizes 2 and 3; expected a recurrent layer"):
        choose_cell(lambda input_size, hidden_size: None)(2, 3)


@pytest.mark.parametrize("cell", ["MGU", Own, functools.partial(cells.ProjectedLSTM, proj_size=3)], ids=str)
def test_estimators_learn_with_any_cell(cell):
    sklearn = pytest.importorskip("rnncore.sklearn")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5, 2)) + rng.choice([-1, 1], (60, 1, 1))
    y = (X[:, :, 0].sum(axis=1) > 0).astype(int)
    model = sklearn.RNNClassifier(
        cell=cell, hidden_size=6, num_layers=2, bidirectional=True, max_iter=8, random_state=1
    )
    assert model.fit(X, y).score(X, y) > 0.9
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    assert copied.partial_fit(X, y).n_iter_ == model.n_iter_ + 1


@pytest.fixture
def series(tmp_path, monkeypatch):
    """A folder with a series to forecast and a file of cells."""
    monkeypatch.chdir(tmp_path)
    values = "\n".join(f"{np.sin(t / 3):.4f}" for t in range(120))
    (tmp_path / "series.csv").write_text(f"value\n{values}\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("import math\nx = math.nothing\n")


TRAIN = ["train", "forecast", "series.csv", "--hidden", 5, "--epochs", 1, "--no-picture"]


@pytest.mark.usefixtures("series")
@pytest.mark.parametrize(("cell", "kind"), [
    ("mgu", "MGU"), ("LEM", "LEM"), ("mine.py:Mine", "StoredCell"), ("mine.py:slow", "LEM"),
    ("rnncore.cells:SRU", "SRU"),
])  # fmt: skip
def test_the_command_line_trains_any_cell_and_reads_it_back(cell, kind):
    run(*TRAIN, "--cell", cell)
    first = rnncore.load("model.safetensors").layers[0]
    assert type(first).__name__ == kind
    assert getattr(first, "name", kind) == ("Mine" if kind == "StoredCell" else kind)
    assert first.config().get("dt") == (0.25 if cell == "mine.py:slow" else None)
    assert "forecast" in run("info", "model.safetensors").output
    assert "value" in run("predict", "model.safetensors", "series.csv").output


@pytest.mark.usefixtures("series")
@pytest.mark.parametrize(("cell", "message"), [
    ("mgru", "'mgru' is none of "),
    ("ProjectedLSTM", "'ProjectedLSTM' is none of "),
    ("absent.py:Mine", "names the file absent.py, which does not exist"),
    ("mine:Mine", "the module mine, which Python does not find; write mine.py:CLASS"),
    ("absent:Mine", "which Python does not find, or a file as FILE.py:CLASS"),
    ("mine.py:Other", "mine.py has no 'Other'; its cells: Mine"),
    ("mine.py:number", "mine.py has no 'number'; its cells: Mine"),
    ("mine.py:sigmoid", "is sigmoid, which cannot be called with input_size and hidden_size"),
    ("rnncore.cells:ProjectedLSTM", "needs proj_size"),
    ("broken.py:Mine", "broken.py, line 2: module 'math' has no attribute 'nothing'"),
])  # fmt: skip
def test_the_command_line_says_what_is_wrong_with_a_cell(cell, message):
    said = complaint(*TRAIN, "--cell", cell)
    assert message in said
