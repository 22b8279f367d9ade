"""The command line: it trains, resumes, writes and informs; whatever is wrong is one line and status 2."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rnncore
from rnncore.data import CountModel, Vocabulary, split

pytest.importorskip("click")
pytest.importorskip("matplotlib")

from commands import complaint, run

from rnncore.cli.build import Clock, Timed
from rnncore.cli.sample import generate
from rnncore.schedules import Linear

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 40
TINY = ["--hidden", "8", "--embedding", "4", "--batch", "4", "--bptt", "20", "--progress", "off"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The path of a trained model."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "text").write_text(TEXT)
    run("train", folder / "text", *TINY, "--steps", 60, "--lr", 0.02, "--out", folder / "model.safetensors")
    return folder / "model.safetensors"


def test_training_writes_model_picture_and_history_and_reports(folder):
    out = run("train", "text", *TINY, "--steps", 7, "--test", 0.1, "--history", "history.csv").output
    assert (folder / "model.png").read_bytes().startswith(b"\x89PNG")
    assert len((folder / "history.csv").read_text().splitlines()) == 8
    net = rnncore.load(folder / "model.safetensors")
    assert net.vocabulary == Vocabulary.from_text(TEXT)
    named = "model.safetensors, model.png, history.csv; for --resume model.checkpoint.safetensors"
    assert f"written     {named}\n" in out
    assert {path.name for path in folder.iterdir()} >= set(re.findall(r"\S+\.\w+\b", named))
    assert "7 updates" in out
    assert "characters per second" in out
    assert "this network" in out


def test_the_yardsticks_are_those_of_the_split(folder):
    out = run("train", "text", *TINY, "--steps", 1, "--validation", 0.2, "--no-picture").output
    vocabulary = Vocabulary.from_text(TEXT)
    train, validation, _ = split(vocabulary.encode(TEXT), 0.2)
    for name, order in (("unigram", 1), ("trigram", 3)):
        bits = CountModel(train, order, len(vocabulary)).bits_per_character(validation)
        assert f"{name} counts" + f"{bits:14.3f}" in out
    assert not (folder / "model.png").exists()


OPTIONS = [
    "--cell gru --layers 2 --dropout 0.3 --dropout-input 0.1 --dropout-output 0.1",
    "--cell elman --activation relu --clip-step 0.5 --optimizer nesterov --lr 0.01",
    "--optimizer adamw --schedule cosine --warmup 1 --final-lr 1e-4 --weight-decay 0.1",
    "--optimizer rmsprop --schedule step --lr-every 1 --lr-factor 0.5 --l2 1e-4",
    "--optimizer sgd --schedule plateau --lr-patience 0 --validate-every 1 --l1 1e-5",
    "--optimizer momentum --schedule constant --clip 0 --clip-value 0.1 --dtype float64",
    "--accumulate 3 --patience 1 --seed 5 --validation 0.3",
    "--validation 0 --epochs 1",
]


@pytest.mark.parametrize("words", OPTIONS)
def test_every_option_trains(words):
    run("train", "text", *TINY, "--steps", 3, "--no-picture", *words.split())


def test_each_cell_and_size_is_what_was_asked_for():
    run(
        "train", "text", *TINY, "--steps", 1, "--cell", "gru", "--layers", 2, "--dropout", 0.3,
        "--dropout-output", 0.2, "--no-picture",
    )  # fmt: skip
    net = rnncore.load("model.safetensors")
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Embedding", "GRU", "Dropout", "GRU", "Dropout", "Dense"]
    assert [layer.p for layer in net.layers if isinstance(layer, rnncore.Dropout)] == [0.3, 0.2]


@pytest.mark.parametrize("words", ["", "--schedule plateau --validate-every 3", "--accumulate 2"])
def test_a_resumed_run_is_the_uninterrupted_one(words):
    settings = ["text", *TINY, "--dropout-output", 0.2, "--schedule", "constant", *words.split()]
    settings.append("--no-picture")
    run("train", *settings, "--steps", 10, "--out", "whole.safetensors")
    run("train", *settings, "--steps", 4, "--out", "parts.safetensors")
    run("train", *settings, "--steps", 10, "--out", "parts.safetensors", "--resume")
    whole, parts = rnncore.load("whole.safetensors"), rnncore.load("parts.safetensors")
    np.testing.assert_array_equal(whole.params.flat, parts.params.flat)


def test_a_time_limit_ends_training():
    began = time.monotonic()
    out = run("train", "text", *TINY, "--minutes", 0.01, "--no-picture").output
    assert time.monotonic() - began < 30
    assert int(out.split("trained")[1].split()[0].replace(",", "")) >= 1
    assert " s, all of --minutes\n" in out


def test_a_run_says_that_its_patience_was_over():
    words = "--lr 1e-30 --schedule constant --validate-every 1 --patience 2 --steps 50 --no-picture"
    assert " s, until --patience was over\n" in run("train", "text", *TINY, *words.split()).output
    assert "patience" not in run("train", "text", *TINY, "--steps", 2, "--no-picture").output


def test_a_timed_schedule_follows_whichever_is_further():
    clock = Clock(100.0)
    schedule = Timed(Linear(1.0, steps=10), 10, clock, counted=True)
    assert schedule(0) == 1.0
    assert schedule(5) == 0.5
    clock.before = 80.0
    assert schedule(5) == pytest.approx(0.2)
    assert schedule(9) == pytest.approx(0.1)
    clock.before = 200.0
    assert schedule(5) == 0.0
    again = Timed(Linear(1.0, steps=10), 10, Clock(100.0), counted=True)
    again.load_state({"elapsed": 80.0})
    assert again(5) == pytest.approx(0.2)


def test_several_files_are_documents(folder):
    (folder / "more").write_text("xyz" * 50)
    out = run("train", "text", "more", *TINY, "--steps", 2, "--no-picture").output
    assert "text, more: 1,950 characters" in out


def test_a_sample_is_reproducible_and_of_the_length_asked_for(model):
    words = ["sample", model, "--prompt", "the ", "--length", 50, "--seed", 3]
    out = run(*words).output
    assert out == run(*words).output
    assert out.startswith("the ")
    assert len(out) == 4 + 50 + 1
    assert out != run(*words[:-1], 4).output


def test_temperature_zero_takes_the_likeliest_and_a_large_one_takes_all(model):
    net = rnncore.load(model)

    def draw(temperature, seed):
        rng = np.random.default_rng(seed)
        return "".join(generate(net, net.vocabulary, "the ", 300, temperature, rng))

    assert draw(0, 1) == draw(0, 2)
    assert draw(1e-6, 1) == draw(0, 1)
    assert len(set(draw(1e6, 1))) > 0.8 * len(net.vocabulary)


def test_characters_are_drawn_with_the_probabilities_of_the_network(model):
    """One step from one state, drawn often: frequencies are the softmax within five standard errors."""
    net = rnncore.load(model)
    y, _, _ = net.eval().forward(net.vocabulary.encode("the ")[:, None], record=False)
    p = np.exp(y[-1, 0].astype(float) / 2)
    p /= p.sum()
    rng, n = np.random.default_rng(0), 2000
    drawn = "".join(next(generate(net, net.vocabulary, "the ", 1, 2.0, rng)) for _ in range(n))
    counts = np.bincount(net.vocabulary.encode(drawn), minlength=len(p))
    assert (np.abs(counts / n - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-9).all()


def test_info_tells_of_the_model_and_of_the_machine(model):
    out = run("info", model).output
    assert "LSTM" in out
    assert f"{rnncore.load(model).params.flat.size:,}" in out
    assert f"{len(set(TEXT))} characters" in out
    out = run("info").output
    assert "instruction set" in out
    assert "BLAS" in out


def test_without_a_command_there_is_help():
    assert "train" in run().output
    assert "--hidden" in run("train", "--help").output
    assert rnncore.__version__ in run("--version").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "nonsense"),
        (["train", "--nonsense"], "--nonsense"),
        (["train", "absent"], "absent: No such file"),
        (["train", "."], "Is a directory"),
        (["train", "empty"], "empty is empty"),
        (["train", "latin"], "latin is not UTF-8 text: byte 2 is 0xe9"),
        (["train", "short", "--validation", "0"], "batch_size 32"),
        (["train", "text", "--hidden", "0"], "--hidden"),
        (["train", "text", "--lr", "nan"], "lr is nan"),
        (["train", "text", "--minutes", "nan"], "minutes are nan"),
        (["train", "text", "--dropout", "nan", "--layers", "2"], "p is nan"),
        (["train", "text", "--validation", "1.5"], "--validation"),
        (["train", "text", "--validation", "0.6", "--test", "0.5"], "validation and test"),
        (["train", "text", "--validation", "0.0001"], "at least 2"),
        (["train", "text", "--validation", "0", "--patience", "3"], "--patience"),
        (["train", "text", "--validation", "0", "--schedule", "plateau"], "plateau"),
        (["train", "text", "--schedule", "step", "--minutes", "1"], "--lr-every"),
        (["train", "text", "--warmup", "3", "--minutes", "1"], "--warmup"),
        (["train", "text", "--warmup", "30", "--steps", "10"], "warmup is 30"),
        (["train", "text", "--weight-decay", "0.1"], "--optimizer adamw, but it is adam"),
        (["train", "text", "--momentum", "0.5"], "--optimizer momentum or nesterov"),
        (["train", "text", "--activation", "relu"], "--cell elman, but it is lstm"),
        (["train", "text", "--dropout", "0.5"], "--layers is 1"),
        (["train", "text", "--lr-every", "3"], "--schedule step, but it is linear"),
        (["train", "text", "--lr-factor", "0.3"], "--schedule step or plateau"),
        (["train", "text", "--lr-patience", "3"], "--schedule plateau"),
        (["train", "text", "--final-lr", "1e-5", "--schedule", "step"], "linear or cosine or plateau"),
        (["train", "text", "--warmup", "3", "--schedule", "step"], "--schedule linear or cosine"),
        (["train", "text", "--plot", "a.png", "--no-picture"], "there is none"),
        (["train", "text", "--out", "absent/model"], "no folder"),
        (["train", "text", "--plot", "absent/plot.png"], "no folder"),
        (["train", "text", "--out", "."], "'.' is a directory"),
        (["train", "text", "--resume"], "--resume"),
        (["train", "text", "--resume", "--checkpoint", "text"], "text"),
        (["train", "text", "--plot", "plot.nonsense"], "nonsense"),
        (["sample", "absent"], "absent: No such file"),
        (["sample", "text"], "text cannot be read"),
        (["info", "text"], "text cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_line(folder, words, said):
    (folder / "empty").write_text("")
    (folder / "latin").write_bytes(b"caf\xe9"[1:])
    (folder / "short").write_text("abc")
    before = sorted(folder.iterdir())
    assert said in complaint(*words)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", "the Q"], "text[4] is 'Q'"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--temperature", "inf"], "temperature is inf"),
        (["--temperature", "-1"], "--temperature"),
        (["--length", "-1"], "--length"),
    ],
)
def test_a_sample_that_cannot_be_is_one_line(model, words, said):
    assert said in complaint("sample", model, *words)


def test_a_model_that_writes_no_text_is_one_line():
    rnncore.save(rnncore.Network(rnncore.LSTM(2, 3)), "numbers.safetensors")
    assert "no vocabulary" in complaint("sample", "numbers.safetensors")
    net = rnncore.Network(rnncore.Embedding(2, 3), rnncore.LSTM(3, 3))
    rnncore.save(net, "numbers.safetensors", vocabulary=Vocabulary("ab"))
    assert "2 ids and 3 outputs" in complaint("sample", "numbers.safetensors")


def test_a_diverging_run_is_one_line():
    words = ["--optimizer", "sgd", "--lr", "1e37", "--clip", "0", "--schedule", "constant", "--steps", "50"]
    assert "step " in complaint("train", "text", *TINY, *words, "--no-picture")


def test_ctrl_c_saves_and_can_be_resumed(folder):
    """In a process of its own, as a user would: the module runs, the interrupt is clean, nothing is lost."""
    words = ["train", "text", *TINY, "--epochs", "100000", "--no-picture", "--schedule", "constant"]
    words[words.index("off")] = "lines"
    path = str(Path(rnncore.__file__).parents[1])  # the package under test, installed or not
    process = subprocess.Popen(
        [sys.executable, "-m", "rnncore", *words, "--validate-every", "20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    line = process.stderr.readline()  # the first validation: training is on its way
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "validation" in line, err
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume goes on" in err
    assert "model.safetensors" in out
    rnncore.load("model.safetensors")
    made = int(out.split("trained")[1].split()[0].replace(",", ""))
    settings = ["text", *TINY, "--schedule", "constant", "--no-picture", "--validate-every", "20"]
    resumed = run("train", *settings, "--steps", made + 5, "--resume").output
    assert f"{made + 5:,} updates" in resumed
