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
    MeanPool,
    Network,
    SkipElman,
    SquaredError,
    save,
)
from rnncore.data import Classification, Forecast, Tokens, Vocabulary
from rnncore.diagnostics import GradientMonitor, diagnose, weight_contributions

pytest.importorskip("click")
pytest.importorskip("matplotlib")

from click.testing import CliRunner

from rnncore.cli import main
from rnncore.cli.diagnose import read_look
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


def labelled_model(path, columns=(None, None), labels=("neg", "pos")):
    texts = ["a good film", "what a bad idea this was", "good"]
    task = Classification(Tokens.from_texts(texts), labels, *columns)
    net = Network(Embedding(len(task.tokens), 3), GRU(3, 4), MeanPool(), Dense(4, len(labels)))
    save(net, path, task=task)
    return texts, task


def test_a_model_of_labelled_texts_on_the_files_that_give_the_labels(folder):
    texts, task = labelled_model(folder / "films.safetensors")
    (folder / "films.neg").write_text("bad\n" * 30 + f"{texts[1]}\n")
    (folder / "films.pos").write_text("a good one é\n", encoding="latin-1")
    words = ("films.safetensors", "films.neg", "films.pos", "--encoding", "latin-1", "--rows", 4)
    net, batch, loss = read_look(words[0], words[1:3], None, 4, None, "latin-1", None)
    assert batch.lengths.tolist() == [1, 1, 1, 4]  # spread over the data, the last one among them
    assert batch.target.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(batch.x[:, 3], task.sequences(["a good one é"])[0])
    want = diagnose(net, batch, loss)
    assert f"verdict: {want.verdict} (loss {want.loss:.4g}, 4 steps)" in run(*words).output
    check_page(folder / "films.html")
    for words, part in (
        (("films.safetensors",), "no files are given, but the model wants one per label"),
        (("films.safetensors", "text"), "labels[0] is 'text', which is none of 'neg', 'pos'"),
        (("films.safetensors", "films.neg", "--delimiter", ","), "--delimiter wants a table"),
        (("films.safetensors", "films.neg", "--steps", 3), "--steps is for a text, but films.neg is not"),
    ):
        assert part in run(*words, status=2).stderr


def test_a_model_of_labelled_texts_on_the_table_that_it_was_trained_on(folder):
    texts, _ = labelled_model(folder / "films.safetensors", ("review", "verdict"))
    (folder / "films.csv").write_text("verdict;review\n" + "".join(f"neg;{text}\n" for text in texts))
    assert "verdict: " in run("films.safetensors", "films.csv", "--delimiter", ";").output
    line = run("films.safetensors", "films.csv", "films.csv", status=2).stderr
    assert "2 files are given, but the model wants one table of 'review' and 'verdict'" in line


def test_a_model_of_a_time_series_on_windows_from_all_over_it(folder):
    """Also where values are missing."""
    values = np.sin(np.arange(80.0))[:, None]
    values[[3, 40, 79]] = np.nan
    task = Forecast.fit(values, ["level"], ["level"], 60, window=12, horizon=2)
    save(Network(GRU(2, 4), LastStep(), Dense(4, 2)), folder / "tide.safetensors", task=task)
    cells = ["" if np.isnan(value) else f"{value:.17g}" for value in values[:, 0]]
    (folder / "tide.csv").write_text("day,level\n" + "".join(f"{n},{c}\n" for n, c in enumerate(cells)))
    net, batch, loss = read_look("tide.safetensors", ["tide.csv"], None, 3, None, None, None)
    assert batch.x.shape == (12, 3, 2)
    np.testing.assert_allclose(task.unscale(batch.target)[-1, 0, 0], values[78, 0], rtol=1e-6)
    assert np.isnan(batch.target[-1, 1])
    want = diagnose(net, batch, loss)
    assert f"loss {want.loss:.4g}, 12 steps" in run("tide.safetensors", "tide.csv", "--rows", 3).output
    check_page(folder / "tide.html")
    line = run("tide.safetensors", status=2).stderr
    assert "no files are given, but the model wants one time series" in line


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
        (("rows.safetensors",), "no vocabulary and no task: DATA.npz"),
        (("rows.safetensors", "rows.npz", "--steps", "3"), "--steps is for a text, but rows.npz is not"),
        (("rows.safetensors", "rows.npz", "--encoding", "utf-8"), "--encoding is for labelled texts and"),
        (("text.safetensors", "text", "text"), "2 files are given, but a model that writes text reads one"),
        (("text.safetensors", "--delimiter", ","), "--delimiter is for tables, but the builtin text is not"),
        (("rows.safetensors", "other.npz"), "arrays x and target are wanted"),
        (("rows.safetensors", "broken.npz"), "cannot be read as .npz"),
        (("rows.safetensors", "missing.npz"), "missing.npz"),
        (("rows.safetensors", "flat.npz"), "x has shape (3,)"),
        (("rows.safetensors", "rows.npz", "--loss", "binary"), "target"),
        (("text.safetensors", "text", "--loss", "binary"), "--loss is for DATA.npz, but text is not"),
    ):
        line = run(*words, status=2).stderr
        assert part in line, (words, line)
        assert line.count("\n") == 1
