"""The command line on labelled text and time series: from a file to scores, from a model to predictions."""

import csv
import io
import json

import numpy as np
import pytest

import rnncore
from rnncore.data import Classification, Forecast, Tokens, random_split
from rnncore.files import load, read_tensors, save, write_tensors
from rnncore.metrics import mae, mase

pytest.importorskip("click")
pytest.importorskip("matplotlib")

from commands import complaint, run

GOOD, BAD = ("good", "fine", "great", "lovely"), ("bad", "dull", "awful", "boring")
PLAIN = ("the", "film", "was", "and", "it")
COLUMNS = ["--text-column", "said", "--label-column", "verdict"]
SMALL = ["--hidden", 6, "--embedding", 8, "--batch", 16, "--progress", "off", "--lr", 0.02]


def sentences(n=240, seed=0):
    """Texts and labels: which kind of word occurs decides."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        label = ("bad", "good")[rng.integers(2)]
        words = [*rng.choice(PLAIN, rng.integers(2, 9)), rng.choice(GOOD if label == "good" else BAD)]
        yield " ".join(rng.permutation(words)), label


def write_series(path, n=400, holes=0.0, seed=0):
    """Two waves with noise and a column of text; returns the numbers."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    values = np.stack([20 + 5 * np.sin(t / 3), 1e3 * np.cos(t / 3)], axis=1) + rng.standard_normal((n, 2)) / 5
    values[rng.random((n, 2)) < holes] = np.nan
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["day", "heat", "flow"])
        for i, row in enumerate(values.tolist()):
            writer.writerow([f"d{i}", *("" if np.isnan(value) else repr(value) for value in row)])
    return values


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Data files, and a model of each kind that has learned them, with what training said."""
    folder = tmp_path_factory.mktemp("tasks")
    data = list(sentences())
    lines = "".join(f"{i}\t{text}\t{label}\n" for i, (text, label) in enumerate(data))
    (folder / "reviews.tsv").write_text("id\tsaid\tverdict\n" + lines)
    for label in ("good", "bad"):
        texts = [text for text, own in data if own == label]
        (folder / f"film.{label}").write_text("\n".join(texts) + "\n")
    write_series(folder / "series.csv")
    said = {
        "table": run(
            "train", "classify", folder / "reviews.tsv", *COLUMNS, *SMALL, "--epochs", 8,
            "--out", folder / "table.safetensors",
        ).output,
        "files": run(
            "train", "classify", folder / "film.good", folder / "film.bad", *SMALL, "--epochs", 8,
            "--out", folder / "files.safetensors",
        ).output,
        "series": run(
            "train", "forecast", folder / "series.csv", "--target", "flow", "--columns", "heat,flow",
            "--horizon", 4, "--season", 19, "--window", 20, "--hidden", 8, "--lr", 0.02, "--epochs", 12,
            "--progress", "off", "--out", folder / "series.safetensors",
        ).output,
    }  # fmt: skip
    return folder, said


def score(output, row, column=-1):
    (line,) = [line for line in output.splitlines() if line.strip().startswith(row)]
    return float(line.split()[column])


@pytest.mark.parametrize("kind", ["table", "files"])
def test_words_that_decide_are_learned_and_scored(shelf, kind):
    folder, said = shelf
    assert score(said[kind], "test, this network", -2) > 0.9
    assert score(said[kind], "test, this network") > 0.9
    assert score(said[kind], "test, always", -2) < 0.8
    assert (folder / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    task = load(folder / f"{kind}.safetensors").task
    assert task.labels == ("bad", "good")
    assert (task.text, task.label) == (("said", "verdict") if kind == "table" else (None, None))


def test_the_vocabulary_is_that_of_the_training_part(shelf, tmp_path):
    """What occurs in validation or test alone is unknown; so is what is rare."""
    texts = [f"word{i} same" for i in range(50)]
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(texts)))
    out = tmp_path / "m.safetensors"
    words = ["train", "classify", tmp_path / "t.csv", *SMALL, "--epochs", 1, "--no-picture", "--out", out]
    run(*words, "--seed", 3)
    train, _, _ = random_split(50, 0.1, 0.1, seed=3)
    assert set(load(out).task.tokens.entries) == {"same", *(f"word{i}" for i in train)}
    run(*words, "--min-count", 2)
    assert load(out).task.tokens.entries == ("same",)


def test_the_best_network_of_validation_is_kept(shelf, tmp_path):
    """A rate far too high: the last network is worse than the best, whose loss is what the picture marks."""
    folder, _ = shelf
    out, history = tmp_path / "m.safetensors", tmp_path / "h.csv"
    run(
        "train", "classify", folder / "reviews.tsv", *COLUMNS, *SMALL, "--lr", 3, "--schedule", "constant",
        "--epochs", 3, "--no-picture", "--validate-every", 1, "--out", out, "--history", history,
        "--dropout-input", 0, "--dropout-output", 0,
    )  # fmt: skip
    rows = table(history.read_text())
    losses = np.array([row["validation_loss"] for row in rows if row["validation_loss"]], float)
    assert losses.argmin() < len(losses) - 1
    net = load(out)
    data = list(sentences())
    _, part, _ = random_split(len(data), 0.1, 0.1, seed=1)
    total = 0.0
    for i in part:
        y, _, _ = net.eval().forward(net.task.tokens.encode(data[i][0])[:, None])
        total += rnncore.CrossEntropy()(y, net.task.classes([data[i][1]]))[0]
    assert total / len(part) == pytest.approx(losses.min(), rel=1e-4)


def test_labels_are_predicted_from_new_data_alone(shelf, tmp_path):
    folder, _ = shelf
    data = list(sentences(60, seed=5))
    new = tmp_path / "new.csv"
    with new.open("w", newline="") as file:
        csv.writer(file).writerows([("said",), *((f"{text}, unheard-of!",) for text, _ in data)])
    rows = table(run("predict", folder / "table.safetensors", new).stdout)
    assert [row["text"] for row in rows] == [f"{text}, unheard-of!" for text, _ in data]
    assert np.mean([row["label"] == label for row, (_, label) in zip(rows, data, strict=True)]) > 0.9
    for row in rows:
        p = {label: float(row[f"p({label})"]) for label in ("bad", "good")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert p[row["label"]] == max(p.values())
    lines = tmp_path / "new.txt"
    lines.write_text("\n".join(text for text, _ in data))
    assert not run("predict", folder / "files.safetensors", lines, "--out", tmp_path / "out.csv").output
    written = table((tmp_path / "out.csv").read_text())
    assert np.mean([row["label"] == label for row, (_, label) in zip(written, data, strict=True)]) > 0.9


def test_formulas_among_the_texts_are_escaped_where_asked(shelf, tmp_path):
    folder, _ = shelf
    lines = tmp_path / "new.txt"
    lines.write_text("=1+2\nplain\n")
    plain, safe = (
        table(run("predict", folder / "files.safetensors", lines, *option).stdout)
        for option in ((), ("--escape-formulas",))
    )
    assert [row["text"] for row in plain] == ["=1+2", "plain"]
    assert [row["text"] for row in safe] == ["'=1+2", "plain"]
    assert [row | {"text": ""} for row in plain] == [row | {"text": ""} for row in safe]


def test_forecasts_beat_the_naive_ones_and_are_measured_as_said(shelf):
    folder, said = shelf
    test = said["series"].split("test:")[1]
    assert score(test, "this network") < 0.5 * score(test, "persistence")
    assert score(test, "this network") < score(test, "seasonal naive, 19")
    values = write_series(folder / "same.csv")[:, 1]
    origins = np.arange(320, 397)
    steps = origins[:, None] + np.arange(4)
    last = np.repeat(values[origins - 1][:, None], 4, axis=1)
    assert score(test, "persistence", -3) == pytest.approx(mae(last, values[steps]), abs=1e-3)
    assert score(test, "persistence") == pytest.approx(mase(last, values[steps], values[:320], 19), abs=1e-3)
    assert (folder / "series.png").read_bytes().startswith(b"\x89PNG")
    assert load(folder / "series.safetensors").task.columns == ("heat", "flow")


def test_the_steps_behind_the_end_are_forecast(shelf, tmp_path):
    folder, _ = shelf
    model = folder / "series.safetensors"
    whole = write_series(tmp_path / "new.csv", 104, seed=9)
    lines = (tmp_path / "new.csv").read_text().splitlines()[:101]
    (tmp_path / "new.csv").write_text("\n".join(lines))
    rows = table(run("predict", model, tmp_path / "new.csv").stdout)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    said = np.array([float(row["flow"]) for row in rows])
    assert np.abs(said - whole[100:, 1]).mean() < 300  # of a wave of 1000 up and down
    net = load(model)
    x = net.task.inputs(whole[80:100])[:, None].astype("f")
    y, _, _ = net.eval().forward(x)
    np.testing.assert_allclose(said, net.task.unscale(y, whole[80:100, None])[0, :, 0], rtol=1e-6)
    np.testing.assert_allclose(said, net.task.forecast(net, whole[:100])[:, 0], rtol=1e-6)


def test_a_series_with_holes_is_learned_and_read(tmp_path):
    write_series(tmp_path / "holes.csv", holes=0.15)
    out = tmp_path / "m.safetensors"
    said = run(
        "train", "forecast", tmp_path / "holes.csv", "--target", "heat", "--window", 20, "--hidden", 8,
        "--lr", 0.02, "--epochs", 15, "--progress", "off", "--out", out,
    ).output  # fmt: skip
    test = said.split("test:")[1]
    assert score(test, "this network") < score(test, "persistence")
    assert load(out).task.masked
    assert len(table(run("predict", out, tmp_path / "holes.csv").stdout)) == 1


OPTIONS = [
    "classify --units characters --cell gru --forward --pool last --layers 2 --dropout-input 0",
    "classify --units bytes --lower --embedding-scale 1 --patience 2 --validate-every 1 --schedule plateau",
    "classify --max-size 5 --cell elman --activation relu --validation 0 --accumulate 2 --dtype float64",
    "classify --test 0 --minutes 0.001 --weight-decay 0.1 --optimizer adamw --encoding utf-8",
    "forecast --target heat --target flow --horizon 3 --stride 4 --cell lstm --layers 2 --dropout 0.2",
    "forecast --target heat --columns flow --validation 0 --patience 1 --test 0.1",
    "forecast --target heat --test 0 --season 30 --dtype float64 --delimiter ,",
]


@pytest.mark.parametrize("words", OPTIONS)
def test_every_option_trains(shelf, tmp_path, words):
    folder, _ = shelf
    kind, *words = words.split()
    if "--patience" in words and "--validation" in words:
        assert "--patience" in complaint("train", kind, folder / "series.csv", *words)
        return
    file = {"classify": "reviews.tsv", "forecast": "series.csv"}[kind]
    columns = [*COLUMNS, "--embedding", 4] if kind == "classify" else []
    limit = [] if "--minutes" in words else ["--steps", 4]
    out = ["--out", tmp_path / "m.safetensors", "--no-picture", "--progress", "off"]
    run("train", kind, folder / file, *columns, "--hidden", 4, *limit, *out, *words)
    net = load(tmp_path / "m.safetensors")
    assert isinstance(net.task, {"classify": Classification, "forecast": Forecast}[kind])
    assert len(table(run("predict", tmp_path / "m.safetensors", folder / file).stdout)) in (1, 3, 240)


@pytest.mark.parametrize("kind", ["classify", "forecast"])
def test_a_resumed_run_is_the_uninterrupted_one(shelf, tmp_path, kind):
    folder, _ = shelf
    data = {
        "classify": [folder / "film.good", folder / "film.bad", *SMALL],
        "forecast": [folder / "series.csv", "--target", "heat", "--hidden", 4, "--progress", "off"],
    }[kind]
    words = ["train", kind, *data, "--schedule", "constant", "--no-picture", "--validate-every", 5]
    run(*words, "--steps", 20, "--out", tmp_path / "whole.safetensors")
    run(*words, "--steps", 12, "--out", tmp_path / "parts.safetensors")
    run(*words, "--steps", 20, "--out", tmp_path / "parts.safetensors", "--resume")
    whole, parts = load(tmp_path / "whole.safetensors"), load(tmp_path / "parts.safetensors")
    np.testing.assert_array_equal(whole.params.flat, parts.params.flat)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train classify reviews.tsv", "no column 'text'; its columns are 'id', 'said', 'verdict'"),
        ("train classify reviews.tsv --text-column said --label-column x", "no column 'x'; its columns"),
        ("train classify two.csv --test 0.99", "validation and test"),
        ("train classify two.csv --test 0.001", "--test 0.001 of 20"),
        ("train classify one.csv", "labels are 'x', but at least two"),
        ("train classify blank.csv", "blank.csv, line 3: column 'text' is empty"),
        ("train classify film.good absent.bad", "absent.bad: No such file"),
        ("train classify film.good film.bad --delimiter ;", "--delimiter wants one FILE"),
        ("train classify film.good film.bad --text-column said", "--text-column wants one FILE"),
        ("train classify reviews.tsv --units bytes --min-count 2", "--units words or characters"),
        ("train classify film.good film.bad --encoding utf-17", "encoding is 'utf-17'"),
        ("train classify", "FILES"),
        ("train classify film.good film.bad --bptt 5", "--bptt"),
        ("train forecast series.csv --target warmth", "no column 'warmth'; its columns are 'day', 'heat'"),
        ("train forecast series.csv --target heat --columns flow,x", "no column 'x'; its columns are 'day'"),
        ("train forecast series.csv --target day", "line 2: column 'day' holds 'd0', but numbers"),
        ("train forecast series.csv", "--target wants the column to forecast: in series.csv 'heat', 'flow'"),
        ("train forecast series.csv --target heat --season 280", "--season is 280, but the training part"),
        ("train forecast series.csv --target heat --window 390", "fewer steps to read"),
        ("train forecast void.csv --target b", "void.csv: column 'b' holds no number, all of it is missing"),
        ("train forecast late.csv --target b", "column 'b' holds no number in the first 7 steps"),
        ("predict absent series.csv", "absent: No such file"),
        ("predict reviews.tsv series.csv", "reviews.tsv cannot be read"),
        ("predict series.safetensors absent", "absent: No such file"),
        ("predict series.safetensors reviews.tsv", "no column 'heat'; its columns are 'id', 'said'"),
        ("predict series.safetensors short.csv", "short.csv has 1 steps, but the model reads 20"),
        ("predict series.safetensors gap.csv", "column 'flow' is missing at step 0"),
        ("predict table.safetensors series.csv", "no column 'said'; its columns are 'day', 'heat', 'flow'"),
        ("predict files.safetensors film.good --delimiter ,", "--delimiter wants a table"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(shelf, monkeypatch, words, said):
    folder, _ = shelf
    monkeypatch.chdir(folder)
    (folder / "two.csv").write_text("text,label\n" + "a,x\nb,y\n" * 10)
    (folder / "one.csv").write_text("text,label\n" + "a,x\n" * 20)
    (folder / "blank.csv").write_text("text,label\na,x\n,y\n")
    (folder / "void.csv").write_text("a,b\n" + "1,NA\n" * 50)
    (folder / "late.csv").write_text("a,b\n" + "1,\n" * 9 + "1,2\n")
    (folder / "short.csv").write_text("heat,flow\n1,2\n")
    (folder / "gap.csv").write_text("heat,flow\n" + "1,\n" + "1,2\n" * 19)
    before = sorted(folder.iterdir())
    assert said in complaint(*words.split())
    assert sorted(folder.iterdir()) == before


def test_a_task_that_does_not_fit_its_network_is_refused(shelf, tmp_path):
    folder, _ = shelf
    path = tmp_path / "m.safetensors"
    classes = Classification(Tokens("bytes"), ("a", "b"))
    series = folder / "series.csv"
    save(rnncore.Network(rnncore.GRU(3, 4), rnncore.LastStep(), rnncore.Dense(4, 2)), path, task=classes)
    assert "of other inputs and 2 outputs, but its task wants 256 and 2" in complaint("predict", path, path)
    save(rnncore.Network(rnncore.Embedding(256, 3), rnncore.Dense(3, 2)), path, task=classes)
    assert "one row per sequence" in complaint("predict", path, path)
    tensors, content = read_tensors(folder / "series.safetensors")
    content["task"] |= {"horizon": 10**12, "linear": None}
    write_tensors(path, tensors, content)
    assert "4 outputs, but its task wants 2 and 1000000000000" in complaint("predict", path, series)
    content["task"] |= {"horizon": 4, "window": 10**12}
    write_tensors(path, tensors, content)
    assert "reads 1000000000000 before" in complaint("predict", path, series)
    save(rnncore.Network(rnncore.GRU(3, 2)), path)
    assert "holds no task" in complaint("predict", path, path)


def test_a_model_says_what_it_reads(shelf):
    folder, _ = shelf
    series = run("info", folder / "series.safetensors").output
    assert "20 steps of 'heat', 'flow'" in series
    assert "4 steps of 'flow', season 19" in series
    labels = run("info", folder / "table.safetensors").output
    assert "words of column 'said'" in labels
    assert "2: 'bad', 'good'" in labels


def test_help_is_that_of_the_kind_of_data():
    plain = run("train", "-h").output
    assert "--bptt" in plain
    assert "rnncore train forecast" in " ".join(plain.split())
    for kind, option in (("classify", "--label-column"), ("forecast", "--horizon")):
        text = run("train", kind, "-h").output
        assert option in text
        assert "--bptt" not in text


def test_a_file_may_bear_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classify").write_text("plain text, whatever it is called. " * 20)
    words = ["--steps", 1, "--hidden", 4, "--progress", "off", "--no-picture"]
    assert "./classify: 700 characters" in run("train", "./classify", *words).output


def test_the_file_of_a_model_is_all_that_a_prediction_needs(shelf):
    folder, _ = shelf
    content = read_tensors(folder / "series.safetensors")[1]
    assert json.dumps(content["task"]["center"])
    assert content["task"]["task"] == "forecast"


def test_a_past_that_repeats_itself_gives_no_scale_but_a_model(tmp_path):
    """MASE divides by what repeating the last season errs in the past, here nothing."""
    path, out = tmp_path / "square.csv", tmp_path / "square.safetensors"
    path.write_text("load\n" + "1\n1\n0\n0\n" * 50)
    found = run(
        *("train", "forecast", path, "--season", 4, "--epochs", 1, "--out", out, "--no-picture"),
        *("--progress", "off", "--hidden", 4),
    )
    assert "nan" in found.output
    assert load(out).task.season == 4


def test_a_window_without_a_number_is_read_where_training_had_gaps(tmp_path):
    path, out = tmp_path / "series.csv", tmp_path / "series.safetensors"
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{y:.3f}" for x, y in rng.standard_normal((200, 2))]
    path.write_text("\n".join(["a,b", *rows[:-1], "1.0,", ""]))
    run(
        *("train", "forecast", path, "--target", "a", "--columns", "a,b", "--window", 3, "--epochs", 1),
        *("--out", out, "--no-picture", "--progress", "off", "--hidden", 4),
    )
    path.write_text("\n".join(["a,b", *rows, "1.0,", "2.0,", "1.0,", ""]))
    header, line = run("predict", out, path).output.splitlines()
    assert header == "step,a"
    assert np.isfinite(float(line.split(",")[1]))


@pytest.mark.parametrize("kind", ["train", "predict", "export", "twice"])
def test_no_file_that_is_read_is_written_over(tmp_path, kind):
    data, model = tmp_path / "series.csv", tmp_path / "series.safetensors"
    data.write_text("load\n" + "1\n2\n4\n" * 30)
    common = ["train", "forecast", data, "--epochs", 1, "--hidden", 4, "--progress", "off", "--no-picture"]
    run(*common, "--out", model)
    before = data.read_bytes(), model.read_bytes()
    words = {
        "train": [*common, "--out", data],
        "predict": ["predict", model, data, "--out", tmp_path / "." / "series.csv"],
        "export": ["export", model, "--onnx", model],
        "twice": [*common, "--out", model, "--history", model],
    }[kind]
    said = complaint(*words)
    assert "which is the file" in said
    assert (data.read_bytes(), model.read_bytes()) == before
