"""``rnncore diagnose``: the report in the terminal, one page that needs nothing else, one line when it
fails."""

import json
import re

import numpy as np
import pytest
from training import Source, make_trainer

from rnncore import (
    GRU,
    LSTM,
    Bidirectional,
    Clockwork,
    CrossEntropy,
    Dense,
    Elman,
    Embedding,
    LastStep,
    Network,
    SkipElman,
    SquaredError,
    save,
)
from rnncore.data import Vocabulary
from rnncore.diagnostics import GradientMonitor, diagnose, weight_contributions

pytest.importorskip("click")
pytest.importorskip("matplotlib")

from click.testing import CliRunner

from rnncore.cli import main
from rnncore.diagnostics.page import _contributions, write_page

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 20


def run(*words, status=0):
    result = CliRunner().invoke(main, ["diagnose", *map(str, words)])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vocabulary = Vocabulary.from_text(TEXT)
    size = len(vocabulary)
    (tmp_path / "text").write_text(TEXT)
    save(Network(Embedding(size, 4), LSTM(4, 6), Dense(6, size)), tmp_path / "text.safetensors", vocabulary)
    net = Network(Elman(2, 5), LastStep(), Dense(5, 3))
    net.params["0.weight_hh"][...] *= 0.1
    save(net, tmp_path / "rows.safetensors")
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((30, 4, 2)), rng.integers(0, 3, 4)
    np.savez(tmp_path / "rows.npz", x=x, target=target, lengths=[30, 20, 30, 25])
    return tmp_path


def check_page(path):
    """Nothing is fetched from anywhere, and every picture is inside."""
    page = path.read_text()
    images = re.findall(r'<img alt="([^"]+)" src="(data:image/png;base64,)', page)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    return page, [name for name, _ in images]


def test_a_text_model_on_its_text(folder):
    out = run("text.safetensors", "text", "--steps", 20, "--rows", 3, "--json", "report.json").output
    assert "verdict: " in out
    assert "half-life" in out
    page, names = check_page(folder / "text.html")
    assert "Verdict" in page
    for part in ("Gradient flow", "Reach", "Contributions", "Singular", "Lyapunov", "Eigenvalues", "Gate f"):
        assert any(part in name for name in names), part
    assert json.loads((folder / "report.json").read_text())["steps"] == 20


def test_arrays_of_rows_that_end_early(folder):
    out = run("rows.safetensors", "rows.npz", "--page", "own.html").output
    assert "verdict: vanishing" in out
    page, _ = check_page(folder / "own.html")
    assert "LSTM(2, 5, chrono=30)" in page


def test_without_data_the_builtin_text_is_read(folder):
    assert "verdict" in run("text.safetensors", "--steps", 15, "--rows", 2).output


def test_a_page_of_both_directions_and_a_training(folder):
    monitor = GradientMonitor(every=3, warn=False)
    make_trainer(monitor=monitor).fit(Source(), steps=5)
    net = Network(Bidirectional(GRU(2, 4)), Elman(8, 3, "relu"), dtype="float64")
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((12, 3, 2)), rng.standard_normal((12, 3, 3))
    report = diagnose(net, (x, target), SquaredError())
    write_page(folder / "a.html", report, net, x, target, SquaredError(), title="<a & b>", monitor=monitor)
    page, names = check_page(folder / "a.html")
    assert "&lt;a &amp; b&gt;" in page
    assert any("Training" in name for name in names)


@pytest.mark.parametrize("layer", [SkipElman(2, 4, delays=(1, 3)), Clockwork(2, 4, periods=(1, 2))])
def test_a_page_says_what_several_ways_through_time_do_not_have(layer, folder):
    net, rng = Network(layer, dtype="float64"), np.random.default_rng(0)
    x, target = rng.standard_normal((12, 3, 2)), rng.standard_normal((12, 3, 4))
    write_page(folder / "a.html", diagnose(net, (x, target), SquaredError()), net, x, target, SquaredError())
    page, names = check_page(folder / "a.html")
    assert len(names) == 3
    assert "Layer 0: a step is no function of the one state before it" in page


def test_contributions_behind_a_pooling_layer_are_those_of_rows_that_end_together():
    """The lag of a row that ends early is not that of the others."""
    net, rng = Network(LSTM(2, 4), LastStep(), Dense(4, 3), dtype="float64"), np.random.default_rng(0)
    x, target, lengths = rng.standard_normal((12, 4, 2)), rng.integers(0, 3, 4), np.array([9, 10, 4, 10])
    found = _contributions(net, x, target, CrossEntropy(), lengths, None)["0"]
    some = weight_contributions(net, x[:10, [1, 3]].copy(), target[[1, 3]], CrossEntropy())["0"]
    np.testing.assert_array_equal(found.by_lag(), some.by_lag())
    assert len(found.by_lag()) == 10


def test_whatever_is_wrong_is_one_line(folder):
    np.savez(folder / "other.npz", a=np.zeros(3))
    (folder / "broken.npz").write_text("no archive")
    np.savez(folder / "flat.npz", x=np.zeros(3), target=np.zeros(3))
    for words, part in (
        (("nothing.safetensors",), "nothing.safetensors"),
        (("rows.safetensors",), "no vocabulary"),
        (("rows.safetensors", "other.npz"), "arrays x and target are wanted"),
        (("rows.safetensors", "broken.npz"), "cannot be read as .npz"),
        (("rows.safetensors", "missing.npz"), "missing.npz"),
        (("rows.safetensors", "flat.npz"), "x has shape (3,)"),
        (("rows.safetensors", "rows.npz", "--loss", "binary"), "target"),
        (("text.safetensors", "text", "--loss", "binary"), "--loss is for DATA.npz"),
    ):
        line = run(*words, status=2).stderr
        assert part in line, (words, line)
        assert line.count("\n") == 1
