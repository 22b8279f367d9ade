"""A new cell is one file, its oracle and a row; the page of docs about cells says what is true."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import numpy as np
from gallery import over_time, sigmoid
from test_gallery import Problem, check_forward, check_gradients

import rnncore
from rnncore import cells

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cells.md"

NEW = """
from rnncore.cells import Cell, sigmoid, tanh

class Newcomer(Cell):
    def step(self, x, h):
        f = sigmoid(self.linear("f", x, h))
        n = tanh(self.linear("n", x, f * h))
        return (1 - f) * h + f * n
"""


@over_time
def oracle(p, o, x, h):
    above_f, above_n = np.split(x @ p["weight_ih"].T + p["bias"], 2, axis=-1)
    f = sigmoid(above_f + h @ p["weight_hh"].T)
    return (1 - f) * h + f * np.tanh(above_n + (f * h) @ p["weight_n"].T)


def test_a_new_cell_touches_one_file(tmp_path, monkeypatch):
    """Beside its oracle and its row: nothing in the package knows it, and every law of the gallery holds."""
    path = tmp_path / "newcomer.py"
    path.write_text(NEW)
    assert [file.name for file in tmp_path.iterdir()] == ["newcomer.py"]
    spec = importlib.util.spec_from_file_location("newcomer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(cells, "Newcomer", module.Newcomer, raising=False)
    row = ("Newcomer", {}, oracle, 1)
    check_forward(Problem(row))
    check_gradients(Problem(row))
    problem = Problem(row)
    rnncore.save(problem.net, tmp_path / "net.safetensors")
    back = rnncore.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(back.forward(problem.x)[0], problem.net.forward(problem.x)[0])
    assert "W_n0 x[t] + W_n1 (sigmoid(f) * h[t-1]) + b_n" in str(back.layers[0])


def test_where_the_gallerys_cells_are_named():
    """One file of rnncore/cells, GALLERY, the tests' table, and the page; no other part of the package."""
    naming = {
        path.relative_to(ROOT / "rnncore").parts[0]
        for path in (ROOT / "rnncore").rglob("*.py")
        if re.search(r"\b(JANET|UGRNN|FastGRNN|PlasticRate)\b", path.read_text())
    }
    assert naming == {"cells"}


def test_the_page_lists_the_gallery_with_its_sources():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE.read_text(), re.MULTILINE))
    assert list(rows) == list(cells.GALLERY)
    for name, source in rows.items():
        assert source in " ".join(cells.GALLERY[name].__doc__.split()), name


def test_what_the_page_prints_is_what_comes_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, compared = {"__name__": "__main__"}, 0
    blocks = re.finditer(
        r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block[1], str(PAGE), "exec"), namespace)
        if block[2] is not None:
            assert printed.getvalue() == block[2]
            compared += 1
    assert compared == 5
