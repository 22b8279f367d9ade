"""Files of series as people have them: what is odd is named, with the option that treats it, or treated."""

import csv
import io
import os
import subprocess
import sys

import numpy as np
import pytest

from rnncore.files import load

pytest.importorskip("click")
pytest.importorskip("matplotlib")

from commands import complaint, run

TIMES = np.datetime64("2021-01-01T00", "h") + np.arange(300)
LOAD = 100 + 20 * np.sin(np.arange(300) * np.pi / 12) + np.random.default_rng(0).normal(size=300)
ROWS = [f"{str(t).replace('T', ' ')}:00,{y:.3f}" for t, y in zip(TIMES, LOAD, strict=True)]
QUICK = ["--hidden", 4, "--epochs", 1, "--progress", "off", "--no-picture"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, rows, header="date,load"):
        (tmp_path / name).write_text("\n".join([header, *rows, ""]), encoding="utf-8")

    order = np.random.default_rng(1).permutation(300)
    write("whole.csv", ROWS)
    write("shuffled.csv", [ROWS[i] for i in order])
    write("newest.csv", ROWS[::-1])
    write("gaps.csv", [row for i, row in enumerate(ROWS) if i % 10 != 5])
    write("twice.csv", [*ROWS[:100], ROWS[99], *ROWS[100:]])
    write("shops.csv", [f"s{s},{row}" for s in range(3) for row in ROWS[:100]], "shop,date,load")
    write("blocks.csv", [f"s{s},{y:.2f}" for s in range(3) for y in LOAD[:100]], "branch,load")
    write("steps.csv", [f"{i},{LOAD[i]:.2f}" for i in order], "t,load")
    write("either.csv", [f"{i // 24 + 1}/1/2021 {i % 24}:00,{LOAD[i]}" for i in range(288)])
    write("jitter.csv", [row.replace(":00,", f":{i * i % 50:02d},") for i, row in enumerate(ROWS)])
    return tmp_path


def forecast(name, *words):
    return run("train", "forecast", name, "--horizon", 3, *QUICK, *words).output


@pytest.mark.parametrize(
    ("name", "said", "option"),
    [
        ("shuffled.csv", "line 4: 'date' runs backwards, from 2021-01-", "--order sort"),
        ("newest.csv", "line 3: 'date' runs backwards, from 2021-01-13 11:00:00 to 2021", "--order sort"),
        ("twice.csv", "line 102: 'date' 2021-01-05 03:00:00 occurs again, after", "--duplicates first"),
        ("shops.csv", "3 series with the same 'date': column 'shop' is 's0', 's1', 's2'", "--id shop"),
        ("blocks.csv", "3 series one below the other: column 'branch' is 's0', 's1', 's2'", "--id branch"),
        ("steps.csv", "line 4: 't' runs backwards", "--order sort"),
        ("either.csv", "line 2: column 'date' holds '1/1/2021 0:00', where day and month", "--day-first"),
        ("jitter.csv", "is not a whole number of steps of", "--no-time"),
    ],
)  # fmt: skip
def test_what_is_odd_is_one_line_with_the_option_and_the_option_treats_it(folder, name, said, option):
    line = complaint("train", "forecast", name, *QUICK)
    assert said in line
    assert option in line
    output = forecast(name, *option.split())
    assert "verdict " in output.splitlines()[-1]


def test_missing_hours_are_named_and_masked_or_what_is_asked_for(folder):
    output = forecast("gaps.csv")
    assert "30 missing" in output
    assert "30 of 300 rows are missing in 30 gaps, the first after 'date' 2021-01-01 04:00:00" in output
    assert load("model.safetensors").task.masked
    assert "repeat the last known value" in forecast("gaps.csv", "--gaps", "fill")
    assert not load("model.safetensors").task.masked
    assert "--gaps (in Python gaps=) mask" in complaint("train", "forecast", "gaps.csv", "--gaps", "error")
    assert "no window crosses one" in forecast("gaps.csv", "--gaps", "drop", "--window", 3, "--season", 1)


def test_sorted_rows_train_the_network_of_the_file_in_order(folder):
    forecast("whole.csv")
    whole = load("model.safetensors")
    assert whole.task.season == 24
    for name, words in (("shuffled.csv", ()), ("newest.csv", ())):
        assert "300 rows sorted by 'date'" in forecast(name, "--order", "sort", *words)
        np.testing.assert_array_equal(load("model.safetensors").params.flat, whole.params.flat)


def test_each_shop_gets_a_forecast_with_its_times(folder):
    forecast("shops.csv", "--id", "shop")
    rows = list(csv.DictReader(io.StringIO(run("predict", "model.safetensors", "shops.csv").stdout)))
    assert [row["shop"] for row in rows] == ["s0"] * 3 + ["s1"] * 3 + ["s2"] * 3
    assert [row["date"] for row in rows[:3]] == [f"2021-01-05 0{hour}:00:00" for hour in (4, 5, 6)]
    assert [row["load"] for row in rows[:3]] == [row["load"] for row in rows[3:6]]
    (folder / "new.csv").write_text("shop,date,load\n" + "".join(f"new,{row}\n" for row in ROWS[200:]))
    assert run("predict", "model.safetensors", "new.csv").stdout.count("new,") == 3


def test_numbers_are_written_in_full(folder):
    """At 1e9 + 50 eight digits are none."""
    rows = [f"{1e9 + 50 * np.sin(i)}" for i in range(200)]
    (folder / "large.csv").write_text("\n".join(["load", *rows, ""]))
    forecast("large.csv")
    for row in csv.DictReader(io.StringIO(run("predict", "model.safetensors", "large.csv").stdout)):
        assert len(row["load"].replace(".", "")) >= 15
        assert abs(float(row["load"]) - 1e9) < 100
        assert repr(float(row["load"])) == row["load"]


def test_a_forecast_that_loses_says_so_last_and_what_to_try(folder):
    line = forecast("whole.csv", "--season", 24, "--window", 5).splitlines()[-1]
    assert "loses to seasonal naive, 24 on the test part, MAE" in line
    assert "try --window 24 or more, a whole season" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", 0.6], "--lr 0.6 moves each weight by about 0.6 in an update"),
        (["--lr", 1e-7], "--lr 1e-07 moves no weight by more than about"),
        (["--lr", 0.6, "--optimizer", "sgd"], None),
        ([], None),
    ],
)
def test_a_learning_rate_that_cannot_work_is_told(folder, words, said):
    output = forecast("whole.csv", *words)
    assert ("moves" in output) == (said is not None)
    assert said is None or said in output


def test_output_is_utf8_whatever_the_console(tmp_path):
    for label in ("добро", "зло"):
        (tmp_path / f"{label}.txt").write_text("так и есть\nкак было\n" * 10, encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    command = [sys.executable, "-m", "rnncore"]
    out = str(tmp_path / "m.safetensors")
    words = ["train", "classify", "добро.txt", "зло.txt", "--out", out, *map(str, QUICK)]
    said = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert "добро 20" in said.stdout.decode("utf-8")
    words = ["predict", out, "зло.txt"]
    said = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert said.stdout.decode("utf-8").startswith("text,label,p(добро),p(зло)\nтак и есть,")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("whole.csv --time load --target load", "--time is load, which is one of the columns"),
        ("whole.csv --time date --no-time", "--time and --no-time are both given"),
        ("whole.csv --time when", "no column 'when'"),
        ("shops.csv --id store", "no column 'store'"),
        ("blocks.csv --time branch", "line 2: column 'branch' holds 's0', which is not a time"),
    ],
)
def test_wrong_columns_are_one_line(folder, words, said):
    assert said in complaint("train", "forecast", *words.split(), *QUICK)
