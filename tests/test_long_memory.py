"""The benchmark of long memory: its rows are what they claim, its runs can be told and taken up again."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture(scope="module")
def bench():
    """The three modules of the benchmark."""
    sys.path.insert(0, str(BENCH))
    try:
        import long_memory
        import memory_report
        import memory_runs
    finally:
        sys.path.remove(str(BENCH))
    return long_memory, memory_report, memory_runs


@pytest.mark.parametrize("full", [False, True])
def test_every_row_can_be_run(bench, full):
    """Its remedies exist, have units, and make networks that take its batches."""
    pytest.importorskip("sklearn")
    _, _, runs = bench
    names, seen = set(), set()
    for row in runs.rows(full):
        assert (row.name, row.length) not in names
        names.add((row.name, row.length))
        if row.length > 100 or row.name in seen:
            continue
        seen.add(row.name)
        problem = row.problem(1, 2)
        batch = next(problem.batches(0))
        for remedy in row.remedies:
            net = runs.REMEDIES[remedy].network(problem, row.units_of(remedy), row.length, 1)
            y = net.forward(batch.x, None, batch.lengths)[0]
            assert np.isfinite(problem.loss(y, batch.target, batch.lengths)[0])


def test_networks_are_of_about_the_papers_sizes(bench):
    _, _, runs = bench
    wanted = {"adding (1997)": 93, "order of 2 (1997)": 156, "adding (70k weights)": 70_000}
    found = set()
    for row in runs.papers(True):
        if row.name in wanted:
            found.add(row.name)
            for remedy in row.remedies:
                net = runs.REMEDIES[remedy].network(row.problem(0, 2), row.units_of(remedy), row.length, 0)
                assert 0.75 <= net.params.flat.size / wanted[row.name] <= 1.2
    assert found == set(wanted)


def line(bench, **more):
    values = dict.fromkeys(bench[0].FIELDS, 0)
    values |= {"problem": "adding", "length": 50, "remedy": "GRU", "rate": 0.001, "solved": 1, "updates": 700}
    values |= {
        "sequences": 14000,
        "seconds": 3.5,
        "error": 0.003,
        "naive": 0.16,
        "weights": 900,
        "ended": "solved",
    }
    return {name: str(value) for name, value in (values | more).items()}


def test_the_best_rate_is_shown(bench):
    _, report, _ = bench
    lines = [line(bench, seed=seed) for seed in (0, 1)]
    lines += [
        line(bench, seed=0, rate=0.01, updates=100),
        line(bench, seed=1, rate=0.01, solved=0, error="nan"),
    ]
    (cell,) = report.cells(lines)
    assert (cell.rate, cell.solved, cell.runs, cell.updates) == (0.001, 2, 2, 700)


def test_table_and_map_are_written(bench, tmp_path):
    pytest.importorskip("matplotlib")
    _, report, runs = bench
    lines = [
        line(bench),
        line(bench, remedy="plain", solved=0),
        line(bench, problem="adding (1997)", length=100),
    ]
    report.write_table(tmp_path / "table.md", lines, runs.rows(False))
    report.write_map(tmp_path / "map.png", lines)
    text = (tmp_path / "table.md").read_text()
    assert "1 of 2,560 wrong, 74,000 sequences | GRU (900 weights): 1 of 1 seeds" in text
    assert "| adding | 50 | plain | 900 | 0.001 | 0/1 |" in text
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_what_is_done_is_not_run_again(bench, tmp_path, monkeypatch):
    pytest.importorskip("tqdm")
    pytest.importorskip("matplotlib")
    long_memory, _, _ = bench
    ran = []
    monkeypatch.setattr(long_memory, "execute", lambda todo, options, path: ran.append(len(todo)))
    words = ["long_memory", "--out", str(tmp_path), "--rows", "1997", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", words)
    done = [
        line(bench, problem="adding (1997)", length=100, remedy=name, rate="0.01")
        for name in ("LSTM", "LSTM open")
    ]
    with open(tmp_path / "runs.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, long_memory.FIELDS)
        writer.writeheader()
        writer.writerows(done)
    long_memory.main()
    monkeypatch.setattr(sys, "argv", [*words, "--rows", "order of 2 (1997)"])
    long_memory.main()
    assert ran == [12 - 2, 6]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "adding,nothing"], "--rows has 'nothing', which is in none of "),
        (["--remedies", "lstm"], "--remedies has 'lstm', which is none of "),
        (["--seeds", "-1"], "--seeds is -1, but at least 0"),
        (["--jobs", "0"], "--jobs is 0, but at least 1"),
    ],
)
def test_what_is_not_there_is_told_before_anything_runs(bench, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["long_memory.py", *words])
    with pytest.raises(SystemExit):
        bench[0].main()
    assert said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
